//! A dynamic VHDX, written front to back: a block comes to be when its first byte does.

use super::{Allocation, BAT_BATCH, FULLY_PRESENT, MIB, Plan, write_entries};
use crate::container::export::{Sink, Storage};
use crate::disk::Geometry;
use std::io;

/// Block size. Hyper-V's default of 32 MiB makes a file system that scatters its metadata, as ext4 does, store far more than it
/// holds; Microsoft advises 1 MiB for Linux guests ("Best Practices for running Linux on Hyper-V").
const BLOCK_SIZE: u64 = MIB;

/// Writes blocks in ascending order of their place on the disk.
pub(in crate::container) struct DynamicVhdxWriter {
    plan: Plan,
    /// Where the next new block goes.
    end: u64,
    /// The block written last, and where it is.
    current: Option<(u64, u64)>,
    /// Entries not yet written; the first has index `bat_first`.
    bat_first: u64,
    bat_batch: Vec<u64>,
}

impl DynamicVhdxWriter {
    /// A writer for a disk of shape `geometry`; `None` when the format cannot hold it.
    pub(in crate::container) fn new(geometry: Geometry, disk_id: [u8; 16]) -> Option<DynamicVhdxWriter> {
        let plan = Plan::new(geometry, disk_id, Allocation::Dynamic, BLOCK_SIZE)?;
        let end = plan.data_at();
        Some(DynamicVhdxWriter { plan, end, current: None, bat_first: 0, bat_batch: Vec::new() })
    }

    fn allocate(&mut self, file: &dyn Storage, block: u64) -> io::Result<u64> {
        let place = self.end;
        self.end += BLOCK_SIZE;
        self.current = Some((block, place));
        let index = self.plan.bat_index(block);
        let gap = (index - self.bat_first) as usize;
        if gap >= BAT_BATCH || self.bat_batch.is_empty() {
            self.flush_bat(file)?;
            self.bat_first = index;
        }
        let slot = (index - self.bat_first) as usize;
        self.bat_batch.resize(slot + 1, 0);
        self.bat_batch[slot] = place | FULLY_PRESENT;
        Ok(place)
    }

    fn flush_bat(&mut self, file: &dyn Storage) -> io::Result<()> {
        let batch = std::mem::take(&mut self.bat_batch);
        write_entries(file, self.bat_first, &batch)
    }
}

impl Sink for DynamicVhdxWriter {
    fn overhead(&self) -> u64 {
        self.plan.data_at()
    }

    fn place(&mut self, out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)> {
        let (block, skip) = (at / BLOCK_SIZE, at % BLOCK_SIZE);
        let place = match self.current {
            Some((current, place)) if current == block => place,
            _ => self.allocate(out, block)?,
        };
        Ok((place + skip, len.min(BLOCK_SIZE - skip)))
    }

    fn finish(mut self: Box<Self>, file: &dyn Storage) -> io::Result<u64> {
        self.flush_bat(file)?;
        file.set_len(self.end)?;
        self.plan.write_around(file)?;
        Ok(self.end)
    }
}
