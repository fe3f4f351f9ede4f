//! What must never be written: secrets by their value, and whatever a pattern describes, taken out of every stream before it reaches a file.
//!
//! ```text
//!   bytes ─► Stream (values; what may become one is held back) ─┬─► console memory, ladder, evidence
//!                                                               └─► Lines (patterns; whole lines) ─► log
//!   text ──► Redactor::text (both)        rows of a screen ──► Redactor::mask (both, cell by cell)
//! ```
//!
//! A value is found although it arrives in pieces, is broken over lines by a terminal, or has escape sequences and taken-back
//! characters in it: only what can be seen is compared. Patterns see one line at a time, as it looks without escape sequences.
//!
//! **Invariant: a part is treated like the whole.** What ends in half a secret or more is cut there, and says so.

mod stream;
#[cfg(test)]
mod tests;

pub use stream::{Lines, Stream};

use crate::screen::{Screen, UNREAD};
use regex::Regex;
use std::sync::{Arc, PoisonError, RwLock};
use stream::Escape;

/// Shortest secret, in bytes that can be seen: a shorter one stands in every other text by chance.
pub const MIN_SECRET: usize = 4;
/// Longest secret, bytes: a key file, not a disk.
pub const MAX_SECRET: usize = 64 * 1024;
/// Patterns of a run.
pub const MAX_PATTERNS: usize = 100;
/// A line of a secret of several lines is a secret of its own from so many bytes on.
const MIN_LINE: usize = 8;
/// Compiled size of a pattern, bytes.
const PATTERN_SIZE: usize = 1 << 20;
/// Stands for what a pattern took out.
const REDACTED: &str = "[redacted]";
/// Stands for the beginning of a secret whose end never came.
const CUT: &str = "[secret, cut]";
/// Stands for a cell of a screen.
const MASK: char = '*';

/// Why something cannot be taken out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedactError {
    /// Too little to tell it from other text.
    #[error(
        "it has {0} characters that can be seen, wanted {MIN_SECRET} at least: a shorter one stands in other text by chance"
    )]
    Short(usize),
    /// More than a secret is.
    #[error("it has {0} bytes, wanted {MAX_SECRET} at most")]
    Long(usize),
    /// No regular expression.
    #[error("{0}")]
    Pattern(String),
    /// It would take out everything, or nothing.
    #[error("it matches the empty text")]
    Empty,
    /// More than a run has.
    #[error("there are {MAX_PATTERNS} patterns already")]
    Many,
}

#[derive(Clone, Default)]
struct Rules {
    /// What is seen of a secret, and what stands for it. Longest first.
    values: Vec<(Vec<u8>, String)>,
    patterns: Vec<Regex>,
}

/// The rules of a run. Clones share them; a rule counts from the moment it is given.
#[derive(Clone, Default)]
pub struct Redactor {
    rules: Arc<RwLock<Arc<Rules>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.rules();
        write!(f, "Redactor({} values, {} patterns)", rules.values.len(), rules.patterns.len())
    }
}

impl Redactor {
    /// From now on `value` is never written: not as it is, not a longer line of it, not in base64 (RFC 4648 §4). `name` is written
    /// in its place.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn hide(&self, name: &str, value: &str) -> Result<(), RedactError> {
        if value.len() > MAX_SECRET {
            return Err(RedactError::Long(value.len()));
        }
        let whole = seen_of(value.as_bytes());
        if whole.len() < MIN_SECRET {
            return Err(RedactError::Short(whole.len()));
        }
        let mark = format!("[secret {name}]");
        let lines = value.lines().map(|line| seen_of(line.as_bytes())).filter(|line| line.len() >= MIN_LINE);
        let encoded = crate::base64::encode(value.as_bytes()).into_bytes();
        self.change(|rules| {
            for value in lines.chain([whole, encoded]) {
                if !rules.values.iter().any(|(known, _)| *known == value) {
                    rules.values.push((value, mark.clone()));
                }
            }
            rules.values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        });
        Ok(())
    }

    /// From now on what this regular expression matches within a line is never written.
    ///
    /// # Errors
    /// When it is none, matches the empty text, or there are too many.
    pub fn pattern(&self, text: &str) -> Result<(), RedactError> {
        let built = regex::RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
        let pattern = built.map_err(|e| RedactError::Pattern(e.to_string()))?;
        if pattern.is_match("") {
            return Err(RedactError::Empty);
        }
        let mut room = true;
        self.change(|rules| {
            room = rules.patterns.len() < MAX_PATTERNS;
            if room && !rules.patterns.iter().any(|known| known.as_str() == pattern.as_str()) {
                rules.patterns.push(pattern);
            }
        });
        if room { Ok(()) } else { Err(RedactError::Many) }
    }

    /// Whether there is any rule.
    pub fn is_active(&self) -> bool {
        let rules = self.rules();
        !rules.values.is_empty() || !rules.patterns.is_empty()
    }

    /// The same text without what must not be written.
    pub fn text(&self, text: &str) -> String {
        if !self.is_active() {
            return text.to_owned();
        }
        let (mut values, mut lines) = (self.stream(), self.lines());
        let mut clean = values.push(text.as_bytes());
        clean.extend(values.finish());
        let mut out = lines.push(&clean);
        out.extend(lines.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Every text in this document, but not keys and not what stands under one of `structure`: those are words of a format.
    pub fn json(&self, value: &mut serde_json::Value, structure: &[&str]) {
        match value {
            serde_json::Value::String(text) => *text = self.text(text),
            serde_json::Value::Array(all) => all.iter_mut().for_each(|one| self.json(one, structure)),
            serde_json::Value::Object(all) => {
                for (_, value) in all.iter_mut().filter(|(key, _)| !structure.contains(&key.as_str())) {
                    self.json(value, structure);
                }
            }
            _ => {}
        }
    }

    /// The same rules, to which others may be added without these changing.
    #[must_use]
    pub fn fork(&self) -> Redactor {
        Redactor { rules: Arc::new(RwLock::new(self.rules())) }
    }

    /// A stream of its own for bytes that arrive in pieces: values are taken out.
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// A stream of its own for what a [`Stream`] gave: patterns are taken out. Without any pattern nothing is held back; with one, a
    /// line is, until it ends.
    pub fn lines(&self) -> Lines {
        Lines::new(self.clone())
    }

    /// The same screen with what must not be shown masked, and whether anything was. A value that goes on in the next row is found;
    /// a pattern is, where the row before is full.
    pub fn mask(&self, screen: Screen) -> (Screen, bool) {
        let Screen::Text(mut text) = screen else { return (screen, false) };
        let rules = self.rules();
        let mut cells: Vec<Vec<char>> = text.rows.iter().map(|row| row.chars().collect()).collect();
        let places = |rows: std::ops::Range<usize>| -> Vec<(usize, usize)> {
            let of = |row: usize| (0..cells.get(row).map_or(0, Vec::len)).map(move |column| (row, column));
            rows.flat_map(of).collect()
        };
        let mut hidden = found(&rules, &places(0..cells.len()), &cells, Rules::values_in);
        let mut first = 0;
        for row in 0..cells.len() {
            // A row that reaches the right edge goes on in the next one.
            if cells.get(row).is_some_and(|row| row.len() >= text.columns) && row + 1 < cells.len() {
                continue;
            }
            hidden.extend(found(&rules, &places(first..row + 1), &cells, Rules::patterns_in));
            first = row + 1;
        }
        for (row, column) in &hidden {
            if let Some(cell) = cells.get_mut(*row).and_then(|row| row.get_mut(*column)) {
                *cell = MASK;
            }
        }
        text.rows = cells.into_iter().map(String::from_iter).collect();
        (Screen::Text(text), !hidden.is_empty())
    }

    /// Whether a picture of this screen may be kept: always without rules; with them, when all of it was read and nothing on it had
    /// to be masked. What could not be read could be anything.
    pub fn may_keep(&self, screen: &Screen) -> bool {
        if !self.is_active() {
            return true;
        }
        let Screen::Text(text) = screen else { return false };
        let read = !text.rows.iter().any(|row| row.contains(UNREAD));
        read && !self.mask(screen.clone()).1
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = Rules::clone(&rules);
        change(&mut new);
        *rules = Arc::new(new);
    }
}

impl Rules {
    /// The longest value that `seen` starts with.
    fn whole(&self, seen: &[u8]) -> Option<&(Vec<u8>, String)> {
        self.values.iter().find(|(value, _)| seen.starts_with(value))
    }

    /// Whether `seen` is the beginning of a value, of which at least `part` of `parts` is there.
    fn begins(&self, seen: &[u8], part: usize, parts: usize) -> bool {
        let enough = |value: &[u8]| seen.len() * parts >= value.len() * part;
        self.values
            .iter()
            .any(|(value, _)| seen.len() < value.len() && value.starts_with(seen) && enough(value))
    }

    /// Where values stand in this text, as ranges of bytes; the beginning of one at its end counts from half of it on.
    fn values_in(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        let bytes = text.as_bytes();
        let mut found = Vec::new();
        for at in 0..bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some((value, _)) = self.whole(rest) {
                found.push(at..at + value.len());
            } else if self.begins(rest, 1, 2) {
                found.push(at..bytes.len());
            }
        }
        found
    }

    fn patterns_in(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        self.patterns.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| found.range()).collect()
    }
}

/// The cells in which `search` finds something, when these are read one after another.
fn found(
    rules: &Rules,
    places: &[(usize, usize)],
    cells: &[Vec<char>],
    search: fn(&Rules, &str) -> Vec<std::ops::Range<usize>>,
) -> Vec<(usize, usize)> {
    let (mut text, mut starts) = (String::new(), Vec::new());
    for (row, column) in places {
        starts.push(text.len());
        text.extend(cells.get(*row).and_then(|row| row.get(*column)));
    }
    let ranges = search(rules, &text);
    let hit = |start: &usize| ranges.iter().any(|range| range.contains(start));
    places.iter().zip(&starts).filter(|(_, start)| hit(start)).map(|(place, _)| *place).collect()
}

/// What can be seen of these bytes.
fn seen_of(bytes: &[u8]) -> Vec<u8> {
    let mut escape = Escape::default();
    bytes.iter().copied().filter(|byte| escape.shows(*byte)).collect()
}
