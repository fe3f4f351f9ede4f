//! A fixed VHDX: all blocks are there, in order, so that the disk's bytes are one stretch of the file. Where nothing is written, the file stays
//! sparse.

use super::{Allocation, BAT_BATCH, FULLY_PRESENT, MIB, Plan, write_entries};
use crate::container::export::{Sink, Storage};
use crate::disk::Geometry;
use std::io;

/// Block size of a large disk: Hyper-V's default. The table of a disk of 64 TiB has 17 MiB then.
const LARGE_BLOCK: u64 = 32 * MIB;
/// Block size of a small disk, whose last block would else make the file much longer than the disk.
const SMALL_BLOCK: u64 = MIB;
/// From this length on a disk is large.
const LARGE_DISK: u64 = 1 << 30;

/// Puts each byte of the disk at one distance from its place.
pub(in crate::container) struct FixedVhdxWriter {
    plan: Plan,
}

impl FixedVhdxWriter {
    /// A writer for a disk of shape `geometry`; `None` when the format cannot hold it.
    pub(in crate::container) fn new(geometry: Geometry, disk_id: [u8; 16]) -> Option<FixedVhdxWriter> {
        let block_size = if geometry.len.get() < LARGE_DISK { SMALL_BLOCK } else { LARGE_BLOCK };
        Plan::new(geometry, disk_id, Allocation::Fixed, block_size).map(|plan| FixedVhdxWriter { plan })
    }

    /// One entry for each block, and zeros between chunks: no sector bitmaps. §2.5.
    fn write_bat(&self, file: &dyn Storage) -> io::Result<()> {
        let (mut first, mut batch) = (0, Vec::with_capacity(BAT_BATCH + 1));
        for block in 0..self.plan.blocks {
            let index = self.plan.bat_index(block);
            batch.resize((index - first) as usize, 0); // one zero at most
            batch.push((self.plan.data_at() + block * self.plan.block_size) | FULLY_PRESENT);
            if batch.len() >= BAT_BATCH {
                write_entries(file, first, &batch)?;
                first = index + 1;
                batch.clear();
            }
        }
        write_entries(file, first, &batch)
    }
}

impl Sink for FixedVhdxWriter {
    fn overhead(&self) -> u64 {
        self.plan.data_at()
    }

    fn place(&mut self, _out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)> {
        Ok((self.plan.data_at() + at, len))
    }

    fn finish(self: Box<Self>, file: &dyn Storage) -> io::Result<u64> {
        // Whole blocks, the last one too: the file must not be shorter than all of them need. §2.6.2.1.
        let end = self.plan.data_at() + self.plan.blocks * self.plan.block_size;
        file.set_len(end)?;
        self.write_bat(file)?;
        self.plan.write_around(file)?;
        Ok(end)
    }
}
