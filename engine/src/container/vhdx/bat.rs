//! The block allocation table: where each block of the disk is. \[MS-VHDX\] §2.5.

use super::format::{MIB, SECTORS_PER_CHUNK};
use super::header::Region;
use super::metadata::Metadata;
use super::space::Space;
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use std::sync::Mutex;

/// Entries read at once. A table of a 64 TiB disk in 1 MiB blocks has 512 MiB: it is never in memory whole.
const WINDOW_ENTRIES: u64 = 8192;

/// What an entry says about a block. §2.5.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// States 0 (not present), 1 (undefined) and 3 (unmapped): reads as zeros, as Hyper-V and QEMU read it.
    Absent,
    /// State 2: zeros, on purpose.
    Zero,
    /// State 6: stored at this offset of the file.
    Stored(u64),
}

/// The table of one file.
#[derive(Debug)]
pub(super) struct Bat {
    at: u64,
    /// Payload blocks of the disk.
    pub blocks: u64,
    pub block_size: u64,
    virtual_len: u64,
    file_len: u64,
    chunk_ratio: u64,
    window: Mutex<Window>,
}

/// Consecutive entries from `first` on.
#[derive(Debug, Default)]
pub(super) struct Window {
    first: u64,
    entries: Vec<u64>,
}

impl Bat {
    /// The table in `region`, which must be long enough for the disk.
    pub(super) fn new(region: Region, metadata: &Metadata, file_len: u64) -> Result<Bat, ReadError> {
        let blocks = metadata.virtual_len.div_ceil(metadata.block_size);
        // At least 16 (512-byte sectors, 256 MiB blocks), so it never divides by zero.
        let chunk_ratio = SECTORS_PER_CHUNK * metadata.sector.bytes() / metadata.block_size;
        let bat = Bat {
            at: region.at,
            blocks,
            block_size: metadata.block_size,
            virtual_len: metadata.virtual_len,
            file_len,
            chunk_ratio,
            window: Mutex::default(),
        };
        // After each chunk of payload entries comes one sector bitmap entry, which only differencing disks use. §2.5.1.
        let needed = (bat.entry_index(blocks - 1) + 1) * 8;
        if region.len < needed {
            let found = format!("{:#x}", region.len);
            return Err(corrupt("BAT region length", region.at, format!("at least {needed:#x}"), found));
        }
        Ok(bat)
    }

    fn entry_index(&self, block: u64) -> u64 {
        block + block / self.chunk_ratio
    }

    /// Bytes of the disk that lie in `block`: all of it, except for the last one.
    pub(super) fn bytes_in(&self, block: u64) -> u64 {
        self.virtual_len.saturating_sub(block.saturating_mul(self.block_size)).min(self.block_size)
    }

    /// Look at one block.
    pub(super) fn block(&self, source: &SourceFile, block: u64) -> Result<Block, ReadError> {
        self.block_in(source, block, &mut self.lock())
    }

    /// The window, for a caller that looks at many blocks.
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Window> {
        // A window is replaced only when it was read whole, so one left behind by a panic is still right.
        self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Look at one block through a window the caller holds. Each entry is checked each time: the file may have changed.
    pub(super) fn block_in(
        &self,
        source: &SourceFile,
        block: u64,
        window: &mut Window,
    ) -> Result<Block, ReadError> {
        let index = self.entry_index(block);
        let entry = match window.get(index) {
            Some(entry) => entry,
            None => {
                self.load(source, index, window)?;
                window.get(index).unwrap_or_default()
            }
        };
        let entry_at = self.at + index * 8;
        // Bits 0..3 are the state, 20..64 the offset in MiB. §2.5.1.
        let offset = entry & !(MIB - 1);
        let name = || format!("BAT entry of block {block}");
        match entry & 7 {
            0 | 1 | 3 => Ok(Block::Absent),
            2 => Ok(Block::Zero),
            6 => {
                let stored = self.bytes_in(block);
                if offset < MIB || offset.checked_add(stored).is_none_or(|end| end > self.file_len) {
                    let wanted = format!("{stored:#x} bytes within the file's {:#x}", self.file_len);
                    let found = format!("offset {offset:#x}: the file is truncated or the entry is damaged");
                    return Err(corrupt(name(), entry_at, wanted, found));
                }
                Ok(Block::Stored(offset))
            }
            state => Err(corrupt(name(), entry_at, "state 0, 1, 2, 3 or 6 on a disk without parent", state)),
        }
    }

    fn load(&self, source: &SourceFile, index: u64, window: &mut Window) -> Result<(), ReadError> {
        let first = index - index % WINDOW_ENTRIES;
        let total = self.entry_index(self.blocks - 1) + 1;
        let count = total.saturating_sub(first).min(WINDOW_ENTRIES);
        let mut bytes = vec![0; count as usize * 8];
        read_file(source, self.at + first * 8, &mut bytes)?;
        let entries = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        *window = Window { first, entries };
        Ok(())
    }

    /// Check the whole table: every stored block lies in the file, at a place of its own. Returns the bytes of the disk that
    /// are stored.
    pub(super) fn check(&self, source: &SourceFile, space: &mut Space) -> Result<u64, ReadError> {
        let mut window = self.lock();
        let mut stored = 0;
        for block in 0..self.blocks {
            if let Block::Stored(at) = self.block_in(source, block, &mut window)? {
                let len = self.bytes_in(block);
                let entry_at = self.at + self.entry_index(block) * 8;
                space.take(at, len, &format!("payload block {block}"), entry_at)?;
                stored += len;
            }
        }
        Ok(stored)
    }
}

impl Window {
    fn get(&self, index: u64) -> Option<u64> {
        let i = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.entries.get(i).copied()
    }
}
