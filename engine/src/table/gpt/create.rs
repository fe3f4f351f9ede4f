//! A table where there was none.

use super::header::{ENTRY_SIZE_MIN, HEADER_LEN, RawHeader};
use super::{CopyReport, CopyVerdict, Gpt, GptWriteError, Partition, Which};
use crate::disk::Geometry;
use crate::table::guid::Guid;
use crate::units::Lba;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

/// Slots of a new table. UEFI 2.10 §5.3.1 asks for at least 16 KiB of them.
const ENTRY_COUNT: u32 = 128;
/// Revision 1.0. UEFI 2.10 table 5-5.
const REVISION: u32 = 0x0001_0000;

impl Gpt {
    /// A table for a disk of shape `geometry` that has none, in the usual form: 128 slots of 128 bytes from LBA 2 on. To be written with
    /// [`Gpt::to_sectors`] for the same shape, which checks the partitions.
    ///
    /// # Errors
    /// [`GptWriteError::TooShort`] when the disk has no room for both copies.
    pub fn create(
        geometry: Geometry,
        disk_guid: Guid,
        mut partitions: Vec<Partition>,
    ) -> Result<Gpt, GptWriteError> {
        let sector = geometry.sector;
        let sectors = geometry.len.get() / sector.bytes();
        let array = u64::from(ENTRY_COUNT * ENTRY_SIZE_MIN);
        let array_sectors = array.div_ceil(sector.bytes());
        let first_usable = array_sectors.saturating_add(2);
        let last_usable = sectors.checked_sub(first_usable).filter(|last| *last >= first_usable);
        let last_usable = last_usable.ok_or(GptWriteError::TooShort { sectors })?;
        partitions.sort_by_key(|p| p.index);
        let header = RawHeader {
            signature: *b"EFI PART",
            revision: U32::new(REVISION),
            header_size: U32::new(HEADER_LEN as u32),
            header_crc: U32::ZERO,
            reserved: U32::ZERO,
            my_lba: U64::ZERO,
            alternate_lba: U64::ZERO,
            first_usable: U64::ZERO,
            last_usable: U64::ZERO,
            disk_guid: disk_guid.to_disk(),
            entries_lba: U64::ZERO,
            entry_count: U32::new(ENTRY_COUNT),
            entry_size: U32::new(ENTRY_SIZE_MIN),
            entries_crc: U32::ZERO,
        };
        let nowhere =
            |lba| CopyReport { header_at: Lba(lba), entries_at: None, verdict: CopyVerdict::Missing };
        Ok(Gpt {
            sector,
            disk_len: geometry.len,
            primary: nowhere(1),
            backup: nowhere(sectors.saturating_sub(1)),
            used: Which::Primary,
            disk_guid,
            first_usable: Lba(first_usable),
            last_usable: Lba(last_usable),
            entry_count: ENTRY_COUNT,
            entry_size: ENTRY_SIZE_MIN,
            partitions,
            findings: Vec::new(),
            entries_lba: 2,
            header_bytes: header.as_bytes().to_vec(),
            entry_bytes: vec![0; array as usize],
        })
    }
}
