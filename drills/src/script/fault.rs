//! How a verb's end travels through Rhai: as a terminated script, which no `try` can catch.

use super::diagnostic::Diagnostic;
use super::source::Pos;
use super::stage::{Done, VerbError, VerbOutcome};
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

/// Result of a registered function.
pub type Ret<T> = Result<T, Box<EvalAltResult>>;

/// What ended the script from inside a host call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A verb ended the drill.
    Verb(VerbError),
    /// The scenario asks for something that does not exist.
    Script {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The run was cancelled between two operations.
    Cancelled,
}

/// A mistake in the scenario that only its values show.
pub fn mistake<T>(c: &NativeCallContext<'_>, message: impl Into<String>, help: impl Into<String>) -> Ret<T> {
    raise(Fault::Script { message: message.into(), help: Some(help.into()) }, c.call_position())
}

/// A verb's result as Rhai's.
pub fn done<T>(c: &NativeCallContext<'_>, result: Done<T>) -> Ret<T> {
    result.or_else(|e| raise(Fault::Verb(e), c.call_position()))
}

/// Where the call stands; a call made by Rhai itself counts as the start of the text.
pub fn place(c: &NativeCallContext<'_>) -> Pos {
    Pos::from_rhai(c.call_position()).unwrap_or(Pos { line: 1, col: 1 })
}

/// The failure of the drilled system that this error is; `None` for everything else.
pub fn failure_of(error: &EvalAltResult) -> Option<VerbError> {
    let failed = |e: &VerbError| e.outcome == VerbOutcome::Failed;
    match error {
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Fault>()? {
            Fault::Verb(error) if failed(&error) => Some(error),
            _ => None,
        },
        // `throw "…"` is the scenario's own word that something is not as it must be.
        EvalAltResult::ErrorRuntime(thrown, _) => {
            Some(VerbError::new(VerbOutcome::Failed, thrown.to_string()))
        }
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => failure_of(inner),
        _ => None,
    }
}

fn raise<T>(fault: Fault, at: Position) -> Ret<T> {
    Err(Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(fault), at)))
}

/// What a Rhai error says in the words of the scenario language, with advice where there is some.
pub fn explain(error: &EvalAltResult) -> Diagnostic {
    let pos = Pos::from_rhai(error.position());
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, at) => {
            let mut d = explain(inner);
            d.pos = d.pos.or(Pos::from_rhai(*at));
            d
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => explain_call(signature, pos),
        EvalAltResult::ErrorParsing(kind, _) => explain_parse(kind, pos),
        EvalAltResult::ErrorTooManyOperations(_) => Diagnostic::error(
            pos,
            format!("the scenario made more than {} operations", super::engine::MAX_OPERATIONS),
        )
        .with_help("a scenario waits with wait_ready and wait_text, not with loops"),
        other => {
            let mut bare = other.to_string();
            if let Some(cut) = bare.rfind(" (line ") {
                bare.truncate(cut);
            }
            Diagnostic::error(pos, bare)
        }
    }
}

/// A parse error in the words of the scenario language.
pub fn explain_parse(kind: &rhai::ParseErrorType, pos: Option<Pos>) -> Diagnostic {
    use rhai::ParseErrorType as K;
    match kind {
        K::VariableUndefined(name) => Diagnostic::error(pos, format!("nothing is called {name}"))
            .with_help(format!("give it a value first: let {name} = …;")),
        K::Reserved(word) => Diagnostic::error(pos, format!("{word} is not part of the scenario language"))
            .with_help("a scenario reads no other files, has no clock and ends at its last line"),
        K::MissingToken(token, _) if token == ";" => Diagnostic::error(pos, kind.to_string())
            .with_help("most often it is missing at the end of the line before"),
        other => Diagnostic::error(pos, other.to_string()),
    }
}

/// `name (Type, Type)` as Rhai writes it, with what that verb wants.
fn explain_call(signature: &str, pos: Option<Pos>) -> Diagnostic {
    let (name, given) = match signature.split_once(" (") {
        Some((name, rest)) => (name.trim(), rest.trim_end_matches(')')),
        None => (signature.trim(), ""),
    };
    let given = words_of(given);
    let verbs: Vec<_> = super::api::verbs().filter(|v| v.name == name).collect();
    if verbs.is_empty() {
        let d = Diagnostic::error(pos, format!("there is no {name}({given})"));
        return match super::api::nearest(name, super::api::verbs().map(|v| v.name)) {
            Some(near) => d.with_help(format!("did you mean {near}?")),
            None => d.with_help("docs/scenario-reference.md lists every verb"),
        };
    }
    let wanted = verbs.iter().map(|v| v.signature()).collect::<Vec<_>>().join(", or ");
    let hint = if given.contains("Number") && verbs.iter().any(|v| v.wants(super::api::Ty::Duration)) {
        "; a duration has a unit: 90.seconds, 3.minutes"
    } else {
        ""
    };
    Diagnostic::error(pos, format!("{name} does not take ({given})"))
        .with_help(format!("it is {wanted}{hint}"))
}

/// Rhai's type names in ours.
fn words_of(types: &str) -> String {
    let word = |t: &str| match t.trim() {
        "i64" => "Number".to_owned(),
        "f64" => "Fraction".to_owned(),
        "&str | ImmutableString | String" | "string" | "ImmutableString" => "Text".to_owned(),
        "map" => "#{…}".to_owned(),
        "bool" => "Bool".to_owned(),
        "()" => "nothing".to_owned(),
        other => other.to_owned(),
    };
    types.split(',').filter(|t| !t.trim().is_empty()).map(word).collect::<Vec<_>>().join(", ")
}
