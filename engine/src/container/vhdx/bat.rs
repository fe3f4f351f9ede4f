//! The block allocation table: where each block of the disk is. \[MS-VHDX\] §2.5.
//!
//! ```text
//! payload 0 … payload r-1 │ bitmap 0 │ payload r … payload 2r-1 │ bitmap 1 │ …      r: the chunk ratio, §2.5
//! ```

use super::format::{MIB, SECTORS_PER_CHUNK};
use super::metadata::Metadata;
use super::regions::Region;
use super::space::Space;
use super::window::Window;
use crate::container::corrupt;
use crate::container::view::FileView;
use crate::disk::ReadError;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks that are looked at to find the end of a run. More would make a small read of a large disk slow, fewer a walk over it.
const RUN_BLOCKS: u64 = 1024;

/// What an entry says about a block. §2.5.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// The parent's bytes, or zeros on a disk without one.
    Absent,
    /// Zeros.
    Zero,
    /// All of it at this offset of the file.
    Stored(u64),
    /// The sectors whose bits are set at this offset of the file, the others are the parent's.
    Partial(u64),
}

/// Whether there is a parent to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Alone,
    Child,
}

/// The table of one file.
#[derive(Debug)]
pub(super) struct Bat {
    at: u64,
    kind: Kind,
    /// Payload blocks of the disk.
    pub blocks: u64,
    pub block_size: u64,
    virtual_len: u64,
    file_len: u64,
    /// Binary logarithm of the payload blocks of a chunk.
    chunk_shift: u32,
    window: Mutex<Window>,
}

impl Bat {
    /// The table in `region`, which must be long enough for the disk.
    pub(super) fn new(region: Region, metadata: &Metadata, file_len: u64) -> Result<Bat, ReadError> {
        let blocks = metadata.virtual_len.div_ceil(metadata.block_size);
        // Powers of two all three; at least 16 (512-byte sectors, 256 MiB blocks).
        let chunk_ratio = SECTORS_PER_CHUNK * metadata.sector.bytes() / metadata.block_size;
        let bat = Bat {
            at: region.at,
            kind: if metadata.parent.is_some() { Kind::Child } else { Kind::Alone },
            blocks,
            block_size: metadata.block_size,
            virtual_len: metadata.virtual_len,
            file_len,
            chunk_shift: chunk_ratio.trailing_zeros(),
            window: Mutex::default(),
        };
        let needed = bat.entry_count() * 8;
        if region.len < needed {
            let found = format!("{:#x}", region.len);
            return Err(corrupt("BAT region length", region.at, format!("at least {needed:#x}"), found));
        }
        Ok(bat)
    }

    /// Bytes of the disk that lie in `block`: all of it, except for the last one.
    fn bytes_in(&self, block: u64) -> u64 {
        self.virtual_len.saturating_sub(block.saturating_mul(self.block_size)).min(self.block_size)
    }

    /// Number of the chunk that `block` belongs to.
    pub(super) fn chunk_of(&self, block: u64) -> u64 {
        block >> self.chunk_shift
    }

    /// What `block` is, and how many blocks from it on are of that kind, stored ones one after another; at least 1, perhaps not all.
    pub(super) fn run(&self, view: &FileView, block: u64) -> Result<(Block, u64), ReadError> {
        self.run_in(view, block, &mut self.lock())
    }

    /// Where the sector bitmap block of `chunk` is, if it has one. §2.5.1.2.
    pub(super) fn bitmap(&self, view: &FileView, chunk: u64) -> Result<Option<u64>, ReadError> {
        self.bitmap_in(view, chunk, &mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        // A window is replaced only when it was read whole, so one left behind by a panic is still right.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_in(&self, view: &FileView, block: u64, window: &mut Window) -> Result<(Block, u64), ReadError> {
        let entry = window.entry(view, self.at, self.entry_index(block), self.entry_count())?;
        let first = self.decode(block, entry)?;
        // To the end of the chunk: behind it lies a bitmap's entry.
        let limit = (((self.chunk_of(block) + 1) << self.chunk_shift).min(self.blocks)).saturating_sub(block);
        if let Some(zeros) = window.zeros_from(self.entry_index(block)) {
            return Ok((first, zeros.clamp(1, limit)));
        }
        // Within a chunk the entries of payload blocks lie side by side. Most of a large table is looked at here and nowhere else.
        let rest = window
            .behind(self.entry_index(block))
            .iter()
            .zip(1u64..)
            .take_while(|(_, i)| *i < limit.min(RUN_BLOCKS));
        let more = match first {
            Block::Absent | Block::Zero => {
                rest.take_while(|(entry, _)| self.empty(**entry) == Some(first)).count()
            }
            Block::Stored(at) => rest
                .take_while(|(entry, i)| {
                    let next = at.saturating_add(i * self.block_size);
                    split(**entry) == (6, next) && self.is_within(block + i, next)
                })
                .count(),
            Block::Partial(_) => 0,
        };
        Ok((first, more as u64 + 1))
    }

    /// What an entry without a place in the file says. §2.5.1.1.
    fn empty(&self, entry: u64) -> Option<Block> {
        match (split(entry).0, self.kind) {
            // Not present, the one state that names the parent. Without a parent the content is undefined; Hyper-V and QEMU read zeros.
            (0, _) => Some(Block::Absent),
            // Undefined and unmapped: any content will do, but not the parent's. Zeros, as Hyper-V and QEMU read it.
            (1 | 3, Kind::Alone) => Some(Block::Absent),
            (1 | 3, Kind::Child) => Some(Block::Zero),
            (2, _) => Some(Block::Zero),
            _ => None,
        }
    }

    /// The entry of a payload block. Checked each time: the file may have changed.
    fn decode(&self, block: u64, entry: u64) -> Result<Block, ReadError> {
        if let Some(empty) = self.empty(entry) {
            return Ok(empty);
        }
        let (state, offset) = split(entry);
        match (state, self.kind) {
            (6, _) => self.within(block, offset).map(|()| Block::Stored(offset)),
            (7, Kind::Child) => self.within(block, offset).map(|()| Block::Partial(offset)),
            (state, kind) => {
                let wanted = match kind {
                    Kind::Alone => "state 0, 1, 2, 3 or 6 on a disk without parent",
                    Kind::Child => "state 0, 1, 2, 3, 6 or 7",
                };
                Err(corrupt(format!("BAT entry of block {block}"), self.entry_at(block), wanted, state))
            }
        }
    }

    /// That the bytes of `block` lie within the file at `offset`.
    fn within(&self, block: u64, offset: u64) -> Result<(), ReadError> {
        if self.is_within(block, offset) {
            return Ok(());
        }
        let stored = self.bytes_in(block);
        let wanted = format!("{stored:#x} bytes within the file's {:#x}", self.file_len);
        let found = format!("offset {offset:#x}: the file is truncated or the entry is damaged");
        Err(corrupt(format!("BAT entry of block {block}"), self.entry_at(block), wanted, found))
    }

    fn is_within(&self, block: u64, offset: u64) -> bool {
        offset >= MIB && offset.checked_add(self.bytes_in(block)).is_some_and(|end| end <= self.file_len)
    }

    fn bitmap_in(&self, view: &FileView, chunk: u64, window: &mut Window) -> Result<Option<u64>, ReadError> {
        let index = self.bitmap_index(chunk);
        let (state, offset) = split(window.entry(view, self.at, index, self.entry_count())?);
        let bad = |wanted: String, found: String| {
            Err(corrupt(format!("BAT entry of sector bitmap {chunk}"), self.at + index * 8, wanted, found))
        };
        match state {
            0 => Ok(None),
            // One bit for each of 2^23 sectors. §2.4.2.
            6 if offset >= MIB && offset.checked_add(MIB).is_some_and(|end| end <= self.file_len) => {
                Ok(Some(offset))
            }
            6 => bad(
                format!("{MIB:#x} bytes within the file's {:#x}", self.file_len),
                format!("offset {offset:#x}: the file is truncated or the entry is damaged"),
            ),
            state => bad("state 0 or 6".into(), state.to_string()),
        }
    }

    /// Check the whole table: every stored block lies in the file, at a place of its own, and a partly stored one has its bitmap. Returns
    /// the bytes of the disk that are stored, counted in blocks.
    pub(super) fn check(&self, view: &FileView, space: &mut Space) -> Result<u64, ReadError> {
        let mut window = self.lock();
        let (mut stored, mut block, mut partial) = (0, 0, None);
        while block < self.blocks {
            let (kind, count) = self.run_in(view, block, &mut window)?;
            if let Block::Stored(at) | Block::Partial(at) = kind {
                for (i, block) in (block..block + count).enumerate() {
                    let (at, len) = (at + i as u64 * self.block_size, self.bytes_in(block));
                    space.take(at, len, self.entry_at(block), || format!("payload block {block}"))?;
                    stored += len;
                }
            }
            if matches!(kind, Block::Partial(_)) {
                partial = Some(block);
            }
            let chunk = self.chunk_of(block);
            block += count;
            // Sector bitmaps belong to differencing disks only; QEMU leaves nonsense in their entries on others
            // (https://gitlab.com/qemu-project/qemu/-/issues/727).
            if self.kind == Kind::Child && (block == self.blocks || self.chunk_of(block) != chunk) {
                self.check_bitmap(view, chunk, partial.take(), space, &mut window)?;
            }
        }
        Ok(stored)
    }

    /// The bitmap of `chunk`, in which `partial` is a block that needs it.
    fn check_bitmap(
        &self,
        view: &FileView,
        chunk: u64,
        partial: Option<u64>,
        space: &mut Space,
        window: &mut Window,
    ) -> Result<(), ReadError> {
        let entry_at = self.at + self.bitmap_index(chunk) * 8;
        match (self.bitmap_in(view, chunk, window)?, partial) {
            (Some(at), _) => space.take(at, MIB, entry_at, || format!("sector bitmap {chunk}")),
            (None, None) => Ok(()),
            (None, Some(block)) => {
                let wanted = format!("state 6, because block {block} is partly present");
                Err(corrupt(format!("BAT entry of sector bitmap {chunk}"), entry_at, wanted, 0))
            }
        }
    }

    fn entry_index(&self, block: u64) -> u64 {
        block + self.chunk_of(block)
    }

    fn entry_at(&self, block: u64) -> u64 {
        self.at + self.entry_index(block) * 8
    }

    fn bitmap_index(&self, chunk: u64) -> u64 {
        ((chunk + 1) << self.chunk_shift) + chunk
    }

    /// Entries of the table: up to the last payload block, or to its chunk's bitmap on a differencing disk. §2.5.
    fn entry_count(&self) -> u64 {
        let last = self.blocks - 1; // a disk is never empty
        match self.kind {
            Kind::Alone => self.entry_index(last) + 1,
            Kind::Child => self.bitmap_index(self.chunk_of(last)) + 1,
        }
    }
}

/// Bits 0..3 of an entry are the state, 20..64 the offset in MiB. §2.5.1.
fn split(entry: u64) -> (u64, u64) {
    (entry & 7, entry & !(MIB - 1))
}
