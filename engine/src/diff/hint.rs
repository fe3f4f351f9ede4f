//! The difference of two small texts, as a unified diff that is cut short.

use similar::{ChangeTag, TextDiff};

/// Longest file that is shown.
pub(super) const TEXT_MAX: u64 = 64 << 10;
/// Most lines of a file that is shown: the work grows with the product of both.
const LINES_MAX: usize = 2000;
/// Characters of a line that are shown.
const WIDTH_MAX: usize = 160;
/// Lines of context around a change.
const CONTEXT: usize = 1;

/// A unified diff of at most `limit` lines, and how many were cut. `None` when either is no text.
pub(super) fn unified(a: &[u8], b: &[u8], limit: usize) -> Option<(Vec<String>, u64)> {
    let (a, b) = (text(a)?, text(b)?);
    let diff = TextDiff::from_lines(a, b);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        lines.push(hunk.header().to_string());
        for change in hunk.iter_changes() {
            let mark = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(cut(mark, change.value().trim_end_matches(['\n'])));
            if change.missing_newline() {
                lines.push("\\ no newline at the end".to_string());
            }
        }
    }
    let more = lines.len().saturating_sub(limit) as u64;
    lines.truncate(limit);
    Some((lines, more))
}

/// UTF-8 without control characters, and not too long.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    (plain && text.lines().count() <= LINES_MAX).then_some(text)
}

fn cut(mark: char, line: &str) -> String {
    let mut shown: String = std::iter::once(mark).chain(line.chars().take(WIDTH_MAX)).collect();
    if line.chars().nth(WIDTH_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn shows_what_changed_and_cuts_the_rest() {
        let a = b"one\ntwo\nthree\nfour\nfive\n";
        let (lines, more) = unified(a, b"one\ntwo\n3\nfour\nfive\n", 10).expect("text");
        assert_eq!(lines, ["@@ -2,3 +2,3 @@", " two", "-three", "+3", " four"]);
        assert_eq!(more, 0);
        let (lines, more) = unified(b"", b"1\n2\n3\n4\n", 3).expect("text");
        assert_eq!((lines.len(), more), (3, 2), "{lines:?}");
        let (lines, _) = unified(b"end\n", b"end", 10).expect("text");
        assert_eq!(lines, ["@@ -1 +1 @@", "-end", "+end", "\\ no newline at the end"]);
        let long = "x".repeat(500);
        let (lines, _) = unified(b"", long.as_bytes(), 10).expect("text");
        assert_eq!(lines.get(1).map(|l| l.chars().count()), Some(162), "{lines:?}");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        for bytes in [&b"\x7fELF\x02\0"[..], b"\xff\xfe", b"\x1b[2J"] {
            assert_eq!(unified(b"text\n", bytes, 10), None, "{bytes:?}");
        }
        assert_eq!(unified(b"", "\n".repeat(2001).as_bytes(), 10), None);
    }
}
