//! A serial console: bytes in, text out. Escape sequences are taken out for matching; the raw bytes go to a log.

/// Text kept for matching and reading back. Older text is forgotten (the log has it all).
pub const MAX_TEXT: usize = 1024 * 1024;
/// A line longer than this is broken in two.
pub const MAX_LINE: usize = 8 * 1024;
/// The beginning of a line that is longer is no prompt, and not told: a flood without line ends would be read again with each byte.
const MAX_PROMPT: usize = 512;
/// An escape sequence longer than this was none.
const MAX_ESCAPE: usize = 64;

/// A place in the text of a console; a wait from here cannot match what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(u64);

/// A line, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Ended by the guest.
    Whole(String),
    /// What stands in the last line now: a prompt, or half a line.
    Partial(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Started,
    Csi,
    Text,
    StringEnd,
    OneMore,
}

/// The text of one console.
#[derive(Debug)]
pub struct Console {
    text: Vec<u8>,
    forgotten: u64,
    line: Vec<u8>,
    escape: Escape,
    escape_len: usize,
    carriage_return: bool,
    raw_len: u64,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            forgotten: 0,
            line: Vec::new(),
            escape: Escape::None,
            escape_len: 0,
            carriage_return: false,
            raw_len: 0,
        }
    }
}

impl Console {
    /// Takes what the guest sent and returns the lines it ended, then the beginning of the next one if there is any.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        self.raw_len = self.raw_len.saturating_add(bytes.len() as u64);
        let mut lines = Vec::new();
        for byte in bytes {
            self.byte(*byte, &mut lines);
        }
        if (1..=MAX_PROMPT).contains(&self.line.len()) {
            lines.push(Line::Partial(String::from_utf8_lossy(&self.line).into_owned()));
        }
        if self.text.len() > MAX_TEXT {
            // Half is dropped at a time, so that forgetting is rare.
            let cut = self.text.len() - MAX_TEXT / 2;
            self.text.drain(..cut);
            self.forgotten += cut as u64;
        }
        lines
    }

    /// The place after everything that came so far.
    pub fn end(&self) -> Cursor {
        Cursor(self.forgotten + self.text.len() as u64)
    }

    /// Raw bytes that came so far: the offset in the log of what comes next.
    pub fn raw_len(&self) -> u64 {
        self.raw_len
    }

    /// The text from `from` on, as far as it is remembered.
    pub fn since(&self, from: Cursor) -> String {
        String::from_utf8_lossy(self.tail(from)).into_owned()
    }

    /// Looks for `needle` at or after `from`; the answer is the place behind it.
    pub fn find(&self, needle: &str, from: Cursor) -> Option<Cursor> {
        let tail = self.tail(from);
        if needle.is_empty() {
            return None;
        }
        let at = tail.windows(needle.len()).position(|w| w == needle.as_bytes())?;
        Some(Cursor(self.end().0 - tail.len() as u64 + (at + needle.len()) as u64))
    }

    fn tail(&self, from: Cursor) -> &[u8] {
        let skip = usize::try_from(from.0.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        self.text.get(skip..).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8, lines: &mut Vec<Line>) {
        if self.escape != Escape::None {
            return self.escaped(byte, lines);
        }
        if std::mem::take(&mut self.carriage_return)
            && byte != b'\n'
            && byte != b'\r'
            && !self.line.is_empty()
        {
            self.end_line(lines);
        }
        match byte {
            0x1b => {
                self.escape = Escape::Started;
                self.escape_len = 0;
            }
            b'\n' => self.end_line_always(lines),
            b'\r' => self.carriage_return = true,
            0x08 => {
                // A backspace takes back what it follows in the line; the text keeps both, as it was sent.
                self.line.pop();
            }
            b'\t' | 0x20..=0x7e | 0x80.. => {
                self.line.push(byte);
                self.text.push(byte);
                if self.line.len() >= MAX_LINE {
                    self.end_line(lines);
                }
            }
            _ => {}
        }
    }

    fn escaped(&mut self, byte: u8, lines: &mut Vec<Line>) {
        self.escape_len += 1;
        let next = match (self.escape, byte) {
            (Escape::Started, b'[') => Escape::Csi,
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => Escape::Text,
            (Escape::Started, b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ') => Escape::OneMore,
            (Escape::Csi, 0x40..=0x7e) => {
                // Moving elsewhere on the screen ends the line for a reader.
                if matches!(byte, b'H' | b'f' | b'J') && !self.line.is_empty() {
                    self.end_line(lines);
                }
                Escape::None
            }
            (Escape::Csi, 0x20..=0x3f) => Escape::Csi,
            (Escape::Text, 0x07) => Escape::None,
            (Escape::Text, 0x1b) => Escape::StringEnd,
            (Escape::Text, _) => Escape::Text,
            _ => Escape::None,
        };
        self.escape = if self.escape_len > MAX_ESCAPE { Escape::None } else { next };
    }

    fn end_line(&mut self, lines: &mut Vec<Line>) {
        if !self.line.is_empty() {
            self.end_line_always(lines);
        }
    }

    fn end_line_always(&mut self, lines: &mut Vec<Line>) {
        self.carriage_return = false;
        self.text.push(b'\n');
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            lines.push(Line::Whole(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, Line, MAX_LINE, MAX_TEXT};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[track_caller]
    fn check(input: &[u8], expect: &[&str]) {
        let mut console = Console::default();
        let text = |line| match line {
            Line::Whole(text) | Line::Partial(text) => text,
        };
        let lines: Vec<String> = console.push(input).into_iter().map(text).collect();
        assert_eq!(lines, expect);
    }

    #[test]
    fn escape_sequences_are_not_text() {
        check(b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[0mBdsDxe: loading\r\nnext", &["BdsDxe: loading", "next"]);
        check(b"\x1b]0;title\x07root\x1b(B# ", &["root# "]);
        check(b"one\x1b[5;1Htwo", &["one", "two"]);
        check(b"a\rb\r\r\nc\n", &["a", "b", "c"]);
    }

    #[test]
    fn a_cursor_cannot_match_the_past() {
        let mut console = Console::default();
        console.push(b"login: ");
        let cursor = console.end();
        assert_eq!(console.find("login:", cursor), None);
        console.push(b"x login: ");
        assert!(console.find("login:", cursor).is_some());
        assert_eq!(console.since(cursor), "x login: ");
    }

    #[test]
    fn a_flood_without_line_ends_stays_bounded() {
        let mut console = Console::default();
        for _ in 0..3 {
            for line in console.push(&vec![b'x'; MAX_TEXT]) {
                let (Line::Whole(text) | Line::Partial(text)) = line;
                assert!(text.len() <= MAX_LINE);
            }
        }
        assert!(console.since(super::Cursor(0)).len() <= MAX_TEXT);
        assert_eq!(console.raw_len(), 3 * MAX_TEXT as u64);
    }

    proptest! {
        #[test]
        fn the_text_does_not_depend_on_how_bytes_arrive(bytes: Vec<u8>, at in any::<proptest::sample::Index>()) {
            let (mut whole, mut split) = (Console::default(), Console::default());
            whole.push(&bytes);
            let at = at.index(bytes.len() + 1);
            split.push(&bytes[..at]);
            split.push(&bytes[at..]);
            prop_assert_eq!(whole.since(super::Cursor(0)), split.since(super::Cursor(0)));
        }
    }
}
