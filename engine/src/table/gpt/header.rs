//! One copy of the table: header, array, their checksums. UEFI 2.10 §5.3.2 and §5.3.3.

use super::Partition;
use crate::disk::{Disk, ReadError, read_vec};
use crate::table::guid::Guid;
use crate::units::{Lba, SectorSize};
use serde::Serialize;
use std::fmt;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Most slots a table may have. Tools make 128; more than this is damage or malice.
pub const ENTRY_COUNT_MAX: u32 = 1024;
/// Most bytes the array may have.
pub const ENTRY_BYTES_MAX: u64 = 4 << 20;
/// Smallest slot. UEFI 2.10 table 5-5, SizeOfPartitionEntry.
pub const ENTRY_SIZE_MIN: u32 = 128;
/// Bytes of the header that have a meaning. UEFI 2.10 table 5-5.
pub(super) const HEADER_LEN: usize = 92;

/// GPT header. UEFI 2.10 table 5-5.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawHeader {
    pub signature: [u8; 8],
    pub revision: U32,
    pub header_size: U32,
    pub header_crc: U32,
    pub reserved: U32,
    pub my_lba: U64,
    pub alternate_lba: U64,
    pub first_usable: U64,
    pub last_usable: U64,
    pub disk_guid: [u8; 16],
    pub entries_lba: U64,
    pub entry_count: U32,
    pub entry_size: U32,
    pub entries_crc: U32,
}
const _: () = assert!(size_of::<RawHeader>() == HEADER_LEN);

/// GPT partition entry. UEFI 2.10 table 5-6.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawEntry {
    pub type_guid: [u8; 16],
    pub unique_guid: [u8; 16],
    pub first: U64,
    pub last: U64,
    pub attrs: U64,
    pub name: [u8; 72],
}
const _: () = assert!(size_of::<RawEntry>() == ENTRY_SIZE_MIN as usize);

/// What was found in the place of one copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CopyReport {
    /// Sector of the header.
    pub header_at: Lba,
    /// First sector of the array, if the header can be trusted.
    pub entries_at: Option<Lba>,
    /// Whether the copy can be used.
    pub verdict: CopyVerdict,
}

/// Whether one copy can be used, and if not, why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum CopyVerdict {
    /// Both checksums match.
    Valid,
    /// No `EFI PART` there.
    Missing,
    /// The header's checksum does not match.
    HeaderCrc {
        /// CRC-32 in the header.
        stored: u32,
        /// CRC-32 of the header.
        computed: u32,
    },
    /// The array's checksum does not match.
    EntriesCrc {
        /// CRC-32 in the header.
        stored: u32,
        /// CRC-32 of the array.
        computed: u32,
    },
    /// A field of the header makes no sense.
    Malformed {
        /// Which field.
        field: &'static str,
        /// What the specification or the disk asks for.
        wanted: String,
        /// What is there.
        found: u64,
    },
}

impl CopyReport {
    /// Whether the copy can be used.
    pub fn is_valid(&self) -> bool {
        self.verdict == CopyVerdict::Valid
    }
}

impl fmt::Display for CopyVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyVerdict::Valid => write!(f, "valid"),
            CopyVerdict::Missing => write!(f, "no signature `EFI PART`"),
            CopyVerdict::HeaderCrc { stored, computed } => {
                write!(f, "header CRC is {stored:#010x}, computed {computed:#010x}")
            }
            CopyVerdict::EntriesCrc { stored, computed } => {
                write!(f, "partition array CRC is {stored:#010x}, computed {computed:#010x}")
            }
            CopyVerdict::Malformed { field, wanted, found } => {
                write!(f, "{field}: wanted {wanted}, found {found}")
            }
        }
    }
}

/// A valid copy.
pub(super) struct Copy {
    pub alternate: u64,
    pub first_usable: u64,
    pub last_usable: u64,
    pub disk_guid: Guid,
    pub entries_lba: u64,
    pub entry_count: u32,
    pub entry_size: u32,
    pub header_bytes: Vec<u8>,
    pub entry_bytes: Vec<u8>,
}

impl Copy {
    /// Whether two copies describe the same table, their own places aside.
    pub fn says_the_same(&self, other: &Copy) -> bool {
        self.disk_guid == other.disk_guid
            && self.first_usable == other.first_usable
            && self.last_usable == other.last_usable
            && self.entry_size == other.entry_size
            && self.entry_bytes == other.entry_bytes
    }
}

pub(super) struct Found {
    pub report: CopyReport,
    pub copy: Option<Copy>,
}

/// Read the copy whose header is at `lba`.
pub(super) fn read_copy(disk: &dyn Disk, lba: Lba) -> Result<Found, ReadError> {
    let geometry = disk.geometry();
    let sector = geometry.sector;
    let at = lba.to_bytes(sector).ok_or(ReadError::OutOfRange {
        at: lba.get(),
        len: sector.bytes(),
        end: geometry.len.get(),
    })?;
    let block = read_vec(disk, at, sector.bytes() as usize)?;
    let bad =
        |verdict| Ok(Found { report: CopyReport { header_at: lba, entries_at: None, verdict }, copy: None });
    let Ok((raw, _)) = RawHeader::read_from_prefix(&block) else {
        return bad(CopyVerdict::Missing);
    };
    if raw.signature != *b"EFI PART" {
        return bad(CopyVerdict::Missing);
    }
    let size = raw.header_size.get();
    let Some(header_bytes) =
        usize::try_from(size).ok().filter(|n| *n >= HEADER_LEN).and_then(|n| block.get(..n))
    else {
        return bad(malformed("header size", format!("92..={}", sector.bytes()), size.into()));
    };
    let computed = header_crc(header_bytes);
    if computed != raw.header_crc.get() {
        return bad(CopyVerdict::HeaderCrc { stored: raw.header_crc.get(), computed });
    }
    if let Some(verdict) = refuse(&raw, lba, sector, geometry.len.get() / sector.bytes()) {
        return bad(verdict);
    }
    // `refuse` has bounded both factors, and the array lies on the disk.
    let len = (raw.entry_count.get() * raw.entry_size.get()) as usize;
    let entries_at = Lba(raw.entries_lba.get());
    let offset = entries_at.to_bytes(sector).unwrap_or_default();
    let entry_bytes = read_vec(disk, offset, len)?;
    let computed = crc32fast::hash(&entry_bytes);
    let report = |verdict| CopyReport { header_at: lba, entries_at: Some(entries_at), verdict };
    if computed != raw.entries_crc.get() {
        let verdict = CopyVerdict::EntriesCrc { stored: raw.entries_crc.get(), computed };
        return Ok(Found { report: report(verdict), copy: None });
    }
    let copy = Copy {
        alternate: raw.alternate_lba.get(),
        first_usable: raw.first_usable.get(),
        last_usable: raw.last_usable.get(),
        disk_guid: Guid::from_disk(raw.disk_guid),
        entries_lba: raw.entries_lba.get(),
        entry_count: raw.entry_count.get(),
        entry_size: raw.entry_size.get(),
        header_bytes: header_bytes.to_vec(),
        entry_bytes,
    };
    Ok(Found { report: report(CopyVerdict::Valid), copy: Some(copy) })
}

fn malformed(field: &'static str, wanted: String, found: u64) -> CopyVerdict {
    CopyVerdict::Malformed { field, wanted, found }
}

/// What is wrong with a header whose checksum matches, if anything.
fn refuse(raw: &RawHeader, lba: Lba, sector: SectorSize, sectors: u64) -> Option<CopyVerdict> {
    let (count, size) = (raw.entry_count.get(), raw.entry_size.get());
    if raw.my_lba.get() != lba.get() {
        return Some(malformed("own LBA", lba.get().to_string(), raw.my_lba.get()));
    }
    if !(ENTRY_SIZE_MIN..=4096).contains(&size) || size % 8 != 0 {
        return Some(malformed("slot size", "a multiple of 8 in 128..=4096".into(), size.into()));
    }
    if count == 0 || count > ENTRY_COUNT_MAX {
        return Some(malformed("slot count", format!("1..={ENTRY_COUNT_MAX}"), count.into()));
    }
    let bytes = u64::from(count) * u64::from(size); // at most 1024 * 4096
    let entries_end = raw.entries_lba.get().checked_add(bytes.div_ceil(sector.bytes()));
    if raw.entries_lba.get() < 2 || entries_end.is_none_or(|end| end > sectors) {
        return Some(malformed("array LBA", format!("an array within 2..{sectors}"), raw.entries_lba.get()));
    }
    let (first, last) = (raw.first_usable.get(), raw.last_usable.get());
    if last >= sectors {
        return Some(malformed("last usable LBA", format!("less than {sectors}"), last));
    }
    if first > last.saturating_add(1) {
        return Some(malformed("first usable LBA", format!("at most {last}"), first));
    }
    None
}

/// CRC-32 of a header with its own checksum field taken as zero.
pub(super) fn header_crc(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let (head, rest) = header.split_at(header.len().min(16));
    crc.update(head);
    crc.update(&[0; 4]);
    crc.update(rest.get(4..).unwrap_or_default());
    crc.finalize()
}

/// The partition in a slot, or `None` for an unused one.
pub(super) fn entry_from_bytes(index: u32, slot: &[u8]) -> Option<Partition> {
    let (raw, _) = RawEntry::read_from_prefix(slot).ok()?;
    let type_guid = Guid::from_disk(raw.type_guid);
    if type_guid.is_nil() {
        return None;
    }
    Some(Partition {
        index,
        type_guid,
        unique_guid: Guid::from_disk(raw.unique_guid),
        first: Lba(raw.first.get()),
        last: Lba(raw.last.get()),
        attrs: raw.attrs.get(),
        name: name_from_bytes(&raw.name),
    })
}

/// UTF-16LE up to the first zero unit; unpaired surrogates become U+FFFD.
pub(super) fn name_from_bytes(bytes: &[u8; 72]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|u| *u != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
