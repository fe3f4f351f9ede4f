//! On-disk structures of a VHDX as they lie in the file, all little-endian. \[MS-VHDX\] §2.

use crate::table::guid::Guid;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) use crate::units::MIB;

/// File identifier. §2.2.1.
pub(super) const SIGNATURE: [u8; 8] = *b"vhdxfile";
/// Offsets of the two headers. §2.2.2.
pub(super) const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
/// Bytes of a header that its checksum covers. §2.2.2.
pub(super) const HEADER_LEN: usize = 4096;
/// Offsets of the two region tables. §2.2.3.
pub(super) const REGION_TABLES_AT: [u64; 2] = [192 << 10, 256 << 10];
/// Bytes of a region table and of a metadata table. §2.2.3, §2.6.1.
pub(super) const TABLE_LEN: usize = 64 << 10;
/// Most entries of a region or metadata table. §2.2.3.1, §2.6.1.1.
pub(super) const TABLE_ENTRIES_MAX: usize = 2047;
/// Largest virtual disk. §2.6.2.2.
pub(super) const VIRTUAL_LEN_MAX: u64 = 64 << 40;
/// Longest file we keep account of: the largest disk fully allocated, and ample room for its tables.
pub(super) const FILE_LEN_MAX: u64 = 128 << 40;
/// Sectors described by one sector bitmap block. §2.5.1.1: chunk ratio = 2^23 · sector size / block size.
pub(super) const SECTORS_PER_CHUNK: u64 = 1 << 23;

/// Region: block allocation table. §2.2.3.2.
pub(super) const REGION_BAT: Guid = Guid::from_digits(0x2DC27766_F623_4200_9D64_115E9BFD4A08);
/// Region: metadata. §2.2.3.2.
pub(super) const REGION_METADATA: Guid = Guid::from_digits(0x8B7CA206_4790_4B9A_B8FE_575F050F886E);

/// §2.6.2.1.
pub(super) const ITEM_FILE_PARAMETERS: Guid = Guid::from_digits(0xCAA16737_FA36_4D43_B3B6_33F0AA44E76B);
/// §2.6.2.2.
pub(super) const ITEM_VIRTUAL_LEN: Guid = Guid::from_digits(0x2FA54224_CD1B_4876_B211_5DBED83BF4B8);
/// §2.6.2.3.
pub(super) const ITEM_DISK_ID: Guid = Guid::from_digits(0xBECA12AB_B2E6_4523_93EF_C309E000C746);
/// §2.6.2.4.
pub(super) const ITEM_LOGICAL_SECTOR: Guid = Guid::from_digits(0x8141BF1D_A96F_4709_BA47_F233A8FAAB5F);
/// §2.6.2.5.
pub(super) const ITEM_PHYSICAL_SECTOR: Guid = Guid::from_digits(0xCDA348C7_445D_4471_9CC9_E9885251C556);
/// §2.6.2.6.
pub(super) const ITEM_PARENT_LOCATOR: Guid = Guid::from_digits(0xA8D35F2D_B30B_454D_ABF7_D3D84834AB0C);

/// File parameters, bit 0: blocks stay allocated, which makes the disk a fixed one. §2.6.2.1.
pub(super) const LEAVE_BLOCKS_ALLOCATED: u32 = 1;
/// File parameters, bit 1: a differencing disk. §2.6.2.1.
pub(super) const HAS_PARENT: u32 = 2;

/// §2.2.2, the part that is not reserved.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawHeader {
    pub signature: [u8; 4],
    pub checksum: U32,
    pub sequence: U64,
    pub file_write_guid: [u8; 16],
    pub data_write_guid: [u8; 16],
    pub log_guid: [u8; 16],
    pub log_version: U16,
    pub version: U16,
    pub log_len: U32,
    pub log_at: U64,
}
const _: () = assert!(size_of::<RawHeader>() == 80);

/// §2.2.3.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawRegionTable {
    pub signature: [u8; 4],
    pub checksum: U32,
    pub entry_count: U32,
    pub reserved: U32,
}
const _: () = assert!(size_of::<RawRegionTable>() == 16);

/// §2.2.3.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawRegion {
    pub guid: [u8; 16],
    pub at: U64,
    pub len: U32,
    pub required: U32,
}
const _: () = assert!(size_of::<RawRegion>() == 32);

/// §2.6.1.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawMetadataTable {
    pub signature: [u8; 8],
    pub reserved: U16,
    pub entry_count: U16,
    pub reserved2: [u8; 20],
}
const _: () = assert!(size_of::<RawMetadataTable>() == 32);

/// §2.6.1.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawItem {
    pub id: [u8; 16],
    pub offset: U32,
    pub len: U32,
    pub flags: U32,
    pub reserved: U32,
}
const _: () = assert!(size_of::<RawItem>() == 32);
/// Item flag: set by a user, unknown ones may be ignored unless required. §2.6.1.2.
pub(super) const ITEM_IS_VIRTUAL_DISK: u32 = 2;
/// Item flag: a reader that does not know the item must not open the file. §2.6.1.2.
pub(super) const ITEM_IS_REQUIRED: u32 = 4;

/// Bytes of a log sector, the unit of everything in a log and of what it changes. §2.3.1.
pub(super) const LOG_SECTOR: u64 = 4096;

/// Head of a log entry. §2.3.1.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawLogEntry {
    pub signature: [u8; 4],
    pub checksum: U32,
    pub len: U32,
    pub tail: U32,
    pub sequence: U64,
    pub descriptor_count: U32,
    pub reserved: U32,
    pub log_guid: [u8; 16],
    pub flushed_file_offset: U64,
    pub last_file_offset: U64,
}
const _: () = assert!(size_of::<RawLogEntry>() == 64);

/// What both kinds of descriptor have in common: bytes 4..16 are `reserved` and a length in a zero descriptor (§2.3.1.2), the last four and the
/// first eight bytes of the sector in a data descriptor (§2.3.1.3).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawDescriptor {
    pub signature: [u8; 4],
    pub trailing: [u8; 4],
    pub leading: [u8; 8],
    pub at: U64,
    pub sequence: U64,
}
const _: () = assert!(size_of::<RawDescriptor>() == 32);

/// A sector that a data descriptor belongs to; its first eight and last four bytes are in the descriptor. §2.3.1.4.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawDataSector {
    pub signature: [u8; 4],
    pub sequence_high: U32,
    pub data: [u8; 4084],
    pub sequence_low: U32,
}
const _: () = assert!(size_of::<RawDataSector>() as u64 == LOG_SECTOR);

/// The only type of parent locator that is defined. §2.6.2.6.3.
pub(super) const LOCATOR_VHDX: Guid = Guid::from_digits(0xB04AEFB7_D19E_4A81_B789_25B8E9445913);

/// §2.6.2.6.1.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawLocator {
    pub locator_type: [u8; 16],
    pub reserved: U16,
    pub entry_count: U16,
}
const _: () = assert!(size_of::<RawLocator>() == 20);

/// Offsets from the begin of the locator, lengths in bytes. §2.6.2.6.2.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawLocatorEntry {
    pub key_at: U32,
    pub value_at: U32,
    pub key_len: U16,
    pub value_len: U16,
}
const _: () = assert!(size_of::<RawLocatorEntry>() == 12);

/// CRC-32C of `bytes` with the four checksum bytes at offset 4 taken as zero: the rule for headers (§2.2.2) and region tables (§2.2.3.1).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let (head, rest) = bytes.split_at(bytes.len().min(4));
    let crc = crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]);
    crc32c::crc32c_append(crc, rest.get(4..).unwrap_or_default())
}
