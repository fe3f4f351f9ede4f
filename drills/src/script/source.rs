//! A scenario's text and places in it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place in a scenario: line and column, both from 1, columns in characters. Rhai keeps a start, never a span.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Pos {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
}

impl Pos {
    /// Rhai's position; `None` when it has none.
    pub fn from_rhai(p: rhai::Position) -> Option<Pos> {
        let line = u32::try_from(p.line()?).ok()?;
        let col = u32::try_from(p.position().unwrap_or(1)).ok()?;
        Some(Pos { line, col: col.max(1) })
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.col)
    }
}

/// A scenario as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The name to show: a path, or `stock:failover`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A source of this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Source { name: name.into(), text: text.into() }
    }

    /// The byte range of the word that starts at `pos`, or of the nearest character when no word starts there; within the text, always.
    pub fn word_at(&self, pos: Pos) -> std::ops::Range<usize> {
        let mut start = 0usize;
        for (number, line) in self.text.split_inclusive('\n').enumerate() {
            if number.saturating_add(1) == pos.line as usize {
                let body = line.trim_end_matches(['\n', '\r']);
                let skip = (pos.col as usize).saturating_sub(1);
                let at = body.char_indices().nth(skip).map_or(body.len(), |(i, _)| i);
                let tail = body.get(at..).unwrap_or("");
                let word = tail
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .map(char::len_utf8)
                    .sum::<usize>();
                let len = word.max(tail.chars().next().map_or(0, char::len_utf8));
                let from = start.saturating_add(at);
                return from..from.saturating_add(len);
            }
            start = start.saturating_add(line.len());
        }
        self.text.len()..self.text.len()
    }
}
