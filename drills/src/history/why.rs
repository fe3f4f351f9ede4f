//! `drill why`: the last run that did not pass.

use super::{Run, State, runs};
use crate::report::model::Model;
use crate::report::style::{Style, say};
use crate::report::{console, json};
use crate::verdict::Outcome;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// Console lines that are shown.
const CONSOLE_LINES: usize = 12;

/// Why the last run that did not pass did not.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Why {
    /// Its folder.
    pub run_dir: PathBuf,
    /// The scenario's title.
    pub title: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Where: step, action, line.
    #[serde(rename = "where")]
    pub place: String,
    /// What was seen.
    pub seen: Vec<String>,
    /// The last console lines of the boot that decided it.
    pub console: Vec<String>,
    /// Since when the same scenario does not pass.
    pub since: Since,
    /// What to do, most useful first.
    pub next: Vec<String>,
    /// The whole run, as `--json` of `drill run` gives it.
    pub run: Option<serde_json::Value>,
}

/// Since when.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The first of the runs in a row that did not pass: its folder's name and when it started.
    pub first: (String, Option<jiff::Timestamp>),
    /// How many runs in a row, this one included.
    pub runs: usize,
    /// The run before them, which passed.
    pub passed_before: Option<(String, Option<jiff::Timestamp>)>,
    /// Whether a newer run of the same scenario passed meanwhile.
    pub passed_since: bool,
}

/// Explain the newest run that did not pass; `None` when there is none. Runs that go on are left out.
///
/// # Errors
/// When the folder of runs cannot be read.
pub fn why(root: &Path) -> io::Result<Option<Why>> {
    let runs = runs(root)?;
    let bad = |run: &Run| run.state.outcome().is_some_and(|outcome| outcome != Outcome::Passed);
    let Some(at) = runs.iter().position(bad) else { return Ok(None) };
    let Some(run) = runs.get(at) else { return Ok(None) };
    Ok(Some(explain(run, since(&runs, at, run))))
}

/// Runs of one path are one history.
fn same(a: &Run, b: &Run) -> bool {
    a.scenario.path == b.scenario.path && !a.scenario.path.is_empty()
}

fn since(runs: &[Run], at: usize, run: &Run) -> Since {
    let id = |run: &Run| (run.name.clone(), run.started);
    let mut since = Since { first: id(run), runs: 1, passed_before: None, passed_since: false };
    for newer in runs.iter().take(at).filter(|other| same(other, run)) {
        since.passed_since |= newer.state.outcome() == Some(Outcome::Passed);
    }
    for older in runs.iter().skip(at.saturating_add(1)).filter(|other| same(other, run)) {
        match older.state.outcome() {
            Some(Outcome::Passed) => {
                since.passed_before = Some(id(older));
                break;
            }
            Some(_) => {
                since.first = id(older);
                since.runs = since.runs.saturating_add(1);
            }
            None => {}
        }
    }
    since
}

fn explain(run: &Run, since: Since) -> Why {
    let mut why = Why {
        run_dir: run.dir.clone(),
        title: if run.scenario.title.is_empty() { run.name.clone() } else { run.scenario.title.clone() },
        outcome: run.state.outcome().unwrap_or(Outcome::Broken),
        place: "the run as a whole".to_owned(),
        seen: Vec::new(),
        console: Vec::new(),
        since,
        next: Vec::new(),
        run: None,
    };
    match &run.state {
        State::Unreadable { why: reason } => why.seen.push(format!("the journal cannot be read: {reason}")),
        State::Died => why.seen.push("the journal has no end and nobody answers: the run was killed".into()),
        State::Finished { .. } | State::Running => {}
    }
    if let Ok(model) = Model::load(&run.dir) {
        from_model(&mut why, &run.dir, &model);
        why.run = Some(json::run(&run.dir, &model));
    }
    why.next.push(format!("drill replay {}", run.dir.display()));
    if !run.scenario.path.is_empty() {
        why.next.push(format!("drill run {}", run.scenario.path));
    }
    why
}

fn from_model(why: &mut Why, run_dir: &Path, model: &Model) {
    let decisive = model.decisive();
    let action = decisive.map(|one| one.action).or_else(|| model.unfinished());
    if let Some(action) = action {
        let step = model.steps.get(action.step_index).map_or("", |step| step.title.as_str());
        let line = if action.line > 0 { format!(", line {}", action.line) } else { String::new() };
        why.place = format!("{step}: {}{line}", action.label());
    }
    if let Some(decisive) = decisive {
        if !decisive.ended.detail.is_empty() {
            why.seen.push(decisive.ended.detail.clone());
        }
        why.next.extend(decisive.ended.next.clone());
        if let Some((machine, boot)) = decisive.boot {
            if let Some(verdict) = &boot.verdict {
                let rung = verdict.rung.map_or("no rung", |rung| rung.word());
                why.seen.push(format!("{machine} came as far as {rung}: {}", verdict.cause));
                why.seen.extend(verdict.evidence.iter().map(|one| one.text.clone()));
                why.next.extend(verdict.next.clone());
            }
            if let Some(console) = &boot.console {
                why.console = console::tail(run_dir, console, CONSOLE_LINES);
            }
        }
    }
    for source in model.sources.iter().filter(|source| source.outcome != Outcome::Passed) {
        why.seen.push(format!("source {} {}: {}", source.file, source.outcome, source.detail));
    }
    if decisive.is_none() {
        let not_proved = model.finished.iter().flat_map(|finished| &finished.not_proved);
        why.seen.extend(not_proved.map(|one| format!("not proved: {one}")));
    }
    why.next.dedup();
}

impl Why {
    /// For people.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut out = format!(
            "{} {}\n\n",
            style.paint(
                self.outcome,
                &format!("{} {}", style.mark(self.outcome), self.outcome.word().to_uppercase())
            ),
            style.bold(&say(style, &self.title)),
        );
        let mut fact = |label: &str, lines: &[String]| {
            let mut label = label;
            for line in lines.iter().flat_map(|text| text.lines()) {
                out.push_str(format!("  {label:<10}{}", say(style, line)).trim_end());
                out.push('\n');
                label = "";
            }
        };
        fact("where", std::slice::from_ref(&self.place));
        fact("seen", &self.seen);
        fact("console", &self.console);
        fact("since", &[self.since.text()]);
        fact("next", &self.next);
        fact("run", &[self.run_dir.display().to_string()]);
        out
    }
}

impl Since {
    fn text(&self) -> String {
        let when = |id: &(String, Option<jiff::Timestamp>)| {
            id.1.map_or_else(|| id.0.clone(), |at| at.strftime("%F %T UTC").to_string())
        };
        let before = match &self.passed_before {
            Some(run) => format!("it passed last on {}", when(run)),
            None => "no older run passed".to_owned(),
        };
        let start = match self.runs {
            1 => format!("{}, this run; {before}", when(&self.first)),
            runs => format!("{}, {runs} runs in a row; {before}", when(&self.first)),
        };
        if self.passed_since { format!("{start}. A newer run passed.") } else { start }
    }
}
