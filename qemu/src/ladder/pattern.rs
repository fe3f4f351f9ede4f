//! The table of what firmware, loaders and kernels say, and what each saying means. A row is data: add a case here.

use super::Rung;
use super::Source::{self, Debug, Screen, Serial, Serial2};

/// How a row's text is looked for in a line (leading and trailing blanks do not count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needle {
    /// Anywhere.
    Has(&'static str),
    /// At the beginning.
    Starts(&'static str),
    /// At the end: a prompt.
    Ends(&'static str),
    /// Both, in this order.
    Both(&'static str, &'static str),
    /// All of the first, none of the second.
    All(&'static [&'static str], &'static [&'static str]),
}

/// What a row says about the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// This rung was reached.
    Reached(Rung),
    /// The boot has a problem at this rung.
    Cause {
        /// Where.
        at: Rung,
        /// Nothing more comes after this by itself.
        terminal: bool,
        /// Among several causes the greatest weight explains the others.
        weight: u8,
    },
    /// The boot waits at this rung for somebody who does not come; a prompt counts too.
    Waits {
        /// Where.
        at: Rung,
        /// Milliseconds without a move of anything after which nobody will come.
        patience_ms: u64,
    },
    /// The guest says that it will reset itself, as a good boot may at this rung.
    WillReset(Rung),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Stable name.
    pub id: &'static str,
    /// What to look for.
    pub needle: Needle,
    /// Where it counts.
    pub sources: &'static [Source],
    /// What it says.
    pub means: Means,
    /// In a reader's words.
    pub text: &'static str,
    /// What to look at next; empty for rungs.
    pub next: &'static str,
}

impl Pattern {
    /// Whether the row applies to a line from `source`.
    pub fn matches(&self, source: Source, line: &str) -> bool {
        let line = line.trim();
        self.sources.contains(&source)
            && match self.needle {
                Needle::Has(text) => line.contains(text),
                Needle::Starts(text) => line.starts_with(text),
                Needle::Ends(text) => line.ends_with(text),
                Needle::All(all, none) => {
                    all.iter().all(|t| line.contains(t)) && !none.iter().any(|t| line.contains(t))
                }
                Needle::Both(one, two) => {
                    line.find(one).and_then(|at| line.get(at + one.len()..)).is_some_and(|r| r.contains(two))
                }
            }
    }
}

const TEXT: &[Source] = &[Serial, Serial2, Screen];
const BIOS: &[Source] = &[Debug, Screen, Serial, Serial2];

const fn rung(id: &'static str, needle: Needle, sources: &'static [Source], rung: Rung) -> Pattern {
    Pattern { id, needle, sources, means: Means::Reached(rung), text: "", next: "" }
}

const fn end(
    id: &'static str,
    needle: Needle,
    sources: &'static [Source],
    (at, weight): (Rung, u8),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources, means: Means::Cause { at, terminal: true, weight }, text, next }
}

const fn trouble(
    id: &'static str,
    needle: Needle,
    sources: &'static [Source],
    (at, weight): (Rung, u8),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources, means: Means::Cause { at, terminal: false, weight }, text, next }
}

const fn waits(
    id: &'static str,
    needle: Needle,
    (at, patience_ms): (Rung, u64),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources: TEXT, means: Means::Waits { at, patience_ms }, text, next }
}

const fn reset(id: &'static str, needle: Needle, at: Rung, text: &'static str) -> Pattern {
    Pattern { id, needle, sources: TEXT, means: Means::WillReset(at), text, next: "" }
}

use Needle::{All, Both, Ends, Has, Starts};
use Rung::{Firmware, Init, Kernel, Loader, Ready};

/// The cause that is the host's and not the guest's.
pub(super) const LAB_TIMER: &str = "lab-timer";

/// The shell inside the firmware is no loader from the disk, and Secure Boot may refuse it too.
const SHELL: &[&str] = &["EFI Internal Shell"];
const SHELL_OR_REFUSED: &[&str] = &["EFI Internal Shell", "Security Violation", "Access Denied"];
/// Other reasons for which a loader is not loaded, which have rows of their own.
const NO_PROGRAM: &[&str] = &["EFI Internal Shell", "Security Violation", "Access Denied", "Not Found"];
const LOOK_BOOT_DISK: &str = "does the disk have what this firmware starts: boot code in LBA 0 for BIOS, an EFI system partition for UEFI?";
const LOOK_ROOT: &str = "root= on the kernel command line, and whether the initramfs has the driver of this machine's disk controller";
const LOOK_GRUB: &str =
    "the prefix and search lines of the first grub.cfg, and whether the partition they name still exists";

const LOOK_FSCK: &str = "fsck on a copy of the disk; was it copied while the guest wrote?";
const LOOK_DISK: &str =
    "whether the guest has the driver of this machine's disk controller, and its interrupts";
const LOOK_KEY: &str =
    "a key in a TPM or on a server is not there in the lab: drill a copy that unlocks without one";
/// GRUB waits 10 s for a key after an error and then shows its menu again, which waits for ever.
const KEY_MS: u64 = 20_000;
/// What unlocks a disk by itself has done so by then.
const PASSPHRASE_MS: u64 = 60_000;

/// All rows. Several may match one line; each counts once an attempt.
pub const PATTERNS: &[Pattern] = &[
    // Firmware
    rung("seabios", Has("SeaBIOS (version"), BIOS, Firmware),
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
    // Loader
    rung("bios-boot-sector", Has("Booting from 0000:7c00"), BIOS, Loader),
    rung("uefi-starting", All(&["BdsDxe: starting Boot"], SHELL), TEXT, Loader),
    rung("grub-welcome", Has("Welcome to GRUB"), TEXT, Loader),
    rung("grub-loading", Starts("GRUB loading"), TEXT, Loader),
    rung("grub-menu", Has("GNU GRUB  version"), TEXT, Loader),
    rung("grub-entry", Starts("Booting `"), TEXT, Loader),
    rung("sd-stub", Starts("EFI stub:"), TEXT, Loader),
    end(
        "shim-verification",
        Both("Verification failed", "Security Violation"),
        TEXT,
        (Loader, 4),
        "shim refused what it should start: not signed by a key it trusts",
        "who signed GRUB or the kernel, and MokList",
    ),
    end(
        "shim-verify",
        Has("Something has gone seriously wrong"),
        TEXT,
        (Loader, 3),
        "shim gave up",
        "the shim's message before this line",
    ),
    trouble(
        "shim-not-found",
        Both("Failed to open \\EFI\\", "Not Found"),
        TEXT,
        (Loader, 4),
        "shim did not find what it should start",
        "the GRUB in shim's own folder on the EFI system partition",
    ),
    end(
        "grub-boot-read",
        All(&["GRUB ", " Error"], &[]),
        BIOS,
        (Loader, 3),
        "GRUB's boot code could not read its core from the disk",
        "the sectors between the partition table and the first partition, and the place that LBA 0 names",
    ),
    end(
        "grub-aborted",
        Has("Aborted. Press any key to exit."),
        TEXT,
        (Loader, 3),
        "GRUB gave itself up: its core is damaged",
        "GRUB's core on the disk, and GRUB's message before this line",
    ),
    trouble(
        "grub-shim-lock",
        Has("error: bad shim signature"),
        TEXT,
        (Loader, 4),
        "GRUB refused a kernel that is not signed",
        "the kernel's signature",
    ),
    trouble(
        "grub-no-file",
        Both("error: file `", "not found"),
        TEXT,
        (Loader, 3),
        "GRUB did not find a file it needs",
        LOOK_GRUB,
    ),
    trouble(
        "grub-no-device",
        Has("error: no such device"),
        TEXT,
        (Loader, 3),
        "GRUB did not find the partition it looks for",
        LOOK_GRUB,
    ),
    trouble(
        "grub-no-partition",
        Has("error: no such partition"),
        TEXT,
        (Loader, 3),
        "GRUB did not find the partition it looks for",
        LOOK_GRUB,
    ),
    trouble(
        "grub-unknown-fs",
        Has("error: unknown filesystem"),
        TEXT,
        (Loader, 3),
        "GRUB cannot read the file system it was sent to",
        LOOK_GRUB,
    ),
    trouble(
        "grub-disk",
        Both("error: disk `", "not found"),
        TEXT,
        (Loader, 3),
        "GRUB did not find the disk it looks for",
        LOOK_GRUB,
    ),
    trouble(
        "grub-no-kernel",
        Has("error: you need to load the kernel first"),
        TEXT,
        (Loader, 2),
        "GRUB has no kernel to start",
        LOOK_GRUB,
    ),
    trouble(
        "grub-syntax",
        Has("error: syntax error"),
        TEXT,
        (Loader, 3),
        "GRUB does not understand its configuration",
        "grub.cfg: is it whole?",
    ),
    trouble(
        "grub-premature-end",
        Has("error: premature end of file"),
        TEXT,
        (Loader, 3),
        "a file that GRUB loads ends too early",
        "the length of the kernel and the initramfs on the disk",
    ),
    trouble(
        "grub-bad-magic",
        Has("error: invalid magic number"),
        TEXT,
        (Loader, 3),
        "what GRUB should load as a kernel is none",
        "the kernel's file",
    ),
    trouble(
        "grub-read",
        Has("error: failure reading sector"),
        TEXT,
        (Loader, 3),
        "GRUB could not read the disk",
        "the disk's export, and whether the BIOS reaches that far",
    ),
    trouble(
        "grub-memory",
        Has("error: out of memory"),
        TEXT,
        (Loader, 4),
        "GRUB ran out of memory",
        "the size of the initramfs, and the memory of the machine",
    ),
    waits(
        "waits-for-key",
        Has("Press any key to continue"),
        (Loader, KEY_MS),
        "the loader waits for a key that nobody presses",
        "the loader's message before this line",
    ),
    waits(
        "loader-passphrase",
        Has("Enter passphrase for hd"),
        (Loader, PASSPHRASE_MS),
        "GRUB asks for a passphrase",
        LOOK_KEY,
    ),
    waits(
        "bitlocker-recovery",
        Has("Enter the recovery key for this drive"),
        (Loader, PASSPHRASE_MS),
        "BitLocker asks for its recovery key",
        LOOK_KEY,
    ),
    // shim, fallback.c: with a TPM, boot entries are made first and then measured from the start.
    reset("shim-fallback", Starts("Reset System"), Loader, "shim made the boot entries of a fresh firmware"),
    end(
        "grub-rescue",
        Ends("grub rescue>"),
        TEXT,
        (Loader, 2),
        "GRUB stopped in its rescue shell",
        LOOK_GRUB,
    ),
    end(
        "grub-prompt",
        Ends("grub>"),
        TEXT,
        (Loader, 2),
        "GRUB stopped at its prompt: it found no menu",
        LOOK_GRUB,
    ),
    end(
        "mbr-missing-os",
        Starts("Missing operating system"),
        BIOS,
        (Loader, 2),
        "the boot code found no system on the active partition",
        LOOK_BOOT_DISK,
    ),
    end(
        "mbr-bad-table",
        Starts("Invalid partition table"),
        BIOS,
        (Loader, 2),
        "the boot code refused the partition table",
        LOOK_BOOT_DISK,
    ),
    end(
        "mbr-load-error",
        Starts("Error loading operating system"),
        BIOS,
        (Loader, 2),
        "the boot code could not read the system's boot sector",
        LOOK_BOOT_DISK,
    ),
    end(
        "bootmgr-missing",
        Has("BOOTMGR is missing"),
        BIOS,
        (Loader, 2),
        "BOOTMGR is missing",
        "the active partition and its boot files (bcdboot)",
    ),
    end(
        "windows-recovery",
        Has("Your PC/Device needs to be repaired"),
        TEXT,
        (Loader, 2),
        "the Windows boot manager stopped",
        "the status code on the screen, and the BCD store",
    ),
    end(
        "windows-failed",
        Has("Windows failed to start"),
        TEXT,
        (Loader, 2),
        "the Windows boot manager stopped",
        "the status code on the screen, and the BCD store",
    ),
    // Kernel
    rung("linux-version", Has("Linux version "), TEXT, Kernel),
    rung("linux-command-line", Has("Kernel command line:"), TEXT, Kernel),
    rung("linux-time", Starts("[    0."), TEXT, Kernel),
    // Under TCG the emulated timer stands still while the host runs something else, and a kernel that checks it panics. Linux
    // `arch/x86/kernel/apic/io_apic.c`, `check_timer`; it does not check on Hyper-V or KVM.
    end(
        LAB_TIMER,
        Has("Kernel panic - not syncing: IO-APIC + timer doesn't work"),
        TEXT,
        (Kernel, 6),
        "the emulated timer did not tick in time: this host is too busy for the boot to say anything about the guest",
        "give the host a rest, and boot again",
    ),
    end(
        "linux-unpack",
        Has("-- System halted"),
        TEXT,
        (Kernel, 4),
        "the kernel could not unpack itself",
        "the kernel's file: compare it with the package it came from",
    ),
    trouble(
        "initramfs-unpack",
        Has("Initramfs unpacking failed"),
        TEXT,
        (Kernel, 5),
        "the kernel could not unpack its initramfs",
        "the initramfs file: make it anew (update-initramfs, dracut)",
    ),
    trouble(
        "root-not-mounted",
        Has("VFS: Cannot open root device"),
        TEXT,
        (Kernel, 3),
        "the kernel did not find its root device",
        LOOK_ROOT,
    ),
    end(
        "root-unmountable",
        Has("VFS: Unable to mount root fs"),
        TEXT,
        (Kernel, 4),
        "the kernel could not mount its root file system",
        LOOK_ROOT,
    ),
    end(
        "no-init",
        Has("No working init found"),
        TEXT,
        (Kernel, 4),
        "the kernel found no init program",
        "/sbin/init on the root file system",
    ),
    end(
        "memory-deadlock",
        Has("System is deadlocked on memory"),
        TEXT,
        (Kernel, 5),
        "the kernel ran out of memory",
        "the memory of the machine, and the size of the initramfs",
    ),
    trouble(
        "out-of-memory",
        Has("Out of memory: Kill"),
        TEXT,
        (Kernel, 3),
        "the kernel ran out of memory and killed a program",
        "the memory of the machine",
    ),
    // Linux, drivers/ata/libata-eh.c and drivers/scsi/scsi_logging.c. Under a host that was late for a disk the answer is not this cause but broken.
    trouble(
        "disk-timeout",
        Both("ata", "qc timeout (cmd"),
        TEXT,
        (Kernel, 3),
        "the disk did not answer the guest in time",
        LOOK_DISK,
    ),
    trouble(
        "disk-frozen",
        All(&["ata", "exception Emask", "frozen"], &[]),
        TEXT,
        (Kernel, 3),
        "the disk did not answer the guest in time",
        LOOK_DISK,
    ),
    trouble(
        "disk-timeout-scsi",
        Has("hostbyte=DID_TIME_OUT"),
        TEXT,
        (Kernel, 3),
        "the disk did not answer the guest in time",
        LOOK_DISK,
    ),
    trouble(
        "disk-error",
        Has("I/O error, dev "),
        TEXT,
        (Kernel, 3),
        "the guest got an error from its disk",
        LOOK_FSCK,
    ),
    trouble(
        "hung-task",
        Both("INFO: task ", "blocked for more than"),
        TEXT,
        (Kernel, 2),
        "a program waits in the kernel and does not come back",
        "the call trace behind this line",
    ),
    // Windows Emergency Management Services. "Special Administration Console (SAC) and SAC commands", Microsoft.
    rung("windows-sac", Has("Computer is booting, SAC started"), TEXT, Kernel),
    rung("windows-sac-prompt", Ends("SAC>"), TEXT, Kernel),
    end(
        "panic",
        Has("Kernel panic - not syncing"),
        TEXT,
        (Kernel, 2),
        "the kernel panicked",
        "the call trace before the panic",
    ),
    // Init
    rung("run-init", Both("Run /", "as init process"), TEXT, Init),
    rung("systemd", Has("systemd[1]:"), TEXT, Init),
    rung("initramfs-tools", Has("Loading, please wait..."), TEXT, Init),
    rung("windows-sac-cmd", Has("The CMD command is now available"), TEXT, Init),
    trouble(
        "initramfs-alert",
        Both("ALERT!", "does not exist"),
        TEXT,
        (Init, 3),
        "the initramfs did not find the root device",
        LOOK_ROOT,
    ),
    trouble(
        "initramfs-no-root",
        Has("cannot find root"),
        TEXT,
        (Init, 4),
        "the initramfs found no root file system of that name",
        LOOK_ROOT,
    ),
    trouble(
        "root-journal",
        Both("EXT4-fs", "loading journal"),
        TEXT,
        (Init, 5),
        "the root file system was refused: its journal cannot be read",
        "fsck on a copy of the disk",
    ),
    trouble(
        "initramfs-no-init",
        All(&["DRILL-NOROOT cannot use"], &[]),
        TEXT,
        (Init, 4),
        "the initramfs found the root file system and no init on it that it could start",
        "/sbin/init on the root file system",
    ),
    trouble(
        "init-not-started",
        Has("switch_root: can't execute"),
        TEXT,
        (Init, 4),
        "the initramfs handed over to an init that cannot be executed",
        "the mode of /sbin/init and of what it links to",
    ),
    trouble(
        "initramfs-no-init-found",
        Has("No init found. Try passing init="),
        TEXT,
        (Init, 4),
        "the initramfs found the root file system and no init on it that it could start",
        "/sbin/init on the root file system",
    ),
    end(
        "initramfs-prompt",
        Ends("(initramfs)"),
        TEXT,
        (Init, 2),
        "the boot stopped in the initramfs shell",
        LOOK_ROOT,
    ),
    trouble(
        "dracut-timeout",
        Has("Warning: dracut-initqueue: timeout"),
        TEXT,
        (Init, 3),
        "dracut waited in vain for the root device",
        LOOK_ROOT,
    ),
    end(
        "dracut-prompt",
        Ends("dracut:/#"),
        TEXT,
        (Init, 2),
        "the boot stopped in dracut's emergency shell",
        LOOK_ROOT,
    ),
    trouble(
        "fsck-manual",
        Has("RUN fsck MANUALLY"),
        TEXT,
        (Init, 5),
        "a file system is damaged: fsck wants a person",
        LOOK_FSCK,
    ),
    trouble(
        "fsck-root",
        Both("The root filesystem on", "requires a manual fsck"),
        TEXT,
        (Init, 5),
        "the root file system is damaged: fsck wants a person",
        LOOK_FSCK,
    ),
    trouble(
        "fsck-unit",
        Both("Failed to start", "File System Check on"),
        TEXT,
        (Init, 5),
        "a file system is damaged: fsck failed",
        LOOK_FSCK,
    ),
    trouble(
        "driver-missing",
        All(&["modprobe:", "FATAL: Module", "not found"], &[]),
        TEXT,
        (Init, 1),
        "a driver is missing: the module that was asked for is not there",
        "the modules of the kernel that runs, in the initramfs and on the root",
    ),
    trouble(
        "driver-refused",
        All(&["modprobe:", "ERROR: could not insert"], &[]),
        TEXT,
        (Init, 1),
        "a driver is missing: its module could not be loaded",
        "the modules of the kernel that runs, and who signed them",
    ),
    waits(
        "passphrase",
        All(&["nter passphrase for"], &["passphrase for hd"]),
        (Init, PASSPHRASE_MS),
        "the system asks for the passphrase of a disk",
        LOOK_KEY,
    ),
    waits(
        "passphrase-initramfs",
        Has("Please unlock disk"),
        (Init, PASSPHRASE_MS),
        "the system asks for the passphrase of a disk",
        LOOK_KEY,
    ),
    reset(
        "selinux-relabel",
        All(&["SELinux", "relabel is required"], &[]),
        Init,
        "SELinux labels all files anew",
    ),
    reset("fsck-reboot", Has("***** REBOOT "), Init, "fsck repaired a file system that was mounted"),
    end(
        "emergency",
        Has("You are in emergency mode"),
        TEXT,
        (Init, 2),
        "systemd stopped in emergency mode",
        "/etc/fstab: does every device in it exist on this machine?",
    ),
    end(
        "maintenance",
        Has("for maintenance"),
        TEXT,
        (Init, 1),
        "the system asks for maintenance",
        "/etc/fstab and the journal",
    ),
    trouble(
        "mount-unit",
        Both("Dependency failed for", "/"),
        TEXT,
        (Init, 3),
        "a mount in /etc/fstab failed",
        "/etc/fstab",
    ),
    // Ready
    rung("drill-ready", Starts("DRILL-READY"), TEXT, Ready),
    rung("login", Ends("login:"), TEXT, Ready),
];
