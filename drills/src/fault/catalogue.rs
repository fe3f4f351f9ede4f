//! The faults there are, one row each: name, what it does, what it breaks, whom it concerns, what must catch it, what plants it.

use super::{Area, Caught, Fault, Ground, Misfit, Plant, code, container, files, loader, partitions};
use engine::container::OutFormat;
use engine::disk::Write;
use qemu::{Generation, Rung};

use Area::{BootCode, Configuration, Container, Initramfs, Kernel, Loader, Root, SecureBoot, Table};
use OutFormat::{DynamicVhdx, FixedVhd};

type Change = fn(&Ground) -> Result<Vec<Write>, Misfit>;
type Causes = &'static [&'static str];

const GEN1: &[Generation] = &[Generation::Gen1];
const GEN2: &[Generation] = &[Generation::Gen2];
const BOTH: &[Generation] = &[Generation::Gen2, Generation::Gen1];
/// How a firmware without anything to start ends.
const NOTHING_TO_START: Causes = &["uefi-no-bootable", "uefi-not-found", "uefi-shell"];
/// How GRUB says that what it looks for is not on any disk.
const NO_DEVICE: Causes = &["grub-no-device", "grub-no-partition"];

/// A fault that a boot must show.
const fn boot(
    (name, what): (&'static str, &'static str),
    area: Area,
    on: &'static [Generation],
    (rung, causes): (Rung, Causes),
    plant: Change,
) -> Fault {
    let caught = Caught::Boot { rung, causes, secure_boot: false, silent: false };
    Fault { name, what, area, on, caught, plant: Plant::Disk(plant) }
}

/// A fault whose mark is that nothing more comes.
const fn silent(
    names: (&'static str, &'static str),
    area: Area,
    on: &'static [Generation],
    (rung, causes): (Rung, Causes),
    plant: Change,
) -> Fault {
    let caught = Caught::Boot { rung, causes, secure_boot: false, silent: true };
    Fault { caught, ..boot(names, area, on, (rung, causes), plant) }
}

/// A fault that a firmware which enforces Secure Boot must show.
const fn signed(names: (&'static str, &'static str), (rung, causes): (Rung, Causes), plant: Change) -> Fault {
    let caught = Caught::Boot { rung, causes, secure_boot: true, silent: false };
    Fault { caught, ..boot(names, SecureBoot, GEN2, (rung, causes), plant) }
}

/// A fault for which a test failover refuses the disk.
const fn refused((name, what): (&'static str, &'static str), says: &'static str, plant: Change) -> Fault {
    Fault { name, what, area: Table, on: GEN2, caught: Caught::Failover { says }, plant: Plant::Disk(plant) }
}

/// A fault of the file, which then does not open.
const fn unopened(
    (name, what): (&'static str, &'static str),
    format: OutFormat,
    says: &'static str,
    damage: container::Damage,
) -> Fault {
    let plant = Plant::File { format, damage };
    Fault { name, what, area: Container, on: &[], caught: Caught::Opening { says }, plant }
}

/// All faults.
pub const FAULTS: &[Fault] = &[
    // The partition table
    boot(
        ("gpt-gone", "both copies of the GPT lose their signature"),
        Table,
        GEN2,
        (Rung::Firmware, NOTHING_TO_START),
        partitions::no_gpt,
    ),
    boot(
        ("esp-gone", "the EFI system partition is in no copy of the GPT"),
        Table,
        GEN2,
        (Rung::Firmware, NOTHING_TO_START),
        partitions::no_esp,
    ),
    boot(
        ("boot-partition-gone", "the kernel's partition is in no copy of the GPT"),
        Table,
        BOTH,
        (Rung::Loader, NO_DEVICE),
        partitions::no_boot_partition,
    ),
    refused(
        ("gpt-primary-damaged", "the checksum of the first copy of the GPT does not fit"),
        "The primary GPT cannot be used",
        partitions::bad_primary,
    ),
    refused(
        ("gpt-backup-damaged", "the checksum of the second copy of the GPT does not fit"),
        "The backup GPT cannot be used",
        partitions::bad_backup,
    ),
    refused(
        ("partitions-overlap", "the second partition begins within the first"),
        "overlap",
        partitions::overlap,
    ),
    // Boot code
    silent(
        ("boot-code-missing", "the boot code in LBA 0 is zeroed"),
        BootCode,
        GEN1,
        (Rung::Loader, &["boot-code-silent"]),
        code::no_code,
    ),
    boot(
        ("boot-signature-missing", "LBA 0 does not end in 55 AA"),
        BootCode,
        GEN1,
        (Rung::Firmware, &["bios-not-bootable-disk"]),
        code::no_signature,
    ),
    boot(
        ("boot-code-foreign", "LBA 0 has another system's boot code, which finds no active partition"),
        BootCode,
        GEN1,
        (Rung::Loader, &["mbr-missing-os"]),
        code::foreign_code,
    ),
    boot(
        ("core-not-found", "the boot code looks for GRUB's core behind the end of the disk"),
        BootCode,
        GEN1,
        (Rung::Loader, &["grub-boot-read"]),
        code::lost_core,
    ),
    boot(
        ("core-truncated", "GRUB's core loses all but its first sectors"),
        BootCode,
        GEN1,
        (Rung::Loader, &["reset-loop"]),
        code::short_core,
    ),
    boot(
        ("core-overwritten", "the middle half of GRUB's core is text"),
        BootCode,
        GEN1,
        (Rung::Loader, &["grub-aborted", "reset-loop"]),
        code::spoilt_core,
    ),
    boot(
        ("boot-script-missing", "the script that GRUB's core reads from the disk is zeroed"),
        BootCode,
        GEN1,
        (Rung::Loader, &["grub-prompt", "grub-rescue"]),
        code::no_script,
    ),
    // The loader
    boot(
        ("esp-not-fat", "the first sector of the EFI system partition is zeroed"),
        Loader,
        GEN2,
        (Rung::Firmware, NOTHING_TO_START),
        partitions::esp_without_fs,
    ),
    boot(
        ("loader-missing", "BOOTX64.EFI is removed"),
        Loader,
        GEN2,
        (Rung::Firmware, NOTHING_TO_START),
        loader::no_loader,
    ),
    boot(
        ("loader-truncated", "BOOTX64.EFI is cut to its first half"),
        Loader,
        GEN2,
        (Rung::Firmware, &["uefi-failed-load"]),
        loader::short_loader,
    ),
    boot(
        ("loader-not-a-program", "BOOTX64.EFI is blanks"),
        Loader,
        GEN2,
        (Rung::Firmware, &["uefi-failed-load", "uefi-not-found"]),
        loader::no_program,
    ),
    boot(
        ("second-loader-missing", "the GRUB beside shim is removed"),
        Loader,
        GEN2,
        (Rung::Loader, &["shim-not-found"]),
        loader::no_second,
    ),
    // Configuration
    boot(
        ("stub-config-missing", "the grub.cfg on the EFI system partition is removed"),
        Configuration,
        BOTH,
        (Rung::Loader, &["grub-prompt", "grub-no-file"]),
        loader::no_stub,
    ),
    boot(
        (
            "stub-uuid-changed",
            "the grub.cfg on the EFI system partition names a file system that is not there",
        ),
        Configuration,
        BOTH,
        (Rung::Loader, NO_DEVICE),
        loader::stub_astray,
    ),
    boot(
        ("grub-cfg-missing", "the real grub.cfg is renamed"),
        Configuration,
        BOTH,
        (Rung::Loader, &["grub-no-file", "grub-prompt"]),
        files::no_menu,
    ),
    boot(
        ("grub-cfg-empty", "every line of grub.cfg is a comment"),
        Configuration,
        BOTH,
        (Rung::Loader, &["grub-prompt"]),
        files::empty_menu,
    ),
    boot(
        ("grub-cfg-broken", "the brackets that end the entries of grub.cfg are gone"),
        Configuration,
        BOTH,
        (Rung::Loader, &["grub-syntax"]),
        files::broken_menu,
    ),
    boot(
        ("root-uuid-changed", "root= on the kernel command line names a file system that is not there"),
        Configuration,
        BOTH,
        (Rung::Init, &["initramfs-no-root", "initramfs-alert"]),
        files::other_root,
    ),
    silent(
        ("console-gone", "the kernel and init no longer use the first serial port"),
        Configuration,
        GEN2,
        (Rung::Init, &["unseen"]),
        files::no_console,
    ),
    // The kernel
    boot(
        ("kernel-missing", "the kernel's directory entry is renamed"),
        Kernel,
        BOTH,
        (Rung::Loader, &["grub-no-file", "grub-no-kernel"]),
        files::no_kernel,
    ),
    boot(
        ("kernel-empty", "the kernel's file has no byte left"),
        Kernel,
        BOTH,
        (Rung::Loader, &["grub-premature-end"]),
        files::empty_kernel,
    ),
    boot(
        ("kernel-not-a-kernel", "the kernel's beginning is zeroed"),
        Kernel,
        BOTH,
        (Rung::Loader, &["grub-bad-magic"]),
        files::not_a_kernel,
    ),
    boot(
        ("kernel-corrupt", "a part of the kernel does not unpack"),
        Kernel,
        GEN1,
        (Rung::Kernel, &["linux-unpack"]),
        files::spoilt_kernel,
    ),
    // The initramfs
    boot(
        ("initrd-missing", "the initramfs' directory entry is renamed"),
        Initramfs,
        BOTH,
        (Rung::Kernel, &["root-unmountable"]),
        files::no_initrd,
    ),
    boot(
        ("initrd-truncated", "the initramfs is cut to its first half"),
        Initramfs,
        BOTH,
        (Rung::Kernel, &["initramfs-unpack"]),
        files::short_initrd,
    ),
    boot(
        ("initrd-corrupt", "a part of the initramfs does not unpack"),
        Initramfs,
        BOTH,
        (Rung::Kernel, &["initramfs-unpack"]),
        files::spoilt_initrd,
    ),
    // The root file system
    boot(
        ("boot-fs-gone", "the superblock of the kernel's file system is zeroed"),
        Root,
        BOTH,
        (Rung::Loader, NO_DEVICE),
        files::no_boot_fs,
    ),
    boot(
        ("root-journal-gone", "the journal of the root file system is no journal"),
        Root,
        BOTH,
        (Rung::Init, &["root-journal"]),
        files::no_journal,
    ),
    boot(
        ("init-missing", "the directory entry of /sbin/init is renamed"),
        Root,
        BOTH,
        (Rung::Init, &["initramfs-no-init"]),
        files::no_init,
    ),
    boot(
        ("init-not-executable", "nobody may execute /sbin/init"),
        Root,
        GEN1,
        (Rung::Init, &["init-not-started", "initramfs-no-init"]),
        files::dead_init,
    ),
    // Secure Boot
    signed(
        ("loader-forged", "one bit of BOOTX64.EFI is another"),
        (Rung::Firmware, &["uefi-access-denied", "uefi-security"]),
        loader::forged_loader,
    ),
    signed(
        ("second-loader-forged", "one bit of the GRUB beside shim is another"),
        (Rung::Loader, &["shim-verification"]),
        loader::forged_second,
    ),
    signed(
        ("kernel-forged", "one bit of the kernel is another"),
        (Rung::Loader, &["grub-shim-lock"]),
        loader::forged_kernel,
    ),
    // The container
    unopened(
        ("vhdx-headers-damaged", "both headers of a VHDX have another checksum than they say"),
        DynamicVhdx,
        "header CRC-32C",
        container::vhdx_headers,
    ),
    unopened(
        ("vhdx-regions-damaged", "both region tables of a VHDX have another checksum than they say"),
        DynamicVhdx,
        "region table",
        container::vhdx_regions,
    ),
    unopened(
        ("vhdx-log-lost", "a VHDX says that its log holds changes, and the log is empty"),
        DynamicVhdx,
        "a complete sequence of entries of the log",
        container::vhdx_log,
    ),
    unopened(
        ("vhdx-cut-short", "a VHDX loses its last MiB"),
        DynamicVhdx,
        "the file is truncated",
        container::cut_short,
    ),
    unopened(
        ("vhd-footer-missing", "a fixed VHD loses its footer"),
        FixedVhd,
        "VHD footer",
        container::vhd_without_footer,
    ),
    unopened(
        ("vhd-footer-damaged", "the footer of a fixed VHD has another checksum than it says"),
        FixedVhd,
        "VHD footer checksum",
        container::vhd_footer,
    ),
];
