//! What can happen to the view, and what it can ask of the world.

use crate::keymap::Action;
use drills::control::Command;
use drills::event::{Header, Pointer};
use drills::history::Run;
use drills::journal::Step;
use std::path::PathBuf;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Message {
    /// A key that the table knows.
    Do(Action),
    /// Time passed.
    Tick,
    /// The runs there are.
    Runs(Vec<Run>),
    /// A run was opened; its events follow.
    Opened {
        /// Its folder.
        dir: PathBuf,
        /// The journal's header.
        header: Header,
    },
    /// The open journal has more.
    Grown {
        /// Its folder.
        dir: PathBuf,
        /// What was read.
        steps: Vec<Step>,
        /// Whether its control socket answers.
        alive: bool,
    },
    /// The last lines of a console.
    Console {
        /// The run folder.
        dir: PathBuf,
        /// Which console.
        pointer: Pointer,
        /// Its last lines.
        lines: Vec<String>,
    },
    /// A drill was started; its run folder.
    Started(PathBuf),
    /// Something to tell.
    Tell(String),
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// List the runs.
    ListRuns,
    /// Open a run.
    Open(PathBuf),
    /// Read more of the open run.
    Poll,
    /// Close the open run.
    Close,
    /// Read a console's end; of the file as it is now when the journal has no end yet.
    ReadConsole {
        /// The run folder.
        dir: PathBuf,
        /// Which console.
        pointer: Pointer,
        /// Whether the journal has no end yet.
        live: bool,
    },
    /// Send a command to a run.
    Send(PathBuf, Command),
    /// Start a scenario as a process of its own.
    Start(PathBuf),
}
