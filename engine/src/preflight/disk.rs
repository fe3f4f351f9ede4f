//! Questions about the disk itself: its length, its partitions, its container.

use super::Facts;
use super::check::{Check, Told, fires, unclear};
use crate::container::{Format, OutFormat};
use crate::guest::{Inspection, Partition, size};
use crate::table::gpt::{TYPE_MICROSOFT_BASIC, TYPE_MICROSOFT_RESERVED};
use crate::table::guid::Guid;
use crate::units::{MIB, SectorSize};
use crate::volume::FsKind;

/// Logical Disk Manager, metadata and data: a dynamic disk. Microsoft, `PARTITION_INFORMATION_GPT`.
const LDM: [Guid; 2] = [
    Guid::from_digits(0x5808C8AA_7E8F_42E0_85D2_E1E90434CFB3),
    Guid::from_digits(0xAF9B60A0_1431_4F62_BC68_3311714A69AD),
];
/// The same under an MBR.
const LDM_MBR: &str = "0x42";
/// Storage Spaces, ibidem.
const STORAGE_SPACES: [Guid; 1] = [Guid::from_digits(0xE75CAF8F_F680_4CEE_AFA3_B001E56EFC2D)];

pub(super) fn ask(check: Check, facts: &Facts) -> Vec<Told> {
    let subject = facts.subject;
    let i = &subject.guest.inspection;
    let len = i.geometry.len.get();
    // Of a disk near 2^64 bytes nothing here asks more than whether it is too long.
    let rounded = len.checked_next_multiple_of(MIB).unwrap_or(u64::MAX);
    match check {
        // Every limit is whole MiB, so that rounding up takes no disk beyond it.
        Check::LongerThan { bytes, .. } if len > bytes => fires(size(len)),
        Check::LongerThan { unclear_from, .. } if len >= unclear_from => {
            unclear(format!("{len} bytes, and no source says whether a GB is 10^9 or 2^30 bytes"))
        }
        Check::ShorterThan(bytes) if rounded < bytes => fires(size(len)),
        Check::OddLength if rounded != len => fires(format!(
            "{len} bytes, which become {rounded} bytes ({} more, at the end)",
            rounded.saturating_sub(len)
        )),
        Check::NoTable if i.partitions.is_empty() => fires("no partition"),
        Check::MorePartitions(most) if i.partitions.len() > most => {
            fires(format!("{} partitions", i.partitions.len()))
        }
        Check::MoreDataVolumes(most) => data_volumes(i, most),
        Check::DynamicDisk => listed(i, "dynamic disk data", |p| of_type(p, &LDM) || p.type_id == LDM_MBR),
        Check::StorageSpaces => listed(i, "Storage Spaces", |p| of_type(p, &STORAGE_SPACES)),
        Check::Encrypted => listed(i, "encryption", |p| has(p, &[FsKind::BitLocker, FsKind::Luks])),
        Check::Lvm => listed(i, "LVM", |p| has(p, &[FsKind::Lvm])),
        Check::Sectors4Kn if i.geometry.sector == SectorSize::B4096 => {
            match subject.container.and_then(|c| c.physical_sector) {
                Some(SectorSize::B512) => Vec::new(),
                Some(SectorSize::B4096) => fires("4096 bytes, logical and physical"),
                None => fires("4096 bytes; the container does not record the physical size"),
            }
        }
        Check::LogicalSectors4096 if i.geometry.sector == SectorSize::B4096 => fires("4096 bytes"),
        Check::NotVhdx => match subject.container {
            Some(c) if c.format != Format::Vhdx => fires(format!("{}, perhaps made from one", c.format)),
            _ => Vec::new(),
        },
        Check::ResultNotFixedVhd => match subject.result {
            Some(format) if format != OutFormat::FixedVhd => fires(out_name(format)),
            _ => Vec::new(),
        },
        Check::NotNtfs => not_ntfs(i),
        _ => Vec::new(),
    }
}

fn out_name(format: OutFormat) -> &'static str {
    match format {
        OutFormat::FixedVhd => "a fixed VHD",
        OutFormat::DynamicVhd => "a dynamic VHD",
        OutFormat::Raw => "a raw image",
        OutFormat::DynamicVhdx => "a dynamic VHDX",
        OutFormat::FixedVhdx => "a fixed VHDX",
        OutFormat::Qcow2 => "a qcow2",
    }
}

/// The source counts "data volumes" that the OS disk may include besides the one of Windows, or with it; it does not say.
fn data_volumes(i: &Inspection, most: usize) -> Vec<Told> {
    let data = i.partitions.iter().filter(|p| of_type(p, &[TYPE_MICROSOFT_BASIC])).count();
    match data {
        n if n <= most => Vec::new(),
        n if n == most.saturating_add(1) => unclear(format!(
            "{n} basic data partitions, and no source says whether the one of Windows counts among them"
        )),
        n => fires(format!("{n} basic data partitions")),
    }
}

fn not_ntfs(i: &Inspection) -> Vec<Told> {
    let volumes: Vec<&Partition> =
        i.partitions.iter().filter(|p| !p.is_esp && !of_type(p, &[TYPE_MICROSOFT_RESERVED])).collect();
    let others: Vec<String> = volumes
        .iter()
        .filter_map(|p| Some((p.number, p.fs.as_ref().filter(|fs| fs.kind != FsKind::Ntfs)?)))
        .map(|(number, fs)| format!("{} on partition {number}", fs.kind))
        .collect();
    match volumes.iter().find(|p| p.fs.is_none()) {
        _ if !others.is_empty() => fires(others.join(", ")),
        Some(p) => unclear(format!("no file system was recognised on partition {}", p.number)),
        None => Vec::new(),
    }
}

fn listed(i: &Inspection, what: &str, is: impl Fn(&Partition) -> bool) -> Vec<Told> {
    let numbers: Vec<String> = i.partitions.iter().filter(|p| is(p)).map(|p| p.number.to_string()).collect();
    match numbers.len() {
        0 => Vec::new(),
        1 => fires(format!("{what} on partition {}", numbers.join(""))),
        _ => fires(format!("{what} on partitions {}", numbers.join(", "))),
    }
}

fn of_type(p: &Partition, types: &[Guid]) -> bool {
    p.type_id.parse::<Guid>().is_ok_and(|id| types.contains(&id))
}

fn has(p: &Partition, kinds: &[FsKind]) -> bool {
    p.fs.as_ref().is_some_and(|fs| kinds.contains(&fs.kind))
}
