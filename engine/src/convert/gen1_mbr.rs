//! LBA 0 as a real MBR: the same partitions, by BIOS types, the ESP active.

use super::plan::{Direction, Refusal};
use super::steps::discoverable_root;
use crate::boot::{BOOT_CODE_LEN, SECTOR};
use crate::disk::Geometry;
use crate::guest::{Inspection, Partition};
use crate::table::gpt;
use crate::table::guid::Guid;
use crate::table::mbr::{Mbr, MbrEntry, MbrKind};
use crate::volume::FsKind;

/// Sectors that an MBR can count: 2 TiB.
const SECTORS_MAX: u64 = u32::MAX as u64;

/// LBA 0, but for its boot code.
pub(super) fn real_mbr(i: &Inspection, to: Geometry) -> Result<Mbr, Refusal> {
    let mut no = Refusal::new(Direction::ToGen1);
    if i.partitions.len() > 4 {
        let text = format!("The disk has {} partitions; an MBR has room for 4.", i.partitions.len());
        no.add("mbr-too-many", text, "Keep the GPT (--table gpt).");
    }
    if to.len.get() / SECTOR > SECTORS_MAX {
        no.add(
            "mbr-too-long",
            "The disk is longer than 2 TiB, which an MBR cannot count.",
            "Keep the GPT (--table gpt).",
        );
    }
    // With the GPT kept these two are only worth a warning: the ids stay.
    for id in ["root-by-partuuid", "fstab-by-partuuid"] {
        if let Some(finding) = i.finding(id) {
            no.add(id, finding.text.clone(), finding.fix.clone());
        }
    }
    let names_no_root =
        i.boot.as_ref().and_then(|b| b.default_entry()).is_some_and(|e| e.option("root").is_none());
    if names_no_root && discoverable_root(i).is_some() {
        no.add(
            "root-by-type",
            "The root is found by its partition's type, which an MBR has no room for.",
            "Keep the GPT (--table gpt).",
        );
    }
    let mut entries = [MbrEntry::default(); 4];
    for (slot, partition) in entries.iter_mut().zip(&i.partitions) {
        match entry(partition) {
            Some(e) => *slot = e,
            None => no.add(
                "mbr-too-long",
                format!("Partition {} reaches beyond 2 TiB.", partition.number),
                "Keep the GPT.",
            ),
        }
    }
    no.or_ok()?;
    // Linux names partitions by this number, so it must not be 0; derived from the GPT's id, equal disks give equal plans.
    let id = i.table.disk_id.clone().unwrap_or_default();
    let hash = blake3::hash(id.as_bytes());
    let signature = hash.as_bytes().first_chunk().map_or(1, |b| u32::from_le_bytes(*b)).max(1);
    Ok(Mbr {
        kind: MbrKind::Real,
        boot_code: [0; BOOT_CODE_LEN],
        disk_signature: signature,
        reserved: 0,
        entries,
        has_signature: true,
    })
}

fn entry(p: &Partition) -> Option<MbrEntry> {
    let first = u32::try_from(p.at.get() / SECTOR).ok()?;
    let sectors = u32::try_from(p.len.get() / SECTOR).ok()?;
    first.checked_add(sectors)?;
    Some(MbrEntry::new(kind(p), p.is_esp, first, sectors))
}

fn kind(p: &Partition) -> u8 {
    match p.type_id.parse::<Guid>() {
        // FAT32 with LBA: UEFI firmware looks for \EFI\BOOT on it as well, and a BIOS starts from it.
        Ok(gpt::TYPE_ESP) => 0x0c,
        Ok(gpt::TYPE_LINUX_SWAP) => 0x82,
        Ok(gpt::TYPE_LINUX_LVM) => 0x8e,
        Ok(gpt::TYPE_MICROSOFT_BASIC | gpt::TYPE_WINDOWS_RECOVERY) => 0x07,
        _ if p.fs.as_ref().is_some_and(|f| f.kind == FsKind::Raid) => 0xfd,
        _ => 0x83,
    }
}
