//! For which disks a guest has a driver when it looks for its root.

use super::equipment::equip;
use super::{Presence, starts};
use crate::guest::Guest;
use serde::{Deserialize, Serialize};

/// Modules that drive a disk, or stand between a disk and its driver. `sd_mod` makes a disk of what a SCSI or ATA driver finds.
pub const DISK_DRIVERS: &[&str] = &[
    "sd_mod",
    "ata_piix",
    "ata_generic",
    "pata_acpi",
    "ahci",
    "virtio_pci",
    "virtio_scsi",
    "virtio_blk",
    "hv_vmbus",
    "hv_storvsc",
    "nvme",
    "mptspi",
    "vmw_pvscsi",
];

/// What the default start has of [`DISK_DRIVERS`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drivers {
    /// The start that was looked at; `None` when none was found, and then nothing is known.
    pub start: Option<String>,
    /// Each, with whether it is there.
    pub found: Vec<(String, Presence)>,
}

/// Look at what the default start has. What cannot be told is [`Presence::Unknown`].
pub fn drivers(guest: &Guest) -> Drivers {
    let mut first = starts(guest);
    first.truncate(1);
    match equip(guest, first).pop() {
        Some(equipment) => Drivers {
            found: DISK_DRIVERS.iter().map(|m| ((*m).to_string(), equipment.has(m))).collect(),
            start: Some(equipment.start.title),
        },
        None => Drivers::unknown("no boot entry was found that could be looked into"),
    }
}

impl Drivers {
    /// Nothing is known, for this reason.
    pub fn unknown(why: &str) -> Drivers {
        let unknown = || Presence::Unknown { why: why.to_string() };
        Drivers { start: None, found: DISK_DRIVERS.iter().map(|m| ((*m).to_string(), unknown())).collect() }
    }

    /// Whether `module` is there.
    pub fn of(&self, module: &str) -> Presence {
        let found = self.found.iter().find(|(name, _)| name == module).map(|(_, presence)| presence.clone());
        found.unwrap_or_else(|| Presence::Unknown { why: format!("{module} was not looked for") })
    }

    /// Whether all of these are there: the worst of them, a known absence before an unknown.
    pub fn all_of(&self, modules: &[&str]) -> Presence {
        let rank = |p: &Presence| match p {
            Presence::Missing => 0,
            Presence::Unknown { .. } => 1,
            Presence::Initramfs => 2,
            Presence::BuiltIn => 3,
        };
        let found = modules.iter().map(|m| self.of(m));
        found.min_by_key(rank).unwrap_or(Presence::BuiltIn)
    }
}
