//! Marks, colours, times and sizes, the same in every text view.

use crate::verdict::Outcome;

/// How text is drawn. Given by floor 3, which knows the terminal and `NO_COLOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ASCII only.
    pub ascii: bool,
    /// ANSI colours. No meaning hangs on colour alone.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Style {
    /// Unicode, no colour, 100 columns: for files, pipes and tests.
    pub const PLAIN: Self = Self { ascii: false, colour: false, width: 100 };

    /// The mark of an outcome.
    #[must_use]
    pub const fn mark(self, outcome: Outcome) -> &'static str {
        match (outcome, self.ascii) {
            (Outcome::Passed, false) => "✓",
            (Outcome::Passed, true) => "+",
            (Outcome::Failed | Outcome::Refused, false) => "✗",
            (Outcome::Failed | Outcome::Refused, true) => "x",
            (Outcome::Broken, _) => "!",
            (Outcome::NotPerformed, _) => "-",
            (Outcome::Changed, _) => "~",
            (Outcome::Interrupted, false) => "■",
            (Outcome::Interrupted, true) => "#",
        }
    }

    /// The mark of what is going on.
    #[must_use]
    pub const fn running(self) -> &'static str {
        if self.ascii { ">" } else { "›" }
    }

    /// Between facts on one line.
    #[must_use]
    pub const fn dot(self) -> &'static str {
        if self.ascii { " | " } else { " · " }
    }

    /// A line across.
    #[must_use]
    pub fn rule(self) -> String {
        if self.ascii { "-" } else { "─" }.repeat(self.width.min(72))
    }

    /// In the outcome's colour.
    #[must_use]
    pub fn paint(self, outcome: Outcome, text: &str) -> String {
        let code = match outcome {
            Outcome::Passed => "32",
            Outcome::Failed | Outcome::Refused => "31;1",
            Outcome::Broken => "35;1",
            Outcome::Changed | Outcome::NotPerformed | Outcome::Interrupted => "33",
        };
        self.code(code, text)
    }

    /// Bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// Dimmed.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from outside, made fit for a terminal: control characters (escape sequences) and characters that turn the
/// direction of writing become `·`; tabs and line ends become a blank.
#[must_use]
pub fn clean(text: &str) -> String {
    text.trim_end()
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '·',
            c if c.is_control() => '·',
            c => c,
        })
        .collect()
}

/// [`clean`], and ASCII only when the style says so: what ASCII cannot say becomes `?`, marks their ASCII twins.
#[must_use]
pub fn say(style: Style, text: &str) -> String {
    let text = clean(text);
    if style.ascii { to_ascii(&text) } else { text }
}

fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            '…' => out.push_str("..."),
            '·' => out.push('.'),
            '×' => out.push('x'),
            '→' => out.push_str("->"),
            '–' | '—' | '‑' => out.push('-'),
            '“' | '”' => out.push('"'),
            '‘' | '’' => out.push('\''),
            '✓' => out.push('+'),
            '✗' => out.push('x'),
            _ => out.push('?'),
        }
    }
    out
}

/// At most this many characters; what is cut ends in `…`.
#[must_use]
pub fn shorten(style: Style, text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let end = if style.ascii { "..." } else { "…" };
    let keep = width.saturating_sub(end.chars().count());
    text.chars().take(keep).chain(end.chars()).collect()
}

/// A time for people: `0.4 s`, `12.1 s`, `1 min 32 s`, `2 h 05 min`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    let seconds = ms.saturating_add(500) / 1000;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
    }
}

/// An amount for people: `1.5 GiB`, `12.1 s`, `3 files`.
#[must_use]
pub fn amount(n: u64, unit: &str) -> String {
    match unit {
        "ms" => duration(n),
        "bytes" => bytes(n),
        _ => format!("{n} {}", clean(unit)),
    }
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} bytes");
    }
    let (mut tenths, mut unit) = (u128::from(n) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit).unwrap_or(&"EiB"))
}

#[cfg(test)]
mod tests {
    use super::{Style, amount, clean, duration, say, shorten};

    #[test]
    fn times_and_sizes_read_well() {
        for (ms, want) in [
            (0, "0.0 s"),
            (449, "0.4 s"),
            (59_949, "59.9 s"),
            (59_960, "1 min 00 s"),
            (92_400, "1 min 32 s"),
            (7_512_000, "2 h 05 min"),
        ] {
            assert_eq!(duration(ms), want);
        }
        for (n, want) in [(7, "7 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (u64::MAX, "15.9 EiB")] {
            assert_eq!(amount(n, "bytes"), want);
        }
        assert_eq!(amount(3, "files"), "3 files");
    }

    #[test]
    fn a_guest_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\td\r\n"), "a·[2Jb·c d");
        let ascii = Style { ascii: true, ..Style::PLAIN };
        assert!(say(ascii, "naïve → ✓ \x1b[0m").is_ascii());
        assert_eq!(shorten(Style::PLAIN, "abcdef", 4), "abc…");
        assert_eq!(shorten(ascii, "abcdef", 4), "a...");
    }
}
