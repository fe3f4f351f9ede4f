//! On-disk structures of LVM2, all little-endian. lvm2 lib/label/label.h, lib/format_text/layout.h.

use super::LvmError;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// LVM2 counts in these, whatever the disk's own sector is. lvm2 `SECTOR_SIZE`.
pub(super) const SECTOR: u64 = 512;
/// Sectors in which a label may be. lvm2 `LABEL_SCAN_SECTORS`.
pub(super) const LABEL_SECTORS: u64 = 4;
/// Bytes of a label. lvm2 `LABEL_SIZE`.
pub(super) const LABEL_LEN: usize = 512;
/// Bytes of the header of a metadata area. lvm2 `MDA_HEADER_SIZE`.
pub(super) const AREA_HEADER_LEN: usize = 512;
/// lvm2 `LABEL_ID`.
pub(super) const LABEL_ID: &[u8; 8] = b"LABELONE";
/// lvm2 `LVM2_LABEL`.
pub(super) const LABEL_TYPE: &[u8; 8] = b"LVM2 001";
/// lvm2 `FMTT_MAGIC`.
pub(super) const AREA_MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// lvm2 `FMTT_VERSION`.
pub(super) const AREA_VERSION: u32 = 1;
/// The metadata area is passed over. lvm2 `RAW_LOCN_IGNORED`.
pub(super) const IGNORED: u32 = 1;
/// The physical volume belongs to a group. lvm2 `PV_EXT_USED`, since version 2 of the header's extension.
pub(super) const USED: u32 = 1;
/// lvm2 `PV_HEADER_EXTENSION_VSN`.
pub(super) const USED_SINCE: u32 = 2;
/// Where a label's checksum begins to count: behind itself. lvm2 `label_write`.
pub(super) const LABEL_SUMMED_FROM: usize = 20;
/// Where that of a metadata area's header does. lvm2 `_raw_write_mda_header`.
pub(super) const AREA_SUMMED_FROM: usize = 4;

/// lvm2 `struct label_header`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawLabel {
    pub id: [u8; 8],
    pub sector: U64,
    pub crc: U32,
    pub offset: U32,
    pub kind: [u8; 8],
}
const _: () = assert!(size_of::<RawLabel>() == 32);

/// lvm2 `struct pv_header`; two lists of `RawStretch` follow, each ended by one whose offset is 0.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawPhysical {
    pub id: [u8; 32],
    pub len: U64,
}
const _: () = assert!(size_of::<RawPhysical>() == 40);

/// lvm2 `struct disk_locn`: bytes from the start of the physical volume.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawStretch {
    pub at: U64,
    pub len: U64,
}
const _: () = assert!(size_of::<RawStretch>() == 16);

/// lvm2 `struct pv_header_extension`, behind the two lists.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawExtension {
    pub version: U32,
    pub flags: U32,
}
const _: () = assert!(size_of::<RawExtension>() == 8);

/// lvm2 `struct mda_header`, with the first of its `raw_locns`: the text in force. (The second is a text that was not committed.)
#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct RawArea {
    pub crc: U32,
    pub magic: [u8; 16],
    pub version: U32,
    pub at: U64,
    pub len: U64,
    pub text_at: U64,
    pub text_len: U64,
    pub text_crc: U32,
    pub text_flags: U32,
}
const _: () = assert!(size_of::<RawArea>() == 64);

/// lvm2's CRC-32: the usual polynomial, but a start value of its own and nothing inverted. lvm2 lib/misc/crc.h `INITIAL_CRC`.
pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    parts.iter().for_each(|part| hasher.update(part));
    !hasher.finalize()
}

/// That what is stored is what was computed.
pub(super) fn check_crc(what: &'static str, at: u64, stored: u32, computed: u32) -> Result<(), LvmError> {
    if stored == computed { Ok(()) } else { Err(LvmError::Checksum { what, at, stored, computed }) }
}
