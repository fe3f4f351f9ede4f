//! `drill check`: what is wrong with a scenario, before anything boots.
//!
//! It walks the tree that Rhai made of the text, with the table of verbs ([`super::api::verbs`]) in hand, and follows what each variable
//! holds as far as that is plain: names given once, by a verb. Where it is not plain it says so ([`Severity::Undecided`]) instead of
//! guessing in either direction.

mod calls;
mod known;
mod walk;

#[cfg(test)]
mod tests;

use super::api::nearest;
use super::diagnostic::{Diagnostic, Severity};
use super::source::{Pos, Source};
use super::stage::Header;
use super::{engine, header, host};
use serde::Serialize;

/// What stands beside the scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// Names that `--set` gives.
    pub set: &'a [&'a str],
    /// Names that `fixture` knows; `None` when nobody asked.
    pub fixtures: Option<&'a [&'a str]>,
    /// Names of secrets that are there; `None` when nobody asked.
    pub secrets: Option<&'a [&'a str]>,
}

/// An `arg("name", default)` of the scenario.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub pos: Option<Pos>,
}

/// What the checker saw.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Checked {
    /// The header, when it can be read.
    pub header: Option<Header>,
    /// The arguments, in order of appearance.
    pub args: Vec<Arg>,
    /// Whether there is an assertion, a wait or an expectation. A drill without any is incomplete: it proves nothing.
    pub proves: bool,
    /// Findings in the order of the text; those about the whole scenario come first.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Whether it may run.
    pub fn may_run(&self) -> bool {
        self.diagnostics.iter().all(|d| d.severity != Severity::Error)
    }
}

/// Checks a scenario without running it.
pub fn check(source: &Source, given: Given<'_>) -> Checked {
    let engine = engine::bare();
    let ast = match host::compile(&engine, source) {
        Ok(ast) => ast,
        Err(d) => return Checked { diagnostics: vec![d], ..Checked::default() },
    };
    let functions = known::functions(&engine);
    let mut walk = walk::Walk::new(&ast, &functions, given);
    walk.run(&ast);
    let mut checked =
        Checked { header: None, args: walk.args, proves: walk.proves, diagnostics: walk.diagnostics };
    match header::from_ast(&ast) {
        Ok(h) => checked.header = Some(h),
        Err(d) => checked.diagnostics.push(d),
    }
    if !checked.proves {
        checked.diagnostics.push(
            Diagnostic::new(
                Severity::Warning,
                None,
                "the drill proves nothing: no assertion, no wait, no expectation",
            )
            .with_help("end each start with wait_ready(3.minutes), and look at the result: assert_file(…)"),
        );
    }
    for name in given.set {
        if !checked.args.iter().any(|a| a.name == *name) {
            let names: Vec<&str> = checked.args.iter().map(|a| a.name.as_str()).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if names.is_empty() => "it has no arg(…) at all".to_owned(),
                None => format!("it has: {}", names.join(", ")),
            };
            let message = format!("--set {name}=… sets nothing: the scenario has no arg(\"{name}\", …)");
            checked.diagnostics.push(Diagnostic::error(None, message).with_help(help));
        }
    }
    checked.diagnostics.sort_by_key(|d| (d.pos, d.severity));
    checked.diagnostics.dedup();
    checked
}
