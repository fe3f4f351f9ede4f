//! The GUID partition table: both copies, each with its own verdict. UEFI 2.10 §5.3.

mod create;
mod fit;
mod header;
mod write;

pub use header::{CopyReport, CopyVerdict, ENTRY_BYTES_MAX, ENTRY_COUNT_MAX};
pub use write::GptWriteError;

use self::header::{Copy, entry_from_bytes, read_copy};
use super::guid::Guid;
use crate::disk::{Disk, ReadError};
use crate::units::{ByteLen, ByteOffset, Lba, SectorSize};
use serde::Serialize;
use std::fmt;

/// EFI system partition. UEFI 2.10 table 5-7.
pub const TYPE_ESP: Guid = Guid::from_digits(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);
/// BIOS boot partition, where GRUB keeps its core image.
pub const TYPE_BIOS_BOOT: Guid = Guid::from_digits(0x21686148_6449_6E6F_744E_656564454649);
/// Linux file system.
pub const TYPE_LINUX: Guid = Guid::from_digits(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);
/// Linux swap.
pub const TYPE_LINUX_SWAP: Guid = Guid::from_digits(0x0657FD6D_A4AB_43C4_84E5_0933C84B4F4F);
/// Linux software RAID.
pub const TYPE_LINUX_RAID: Guid = Guid::from_digits(0xA19D880F_05FC_4D3B_A006_743F0F84911E);
/// Linux LVM.
pub const TYPE_LINUX_LVM: Guid = Guid::from_digits(0xE6D6D379_F507_44C2_A23C_238F2A3DF928);
/// Linux root on x86-64 (Discoverable Partitions Specification).
pub const TYPE_LINUX_ROOT_X86_64: Guid = Guid::from_digits(0x4F68BCE3_E8CD_4DB1_96E7_FBCAF984B709);
/// Extended boot loader partition (Discoverable Partitions Specification).
pub const TYPE_XBOOTLDR: Guid = Guid::from_digits(0xBC13C2FF_59E6_4262_A352_B275FD6F7172);
/// Microsoft reserved partition.
pub const TYPE_MICROSOFT_RESERVED: Guid = Guid::from_digits(0xE3C9E316_0B5C_4DB8_817D_F92DF00215AE);
/// Microsoft basic data.
pub const TYPE_MICROSOFT_BASIC: Guid = Guid::from_digits(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7);
/// Windows recovery environment.
pub const TYPE_WINDOWS_RECOVERY: Guid = Guid::from_digits(0xDE94BBA4_06D1_4D40_A16A_BFD50179D6AC);

/// One partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Partition {
    /// Number of the slot, from 1, as `sgdisk` and Linux count.
    pub index: u32,
    /// What it is for.
    pub type_guid: Guid,
    /// Its own id (PARTUUID).
    pub unique_guid: Guid,
    /// First sector.
    pub first: Lba,
    /// Last sector, part of the partition.
    pub last: Lba,
    /// Attribute bits. UEFI 2.10 table 5-8.
    pub attrs: u64,
    /// Name, at most 36 UTF-16 units.
    pub name: String,
}

/// Which of the two copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// At LBA 1.
    Primary,
    /// At the end of the disk.
    Backup,
}

/// Something about a readable table that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// Two partitions share sectors.
    Overlap {
        /// Number of the first partition.
        a: u32,
        /// Number of the second partition.
        b: u32,
    },
    /// A partition reaches outside the usable sectors, or ends before it begins.
    OutOfRange {
        /// Its number.
        index: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
    },
    /// Both copies are valid and say different things.
    CopiesDiffer,
    /// The backup is not in the last sector: the disk was grown (or cut) after it was partitioned.
    BackupNotAtEnd {
        /// Where the backup header is.
        found: u64,
        /// The last sector.
        wanted: u64,
    },
}

/// A table of which at least one copy is valid. The fields below `used` come from that copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gpt {
    /// Sector size of the disk.
    pub sector: SectorSize,
    /// Length of the disk.
    pub disk_len: ByteLen,
    /// The copy at LBA 1.
    pub primary: CopyReport,
    /// The copy at the end.
    pub backup: CopyReport,
    /// Copy that the rest was read from: the primary unless it is damaged.
    pub used: Which,
    /// Id of the disk.
    pub disk_guid: Guid,
    /// First sector a partition may use.
    pub first_usable: Lba,
    /// Last sector a partition may use.
    pub last_usable: Lba,
    /// Number of slots.
    pub entry_count: u32,
    /// Bytes of one slot.
    pub entry_size: u32,
    /// Used slots, by slot number.
    pub partitions: Vec<Partition>,
    /// What is odd about it.
    pub findings: Vec<Finding>,
    /// Where the array of the primary copy is or belongs.
    #[serde(skip)]
    entries_lba: u64,
    /// The header as found, to keep what is reserved.
    #[serde(skip)]
    header_bytes: Vec<u8>,
    /// The array as found, to keep bytes no field covers.
    #[serde(skip)]
    entry_bytes: Vec<u8>,
}

/// Why there is no table to use, though something is there.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither copy can be trusted.
    #[error("neither copy of the GPT can be used: primary at {}: {}; backup at {}: {}",
        primary.header_at, primary.verdict, backup.header_at, backup.verdict)]
    BothDamaged {
        /// The copy at LBA 1.
        primary: Box<CopyReport>,
        /// The copy at the end.
        backup: Box<CopyReport>,
    },
}

impl Gpt {
    /// Read both copies. `None` when neither place holds the signature `EFI PART`.
    ///
    /// # Errors
    /// [`GptError::BothDamaged`] when there is a table but no valid copy of it; [`GptError::Read`] when LBA 1 cannot be read.
    pub fn parse(disk: &dyn Disk) -> Result<Option<Gpt>, GptError> {
        let geometry = disk.geometry();
        let sector = geometry.sector;
        let sectors = geometry.len.get() / sector.bytes();
        let Some(last) = sectors.checked_sub(1).filter(|last| *last >= 3) else {
            return Ok(None);
        };
        let primary = read_copy(disk, Lba(1))?;
        let named = primary.copy.as_ref().map(|c| c.alternate).filter(|lba| *lba != last && *lba < sectors);
        let mut backup = read_copy(disk, Lba(named.unwrap_or(last)))?;
        if named.is_some() && backup.copy.is_none() {
            let at_end = read_copy(disk, Lba(last))?;
            if at_end.copy.is_some() {
                backup = at_end;
            }
        }
        let (used, copy) = match (&primary.copy, &backup.copy) {
            (Some(copy), _) => (Which::Primary, copy),
            (None, Some(copy)) => (Which::Backup, copy),
            (None, None) => {
                let absent = |r: &CopyReport| r.verdict == CopyVerdict::Missing;
                if absent(&primary.report) && absent(&backup.report) {
                    return Ok(None);
                }
                return Err(GptError::BothDamaged {
                    primary: Box::new(primary.report),
                    backup: Box::new(backup.report),
                });
            }
        };
        let partitions = partitions(copy);
        let mut findings = shape_findings(copy, &partitions);
        if let (Some(a), Some(b)) = (&primary.copy, &backup.copy)
            && !a.says_the_same(b)
        {
            findings.push(Finding::CopiesDiffer);
        }
        let backup_at = if backup.copy.is_some() { backup.report.header_at.get() } else { copy.alternate };
        if used == Which::Primary && backup_at != last {
            findings.push(Finding::BackupNotAtEnd { found: backup_at, wanted: last });
        }
        // A backup's own array lies at the end; the primary's belongs right behind its header unless the primary says otherwise.
        let entries_lba = if used == Which::Primary { copy.entries_lba } else { 2 };
        Ok(Some(Gpt {
            sector,
            disk_len: geometry.len,
            used,
            disk_guid: copy.disk_guid,
            first_usable: Lba(copy.first_usable),
            last_usable: Lba(copy.last_usable),
            entry_count: copy.entry_count,
            entry_size: copy.entry_size,
            partitions,
            findings,
            entries_lba,
            header_bytes: copy.header_bytes.clone(),
            entry_bytes: copy.entry_bytes.clone(),
            primary: primary.report,
            backup: backup.report,
        }))
    }

    /// Whether both copies are valid, agree, and nothing else is odd.
    pub fn is_sound(&self) -> bool {
        self.primary.is_valid() && self.backup.is_valid() && self.findings.is_empty()
    }

    /// The first partition of a type.
    pub fn find(&self, type_guid: Guid) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.type_guid == type_guid)
    }

    /// First sector behind the primary copy: where the gap before the first partition begins.
    pub fn primary_end(&self) -> Lba {
        // Both terms are bounded: the array lies on the disk, see `read_copy`.
        Lba(self.entries_lba.saturating_add((self.entry_bytes.len() as u64).div_ceil(self.sector.bytes())))
    }
}

impl Partition {
    /// Offset and length in bytes, or `None` when the partition ends before it begins or beyond 2^64 bytes.
    pub fn byte_range(&self, sector: SectorSize) -> Option<(ByteOffset, ByteLen)> {
        let sectors = self.last.get().checked_sub(self.first.get())?.checked_add(1)?;
        Some((self.first.to_bytes(sector)?, ByteLen(sectors.checked_mul(sector.bytes())?)))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Overlap { a, b } => write!(f, "partitions {a} and {b} overlap"),
            Finding::OutOfRange { index, first, last } => {
                write!(
                    f,
                    "partition {index} spans LBA {first}..={last}, which is not within the usable sectors"
                )
            }
            Finding::CopiesDiffer => write!(f, "the two copies of the GPT are valid but differ"),
            Finding::BackupNotAtEnd { found, wanted } => {
                write!(f, "the backup GPT is at LBA {found}, wanted the last sector, LBA {wanted}")
            }
        }
    }
}

fn partitions(copy: &Copy) -> Vec<Partition> {
    let slots = copy.entry_bytes.chunks_exact(copy.entry_size as usize);
    (1..).zip(slots).filter_map(|(index, slot)| entry_from_bytes(index, slot)).collect()
}

fn shape_findings(copy: &Copy, partitions: &[Partition]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for p in partitions {
        let (first, last) = (p.first.get(), p.last.get());
        if first > last || first < copy.first_usable || last > copy.last_usable {
            findings.push(Finding::OutOfRange { index: p.index, first, last });
        }
    }
    let mut sorted: Vec<&Partition> = partitions.iter().filter(|p| p.first <= p.last).collect();
    sorted.sort_by_key(|p| p.first);
    // The partition that reaches furthest so far; comparing neighbours alone would miss one that spans several.
    let mut reach: Option<&Partition> = None;
    for p in sorted {
        if let Some(far) = reach.filter(|far| p.first <= far.last) {
            findings.push(Finding::Overlap { a: far.index.min(p.index), b: far.index.max(p.index) });
        }
        if reach.is_none_or(|far| p.last > far.last) {
            reach = Some(p);
        }
    }
    findings
}
