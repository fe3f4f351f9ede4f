//! Fonts of 256 glyphs in the order of code page 437, as a PC has had them since VGA.
//!
//! Linux's `lib/fonts/font_8x16.c` and QEMU's `ui/vgafont.h` are the same font; the VGA BIOS of SeaBIOS has one that
//! differs in a few letters (0, M, V, X, f, m, v, w, x, …). In a program they are recognised by what every such font has:
//! nothing at 0x00, 0x20 and 0xFF, a full block at 0xDB, a bar in the middle at 0xB3, and 94 letters, all different.

use super::{Font, Glyph, Layout, scan_file};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

const HEIGHT: usize = 16;
/// Bytes of such a font.
const LEN: usize = 256 * HEIGHT;
const FULL: usize = 0xdb;
/// Linux: the two last rows. drivers/video/fbdev/core/softcursor.c, `CUR_UNDERLINE`.
const CURSOR: (usize, usize) = (14, 16);
/// The upper half. Unicode, MAPPINGS/VENDORS/MICSFT/PC/CP437.TXT.
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Of QEMU itself.
pub(super) fn of_program(path: &Path) -> Result<Font, String> {
    scan_file(path, LEN, find)
}

/// Of the VGA BIOS that QEMU finds for `-vga std`.
pub(super) fn of_bios(qemu: &Path) -> Result<Font, String> {
    let run = Command::new(qemu).args(["-L", "help"]).stdin(Stdio::null()).output();
    let output = run.map_err(|e| format!("{} -L help: {e}", qemu.display()))?;
    let folders = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = folders
        .lines()
        .map(|folder| Path::new(folder.trim()).join("vgabios-stdvga.bin"))
        .find(|path| path.is_file());
    let path = path.ok_or("vgabios-stdvga.bin is in none of QEMU's folders (qemu -L help)")?;
    scan_file(&path, LEN, find)
}

fn find(bytes: &[u8]) -> Option<Font> {
    // The full block is rare: 16 bytes of ones, one of which stands at the end of each piece of 16.
    let pieces = bytes.chunks_exact(HEIGHT).enumerate().filter(|(_, piece)| piece.last() == Some(&0xff));
    let starts = pieces.flat_map(|(n, _)| n * HEIGHT..(n + 1) * HEIGHT);
    starts
        .filter(|at| bytes.get(*at..at + HEIGHT).is_some_and(|block| block.iter().all(|row| *row == 0xff)))
        .filter_map(|at| bytes.get(at.checked_sub(FULL * HEIGHT)?..)?.get(..LEN))
        .find(|font| is_font(font))
        .map(parse)
}

fn is_font(bytes: &[u8]) -> bool {
    let all = |code: usize, byte: u8| {
        bytes.get(code * HEIGHT..(code + 1) * HEIGHT).is_some_and(|rows| rows.iter().all(|row| *row == byte))
    };
    let letters: HashSet<_> = bytes.chunks(HEIGHT).take(0x7f).skip(0x21).collect();
    all(0, 0) && all(0x20, 0) && all(0xff, 0) && all(0xb3, 0x18) && letters.len() == 94
}

fn parse(bytes: &[u8]) -> Font {
    let characters = (0x20..=0x7e_u8).map(char::from).map(Some).chain([None]).chain(UPPER.chars().map(Some));
    let glyphs = characters.zip(bytes.chunks(HEIGHT).skip(0x20)).filter_map(|(character, rows)| {
        let mut glyph = Glyph::default();
        glyph.iter_mut().zip(rows).for_each(|(to, row)| *to = *row);
        Some((character?, glyph))
    });
    Font::new((HEIGHT, Layout::Corner, CURSOR), glyphs)
}

#[cfg(test)]
mod tests {
    use super::{FULL, HEIGHT, LEN, UPPER, find};

    /// Every glyph is its code in its first row.
    fn made() -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        for code in 0..256_usize {
            bytes[code * HEIGHT] = u8::try_from(code).unwrap();
        }
        for (code, byte) in [(0, 0), (0x20, 0), (0xff, 0), (0xb3, 0x18), (FULL, 0xff)] {
            bytes[code * HEIGHT..(code + 1) * HEIGHT].fill(byte);
        }
        bytes
    }

    #[test]
    fn a_font_is_found_among_other_bytes_and_what_only_looks_like_one_is_not() {
        assert_eq!(UPPER.chars().count(), 128);
        let font = made();
        let around = [vec![0xff; 5000], font.clone(), vec![0xff; 300]].concat();
        let found = find(&around).unwrap();
        let mut glyph = super::Glyph::default();
        glyph[0] = b'A';
        assert_eq!(found.get(&glyph), Some('A'));
        glyph[0] = 0x80;
        assert_eq!(found.get(&glyph), Some('Ç'));
        let mut twice = font.clone();
        twice[usize::from(b'A') * HEIGHT] = b'B';
        assert!(find(&twice).is_none(), "two letters alike");
        assert!(find(&font[..LEN - 1]).is_none(), "cut");
        assert!(find(&[0xff; 3 * LEN]).is_none());
    }
}
