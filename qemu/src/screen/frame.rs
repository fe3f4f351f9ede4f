//! Text in a graphics mode: the picture is cut into the cells of a font, and a cell is a character only when it is that
//! character's glyph to the pixel, in one colour on one other.

use super::font::{Font, Fonts, Glyph, Layout, WIDTH};
use super::picture::Picture;
use super::{Screen, Text, UNREAD};
use std::collections::HashMap;

/// Letters or digits in a row that show that a font and its cells are the right ones: no drawing has three by chance.
const WORD: usize = 3;
/// Cells of a grid that may be no glyph before it is given up: a logo and a line of penguins have fewer.
const MAX_UNREAD: usize = 2048;
/// Columns and rows of EDK2's text modes, besides as many as fit. GraphicsConsole.c, `mGraphicsConsoleModeData`.
const UEFI_MODES: [(usize, usize); 6] = [(80, 25), (80, 50), (100, 31), (128, 40), (160, 42), (240, 56)];
/// GRUB's `DEFAULT_BORDER_WIDTH`, pixels.
const BORDER: usize = 10;

/// Where the cells of a font lie on a picture, pixels and cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Grid {
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
    height: usize,
}

/// What a cell is, before any font.
#[derive(Clone, Copy)]
enum Cell {
    /// Of one colour.
    Blank,
    /// One colour on that of its top left pixel: set where it is drawn.
    Drawn(Glyph),
    /// More colours.
    Colours,
}

/// One way to read the picture.
struct Reading {
    text: Text,
    known: usize,
}

/// Reads the picture of a graphics mode. Of several readings that stand, the one that explains most is taken; two that
/// explain as much and differ leave the screen unknown.
pub(super) fn read(picture: &Picture<'_>, fonts: &Fonts) -> Screen {
    let (width, height) = picture.size();
    let mut cut: HashMap<Grid, Option<Vec<Cell>>> = HashMap::new();
    let mut best: Option<Reading> = None;
    let mut doubtful = false;
    for font in &fonts.list {
        for grid in grids(font, width, height) {
            let cells = cut.entry(grid).or_insert_with(|| cells(picture, grid));
            let Some(reading) = cells.as_ref().and_then(|cells| with(font, grid, cells)) else { continue };
            match &best {
                Some(best) if best.known > reading.known => {}
                Some(best) if best.known == reading.known => doubtful |= best.text != reading.text,
                _ => (best, doubtful) = (Some(reading), false),
            }
        }
    }
    match best {
        Some(_) if doubtful => Screen::Unknown,
        Some(reading) => Screen::Text(reading.text),
        None => Screen::Graphics { width, height },
    }
}

fn grids(font: &Font, width: usize, height: usize) -> Vec<Grid> {
    let most = (width / WIDTH, height / font.height);
    let grid = |left, top, (columns, rows)| Grid { left, top, columns, rows, height: font.height };
    match font.layout {
        Layout::Corner => vec![grid(0, 0, most)],
        Layout::Border => {
            let (width, height) = (width.saturating_sub(2 * BORDER), height.saturating_sub(2 * BORDER));
            vec![grid(BORDER, BORDER, (width / WIDTH, height / font.height))]
        }
        Layout::Centred => UEFI_MODES
            .into_iter()
            .filter(|mode| mode.0 < most.0 && mode.1 <= most.1 || mode.0 <= most.0 && mode.1 < most.1)
            .chain([most])
            .map(|mode| grid((width - mode.0 * WIDTH) / 2, (height - mode.1 * font.height) / 2, mode))
            .collect(),
    }
}

/// The cells, row by row; `None` when too many of them are no text.
fn cells(picture: &Picture<'_>, grid: Grid) -> Option<Vec<Cell>> {
    let mut colours = 0;
    let mut cells = Vec::with_capacity(grid.columns * grid.rows);
    for row in 0..grid.rows {
        for column in 0..grid.columns {
            let cell = cell(picture, grid.left + column * WIDTH, grid.top + row * grid.height, grid.height)?;
            colours += usize::from(matches!(cell, Cell::Colours));
            if colours > MAX_UNREAD {
                return None;
            }
            cells.push(cell);
        }
    }
    Some(cells)
}

fn cell(picture: &Picture<'_>, left: usize, top: usize, height: usize) -> Option<Cell> {
    let mut glyph = Glyph::default();
    let first = picture.run(left, top, WIDTH)?;
    let ground = first.get(..3)?;
    let even: [u8; WIDTH * 3] = std::array::from_fn(|n| ground.get(n % 3).copied().unwrap_or_default());
    let mut ink: Option<&[u8]> = None;
    for (y, bits) in glyph.iter_mut().enumerate().take(height) {
        let run = picture.run(left, top + y, WIDTH)?;
        if run == even {
            continue;
        }
        for (x, pixel) in run.chunks_exact(3).enumerate().filter(|(_, pixel)| *pixel != ground) {
            if ink.get_or_insert(pixel) != &pixel {
                return Some(Cell::Colours);
            }
            *bits |= 0x80 >> x;
        }
    }
    Some(if ink.is_none() { Cell::Blank } else { Cell::Drawn(glyph) })
}

/// Reads cells in a font; `None` when no word stands there.
fn with(font: &Font, grid: Grid, cells: &[Cell]) -> Option<Reading> {
    let mut read: Vec<Option<char>> = Vec::with_capacity(cells.len());
    let mut unread = 0;
    for cell in cells {
        let character = match cell {
            Cell::Blank => Some(' '),
            Cell::Drawn(glyph) => meant(font, glyph),
            Cell::Colours => None,
        };
        unread += usize::from(character.is_none());
        if unread > MAX_UNREAD {
            return None;
        }
        read.push(character);
    }
    let rows = || read.chunks(grid.columns.max(1));
    let word = |row: &[Option<char>]| {
        row.windows(WORD).any(|w| w.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric())))
    };
    rows().any(word).then_some(())?;
    let cursor = cursor(font, cells, &read);
    let known = read.iter().flatten().filter(|c| **c != ' ').count();
    if let Some((at, under)) = cursor
        && let Some(place) = read.get_mut(at)
    {
        *place = Some(under);
    }
    let line = |row: &[Option<char>]| {
        let line: String = row.iter().map(|c| c.unwrap_or(UNREAD)).collect();
        line.trim_end().to_owned()
    };
    let rows = read.chunks(grid.columns.max(1)).map(line).collect();
    Some(Reading { text: Text { rows, columns: grid.columns }, known })
}

/// The character of a glyph, drawn in either of the two colours; `None` when both could be meant.
fn meant(font: &Font, glyph: &Glyph) -> Option<char> {
    let turned = turned(font, glyph, (0, font.height));
    match (font.get(glyph), font.get(&turned)) {
        (Some(one), Some(other)) if one.is_ascii() == other.is_ascii() => (one == other).then_some(one),
        (Some(one), Some(other)) => Some(if one.is_ascii() { one } else { other }),
        (one, other) => one.or(other),
    }
}

/// The glyph with the colours of these rows exchanged.
fn turned(font: &Font, glyph: &Glyph, (from, to): (usize, usize)) -> Glyph {
    let mut turned = *glyph;
    turned.iter_mut().take(to.min(font.height)).skip(from).for_each(|bits| *bits = !*bits);
    turned
}

/// The one cell that is a character under the cursor, and the character.
fn cursor(font: &Font, cells: &[Cell], read: &[Option<char>]) -> Option<(usize, char)> {
    let mut under = cells.iter().zip(read).enumerate().filter_map(|(at, (cell, read))| match cell {
        Cell::Drawn(glyph) if read.is_none() => {
            let glyph = turned(font, glyph, font.cursor);
            let blank = glyph == Glyph::default();
            Some((at, if blank { ' ' } else { font.get(&glyph)? }))
        }
        _ => None,
    });
    let found = under.next();
    if under.next().is_some() { None } else { found }
}

#[cfg(test)]
mod tests {
    use super::super::font::tests::{glyph, made, plain};
    use super::super::picture::Picture;
    use super::super::{Screen, UNREAD};
    use super::read;
    use proptest::prelude::{any, proptest};

    const WIDE: usize = 160;
    const HIGH: usize = 64;

    struct Drawing(Vec<u8>);

    impl Drawing {
        fn new() -> Self {
            Self(vec![0; WIDE * HIGH * 3])
        }

        fn text(mut self, column: usize, row: usize, text: &str) -> Self {
            for (n, code) in text.bytes().enumerate().filter(|(_, code)| *code != b' ') {
                for (y, bits) in glyph(code).iter().enumerate().take(16) {
                    for x in (0..8).filter(|x| bits >> (7 - x) & 1 == 1) {
                        self = self.dot((column + n) * 8 + x, row * 16 + y, 170);
                    }
                }
            }
            self
        }

        fn dot(mut self, x: usize, y: usize, colour: u8) -> Self {
            let at = (y * WIDE + x) * 3;
            self.0[at..at + 3].fill(colour);
            self
        }

        /// Exchanges the colours of a cell's rows.
        fn turn(mut self, column: usize, row: usize, rows: std::ops::Range<usize>) -> Self {
            for y in rows {
                let at = ((row * 16 + y) * WIDE + column * 8) * 3;
                self.0[at..at + 24].iter_mut().for_each(|byte| *byte = 170 - *byte);
            }
            self
        }

        fn read(&self) -> Screen {
            let ppm = [format!("P6\n{WIDE} {HIGH}\n255\n").into_bytes(), self.0.clone()].concat();
            read(&Picture::parse(&ppm).unwrap(), &made(vec![plain()]))
        }

        #[track_caller]
        fn lines(&self) -> Vec<String> {
            match self.read() {
                Screen::Text(text) => text.rows,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn text_is_read_to_the_pixel_and_a_stray_pixel_is_never_a_guess() {
        let drawing = Drawing::new().text(1, 1, "No bootable device");
        assert_eq!(drawing.lines(), ["", " No bootable device", "", ""]);
        let stray = drawing.dot(12 * 8, 17, 170);
        assert_eq!(stray.lines()[1], format!(" No bootable{UNREAD}device"));
        let third = Drawing::new().text(0, 0, "wordless").dot(8 * 2, 0, 9);
        assert_eq!(third.lines()[0], format!("wo{UNREAD}dless"), "two colours behind one letter");
    }

    #[test]
    fn a_highlighted_line_is_read_as_any_other() {
        let mut drawing = Drawing::new().text(0, 0, "*Debian");
        for column in 0..20 {
            drawing = drawing.turn(column, 0, 0..16);
        }
        assert_eq!(drawing.lines()[0], "*Debian");
    }

    #[test]
    fn one_cursor_is_seen_through_and_two_are_not() {
        let one = Drawing::new().text(0, 0, "login: x").turn(6, 0, 14..16);
        assert_eq!(one.lines()[0], "login: x");
        let on_a_letter = Drawing::new().text(0, 0, "login: x").turn(7, 0, 14..16);
        assert_eq!(on_a_letter.lines()[0], "login: x");
        let two = one.turn(12, 0, 14..16);
        assert_eq!(two.lines()[0], format!("login:{UNREAD}x    {UNREAD}"));
    }

    #[test]
    fn drawings_without_a_word_are_graphics_and_beside_words_they_are_unread() {
        let graphics = Screen::Graphics { width: WIDE, height: HIGH };
        assert_eq!(Drawing::new().dot(3, 3, 170).read(), graphics);
        assert_eq!(Drawing::new().text(0, 0, "ab cd - ..").read(), graphics);
        assert_eq!(Drawing::new().text(5, 2, "word").dot(3, 3, 170).lines()[0], UNREAD.to_string());
    }

    #[test]
    fn two_fonts_that_explain_as_much_differently_are_unknown() {
        // The second font has the look of `a` for `b`, and so on.
        let mut shifted = plain();
        shifted.glyphs.values_mut().for_each(|c| *c = if *c == ' ' { ' ' } else { char::from(*c as u8 ^ 1) });
        let drawing = Drawing::new().text(0, 0, "hello");
        let ppm = [format!("P6\n{WIDE} {HIGH}\n255\n").into_bytes(), drawing.0].concat();
        let picture = Picture::parse(&ppm).unwrap();
        assert_eq!(read(&picture, &made(vec![plain(), shifted])), Screen::Unknown);
        assert!(matches!(read(&picture, &made(vec![plain(), plain()])), Screen::Text(_)));
    }

    proptest! {
        #[test]
        fn no_picture_panics(width in 1usize..200, height in 1usize..80, seed in any::<[u8; 7]>()) {
            let pixels: Vec<u8> = seed.iter().copied().cycle().take(width * height * 3).collect();
            let ppm = [format!("P6\n{width} {height}\n255\n").into_bytes(), pixels].concat();
            let mut fonts = vec![plain(), plain(), plain()];
            fonts[1].layout = super::Layout::Border;
            fonts[2].layout = super::Layout::Centred;
            read(&Picture::parse(&ppm).unwrap(), &made(fonts));
        }
    }
}
