//! A new dynamic VHDX, written front to back. \[MS-VHDX\] §2.
//!
//! Nothing ever changes in place, so the log stays empty (LogGuid zero, §2.2.2), as `qemu-img convert` leaves it. Until the
//! caller renames the finished file there is no VHDX that a crash could tear.

use super::format::{
    HEADER_LEN, HEADERS_AT, ITEM_DISK_ID, ITEM_FILE_PARAMETERS, ITEM_IS_REQUIRED, ITEM_IS_VIRTUAL_DISK,
    ITEM_LOGICAL_SECTOR, ITEM_PHYSICAL_SECTOR, ITEM_VIRTUAL_LEN, MIB, REGION_BAT, REGION_METADATA,
    REGION_TABLES_AT, RawHeader, RawItem, RawMetadataTable, RawRegion, RawRegionTable, SECTORS_PER_CHUNK,
    SIGNATURE, TABLE_LEN, VIRTUAL_LEN_MAX, checksum,
};
use crate::container::export::{Sink, Storage};
use crate::disk::Geometry;
use crate::table::guid::Guid;
use std::io;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

/// Block size. Hyper-V's default of 32 MiB makes a file system that scatters its metadata, as ext4 does, store far more than it
/// holds; Microsoft advises 1 MiB for Linux guests ("Best Practices for running Linux on Hyper-V").
const BLOCK_SIZE: u64 = MIB;
/// Where the log lies and how long it is: the least the format allows. §2.2.2.
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const BAT_AT: u64 = 3 * MIB;
/// Name of the program in the file identifier. §2.2.1.
const CREATOR: &str = "drill";
/// State of a block that is stored. §2.5.1.1.
const FULLY_PRESENT: u64 = 6;
/// Entries collected before they are written.
const BAT_BATCH: usize = 8192;

/// Writes blocks in ascending order of their place on the disk.
pub(in crate::container) struct VhdxWriter {
    geometry: Geometry,
    disk_id: Guid,
    bat_len: u64,
    chunk_ratio: u64,
    /// Where the next new block goes.
    end: u64,
    /// The block written last, and where it is.
    current: Option<(u64, u64)>,
    /// Entries not yet written; the first has index `bat_first`.
    bat_first: u64,
    bat_batch: Vec<u64>,
}

impl VhdxWriter {
    /// A writer for a disk of shape `geometry`; `None` when the format cannot hold it.
    pub(in crate::container) fn new(geometry: Geometry, disk_id: [u8; 16]) -> Option<VhdxWriter> {
        let len = geometry.len.get();
        if len == 0 || len > VIRTUAL_LEN_MAX || !len.is_multiple_of(geometry.sector.bytes()) {
            return None;
        }
        let chunk_ratio = SECTORS_PER_CHUNK * geometry.sector.bytes() / BLOCK_SIZE;
        let last = len.div_ceil(BLOCK_SIZE) - 1;
        let bat_len = ((last + last / chunk_ratio + 1) * 8).next_multiple_of(MIB);
        Some(VhdxWriter {
            geometry,
            disk_id: Guid::from_disk(disk_id),
            bat_len,
            chunk_ratio,
            end: BAT_AT + bat_len,
            current: None,
            bat_first: 0,
            bat_batch: Vec::new(),
        })
    }

    fn allocate(&mut self, file: &dyn Storage, block: u64) -> io::Result<u64> {
        let place = self.end;
        self.end += BLOCK_SIZE;
        self.current = Some((block, place));
        let index = block + block / self.chunk_ratio;
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
        let batch: Vec<U64> = self.bat_batch.drain(..).map(U64::new).collect();
        file.write_at(BAT_AT + self.bat_first * 8, batch.as_bytes())
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

    fn write_metadata(&self, file: &dyn Storage) -> io::Result<()> {
        let sector = u32::from(self.geometry.sector);
        let required = ITEM_IS_REQUIRED;
        let parameters = [(BLOCK_SIZE as u32).to_le_bytes(), [0; 4]].concat(); // no flags: dynamic, no parent
        let items = [
            (ITEM_FILE_PARAMETERS, required, parameters),
            (
                ITEM_VIRTUAL_LEN,
                required | ITEM_IS_VIRTUAL_DISK,
                self.geometry.len.get().to_le_bytes().to_vec(),
            ),
            (ITEM_DISK_ID, required | ITEM_IS_VIRTUAL_DISK, self.disk_id.to_disk().to_vec()),
            (ITEM_LOGICAL_SECTOR, required | ITEM_IS_VIRTUAL_DISK, sector.to_le_bytes().to_vec()),
            (ITEM_PHYSICAL_SECTOR, required | ITEM_IS_VIRTUAL_DISK, 4096u32.to_le_bytes().to_vec()),
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

impl Sink for VhdxWriter {
    fn overhead(&self) -> u64 {
        BAT_AT + self.bat_len
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
        self.write_metadata(file)?;
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
        for at in REGION_TABLES_AT {
            file.write_at(at, &table)?;
        }
        for (sequence, at) in (1..).zip(HEADERS_AT) {
            file.write_at(at, &self.header(sequence))?;
        }
        let mut identifier = Vec::from(SIGNATURE);
        identifier.extend(CREATOR.encode_utf16().flat_map(u16::to_le_bytes));
        file.write_at(0, &identifier)?;
        Ok(self.end)
    }
}

/// Lay a structure into a buffer we made ourselves, large enough for it.
fn put<T: IntoBytes + zerocopy::Immutable>(buf: &mut [u8], at: usize, value: &T) {
    let bytes = value.as_bytes();
    buf[at..at + bytes.len()].copy_from_slice(bytes);
}
