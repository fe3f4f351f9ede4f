//! The hard disk footer. Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format".

use crate::container::corrupt;
use crate::disk::ReadError;
use crate::table::guid::Guid;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the footer.
pub const FOOTER_LEN: usize = 512;
/// Where the footer keeps its checksum.
const CHECKSUM_AT: usize = 64;
/// 2000-01-01 00:00 UTC in seconds since 1970: where VHD time begins.
pub(super) const VHD_EPOCH: u64 = 946_684_800;
/// Data Offset of a fixed disk: there is no further header.
const NO_HEADER: u64 = u64::MAX;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawFooter {
    cookie: [u8; 8],
    features: U32,
    version: U32,
    data_offset: U64,
    time_stamp: U32,
    creator_app: [u8; 4],
    creator_version: U32,
    creator_host: [u8; 4],
    original_size: U64,
    current_size: U64,
    cylinders: U16,
    heads: u8,
    sectors_per_track: u8,
    disk_type: U32,
    checksum: U32,
    unique_id: [u8; 16],
    saved_state: u8,
    reserved: [u8; 427],
}
const _: () = assert!(size_of::<RawFooter>() == FOOTER_LEN);

/// What kind of VHD a footer describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskType {
    /// Type 2.
    Fixed,
    /// Type 3; its dynamic disk header lies at this offset.
    Dynamic(u64),
    /// Type 4: needs a parent, which the dynamic disk header at this offset names.
    Differencing(u64),
}

/// Cylinders, heads and sectors per track, as old BIOSes count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chs {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

/// A footer with a matching checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Footer {
    /// Kind of VHD.
    pub disk_type: DiskType,
    /// Length of the disk in bytes.
    pub current_size: u64,
    /// Geometry; Hyper-V and Azure do not use it.
    pub chs: Chs,
    /// Id of the disk.
    pub unique_id: Guid,
    /// Program that wrote it, four characters.
    pub creator_app: [u8; 4],
    /// When the file was made, in seconds since 2000.
    pub time_stamp: u32,
    /// Whether the machine was suspended when the file was put down ("Saved State").
    pub saved_state: bool,
}

impl Footer {
    /// Check a footer that was found at `at` in its file.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the field.
    pub fn parse(bytes: &[u8; FOOTER_LEN], at: u64) -> Result<Footer, ReadError> {
        let raw = RawFooter::read_from_bytes(bytes.as_slice())
            .map_err(|_| corrupt("VHD footer", at, "512 bytes", "fewer"))?;
        let bad = |what: &str, wanted: String, found: String| {
            Err(corrupt(format!("VHD footer {what}"), at, wanted, found))
        };
        if raw.cookie != *b"conectix" {
            return bad("cookie", "`conectix`".into(), format!("{:02x?}", raw.cookie));
        }
        let computed = checksum(bytes, CHECKSUM_AT);
        if raw.checksum.get() != computed {
            return bad("checksum", format!("{computed:#010x}"), format!("{:#010x}", raw.checksum.get()));
        }
        // The upper half is the major version; readers must not open another one.
        if raw.version.get() >> 16 != 1 {
            return bad("version", "1.x".into(), format!("{:#010x}", raw.version.get()));
        }
        let current_size = raw.current_size.get();
        if current_size == 0 || current_size % 512 != 0 {
            return bad("current size", "a multiple of 512 above 0".into(), current_size.to_string());
        }
        let disk_type = match raw.disk_type.get() {
            2 => DiskType::Fixed,
            3 => DiskType::Dynamic(raw.data_offset.get()),
            4 => DiskType::Differencing(raw.data_offset.get()),
            other => return bad("disk type", "2, 3 or 4".into(), other.to_string()),
        };
        Ok(Footer {
            disk_type,
            current_size,
            chs: Chs { cylinders: raw.cylinders.get(), heads: raw.heads, sectors: raw.sectors_per_track },
            unique_id: Guid::from_disk(uuid_bytes(raw.unique_id)),
            creator_app: raw.creator_app,
            time_stamp: raw.time_stamp.get(),
            saved_state: raw.saved_state != 0,
        })
    }
}

/// The footer of a fixed VHD of `len` bytes, made at `now` (seconds since 1970).
///
/// Creator is `win `, version 10.0, host `Wi2k`, as Hyper-V writes: programs that must choose between Current Size and the
/// smaller size that the geometry gives (QEMU's `block/vpc.c`) choose by this field, and only the names they know are read by
/// Current Size. A name of our own would cut the end off the disk in QEMU.
pub fn fixed_footer(len: u64, unique_id: Guid, now: u64) -> [u8; FOOTER_LEN] {
    footer(2, NO_HEADER, len, unique_id, now)
}

/// The footer, and its copy, of a dynamic VHD whose dynamic disk header lies at `header_at`; the rest as for [`fixed_footer`].
pub(super) fn dynamic_footer(header_at: u64, len: u64, unique_id: Guid, now: u64) -> [u8; FOOTER_LEN] {
    footer(3, header_at, len, unique_id, now)
}

fn footer(disk_type: u32, data_offset: u64, len: u64, unique_id: Guid, now: u64) -> [u8; FOOTER_LEN] {
    let chs = chs_for(len / 512);
    let raw = RawFooter {
        cookie: *b"conectix",
        features: U32::new(2), // "reserved", always set
        version: U32::new(0x0001_0000),
        data_offset: U64::new(data_offset),
        time_stamp: U32::new(u32::try_from(now.saturating_sub(VHD_EPOCH)).unwrap_or(u32::MAX)),
        creator_app: *b"win ",
        creator_version: U32::new(0x000A_0000),
        creator_host: *b"Wi2k",
        original_size: U64::new(len),
        current_size: U64::new(len),
        cylinders: U16::new(chs.cylinders),
        heads: chs.heads,
        sectors_per_track: chs.sectors,
        disk_type: U32::new(disk_type),
        checksum: U32::new(0),
        unique_id: uuid_bytes(unique_id.to_disk()),
        saved_state: 0,
        reserved: [0; 427],
    };
    let mut bytes = [0; FOOTER_LEN];
    bytes.copy_from_slice(raw.as_bytes());
    let sum = checksum(&bytes, CHECKSUM_AT);
    bytes[64..68].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The footer keeps its id big-endian, our [`Guid`] keeps the mixed order of other disk structures; so the text form agrees.
pub(super) fn uuid_bytes(bytes: [u8; 16]) -> [u8; 16] {
    let b = bytes;
    [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
}

/// One's complement of the sum of all bytes, the checksum field, which lies at `field`, taken as zero.
pub(super) fn checksum(bytes: &[u8], field: usize) -> u32 {
    let counted = bytes.iter().enumerate().filter(|(i, _)| !(field..field.saturating_add(4)).contains(i));
    !counted.fold(0u32, |sum, (_, b)| sum.wrapping_add(u32::from(*b)))
}

/// Geometry for a disk of `total` sectors. Specification 1.0, appendix "CHS Calculation".
pub fn chs_for(total: u64) -> Chs {
    const LARGEST: u32 = 65535 * 16 * 255;
    let total = u32::try_from(total).unwrap_or(LARGEST).min(LARGEST);
    let (sectors, heads, cylinder_times_heads);
    if total >= 65535 * 16 * 63 {
        (sectors, heads, cylinder_times_heads) = (255, 16, total / 255);
    } else {
        let mut track = 17;
        let mut product = total / track;
        let mut h = product.div_ceil(1024).max(4);
        if product >= h * 1024 || h > 16 {
            track = 31;
            h = 16;
            product = total / track;
        }
        if product >= h * 1024 {
            track = 63;
            h = 16;
            product = total / track;
        }
        (sectors, heads, cylinder_times_heads) = (track, h, product);
    }
    Chs {
        cylinders: u16::try_from(cylinder_times_heads / heads).unwrap_or(u16::MAX),
        heads: heads as u8,     // at most 16
        sectors: sectors as u8, // at most 255
    }
}
