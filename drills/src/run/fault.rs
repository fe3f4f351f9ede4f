//! Faults that a control plants in a copy, and the causes by which a boot must then be caught. A planted fault is a list of
//! plain writes laid over the disk; the image that was given never changes.

use crate::script::stage::Done;
use crate::script::{VerbError, VerbOutcome as Outcome};
use engine::disk::{Disk, DiskRef, ExtentKind, Overlay, Write, read_vec};
use engine::units::ByteOffset;
use std::sync::Arc;

/// Sector size of the disks this plants in.
const SECTOR: u64 = 512;
/// Boot code in LBA 0.
const BOOT_CODE: usize = 440;
/// Where a Generation 1 copy keeps GRUB's core, and how much of it a truncated one keeps.
const CORE_AT: u64 = 34;
const CORE_KEEPS: u64 = 8;
const CORE_LOSES: u64 = 400;
/// How much of a disk is looked at in one piece while searching.
const WINDOW: usize = 4 << 20;
/// Most places one fault changes.
const MAX_PLACES: usize = 4096;

/// One fault: its name, what it does, and the causes (of `qemu::ladder`) that count as catching it.
pub struct Fault {
    /// The name a scenario uses.
    pub name: &'static str,
    /// What it does to the disk.
    pub what: &'static str,
    /// Ids of causes, any of which shows that it was caught.
    pub caught_by: &'static [&'static str],
}

/// The faults there are.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "boot-code-missing",
        what: "the boot code in LBA 0 is zeroed",
        caught_by: &["bios-no-bootable", "bios-not-bootable-disk", "boot-code-silent"],
    },
    Fault {
        name: "core-truncated",
        what: "GRUB's core loses all but its first sectors",
        caught_by: &["reset-loop", "grub-rescue", "grub-disk", "boot-code-silent"],
    },
    Fault {
        name: "kernel-missing",
        what: "the kernel's directory entries are renamed",
        caught_by: &["grub-no-file", "grub-no-kernel"],
    },
    Fault {
        name: "root-uuid-changed",
        what: "root= on the kernel command line names a file system that is not there",
        caught_by: &[
            "initramfs-no-root",
            "root-not-mounted",
            "root-unmountable",
            "initramfs-alert",
            "initramfs-prompt",
            "panic",
        ],
    },
];

/// Ids of the causes that count as catching this fault; the name itself when it is a cause's own.
pub(super) fn causes_of(fault: &str) -> Vec<&str> {
    FAULTS.iter().find(|f| f.name == fault).map_or_else(|| vec![fault], |f| f.caught_by.to_vec())
}

/// The disk with this fault in it.
pub(super) fn plant(disk: DiskRef, fault: &str) -> Done<DiskRef> {
    let broken =
        |e: &dyn std::fmt::Display| VerbError::new(Outcome::Broken, format!("planting {fault}: {e}"));
    let writes = match fault {
        "boot-code-missing" => vec![zeros(0, BOOT_CODE)],
        "core-truncated" => {
            let keeps = CORE_AT.saturating_add(CORE_KEEPS).saturating_mul(SECTOR);
            let loses = usize::try_from(CORE_LOSES.saturating_mul(SECTOR)).unwrap_or(0);
            vec![zeros(keeps, loses)]
        }
        "kernel-missing" => kernel_entries(&*disk).map_err(|e| broken(&e))?,
        "root-uuid-changed" => root_arguments(&*disk).map_err(|e| broken(&e))?,
        other => {
            let known: Vec<&str> = FAULTS.iter().map(|f| f.name).collect();
            return Err(VerbError::new(Outcome::Refused, format!("no fault is called {other}"))
                .with_next(format!("there are: {}", known.join(", "))));
        }
    };
    if writes.is_empty() {
        return Err(VerbError::new(
            Outcome::Refused,
            format!("{fault} does not fit this disk: nothing to change was found"),
        ));
    }
    let geometry = disk.geometry();
    Ok(Arc::new(Overlay::new(disk, geometry, writes).map_err(|e| broken(&e))?))
}

fn zeros(at: u64, len: usize) -> Write {
    Write { at: ByteOffset(at), bytes: vec![0; len].into() }
}

/// ext4's directory entries of kernels: name length, file type (1 file, 7 link), name. ext4 disk layout, "Linear directories".
/// The name changes its first letter, so GRUB finds no such file.
fn kernel_entries(disk: &dyn Disk) -> Result<Vec<Write>, engine::disk::ReadError> {
    find(disk, b"vmlinuz", |before, found| {
        let [.., length, kind] = before else { return None };
        (matches!(kind, 1 | 7) && *length >= 7).then(|| {
            let mut name = found.to_vec();
            if let Some(first) = name.first_mut() {
                *first = b'x';
            }
            name
        })
    })
}

/// `root=UUID=` in configuration text: the first digits become others.
fn root_arguments(disk: &dyn Disk) -> Result<Vec<Write>, engine::disk::ReadError> {
    find(disk, b"root=UUID=", |_, _| Some(b"root=UUID=".to_vec())).map(|places| {
        places
            .into_iter()
            .map(|w| Write {
                at: ByteOffset(w.at.get().saturating_add(10)),
                bytes: b"00000000".to_vec().into(),
            })
            .collect()
    })
}

/// Every place in the stored data where `needle` stands and `change` (given the two bytes before it, and it) wants other bytes there.
fn find(
    disk: &dyn Disk,
    needle: &[u8],
    change: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<Write>, engine::disk::ReadError> {
    let mut writes: Vec<Write> = Vec::new();
    let mut at = 0u64;
    while let Some(extent) = disk.next_extent(ByteOffset(at))? {
        let end = extent.at.get().saturating_add(extent.len.get());
        if extent.kind != ExtentKind::Data {
            at = end;
            continue;
        }
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(WINDOW).min(WINDOW);
        let bytes = read_vec(disk, ByteOffset(at), len)?;
        for (place, found) in bytes.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle) {
            let before = bytes.get(place.saturating_sub(2)..place).unwrap_or_default();
            let here = at.saturating_add(place as u64);
            let fresh = writes.last().is_none_or(|w| w.at.get().saturating_add(w.bytes.len() as u64) <= here);
            if let Some(new) = change(before, found)
                && fresh
                && writes.len() < MAX_PLACES
            {
                writes.push(Write { at: ByteOffset(here), bytes: new.into() });
            }
        }
        // Neighbouring windows overlap, so that nothing is missed across their border.
        let step = if len < WINDOW { len } else { len.saturating_sub(needle.len().saturating_add(2)) };
        at = at.saturating_add(step.max(1) as u64);
    }
    Ok(writes)
}
