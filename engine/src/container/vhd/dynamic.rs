//! Dynamic VHD, read only. Specification 1.0, "Dynamic Disk Header Format" and "Block Allocation Table and Data Blocks".

use crate::container::mapped::{Map, Place};
use crate::container::view::FileView;
use crate::container::{corrupt, read_file};
use crate::disk::{Geometry, ReadError, SourceFile};
use crate::units::ByteLen;
use std::collections::HashSet;
use std::sync::Arc;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Largest disk the format can hold: 2040 GiB, so the table stays small enough to keep.
const LEN_MAX: u64 = 2040 << 30;
/// Most table entries: the largest disk in the smallest blocks we take.
const ENTRIES_MAX: u32 = 1 << 23;
/// Table entry of a block that was never written.
const UNUSED: u32 = u32::MAX;

/// Dynamic disk header; what a differencing disk adds is left out.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    cookie: [u8; 8],
    data_offset: U64,
    table_offset: U64,
    version: U32,
    max_table_entries: U32,
    block_size: U32,
    checksum: U32,
    rest: [u8; 984],
}
const _: () = assert!(size_of::<RawHeader>() == 1024);

/// A dynamic VHD whose table was checked whole.
#[derive(Debug)]
pub(super) struct DynamicVhd {
    view: FileView,
    geometry: Geometry,
    block_size: u64,
    bitmap_len: u64,
    /// Sector of each block's bitmap, or [`UNUSED`].
    table: Vec<u32>,
}

impl DynamicVhd {
    pub(super) fn open(
        source: &Arc<SourceFile>,
        geometry: Geometry,
        at: u64,
    ) -> Result<DynamicVhd, ReadError> {
        let mut bytes = [0; 1024];
        read_file(source, at, &mut bytes)?;
        let bad = |what: &str, wanted: String, found: String| {
            Err(corrupt(format!("dynamic VHD header {what}"), at, wanted, found))
        };
        let Ok(raw) = RawHeader::read_from_bytes(bytes.as_slice()) else {
            return bad("length", "1024".into(), "less".into());
        };
        if raw.cookie != *b"cxsparse" {
            return bad("cookie", "`cxsparse`".into(), format!("{:02x?}", raw.cookie));
        }
        let counted = bytes.iter().enumerate().filter(|(i, _)| !(36..40).contains(i));
        let computed = !counted.fold(0u32, |sum, (_, b)| sum.wrapping_add(u32::from(*b)));
        if raw.checksum.get() != computed {
            return bad("checksum", format!("{computed:#010x}"), format!("{:#010x}", raw.checksum.get()));
        }
        if raw.version.get() >> 16 != 1 {
            return bad("version", "1.x".into(), format!("{:#010x}", raw.version.get()));
        }
        let block_size = u64::from(raw.block_size.get());
        if !block_size.is_power_of_two() || !(4096..=256 << 20).contains(&block_size) {
            return bad("block size", "a power of two from 4 KiB to 256 MiB".into(), block_size.to_string());
        }
        if geometry.len.get() > LEN_MAX {
            return bad("disk size", format!("at most {LEN_MAX}"), geometry.len.get().to_string());
        }
        let blocks = geometry.len.get().div_ceil(block_size);
        let entries = raw.max_table_entries.get();
        if u64::from(entries) < blocks || entries > ENTRIES_MAX {
            return bad("table entries", format!("{blocks}..={ENTRIES_MAX}"), entries.to_string());
        }
        let bitmap_len = (block_size / 512 / 8).next_multiple_of(512);
        let mut table = vec![0; blocks as usize * 4]; // at most ENTRIES_MAX entries
        read_file(source, raw.table_offset.get(), &mut table)?;
        let table: Vec<u32> = table.as_chunks::<4>().0.iter().map(|b| u32::from_be_bytes(*b)).collect();
        let disk =
            DynamicVhd { view: FileView::plain(source.clone()), geometry, block_size, bitmap_len, table };
        disk.check_table(raw.table_offset.get())?;
        Ok(disk)
    }

    /// Each block lies in the file and no two are the same.
    fn check_table(&self, table_at: u64) -> Result<(), ReadError> {
        let mut seen = HashSet::new();
        for (block, sector) in (0u64..).zip(&self.table).filter(|(_, sector)| **sector != UNUSED) {
            let at = u64::from(*sector) * 512;
            let stored = self.block_size.min(self.geometry.len.get() - block * self.block_size);
            let end = at + self.bitmap_len + stored; // a 32-bit sector number keeps this far below 2^64
            let entry_at = table_at.saturating_add(block * 4);
            if end > self.view.len() {
                let wanted = format!("block {block} to end within the file's {:#x} bytes", self.view.len());
                return Err(corrupt(
                    "VHD block table entry",
                    entry_at,
                    wanted,
                    format!("an end at {end:#x}"),
                ));
            }
            if !seen.insert(*sector) {
                let wanted = format!("a place of its own for block {block}");
                return Err(corrupt(
                    "VHD block table entry",
                    entry_at,
                    wanted,
                    format!("{at:#x}, already taken"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    pub(super) fn allocated(&self) -> ByteLen {
        let used = self.table.iter().filter(|s| **s != UNUSED).count() as u64;
        ByteLen((used * self.block_size).min(self.geometry.len.get()))
    }

    /// Where block `index` keeps its data. Sector bitmaps are not consulted: what they call unwritten was zeroed when the
    /// block was made, and QEMU, which ignores them too, must see the same disk.
    fn data_at(&self, index: u64) -> Option<u64> {
        let sector = usize::try_from(index).ok().and_then(|i| self.table.get(i)).copied()?;
        (sector != UNUSED).then(|| u64::from(sector) * 512 + self.bitmap_len)
    }
}

impl Map for DynamicVhd {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn view(&self) -> &FileView {
        &self.view
    }

    fn place(&self, at: u64) -> Result<(Place, u64), ReadError> {
        let skip = at % self.block_size;
        let place =
            self.data_at(at / self.block_size).map_or(Place::Absent, |data| Place::Stored(data + skip));
        Ok((place, self.block_size - skip))
    }
}
