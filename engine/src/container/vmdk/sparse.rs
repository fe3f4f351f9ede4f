//! The header of a sparse extent. Virtual Disk Format 5.0, "Hosted Sparse Extent Header".

use super::{DESCRIPTOR_BYTES_MAX, SECTOR, SECTORS_MAX};
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// First bytes of a hosted sparse extent.
pub const MAGIC: &[u8; 4] = b"KDMV";
/// Largest grain QEMU takes, in sectors (`vmdk_add_extent` in `block/vmdk.c`).
const GRAIN_MAX: u64 = 0x20_0000;
/// Grain tables have 512 entries; QEMU takes no more (`vmdk_open_vmdk4`).
const TABLE_ENTRIES_MAX: u32 = 512;
/// Deflate, the only compression there is.
const DEFLATE: u16 = 1;

/// "gdOffset" of a stream whose grain directory comes last (`GD_AT_END`).
const DIRECTORY_AT_END: u64 = u64::MAX;
/// Flag: an entry of 1 in a grain table is a grain of zeros ("zeroed-grain GTE").
const ZERO_GRAINS: u32 = 1 << 2;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    version: U32,
    flags: U32,
    capacity: U64,
    grain: U64,
    descriptor_at: U64,
    descriptor_len: U64,
    table_entries: U32,
    redundant_directory_at: U64,
    directory_at: U64,
    overhead: U64,
    unclean: u8,
    line_ends: [u8; 4],
    compression: U16,
}
const _: () = assert!(size_of::<RawHeader>() == 79);

/// A checked header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SparseHeader {
    /// Sectors of the disk in this extent; not 0.
    pub sectors: u64,
    /// Bytes of a grain, the unit of allocation.
    pub grain: u64,
    /// Whether its grains are compressed.
    pub compressed: bool,
    /// Where its grain directory lies; none in the header of a stream that has it at its end, before a footer.
    pub(super) directory_at: Option<u64>,
    /// Entries of a grain table.
    pub(super) table_entries: u64,
    /// Entry of a grain table that stands for a grain of zeros, if one does.
    pub(super) zero_entry: Option<u32>,
    /// Where its descriptor lies, and the bytes set aside for it.
    pub descriptor: Option<(u64, u64)>,
}

impl SparseHeader {
    /// Read the header in the beginning of `source`.
    pub(super) fn read(source: &SourceFile) -> Result<SparseHeader, ReadError> {
        let mut bytes = [0; size_of::<RawHeader>()];
        read_file(source, 0, &mut bytes)?;
        let bad = |what: &str, at: u64, wanted: &str, found: String| {
            Err(corrupt(format!("VMDK sparse header {what}"), at, wanted, found))
        };
        let Ok(raw) = RawHeader::ref_from_bytes(&bytes) else {
            return bad("length", 0, "79 bytes", bytes.len().to_string());
        };
        if raw.magic != *MAGIC {
            return bad("magic", 0, "`KDMV`", format!("{:02x?}", raw.magic));
        }
        if !(1..=3).contains(&raw.version.get()) {
            return bad("version", 4, "1 to 3", raw.version.to_string());
        }
        // Without a capacity QEMU would take the file for a descriptor and follow the names in it.
        let sectors = raw.capacity.get();
        if sectors == 0 || sectors > SECTORS_MAX {
            return bad("capacity", 12, "at most 64 TiB and not 0", format!("{sectors} sectors"));
        }
        let grain = raw.grain.get();
        if !grain.is_power_of_two() || grain > GRAIN_MAX {
            return bad("grain", 20, "a power of two up to 1 GiB", format!("{grain} sectors"));
        }
        let entries = raw.table_entries.get();
        if entries == 0 || entries > TABLE_ENTRIES_MAX {
            return bad("grain table entries", 44, "1 to 512", entries.to_string());
        }
        let compression = raw.compression.get();
        if compression > DEFLATE {
            return bad("compression", 77, "none or deflate", compression.to_string());
        }
        let bytes_of = |sectors: u64| sectors.checked_mul(SECTOR);
        let descriptor = match (bytes_of(raw.descriptor_at.get()), bytes_of(raw.descriptor_len.get())) {
            (Some(0), _) => None,
            (Some(at), Some(len)) if len > 0 && len <= DESCRIPTOR_BYTES_MAX => Some((at, len)),
            _ => {
                let found = format!("{} sectors at sector {}", raw.descriptor_len, raw.descriptor_at);
                return bad("descriptor", 28, "at most 1 MiB within the file", found);
            }
        };
        let directory_at = match raw.directory_at.get() {
            DIRECTORY_AT_END => None,
            sector => match bytes_of(sector) {
                Some(at) => Some(at),
                None => {
                    return bad("grain directory", 56, "a sector of the file", format!("sector {sector}"));
                }
            },
        };
        Ok(SparseHeader {
            sectors,
            grain: grain * SECTOR,
            compressed: compression == DEFLATE,
            directory_at,
            table_entries: u64::from(entries),
            zero_entry: (raw.flags.get() & ZERO_GRAINS != 0).then_some(1),
            descriptor,
        })
    }
}
