//! A full-screen view of drills: the runs there are, and one run, live or recorded.
//!
//! ```text
//!   keys ─► keymap ─► Message ─► update(App) ─► Effects ─► world ─► Message …
//!   view(&App) draws
//! ```
//!
//! - [`model`] holds all state; [`update`] is pure and alone changes it; [`view`] only reads it.
//! - `world` reads journals and consoles (windows over files, never copies of them) and sends commands; `terminal`
//!   owns the screen and gives it back, also after a panic or a SIGTERM.
//! - One table in [`keymap`] makes the keys, the footer and the help.
//!
//! **Invariants:** the view reads journals and artifacts, never disks or machines. A drill is another process: leaving
//! the view never ends it.

pub mod keymap;
pub mod message;
pub mod model;
mod terminal;
pub mod update;
pub mod view;
mod world;

pub use model::App;
pub use terminal::{TuiError, run};
pub use world::{Hooks, Start};

use drills::report::style::Style;
use std::path::PathBuf;

/// What the view is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of run folders.
    pub root: PathBuf,
    /// A run folder to open at once.
    pub open: Option<PathBuf>,
    /// Scenarios that can be started.
    pub scenarios: Vec<PathBuf>,
    /// ASCII only, colours.
    pub style: Style,
}
