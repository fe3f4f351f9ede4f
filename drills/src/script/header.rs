//! `drill("…", #{…})`, read without running the scenario.

use super::api::number::{bytes, bytes_of, seconds_of, span};
use super::diagnostic::Diagnostic;
use super::options::{BadOption, HEADER, Value};
use super::source::{Pos, Source};
use super::stage::Header;
use crate::event::EvidenceLevel;
use rhai::{AST, Dynamic, Expr, FnCallExpr, Map, Stmt};

/// A header from its title and options.
///
/// # Errors
/// When an option is unknown or of the wrong kind.
pub fn from_map(title: &str, options: &Map) -> Result<Header, BadOption> {
    let mut header = Header { title: title.to_owned(), ..Header::default() };
    for (key, value) in HEADER.read(options)? {
        match (key, value) {
            ("every", Value::Duration(d)) => header.every = Some(d),
            ("rto", Value::Duration(d)) => header.rto = Some(d),
            ("owner", Value::Text(t)) => header.owner = Some(t),
            ("evidence", Value::Text(t)) => header.evidence = EvidenceLevel::named(&t).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(header)
}

/// The header of a scenario, without running it.
///
/// # Errors
/// When the text is no scenario, has no `drill(…)`, or one that is not made of literals.
pub fn read_header(source: &Source) -> Result<Header, Diagnostic> {
    from_ast(&super::host::compile(&super::engine::bare(), source)?)
}

/// The same from a compiled scenario.
///
/// # Errors
/// As [`read_header`].
pub fn from_ast(ast: &AST) -> Result<Header, Diagnostic> {
    let (call, pos) = ast.statements().iter().find_map(drill_call).ok_or_else(|| {
        Diagnostic::error(Some(Pos { line: 1, col: 1 }), "the scenario has no drill(…)")
            .with_help("its first line names it: drill(\"web01: test failover\", #{ owner: \"platform\" });")
    })?;
    let literals_only = || {
        Diagnostic::error(pos, "drill(…) takes literals only")
            .with_help("dashboards read it without running the scenario: no variables, no arithmetic")
    };
    let title = match call.args.first() {
        Some(Expr::StringConstant(text, _)) => text.as_str(),
        _ => return Err(literals_only()),
    };
    let options = match call.args.get(1) {
        None => Map::new(),
        Some(expr) => literal(expr).and_then(Dynamic::try_cast::<Map>).ok_or_else(literals_only)?,
    };
    from_map(title, &options).map_err(|bad| Diagnostic::error(pos, bad.message).with_help(bad.help))
}

fn drill_call(stmt: &Stmt) -> Option<(&FnCallExpr, Option<Pos>)> {
    match stmt {
        Stmt::FnCall(call, pos) if call.name == "drill" => Some((call, Pos::from_rhai(*pos))),
        Stmt::Expr(e) => match e.as_ref() {
            Expr::FnCall(call, pos) if call.name == "drill" => Some((call, Pos::from_rhai(*pos))),
            _ => None,
        },
        _ => None,
    }
}

/// The value of an expression made of literals and units, without running it.
pub fn literal(expr: &Expr) -> Option<Dynamic> {
    match expr {
        Expr::Dot(pair, ..) => match (&pair.lhs, &pair.rhs) {
            (Expr::IntegerConstant(n, _), Expr::Property(p, _)) => {
                let unit = p.2.as_str();
                let time = seconds_of(unit).and_then(|u| span(*n, u)).map(Dynamic::from);
                time.or_else(|| bytes_of(unit).and_then(|u| bytes(*n, u)).map(Dynamic::from))
            }
            _ => None,
        },
        Expr::Map(entries, _) => {
            let mut map = Map::new();
            for (key, value) in &entries.0 {
                map.insert(key.name.as_str().into(), literal(value)?);
            }
            Some(Dynamic::from_map(map))
        }
        other => other.get_literal_value(None),
    }
}
