//! The dynamic disk header. Virtual Hard Disk Image Format Specification 1.0, "Dynamic Disk Header Format".

use super::footer::checksum;
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 1024;
/// Largest disk the format can hold: 2040 GiB, so the table stays small enough to keep.
pub(super) const LEN_MAX: u64 = 2040 << 30;
/// Most table entries: the largest disk in blocks of 256 KiB, the smallest that any program is known to offer, and a few more.
const ENTRIES_MAX: u32 = 1 << 23;
/// Where the header keeps its checksum.
const CHECKSUM_AT: usize = 36;

/// One of the places where the name of the parent is kept. "Parent Locator Entries".
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawLocator {
    pub platform_code: [u8; 4],
    pub data_space: U32,
    pub data_len: U32,
    pub reserved: U32,
    pub data_offset: U64,
}
const _: () = assert!(size_of::<RawLocator>() == 24);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    cookie: [u8; 8],
    data_offset: U64,
    table_offset: U64,
    version: U32,
    max_table_entries: U32,
    block_size: U32,
    checksum: U32,
    parent_id: [u8; 16],
    parent_time_stamp: U32,
    reserved: U32,
    parent_name: [U16; 256],
    locators: [RawLocator; 8],
    reserved2: [u8; 256],
}
const _: () = assert!(size_of::<RawHeader>() == HEADER_LEN);

/// A header with a matching checksum and numbers that fit the disk.
pub(super) struct Header {
    /// Where it lies.
    pub at: u64,
    /// Where the block allocation table lies.
    pub table_at: u64,
    /// Entries of it that the disk needs.
    pub blocks: u32,
    /// Bytes of a block: a power of two, at least 4096.
    pub block_size: u64,
    /// Parent Unique ID, as it lies in the file.
    pub parent_id: [u8; 16],
    /// Parent Time Stamp, seconds since 2000.
    pub parent_time_stamp: u32,
    /// Parent Unicode Name, as it lies in the file.
    pub parent_name: [u16; 256],
    /// Parent Locator Entries, not checked.
    pub locators: [RawLocator; 8],
}

impl Header {
    /// Read and check the header at `at` of a disk of `len` bytes.
    pub(super) fn read(source: &SourceFile, at: u64, len: u64) -> Result<Header, ReadError> {
        let mut bytes = [0; HEADER_LEN];
        read_file(source, at, &mut bytes)?;
        let bad = |what: &str, wanted: String, found: String| {
            Err(corrupt(format!("dynamic VHD header {what}"), at, wanted, found))
        };
        let Ok(raw) = RawHeader::read_from_bytes(bytes.as_slice()) else {
            return bad("length", HEADER_LEN.to_string(), "less".into());
        };
        if raw.cookie != *b"cxsparse" {
            return bad("cookie", "`cxsparse`".into(), format!("{:02x?}", raw.cookie));
        }
        let computed = checksum(&bytes, CHECKSUM_AT);
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
        if len > LEN_MAX {
            return bad("disk size", format!("at most {LEN_MAX}"), len.to_string());
        }
        let entries = raw.max_table_entries.get();
        let blocks = match u32::try_from(len.div_ceil(block_size)) {
            Ok(blocks) if blocks <= ENTRIES_MAX => blocks,
            _ => return bad("block size", format!("at most {ENTRIES_MAX} blocks"), block_size.to_string()),
        };
        if entries < blocks || entries > ENTRIES_MAX {
            return bad("table entries", format!("{blocks}..={ENTRIES_MAX}"), entries.to_string());
        }
        Ok(Header {
            at,
            table_at: raw.table_offset.get(),
            blocks,
            block_size,
            parent_id: raw.parent_id,
            parent_time_stamp: raw.parent_time_stamp.get(),
            parent_name: raw.parent_name.map(U16::get),
            locators: raw.locators,
        })
    }
}

/// The header of a new dynamic disk of `entries` blocks of `block_size` bytes, whose table lies at `table_at`.
pub(super) fn dynamic_header(table_at: u64, entries: u32, block_size: u32) -> [u8; HEADER_LEN] {
    let nowhere = RawLocator {
        platform_code: [0; 4],
        data_space: U32::new(0),
        data_len: U32::new(0),
        reserved: U32::new(0),
        data_offset: U64::new(0),
    };
    let raw = RawHeader {
        cookie: *b"cxsparse",
        data_offset: U64::new(u64::MAX), // not used by this version of the format
        table_offset: U64::new(table_at),
        version: U32::new(0x0001_0000),
        max_table_entries: U32::new(entries),
        block_size: U32::new(block_size),
        checksum: U32::new(0),
        parent_id: [0; 16],
        parent_time_stamp: U32::new(0),
        reserved: U32::new(0),
        parent_name: [U16::new(0); 256],
        locators: [nowhere; 8],
        reserved2: [0; 256],
    };
    let mut bytes = [0; HEADER_LEN];
    bytes.copy_from_slice(raw.as_bytes());
    let sum = checksum(&bytes, CHECKSUM_AT);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}
