//! The font of UEFI: 8 × 19, an array of `EFI_NARROW_GLYPH`. UEFI 2.10 §33.3.2; EDK2 keeps it in
//! MdeModulePkg/Universal/Console/GraphicsConsoleDxe/LaffStd.c, in a firmware volume that is compressed as a whole.

use super::{Font, Glyph, Layout, MAX_FILE, scan, scan_file};
use lzma_rust2::LzmaReader;
use std::path::Path;

/// `UnicodeWeight` (u16), `Attributes` (u8), `GlyphCol1` (19 bytes).
const RECORD: usize = 22;
/// Glyphs of one font at most; EDK2's has 241.
const MAX_GLYPHS: usize = 4096;
const HEIGHT: usize = 19;
/// GraphicsConsole.c, `mCursorGlyph`.
const CURSOR: (usize, usize) = (16, 19);
/// EE4E5898-3914-4259-9D6E-DC7BD79403CF. PI 1.7 volume 3 §2.2.4; EDK2, LzmaCustomDecompressLib.
const LZMA: [u8; 16] =
    [0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf];
/// `EFI_SECTION_GUID_DEFINED`. PI 1.7 volume 3 §2.2.4.
const GUID_DEFINED: u8 = 2;
/// What unpacking may take, KiB: the dictionary of a firmware image is at most as large as the image.
const MEMORY_KIB: u32 = 64 << 10;
/// Compressed sections that are looked into.
const MAX_SECTIONS: usize = 16;

/// Of a UEFI image.
pub(super) fn of_firmware(path: &Path) -> Result<Font, String> {
    let overlap = MAX_GLYPHS * RECORD;
    if let Ok(font) = scan_file(path, overlap, find) {
        return Ok(font);
    }
    let len = path.metadata().map_err(|e| format!("{}: {e}", path.display()))?.len();
    if len > MAX_FILE {
        return Err(format!("{}: {len} bytes, looked for in at most {MAX_FILE}", path.display()));
    }
    let image = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    packed(&image)
        .take(MAX_SECTIONS)
        .filter_map(|data| LzmaReader::new_mem_limit(data, MEMORY_KIB, None).ok())
        .find_map(|unpacked| scan(unpacked, overlap, find).ok().flatten())
        .ok_or_else(|| format!("there is none in {}, unpacked or not", path.display()))
}

/// What LZMA sections hold: `Size` (u24), `Type` (u8), GUID, `DataOffset` (u16), `Attributes` (u16), data.
fn packed(image: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The first byte alone rules nearly everything out.
    let guids =
        image.windows(LZMA.len()).enumerate().filter(|(_, w)| w.first() == LZMA.first() && *w == LZMA);
    guids.filter_map(|(at, _)| {
        let section = image.get(at.checked_sub(4)?..)?;
        let &[s0, s1, s2, kind] = section.first_chunk()?;
        let offset = u16::from_le_bytes(*section.get(20..)?.first_chunk()?);
        let size = u32::from_le_bytes([s0, s1, s2, 0]);
        (kind == GUID_DEFINED).then_some(())?;
        section.get(usize::from(offset)..usize::try_from(size).ok()?)
    })
}

fn find(bytes: &[u8]) -> Option<Font> {
    // Blank, then `!`: two records that no text or code looks like.
    let mut start = [0; RECORD + 3];
    (start[0], start[RECORD]) = (b' ', b'!');
    let starts = bytes.windows(start.len()).enumerate();
    let starts =
        starts.filter(|(_, w)| w.first() == start.first() && w.get(RECORD) == Some(&b'!') && *w == start);
    starts.map(|(at, _)| at).find_map(|at| parse(bytes.get(at..)?))
}

/// The records up to the one of character 0, all of printable ASCII first.
fn parse(bytes: &[u8]) -> Option<Font> {
    let mut glyphs = Vec::new();
    for (n, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (head, rows) = record.split_at_checked(RECORD - HEIGHT)?;
        let &[low, high, _] = head else { return None };
        let code = u16::from_le_bytes([low, high]);
        if code == 0 {
            return (n >= 95).then(|| Font::new((HEIGHT, Layout::Centred, CURSOR), glyphs.into_iter()));
        }
        if n >= MAX_GLYPHS || (n < 95 && usize::from(code) != 0x20 + n) {
            return None;
        }
        let mut glyph = Glyph::default();
        glyph.iter_mut().zip(rows).for_each(|(to, row)| *to = *row);
        glyphs.extend(char::from_u32(code.into()).map(|c| (c, glyph)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{GUID_DEFINED, LZMA, RECORD, find, packed};

    fn made() -> Vec<u8> {
        let records = (0x20..=0x7e_u8).chain([0]).map(|code| {
            let mut record = [0; RECORD];
            record[0] = code;
            record[8] = if code == b' ' { 0 } else { code };
            record
        });
        records.flatten().collect()
    }

    #[test]
    fn a_font_ends_with_character_0_and_begins_with_all_of_ascii() {
        let font = made();
        let mut glyph = super::Glyph::default();
        glyph[5] = b'Q';
        assert_eq!(find(&[vec![1; 99], font.clone()].concat()).unwrap().get(&glyph), Some('Q'));
        assert!(find(&font[..font.len() - 1]).is_none(), "cut");
        let mut hole = font.clone();
        hole[3 * RECORD] = 0;
        assert!(find(&hole).is_none(), "`#` is missing");
    }

    #[test]
    fn a_section_whose_size_is_beyond_the_image_is_none() {
        let section = |size: u8, offset: u8| {
            let mut section = vec![size, 0, 0, GUID_DEFINED];
            section.extend(LZMA);
            section.extend([offset, 0, 1, 0]);
            section.extend(b"data");
            section
        };
        assert_eq!(packed(&section(28, 24)).collect::<Vec<_>>(), [b"data"]);
        assert_eq!(packed(&section(29, 24)).count(), 0);
        assert_eq!(packed(&section(28, 40)).count(), 0);
        assert_eq!(packed(&LZMA).count(), 0);
    }
}
