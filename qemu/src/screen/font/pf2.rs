//! GRUB's font format, PFF2. GRUB, docs/font_format.txt and grub-core/font/font.c; all numbers big-endian.

use super::{Font, Glyph, Layout, MAX_FILE, WIDTH};
use std::path::Path;

const HEIGHT: usize = 16;
/// gfxterm.c, `draw_cursor`: two rows from the ascent on.
const CURSOR_ROWS: usize = 2;
/// An entry of the index: character (u32), storage (u8), offset (u32).
const ENTRY: usize = 9;
/// Entries that are read; Unifont has 57 thousand.
const MAX_ENTRIES: usize = 1 << 17;

/// Of a file.
pub(super) fn of_file(path: &Path) -> Result<Font, String> {
    let len = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?.len();
    if len > MAX_FILE {
        return Err(format!("{}: {len} bytes, at most {MAX_FILE} are read", path.display()));
    }
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&bytes).ok_or_else(|| format!("{} is no PFF2 font of {WIDTH} × {HEIGHT}", path.display()))
}

fn parse(bytes: &[u8]) -> Option<Font> {
    bytes.starts_with(b"FILE\0\0\0\x04PFF2").then_some(())?;
    let ascent = number(section(bytes, b"ASCE")?)?;
    let descent = number(section(bytes, b"DESC")?)?;
    // Then a line is as high as its glyphs, and cells touch.
    (ascent.checked_add(descent)? == HEIGHT).then_some(())?;
    let index = section(bytes, b"CHIX")?;
    let glyphs = index.chunks_exact(ENTRY).take(MAX_ENTRIES).filter_map(|entry| {
        let character = char::from_u32(u32::from_be_bytes(*entry.first_chunk()?))?;
        let offset = u32::from_be_bytes(*entry.get(5..)?.first_chunk()?);
        let drawn =
            wanted(character).then(|| glyph(bytes.get(usize::try_from(offset).ok()?..)?, ascent))??;
        Some((character, drawn))
    });
    let font = Font::new((HEIGHT, Layout::Border, (ascent, ascent + CURSOR_ROWS)), glyphs);
    (font.glyphs.len() >= 95).then_some(font)
}

/// Latin, arrows, frames: what menus and messages are drawn with.
fn wanted(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{24f}' | '\u{2010}'..='\u{2027}' | '\u{2190}'..='\u{25ff}')
}

/// The content of the first section of that name; the data section is the last one and has no length.
fn section<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes;
    loop {
        let (is, tail) = rest.split_first_chunk::<4>()?;
        let (len, tail) = tail.split_first_chunk::<4>()?;
        (is != b"DATA").then_some(())?;
        let (content, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        if is == name {
            return Some(content);
        }
        rest = tail;
    }
}

fn number(content: &[u8]) -> Option<usize> {
    Some(u16::from_be_bytes(content.try_into().ok()?).into())
}

/// Width and height (u16), offset from the left and from the base line, advance (i16), then the bits, rows not padded.
fn glyph(bytes: &[u8], ascent: usize) -> Option<Glyph> {
    let (head, bits) = bytes.split_first_chunk::<10>()?;
    let &[w0, w1, h0, h1, x0, x1, y0, y1, a0, a1] = head;
    let (width, height) =
        (usize::from(u16::from_be_bytes([w0, w1])), i32::from(u16::from_be_bytes([h0, h1])));
    let (left, base) = (i16::from_be_bytes([x0, x1]), i32::from(i16::from_be_bytes([y0, y1])));
    (usize::try_from(i16::from_be_bytes([a0, a1])) == Ok(WIDTH)).then_some(())?;
    let left = usize::try_from(left).ok()?;
    let top = usize::try_from(i32::try_from(ascent).ok()? - base - height).ok()?;
    let height = usize::try_from(height).ok()?;
    (left + width <= WIDTH && top + height <= HEIGHT).then_some(())?;
    let mut glyph = Glyph::default();
    for n in 0..width * height {
        if bits.get(n / 8)? >> (7 - n % 8) & 1 == 1 {
            *glyph.get_mut(top + n / width)? |= 0x80 >> (left + n % width);
        }
    }
    Some(glyph)
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, parse};

    /// Every character is a bar of its code, as wide as its cell, on the base line.
    fn made(ascent: u8) -> Vec<u8> {
        let mut font = b"FILE\0\0\0\x04PFF2ASCE\0\0\0\x02\0".to_vec();
        font.push(ascent);
        font.extend(b"DESC\0\0\0\x02\0\x02CHIX");
        let count = 0x7f - 0x20;
        font.extend(u32::try_from(count * ENTRY).unwrap().to_be_bytes());
        let data = font.len() + count * ENTRY + 8;
        for n in 0..count {
            font.extend(u32::try_from(0x20 + n).unwrap().to_be_bytes());
            font.push(0);
            font.extend(u32::try_from(data + n * 11).unwrap().to_be_bytes());
        }
        font.extend(b"DATA\xff\xff\xff\xff");
        for code in 0x20..0x7f {
            font.extend([0, 8, 0, 1, 0, 0, 0, 0, 0, 8, code]);
        }
        font
    }

    #[test]
    fn a_font_is_read_and_a_cut_or_taller_one_is_not() {
        let font = made(14);
        let mut glyph = super::Glyph::default();
        glyph[13] = b'G';
        assert_eq!(parse(&font).unwrap().get(&glyph), Some('G'));
        assert!(parse(&made(15)).is_none(), "17 rows");
        for cut in [0, 11, 20, 60, font.len() - 1] {
            assert!(parse(&font[..cut]).is_none(), "cut at {cut}");
        }
    }
}
