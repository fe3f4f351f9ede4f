//! Guests of one sector: each is a few instructions of real mode, started by SeaBIOS under TCG.

#![allow(dead_code, reason = "each test file uses its part")]

use qemu::{
    Accel, AccelChoice, Base, Cancel, Deadline, Drive, Expect, Generation, Host, Machine, Paths, Verdict, Vm,
    create_child,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The disk of a guest of one sector: longer than any of them writes.
pub const DISK: u64 = 256 << 20;

/// `cld; xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7000`
pub const BEGIN: &[u8] = &[0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70];
/// `hlt; jmp $-1` with interrupts as they are.
pub const IDLE: &[u8] = &[0xf4, 0xeb, 0xfd];

/// Writes `text` to a port; falls through to what follows.
pub fn say(port: u16, text: &str) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    // call over the text; pop si; mov dx, port; lodsb; test al, al; jz +3; out dx, al; jmp -8
    let len = u16::try_from(text.len() + 1).unwrap().to_le_bytes();
    let mut code = vec![0xe8, len[0], len[1]];
    code.extend(text.bytes());
    code.extend([0, 0x5e, 0xba, low, high, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]);
    code
}

/// Waits so many ticks of the BIOS clock (18.2 a second), halted in between.
pub fn sleep(ticks: u16) -> Vec<u8> {
    let [low, high] = ticks.to_le_bytes();
    // sti; mov ah, 0; int 1a; mov bx, dx; l: hlt; mov ah, 0; int 1a; sub dx, bx; cmp dx, ticks; jb l
    let begin = [0xfb, 0xb4, 0x00, 0xcd, 0x1a, 0x89, 0xd3];
    let turn = [0xf4, 0xb4, 0x00, 0xcd, 0x1a, 0x29, 0xda, 0x81, 0xfa, low, high, 0x72, 0xf3];
    [&begin[..], &turn].concat()
}

pub fn sector(parts: &[&[u8]]) -> Vec<u8> {
    let mut sector = parts.concat();
    assert!(sector.len() <= 510, "{} bytes are no boot sector", sector.len());
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

pub fn host() -> Host {
    Host::discover(&std::env::var_os("PATH").unwrap(), None, AccelChoice::Forced(Accel::Tcg)).unwrap()
}

/// A Generation 1 machine whose disk begins with `sector`.
pub fn machine(host: &Host, dir: &Path, sector: &[u8]) -> Machine {
    let (image, child) = (dir.join("base.img"), dir.join("child.qcow2"));
    std::fs::write(&image, sector).unwrap();
    std::fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(DISK).unwrap();
    create_child(&host.qemu_img, &child, DISK).unwrap();
    let mut machine = Machine::new(Generation::Gen1);
    (machine.memory_mib, machine.cpus, machine.agent) = (64, 1, false);
    let base = Base::ReadOnlyFd(Arc::new(std::fs::File::open(&image).unwrap().into()));
    machine.disks.push(Drive { base, child: Some(child), sector: 512 });
    machine
}

pub fn start(host: &Host, dir: &Path, machine: &Machine) -> Vm {
    let run_dir = dir.join("run");
    std::fs::create_dir(&run_dir).unwrap();
    Vm::start(host, machine, &Paths { run_dir, ..Paths::default() }, Box::new(|_| ()), &Cancel::new())
        .unwrap()
}

/// Starts a guest of one sector.
pub fn boot(dir: &Path, parts: &[&[u8]]) -> Vm {
    let host = host();
    start(&host, dir, &machine(&host, dir, &sector(parts)))
}

pub fn wait(vm: &Vm, word: &str, seconds: u64) -> Verdict {
    let expect = if word.is_empty() { Expect::Ready } else { Expect::Text(word.to_owned()) };
    vm.wait_ready(&expect, Deadline::after(Duration::from_secs(seconds)), &Cancel::new())
}
