//! The argument lists, as snapshots for a reader, and the machines that cannot be.

use qemu::firmware::FirmwareFiles;
use qemu::{Accel, Base, DiskBus, Drive, DriveFds, Generation, Machine, MachineError, Wiring, arguments};
use std::sync::Arc;

fn wiring(accel: Accel, drives: Vec<DriveFds>) -> Wiring {
    Wiring {
        marker: "drill-0011223344556677".into(),
        accel,
        qmp_fd: 10,
        serial_fd: 11,
        serial2_fd: 14,
        debug_fd: 12,
        agent_fd: Some(13),
        tpm_fd: None,
        oem_fds: Vec::new(),
        drives,
        firmware: None,
    }
}

fn nbd(child: bool) -> Drive {
    Drive {
        base: Base::Nbd { socket: "/run/a,b/nbd.sock".into(), export: "disk,0".into() },
        child: child.then(|| "/run/a,b/child.qcow2".into()),
        sector: 512,
    }
}

/// One option and its value a line.
fn lines(args: &[String]) -> String {
    let mut text = String::new();
    for arg in args {
        text.push_str(if arg.starts_with('-') && !text.is_empty() { "\n" } else { " " });
        text.push_str(arg);
    }
    text.trim().to_owned()
}

#[test]
fn generation_1_has_ide_disks_with_children_on_nbd() {
    let mut machine = Machine::new(Generation::Gen1);
    machine.disks = vec![nbd(true), nbd(true), nbd(true)];
    let child = |fd| DriveFds { base: None, child: Some(fd) };
    let wiring = wiring(Accel::Tcg, vec![child(20), child(21), child(22)]);
    insta::assert_snapshot!(lines(&arguments(&machine, &wiring)));
}

#[test]
fn generation_2_has_scsi_disks_uefi_and_secure_boot() {
    let mut machine = Machine::new(Generation::Gen2);
    machine.secure_boot = true;
    let file = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    machine.disks = vec![
        Drive { base: Base::ReadOnlyFd(file), child: Some("/run/child".into()), sector: 512 },
        nbd(false),
    ];
    let drives = vec![DriveFds { base: Some(20), child: Some(21) }, DriveFds::default()];
    let mut wiring = wiring(Accel::Kvm, drives);
    wiring.firmware =
        Some(FirmwareFiles { code: "/fw/code.fd".into(), vars: "/run/a,b/uefi-vars.fd".into() });
    insta::assert_snapshot!(lines(&arguments(&machine, &wiring)));
}

#[test]
fn a_4kn_disk_says_its_sector_size_and_only_it() {
    let mut machine = Machine::new(Generation::Gen2);
    machine.disks = vec![Drive { sector: 4096, ..nbd(true) }, nbd(true)];
    assert_eq!(machine.check(), Ok(()));
    let child = |fd| DriveFds { base: None, child: Some(fd) };
    let shown = lines(&arguments(&machine, &wiring(Accel::Tcg, vec![child(20), child(21)])));
    let said: Vec<bool> = shown
        .lines()
        .filter(|l| l.contains("scsi-hd"))
        .map(|l| l.contains("\"logical_block_size\":4096") && l.contains("\"physical_block_size\":4096"))
        .collect();
    assert_eq!(said, [true, false], "{shown}");
}

#[test]
fn a_tpm_is_a_device_with_a_socket_of_its_own() {
    let mut machine = Machine::new(Generation::Gen2);
    machine.tpm = true;
    assert_eq!(machine.check(), Ok(()));
    let shown = lines(&arguments(&machine, &Wiring { tpm_fd: Some(14), ..wiring(Accel::Tcg, vec![]) }));
    for wanted in ["socket,id=tpm,fd=14", "emulator,id=tpm0,chardev=tpm", "\"driver\":\"tpm-crb\""] {
        assert!(shown.contains(wanted), "wanted {wanted} in\n{shown}");
    }
}

#[test]
fn a_bios_machine_may_have_its_disks_on_virtio_scsi() {
    let mut machine = Machine::new(Generation::Gen1);
    machine.bus = DiskBus::VirtioScsi;
    machine.disks = (0..5).map(|_| nbd(true)).collect();
    assert_eq!(machine.check(), Ok(()));
    let child = |fd| DriveFds { base: None, child: Some(fd) };
    let shown = lines(&arguments(&machine, &wiring(Accel::Tcg, (20..25).map(child).collect())));
    assert!(shown.contains("-machine pc,accel=tcg") && shown.contains("virtio-scsi-pci"), "{shown}");
    assert_eq!(shown.matches("scsi-hd").count(), 5, "{shown}");
    assert!(!shown.contains("ide-hd"), "{shown}");
}

#[test]
fn machines_that_cannot_be_are_refused() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Machine), expect: MachineError) {
        let mut machine = Machine::new(Generation::Gen1);
        change(&mut machine);
        assert_eq!(machine.check(), Err(expect));
    }
    check(|m| m.secure_boot = true, MachineError::SecureBootWithoutUefi);
    check(|m| m.tpm = true, MachineError::TpmWithoutUefi);
    check(|m| m.disks = vec![nbd(true), nbd(false)], MachineError::ReadOnlyIde(1));
    check(
        |m| m.disks = (0..5).map(|_| nbd(true)).collect(),
        MachineError::TooManyDisks { bus: DiskBus::Ide, max: 4, asked: 5 },
    );
    check(
        |m| m.disks = vec![Drive { sector: 4096, ..nbd(true) }],
        MachineError::Sector { disk: 0, sector: 4096, generation: Generation::Gen1, wanted: "512" },
    );
    check(|m| m.generation = Generation::Gen2, MachineError::IdeWithUefi);
    check(|m| m.cpus = 0, MachineError::Empty { memory_mib: 1024, cpus: 0 });
    assert_eq!(Machine::new(Generation::Gen2).check(), Ok(()));
}
