//! GRUB breaks a message that is wider than its terminal, behind a space, which it drops, or behind a `/`:
//!
//! ```text
//! error: file
//! `/EFI/Linux/
//! 5d1f0c3a7b1e4c529d0e6a2f4be8c0ab-6.12.117+deb13-amd64.efi' not found.
//! ```
//! Seen with GRUB 2.06 under SeaBIOS. Here it is one line again, so that a long name hides no cause.

use super::{Evidence, Source};

/// Most lines that one message is put together of: a path is rarely longer than three of 80 columns.
const LINES_MAX: usize = 6;

/// A message of which the end has not come yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Wrapped {
    held: Option<(Evidence, usize)>,
}

impl Wrapped {
    /// The whole message, once `evidence` is the last line of a broken one; its time is that of the first line.
    pub(super) fn join(&mut self, evidence: &Evidence) -> Option<Evidence> {
        if !matches!(evidence.source, Source::Serial | Source::Serial2 | Source::Screen) {
            return None;
        }
        if let Some(begin) = begin(&evidence.line) {
            self.held = Some((Evidence { line: begin.to_owned(), ..evidence.clone() }, 1));
            return None;
        }
        let (mut whole, lines) = self.held.take().filter(|(held, _)| held.source == evidence.source)?;
        if !whole.line.ends_with('/') {
            whole.line.push(' ');
        }
        whole.line.push_str(&evidence.line);
        if whole.line.ends_with('.') {
            return Some(whole);
        }
        let lines = lines.saturating_add(1);
        self.held = Some((whole, lines)).filter(|_| lines < LINES_MAX);
        None
    }
}

/// The part of a line with which such a message begins and does not end.
fn begin(line: &str) -> Option<&str> {
    let begin = line.get(line.find("error: ")?..)?;
    let names = ["error: file", "error: disk"];
    let is_named =
        names.iter().any(|n| begin.strip_prefix(n).is_some_and(|r| r.is_empty() || r.starts_with(" `")));
    (is_named && !begin.ends_with('.')).then_some(begin)
}
