//! Sector bitmaps of a differencing disk: which sectors of a partly present block are in the file. \[MS-VHDX\] §2.4.2.

use super::bat::Bat;
use super::format::{MIB, SECTORS_PER_CHUNK};
use crate::container::corrupt;
use crate::container::view::FileView;
use crate::disk::ReadError;
use crate::disk::file::Stored;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Bytes of a bitmap that are read at once: the bits of 16 MiB of 512-byte sectors.
const PAGE_LEN: u64 = 4096;
/// Pages kept.
const PAGES_MAX: usize = 16;

/// The bitmaps of one file, as far as they were looked at.
#[derive(Debug, Default)]
pub(super) struct Bitmaps {
    pages: Mutex<VecDeque<Page>>,
}

/// A stretch of a chunk's bitmap.
#[derive(Debug)]
struct Page {
    chunk: u64,
    /// The stretch, in bits.
    from: u64,
    len: u64,
    bits: Bits,
}

#[derive(Debug)]
enum Bits {
    /// A hole of the file: all of them are 0, however many, and nobody read them.
    Clear,
    Read(Box<[u8]>),
}

impl Page {
    fn has(&self, chunk: u64, bit: u64) -> bool {
        self.chunk == chunk && bit.checked_sub(self.from).is_some_and(|i| i < self.len)
    }

    /// The bit, which it has, and how many from it on are the same.
    fn run(&self, bit: u64) -> (bool, u64) {
        let at = bit - self.from;
        match &self.bits {
            Bits::Clear => (false, self.len - at),
            Bits::Read(bytes) => run_of_bits(bytes, at),
        }
    }
}

impl Bitmaps {
    /// Whether `sector` of the disk, which belongs to `block`, is in the file, and how many sectors from it on are like it: at least 1,
    /// perhaps not all, perhaps beyond the block.
    pub(super) fn run(
        &self,
        view: &FileView,
        bat: &Bat,
        block: u64,
        sector: u64,
    ) -> Result<(bool, u64), ReadError> {
        let chunk = bat.chunk_of(block);
        let bit = sector % SECTORS_PER_CHUNK;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = pages.iter().find(|p| p.has(chunk, bit)) {
            return Ok(page.run(bit));
        }
        let Some(at) = bat.bitmap(view, chunk)? else {
            return Err(corrupt(
                format!("sector bitmap {chunk}"),
                0,
                "one, for a partly present block",
                "none",
            ));
        };
        let page = page(view, at, chunk, bit)?;
        let run = page.run(bit);
        if pages.len() >= PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(page);
        Ok(run)
    }
}

/// The stretch around `bit` of the bitmap of `chunk`, which begins at `at` in the file.
fn page(view: &FileView, at: u64, chunk: u64, bit: u64) -> Result<Page, ReadError> {
    let byte = bit / 8 / PAGE_LEN * PAGE_LEN;
    if let (Stored::Hole, len) = view.stored(at + byte)?
        && len >= PAGE_LEN
    {
        let len = len.min(MIB - byte);
        return Ok(Page { chunk, from: byte * 8, len: len * 8, bits: Bits::Clear });
    }
    let mut bytes = vec![0; PAGE_LEN as usize].into_boxed_slice();
    view.read(at + byte, &mut bytes)?;
    Ok(Page { chunk, from: byte * 8, len: PAGE_LEN * 8, bits: Bits::Read(bytes) })
}

/// The bit at `from`, the least significant one of each byte first, and how many from it on are the same. §2.4.2.
fn run_of_bits(bytes: &[u8], from: u64) -> (bool, u64) {
    let bit = |i: u64| bytes.get((i / 8) as usize).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
    let (set, end) = (bit(from), bytes.len() as u64 * 8);
    let whole = if set { 0xFF } else { 0x00 };
    let mut at = from + 1;
    while at < end {
        if at.is_multiple_of(8) && bytes.get((at / 8) as usize) == Some(&whole) {
            at += 8;
        } else if bit(at) == set {
            at += 1;
        } else {
            break;
        }
    }
    (set, at - from)
}

#[cfg(test)]
mod tests {
    use super::run_of_bits;

    #[test]
    fn bits_are_counted_from_the_least_significant_one() {
        let bytes = [0b0000_0110, 0xFF, 0xFF, 0b0000_0001, 0];
        let cases = [
            (0, (false, 1)),
            (1, (true, 2)),
            (2, (true, 1)),
            (3, (false, 5)),
            (8, (true, 17)),
            (9, (true, 16)),
            (25, (false, 15)),
            (39, (false, 1)),
        ];
        for (from, expect) in cases {
            assert_eq!(run_of_bits(&bytes, from), expect, "from {from}");
        }
    }
}
