//! The JSON report: one document for all runs of a command.

use super::model::{Action, Model, Status, Step};
use crate::verdict::{ExitCode, Outcome};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Version of the document's shape.
pub const VERSION: u32 = 1;

/// One document for these runs, each with its folder.
#[must_use]
pub fn document(runs: &[(PathBuf, Model)]) -> Value {
    let outcome = Outcome::worst(runs.iter().map(|(_, model)| model.outcome().unwrap_or(Outcome::Broken)));
    let codes = runs.iter().map(|(_, model)| match &model.finished {
        Some(finished) => ExitCode::from_code(finished.exit_code).unwrap_or(finished.outcome.into()),
        None => ExitCode::Broken,
    });
    json!({
        "drill_report": VERSION,
        "outcome": outcome,
        "exit_code": ExitCode::worst(codes).code(),
        "runs": runs.iter().map(|(dir, model)| run(dir, model)).collect::<Vec<_>>(),
    })
}

/// One run.
#[must_use]
pub fn run(run_dir: &Path, model: &Model) -> Value {
    json!({
        "run_dir": run_dir.display().to_string(),
        "run": model.header.as_ref().map(|header| &header.run),
        "started": model.header.as_ref().map(|header| header.started),
        "tool": model.header.as_ref().map(|header| &header.tool),
        "host": model.header.as_ref().map(|header| &header.host),
        "scenario": model.scenario,
        "args": model.args,
        "finished": model.finished.is_some(),
        "outcome": model.outcome(),
        "exit_code": model.finished.as_ref().map(|finished| finished.exit_code),
        "lab_time_ms": model.finished.as_ref().map_or(model.last_ms, |finished| finished.took_ms),
        "accelerators": model.accelerators(),
        "decisive_action": model.decisive().map(|decisive| decisive.action.id),
        "steps": model.steps.iter().map(|one| step(model, one)).collect::<Vec<_>>(),
        "machines": model.machines,
        "findings": model.findings,
        "notes": model.notes,
        "sources": model.sources,
        "proved": model.finished.as_ref().map(|finished| &finished.proved),
        "not_proved": model.finished.as_ref().map(|finished| &finished.not_proved),
        "journal": {
            "damaged_lines": model.damage.iter().map(|(line, why)| json!({"line": line, "why": why})).collect::<Vec<_>>(),
            "unknown_events": model.unknown,
            "left_out_events": model.left_out,
        },
    })
}

fn step(model: &Model, step: &Step) -> Value {
    let mut value = json!({
        "number": step.number,
        "title": step.title,
        "started_ms": step.started_ms,
        "took_ms": model.step_took_ms(step),
        "outcome": outcome(model.step_status(step)),
        "actions": model.actions_of(step).map(|one| action(model, one)).collect::<Vec<_>>(),
    });
    if let Some((_, repeated)) = &step.repeated {
        value["attempts"] = json!(step.attempts);
        value["repeated"] = json!(repeated);
        value["flaky"] = json!(repeated.is_flaky());
    }
    value
}

fn action(model: &Model, action: &Action) -> Value {
    json!({
        "id": action.id,
        "verb": action.verb,
        "args": action.args,
        "line": action.line,
        "machine": action.machine,
        "started_ms": action.started_ms,
        "took_ms": action.ended.as_ref().map(|ended| ended.took_ms),
        "outcome": outcome(model.action_status(action)),
        "detail": action.ended.as_ref().map(|ended| &ended.detail),
        "next": action.ended.as_ref().and_then(|ended| ended.next.as_ref()),
        "notes": action.notes,
        "patch": action.patch.as_ref().map(|(summary, plan)| json!({"summary": summary, "plan": plan})),
        "findings": action.findings,
    })
}

/// `null` while it runs, or when the run died in it.
fn outcome(status: Status) -> Option<Outcome> {
    match status {
        Status::Running => None,
        Status::Done(outcome) => Some(outcome),
    }
}
