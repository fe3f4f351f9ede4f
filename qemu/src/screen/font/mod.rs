//! The fonts that boot stages draw with, read at run time from what draws or holds them; none is part of this program.
//!
//! | drawn by | cell | read from |
//! |---|---|---|
//! | Linux's framebuffer console | 8 × 16 | QEMU's program: its text console has the same font |
//! | a BIOS in a graphics mode | 8 × 16 | the VGA BIOS that QEMU loads |
//! | UEFI | 8 × 19 | the firmware image, where it lies compressed |
//! | GRUB's `gfxterm` | 8 × 16 | `unicode.pf2` of the host's GRUB |

mod code_page;
mod hii;
mod pf2;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of the tallest cell that is read.
pub(super) const MAX_HEIGHT: usize = 19;
/// Columns of every cell that is read.
pub(super) const WIDTH: usize = 8;
/// Bytes looked at of one file.
const MAX_FILE: u64 = 64 << 20;
/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A glyph: a byte a row, its highest bit the leftmost pixel; rows that the font does not have are 0.
pub(super) type Glyph = [u8; MAX_HEIGHT];

/// Where on a screen a font's cells lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// From the top left corner on. Linux, drivers/video/fbdev/core/fbcon.c.
    Corner,
    /// In the middle, by the text modes of EDK2, MdeModulePkg/Universal/Console/GraphicsConsoleDxe.
    Centred,
    /// Inside a border of 10 pixels. GRUB, grub-core/term/gfxterm.c, `DEFAULT_BORDER_WIDTH`.
    Border,
}

/// One font.
pub(super) struct Font {
    /// Rows of a cell.
    pub height: usize,
    /// Where its cells lie.
    pub layout: Layout,
    /// First row of the cursor, which reaches from side to side, and the row behind its last one.
    pub cursor: (usize, usize),
    pub(super) glyphs: HashMap<Glyph, char>,
}

impl Font {
    /// Of glyphs that look alike ASCII is meant, else a piece of a frame, else the lowest. A glyph that looks like the cursor
    /// alone is left to it.
    fn new(
        (height, layout, cursor): (usize, Layout, (usize, usize)),
        glyphs: impl Iterator<Item = (char, Glyph)>,
    ) -> Self {
        let rank = |c: char| (!c.is_ascii(), !('\u{2500}'..='\u{259f}').contains(&c), c);
        let mut font = Self { height, layout, cursor, glyphs: HashMap::new() };
        let mut bar = Glyph::default();
        bar.iter_mut().take(cursor.1).skip(cursor.0).for_each(|row| *row = 0xff);
        for (character, glyph) in glyphs.filter(|(_, glyph)| *glyph != bar) {
            let known = font.glyphs.entry(glyph).or_insert(character);
            if rank(character) < rank(*known) {
                *known = character;
            }
        }
        font
    }

    /// The character of this look, if one has it.
    pub fn get(&self, glyph: &Glyph) -> Option<char> {
        self.glyphs.get(glyph).copied()
    }
}

/// The fonts of one kind of machine.
#[derive(Default)]
pub struct Fonts {
    pub(super) list: Vec<Font>,
    missing: Vec<String>,
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fonts").field("fonts", &self.list.len()).field("missing", &self.missing).finish()
    }
}

impl Fonts {
    /// Which fonts were not found, in a reader's words; text in them cannot be read.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    fn load(sources: &Sources, firmware: Option<&Path>) -> Self {
        let mut fonts = Self::default();
        fonts.take("Linux's console", code_page::of_program(&sources.qemu_binary));
        fonts.take("the VGA BIOS", code_page::of_bios(&sources.qemu_binary));
        if let Some(firmware) = firmware {
            fonts.take("the UEFI firmware", hii::of_firmware(firmware));
        }
        fonts.take("GRUB's unicode.pf2", pf2::of_file(&sources.grub_font));
        fonts
    }

    fn take(&mut self, what: &str, font: Result<Font, String>) {
        match font {
            Ok(font) => self.list.push(font),
            Err(why) => self.missing.push(format!("the font of {what}: {why}")),
        }
    }
}

#[derive(Debug)]
struct Sources {
    qemu_binary: PathBuf,
    grub_font: PathBuf,
}

/// Fonts by the firmware they go with, each read when it is first needed. Clones share them.
#[derive(Debug, Clone)]
pub struct FontCache {
    sources: Arc<Sources>,
    loaded: Arc<Mutex<HashMap<Option<PathBuf>, Arc<Fonts>>>>,
}

impl FontCache {
    /// Nothing is read yet. `grub_font`: a `unicode.pf2`.
    pub fn new(qemu_binary: PathBuf, grub_font: PathBuf) -> Self {
        Self { sources: Arc::new(Sources { qemu_binary, grub_font }), loaded: Arc::default() }
    }

    /// The fonts of a machine with this UEFI image, or of one with a BIOS. Reading them takes some 0.1 s, once.
    pub fn of(&self, firmware: Option<&Path>) -> Arc<Fonts> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let fonts = loaded
            .entry(firmware.map(Path::to_owned))
            .or_insert_with(|| Arc::new(Fonts::load(&self.sources, firmware)));
        Arc::clone(fonts)
    }
}

/// Looks through `from` for what `find` recognises, in pieces that overlap by `overlap` bytes.
fn scan<T>(
    mut from: impl Read,
    overlap: usize,
    find: impl Fn(&[u8]) -> Option<T>,
) -> std::io::Result<Option<T>> {
    let mut buffer = Vec::new();
    let mut left = MAX_FILE;
    loop {
        let read = from.by_ref().take(left.min(CHUNK as u64)).read_to_end(&mut buffer)?;
        if let Some(found) = find(&buffer) {
            return Ok(Some(found));
        }
        left = left.saturating_sub(read as u64);
        if read == 0 || left == 0 {
            return Ok(None);
        }
        buffer.drain(..buffer.len().saturating_sub(overlap));
    }
}

/// The same in a file; the error is in a reader's words.
fn scan_file<T>(path: &Path, overlap: usize, find: impl Fn(&[u8]) -> Option<T>) -> Result<T, String> {
    let found = std::fs::File::open(path).and_then(|file| scan(file, overlap, find));
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("there is none in {}", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Font, Fonts, Glyph, Layout, scan};

    /// A font of its own kind for every layout, for tests without a machine.
    pub(crate) fn made(list: Vec<Font>) -> Fonts {
        Fonts { list, missing: Vec::new() }
    }

    /// 8 × 16 in the corner: every character is its code in the two middle rows.
    pub(crate) fn plain() -> Font {
        let glyphs = (' '..='~').map(|c| (c, glyph(if c == ' ' { 0 } else { c as u8 })));
        Font::new((16, Layout::Corner, (14, 16)), glyphs)
    }

    pub(crate) fn glyph(code: u8) -> Glyph {
        let mut glyph = Glyph::default();
        glyph[7..9].fill(code);
        glyph
    }

    #[test]
    fn of_glyphs_that_look_alike_ascii_is_meant() {
        let look = [('\u{391}', glyph(1)), ('A', glyph(1)), ('\u{23aa}', glyph(2)), ('\u{2502}', glyph(2))];
        let font = Font::new((16, Layout::Corner, (14, 16)), look.into_iter());
        assert_eq!(font.get(&glyph(1)), Some('A'));
        assert_eq!(font.get(&glyph(2)), Some('\u{2502}'));
        assert_eq!(font.get(&glyph(3)), None);
        let mut bar = Glyph::default();
        bar[14..16].fill(0xff);
        let font = Font::new((16, Layout::Corner, (14, 16)), [('\u{2581}', bar)].into_iter());
        assert_eq!(font.get(&bar), None);
    }

    #[test]
    fn a_find_across_two_pieces_is_found_and_none_is_none() {
        let mut bytes = vec![0; 3 * super::CHUNK];
        let at = super::CHUNK - 2;
        bytes[at..at + 4].copy_from_slice(b"here");
        let find = |piece: &[u8]| piece.windows(4).any(|w| w == b"here").then_some(());
        assert_eq!(scan(&*bytes, 8, find).unwrap(), Some(()));
        bytes[at] = b'x';
        assert_eq!(scan(&*bytes, 8, find).unwrap(), None);
    }
}
