//! A part of the block allocation table in memory: a stretch of it that was read, or one that the file system knows to be zeros.

use crate::container::view::FileView;
use crate::disk::ReadError;
use crate::disk::file::Stored;

/// Entries read at once. A table of a 64 TiB disk in 1 MiB blocks has 512 MiB: it is never in memory whole.
const WINDOW_ENTRIES: u64 = 8192;

/// Consecutive entries from `first` on.
#[derive(Debug, Default)]
pub(super) struct Window {
    first: u64,
    len: u64,
    /// None of them when all `len` are zero and were not read.
    entries: Vec<u64>,
}

impl Window {
    /// The entry `index` of the table at `at`, which has `count` entries; loaded if it is not here.
    pub(super) fn entry(
        &mut self,
        view: &FileView,
        at: u64,
        index: u64,
        count: u64,
    ) -> Result<u64, ReadError> {
        if let Some(entry) = self.get(index) {
            return Ok(entry);
        }
        self.load(view, at, index, count)?;
        Ok(self.get(index).unwrap_or_default())
    }

    /// An entry that is here.
    fn get(&self, index: u64) -> Option<u64> {
        let i = index.checked_sub(self.first).filter(|i| *i < self.len)?;
        if self.entries.is_empty() { Some(0) } else { self.entries.get(usize::try_from(i).ok()?).copied() }
    }

    /// The entries behind `index` that were read.
    pub(super) fn behind(&self, index: u64) -> &[u64] {
        let from = index.checked_sub(self.first).and_then(|i| usize::try_from(i).ok()?.checked_add(1));
        from.and_then(|from| self.entries.get(from..)).unwrap_or_default()
    }

    /// How many entries from `index` on are known to be zeros without having been read.
    pub(super) fn zeros_from(&self, index: u64) -> Option<u64> {
        let i = index.checked_sub(self.first).filter(|i| *i < self.len)?;
        self.entries.is_empty().then(|| self.len - i)
    }

    fn load(&mut self, view: &FileView, at: u64, index: u64, count: u64) -> Result<(), ReadError> {
        let (kind, len) = view.stored(at + index * 8)?;
        let zeros = (len / 8).min(count.saturating_sub(index));
        if kind == Stored::Hole && zeros > 0 {
            *self = Window { first: index, len: zeros, entries: Vec::new() };
            return Ok(());
        }
        let first = index - index % WINDOW_ENTRIES;
        let len = count.saturating_sub(first).min(WINDOW_ENTRIES);
        let mut bytes = vec![0; len as usize * 8];
        view.read(at + first * 8, &mut bytes)?;
        let entries = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        *self = Window { first, len, entries };
        Ok(())
    }
}
