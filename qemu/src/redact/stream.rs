//! Bytes that arrive in pieces.

use super::{CUT, REDACTED, Redactor, Rules};

/// Bytes held back at most: a secret, and the escape sequences that a terminal may put between its characters.
const MAX_HELD: usize = 2 * super::MAX_SECRET;
/// A longer line is looked at in pieces.
const MAX_LINE: usize = 64 * 1024;

/// Inside which kind of escape sequence the next byte stands (ECMA-48 §5.4, §8.3.89).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Escape {
    #[default]
    None,
    Started,
    Csi,
    Text,
}

impl Escape {
    /// Takes a byte; whether it can be seen.
    pub fn shows(&mut self, byte: u8) -> bool {
        let (next, shows) = match (*self, byte) {
            (_, 0x1b) => (Escape::Started, false),
            (Escape::Started, b'[') => (Escape::Csi, false),
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Text, false),
            (Escape::Started, 0x20..=0x2f) => (Escape::Started, false),
            (Escape::Csi, 0x20..=0x3f) => (Escape::Csi, false),
            (Escape::Text, 0x20.. | b'\t') => (Escape::Text, false),
            (Escape::Started | Escape::Csi, 0x40..=0x7e) => (Escape::None, false),
            (_, byte) => (Escape::None, byte == b'\t' || (byte >= 0x20 && byte != 0x7f)),
        };
        *self = next;
        shows
    }
}

/// Takes values out of bytes. What may be the beginning of one is held back until the next bytes tell.
#[derive(Debug)]
pub struct Stream {
    redactor: Redactor,
    escape: Escape,
    held: Vec<u8>,
    /// What can be seen of `held`: a byte and where it stands.
    seen: Vec<(u8, usize)>,
}

impl Stream {
    pub(super) fn new(redactor: Redactor) -> Stream {
        Stream { redactor, escape: Escape::None, held: Vec::new(), seen: Vec::new() }
    }

    /// Takes bytes; gives those that may be written.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let rules = self.redactor.rules();
        if rules.values.is_empty() && self.held.is_empty() {
            // A value that is given later may find itself inside an escape sequence.
            for byte in bytes {
                self.escape.shows(*byte);
            }
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let at = self.held.len();
            self.held.push(*byte);
            if self.escape.shows(*byte) {
                self.seen.push((*byte, at));
            } else if *byte == 0x08 {
                // A terminal takes a character back, most often to draw it again at the start of the next row.
                self.seen.pop();
            }
            self.settle(&rules, &mut out, false);
        }
        out
    }

    /// No more comes: gives the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.settle(&self.redactor.rules(), &mut out, true);
        out
    }

    fn settle(&mut self, rules: &Rules, out: &mut Vec<u8>, ended: bool) {
        while let Some((first, _)) = self.seen.first() {
            // Most bytes begin nothing.
            if !rules.values.iter().any(|(value, _)| value.first() == Some(first)) {
                self.pass(out);
                continue;
            }
            let seen: Vec<u8> = self.seen.iter().map(|(byte, _)| *byte).collect();
            if !ended && rules.begins(&seen, 0, 1) && self.held.len() < MAX_HELD {
                return;
            }
            if let Some((value, mark)) = rules.whole(&seen) {
                out.extend_from_slice(mark.as_bytes());
                self.drop_seen(value.len());
            } else if rules.begins(&seen, 1, 2) {
                out.extend_from_slice(CUT.as_bytes());
                self.drop_seen(seen.len());
            } else {
                self.pass(out);
            }
        }
        out.append(&mut self.held);
    }

    /// Lets the first byte that can be seen through, with what belongs to it.
    fn pass(&mut self, out: &mut Vec<u8>) {
        let end = self.seen.get(1).map_or(self.held.len(), |(_, at)| *at);
        out.extend(self.held.drain(..end));
        self.moved(1, end);
    }

    fn drop_seen(&mut self, count: usize) {
        let end = self.seen.get(count.saturating_sub(1)).map_or(self.held.len(), |(_, at)| at + 1);
        self.held.drain(..end);
        self.moved(count, end);
    }

    fn moved(&mut self, seen: usize, bytes: usize) {
        self.seen.drain(..seen.min(self.seen.len()));
        self.seen.iter_mut().for_each(|(_, at)| *at = at.saturating_sub(bytes));
    }
}

/// Takes what patterns match out of lines. With any pattern a line is held back until it ends.
#[derive(Debug)]
pub struct Lines {
    redactor: Redactor,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(redactor: Redactor) -> Lines {
        Lines { redactor, line: Vec::new() }
    }

    /// Takes bytes; gives those that may be written.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let rules = self.redactor.rules();
        let mut out = std::mem::take(&mut self.line);
        out.extend_from_slice(bytes);
        if rules.patterns.is_empty() {
            return out;
        }
        let end = match out.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if out.len() >= MAX_LINE => out.len(),
            None => 0,
        };
        self.line = out.split_off(end);
        out.split_inclusive(|byte| *byte == b'\n').flat_map(|line| without(&rules, line)).collect()
    }

    /// No more comes: gives the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        without(&self.redactor.rules(), &std::mem::take(&mut self.line))
    }
}

/// A line without what the patterns match in what can be seen of it.
fn without(rules: &Rules, line: &[u8]) -> Vec<u8> {
    let mut escape = Escape::default();
    let seen: Vec<(usize, u8)> =
        line.iter().copied().enumerate().filter(|(_, byte)| escape.shows(*byte)).collect();
    // Bytes that are no UTF-8 are one character each, so that places stay what they are.
    let bytes: Vec<u8> = seen.iter().map(|(_, byte)| *byte).collect();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => e.into_bytes().iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect(),
    };
    let mut ranges = rules.patterns_in(&text);
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let (mut out, mut done) = (Vec::with_capacity(line.len()), 0);
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        let place = |at: usize| seen.get(at).map_or(line.len(), |(place, _)| *place);
        let (from, to) = (place(range.start), place(range.end - 1) + 1);
        if from >= done {
            out.extend_from_slice(line.get(done..from).unwrap_or_default());
            out.extend_from_slice(REDACTED.as_bytes());
        }
        done = done.max(to);
    }
    out.extend_from_slice(line.get(done..).unwrap_or_default());
    out
}
