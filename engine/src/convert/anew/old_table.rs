//! The table that the disk has, and which GPT entries its partitions become.

use super::ids::{self, For};
use super::logical::{self, Old};
use super::no;
use crate::convert::plan::{Direction, Refusal};
use crate::disk::DiskRef;
use crate::guest::{Inspection, TableKind};
use crate::table::gpt::{self, Gpt, Partition};
use crate::table::guid::Guid;
use crate::table::mbr::Mbr;
use crate::units::{Lba, SectorSize};

/// First sector that a partition may have on a disk with a GPT in sectors of 512 bytes: behind LBA 0, header and 32 sectors of entries.
const FIRST_USABLE: u64 = 34;

/// What the disk has.
pub(super) enum OldTable {
    /// An MBR, and its partitions as entries of a GPT.
    Mbr {
        /// LBA 0.
        mbr: Box<Mbr>,
        /// With the numbers they had.
        partitions: Vec<Partition>,
        /// What one should know about them.
        notes: Vec<String>,
    },
    /// A GPT, which stays.
    Gpt {
        /// LBA 0.
        mbr: Box<Mbr>,
        /// The table.
        gpt: Box<Gpt>,
    },
}

impl OldTable {
    /// Read it, and say all that stands in the way.
    pub fn read(disk: &DiskRef, i: &Inspection) -> Result<OldTable, Refusal> {
        if i.geometry.sector != SectorSize::B512 {
            let text = "The disk has 4096-byte sectors: a BIOS counts in sectors of 512, so it is no Generation 1 disk.";
            return Err(no("sector-4096", text, ""));
        }
        let mbr = Mbr::parse(disk.as_ref()).map_err(|e| no("unreadable", e.to_string(), ""))?;
        if i.table.kind == TableKind::Mbr {
            return from_mbr(disk, mbr);
        }
        match Gpt::parse(disk.as_ref()) {
            Ok(Some(gpt)) => Ok(OldTable::Gpt { mbr: Box::new(mbr), gpt: Box::new(gpt) }),
            Ok(None) => Err(no("no-table", "No partition table was found.", "")),
            Err(e) => Err(no("unreadable", e.to_string(), "")),
        }
    }

    /// The partitions of the new table, but for the ESP.
    pub fn partitions(&self) -> &[Partition] {
        match self {
            OldTable::Mbr { partitions, .. } => partitions,
            OldTable::Gpt { gpt, .. } => &gpt.partitions,
        }
    }

    /// What new identifiers are derived from.
    pub fn seed(&self) -> Vec<u8> {
        match self {
            // Signature and entries; many an image builder leaves the signature at 0.
            OldTable::Mbr { mbr, .. } => mbr.to_bytes().to_vec(),
            OldTable::Gpt { gpt, .. } => gpt.disk_guid.to_disk().to_vec(),
        }
    }
}

fn from_mbr(disk: &DiskRef, mbr: Mbr) -> Result<OldTable, Refusal> {
    let old = logical::partitions(disk.as_ref(), &mbr).map_err(|e| {
        no(
            "logical-unreadable",
            format!("The logical partitions cannot be told: {e}."),
            "Repair the table with fdisk on a copy of the disk first.",
        )
    })?;
    check(&old, disk.geometry().len.get() / SectorSize::B512.bytes())?;
    let seed = mbr.to_bytes();
    let mut notes = Vec::new();
    let mut one = |old: &Old| {
        let type_guid = type_of(old.kind).unwrap_or_else(|| {
            notes.push(format!(
                "partition {} has the MBR type {:#04x}, which no GPT type stands for: it becomes a Linux file system",
                old.number, old.kind
            ));
            gpt::TYPE_LINUX
        });
        Partition {
            index: old.number,
            type_guid,
            unique_guid: ids::guid(&seed, For::Partition(old.number)),
            first: Lba(old.first),
            // `check` has refused empty ones.
            last: Lba(old.first.saturating_add(old.sectors.saturating_sub(1))),
            attrs: 0,
            name: String::new(),
        }
    };
    let partitions = old.iter().map(&mut one).collect();
    Ok(OldTable::Mbr { mbr: Box::new(mbr), partitions, notes })
}

/// That the partitions can stay where they are.
fn check(old: &[Old], sectors: u64) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(Direction::ToGen2);
    let mut sorted: Vec<&Old> = old.iter().collect();
    sorted.sort_by_key(|o| o.first);
    let mut reach: Option<(u64, u32)> = None;
    for o in sorted {
        let end = o.first.saturating_add(o.sectors);
        if o.first < FIRST_USABLE {
            refusal.add(
                "no-room-for-gpt",
                format!("Partition {} begins at LBA {}; a GPT needs the sectors before LBA {FIRST_USABLE}, and no partition is moved.", o.number, o.first),
                "Move the partition on a copy of the disk, or leave the machine Generation 1.",
            );
        }
        if end > sectors {
            refusal.add(
                "partition-beyond-end",
                format!("Partition {} reaches beyond the end of the disk.", o.number),
                "The disk was cut short; use a complete copy.",
            );
        }
        if let Some((_, other)) = reach.filter(|(far, _)| o.first < *far) {
            refusal.add(
                "partitions-overlap",
                format!("Partitions {other} and {} share sectors.", o.number),
                "Repair the table with fdisk on a copy of the disk first.",
            );
        }
        if reach.is_none_or(|(far, _)| end > far) {
            reach = Some((end, o.number));
        }
    }
    refusal.or_ok()
}

/// The GPT type that means the same as an MBR type.
fn type_of(kind: u8) -> Option<Guid> {
    Some(match kind {
        0x83 => gpt::TYPE_LINUX,
        0x82 => gpt::TYPE_LINUX_SWAP,
        0x8e => gpt::TYPE_LINUX_LVM,
        0xfd => gpt::TYPE_LINUX_RAID,
        // A logical ESP (0xef) is none to firmware: a primary one would have been refused before.
        0x01 | 0x04 | 0x06 | 0x07 | 0x0b | 0x0c | 0x0e | 0xef => gpt::TYPE_MICROSOFT_BASIC,
        0x27 => gpt::TYPE_WINDOWS_RECOVERY,
        _ => return None,
    })
}
