//! What the run folders tell: the list of runs, and why the last one that did not pass did not.
//!
//! Folders and journals may be damaged, foreign or half written: such a run is listed as what it is.

mod why;

pub use why::{Why, why};

use crate::control;
use crate::event::{Event, Header, Kind, Scenario};
use crate::journal::{self, Reader, Step};
use crate::pointer::read_window;
use crate::verdict::Outcome;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Folder of run folders, below the folder where drill is called.
pub const RUNS: &str = ".drill/runs";
/// Most runs that are listed, newest first.
pub const MAX_RUNS: usize = 10_000;
/// Where a run's start and end are looked for: the first events, and the last bytes.
const FIRST_EVENTS: usize = 8;
const LAST_BYTES: usize = 256 * 1024;

/// A run folder.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Run {
    /// The folder.
    pub dir: PathBuf,
    /// The folder's name.
    pub name: String,
    /// When it started.
    pub started: Option<jiff::Timestamp>,
    /// What ran.
    pub scenario: Scenario,
    /// Where it stands.
    pub state: State,
}

/// Where a run stands.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It ended.
    Finished {
        /// How.
        outcome: Outcome,
        /// Lab time, milliseconds.
        took_ms: u64,
    },
    /// It goes on: its control socket answers.
    Running,
    /// It has no end and nobody answers: it was killed.
    Died,
    /// Its journal cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
}

impl State {
    /// The outcome for people and for sorting; `None` while it runs. A run that died or cannot be read is broken.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Finished { outcome, .. } => Some(*outcome),
            Self::Running => None,
            Self::Died | Self::Unreadable { .. } => Some(Outcome::Broken),
        }
    }
}

/// The runs in a folder, newest first. A folder that is not there has none.
///
/// # Errors
/// When the folder is there but cannot be read.
pub fn runs(root: &Path) -> io::Result<Vec<Run>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(journal::FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    // Names begin with the time, so this sorts by time, and costs no reading.
    names.sort_unstable_by(|a, b| b.cmp(a));
    names.truncate(MAX_RUNS);
    let mut runs: Vec<Run> = names.into_iter().map(|name| look(root.join(&name), name)).collect();
    // A stable sort: runs without a time keep their place by name.
    if runs.iter().all(|run| run.started.is_some()) {
        runs.sort_by_key(|run| std::cmp::Reverse(run.started));
    }
    Ok(runs)
}

/// One run folder.
#[must_use]
pub fn look(dir: PathBuf, name: String) -> Run {
    let mut run = Run { dir, name, started: None, scenario: Scenario::default(), state: State::Died };
    if let Err(why) = look_into(&mut run) {
        run.state = State::Unreadable { why };
    }
    run
}

fn look_into(run: &mut Run) -> Result<(), String> {
    let mut reader = match Reader::open(&run.dir) {
        Ok(reader) => reader,
        Err(_) if control::is_alive(&run.dir) => {
            run.state = State::Running;
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    run.started = Some(reader.header().started);
    for _ in 0..FIRST_EVENTS {
        match reader.next_step().map_err(|error| error.to_string())? {
            Step::Event(event) => {
                if let Kind::RunStarted { scenario, .. } = event.kind {
                    run.scenario = scenario;
                    break;
                }
            }
            Step::Damage { .. } => {}
            Step::End { .. } => break,
        }
    }
    run.state = match last_event(reader.path()).map_err(|error| error.to_string())? {
        Some(Event { kind: Kind::RunFinished { outcome, took_ms, .. }, .. }) => {
            State::Finished { outcome, took_ms }
        }
        _ if control::is_alive(&run.dir) => State::Running,
        _ => State::Died,
    };
    Ok(())
}

/// The last whole line of a journal, when it is an event.
fn last_event(journal: &Path) -> io::Result<Option<Event>> {
    let file = File::open(journal)?;
    let end = file.metadata()?.len();
    let bytes = read_window(&file, end.saturating_sub(LAST_BYTES as u64), LAST_BYTES)?;
    let Some(whole) = bytes.iter().rposition(|byte| *byte == b'\n').and_then(|at| bytes.get(..at)) else {
        return Ok(None);
    };
    let start = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    Ok(whole.get(start..).and_then(|line| serde_json::from_slice(line).ok()))
}

/// The header of a run, when it can be read.
#[must_use]
pub fn header(run: &Run) -> Option<Header> {
    journal::read_header(&run.dir).ok()
}
