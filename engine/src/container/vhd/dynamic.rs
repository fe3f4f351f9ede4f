//! The blocks of a dynamic or differencing VHD, read only. Virtual Hard Disk Image Format Specification 1.0, "Block Allocation
//! Table and Data Blocks".

use super::bitmap::{Bitmaps, run};
use super::footer::FOOTER_LEN;
use super::header::{HEADER_LEN, Header};
use crate::container::mapped::{Map, Place};
use crate::container::view::FileView;
use crate::container::{corrupt, read_file};
use crate::disk::{Geometry, ReadError, SourceFile};
use crate::units::ByteLen;
use std::ops::Range;
use std::sync::Arc;

/// Table entry of a block that was never written.
const UNUSED: u32 = u32::MAX;
/// The format's only sector size.
const SECTOR: u64 = 512;

/// What a sector bitmap means.
#[derive(Debug)]
pub(super) enum Sectors {
    /// Nothing, for a dynamic disk: what it calls unwritten was zeroed when the block was made, and QEMU, which ignores it too, must
    /// see the same disk.
    AllHere,
    /// Which sectors of a differencing disk are in this file; the others are the parent's.
    Marked(Bitmaps),
}

/// A VHD whose table was checked whole.
#[derive(Debug)]
pub(super) struct BlockMap {
    view: FileView,
    geometry: Geometry,
    block_size: u64,
    bitmap_len: u64,
    sectors: Sectors,
    /// Sector of each block's bitmap, or [`UNUSED`].
    table: Vec<u32>,
}

impl BlockMap {
    /// Read the table; all data must lie before `data_end`.
    pub(super) fn open(
        source: &Arc<SourceFile>,
        geometry: Geometry,
        header: &Header,
        data_end: u64,
        sectors: Sectors,
    ) -> Result<BlockMap, ReadError> {
        check_layout(header, data_end)?;
        let mut table = vec![0; header.blocks as usize * 4]; // bounded by the header's check
        read_file(source, header.table_at, &mut table)?;
        let table: Vec<u32> = table.as_chunks::<4>().0.iter().map(|b| u32::from_be_bytes(*b)).collect();
        let map = BlockMap {
            view: FileView::plain(source.clone()),
            geometry,
            block_size: header.block_size,
            bitmap_len: (header.block_size / SECTOR / 8).next_multiple_of(SECTOR),
            sectors,
            table,
        };
        map.check_table(header, data_end)?;
        Ok(map)
    }

    /// Each block lies before the footer, and neither over another block nor over what describes the disk.
    fn check_table(&self, header: &Header, data_end: u64) -> Result<(), ReadError> {
        let wrong = |block: u32, wanted: String, found: String| {
            let entry_at = header.table_at.saturating_add(u64::from(block) * 4);
            Err(corrupt("VHD block table entry", entry_at, wanted, found))
        };
        let mut used: Vec<(u32, u32)> =
            self.table.iter().copied().zip(0u32..).filter(|(sector, _)| *sector != UNUSED).collect();
        used.sort_unstable();
        let regions = described_by(header);
        for (sector, block) in &used {
            let range = self.range(*sector, *block);
            if range.end > data_end {
                let wanted = format!("block {block} to end within the file's first {data_end:#x} bytes");
                return wrong(*block, wanted, format!("an end at {:#x}", range.end));
            }
            for (what, taken) in &regions {
                if range.start < taken.end && taken.start < range.end {
                    let wanted = format!("block {block} not to lie over {what} at {:#x}", taken.start);
                    return wrong(*block, wanted, format!("{:#x}..{:#x}", range.start, range.end));
                }
            }
        }
        for pair in used.windows(2) {
            let [(first_sector, first), (sector, block)] = pair else { continue };
            let (before, range) = (self.range(*first_sector, *first), self.range(*sector, *block));
            if range.start < before.end {
                let wanted = format!("a place of its own for block {block}");
                let found = format!("{:#x}, taken by block {first} up to {:#x}", range.start, before.end);
                return wrong(*block, wanted, found);
            }
        }
        Ok(())
    }

    /// The bytes of a block in the file, bitmap and data. A last block that is cut where the disk ends is all there. A 32-bit sector number
    /// keeps all this far below 2^64.
    fn range(&self, sector: u32, block: u32) -> Range<u64> {
        let at = u64::from(sector) * SECTOR;
        let on_disk = u64::from(block) * self.block_size;
        let stored = self.block_size.min(self.geometry.len.get().saturating_sub(on_disk));
        at..at + self.bitmap_len + stored
    }

    /// Bytes of whole blocks that are in the file, but no more than the disk has.
    pub(super) fn allocated(&self) -> ByteLen {
        let used = self.table.iter().filter(|s| **s != UNUSED).count() as u64;
        ByteLen((used * self.block_size).min(self.geometry.len.get()))
    }

    /// Where the bitmap of block `index` is.
    fn bitmap_at(&self, index: u64) -> Option<u64> {
        let sector = usize::try_from(index).ok().and_then(|i| self.table.get(i)).copied()?;
        (sector != UNUSED).then(|| u64::from(sector) * SECTOR)
    }
}

/// What describes the disk, in the order in which it usually lies.
fn described_by(header: &Header) -> [(&'static str, Range<u64>); 3] {
    let table_len = u64::from(header.blocks) * 4;
    [
        ("the copy of the footer", 0..FOOTER_LEN as u64),
        ("the dynamic disk header", header.at..header.at.saturating_add(HEADER_LEN as u64)),
        ("the block table", header.table_at..header.table_at.saturating_add(table_len)),
    ]
}

/// Header and table lie before `data_end`, and not over each other or the copy of the footer.
fn check_layout(header: &Header, data_end: u64) -> Result<(), ReadError> {
    let regions = described_by(header);
    for (i, (what, range)) in regions.iter().enumerate() {
        let wrong =
            |wanted: String| Err(corrupt(*what, range.start, wanted, format!("an end at {:#x}", range.end)));
        if range.end > data_end {
            return wrong(format!("an end within the file's first {data_end:#x} bytes"));
        }
        let over = |(_, other): &&(&str, Range<u64>)| range.start < other.end && other.start < range.end;
        if let Some((other, taken)) = regions.iter().take(i).find(over) {
            return wrong(format!("a place not over {other} at {:#x}", taken.start));
        }
    }
    Ok(())
}

impl Map for BlockMap {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn view(&self) -> &FileView {
        &self.view
    }

    fn place(&self, at: u64) -> Result<(Place, u64), ReadError> {
        let skip = at % self.block_size;
        let left = self.block_size - skip;
        let Some(bitmap_at) = self.bitmap_at(at / self.block_size) else {
            return Ok((Place::Absent, left));
        };
        let stored = Place::Stored(bitmap_at + self.bitmap_len + skip);
        let Sectors::Marked(bitmaps) = &self.sectors else {
            return Ok((stored, left));
        };
        let bitmap = bitmaps.get(&self.view, bitmap_at, self.bitmap_len as usize)?; // at most 64 KiB
        // A block has at most 2^19 sectors, and its bitmap a bit for each.
        let (here, sectors) = run(&bitmap, (skip / SECTOR) as usize, (self.block_size / SECTOR) as usize)
            .ok_or_else(|| corrupt("VHD sector bitmap", bitmap_at, "a bit for each sector", "fewer"))?;
        Ok((if here { stored } else { Place::Absent }, sectors as u64 * SECTOR - skip % SECTOR))
    }
}
