//! A new VHDX, fixed or dynamic: all of it but the data. \[MS-VHDX\] §2.
//!
//! ```text
//! 0                1 MiB  2 MiB      3 MiB
//! identifier, …    log    metadata   BAT      payload blocks
//! ```
//! Nothing ever changes in place, so the log stays empty (LogGuid zero, §2.2.2), as `qemu-img convert` leaves it. Until the
//! caller renames the finished file there is no VHDX that a crash could tear.

mod dynamic;
mod fixed;

pub(in crate::container) use self::dynamic::DynamicVhdxWriter;
pub(in crate::container) use self::fixed::FixedVhdxWriter;

use super::format::{
    HEADER_LEN, HEADERS_AT, ITEM_DISK_ID, ITEM_FILE_PARAMETERS, ITEM_IS_REQUIRED, ITEM_IS_VIRTUAL_DISK,
    ITEM_LOGICAL_SECTOR, ITEM_PHYSICAL_SECTOR, ITEM_VIRTUAL_LEN, LEAVE_BLOCKS_ALLOCATED, MIB, REGION_BAT,
    REGION_METADATA, REGION_TABLES_AT, RawHeader, RawItem, RawMetadataTable, RawRegion, RawRegionTable,
    SECTORS_PER_CHUNK, SIGNATURE, TABLE_LEN, VIRTUAL_LEN_MAX, checksum,
};
use crate::container::export::Storage;
use crate::disk::Geometry;
use crate::table::guid::Guid;
use std::io;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// Where the log lies and how long it is: the least the format allows. §2.2.2.
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const BAT_AT: u64 = 3 * MIB;
/// Name of the program in the file identifier. §2.2.1.
const CREATOR: &str = "drill";
/// State of a block that is stored. §2.5.1.1.
const FULLY_PRESENT: u64 = 6;
/// Entries of the block allocation table that are written at once.
const BAT_BATCH: usize = 8192;
/// Physical sector size: what today's disks have. §2.6.2.5.
const PHYSICAL_SECTOR: u32 = 4096;

/// Whether blocks come to be when they are written, or are all there. §2.6.2.1.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allocation {
    Dynamic,
    Fixed,
}

/// Shape of a file to be written.
struct Plan {
    geometry: Geometry,
    disk_id: Guid,
    allocation: Allocation,
    block_size: u64,
    /// Payload blocks between two sector bitmap entries of the table. §2.5.
    chunk_ratio: u64,
    /// Payload blocks of the disk.
    blocks: u64,
    bat_len: u64,
}

impl Plan {
    /// For a disk of shape `geometry`; `None` when the format cannot hold it. `block_size` is a power of two from 1 to 256 MiB.
    fn new(geometry: Geometry, disk_id: [u8; 16], allocation: Allocation, block_size: u64) -> Option<Plan> {
        let len = geometry.len.get();
        if len == 0 || len > VIRTUAL_LEN_MAX || !len.is_multiple_of(geometry.sector.bytes()) {
            return None;
        }
        let chunk_ratio = SECTORS_PER_CHUNK * geometry.sector.bytes() / block_size;
        let blocks = len.div_ceil(block_size);
        let last = blocks - 1;
        let bat_len = ((last + last / chunk_ratio + 1) * 8).next_multiple_of(MIB);
        let disk_id = Guid::from_disk(disk_id);
        Some(Plan { geometry, disk_id, allocation, block_size, chunk_ratio, blocks, bat_len })
    }

    /// Where the payload blocks begin, and the length of the file without any.
    fn data_at(&self) -> u64 {
        BAT_AT + self.bat_len
    }

    /// Place of a block's entry in the table.
    fn bat_index(&self, block: u64) -> u64 {
        block + block / self.chunk_ratio
    }

    /// Write all but the table and the data.
    fn write_around(&self, file: &dyn Storage) -> io::Result<()> {
        self.write_metadata(file)?;
        let table = self.region_table();
        for at in REGION_TABLES_AT {
            file.write_at(at, &table)?;
        }
        for (sequence, at) in (1..).zip(HEADERS_AT) {
            file.write_at(at, &self.header(sequence))?;
        }
        let mut identifier = Vec::from(SIGNATURE);
        identifier.extend(CREATOR.encode_utf16().flat_map(u16::to_le_bytes));
        file.write_at(0, &identifier)
    }

    fn header(&self, sequence: u64) -> Vec<u8> {
        let mut header = vec![0; HEADER_LEN];
        put(
            &mut header,
            0,
            &RawHeader {
                signature: *b"head",
                checksum: U32::new(0),
                sequence: U64::new(sequence),
                // Any values do for a file nobody has seen before; these two only have to change when it is written. §2.2.2.
                file_write_guid: self.disk_id.to_disk(),
                data_write_guid: self.disk_id.to_disk(),
                log_guid: [0; 16],
                log_version: U16::new(0),
                version: U16::new(1),
                log_len: U32::new(MIB as u32),
                log_at: U64::new(LOG_AT),
            },
        );
        let crc = checksum(&header);
        put(&mut header, 4, &U32::new(crc));
        header
    }

    fn region_table(&self) -> Vec<u8> {
        let mut table = vec![0; TABLE_LEN];
        let regions = [(REGION_BAT, BAT_AT, self.bat_len), (REGION_METADATA, METADATA_AT, MIB)];
        put(
            &mut table,
            0,
            &RawRegionTable {
                signature: *b"regi",
                checksum: U32::new(0),
                entry_count: U32::new(regions.len() as u32),
                reserved: U32::new(0),
            },
        );
        for (i, (guid, at, len)) in regions.into_iter().enumerate() {
            let len = U32::new(len as u32); // at most 513 MiB
            let region = RawRegion { guid: guid.to_disk(), at: U64::new(at), len, required: U32::new(1) };
            put(&mut table, 16 + i * 32, &region);
        }
        let crc = checksum(&table);
        put(&mut table, 4, &U32::new(crc));
        table
    }

    fn write_metadata(&self, file: &dyn Storage) -> io::Result<()> {
        let sector = u32::from(self.geometry.sector);
        let required = ITEM_IS_REQUIRED;
        let flags = match self.allocation {
            Allocation::Dynamic => 0,
            Allocation::Fixed => LEAVE_BLOCKS_ALLOCATED,
        };
        let parameters = [(self.block_size as u32).to_le_bytes(), flags.to_le_bytes()].concat();
        let items = [
            (ITEM_FILE_PARAMETERS, required, parameters),
            (
                ITEM_VIRTUAL_LEN,
                required | ITEM_IS_VIRTUAL_DISK,
                self.geometry.len.get().to_le_bytes().to_vec(),
            ),
            (ITEM_DISK_ID, required | ITEM_IS_VIRTUAL_DISK, self.disk_id.to_disk().to_vec()),
            (ITEM_LOGICAL_SECTOR, required | ITEM_IS_VIRTUAL_DISK, sector.to_le_bytes().to_vec()),
            (ITEM_PHYSICAL_SECTOR, required | ITEM_IS_VIRTUAL_DISK, PHYSICAL_SECTOR.to_le_bytes().to_vec()),
        ];
        let mut table = vec![0; TABLE_LEN];
        put(
            &mut table,
            0,
            &RawMetadataTable {
                signature: *b"metadata",
                reserved: U16::new(0),
                entry_count: U16::new(items.len() as u16),
                reserved2: [0; 20],
            },
        );
        let mut values = Vec::new();
        for (i, (id, flags, value)) in items.into_iter().enumerate() {
            put(
                &mut table,
                32 + i * 32,
                &RawItem {
                    id: id.to_disk(),
                    offset: U32::new((TABLE_LEN + values.len()) as u32),
                    len: U32::new(value.len() as u32),
                    flags: U32::new(flags),
                    reserved: U32::new(0),
                },
            );
            values.extend(value);
        }
        table.extend(values);
        file.write_at(METADATA_AT, &table)
    }
}

/// Write entries of the table from `first` on.
fn write_entries(file: &dyn Storage, first: u64, entries: &[u64]) -> io::Result<()> {
    let entries: Vec<U64> = entries.iter().copied().map(U64::new).collect();
    file.write_at(BAT_AT + first * 8, entries.as_bytes())
}

/// Lay a structure into a buffer we made ourselves, large enough for it.
fn put<T: IntoBytes + zerocopy::Immutable>(buf: &mut [u8], at: usize, value: &T) {
    let bytes = value.as_bytes();
    buf[at..at + bytes.len()].copy_from_slice(bytes);
}
