//! What firmware says.

use super::Needle::{All, Both, Ends, Has};
use super::{BIOS, LOOK_BOOT_DISK, Means, Pattern, SHELL, TEXT, end, rung, trouble};
use crate::ladder::Rung::{Firmware, Loader};
use crate::ladder::Source::Debug;

const SHELL_OR_REFUSED: &[&str] = &["EFI Internal Shell", "Security Violation", "Access Denied"];
/// Other reasons for which a loader is not loaded, which have rows of their own.
const NO_PROGRAM: &[&str] = &["EFI Internal Shell", "Security Violation", "Access Denied", "Not Found"];

/// The rows.
pub(super) const ROWS: &[Pattern] = &[
    rung("seabios", Has("SeaBIOS (version"), BIOS, Firmware),
    Pattern {
        id: "seabios-again",
        needle: Has("Attempting a hard reboot"),
        sources: &[Debug],
        means: Means::FirmwareResets,
        text: "",
        next: "",
    },
    rung("bdsdxe", Has("BdsDxe:"), TEXT, Firmware),
    end(
        "bios-no-bootable",
        Has("No bootable device"),
        BIOS,
        (Firmware, 2),
        "the BIOS found no bootable device",
        LOOK_BOOT_DISK,
    ),
    trouble(
        "bios-not-bootable-disk",
        Has("Boot failed: not a bootable disk"),
        BIOS,
        (Firmware, 3),
        "the disk has no boot signature (55 AA) in LBA 0",
        LOOK_BOOT_DISK,
    ),
    trouble(
        "bios-unreadable-disk",
        Has("Boot failed: could not read the boot disk"),
        BIOS,
        (Firmware, 3),
        "the BIOS could not read the disk",
        "the disk's export and its child",
    ),
    end(
        "uefi-no-bootable",
        Has("No bootable option or device was found"),
        TEXT,
        (Firmware, 2),
        "the UEFI firmware found no bootable option or device",
        LOOK_BOOT_DISK,
    ),
    trouble(
        "uefi-access-denied",
        All(&["BdsDxe: failed to ", "Access Denied"], SHELL),
        TEXT,
        (Firmware, 4),
        "Secure Boot refused the loader",
        "the loader's signature, or start the machine without secure boot",
    ),
    trouble(
        "uefi-security",
        All(&["BdsDxe: failed to ", "Security Violation"], SHELL),
        TEXT,
        (Firmware, 4),
        "Secure Boot refused the loader",
        "the loader's signature",
    ),
    trouble(
        "uefi-not-found",
        Both("BdsDxe: failed to load", "Not Found"),
        TEXT,
        (Firmware, 3),
        "the firmware found nothing on the disk that it could start",
        "\\EFI\\BOOT\\BOOTX64.EFI on the EFI system partition",
    ),
    trouble(
        "uefi-failed-load",
        All(&["BdsDxe: failed to load"], NO_PROGRAM),
        TEXT,
        (Firmware, 3),
        "the firmware could not load the loader: it is no whole program",
        "\\EFI\\BOOT\\BOOTX64.EFI on the EFI system partition: its length, and whether another tool reads it",
    ),
    trouble(
        "uefi-failed-start",
        All(&["BdsDxe: failed to start"], SHELL_OR_REFUSED),
        TEXT,
        (Loader, 3),
        "the loader ended with an error",
        "the loader's own message before this line",
    ),
    end(
        "uefi-shell",
        Ends("Shell>"),
        TEXT,
        (Firmware, 2),
        "the firmware fell back to the UEFI shell",
        LOOK_BOOT_DISK,
    ),
    end(
        "uefi-setup",
        Has("Select Entry"),
        TEXT,
        (Firmware, 1),
        "the firmware shows its set-up menu",
        LOOK_BOOT_DISK,
    ),
];
