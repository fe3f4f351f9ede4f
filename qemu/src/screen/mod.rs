//! What the screen shows: text read exactly, or graphics, or unknown; never a guess.
//!
//! ```text
//!   picture (PPM) ──┬─► text    720 × 400: the window of the VGA memory that equals it
//!   VGA memory ─────┘
//!   picture ─────────► frame   any other size: cells that are glyphs of a font the boot stages draw with
//!   font ◄───────────── read at run time: QEMU's program, the VGA BIOS, the UEFI image, GRUB's unicode.pf2
//!   watch               when to look, what is new, when it is worth a picture
//! ```

pub mod font;
mod frame;
mod picture;
mod text;
mod watch;

pub use font::{FontCache, Fonts};
pub use text::{COLUMNS, ROWS, TEXT_MEMORY, TEXT_MEMORY_AT};
pub use watch::MAX_SHOTS;
pub(crate) use watch::Watch;

use picture::Picture;
use serde::Serialize;

/// Stands for a cell that cannot be read: half drawn, drawn over, or in a glyph that no known font has.
pub const UNREAD: char = '\u{fffd}';

/// What QEMU itself draws before the guest draws anything. QEMU, hw/display/vga.c and ui/console.c.
const PLACEHOLDER: &str = "Guest has not initialized the display (yet).";

/// What the screen shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Screen {
    /// Text: in text mode, or in graphics in a known font.
    Text(Text),
    /// A graphics mode in which no text of a known font stands.
    Graphics {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
    /// It cannot be said what is shown.
    Unknown,
}

/// The text of a screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Top row first, blanks at the ends removed; [`UNREAD`] stands for what cannot be read.
    pub rows: Vec<String>,
    /// Cells of a row.
    pub columns: usize,
}

impl Text {
    /// Whether this is all that stands there.
    fn is(&self, only: &str) -> bool {
        self.rows.iter().map(|row| row.trim()).filter(|row| !row.is_empty()).eq([only])
    }

    /// The rows as lines: a row that reaches the right edge goes on in the next one.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut goes_on = false;
        for row in &self.rows {
            let len = row.chars().count();
            match lines.last_mut() {
                Some(line) if goes_on => line.push_str(row),
                _ => lines.push(row.clone()),
            }
            // A blank in the last column may be the one between two words.
            goes_on = len + 1 >= self.columns && self.columns > 1;
            if let Some(line) = lines.last_mut().filter(|_| goes_on) {
                line.extend(std::iter::repeat_n(' ', self.columns.saturating_sub(len)));
            }
        }
        lines.iter().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// Whether a text stands on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The screen, or the place where it could stand, cannot be read.
    CannotTell,
}

impl Screen {
    /// Whether `wanted` stands in one of the rows or lines.
    pub fn shows(&self, wanted: &str) -> Shown {
        let Screen::Text(text) = self else { return Shown::CannotTell };
        let lines = [text.rows.clone(), text.lines()].concat();
        if lines.iter().any(|line| line.contains(wanted)) {
            return Shown::Yes;
        }
        let wanted: Vec<char> = wanted.chars().collect();
        let could = lines.iter().any(|line| {
            let line: Vec<char> = line.chars().collect();
            line.windows(wanted.len().max(1))
                .any(|window| window.iter().zip(&wanted).all(|(is, want)| is == want || *is == UNREAD))
        });
        if could { Shown::CannotTell } else { Shown::No }
    }
}

/// In a reader's words: the text, or why there is none.
impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Screen::Text(text) => f.write_str(text.rows.join("\n").trim_end()),
            Screen::Graphics { width, height } => {
                write!(f, "(graphics, {width} × {height}, without text in a known font)")
            }
            Screen::Unknown => f.write_str("(a picture that could not be read)"),
        }
    }
}

/// Reads the screen from QEMU's picture (PPM), the text memory, and the fonts; `fonts` is asked only for a picture in a
/// graphics mode that is not of one colour.
pub fn read<'a>(ppm: &[u8], memory: &[u8], fonts: impl FnOnce() -> &'a Fonts) -> Screen {
    let Some(picture) = Picture::parse(ppm) else { return Screen::Unknown };
    if picture.size() == text::SIZE {
        return text::read(&picture, memory);
    }
    let (width, height) = picture.size();
    if picture.is_even() {
        return Screen::Graphics { width, height };
    }
    match frame::read(&picture, fonts()) {
        Screen::Text(text) if text.is(PLACEHOLDER) => Screen::Graphics { width, height },
        screen => screen,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fonts, Screen, Shown, Text, read};

    fn text(columns: usize, rows: &[&str]) -> Text {
        Text { rows: rows.iter().map(|row| (*row).to_owned()).collect(), columns }
    }

    #[test]
    fn a_row_that_reaches_the_edge_goes_on_in_the_next() {
        let rows = ["error: Acc", "ess Denied", "", "failed to", "start", "so:", "end"];
        let lines = text(10, &rows).lines();
        assert_eq!(lines, ["error: Access Denied", "failed to start", "so:", "end"]);
        assert_eq!(text(80, &rows).lines(), rows);
    }

    #[test]
    fn what_stands_there_what_does_not_and_what_cannot_be_told() {
        let screen = Screen::Text(text(80, &["No boot\u{fffd}ble device", "Shell>"]));
        for (wanted, shown) in [
            ("Shell>", Shown::Yes),
            ("device", Shown::Yes),
            ("bootable", Shown::CannotTell),
            ("panic", Shown::No),
            ("Shell> exit", Shown::No),
        ] {
            assert_eq!(screen.shows(wanted), shown, "{wanted}");
        }
        assert_eq!(Screen::Unknown.shows("x"), Shown::CannotTell);
        assert_eq!(Screen::Graphics { width: 1, height: 1 }.shows("x"), Shown::CannotTell);
    }

    #[test]
    fn what_is_no_picture_is_unknown_and_an_empty_one_needs_no_font() {
        let fonts = || -> &Fonts { panic!("a font was asked for") };
        assert_eq!(read(b"P6\n9 9\n255\n", &[], fonts), Screen::Unknown);
        assert_eq!(read(b"", &[], fonts), Screen::Unknown);
        let picture = [b"P6\n2 1\n255\n".as_slice(), &[0; 6]].concat();
        assert_eq!(read(&picture, &[], fonts), Screen::Graphics { width: 2, height: 1 });
    }
}
