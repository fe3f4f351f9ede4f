//! Who uses which MiB of the file: nothing may lie outside it, and nothing may be used twice.
//!
//! Everything behind the header section is aligned to 1 MiB (\[MS-VHDX\] §2.2.3.2, §2.5.1.1), so one bit per MiB is exact.

use super::format::MIB;
use crate::container::corrupt;
use crate::disk::ReadError;

/// One bit for each MiB of a file; a file at the limit of `FILE_LEN_MAX` takes 16 MiB of them.
pub(super) struct Space {
    file_len: u64,
    taken: Vec<u64>,
}

impl Space {
    /// A file of `file_len` bytes of which the first MiB, the header section, is taken. §2.2.
    pub(super) fn new(file_len: u64) -> Space {
        let words = (file_len.div_ceil(MIB) / 64).saturating_add(1);
        let mut taken = vec![0; usize::try_from(words).unwrap_or(0)];
        if let Some(first) = taken.first_mut() {
            *first = 1;
        }
        Space { file_len, taken }
    }

    /// Take `len` bytes at `at`, a multiple of 1 MiB, for `what`, which the structure at `named_at` asked for.
    pub(super) fn take(
        &mut self,
        at: u64,
        len: u64,
        named_at: u64,
        what: impl Fn() -> String,
    ) -> Result<(), ReadError> {
        let end = at.checked_add(len).filter(|end| *end <= self.file_len).ok_or_else(|| {
            let wanted = format!("all of it within the file's {:#x} bytes", self.file_len);
            corrupt(what(), named_at, wanted, format!("{len:#x} bytes at {at:#x}: the file is truncated"))
        })?;
        let (mut mib, last) = (at / MIB, end.div_ceil(MIB));
        while mib < last {
            // A word at a time: a block of 32 MiB is one step.
            let (word, from) = ((mib / 64) as usize, mib % 64);
            let count = (64 - from).min(last - mib);
            let bits = (u64::MAX >> (64 - count)) << from;
            let taken = self.taken.get(word).map_or(bits, |taken| taken & bits);
            if taken != 0 {
                let other = (mib - from + u64::from(taken.trailing_zeros())) * MIB;
                let found = format!("{len:#x} bytes at {at:#x}, where something else is at {other:#x}");
                return Err(corrupt(what(), named_at, "a place of its own", found));
            }
            if let Some(word) = self.taken.get_mut(word) {
                *word |= bits;
            }
            mib += count;
        }
        Ok(())
    }
}
