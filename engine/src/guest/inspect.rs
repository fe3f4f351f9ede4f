//! The walk over a disk: table, partitions, file systems, system, loaders.

use super::findings::Findings;
use super::{
    FileSystem, FsPlace, GptCopies, Inspection, Partition, Table, TableKind, chain, loaders, os, volumes,
};
use crate::disk::{DiskRef, ReadError, Slice};
use crate::table::gpt::{self, Gpt, GptError};
use crate::table::guid::Guid;
use crate::table::mbr::{Mbr, MbrKind, TYPE_ESP, TYPE_PROTECTIVE};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use crate::volume::{self, FsKind, Journal, Volume, VolumeError};
use std::sync::Arc;

/// Most partitions that are looked into.
const PARTITION_MAX: usize = 128;

/// A disk that was looked at, with its file systems open for a further look.
pub struct Guest {
    /// The disk.
    pub disk: DiskRef,
    /// What was found.
    pub inspection: Inspection,
    /// Each file system that could be opened.
    pub mounted: Vec<Mounted>,
}

/// An opened file system beside where it is.
pub struct Mounted {
    /// Where.
    pub at: FsPlace,
    /// The file system.
    pub volume: Box<dyn Volume>,
}

impl Guest {
    /// The file system at `place`, when it could be opened.
    pub fn volume(&self, place: &FsPlace) -> Option<&dyn Volume> {
        on(&self.mounted, place)
    }

    /// The root file system and the folder of it that becomes `/` (empty but for a btrfs subvolume).
    pub fn root(&self) -> Option<(&dyn Volume, &str)> {
        let os = self.inspection.os.as_ref()?;
        Some((self.volume(os.place.as_ref()?)?, os.root.as_str()))
    }

    /// The EFI system partition's file system.
    pub fn esp(&self) -> Option<&dyn Volume> {
        self.volume(&FsPlace::partition(self.inspection.esp()?.number))
    }
}

/// The file system at `place` among those that are open.
pub(super) fn on<'a>(mounted: &'a [Mounted], place: &FsPlace) -> Option<&'a dyn Volume> {
    mounted.iter().find(|m| m.at == *place).map(|m| m.volume.as_ref())
}

/// Nothing is wrong with such a disk.
const SECTOR_4096: &str = "The disk has 4096-byte sectors. A BIOS counts in sectors of 512: a Generation 1 copy gets a table of those, and every partition keeps its bytes.";

/// Look at a whole disk.
///
/// # Errors
/// Only when the first sectors cannot be read at all. Whatever is damaged further on becomes a finding.
pub fn inspect(disk: &DiskRef) -> Result<Inspection, ReadError> {
    Ok(look(disk)?.inspection)
}

/// As [`inspect`], and keep the file systems open.
///
/// # Errors
/// As for [`inspect`].
pub fn look(disk: &DiskRef) -> Result<Guest, ReadError> {
    let mut findings = Findings::default();
    let geometry = disk.geometry();
    if geometry.sector == SectorSize::B4096 {
        findings.note("sector-4096", SECTOR_4096, "");
    }
    let (table, mut partitions) = tables(disk, &mut findings)?;
    let mut mounted = Vec::new();
    for partition in partitions.iter_mut().take(PARTITION_MAX) {
        let at = FsPlace::partition(partition.number);
        let Ok(slice) = slice(disk, partition.at, partition.len) else {
            findings.blocker(
                "partition-beyond-end",
                format!("Partition {} reaches beyond the end of the disk.", partition.number),
                "The disk was cut short; use a complete copy.",
            );
            continue;
        };
        let (fs, volume) = file_system(&slice, &at, &mut findings);
        partition.fs = fs;
        mounted.extend(volume.map(|volume| Mounted { at, volume }));
    }
    let (logical_volumes, in_volumes) = volumes::look(disk, &mut partitions, &mut findings);
    mounted.extend(in_volumes);
    mark_esp(table.kind, &mut partitions, &mounted);
    let esp = partitions.iter().find(|p| p.is_esp).map(|p| FsPlace::partition(p.number));
    let esp_volume = esp.and_then(|place| on(&mounted, &place));
    let loaders = esp_volume.map(loaders::find).unwrap_or_default();
    let mut system = mounted.iter().find_map(|m| os::on_volume(m.volume.as_ref(), &m.at));
    if system.is_none() && loaders.iter().any(|l| l.kind == loaders::LoaderKind::Windows) {
        system = Some(os::windows_on(None));
    }
    let mut inspection = Inspection {
        geometry,
        table,
        partitions,
        logical_volumes,
        os: system,
        loaders,
        stub: None,
        menu: None,
        boot: None,
        uefi_start: super::Starts::Unknown { why: String::new() },
        bios_start: super::Starts::Unknown { why: String::new() },
        findings: Vec::new(),
    };
    chain::follow(disk, &mut inspection, &mounted, &mut findings);
    inspection.findings = findings.sorted();
    Ok(Guest { disk: disk.clone(), inspection, mounted })
}

fn tables(disk: &DiskRef, findings: &mut Findings) -> Result<(Table, Vec<Partition>), ReadError> {
    let sector = disk.geometry().sector;
    let mbr = if disk.geometry().len.get() < 512 { None } else { Some(Mbr::parse(disk.as_ref())?) };
    let kind = mbr.as_ref().map_or(MbrKind::None, |m| m.kind);
    let (gpt, copies) = match Gpt::parse(disk.as_ref()) {
        Ok(Some(gpt)) => {
            let copies = GptCopies {
                primary_valid: gpt.primary.is_valid(),
                primary: gpt.primary.verdict.to_string(),
                backup_valid: gpt.backup.is_valid(),
                backup: gpt.backup.verdict.to_string(),
                problems: gpt.findings.iter().map(ToString::to_string).collect(),
                primary_end: Some(gpt.primary_end().get()),
            };
            (Some(gpt), Some(copies))
        }
        Ok(None) => (None, None),
        Err(GptError::BothDamaged { primary, backup }) => {
            let copies = GptCopies {
                primary_valid: false,
                primary: primary.verdict.to_string(),
                backup_valid: false,
                backup: backup.verdict.to_string(),
                problems: Vec::new(),
                primary_end: None,
            };
            (None, Some(copies))
        }
        Err(GptError::Read(e)) => return Err(e),
    };
    let rules = match (kind, &copies) {
        (MbrKind::Real, _) if mbr.as_ref().is_some_and(|m| m.entries.iter().any(|e| e.is_used())) => {
            TableKind::Mbr
        }
        (MbrKind::Hybrid, Some(_)) => TableKind::Hybrid,
        (_, Some(_)) => TableKind::Gpt,
        _ => TableKind::None,
    };
    if rules != TableKind::Mbr {
        gpt_findings(copies.as_ref(), findings);
    }
    match rules {
        TableKind::None => findings.blocker("no-table", "No partition table was found.", ""),
        TableKind::Hybrid => findings.blocker(
            "mbr-hybrid",
            "The MBR holds real entries beside the protective one; UEFI and BIOS would see different disks.",
            "Remove the extra entries with gdisk (expert menu, \"make a new protective MBR\").",
        ),
        _ => {}
    }
    let (disk_id, partitions) = match (rules, mbr, gpt) {
        (TableKind::Mbr, Some(mbr), _) => {
            (Some(format!("{:08x}", mbr.disk_signature)), mbr_partitions(&mbr, sector))
        }
        (TableKind::Gpt | TableKind::Hybrid, _, Some(gpt)) => {
            (Some(gpt.disk_guid.to_string()), gpt_partitions(&gpt, sector))
        }
        _ => (None, Vec::new()),
    };
    Ok((Table { kind: rules, disk_id, gpt: copies }, partitions))
}

fn gpt_findings(copies: Option<&GptCopies>, findings: &mut Findings) {
    let Some(copies) = copies else { return };
    let repair =
        "Repair the table first: `gdisk DISK`, then `r` and `b` (or `sgdisk -e`), on a copy of the disk.";
    if !copies.primary_valid {
        findings.blocker(
            "gpt-crc-primary",
            format!("The primary GPT cannot be used: {}.", copies.primary),
            repair,
        );
    }
    if !copies.backup_valid {
        findings.blocker(
            "gpt-crc-backup",
            format!("The backup GPT cannot be used: {}.", copies.backup),
            repair,
        );
    }
    for problem in &copies.problems {
        findings.blocker("gpt-shape", format!("GPT: {problem}."), repair);
    }
}

fn gpt_partitions(gpt: &Gpt, sector: SectorSize) -> Vec<Partition> {
    let one = |p: &gpt::Partition| {
        let (at, len) = p.byte_range(sector)?;
        Some(Partition {
            number: p.index,
            type_id: p.type_guid.to_string(),
            type_name: gpt_type_name(p.type_guid).to_string(),
            name: (!p.name.is_empty()).then(|| p.name.clone()),
            part_uuid: Some(p.unique_guid.to_string().to_lowercase()),
            attributes: Some(p.attrs),
            at,
            len,
            active: false,
            is_esp: p.type_guid == gpt::TYPE_ESP,
            fs: None,
        })
    };
    gpt.partitions.iter().filter_map(one).collect()
}

fn mbr_partitions(mbr: &Mbr, sector: SectorSize) -> Vec<Partition> {
    let used = (1u32..).zip(&mbr.entries).filter(|(_, e)| e.is_used() && e.kind != TYPE_PROTECTIVE);
    used.map(|(number, entry)| {
        let (at, len) = Mbr::byte_range(entry, sector);
        Partition {
            number,
            type_id: format!("{:#04x}", entry.kind),
            type_name: mbr_type_name(entry.kind).to_string(),
            name: None,
            part_uuid: Some(format!("{:08x}-{number:02x}", mbr.disk_signature)),
            attributes: None,
            at,
            len,
            active: entry.is_active(),
            is_esp: entry.kind == TYPE_ESP,
            fs: None,
        }
    })
    .collect()
}

/// Under an MBR, UEFI firmware also looks on plain FAT partitions (UEFI 2.10 §13.3.1), and that is how a converted disk keeps its ESP.
fn mark_esp(kind: TableKind, partitions: &mut [Partition], mounted: &[Mounted]) {
    if kind != TableKind::Mbr || partitions.iter().any(|p| p.is_esp) {
        return;
    }
    let holds_efi = |p: &Partition| {
        let fat = p.fs.as_ref().is_some_and(|f| f.kind == FsKind::Fat);
        let volume = on(mounted, &FsPlace::partition(p.number));
        fat && volume.is_some_and(|v| v.exists("/EFI").unwrap_or(false))
    };
    if let Some(esp) = partitions.iter_mut().find(|p| holds_efi(p)) {
        esp.is_esp = true;
    }
}

/// What lies on `slice`, which is at `at`, and the file system when it can be opened.
pub(super) fn file_system(
    slice: &DiskRef,
    at: &FsPlace,
    findings: &mut Findings,
) -> (Option<FileSystem>, Option<Box<dyn Volume>>) {
    let probe = match volume::probe(slice.as_ref()) {
        Ok(Some(probe)) => probe,
        Ok(None) => return (None, None),
        Err(e) => {
            findings.warning(
                "partition-unreadable",
                format!("The beginning of {at} cannot be read: {e}."),
                "",
            );
            return (None, None);
        }
    };
    let mut fs = FileSystem {
        kind: probe.kind,
        uuid: probe.uuid,
        label: probe.label,
        subvolume: None,
        journal: None,
        problem: None,
    };
    match volume::open(slice) {
        Ok(volume) => {
            let journal = volume.journal();
            fs.label = fs.label.or_else(|| volume.label());
            fs.subvolume = volume.subvolume();
            match &journal {
                Journal::Clean => {}
                Journal::Replayed { .. } => findings.note(
                    "journal-replayed",
                    format!("The file system on {at} was not unmounted; its journal was replayed in memory for this look."),
                    "",
                ),
                Journal::Dirty => findings.note(
                    "volume-dirty",
                    format!("The {} volume on {at} is marked as in use.", fs.kind),
                    "The guest checks it at its next start.",
                ),
                Journal::Unreadable { why } => findings.warning(
                    "journal-unreadable",
                    format!("The journal on {at} could not be replayed ({why}); what was read may be out of date."),
                    "Start the guest once, or run fsck on a copy.",
                ),
            }
            fs.journal = Some(journal);
            (Some(fs), Some(volume))
        }
        Err(VolumeError::Unsupported(kind)) => {
            fs.problem = Some(format!("{kind} is recognised but not looked into"));
            (Some(fs), None)
        }
        Err(e) => {
            findings.warning(
                "file-system-unreadable",
                format!("The file system on {at} cannot be opened: {e}."),
                "Check it with fsck on a copy of the disk.",
            );
            fs.problem = Some(e.to_string());
            (Some(fs), None)
        }
    }
}

pub(super) fn slice(disk: &DiskRef, at: ByteOffset, len: ByteLen) -> Result<DiskRef, ReadError> {
    Ok(Arc::new(Slice::new(disk.clone(), at, len)?))
}

fn gpt_type_name(id: Guid) -> &'static str {
    match id {
        gpt::TYPE_ESP => "EFI system partition",
        gpt::TYPE_BIOS_BOOT => "BIOS boot",
        gpt::TYPE_LINUX => "Linux file system",
        gpt::TYPE_LINUX_SWAP => "Linux swap",
        gpt::TYPE_LINUX_LVM => "Linux LVM",
        gpt::TYPE_LINUX_ROOT_X86_64 => "Linux root (x86-64)",
        gpt::TYPE_XBOOTLDR => "extended boot loader",
        gpt::TYPE_MICROSOFT_RESERVED => "Microsoft reserved",
        gpt::TYPE_MICROSOFT_BASIC => "Microsoft basic data",
        gpt::TYPE_WINDOWS_RECOVERY => "Windows recovery",
        _ => "unknown type",
    }
}

fn mbr_type_name(kind: u8) -> &'static str {
    match kind {
        0x05 | 0x0f | 0x85 => "extended",
        0x07 => "NTFS or exFAT",
        0x0b | 0x0c => "FAT32",
        0x04 | 0x06 | 0x0e => "FAT16",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        TYPE_ESP => "EFI system partition",
        _ => "unknown type",
    }
}
