//! Sector bitmaps of a differencing disk: which sectors of a block are in this file. Virtual Hard Disk Image Format
//! Specification 1.0, "Data Blocks".

use crate::container::view::FileView;
use crate::disk::ReadError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Bitmaps kept in memory; the longest, of a block of 256 MiB, takes 64 KiB.
const BITMAPS_KEPT: usize = 16;

/// The bitmaps that were used last, by their offset in the file.
#[derive(Debug, Default)]
pub(super) struct Bitmaps {
    kept: Mutex<VecDeque<(u64, Arc<[u8]>)>>,
}

impl Bitmaps {
    /// The bitmap of `len` bytes at `at`.
    pub(super) fn get(&self, view: &FileView, at: u64, len: usize) -> Result<Arc<[u8]>, ReadError> {
        if let Some(found) = self.kept().iter().find(|(kept, _)| *kept == at) {
            return Ok(found.1.clone());
        }
        let mut bytes = vec![0; len];
        view.read(at, &mut bytes)?;
        let bitmap: Arc<[u8]> = bytes.into();
        let mut kept = self.kept();
        kept.truncate(BITMAPS_KEPT - 1);
        kept.push_front((at, bitmap.clone()));
        Ok(bitmap)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Arc<[u8]>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner) // whole entries come and go: a panic leaves nothing half done
    }
}

/// Whether sector `from` of a block is in this file, and how many sectors from there on, none of them at or behind `end`, are alike. The
/// highest bit of the first byte stands for sector 0. `None` when the bitmap is too short.
pub(super) fn run(bitmap: &[u8], from: usize, end: usize) -> Option<(bool, usize)> {
    let bit = |i: usize| bitmap.get(i / 8).map(|byte| byte << (i % 8) & 0x80 != 0);
    let here = bit(from)?;
    let whole = if here { 0xFF } else { 0 };
    let mut at = from;
    while at < end {
        if at.is_multiple_of(8) && bitmap.get(at / 8) == Some(&whole) {
            at = at.checked_add(8)?;
        } else if bit(at)? == here {
            at = at.checked_add(1)?;
        } else {
            break;
        }
    }
    Some((here, at.min(end).checked_sub(from)?))
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn a_run_ends_with_the_bitmap_or_where_the_bits_change() {
        let bitmap = [0b1110_0001, 0xFF, 0b1000_0000, 0, 0];
        for (from, end, expect) in [
            (0, 40, Some((true, 3))),
            (2, 40, Some((true, 1))),
            (3, 40, Some((false, 4))),
            (7, 40, Some((true, 10))),
            (17, 40, Some((false, 23))),
            (17, 28, Some((false, 11))),
            (8, 12, Some((true, 4))),
            (40, 48, None),
            (39, 48, None),
        ] {
            assert_eq!(run(&bitmap, from, end), expect, "{from}..{end}");
        }
    }
}
