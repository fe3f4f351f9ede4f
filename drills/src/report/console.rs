//! The last lines of a serial console: a window over its file, never a copy of it.

use crate::event::Pointer;
use crate::pointer::read_window;
use crate::report::style::clean;
use std::path::Path;

/// Bytes read from the end of a console at most.
pub const WINDOW: usize = 64 * 1024;
/// Characters of one line that are kept.
pub const MAX_COLUMNS: usize = 400;

/// The last `lines` lines of a console, cleaned, blank ones at the end left out. Empty when it cannot be read.
#[must_use]
pub fn tail(run_dir: &Path, console: &Pointer, lines: usize) -> Vec<String> {
    let Ok(file) = console.artifact.open(run_dir) else { return Vec::new() };
    let end = console.offset.saturating_add(console.len);
    let start = end.saturating_sub(WINDOW as u64).max(console.offset);
    let len = usize::try_from(end.saturating_sub(start)).unwrap_or(WINDOW);
    let bytes = read_window(&file, start, len).unwrap_or_default();
    last_lines(&bytes, lines)
}

/// Like [`tail`], but of the file as it is now: for a run that goes on, whose events lag behind its console.
#[must_use]
pub fn tail_now(run_dir: &Path, console: &Pointer, lines: usize) -> Vec<String> {
    let Ok(file) = console.artifact.open(run_dir) else { return Vec::new() };
    let end = file.metadata().map_or(0, |meta| meta.len());
    let bytes = read_window(&file, end.saturating_sub(WINDOW as u64), WINDOW).unwrap_or_default();
    last_lines(&bytes, lines)
}

/// The last lines of these bytes, without escape sequences.
#[must_use]
pub fn last_lines(bytes: &[u8], lines: usize) -> Vec<String> {
    let text = without_escapes(&String::from_utf8_lossy(bytes));
    let mut all: Vec<String> = text
        .split('\n')
        // A carriage return goes back to the line's start: what was written last is what was seen.
        .map(|line| line.trim_end_matches('\r').rsplit('\r').find(|part| !part.is_empty()).unwrap_or(""))
        .map(|line| clean(line).chars().take(MAX_COLUMNS).collect())
        .collect();
    while all.last().is_some_and(|line: &String| line.trim().is_empty()) {
        all.pop();
    }
    all.split_off(all.len().saturating_sub(lines))
}

/// Take out ECMA-48 control sequences (`ESC [ … final`), operating system commands and two-character escapes.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('[') => while rest.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']') => {
                while rest.next_if(|c| !matches!(c, '\x07' | '\x1b' | '\n')).is_some() {}
                rest.next_if_eq(&'\x07');
            }
            Some('(' | ')') => {
                rest.next();
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn shows_what_was_seen() {
        let bytes = b"\x1b[2J\x1b[01;01HBdsDxe: loading\r\n\x1b[32mok\x1b[0m\r\n10%\r90%\r\nlogin: \r\n\r\n";
        assert_eq!(last_lines(bytes, 10), ["BdsDxe: loading", "ok", "90%", "login:"]);
        assert_eq!(last_lines(bytes, 2), ["90%", "login:"]);
        assert_eq!(last_lines(b"", 2), Vec::<String>::new());
        assert_eq!(last_lines(b"\x1b", 2), Vec::<String>::new());
        assert_eq!(last_lines(b"\x1b]0;title\x07after", 2), ["after"]);
    }
}
