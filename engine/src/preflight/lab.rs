//! What this tool can do itself. The rows name what an inspection finds ([`crate::guest::Finding`]) and what the planner refuses
//! ([`crate::convert::Refusal`]), under the ids they have there.

use super::lab_home;
use super::{Check, Profile, ProfileId, Rule, Source};
use crate::guest::Severity::{self, Blocker, Note, Warning};

const TABLE: Source = Source {
    what: "drill: what it takes for a sound table; UEFI 2.10 §5.2 and §5.3",
    date: "2026-11-25",
    address: "engine/src/guest/inspect.rs",
};
const CHAIN: Source = Source {
    what: "drill: the way from the firmware to the kernel, link by link",
    date: "2026-11-25",
    address: "engine/src/guest/chain.rs",
};
const PLAN: Source = Source {
    what: "drill: what its planner can do",
    date: "2026-11-25",
    address: "engine/src/convert/to_gen1.rs",
};
const FALLBACK: Source = Source {
    what: "UEFI 2.10 §3.5.1.1: what firmware starts without being told",
    date: "2022-08",
    address: "uefi.org, UEFI Specification 2.10",
};

const fn rule(
    id: &'static str,
    checks: &'static str,
    text: &'static str,
    source: Source,
    severity: Severity,
    fix: &'static str,
) -> Rule {
    Rule { id, checks, text, source, severity, fix, azure: None, check: Check::Finding(own(id)) }
}

pub(super) const fn planned(
    id: &'static str,
    checks: &'static str,
    text: &'static str,
    fix: &'static str,
) -> Rule {
    Rule { id, checks, text, source: PLAN, severity: Blocker, fix, azure: None, check: Check::Planner }
}

/// The id as the inspection has it.
const fn own(id: &'static str) -> &'static str {
    match id.split_at_checked(4) {
        Some((_, own)) => own,
        None => id,
    }
}

pub(super) const LAB: Profile = Profile {
    id: ProfileId::Lab,
    title: "what drill itself converts and boots",
    date: "2026-11-25",
    about: "No service's rules: only what this tool needs to make a Generation 1 disk that starts under SeaBIOS, and what it saw on the way. This is the \
            profile of a conversion that names none.",
    silent: &[],
    unseen: &["whether the guest starts: that is what a drill is for"],
    rules: &RULES,
};

/// What speaks against the way there, and what speaks against the way home.
const RULES: [Rule; THERE.len() + lab_home::RULES.len()] = {
    let mut all = [THERE[0]; THERE.len() + lab_home::RULES.len()];
    let mut n = 0;
    while n < all.len() {
        all[n] = if n < THERE.len() { THERE[n] } else { lab_home::RULES[n - THERE.len()] };
        n += 1;
    }
    all
};

const THERE: &[Rule] = &[
    rule(
        "lab/no-table",
        "the first sectors",
        "There must be a partition table.",
        TABLE,
        Blocker,
        "Check that it is a whole disk, and the boot disk.",
    ),
    rule(
        "lab/mbr-hybrid",
        "the MBR",
        "The MBR may hold nothing but the protective entry.",
        TABLE,
        Blocker,
        "Make a new protective MBR with gdisk.",
    ),
    rule(
        "lab/gpt-crc-primary",
        "the GPT at LBA 1",
        "The primary GPT must be sound.",
        TABLE,
        Blocker,
        "Repair it from the other copy, on a copy of the disk.",
    ),
    rule(
        "lab/gpt-crc-backup",
        "the GPT at the end",
        "The backup GPT must be sound.",
        TABLE,
        Blocker,
        "Repair it from the other copy, on a copy of the disk.",
    ),
    rule(
        "lab/gpt-shape",
        "both GPT copies",
        "Both copies of the GPT must agree and fit the disk.",
        TABLE,
        Blocker,
        "Repair the table with gdisk, on a copy of the disk.",
    ),
    rule(
        "lab/partition-beyond-end",
        "the partitions",
        "Every partition must lie within the disk.",
        TABLE,
        Blocker,
        "The disk was cut short; use a complete copy.",
    ),
    rule(
        "lab/no-esp",
        "the types of the partitions",
        "A Generation 2 disk has an EFI system partition.",
        TABLE,
        Blocker,
        "Check that it is the boot disk of the machine.",
    ),
    rule(
        "lab/windows",
        "the system on the disk",
        "Windows is recognised, but not converted yet.",
        CHAIN,
        Blocker,
        "Leave this machine to your recovery service's own test failover.",
    ),
    rule(
        "lab/no-loader",
        "EFI programs on the ESP",
        "There must be an EFI program on the ESP.",
        CHAIN,
        Blocker,
        "Run `grub-install` inside the guest.",
    ),
    rule(
        "lab/esp-grub-cfg-missing",
        "GRUB's files on the ESP",
        "The GRUB on the ESP must be told where to go on.",
        CHAIN,
        Blocker,
        "Run `grub-install` and `update-grub` inside the guest.",
    ),
    rule(
        "lab/grub-root-unknown",
        "the file system that GRUB searches for",
        "The file system that GRUB searches for must be on this disk.",
        CHAIN,
        Blocker,
        "Run `grub-install` inside the guest, or attach the disk it means.",
    ),
    rule(
        "lab/grub-cfg-missing",
        "the grub.cfg behind the one on the ESP",
        "The grub.cfg that GRUB goes on with must be there.",
        CHAIN,
        Blocker,
        "Run `update-grub` inside the guest.",
    ),
    rule(
        "lab/kernel-missing",
        "the default boot entry",
        "The kernel that the default entry starts must be there.",
        CHAIN,
        Blocker,
        "Run `update-grub` inside the guest.",
    ),
    rule(
        "lab/initrd-missing",
        "the default boot entry",
        "The initramfs that the default entry loads must be there.",
        CHAIN,
        Blocker,
        "Run `update-initramfs -u` and `update-grub` inside the guest.",
    ),
    rule(
        "lab/root-uuid-unknown",
        "root= on the kernel command line",
        "The file system that the kernel is told to take as its root must be on this disk.",
        CHAIN,
        Blocker,
        "Run `update-grub` inside the guest, or attach the disk it means.",
    ),
    planned(
        "lab/already-gen1",
        "LBA 0, and the capsule that a conversion leaves",
        "The disk must not be a Generation 1 disk already.",
        "Fail it back first, or use it as it is.",
    ),
    planned(
        "lab/esp-no-id",
        "the ESP's volume id",
        "GRUB finds the ESP by its volume id, so it must have one.",
        "Check it with fsck.vfat on a copy.",
    ),
    rule(
        "lab/boot-entries-missing",
        "the entries of the guest's own boot loader",
        "A loader that reads entries must have one that can be read.",
        CHAIN,
        Blocker,
        "Reinstall the kernel inside the guest (`kernel-install add`).",
    ),
    rule(
        "lab/uki-unusable",
        "the unified kernel image that the firmware starts",
        "A unified kernel image must be whole, its sections at whole sectors.",
        CHAIN,
        Blocker,
        "Build it again inside the guest (`kernel-install add`).",
    ),
    rule(
        "lab/luks-tpm2",
        "the tokens of a LUKS2 header",
        "A key that is sealed to a TPM cannot be had on a Generation 1 machine, which has none.",
        CHAIN,
        Blocker,
        "Recover this machine as Generation 2, or enrol a passphrase inside the guest first.",
    ),
    rule(
        "lab/boot-encrypted",
        "where GRUB's own files lie",
        "What GRUB reads must not lie inside an encryption.",
        CHAIN,
        Blocker,
        "Move /boot to a partition of its own inside the guest.",
    ),
    rule(
        "lab/verity",
        "the kernel's command line, and the types of partitions",
        "A root verified by dm-verity hangs on a chain of trust that begins in the UEFI firmware.",
        CHAIN,
        Blocker,
        "Recover this machine as Generation 2.",
    ),
    rule(
        "lab/foreign-architecture",
        "the programs in EFI/BOOT",
        "A Generation 1 machine is a PC.",
        CHAIN,
        Blocker,
        "Recover this machine on its own architecture.",
    ),
    rule(
        "lab/lvm-thin",
        "the kind of the logical volume that GRUB searches in",
        "GRUB reads linear and striped volumes, not thin ones.",
        CHAIN,
        Blocker,
        "Move /boot to a partition or a plain logical volume inside the guest.",
    ),
    planned(
        "lab/no-boot-menu",
        "the loader that the firmware starts",
        "How the guest goes on from its first loader must be readable.",
        "See the findings of `drill inspect`; a kernel's command line can be given with --cmdline.",
    ),
    planned(
        "lab/entry-untranslatable",
        "the entry that starts",
        "The entry that starts must be one that GRUB can hand on unchanged.",
        "Change the entry inside the guest, or make another one the default.",
    ),
    planned(
        "lab/gpt-room",
        "the table as it will be",
        "The table must fit the disk as it will be, in sectors of 512 bytes.",
        "Repair or move partitions on a copy first.",
    ),
    planned(
        "lab/root-by-type",
        "how the root is found, with --table mbr",
        "An MBR has no room for the types by which a discoverable root is found.",
        "Keep the GPT (--table gpt).",
    ),
    planned(
        "lab/gap-too-small",
        "room for GRUB: before the first partition, in a BIOS boot partition, in free space",
        "GRUB's core, its script and the capsule need 384 KiB somewhere.",
        "Free 1 MiB in the guest, for instance by shrinking the last partition.",
    ),
    planned(
        "lab/kernel-not-64-bit",
        "the kernel that would start, on the way to a Generation 2 that never was",
        "UEFI firmware of Generation 2 is 64-bit, and so must the kernel be.",
        "Install a 64-bit kernel in the guest.",
    ),
    planned(
        "lab/kernel-too-old",
        "the kernel that would start, on the way to a Generation 2 that never was",
        "The kernel must know the boot protocol by which GRUB for UEFI starts it.",
        "Install a newer kernel in the guest.",
    ),
    planned(
        "lab/kernel-no-efi",
        "the kernel that would start, on the way to a Generation 2 that never was",
        "The kernel must be able to start under UEFI.",
        "Install a kernel with EFI support in the guest.",
    ),
    planned(
        "lab/kernel-no-linux",
        "the kernel that would start, on the way to a Generation 2 that never was",
        "The kernel must be a Linux that GRUB for UEFI can start.",
        "Install a distribution's kernel in the guest.",
    ),
    planned(
        "lab/gap-not-empty",
        "what lies before the first partition",
        "What lies before the first partition must leave room for the capsule that keeps it.",
        "Clear what lies there, on a copy.",
    ),
    planned(
        "lab/mbr-too-many",
        "the number of partitions, with --table mbr",
        "An MBR has room for four partitions.",
        "Keep the GPT (--table gpt).",
    ),
    planned(
        "lab/mbr-too-long",
        "the length of the disk, with --table mbr",
        "An MBR counts 2 TiB.",
        "Keep the GPT (--table gpt).",
    ),
    planned(
        "lab/too-long",
        "the length of the disk",
        "The disk must be short enough to be rounded up to a whole MiB.",
        "",
    ),
    planned(
        "lab/loader-kit",
        "GRUB on this host",
        "The pieces of GRUB on this host must fit.",
        "Check the host's GRUB package (grub-pc-bin).",
    ),
    planned("lab/script", "GRUB's script for this disk", "GRUB's script must fit its place.", ""),
    planned("lab/unreadable", "the disk", "The disk must be readable where the conversion looks.", ""),
    planned(
        "lab/no-way-back",
        "the plan and its inverse, in memory",
        "Failback must be possible before failover begins.",
        "This is a fault of drill; please report it.",
    ),
    rule(
        "lab/grub-stub-unknown",
        "the grub.cfg on the ESP",
        "The grub.cfg on the ESP leads to a further one.",
        CHAIN,
        Warning,
        "The guest may still start; nothing behind it could be checked.",
    ),
    rule(
        "lab/grub-menu-empty",
        "grub.cfg",
        "grub.cfg has a menu entry that can be read.",
        CHAIN,
        Warning,
        "Run `update-grub` inside the guest.",
    ),
    rule(
        "lab/no-serial-console",
        "the kernel command line",
        "A console=ttyS0 lets a drill read the boot on the serial port; without it there is the screen only.",
        CHAIN,
        Warning,
        "Add `console=tty0 console=ttyS0,115200` to GRUB_CMDLINE_LINUX.",
    ),
    rule(
        "lab/root-by-partuuid",
        "root= on the kernel command line",
        "A PARTUUID changes when the table becomes an MBR.",
        CHAIN,
        Warning,
        "Keep the GPT (the default), or use root=UUID= in the guest.",
    ),
    rule(
        "lab/root-by-device-name",
        "root= on the kernel command line",
        "Device names depend on the controller and the order of disks.",
        CHAIN,
        Warning,
        "Use root=UUID= in the guest.",
    ),
    rule(
        "lab/fstab-by-partuuid",
        "/etc/fstab",
        "A PARTUUID changes when the table becomes an MBR.",
        CHAIN,
        Warning,
        "Keep the GPT (the default), or use UUID= in the guest.",
    ),
    rule(
        "lab/luks-passphrase",
        "encrypted partitions",
        "A start of an encrypted guest waits for its passphrase.",
        CHAIN,
        Warning,
        "Type it at the console of a machine that is held open.",
    ),
    rule(
        "lab/root-lv-unknown",
        "root= on the kernel's command line",
        "A root on a logical volume should name one that is on this disk.",
        CHAIN,
        Blocker,
        "Run `update-grub` inside the guest, or attach the disk it means.",
    ),
    rule(
        "lab/fstab-lv-unknown",
        "/etc/fstab",
        "Logical volumes in /etc/fstab should be on this disk.",
        CHAIN,
        Warning,
        "Add `nofail`, or drill the disks together.",
    ),
    rule(
        "lab/lvm-unreadable",
        "each LVM physical volume",
        "The metadata of a volume group should be readable.",
        TABLE,
        Warning,
        "Check it with pvck on a copy of the disk.",
    ),
    rule(
        "lab/lvm-pv-missing",
        "the physical volumes of each volume group",
        "Every physical volume of a group should be on the disk, once.",
        TABLE,
        Warning,
        "Drill the disks together.",
    ),
    rule(
        "lab/lvm-group-elsewhere",
        "each LVM physical volume",
        "The metadata of a group should be on one of its physical volumes here.",
        TABLE,
        Warning,
        "Drill the disks together.",
    ),
    rule(
        "lab/lvm-copy-damaged",
        "both copies of a volume group's metadata",
        "Both copies of a volume group's metadata should be sound.",
        TABLE,
        Warning,
        "",
    ),
    rule(
        "lab/fstab-uuid-unknown",
        "/etc/fstab",
        "What fstab mounts should be on this disk.",
        CHAIN,
        Warning,
        "Add `nofail`, or drill the disks together.",
    ),
    rule(
        "lab/no-fallback-loader",
        "EFI/BOOT/BOOTX64.EFI",
        "Firmware with an empty variable store starts EFI/BOOT/BOOTX64.EFI and nothing else.",
        FALLBACK,
        Warning,
        "Run `grub-install --force-extra-removable` inside the guest.",
    ),
    rule(
        "lab/partition-unreadable",
        "the start of each partition and logical volume",
        "Every partition and logical volume should be readable.",
        TABLE,
        Warning,
        "Use a complete copy of the disk.",
    ),
    rule(
        "lab/file-system-unreadable",
        "each file system",
        "Every file system that is recognised should open.",
        TABLE,
        Warning,
        "Check it with fsck on a copy of the disk.",
    ),
    rule(
        "lab/journal-unreadable",
        "the journal of each file system",
        "A journal that was left behind should be readable.",
        TABLE,
        Warning,
        "Start the guest once, or run fsck on a copy.",
    ),
    rule(
        "lab/grub-root-hidden",
        "the file system that GRUB searches for",
        "What GRUB searches for may lie inside LVM, LUKS or RAID, which is not looked into.",
        CHAIN,
        Note,
        "",
    ),
    rule(
        "lab/sector-4096",
        "the sectors of the disk",
        "A BIOS counts in sectors of 512 bytes: a copy of a 4Kn disk gets a table of those.",
        PLAN,
        Note,
        "",
    ),
    rule(
        "lab/lvm-left",
        "each LVM physical volume",
        "A physical volume that its group has gone on without holds nothing of it any more.",
        TABLE,
        Note,
        "",
    ),
    rule(
        "lab/journal-replayed",
        "the journal of each file system",
        "A file system that was not unmounted is read as if its journal had been replayed.",
        TABLE,
        Note,
        "",
    ),
    rule(
        "lab/volume-dirty",
        "the flags of FAT and NTFS volumes",
        "A volume that is marked as in use is checked by the guest at its next start.",
        TABLE,
        Note,
        "",
    ),
];
