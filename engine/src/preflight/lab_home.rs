//! Rows for the way home: what refuses a failback, or a Generation 2 for a disk that never was one.

use super::lab::planned;
use super::{Rule, Source};

const HOME: Source = Source {
    what: "drill: what its planner of the way home can do",
    date: "2026-11-25",
    address: "engine/src/convert/to_gen2.rs, engine/src/convert/anew/",
};

const fn home(id: &'static str, checks: &'static str, text: &'static str, fix: &'static str) -> Rule {
    Rule { source: HOME, ..planned(id, checks, text, fix) }
}

pub(super) const RULES: &[Rule] = &[
    home(
        "lab/no-capsule",
        "the capsule, on the way home",
        "What failback needs is on the disk itself and beside it; a disk that was Generation 2 once is given nothing new without it.",
        "Give the file that was kept beside the disk: --capsule FILE (*.drill-capsule).",
    ),
    home(
        "lab/other-length",
        "the length of the disk, on the way home",
        "The disk must have the length that the conversion left.",
        "Bring the disk back to that length first.",
    ),
    home(
        "lab/no-system",
        "the root file system, on the way to a Generation 2 that never was",
        "The root file system of a Linux must be readable: its own loader for UEFI is taken from it.",
        "If it is encrypted or on RAID, convert it inside the guest; otherwise check that it is the boot disk.",
    ),
    home(
        "lab/no-efi-grub",
        "GRUB for UEFI in the guest, on the way to a Generation 2 that never was",
        "The guest must have its own GRUB for UEFI; none is brought from elsewhere.",
        "While the guest runs, install its loader for UEFI (the refusal names the packages); then take a new copy of the disk.",
    ),
    home(
        "lab/no-grub-cfg",
        "GRUB's configuration, on the way to a Generation 2 that never was",
        "There must be a grub.cfg that GRUB for UEFI can go on with.",
        "Start the guest and run update-grub, or grub2-mkconfig -o /boot/grub2/grub.cfg.",
    ),
    home(
        "lab/grub-cfg-no-id",
        "the file system of grub.cfg, on the way to a Generation 2 that never was",
        "The file system with grub.cfg must have an identifier: nothing else leads to it from an EFI system partition.",
        "Give it an identifier in the guest (tune2fs -U random).",
    ),
    home(
        "lab/grub-cfg-bios-only",
        "GRUB's configuration, on the way to a Generation 2 that never was",
        "The default entry must not use a command that only GRUB for the BIOS has (linux16).",
        "Let the guest write a configuration with linux and initrd: install its newer GRUB and run grub2-mkconfig.",
    ),
    home(
        "lab/grub-root-by-number",
        "GRUB's configuration, on the way to a Generation 2 that never was",
        "The default entry must search for its file system, not name a partition of an MBR.",
        "Remove GRUB_DISABLE_LINUX_UUID from /etc/default/grub in the guest and run update-grub.",
    ),
    home(
        "lab/btrfs-default-subvolume",
        "btrfs, on the way to a Generation 2 that never was",
        "A grub.cfg in a default subvolume needs a GRUB that can begin there, which SUSE's can.",
        "Make the top level the default again (btrfs subvolume set-default 5 /), or leave the machine Generation 1.",
    ),
    home(
        "lab/logical-unreadable",
        "the logical partitions, on the way to a Generation 2 that never was",
        "The chain of logical partitions must be sound.",
        "Repair the table with fdisk on a copy of the disk first.",
    ),
    home(
        "lab/no-room-for-gpt",
        "the first sectors, on the way to a Generation 2 that never was",
        "A GPT needs the sectors before LBA 34, and no partition is moved.",
        "Move the partition on a copy of the disk, or leave the machine Generation 1.",
    ),
    home(
        "lab/partitions-overlap",
        "the partitions, on the way to a Generation 2 that never was",
        "No two partitions may share sectors.",
        "Repair the table with fdisk on a copy of the disk first.",
    ),
    home(
        "lab/loaders-too-large",
        "the guest's loaders, on the way to a Generation 2 that never was",
        "The loaders must fit the EFI system partition that is made for them.",
        "",
    ),
    home("lab/esp-format", "the new EFI system partition", "It must be possible to format it.", ""),
    home(
        "lab/gpt-unsound",
        "the result, on the way to a Generation 2 that never was",
        "The new GPT must be sound.",
        "This is a fault of drill; please report it.",
    ),
    home(
        "lab/would-not-start",
        "the result, on the way to a Generation 2 that never was",
        "UEFI must find something to start on the result.",
        "",
    ),
];
