//! What machine to start, and the argument list that starts it. Pure: the same machine and wiring give the same list.

use crate::firmware::FirmwareFiles;
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// IDE on `-machine pc` has two channels of two disks.
pub const MAX_IDE_DISKS: usize = 4;
/// Far below virtio-scsi's 256 targets; more than any machine this was made for.
pub const MAX_SCSI_DISKS: usize = 64;

/// What a guest may write to each disk if nobody says otherwise: far more than a boot and its first hour of work, far less than a host's disk.
pub const CHILD_LIMIT: u64 = 32 << 30;

/// The two kinds of virtual machine, by Hyper-V's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// BIOS and IDE disks.
    Gen1,
    /// UEFI and SCSI disks.
    Gen2,
}

/// Where a machine's disks hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskBus {
    /// The IDE controller of `-machine pc`, as Hyper-V's Generation 1 has one.
    Ide,
    /// A virtio-scsi controller, on either machine.
    VirtioScsi,
}

impl Generation {
    /// Where the disks of such a machine hang when nobody says otherwise.
    pub fn disk_bus(self) -> DiskBus {
        match self {
            Generation::Gen1 => DiskBus::Ide,
            Generation::Gen2 => DiskBus::VirtioScsi,
        }
    }
}

impl DiskBus {
    /// Its name for people: `ide`, `virtio-scsi`.
    pub fn name(self) -> &'static str {
        match self {
            DiskBus::Ide => "ide",
            DiskBus::VirtioScsi => "virtio-scsi",
        }
    }
}

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor, through `/dev/kvm`.
    Kvm,
    /// QEMU's own translator: slower, works everywhere.
    Tcg,
}

/// Where the unchanged bytes of a disk come from. Never written.
#[derive(Debug, Clone)]
pub enum Base {
    /// An NBD server on a local socket.
    Nbd {
        /// The server's socket.
        socket: PathBuf,
        /// The export's name; may be empty.
        export: String,
    },
    /// An open descriptor of a raw image, opened read-only.
    ReadOnlyFd(Arc<OwnedFd>),
}

/// One disk of the machine.
#[derive(Debug, Clone)]
pub struct Drive {
    /// The bytes underneath.
    pub base: Base,
    /// A qcow2 file made by [`create_child`](crate::create_child) that takes the guest's writes.
    /// Without it the disk is read-only, which IDE cannot be.
    pub child: Option<PathBuf>,
    /// Logical sector size in bytes: 512, or 4096 for a 4Kn disk, which Generation 1 cannot have.
    pub sector: u32,
}

/// The machine to start.
#[derive(Debug, Clone)]
pub struct Machine {
    /// BIOS, or UEFI.
    pub generation: Generation,
    /// Where its disks hang.
    pub bus: DiskBus,
    /// RAM, in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// Generation 2 only: enforce Secure Boot with the enrolled Microsoft keys.
    pub secure_boot: bool,
    /// Generation 2 only: the firmware's variables as an earlier start left them; a store without any boot entry otherwise.
    pub nvram: Option<PathBuf>,
    /// Generation 2 only: a TPM 2.0, new at every start.
    pub tpm: bool,
    /// The disks, in controller order; the first is tried first.
    pub disks: Vec<Drive>,
    /// Offer the QEMU guest agent's channel.
    pub agent: bool,
    /// Bytes that each child may take on this host; a guest that writes more is stopped.
    pub child_limit: u64,
    /// OEM strings of the firmware's tables (SMBIOS 3.6 §7.12, type 11), which a guest reads without being asked.
    pub oem_strings: Vec<String>,
}

/// Why a machine cannot exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MachineError {
    /// More disks than the controller has places.
    #[error("{} takes at most {max} disks, {asked} were given", .bus.name())]
    TooManyDisks {
        /// Which controller.
        bus: DiskBus,
        /// Its places.
        max: usize,
        /// The disks given.
        asked: usize,
    },
    /// IDE has no read-only disks.
    #[error("disk {0} has no child: an IDE disk cannot be read-only; give it a child file")]
    ReadOnlyIde(usize),
    /// The UEFI machine has no IDE controller.
    #[error("IDE disks were asked of a Generation 2 machine, which has no IDE controller")]
    IdeWithUefi,
    /// A BIOS knows only sectors of 512 bytes, UEFI here those and 4096.
    #[error("disk {disk} has sectors of {sector} bytes: a {generation:?} disk has {wanted}")]
    Sector {
        /// Which disk.
        disk: usize,
        /// Its sector size.
        sector: u32,
        /// Which machine.
        generation: Generation,
        /// What it takes.
        wanted: &'static str,
    },
    /// Secure Boot needs UEFI.
    #[error("secure boot was asked of a Generation 1 machine, which has no UEFI")]
    SecureBootWithoutUefi,
    /// So does a TPM.
    #[error("a TPM was asked of a Generation 1 machine, which has none on Hyper-V")]
    TpmWithoutUefi,
    /// Zero memory or processors.
    #[error("a machine needs memory and at least one processor, got {memory_mib} MiB and {cpus}")]
    Empty {
        /// MiB asked for.
        memory_mib: u32,
        /// Processors asked for.
        cpus: u32,
    },
}

impl Machine {
    /// A machine with 1 GiB, two processors, an agent channel and no disk.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            bus: generation.disk_bus(),
            memory_mib: 1024,
            cpus: 2,
            secure_boot: false,
            nvram: None,
            tpm: false,
            disks: Vec::new(),
            agent: true,
            child_limit: CHILD_LIMIT,
            oem_strings: Vec::new(),
        }
    }

    /// Whether this machine can be built.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self) -> Result<(), MachineError> {
        if self.memory_mib == 0 || self.cpus == 0 {
            return Err(MachineError::Empty { memory_mib: self.memory_mib, cpus: self.cpus });
        }
        if self.generation == Generation::Gen2 && self.bus == DiskBus::Ide {
            return Err(MachineError::IdeWithUefi);
        }
        let max = match self.bus {
            DiskBus::Ide => MAX_IDE_DISKS,
            DiskBus::VirtioScsi => MAX_SCSI_DISKS,
        };
        if self.disks.len() > max {
            return Err(MachineError::TooManyDisks { bus: self.bus, max, asked: self.disks.len() });
        }
        let (sectors, wanted): (&[u32], _) = match self.generation {
            Generation::Gen1 => (&[512], "512"),
            Generation::Gen2 => (&[512, 4096], "512 or 4096"),
        };
        if let Some(disk) = self.disks.iter().position(|d| !sectors.contains(&d.sector)) {
            let (sector, generation) = (self.disks[disk].sector, self.generation);
            return Err(MachineError::Sector { disk, sector, generation, wanted });
        }
        if self.generation == Generation::Gen1 && self.secure_boot {
            return Err(MachineError::SecureBootWithoutUefi);
        }
        if self.generation == Generation::Gen1 && self.tpm {
            return Err(MachineError::TpmWithoutUefi);
        }
        match self.disks.iter().position(|d| d.child.is_none()) {
            Some(n) if self.bus == DiskBus::Ide => Err(MachineError::ReadOnlyIde(n)),
            _ => Ok(()),
        }
    }
}

/// The descriptor numbers QEMU inherits for one disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriveFds {
    /// The read-only base, if it is a file.
    pub base: Option<i32>,
    /// The writable child.
    pub child: Option<i32>,
}

/// Everything about a start that is not the machine itself.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// Shown as the process's guest name; how a later sweep recognises it.
    pub marker: String,
    /// What executes the guest.
    pub accel: Accel,
    /// Connected socket: QMP.
    pub qmp_fd: i32,
    /// Connected socket: the first serial port.
    pub serial_fd: i32,
    /// Connected socket: the second serial port.
    pub serial2_fd: i32,
    /// Connected socket: the firmware's debug port, 0x402.
    pub debug_fd: i32,
    /// Connected socket: the guest agent's channel.
    pub agent_fd: Option<i32>,
    /// Connected socket: the TPM's control channel.
    pub tpm_fd: Option<i32>,
    /// An open file for each OEM string.
    pub oem_fds: Vec<i32>,
    /// One entry a disk.
    pub drives: Vec<DriveFds>,
    /// Generation 2: the firmware's code and this boot's variables.
    pub firmware: Option<FirmwareFiles>,
}

/// The arguments that start `machine`, stopped before its first instruction. Names of files travel as JSON or as
/// inherited descriptors, so a comma in a path means nothing.
pub fn arguments(machine: &Machine, wiring: &Wiring) -> Vec<String> {
    let mut args = Args::default();
    args.add("-name", format!("guest={}", wiring.marker));
    for flag in ["-nodefaults", "-no-user-config", "-S"] {
        args.0.push(flag.to_owned());
    }
    args.add("-machine", machine_option(machine, wiring));
    args.add("-cpu", if wiring.accel == Accel::Kvm { "host" } else { "max" });
    args.add("-m", format!("{}M", machine.memory_mib));
    args.add("-smp", machine.cpus.to_string());
    args.add("-display", "none");
    args.add("-vga", "std");
    args.add("-nic", "none");
    args.add("-rtc", "base=utc");
    args.add("-boot", "menu=off,strict=on");
    // A guest that powers off or panics is kept, paused, to be looked at; a reset is a new attempt of the same machine.
    args.add("-action", "reboot=reset,shutdown=pause,panic=pause");
    args.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    args.socket("qmp", wiring.qmp_fd);
    args.add("-mon", "chardev=qmp,mode=control");
    args.socket("serial0", wiring.serial_fd);
    args.add("-serial", "chardev:serial0");
    // Windows may have its emergency console on COM2, Linux its own on ttyS1; Hyper-V has two ports too.
    args.socket("serial1", wiring.serial2_fd);
    args.add("-serial", "chardev:serial1");
    // By this port a guest says that it panics (QEMU, docs/specs/pvpanic.txt).
    args.device(json!({"driver": "pvpanic"}));
    args.socket("debug", wiring.debug_fd);
    args.device(json!({"driver": "isa-debugcon", "iobase": 0x402, "chardev": "debug"}));
    if let Some(fd) = wiring.agent_fd {
        args.socket("agent", fd);
        args.device(json!({"driver": "virtio-serial-pci", "id": "ports"}));
        args.device(json!({"driver": "virtserialport", "bus": "ports.0", "chardev": "agent",
            "name": "org.qemu.guest_agent.0"}));
    }
    if let Some(fd) = wiring.tpm_fd {
        args.socket("tpm", fd);
        args.add("-tpmdev", "emulator,id=tpm0,chardev=tpm");
        args.device(json!({"driver": "tpm-crb", "tpmdev": "tpm0"}));
    }
    for fd in &wiring.oem_fds {
        args.add("-smbios", format!("type=11,path=/dev/fd/{fd}"));
    }
    if let Some(firmware) = &wiring.firmware {
        args.flash("firmware-code", &firmware.code, true);
        args.flash("firmware-vars", &firmware.vars, false);
        if machine.secure_boot {
            args.add("-global", "driver=cfi.pflash01,property=secure,value=on");
        }
    }
    if machine.bus == DiskBus::VirtioScsi {
        args.device(json!({"driver": "virtio-scsi-pci", "id": "scsi"}));
    }
    for (index, drive) in machine.disks.iter().enumerate() {
        let fds = wiring.drives.get(index).copied().unwrap_or_default();
        args.drive(machine.bus, index, drive, fds);
    }
    args.0
}

/// The id of a disk's device.
pub(crate) fn disk_id(index: usize) -> String {
    format!("disk{index}-device")
}

fn machine_option(machine: &Machine, wiring: &Wiring) -> String {
    let accel = match wiring.accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "tcg",
    };
    let mut option = match machine.generation {
        Generation::Gen1 => format!("pc,accel={accel}"),
        Generation::Gen2 if machine.secure_boot => format!("q35,accel={accel},smm=on"),
        Generation::Gen2 => format!("q35,accel={accel}"),
    };
    if wiring.firmware.is_some() {
        option.push_str(",pflash0=firmware-code,pflash1=firmware-vars");
    }
    option
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(name.to_owned());
        self.0.push(value.into());
    }

    fn socket(&mut self, id: &str, fd: i32) {
        self.add("-chardev", format!("socket,id={id},fd={fd}"));
    }

    fn device(&mut self, value: Value) {
        self.add("-device", value.to_string());
    }

    fn blockdev(&mut self, value: Value) {
        self.add("-blockdev", value.to_string());
    }

    fn flash(&mut self, node: &str, path: &std::path::Path, read_only: bool) {
        self.blockdev(json!({"driver": "file", "node-name": node, "filename": path.to_string_lossy(),
            "read-only": read_only}));
    }

    fn drive(&mut self, bus: DiskBus, index: usize, drive: &Drive, fds: DriveFds) {
        let base = format!("disk{index}-base");
        match &drive.base {
            Base::Nbd { socket, export } => self.blockdev(json!({"driver": "nbd", "node-name": base,
                "server": {"type": "unix", "path": socket.to_string_lossy()}, "export": export, "read-only": true})),
            Base::ReadOnlyFd(_) => {
                let filename = self.fdset(index * 2 + 1, fds.base);
                self.blockdev(json!({"driver": "file", "node-name": format!("{base}-file"), "filename": filename,
                    "read-only": true}));
                self.blockdev(json!({"driver": "raw", "node-name": base, "file": format!("{base}-file"),
                    "read-only": true}));
            }
        }
        let top = if drive.child.is_some() {
            let (top, file) = (format!("disk{index}"), format!("disk{index}-file"));
            let filename = self.fdset(index * 2 + 2, fds.child);
            self.blockdev(json!({"driver": "file", "node-name": file, "filename": filename}));
            // "backing" is said here, so nothing the file says about a backing file is looked at.
            self.blockdev(json!({"driver": "qcow2", "node-name": top, "file": file, "backing": base,
                "discard": "unmap"}));
            top
        } else {
            base
        };
        let mut device = match bus {
            DiskBus::Ide => {
                json!({"driver": "ide-hd", "id": disk_id(index), "bus": format!("ide.{}", index / 2),
                "unit": index % 2, "drive": top, "bootindex": index + 1})
            }
            DiskBus::VirtioScsi => {
                json!({"driver": "scsi-hd", "id": disk_id(index), "bus": "scsi.0", "scsi-id": index, "drive": top,
                "bootindex": index + 1})
            }
        };
        // Said only when it is not the default, 512.
        if drive.sector != 512 {
            device["logical_block_size"] = json!(drive.sector);
            device["physical_block_size"] = json!(drive.sector);
        }
        self.device(device);
    }

    fn fdset(&mut self, set: usize, fd: Option<i32>) -> String {
        self.add("-add-fd", format!("fd={},set={set}", fd.unwrap_or(-1)));
        format!("/dev/fdset/{set}")
    }
}
