//! One run of one scenario: the only place that maps engine progress and QEMU observations to events.
//!
//! ```text
//! Lab (the world, given by floor 3) ─┐
//! Request (what to run)  ────────────┼─► run() ─► run folder: journal.jsonl, scenario.rhai, consoles, plans, reports
//! cancel, sinks, inbox  ─────────────┘
//! ```
//! Machines belong to the run, not to a script value. Whatever a run makes besides its evidence lies in `work/` inside the run
//! folder and is gone when the run ends, however it ends.

mod actions;
mod asks;
mod boots;
mod bus;
mod climb;
mod files;
mod folder;
mod home;
mod lab;
mod machines;
mod nvram;
mod preflight;
mod repeat;
mod screens;
mod selftest;
mod stage;
mod sweep;

pub use actions::verdict_outcome;
pub use lab::{Fixtures, Kits, Lab, Request, Told};
pub use selftest::{Plan as SelftestPlan, selftest};
pub use sweep::sweep;

use crate::control::{Command, Inbox};
use crate::event::{EventPath, EvidenceLevel, Header, Kind, Scenario};
use crate::journal::{Recorder, Sink, since_now};
use crate::script::{self, End, Source};
use crate::verdict::{ExitCode, Outcome};
use machines::Machines;
use qemu::Cancel;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The run folder.
    pub dir: PathBuf,
    /// How it ended.
    pub outcome: Outcome,
    /// What the process answers.
    pub exit: ExitCode,
    /// The script's own mistake, drawn with a caret; empty when there was none.
    pub script_error: String,
}

/// Why a run could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run folder could not be made.
    #[error("cannot make a run folder under {}: {source}", at.display())]
    Folder {
        /// Parent folder.
        at: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal could not be started.
    #[error("cannot start the journal in {}: {source}", at.display())]
    Journal {
        /// Run folder.
        at: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Everything the verbs of one run share.
pub(crate) struct Run {
    pub(crate) lab: Arc<Lab>,
    pub(crate) recorder: Recorder,
    pub(crate) cancel: Cancel,
    /// Folder of what is thrown away at the end.
    pub(crate) work: PathBuf,
    pub(crate) place: Mutex<actions::Place>,
    pub(crate) tally: Mutex<actions::Tally>,
    pub(crate) machines: Mutex<Machines>,
    pub(crate) repeating: Mutex<repeat::Repeating>,
    /// Whether the next action waits.
    pub(crate) held: AtomicBool,
    /// Generation that given images are started as, when somebody demands one.
    pub(crate) generation: Option<qemu::Generation>,
    /// How much evidence is kept.
    pub(crate) evidence: EvidenceLevel,
}

/// Run a scenario to its end. Blocks; everything that happens is told to `sinks` and the journal as it happens.
///
/// # Errors
/// [`RunError`] when there is no place to keep the evidence; every later trouble is an outcome of the run.
pub fn run(
    lab: &Arc<Lab>,
    request: &Request,
    out: &Path,
    sinks: Vec<Box<dyn Sink>>,
    cancel: &Cancel,
) -> Result<Summary, RunError> {
    perform(lab, request, out, sinks, cancel, |run, source| script::run(source, &request.args, run.clone()))
}

/// As [`run`], whatever it is that acts.
fn perform(
    lab: &Arc<Lab>,
    request: &Request,
    out: &Path,
    sinks: Vec<Box<dyn Sink>>,
    cancel: &Cancel,
    act: impl FnOnce(&Arc<Run>, &Source) -> End,
) -> Result<Summary, RunError> {
    let started = (lab.now)();
    let dir = folder::make(out, started, &request.name())
        .map_err(|source| RunError::Folder { at: out.to_path_buf(), source })?;
    let at_dir = |source| RunError::Journal { at: dir.clone(), source };
    let work = sweep::claim(&dir).map_err(at_dir)?;
    let id = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let header = Header {
        drill_journal: crate::event::FORMAT,
        run: id,
        started,
        tool: lab.tool.clone(),
        host: lab.host_facts.clone(),
    };
    let redactor = lab.redactor.fork();
    let recorder =
        Recorder::redacting(&dir, &header, since_now(), sinks, redactor.clone()).map_err(at_dir)?;
    let source = Source::new(request.source_name.clone(), request.text.clone());
    let kept = recorder.keep("scenario.rhai", source.text.as_bytes()).ok();
    let said = script::read_header(&source).unwrap_or_default();
    let title = Some(said.title).filter(|t| !t.is_empty());
    let scenario = Scenario {
        path: request.path.display().to_string(),
        title: request.title.clone().or(title).unwrap_or_else(|| request.name()),
        source: kept.map(|p| p.artifact),
        evidence_level: said.evidence,
    };
    recorder.emit(&EventPath::RUN, Kind::RunStarted { scenario, args: request.args.clone() });

    let run = Arc::new(Run {
        lab: Arc::clone(lab),
        recorder: recorder.clone(),
        cancel: cancel.clone(),
        work: work.clone(),
        place: Mutex::default(),
        tally: Mutex::default(),
        machines: Mutex::default(),
        repeating: Mutex::default(),
        held: AtomicBool::new(false),
        generation: request.generation,
        evidence: said.evidence,
    });
    let inbox = Inbox::new();
    let listener = inbox.listen(&dir);
    if let Err(error) = &listener {
        run.say(&format!("this run cannot be steered from another terminal: {error}"));
    }
    let commands = std::thread::Builder::new().name("drill-control".into()).spawn({
        let (run, receiver) = (Arc::downgrade(&run), inbox.receiver());
        move || {
            while let Ok(command) = receiver.recv() {
                let Some(run) = run.upgrade() else { return };
                obey(&run, &command);
            }
        }
    });

    let ended = act(&run, &source);
    let script_error = redactor.text(&run.script_end(&source, &ended));
    let (outcome, exit) = run.finish();
    drop(listener);
    drop(inbox);
    drop(run);
    if let Ok(thread) = commands {
        let _ = thread.join();
    }
    // What could not be removed is said where the next start's sweep looks for it: the folder itself.
    let _ = std::fs::remove_dir_all(&work);
    let _ = recorder.sync();
    Ok(Summary { dir, outcome, exit, script_error })
}

fn obey(run: &Run, command: &Command) {
    match command {
        Command::Cancel => run.cancel.cancel(),
        Command::Send { machine, text } => run.send_to(machine, text),
        Command::Stop { machine } => run.stop_by_name(machine),
        Command::Hold => {
            run.held.store(true, Ordering::SeqCst);
            run.say("held: what runs goes on, the next action waits for release");
        }
        Command::Release => {
            run.held.store(false, Ordering::SeqCst);
            run.say("released");
        }
    }
}
