//! Sector bitmaps of a differencing disk: which sectors of a partly present block are in the file. \[MS-VHDX\] §2.4.2.

use super::bat::Bat;
use super::format::SECTORS_PER_CHUNK;
use crate::container::corrupt;
use crate::container::view::FileView;
use crate::disk::ReadError;
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

#[derive(Debug)]
struct Page {
    chunk: u64,
    /// Number of the page in the chunk's bitmap.
    number: u64,
    bytes: Box<[u8]>,
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
        let (number, bit) = (bit / (PAGE_LEN * 8), bit % (PAGE_LEN * 8));
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = pages.iter().find(|p| (p.chunk, p.number) == (chunk, number)) {
            return Ok(run_of_bits(&page.bytes, bit));
        }
        let Some(at) = bat.bitmap(view, chunk)? else {
            return Err(corrupt(
                format!("sector bitmap {chunk}"),
                0,
                "one, for a partly present block",
                "none",
            ));
        };
        let mut bytes = vec![0; PAGE_LEN as usize].into_boxed_slice();
        view.read(at + number * PAGE_LEN, &mut bytes)?;
        let run = run_of_bits(&bytes, bit);
        if pages.len() >= PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(Page { chunk, number, bytes });
        Ok(run)
    }
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
