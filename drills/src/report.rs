//! Views of a run: folds over its events.
//!
//! ```text
//! Event ─► Model ─► text (live, replayed) · json · junit · (the dashboard's panes)
//! ```
//!
//! **Invariant:** a report reads events and artifacts, never disks, machines or the clock. What a journal says is
//! untrusted: everything printed goes through [`style::clean`].

pub mod console;
pub mod json;
pub mod junit;
pub mod model;
pub mod style;
pub mod text;
