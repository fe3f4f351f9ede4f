//! The JUnit report: one suite a run, one case a step.
//!
//! `Failed`, `Refused` and `Changed` are failures, `Broken` and `Interrupted` are errors, `NotPerformed` is skipped. A
//! last case, "the drill as a whole", carries what no step explains: an incomplete drill, a source that changed, a run
//! that was killed.

use super::console;
use super::model::{Decisive, Model, Status, Step};
use super::style::{clean, duration};
use crate::verdict::Outcome;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Console lines that a case shows.
const CONSOLE_LINES: usize = 40;

/// The report of these runs, each with its folder.
///
/// # Errors
/// When the XML cannot be written, which only happens when there is no memory for it.
pub fn document(runs: &[(PathBuf, Model)]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("drill");
    let mut total = Duration::ZERO;
    for (dir, model) in runs {
        total = total.saturating_add(took(model));
        report.add_test_suite(suite(dir, model));
    }
    report.set_time(total);
    report.to_string()
}

fn took(model: &Model) -> Duration {
    Duration::from_millis(model.finished.as_ref().map_or(model.last_ms, |finished| finished.took_ms))
}

fn suite(run_dir: &Path, model: &Model) -> TestSuite {
    let mut suite = TestSuite::new(title(model));
    suite.set_time(took(model));
    if let Some(header) = &model.header {
        suite.extra.insert("timestamp".into(), header.started.strftime("%FT%TZ").to_string().as_str().into());
        suite.extra.insert("hostname".into(), clean(&header.host.name).as_str().into());
        suite.add_property(Property::new("run", clean(&header.run)));
        suite.add_property(Property::new("tool", clean(&header.tool)));
    }
    suite.add_property(Property::new("run folder", run_dir.display().to_string()));
    suite.add_property(Property::new("scenario", clean(&model.scenario.path)));
    suite.add_property(Property::new("accelerator", clean(&model.accelerators().join(", "))));
    for one in model.finished.iter().flat_map(|finished| &finished.not_proved) {
        suite.add_property(Property::new("not proved", clean(one)));
    }
    let mut worst = Outcome::Passed;
    for step in &model.steps {
        if step.actions.is_empty() {
            continue;
        }
        let (case, outcome) = case(run_dir, model, step);
        worst = worst.max(outcome);
        suite.add_test_case(case);
    }
    let whole = model.outcome().unwrap_or(Outcome::Broken);
    if whole > worst || suite.test_cases.is_empty() {
        suite.add_test_case(as_a_whole(model, whole));
    }
    suite
}

fn title(model: &Model) -> String {
    match clean(&model.scenario.title) {
        title if title.is_empty() => "untitled drill".to_owned(),
        title => title,
    }
}

/// A step, and how bad it is.
fn case(run_dir: &Path, model: &Model, step: &Step) -> (TestCase, Outcome) {
    let (outcome, word) = match model.step_status(step) {
        Status::Done(outcome) => (outcome, outcome.word()),
        Status::Running if model.finished.is_some() => (Outcome::Interrupted, "not finished"),
        Status::Running => (Outcome::Broken, "the run ended, or was killed, in this step"),
    };
    let mut status = status(outcome);
    let bad = model.actions_of(step).find(|action| match model.action_status(action) {
        Status::Done(one) => one != Outcome::Passed && one == outcome,
        Status::Running => true,
    });
    if let Some(action) = bad.filter(|_| outcome != Outcome::Passed) {
        let detail = action.ended.as_ref().map(|ended| ended.detail.as_str()).filter(|text| !text.is_empty());
        status.set_message(clean(&format!("{}: {}", action.label(), detail.unwrap_or(word))));
        status.set_type(word);
        let mut text = String::new();
        if action.line > 0 {
            text.push_str(&format!("{} line {}\n", model.scenario.path, action.line));
        }
        text.push_str(detail.unwrap_or(word));
        if let Some(next) = action.ended.as_ref().and_then(|ended| ended.next.as_ref()) {
            text.push_str(&format!("\nnext: {next}"));
        }
        status.set_description(lines(&text));
    }
    // Surefire's words: a failed attempt of a case that passed is flaky, of one that did not a rerun.
    for attempt in step.attempts.iter().filter(|one| one.outcome != Outcome::Passed) {
        let mut rerun = TestRerun::new(NonSuccessKind::Failure);
        rerun.set_message(clean(&format!("attempt {}: {}", attempt.attempt, attempt.detail)));
        rerun.set_type(attempt.outcome.word());
        status.add_rerun(rerun);
    }
    let mut case = TestCase::new(clean(&step.title), status);
    case.set_classname(title(model));
    if let Some((_, repeated)) = &step.repeated {
        case.add_property(Property::new("attempts", repeated.to_string()));
        if let Some(q) = &repeated.quarantine {
            let word = if q.in_force { "until" } else { "ended on" };
            case.add_property(Property::new(
                "quarantine",
                clean(&format!("{word} {}: {}", q.until, q.reason)),
            ));
        }
    }
    case.set_time(Duration::from_millis(model.step_took_ms(step)));
    if outcome != Outcome::Passed
        && let Some(decisive) = model.decisive().filter(|one| one.step.is_some_and(|s| std::ptr::eq(s, step)))
    {
        let said = evidence(run_dir, &decisive);
        if !said.is_empty() {
            case.set_system_out(said);
        }
    }
    (case, outcome)
}

/// How far the boot came, and its last console lines.
fn evidence(run_dir: &Path, decisive: &Decisive<'_>) -> String {
    let Some((machine, boot)) = decisive.boot else { return String::new() };
    let mut text = format!("{machine}, start {}, Gen{}, {}\n", boot.boot, boot.generation, boot.firmware);
    for reached in boot.attempts.iter().flat_map(|attempt| &attempt.rungs) {
        text.push_str(&format!("{:<9}{:>10}\n", reached.rung.word(), duration(reached.at_ms)));
    }
    if let Some(verdict) = &boot.verdict {
        text.push_str(&format!("{}: {}\n", verdict.outcome, clean(&verdict.cause)));
        for one in &verdict.evidence {
            text.push_str(&format!("seen: {}\n", clean(&one.text)));
        }
    }
    if let Some(console) = &boot.console {
        let tail = console::tail(run_dir, console, CONSOLE_LINES);
        text.push_str(&format!(
            "\nlast {} lines of {}:\n{}\n",
            tail.len(),
            console.artifact,
            tail.join("\n")
        ));
    }
    lines(&text)
}

fn as_a_whole(model: &Model, outcome: Outcome) -> TestCase {
    let mut status = status(outcome);
    if outcome != Outcome::Passed {
        let not_proved = model.finished.iter().flat_map(|finished| finished.not_proved.iter().cloned());
        let sources = model.sources.iter().filter(|source| source.outcome != Outcome::Passed);
        let sources =
            sources.map(|source| format!("source {} {}: {}", source.file, source.outcome, source.detail));
        let why: Vec<String> = sources.chain(not_proved).collect();
        let message = if model.finished.is_some() { outcome.meaning() } else { "the journal has no end" };
        status.set_message(message).set_type(outcome.word());
        status.set_description(lines(&why.join("\n")));
    }
    let mut case = TestCase::new("the drill as a whole", status);
    case.set_classname(title(model));
    case
}

fn status(outcome: Outcome) -> TestCaseStatus {
    match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed | Outcome::Refused | Outcome::Changed => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::Broken | Outcome::Interrupted => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::NotPerformed => TestCaseStatus::skipped(),
    }
}

/// [`clean`], but lines stay lines.
fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}
