//! A new dynamic VHD, written front to back. Virtual Hard Disk Image Format Specification 1.0, "Overview of Dynamic Disks".
//!
//! ```text
//! 0        512     1536
//! ┌────────┬───────┬───────┬─ … ─┬────────┬───────────┬─ … ─┬────────┬───────────┬────────┐
//! │ footer │header │ table │     │ bitmap │   block   │     │ bitmap │   block   │ footer │
//! │ (copy) │       │       │     │        │           │     │        │           │        │
//! └────────┴───────┴───────┴─ … ─┴────────┴───────────┴─ … ─┴────────┴───────────┴────────┘
//!                              ends at a multiple of 4096 ┘        └ is whole, even the last
//! ```

use super::footer::{FOOTER_LEN, dynamic_footer};
use super::header::{HEADER_LEN, LEN_MAX, dynamic_header};
use crate::container::export::{Sink, Storage};
use crate::disk::Geometry;
use crate::table::guid::Guid;
use crate::units::SectorSize;
use std::io;

/// The block size that the specification proposes and every program can read.
const BLOCK_SIZE: u64 = 2 << 20;
/// A bit for each of a block's 4096 sectors: one sector.
const BITMAP_LEN: usize = 512;
/// Data begins at multiples of this. A bitmap of one sector would put all of it across the pages of the file; the specification
/// leaves it open where a block lies, so the bitmap goes to the end of a page of its own.
const ALIGN: u64 = 4096;
const HEADER_AT: u64 = FOOTER_LEN as u64;
const TABLE_AT: u64 = HEADER_AT + HEADER_LEN as u64;
/// Table entry of a block that is not there.
const UNUSED: u32 = u32::MAX;

/// Writes blocks in ascending order of their place on the disk.
pub(in crate::container) struct DynamicVhdSink {
    len: u64,
    disk_id: Guid,
    now: u64,
    /// Sector of each block's bitmap: at most 4 MiB, for 2040 GiB.
    table: Vec<u32>,
    /// Where the last block ends: a multiple of [`ALIGN`].
    end: u64,
}

impl DynamicVhdSink {
    /// A writer for a disk of shape `geometry`, made at `now` (seconds since 1970); `None` when the format cannot hold it.
    pub(in crate::container) fn new(
        geometry: Geometry,
        disk_id: [u8; 16],
        now: u64,
    ) -> Option<DynamicVhdSink> {
        let len = geometry.len.get();
        if geometry.sector != SectorSize::B512 || len == 0 || len > LEN_MAX || !len.is_multiple_of(512) {
            return None;
        }
        let blocks = usize::try_from(len.div_ceil(BLOCK_SIZE)).ok()?;
        let table = vec![UNUSED; blocks];
        let end = (TABLE_AT + blocks as u64 * 4).next_multiple_of(ALIGN);
        Some(DynamicVhdSink { len, disk_id: Guid::from_disk(disk_id), now, table, end })
    }

    /// A new block: where its data begins. Its bitmap says that all sectors are here, as QEMU writes it.
    fn allocate(&mut self, out: &dyn Storage) -> io::Result<(u32, u64)> {
        let data_at = self.end + ALIGN;
        let bitmap_at = data_at - BITMAP_LEN as u64;
        let sector = u32::try_from(bitmap_at / 512).map_err(io::Error::other)?; // 2040 GiB in blocks stay below 2^32 sectors
        out.write_at(bitmap_at, &[0xFF; BITMAP_LEN])?;
        self.end = data_at + BLOCK_SIZE;
        Ok((sector, data_at))
    }
}

impl Sink for DynamicVhdSink {
    fn overhead(&self) -> u64 {
        let blocks = self.table.len() as u64;
        // `end` is still where the table ends. A page for each bitmap.
        self.end + blocks * ALIGN + FOOTER_LEN as u64
    }

    fn place(&mut self, out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)> {
        let (block, skip) = (at / BLOCK_SIZE, at % BLOCK_SIZE);
        let slot = usize::try_from(block).map_err(io::Error::other)?;
        let beyond = || io::Error::other(format!("a write at {at:#x}, beyond the end of the disk"));
        let data_at = match *self.table.get(slot).ok_or_else(beyond)? {
            UNUSED => {
                let (sector, data_at) = self.allocate(out)?;
                self.table[slot] = sector;
                data_at
            }
            sector => u64::from(sector) * 512 + BITMAP_LEN as u64,
        };
        Ok((data_at + skip, len.min(BLOCK_SIZE - skip)))
    }

    fn finish(self: Box<Self>, out: &dyn Storage) -> io::Result<u64> {
        let file_len = self.end + FOOTER_LEN as u64;
        out.set_len(file_len)?;
        let footer = dynamic_footer(HEADER_AT, self.len, self.disk_id, self.now);
        out.write_at(0, &footer)?;
        let entries = u32::try_from(self.table.len()).map_err(io::Error::other)?;
        out.write_at(HEADER_AT, &dynamic_header(TABLE_AT, entries, BLOCK_SIZE as u32))?;
        // The table fills whole sectors; entries of no block are unused too.
        let sectors = (self.table.len() * 4).next_multiple_of(512);
        let mut table: Vec<u8> = self.table.iter().flat_map(|sector| sector.to_be_bytes()).collect();
        table.resize(sectors, 0xFF);
        out.write_at(TABLE_AT, &table)?;
        out.write_at(self.end, &footer)?;
        Ok(file_len)
    }
}
