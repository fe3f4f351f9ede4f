//! The master boot record: boot code, disk signature, four entries, `55 AA`. UEFI 2.10 §5.2.

use crate::disk::{Disk, ReadError};
use crate::units::{ByteOffset, Lba, SectorCount, SectorSize};
use serde::{Deserialize, Serialize};

/// Bytes of boot code that a table editor must leave alone. UEFI 2.10 §5.2.1.
pub const BOOT_CODE_LEN: usize = 440;
/// Partition type of the entry that protects a GPT. UEFI 2.10 §5.2.3.
pub const TYPE_PROTECTIVE: u8 = 0xEE;
/// Partition type of an EFI system partition in a real MBR. UEFI 2.10 §5.2.2.
pub const TYPE_ESP: u8 = 0xEF;

/// What the first sector is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MbrKind {
    /// No `55 AA`, or a boot sector whose four entries cannot be a table (a bare file system).
    None,
    /// One entry of type 0xEE and nothing else: the disk has a GPT.
    Protective,
    /// An 0xEE entry beside real ones. UEFI does not know such a thing; some tools make it.
    Hybrid,
    /// A table of its own; it may have no entry at all.
    Real,
}

/// One of the four entries. Cylinder/head/sector fields are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MbrEntry {
    /// 0x80 when the BIOS shall start from it, else 0.
    pub status: u8,
    /// First sector as cylinder, head, sector, packed.
    pub chs_first: [u8; 3],
    /// Partition type; 0 is an unused entry.
    pub kind: u8,
    /// Last sector as cylinder, head, sector, packed.
    pub chs_last: [u8; 3],
    /// First sector.
    pub first: u32,
    /// Number of sectors.
    pub sectors: u32,
}

/// A parsed first sector.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mbr {
    /// What the sector is.
    pub kind: MbrKind,
    /// The 440 bytes of boot code.
    #[serde(skip, default = "no_code")]
    pub boot_code: [u8; BOOT_CODE_LEN],
    /// Disk signature, bytes 440..444: Windows keys drive letters by it.
    pub disk_signature: u32,
    /// Bytes 444..446: 0, or 0x5A5A for a disk marked copy-protected.
    pub reserved: u16,
    /// The four entries, used or not.
    pub entries: [MbrEntry; 4],
    /// Whether the sector ends in `55 AA`.
    pub has_signature: bool,
}

fn no_code() -> [u8; BOOT_CODE_LEN] {
    [0; BOOT_CODE_LEN]
}

impl MbrEntry {
    /// An entry with the CHS fields UEFI asks for where LBAs matter: the largest values. UEFI 2.10 §5.2.1.
    pub fn new(kind: u8, active: bool, first: u32, sectors: u32) -> MbrEntry {
        let chs = [0xFE, 0xFF, 0xFF];
        MbrEntry {
            status: if active { 0x80 } else { 0 },
            chs_first: chs,
            kind,
            chs_last: chs,
            first,
            sectors,
        }
    }

    /// Whether the entry describes a partition.
    pub fn is_used(&self) -> bool {
        self.kind != 0 && self.sectors != 0
    }

    /// Whether the BIOS boot code shall start it.
    pub fn is_active(&self) -> bool {
        self.status == 0x80
    }

    /// First sector.
    pub fn first_lba(&self) -> Lba {
        Lba(u64::from(self.first))
    }

    /// Number of sectors.
    pub fn sector_count(&self) -> SectorCount {
        SectorCount(u64::from(self.sectors))
    }

    fn from_bytes(b: &[u8; 16]) -> MbrEntry {
        MbrEntry {
            status: b[0],
            chs_first: [b[1], b[2], b[3]],
            kind: b[4],
            chs_last: [b[5], b[6], b[7]],
            first: u32::from_le_bytes([b[8], b[9], b[10], b[11]]),
            sectors: u32::from_le_bytes([b[12], b[13], b[14], b[15]]),
        }
    }

    fn to_bytes(self) -> [u8; 16] {
        let mut b = [0; 16];
        b[0] = self.status;
        b[1..4].copy_from_slice(&self.chs_first);
        b[4] = self.kind;
        b[5..8].copy_from_slice(&self.chs_last);
        b[8..12].copy_from_slice(&self.first.to_le_bytes());
        b[12..16].copy_from_slice(&self.sectors.to_le_bytes());
        b
    }
}

impl Mbr {
    /// Read the first 512 bytes of `disk`.
    ///
    /// # Errors
    /// [`ReadError`] when they cannot be read. A sector that is no MBR is not an error, see [`MbrKind::None`].
    pub fn parse(disk: &dyn Disk) -> Result<Mbr, ReadError> {
        let mut sector = [0; 512];
        disk.read_at(ByteOffset(0), &mut sector)?;
        Ok(Mbr::from_bytes(&sector))
    }

    /// From the 512 bytes of the sector.
    pub fn from_bytes(sector: &[u8; 512]) -> Mbr {
        let mut boot_code = [0; BOOT_CODE_LEN];
        boot_code.copy_from_slice(&sector[..BOOT_CODE_LEN]);
        let entries = [446, 462, 478, 494].map(|at: usize| {
            let mut raw = [0; 16];
            raw.copy_from_slice(&sector[at..at + 16]);
            MbrEntry::from_bytes(&raw)
        });
        let has_signature = sector[510] == 0x55 && sector[511] == 0xAA;
        Mbr {
            kind: kind_of(&entries, has_signature, sector),
            boot_code,
            disk_signature: u32::from_le_bytes([sector[440], sector[441], sector[442], sector[443]]),
            reserved: u16::from_le_bytes([sector[444], sector[445]]),
            entries,
            has_signature,
        }
    }

    /// The 512 bytes of the sector; the inverse of [`Mbr::from_bytes`].
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[..BOOT_CODE_LEN].copy_from_slice(&self.boot_code);
        sector[440..444].copy_from_slice(&self.disk_signature.to_le_bytes());
        sector[444..446].copy_from_slice(&self.reserved.to_le_bytes());
        for (entry, slot) in self.entries.iter().zip(sector[446..510].chunks_exact_mut(16)) {
            slot.copy_from_slice(&entry.to_bytes());
        }
        if self.has_signature {
            sector[510..].copy_from_slice(&[0x55, 0xAA]);
        }
        sector
    }

    /// Whether any boot code is there at all. Code of zeros cannot start anything.
    pub fn has_boot_code(&self) -> bool {
        self.boot_code.iter().any(|b| *b != 0)
    }

    /// The entry that protects a GPT on a disk of `sectors` sectors. UEFI 2.10 §5.2.3, table 5-4.
    pub fn protective_entry(sectors: SectorCount) -> MbrEntry {
        let covered = u32::try_from(sectors.get().saturating_sub(1)).unwrap_or(u32::MAX);
        MbrEntry {
            status: 0,
            chs_first: [0x00, 0x02, 0x00],
            kind: TYPE_PROTECTIVE,
            chs_last: chs_of(covered),
            first: 1,
            sectors: covered,
        }
    }

    /// Where partition `entry` lies in bytes: offset and length.
    pub fn byte_range(entry: &MbrEntry, sector: SectorSize) -> (ByteOffset, crate::units::ByteLen) {
        // Two 32-bit numbers times 4096 cannot leave 64 bits.
        (
            ByteOffset(u64::from(entry.first) * sector.bytes()),
            crate::units::ByteLen(u64::from(entry.sectors) * sector.bytes()),
        )
    }
}

/// An LBA as head, sector and cylinder of the 255 by 63 geometry BIOSes use; all ones beyond its 1024 cylinders.
fn chs_of(lba: u32) -> [u8; 3] {
    let (track, sector) = (lba / 63, lba % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    if cylinder > 1023 {
        return [0xFF; 3];
    }
    // The upper two bits of the cylinder lie above the six of the sector.
    [head as u8, (sector | cylinder >> 2 & 0xC0) as u8, cylinder as u8]
}

fn kind_of(entries: &[MbrEntry; 4], has_signature: bool, sector: &[u8; 512]) -> MbrKind {
    // A status other than 0 or 0x80 is text or code of a file system's own boot sector; so is FAT's or NTFS's name field.
    let table = entries.iter().all(|e| e.status & 0x7F == 0);
    let bare = [(3, &b"NTFS    "[..]), (54, b"FAT"), (82, b"FAT32")]
        .iter()
        .any(|(at, name)| sector[*at..].starts_with(name));
    if !has_signature || !table || (bare && !entries.iter().any(MbrEntry::is_used)) {
        return MbrKind::None;
    }
    let protects = entries.iter().filter(|e| e.kind == TYPE_PROTECTIVE).count();
    let real = entries.iter().filter(|e| e.is_used() && e.kind != TYPE_PROTECTIVE).count();
    match (protects, real) {
        (0, _) => MbrKind::Real,
        (_, 0) => MbrKind::Protective,
        _ => MbrKind::Hybrid,
    }
}
