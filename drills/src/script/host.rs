//! Runs one scenario on its own thread.

use super::api::{self, Host};
use super::diagnostic::Diagnostic;
use super::fault::{Fault, explain, explain_parse};
use super::source::{Pos, Source};
use super::stage::{Stage, VerbError, VerbOutcome};
use super::{engine, header};
use rhai::{AST, Dynamic, Engine, EvalAltResult};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Stack of the script thread in bytes: more than the limits on nesting can use, so that a deep scenario is an error, never a crash.
const STACK_BYTES: usize = 64 << 20;

/// How a scenario ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It reached its last line.
    Completed,
    /// A verb ended it.
    Verb {
        /// Why.
        error: VerbError,
        /// Which call.
        pos: Option<Pos>,
    },
    /// The scenario itself is wrong.
    Script(Diagnostic),
    /// The run was cancelled.
    Interrupted {
        /// Where the script was.
        pos: Option<Pos>,
    },
}

impl End {
    /// The picture with a caret into the scenario; `None` when it completed.
    pub fn render(&self, source: &Source) -> Option<String> {
        let diagnostic = match self {
            End::Completed => return None,
            End::Verb { error, pos } => {
                Diagnostic { help: error.next.clone(), ..Diagnostic::error(*pos, error.message.clone()) }
            }
            End::Script(d) => d.clone(),
            End::Interrupted { pos } => Diagnostic::error(*pos, "interrupted here"),
        };
        Some(diagnostic.render(source))
    }
}

/// Compiles a scenario.
///
/// # Errors
/// What is wrong with it, and where.
pub fn compile(engine: &Engine, source: &Source) -> Result<AST, Diagnostic> {
    if source.text.len() > engine::MAX_SOURCE_BYTES {
        return Err(Diagnostic::error(None, format!("the scenario has {} bytes", source.text.len()))
            .with_help(format!("at most {} are read", engine::MAX_SOURCE_BYTES)));
    }
    engine.compile(&source.text).map_err(|e| {
        let found = explain_parse(e.err_type(), Pos::from_rhai(e.position()));
        match e.err_type() {
            rhai::ParseErrorType::VariableUndefined(name) => match api::nearest(name, named(&source.text)) {
                Some(near) => found.with_help(format!("did you mean {near}?")),
                None => found,
            },
            _ => found,
        }
    })
}

/// The names a text gives values to, as far as that shows without a tree: the words behind `let` and `const`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    std::iter::from_fn(move || {
        words.by_ref().find(|w| ["let", "const"].contains(w))?;
        words.next()
    })
}

/// Runs a scenario to its end on a thread of its own; `set` are the values of `--set`. Blocks until it ended. Machines that are still
/// up afterwards are the stage's to end.
pub fn run(source: &Source, set: &BTreeMap<String, String>, stage: Arc<dyn Stage>) -> End {
    let host = Host { stage, set: Arc::new(set.clone()) };
    let source = source.clone();
    let script = std::thread::Builder::new()
        .name("scenario".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || interpret(&source, &host));
    let broken = |what: String| End::Verb { error: VerbError::new(VerbOutcome::Broken, what), pos: None };
    match script.map(std::thread::JoinHandle::join) {
        Ok(Ok(end)) => end,
        Ok(Err(_)) => broken("the script thread panicked; this is a defect of drill".to_owned()),
        Err(e) => broken(format!("no thread for the scenario: {e}")),
    }
}

fn interpret(source: &Source, host: &Host) -> End {
    let mut engine = engine::bare();
    api::register(&mut engine, host);
    let stage = host.stage.clone();
    engine.on_print(move |text| stage.note(text, None));
    let stage = host.stage.clone();
    engine.on_debug(move |text, _, pos| stage.note(text, Pos::from_rhai(pos)));
    let stage = host.stage.clone();
    engine.on_progress(move |_| stage.cancelled().then(|| Dynamic::from(Fault::Cancelled)));
    let ast = match compile(&engine, source) {
        Ok(ast) => ast,
        Err(d) => return End::Script(d),
    };
    if let Err(d) = header::from_ast(&ast) {
        return End::Script(d);
    }
    match engine.run_ast(&ast) {
        Ok(()) => End::Completed,
        Err(e) => end_of(&e),
    }
}

fn end_of(error: &EvalAltResult) -> End {
    let pos = Pos::from_rhai(error.position());
    match error {
        EvalAltResult::ErrorTerminated(token, _) => match token.clone().try_cast::<Fault>() {
            Some(Fault::Verb(error)) if error.outcome == VerbOutcome::Interrupted => End::Interrupted { pos },
            Some(Fault::Verb(error)) => End::Verb { error, pos },
            Some(Fault::Script { message, help }) => {
                End::Script(Diagnostic { help, ..Diagnostic::error(pos, message) })
            }
            Some(Fault::Cancelled) | None => End::Interrupted { pos },
        },
        // `throw "…"` is the scenario's own word that something is not as it must be.
        EvalAltResult::ErrorRuntime(thrown, _) => {
            End::Verb { error: VerbError::new(VerbOutcome::Failed, thrown.to_string()), pos }
        }
        EvalAltResult::ErrorInFunctionCall(_, _, inner, at) => match end_of(inner) {
            End::Verb { error, pos } => End::Verb { error, pos: pos.or(Pos::from_rhai(*at)) },
            other => other,
        },
        other => End::Script(explain(other)),
    }
}
