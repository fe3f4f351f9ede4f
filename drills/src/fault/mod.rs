//! Planted faults: named ways in which a disk does not start, and by what each must be caught.
//!
//! ```text
//! catalogue (rows of data) ─► a row's change ─► Ground (the disk, looked at) ─► plain writes ─► Overlay: the broken twin
//!                                               containers ─► a small container of the disk's beginning, damaged as a file
//! ```
//! A fault is planted by meaning: the file, partition or sector is found by the engine's readers, so that a row fits any disk that has what it
//! breaks; one that has not is refused with the reason. The image that was given never changes: a fault is an overlay, or a file of its own.

mod blocks;
mod catalogue;
mod code;
mod container;
mod ext;
mod files;
mod ground;
mod judge;
mod loader;
mod partitions;
mod trace;

#[cfg(test)]
mod tests;

pub use catalogue::FAULTS;
pub(crate) use container::Specimen;
use ground::Ground;
pub(crate) use judge::judge;
pub use judge::{Judgement, Seen};

use crate::script::stage::Done;
use crate::script::{VerbError, VerbOutcome as Outcome};
use engine::container::OutFormat;
use engine::disk::{DiskRef, Overlay, ReadError, Write};
use engine::volume::VolumeError;
use qemu::{Generation, Rung};
use std::sync::Arc;

/// One fault.
pub struct Fault {
    /// The name that scenarios and the command line use.
    pub name: &'static str,
    /// What it does to the disk.
    pub what: &'static str,
    /// What it breaks.
    pub area: Area,
    /// Which machines it concerns: the Generation 2 source, its Generation 1 copy.
    pub on: &'static [Generation],
    /// What must catch it.
    pub caught: Caught,
    plant: Plant,
}

/// What a fault breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// The partition table.
    Table,
    /// Boot code, and GRUB's core behind it.
    BootCode,
    /// What the firmware starts from the EFI system partition.
    Loader,
    /// Text that leads from the loader to the kernel.
    Configuration,
    /// The kernel's file.
    Kernel,
    /// The initial RAM file system.
    Initramfs,
    /// The root file system and what is on it.
    Root,
    /// Signatures.
    SecureBoot,
    /// The file around the disk.
    Container,
}

/// What must catch a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caught {
    /// The ladder of a boot, at this rung for one of these causes (ids of `qemu::ladder`; `unseen` for a boot whose end cannot be seen).
    Boot {
        /// The highest rung that may be reached.
        rung: Rung,
        /// Ids of causes, any of which is the fault's own.
        causes: &'static [&'static str],
        /// Whether the firmware enforces Secure Boot.
        secure_boot: bool,
        /// Whether its mark is that nothing more comes, so that the wait must run out before it is known.
        silent: bool,
    },
    /// The test failover refuses the disk in these words.
    Failover {
        /// A part of the refusal.
        says: &'static str,
    },
    /// The file does not open, in these words.
    Opening {
        /// A part of the refusal.
        says: &'static str,
    },
}

/// How a fault gets where it belongs.
enum Plant {
    /// Writes over the disk.
    Disk(fn(&Ground) -> Result<Vec<Write>, Misfit>),
    /// Damage to a container file.
    File { format: OutFormat, damage: container::Damage },
}

/// Why a fault does not fit a disk.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

impl Misfit {
    fn new(why: impl Into<String>) -> Misfit {
        Misfit(why.into())
    }
}

impl From<ReadError> for Misfit {
    fn from(e: ReadError) -> Misfit {
        Misfit(e.to_string())
    }
}

impl From<VolumeError> for Misfit {
    fn from(e: VolumeError) -> Misfit {
        Misfit(e.to_string())
    }
}

impl Area {
    /// The words for people.
    pub const fn word(self) -> &'static str {
        match self {
            Area::Table => "partition table",
            Area::BootCode => "boot code",
            Area::Loader => "loader",
            Area::Configuration => "configuration",
            Area::Kernel => "kernel",
            Area::Initramfs => "initramfs",
            Area::Root => "root file system",
            Area::SecureBoot => "Secure Boot",
            Area::Container => "container",
        }
    }
}

impl Fault {
    /// The fault of this name.
    pub fn named(name: &str) -> Option<&'static Fault> {
        FAULTS.iter().find(|f| f.name == name)
    }

    /// The format and the damage of a fault of the file around the disk.
    pub(crate) fn of_file(&self) -> Option<(OutFormat, container::Damage)> {
        match self.plant {
            Plant::File { format, damage } => Some((format, damage)),
            Plant::Disk(_) => None,
        }
    }

    /// The writes that plant it on this disk, sorted by offset.
    ///
    /// # Errors
    /// [`Misfit`] when the disk does not have what the fault breaks.
    pub fn writes(&self, disk: &DiskRef) -> Result<Vec<Write>, Misfit> {
        let Plant::Disk(change) = self.plant else {
            return Err(Misfit::new(
                "it is a fault of the file around a disk, not of the disk: drill selftest plants it in a small container",
            ));
        };
        let mut writes = change(&Ground::look(disk)?)?;
        writes.sort_by_key(|w| w.at);
        if writes.is_empty() {
            return Err(Misfit::new("nothing to change was found"));
        }
        Ok(writes)
    }
}

/// The disk with this fault in it.
///
/// # Errors
/// Refused when there is no such fault, or it does not fit this disk.
pub(crate) fn plant(disk: DiskRef, name: &str) -> Done<DiskRef> {
    let Some(fault) = Fault::named(name) else {
        let known: Vec<&str> = FAULTS.iter().map(|f| f.name).collect();
        return Err(VerbError::new(Outcome::Refused, format!("no fault is called {name}"))
            .with_next(format!("there are: {}", known.join(", "))));
    };
    let writes = fault.writes(&disk).map_err(|why| {
        VerbError::new(Outcome::Refused, format!("{name} does not fit this disk: {why}"))
            .with_next("drill selftest --list says what each fault breaks")
    })?;
    let geometry = disk.geometry();
    let overlay = Overlay::new(disk, geometry, writes)
        .map_err(|e| VerbError::new(Outcome::Broken, format!("planting {name}: {e}")))?;
    Ok(Arc::new(overlay))
}
