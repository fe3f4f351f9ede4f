//! The text report: lines as a drill runs, and a closing block.
//!
//! ```text
//! The copy starts
//!   › start(copy)
//!       vm  Gen1 · SeaBIOS · tcg · ide
//!       vm  firmware     0.8 s  SeaBIOS (version 1.16.2)
//!   ✓ start(copy)                                                    0.2 s
//! ```
//!
//! An action is one line when it ends; when something is to be said before, it is named first. The lines are the same
//! live, in a pipe and replayed; a terminal shows one more line that moves (see [`Live`]).

mod closing;
mod lines;
mod live;

pub use closing::closing;
pub use lines::Lines;
pub use live::Live;

use super::model::Model;
use super::style::Style;
use crate::event::Header;
use crate::journal::{JournalError, Reader, Step};
use std::path::Path;

/// The whole text report of a recorded run.
///
/// # Errors
/// When the journal cannot be read.
pub fn replay(path: &Path, style: Style) -> Result<String, JournalError> {
    let mut reader = Reader::open(path)?;
    let run_dir = reader.run_dir().to_owned();
    let mut lines = Lines::new(style);
    let mut model = Model::new(reader.header().clone());
    let mut text = lines.opening(reader.header());
    loop {
        let step = reader
            .next_step()
            .map_err(|source| JournalError::Io { path: reader.path().to_owned(), source })?;
        match step {
            Step::Event(event) => {
                model.apply(&event);
                text.push_str(&lines.event(&event, &model));
            }
            Step::Damage { line, why } => {
                text.push_str(&lines.damage(line, &why));
                model.damaged(line, why);
            }
            Step::End { torn } => {
                if torn {
                    text.push_str(&lines.torn());
                }
                break;
            }
        }
    }
    text.push_str(&closing(&model, &run_dir, style));
    Ok(text)
}

/// Where it ran, in a few words: `build01 (4 × AMD EPYC 7763)`.
fn host(header: &Header) -> String {
    let host = &header.host;
    let name = if host.name.is_empty() { "this host" } else { host.name.as_str() };
    match (host.cpus, host.cpu.as_str()) {
        (0, "") => name.to_owned(),
        (0, cpu) => format!("{name} ({cpu})"),
        (cpus, "") => format!("{name} ({cpus} CPUs)"),
        (cpus, cpu) => format!("{name} ({cpus} × {cpu})"),
    }
}
