//! Text mode: 80 × 25 characters of 9 × 16 pixels.
//!
//! The characters lie in memory at 0xB8000, and Linux scrolls by moving the place the display starts at, which QEMU does
//! not tell. So every window of 25 rows is compared with QEMU's picture: where the same character is always the same
//! picture and another character another one, the window is the visible one.

use super::picture::Picture;
use super::{Screen, Text, UNREAD};
use std::collections::HashMap;

/// Text columns.
pub const COLUMNS: usize = 80;
/// Text rows.
pub const ROWS: usize = 25;
/// Bytes of text memory, from [`TEXT_MEMORY_AT`] on.
pub const TEXT_MEMORY: usize = 32 * 1024;
/// The guest-physical address of the text memory.
pub const TEXT_MEMORY_AT: u64 = 0xB8000;
/// Pixels of a picture in this mode.
pub(super) const SIZE: (usize, usize) = (COLUMNS * CELL_WIDTH, ROWS * CELL_HEIGHT);
const CELL_WIDTH: usize = 9;
const CELL_HEIGHT: usize = 16;
/// Cells that may contradict: the cursor, drawn over at most one.
const TOLERATED: usize = 1;

/// Reads the picture of a text mode by the text memory.
pub(super) fn read(picture: &Picture<'_>, memory: &[u8]) -> Screen {
    let Some(cells) = (0..ROWS * COLUMNS).map(|n| cell(picture, n)).collect::<Option<Vec<_>>>() else {
        return Screen::Unknown;
    };
    let mut found: Option<Vec<String>> = None;
    for start in (0..TEXT_MEMORY).step_by(COLUMNS * 2) {
        let Some(window) = window(memory, start) else { continue };
        if !fits(&cells, &window) {
            continue;
        }
        let text = text(&window);
        match &found {
            Some(other) if *other != text => return Screen::Unknown,
            _ => found = Some(text),
        }
    }
    found.map_or(Screen::Unknown, |rows| Screen::Text(Text { rows, columns: COLUMNS }))
}

/// The shape in a cell: one bit a pixel, set where it differs from the cell's top left one.
type Shape = [u16; CELL_HEIGHT];

fn cell(picture: &Picture<'_>, index: usize) -> Option<Shape> {
    let (left, top) = (index % COLUMNS * CELL_WIDTH, index / COLUMNS * CELL_HEIGHT);
    let pixel = |x, y| picture.run(x, y, 1);
    let ground = pixel(left, top)?;
    let mut shape = Shape::default();
    for (y, row) in shape.iter_mut().enumerate() {
        for x in 0..CELL_WIDTH {
            *row = *row << 1 | u16::from(pixel(left + x, top + y)? != ground);
        }
    }
    Some(shape)
}

/// Characters and attributes of 25 rows from `start` on, round the end of the memory.
fn window(memory: &[u8], start: usize) -> Option<Vec<(u8, u8)>> {
    (0..ROWS * COLUMNS)
        .map(|n| {
            let at = (start + n * 2) % TEXT_MEMORY;
            Some((*memory.get(at)?, *memory.get(at + 1)?))
        })
        .collect()
}

fn is_blank((character, attribute): (u8, u8)) -> bool {
    matches!(character, 0 | b' ' | 0xff) || attribute & 0x0f == attribute >> 4 & 0x07
}

fn fits(cells: &[Shape], window: &[(u8, u8)]) -> bool {
    let mut drawn: HashMap<u8, Shape> = HashMap::new();
    let mut meant: HashMap<Shape, u8> = HashMap::new();
    let mut wrong = 0;
    for (shape, &entry) in cells.iter().zip(window) {
        let empty = *shape == Shape::default();
        // A full block has no edge inside its cell: its picture is as even as a blank's.
        let contradicts = if is_blank(entry) {
            !empty
        } else if entry.0 == 0xdb {
            false
        } else {
            empty
                || *drawn.entry(entry.0).or_insert(*shape) != *shape
                || *meant.entry(*shape).or_insert(entry.0) != entry.0
        };
        wrong += usize::from(contradicts);
        if wrong > TOLERATED {
            return false;
        }
    }
    true
}

fn text(window: &[(u8, u8)]) -> Vec<String> {
    window
        .chunks(COLUMNS)
        .map(|row| {
            let line: String = row
                .iter()
                .map(|&entry| match entry.0 {
                    _ if is_blank(entry) => ' ',
                    printable @ 0x21..=0x7e => char::from(printable),
                    // A character outside ASCII is shown as one; which one depends on the font.
                    _ => UNREAD,
                })
                .collect();
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{CELL_HEIGHT, CELL_WIDTH, COLUMNS, Picture, ROWS, Screen, TEXT_MEMORY};

    fn read(ppm: &[u8], memory: &[u8]) -> Screen {
        super::read(&Picture::parse(ppm).unwrap(), memory)
    }

    fn memory(rows: &[(usize, &str)]) -> Vec<u8> {
        let mut memory: Vec<u8> = [b' ', 7].repeat(TEXT_MEMORY / 2);
        for (row, text) in rows {
            for (n, byte) in text.bytes().enumerate() {
                memory[(row * COLUMNS + n) * 2] = byte;
            }
        }
        memory
    }

    /// Draws rows in an invented font: bit `n` of a character is a dot in row `n` + 1.
    fn draw(rows: &[(usize, &str)]) -> Vec<u8> {
        let (width, height) = (COLUMNS * CELL_WIDTH, ROWS * CELL_HEIGHT);
        let mut pixels = vec![0; width * height * 3];
        for (row, text) in rows {
            for (n, byte) in text.bytes().enumerate() {
                for bit in (0..8).filter(|bit| byte >> bit & 1 == 1 && byte != b' ') {
                    let at = ((row * CELL_HEIGHT + bit + 1) * width + n * CELL_WIDTH + 3) * 3;
                    pixels[at..at + 3].fill(170);
                }
            }
        }
        [format!("P6\n{width} {height}\n255\n").into_bytes(), pixels].concat()
    }

    #[test]
    fn the_visible_window_is_found_after_scrolling() {
        let memory = memory(&[(0, "gone"), (30, "No bootable device."), (31, "tail")]);
        let Screen::Text(text) = read(&draw(&[(3, "No bootable device."), (4, "tail")]), &memory) else {
            panic!("not text")
        };
        assert_eq!(text.rows[3], "No bootable device.");
        assert_eq!(text.rows[4], "tail");
    }

    #[test]
    fn a_picture_that_no_window_explains_is_unknown() {
        assert_eq!(read(&draw(&[(0, "what is this")]), &memory(&[(0, "stale text here")])), Screen::Unknown);
    }

    #[test]
    fn two_windows_that_look_alike_are_unknown() {
        // "ab" and "cd" differ only in which characters they are: the picture cannot tell.
        assert_eq!(read(&draw(&[(0, "ab")]), &memory(&[(0, "ab"), (100, "cd")])), Screen::Unknown);
    }
}
