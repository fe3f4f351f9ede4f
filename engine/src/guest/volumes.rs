//! Logical volumes of the groups that lie on a disk's partitions.

use super::findings::Findings;
use super::inspect::{Mounted, file_system, slice};
use super::{FileSystem, FsPlace, Partition};
use crate::disk::DiskRef;
use crate::units::ByteLen;
use crate::volume::FsKind;
use crate::volume::lvm::{self, Group, Lv, LvKind, Member, Physical};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most logical volumes that are looked into.
const LOOKED_INTO_MAX: usize = 256;

/// A logical volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// Its volume group.
    pub group: String,
    /// Id of the group: GRUB's `lvmid/GROUP_ID/ID`.
    pub group_id: String,
    /// Its name in the group.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What it is made of.
    pub kind: LvKind,
    /// Length; 0 when the metadata contradicts itself.
    pub len: ByteLen,
    /// Numbers of the partitions that it lies on, in the order of its bytes; empty for what lies on other volumes, as thin ones do.
    pub partitions: Vec<u32>,
    /// What lies in it, when it could be looked into.
    pub fs: Option<FileSystem>,
    /// Why it is not looked into.
    pub problem: Option<String>,
}

impl LogicalVolume {
    /// `GROUP/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// Where its file system is.
    pub fn place(&self) -> FsPlace {
        let partition = self.partitions.first().copied().unwrap_or_default();
        FsPlace { partition, lv: Some(self.full_name()) }
    }
}

/// Find the groups on those of `partitions` that are physical volumes, complete what is said of these, and open the file systems.
pub(super) fn look(
    disk: &DiskRef,
    partitions: &mut [Partition],
    findings: &mut Findings,
) -> (Vec<LogicalVolume>, Vec<Mounted>) {
    let is_lvm = |p: &Partition| p.fs.as_ref().is_some_and(|fs| fs.kind == FsKind::Lvm);
    let mut slices = Vec::new();
    let mut holders: Vec<&mut Partition> = Vec::new();
    for partition in partitions.iter_mut().filter(|p| is_lvm(p)) {
        if let Ok(slice) = slice(disk, partition.at, partition.len) {
            slices.push(slice);
            holders.push(partition);
        }
    }
    let found = lvm::look(&slices);
    for (partition, physical) in holders.iter_mut().zip(&found.physical) {
        describe(partition, physical, &found.groups, findings);
    }
    let numbers: Vec<u32> = holders.iter().map(|p| p.number).collect();
    let (mut volumes, mut mounted, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for group in &found.groups {
        if !group.missing.is_empty() {
            let ids: Vec<String> = group.missing.iter().map(ToString::to_string).collect();
            findings.warning(
                "lvm-pv-missing",
                format!(
                    "The volume group {} has physical volumes that are not on this disk, are there twice, or were given up: {}.",
                    group.name,
                    ids.join(", ")
                ),
                "Drill the disks together.",
            );
        }
        for lv in &group.logical {
            let mut volume = described(group, lv, &numbers);
            let content = if !names.insert(volume.full_name()) {
                Err("another logical volume has the same name".to_string())
            } else if volumes.len() >= LOOKED_INTO_MAX {
                Err(format!("only the first {LOOKED_INTO_MAX} logical volumes are looked into"))
            } else {
                lv.content.as_ref().map_err(ToString::to_string)
            };
            match content {
                Ok(content) => {
                    let at = volume.place();
                    let (fs, opened) = file_system(content, &at, findings);
                    volume.fs = fs;
                    mounted.extend(opened.map(|volume| Mounted { at, volume }));
                }
                Err(why) => volume.problem = Some(why),
            }
            volumes.push(volume);
        }
    }
    (volumes, mounted)
}

fn described(group: &Group, lv: &Lv, numbers: &[u32]) -> LogicalVolume {
    LogicalVolume {
        group: group.name.clone(),
        group_id: group.id.to_string(),
        name: lv.name.clone(),
        id: lv.id.to_string(),
        kind: lv.kind,
        len: lv.len,
        partitions: lv.on.iter().filter_map(|index| numbers.get(*index).copied()).collect(),
        fs: None,
        problem: None,
    }
}

/// A physical volume has no problem when all that is on it is known.
fn describe(partition: &mut Partition, physical: &Physical, groups: &[Group], findings: &mut Findings) {
    let number = partition.number;
    let why = physical.damaged.first().map(ToString::to_string).unwrap_or_default();
    let problem = match &physical.member {
        Member::Unreadable => {
            findings.warning(
                "lvm-unreadable",
                format!("The LVM physical volume on partition {number} cannot be read: {why}."),
                "Check it with pvck on a copy of the disk.",
            );
            Some(why)
        }
        Member::Elsewhere => {
            let text = "the metadata of its volume group is not on this disk";
            findings.warning(
                "lvm-group-elsewhere",
                format!("Partition {number} is an LVM physical volume, but {text}."),
                "Drill the disks together.",
            );
            Some(text.to_string())
        }
        Member::Left(group) => {
            findings.note(
                "lvm-left",
                format!("The volume group {group} has gone on without its former physical volume on partition {number}."),
                "",
            );
            None
        }
        Member::Of(group) => {
            if let Some(group) = groups.get(*group).filter(|_| !why.is_empty()) {
                findings.warning(
                    "lvm-copy-damaged",
                    format!(
                        "A copy of the metadata of the volume group {} on partition {number} is damaged: {why}. Another copy was used.",
                        group.name
                    ),
                    format!("Run `vgck --updatemetadata {}` inside the guest.", group.name),
                );
            }
            None
        }
        Member::Free => None,
    };
    if let Some(fs) = &mut partition.fs {
        fs.uuid = physical.id.map(|id| id.to_string());
        fs.problem = problem;
    }
}
