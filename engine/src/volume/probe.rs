//! Which file system lies on a partition, by its superblock.

use crate::disk::{Disk, ReadError};
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes from the start of a partition that a probe looks at: btrfs's superblock lies furthest out, at 64 KiB.
const WINDOW: usize = 0x11000;

/// What lies on a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FsKind {
    /// ext2, ext3 or ext4.
    Ext,
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// NTFS.
    Ntfs,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// An LVM physical volume.
    Lvm,
    /// A LUKS container.
    Luks,
    /// Linux swap space.
    Swap,
    /// A member of a Linux software RAID.
    Raid,
    /// BitLocker.
    BitLocker,
}

impl fmt::Display for FsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FsKind::Ext => "ext4",
            FsKind::Fat => "vfat",
            FsKind::Ntfs => "ntfs",
            FsKind::Xfs => "xfs",
            FsKind::Btrfs => "btrfs",
            FsKind::Lvm => "LVM physical volume",
            FsKind::Luks => "LUKS",
            FsKind::Swap => "swap",
            FsKind::Raid => "Linux RAID member",
            FsKind::BitLocker => "BitLocker",
        })
    }
}

/// What a superblock says of itself. Nothing in it has been checked but the magic numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Which file system.
    pub kind: FsKind,
    /// Its identifier, as `blkid` writes it.
    pub uuid: Option<String>,
    /// Its label, when it has one.
    pub label: Option<String>,
}

/// Look at the start of `disk`, a partition.
///
/// # Errors
/// [`ReadError`] when the first 68 KiB (or what there is of them) cannot be read.
pub fn probe(disk: &dyn Disk) -> Result<Option<Probe>, ReadError> {
    let len = usize::try_from(disk.geometry().len.get()).unwrap_or(WINDOW).min(WINDOW);
    let mut head = vec![0; len];
    disk.read_at(ByteOffset(0), &mut head)?;
    // A partition that is shorter than a superblock's place simply has none there.
    head.resize(WINDOW, 0);
    Ok(look(&head))
}

fn look(h: &[u8]) -> Option<Probe> {
    let found = |kind, uuid, label| Some(Probe { kind, uuid, label });
    let is = |at: usize, magic: &[u8]| h.get(at..).is_some_and(|b| b.starts_with(magic));
    // Containers first: what is inside them must not be taken for them.
    if is(0, b"LUKS\xba\xbe") {
        return found(FsKind::Luks, text(h, 168, 40), None);
    }
    if is(3, b"-FVE-FS-") {
        return found(FsKind::BitLocker, None, None);
    }
    if (0..4).any(|s| is(s * 512, b"LABELONE")) {
        return found(FsKind::Lvm, None, None);
    }
    if is(4096, &[0xfc, 0x4e, 0x2b, 0xa9]) {
        return found(FsKind::Raid, None, None);
    }
    if is(0, b"XFSB") {
        return found(FsKind::Xfs, uuid(h, 32), text(h, 108, 12));
    }
    // btrfs superblock at 64 KiB: magic at 0x40, fsid at 0x20, label at 0x12b.
    if is(0x10040, b"_BHRfS_M") {
        return found(FsKind::Btrfs, uuid(h, 0x10020), text(h, 0x1012b, 256));
    }
    if is(4086, b"SWAPSPACE2") {
        return found(FsKind::Swap, uuid(h, 0x40c), text(h, 0x41c, 16));
    }
    // ext2/3/4 superblock at 1024: magic 0xEF53 at 0x38, uuid at 0x68, label at 0x78.
    if is(1024 + 0x38, &[0x53, 0xef]) {
        return found(FsKind::Ext, uuid(h, 1024 + 0x68), text(h, 1024 + 0x78, 16));
    }
    if is(3, b"NTFS    ") {
        let serial = h.get(0x48..0x50).map(|b| b.iter().rev().map(|b| format!("{b:02X}")).collect());
        return found(FsKind::Ntfs, serial, None);
    }
    fat(h)
}

/// FAT has no magic number of its own: the boot signature, a plausible BIOS parameter block and the type text together are one.
/// Microsoft FAT specification 1.03, "Boot Sector and BPB".
fn fat(h: &[u8]) -> Option<Probe> {
    let byte = |at: usize| h.get(at).copied().unwrap_or(0);
    let bytes_per_sector = u16::from_le_bytes([byte(11), byte(12)]);
    let plausible = matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
        && byte(13).is_power_of_two()
        && (1..=2).contains(&byte(16))
        && h.get(510..512) == Some(&[0x55, 0xaa]);
    if !plausible {
        return None;
    }
    let wide = h.get(82..87) == Some(b"FAT32");
    if !wide && h.get(54..57) != Some(b"FAT") {
        return None;
    }
    let (id, label) = if wide { (67, 71) } else { (39, 43) };
    let uuid = h.get(id..).and_then(|b| b.first_chunk::<4>()).map(|b| {
        let n = u32::from_le_bytes(*b);
        format!("{:04X}-{:04X}", n >> 16, n & 0xffff)
    });
    let label = text(h, label, 11).filter(|l| l != "NO NAME");
    Some(Probe { kind: FsKind::Fat, uuid, label })
}

fn uuid(h: &[u8], at: usize) -> Option<String> {
    let raw = h.get(at..)?.first_chunk::<16>()?;
    (*raw != [0; 16]).then(|| uuid::Uuid::from_bytes(*raw).to_string())
}

/// Text up to the first NUL, trimmed; `None` when nothing is left.
fn text(h: &[u8], at: usize, len: usize) -> Option<String> {
    let raw = h.get(at..at.checked_add(len)?)?;
    let end = raw.iter().position(|b| *b == 0).unwrap_or(len);
    let text = String::from_utf8_lossy(raw.get(..end)?).trim().to_string();
    (!text.is_empty()).then_some(text)
}
