//! The header. QEMU `docs/interop/qcow2.txt`, "Header".

use super::ZERO;
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Longest L1 table QEMU takes, in bytes (`QCOW_MAX_L1_SIZE` in `block/qcow2.h`).
const L1_BYTES_MAX: u64 = 32 << 20;
/// Largest disk we take: 64 TiB, as for VHDX.
const LEN_MAX: u64 = 64 << 40;

/// Incompatible feature: compressed clusters are not zlib's.
const COMPRESSION_TYPE: u64 = 1 << 3;
/// Incompatible feature: entries of L2 tables have 16 bytes.
const EXTENDED_L2: u64 = 1 << 4;
/// Bytes of the header of version 3 with the compression type and its padding.
const HEADER: usize = 112;
/// Longest name of a backing file (QEMU's specification: "Must not be longer than 1023 bytes").
const NAME_MAX: usize = 1023;

/// The part both versions have.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    version: U32,
    backing_at: U64,
    backing_len: U32,
    cluster_bits: U32,
    len: U64,
    crypt_method: U32,
    l1_len: U32,
    l1_at: U64,
    refcounts_at: U64,
    refcount_clusters: U32,
    snapshots: U32,
    snapshots_at: U64,
}
const _: () = assert!(size_of::<RawHeader>() == 72);

/// A checked header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    pub len: u64,
    pub l1_at: u64,
    /// Entries of the L1 table.
    pub l1_len: usize,
    /// Where the name of the backing file lies, and its bytes; nothing without one.
    pub backing: Option<(u64, usize)>,
    /// Entries of L2 tables have 16 bytes.
    pub extended: bool,
    /// Where the header extensions begin.
    pub extensions_at: u64,
    /// A feature that nobody reads, in words.
    pub refused_feature: Option<String>,
    /// A feature that is left to QEMU's block layer, in words.
    pub foreign_feature: Option<String>,
}

impl Header {
    /// Bytes of a cluster: 512 to 2 MiB.
    pub(super) fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an entry of an L2 table.
    pub(super) fn entry_size(&self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    /// Entries of an L2 table.
    pub(super) fn per_table(&self) -> u64 {
        self.cluster_size() / self.entry_size()
    }

    /// The bit of an entry that says that the cluster reads as zeros; none before version 3, none in an extended entry.
    pub(super) fn zero_flag(&self) -> u64 {
        if self.version >= 3 && !self.extended { ZERO } else { 0 }
    }
}

pub(super) fn read_header(source: &SourceFile) -> Result<Header, ReadError> {
    let mut bytes = [0; HEADER];
    let have = usize::try_from(source.len()).unwrap_or(bytes.len()).min(bytes.len());
    read_file(source, 0, &mut bytes[..have])?;
    let bad = |what: &str, at: u64, wanted: String, found: String| {
        Err(corrupt(format!("qcow2 header {what}"), at, wanted, found))
    };
    let Ok((raw, _)) = RawHeader::read_from_prefix(&bytes) else {
        return bad("length", 0, "72 bytes".into(), have.to_string());
    };
    if raw.magic != *b"QFI\xfb" || have < size_of::<RawHeader>() {
        return bad("magic", 0, "`QFI` and 0xfb".into(), format!("{:02x?}", raw.magic));
    }
    let version = raw.version.get();
    if version != 2 && version != 3 {
        return bad("version", 4, "2 or 3".into(), version.to_string());
    }
    let cluster_bits = raw.cluster_bits.get();
    if !(9..=21).contains(&cluster_bits) {
        return bad("cluster bits", 20, "9..=21".into(), cluster_bits.to_string());
    }
    let len = raw.len.get();
    if len == 0 || len > LEN_MAX {
        return bad("size", 24, "at most 64 TiB and not 0".into(), len.to_string());
    }
    let incompatible = match bytes.get(72..80).and_then(|b| b.first_chunk()) {
        Some(b) if version == 3 => u64::from_be_bytes(*b),
        _ => 0,
    };
    // One L1 entry stands for a whole L2 table of cluster_size / 8 clusters; extended entries have 16 bytes.
    let per_entry = 1u64 << (2 * cluster_bits - if incompatible & EXTENDED_L2 != 0 { 4 } else { 3 });
    let (l1_len, needed) = (u64::from(raw.l1_len.get()), len.div_ceil(per_entry));
    if l1_len < needed || l1_len * 8 > L1_BYTES_MAX {
        return bad("L1 entries", 36, format!("{needed}..={}", L1_BYTES_MAX / 8), l1_len.to_string());
    }
    if raw.l1_at.get() % (1 << cluster_bits) != 0 || raw.l1_at.get() == 0 {
        return bad("L1 offset", 40, "whole clusters above 0".into(), format!("{:#x}", raw.l1_at.get()));
    }
    let refused_feature = match (raw.crypt_method.get(), incompatible) {
        (1.., _) => Some("encryption".to_owned()),
        (_, bits) if bits & 2 != 0 => Some("the mark that it is corrupt (qemu-img check -r all)".to_owned()),
        (_, bits) if bits & 4 != 0 => Some("its data in another file".to_owned()),
        // Bit 0 says that reference counts may be wrong, which matters to writers only.
        (_, bits) if bits & !(1 | COMPRESSION_TYPE | EXTENDED_L2) != 0 => {
            Some(format!("unknown incompatible features {bits:#x}"))
        }
        _ => None,
    };
    let foreign_feature = if incompatible & COMPRESSION_TYPE != 0 {
        Some("another compression type than zlib".to_owned())
    } else if incompatible & EXTENDED_L2 != 0 {
        Some("extended L2 entries".to_owned())
    } else {
        None
    };
    let (backing_at, backing_len) = (raw.backing_at.get(), raw.backing_len.get() as usize);
    if backing_at != 0 && backing_len > NAME_MAX {
        return bad(
            "backing file name length",
            16,
            format!("at most {NAME_MAX} bytes"),
            backing_len.to_string(),
        );
    }
    // Bytes 100..104: the length of the header of version 3.
    let extensions_at = match bytes.get(100..104).and_then(|b| b.first_chunk()) {
        Some(b) if version == 3 => u64::from(u32::from_be_bytes(*b)),
        _ => size_of::<RawHeader>() as u64,
    };
    Ok(Header {
        version,
        cluster_bits,
        len,
        l1_at: raw.l1_at.get(),
        l1_len: needed as usize, // at most L1_BYTES_MAX / 8; more entries describe nothing
        backing: (backing_at != 0 && backing_len != 0).then_some((backing_at, backing_len)),
        extended: incompatible & EXTENDED_L2 != 0,
        extensions_at,
        refused_feature,
        foreign_feature,
    })
}
