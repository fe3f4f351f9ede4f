//! What the view asks of the world: journals, consoles, commands, new drills.

use crate::message::{Effect, Message};
use drills::journal::{Reader, Step};
use drills::report::console;
use drills::{control, history};
use std::io;
use std::path::{Path, PathBuf};

/// Lines of a journal that are read at once; the screen is drawn between.
const BATCH: usize = 4096;
/// Console lines that can be scrolled through.
const CONSOLE_LINES: usize = 2000;

/// Starts the scenario at this path; returns the run folder.
pub type Start = dyn Fn(&Path) -> io::Result<PathBuf>;

/// What floor 3 gives: things a view cannot do itself.
pub struct Hooks {
    /// Start a scenario as a process of its own, which outlives the view; returns its run folder.
    pub start: Box<Start>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

pub(crate) struct World {
    root: PathBuf,
    hooks: Hooks,
    open: Option<(PathBuf, Reader)>,
    /// A run that was just started and has no journal yet.
    awaited: Option<PathBuf>,
}

impl World {
    pub(crate) const fn new(root: PathBuf, hooks: Hooks) -> Self {
        Self { root, hooks, open: None, awaited: None }
    }

    /// Do it, and say what came of it.
    pub(crate) fn perform(&mut self, effect: Effect) -> Option<Message> {
        match effect {
            Effect::ListRuns => match history::runs(&self.root) {
                Ok(runs) => Some(Message::Runs(runs)),
                Err(error) => Some(tell("cannot list runs", &error)),
            },
            Effect::Open(dir) => self.open(dir),
            Effect::Close => {
                self.open = None;
                self.awaited = None;
                None
            }
            Effect::Poll => self.poll(),
            Effect::ReadConsole { dir, pointer, live } => {
                let lines = if live {
                    console::tail_now(&dir, &pointer, CONSOLE_LINES)
                } else {
                    console::tail(&dir, &pointer, CONSOLE_LINES)
                };
                Some(Message::Console { dir, pointer, lines })
            }
            Effect::Send(dir, command) => match control::send(&dir, &command) {
                Ok(()) => Some(Message::Tell("The run was told; it ends within seconds.".to_owned())),
                Err(error) => Some(tell("not sent", &error)),
            },
            Effect::Start(path) => match (self.hooks.start)(&path) {
                Ok(dir) => Some(Message::Started(dir)),
                Err(error) => Some(tell("not started", &error)),
            },
        }
    }

    fn open(&mut self, dir: PathBuf) -> Option<Message> {
        match Reader::open(&dir) {
            Ok(reader) => {
                let header = reader.header().clone();
                self.awaited = None;
                self.open = Some((dir.clone(), reader));
                Some(Message::Opened { dir, header })
            }
            Err(error) if !dir.join(drills::journal::FILE).exists() && dir.is_dir() => {
                self.awaited = Some(dir);
                Some(tell("waiting for the journal", &error))
            }
            Err(error) => Some(tell("not opened", &error)),
        }
    }

    /// A run that was started but had no journal then: look again.
    pub(crate) fn awaited(&mut self) -> Option<Effect> {
        let dir = self.awaited.as_ref()?;
        dir.join(drills::journal::FILE).exists().then(|| Effect::Open(dir.clone()))
    }

    fn poll(&mut self) -> Option<Message> {
        let (dir, reader) = self.open.as_mut()?;
        let mut steps = Vec::new();
        while steps.len() < BATCH {
            match reader.next_step() {
                Ok(step) => {
                    let end = matches!(step, Step::End { .. });
                    steps.push(step);
                    if end {
                        break;
                    }
                }
                Err(error) => return Some(tell("the journal cannot be read", &error)),
            }
        }
        let alive = control::is_alive(dir);
        Some(Message::Grown { dir: dir.clone(), steps, alive })
    }
}

/// An error with its causes, on one line.
fn tell(what: &str, error: &dyn std::error::Error) -> Message {
    let mut text = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Message::Tell(text)
}
