//! What kernels say.

use super::Needle::{All, Both, Ends, Has, Starts};
use super::{LOOK_FSCK, LOOK_ROOT, Pattern, TEXT, end, rung, trouble};
use crate::ladder::Rung::Kernel;

/// The cause that is the host's and not the guest's.
pub(in crate::ladder) const LAB_TIMER: &str = "lab-timer";

const LOOK_DISK: &str =
    "whether the guest has the driver of this machine's disk controller, and its interrupts";

/// The rows.
pub(super) const ROWS: &[Pattern] = &[
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
];
