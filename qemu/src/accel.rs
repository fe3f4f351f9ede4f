//! KVM or TCG, by a tiny real boot. `/dev/kvm` may be there and be useless (a nested host on which UEFI dies with
//! `KVM internal error`), so its presence says nothing; what was measured is remembered until the host boots again.

use crate::host::{AccelChoice, Host, create_child};
use crate::ladder::{Expect, Outcome};
use crate::machine::{Accel, Base, Drive, Generation, Machine};
use crate::time::{Cancel, Deadline};
use crate::vm::{Paths, Vm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A healthy KVM answers in well under a second (BIOS) or three (UEFI).
const PROBE: Duration = Duration::from_secs(8);
/// Rounds of an empty loop that come before the probe's word. A KVM without the help of the processor (nested, "unrestricted guest" missing) emulates
/// BIOS code instruction by instruction: measured 0.6 µs a round, so 30 s in all; healthy KVM and TCG need a fraction of a second.
const PROBE_ROUNDS: u32 = 50_000_000;
const PROBE_WORD: &str = "DRILL-PROBE-OK";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measured {
    accel: Accel,
    reason: String,
}

/// What executes a machine of this generation here. Never fails: TCG works everywhere.
pub(crate) fn choose(host: &Host, generation: Generation, paths: &Paths, cancel: &Cancel) -> Accel {
    let memory = match &host.accel {
        AccelChoice::Forced(accel) => return *accel,
        AccelChoice::Measured { memory } => memory,
    };
    if rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).is_err() {
        return Accel::Tcg;
    }
    let key = key(host, generation);
    let mut known: BTreeMap<String, Measured> =
        std::fs::read(memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    if let Some(measured) = known.get(&key) {
        return measured.accel;
    }
    let measured = match measure(host, generation, Accel::Kvm, &paths.run_dir, cancel) {
        Ok(()) => Measured { accel: Accel::Kvm, reason: "a tiny machine started under KVM".to_owned() },
        Err(reason) => Measured { accel: Accel::Tcg, reason },
    };
    if !cancel.is_cancelled() {
        let accel = measured.accel;
        // Only this boot of this host counts; entries of others are let go.
        known.retain(|key, _| key.contains(&host.boot_id));
        known.insert(key, measured);
        remember(memory, &known);
        return accel;
    }
    Accel::Tcg
}

/// Starts a tiny machine under `accel` and says why it did not do what it must.
pub fn measure(
    host: &Host,
    generation: Generation,
    accel: Accel,
    run_dir: &Path,
    cancel: &Cancel,
) -> Result<(), String> {
    let dir = run_dir.join(format!(".probe-{generation:?}-{accel:?}"));
    let probe = || {
        std::fs::create_dir_all(&dir)?;
        let machine = tiny(host, generation, &dir)?;
        let paths = Paths { run_dir: dir.clone(), ..Paths::default() };
        Vm::start_with(host, &machine, &paths, Box::new(|_| ()), cancel, accel).map_err(std::io::Error::other)
    };
    let verdict = probe().map(|vm| {
        let expect = match generation {
            Generation::Gen1 => PROBE_WORD,
            Generation::Gen2 => "BdsDxe:",
        };
        vm.wait_ready(&Expect::Text(expect.to_owned()), Deadline::after(PROBE), cancel)
    });
    let _ = std::fs::remove_dir_all(&dir);
    match verdict.map(|v| v.outcome) {
        Ok(Outcome::Ready { .. }) => Ok(()),
        Ok(Outcome::Broken { reason }) => Err(reason),
        Ok(_) => Err(format!("a tiny {generation:?} machine did not start within {} s", PROBE.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

fn tiny(host: &Host, generation: Generation, dir: &Path) -> std::io::Result<Machine> {
    let mut machine = Machine::new(generation);
    (machine.memory_mib, machine.cpus, machine.agent) = (128, 1, false);
    if generation == Generation::Gen1 {
        let image = dir.join("sector.img");
        std::fs::File::create(&image)?.write_all(&probe_disk())?;
        let child = dir.join("sector.qcow2");
        create_child(&host.qemu_img, &child, PROBE_DISK as u64)?;
        let base = Base::ReadOnlyFd(Arc::new(std::fs::File::open(&image)?.into()));
        machine.disks.push(Drive { base, child: Some(child), sector: 512 });
    }
    Ok(machine)
}

const PROBE_DISK: usize = 1024 * 1024;

/// A disk whose boot sector is busy for a moment, writes [`PROBE_WORD`] to the first serial port and halts.
fn probe_disk() -> Vec<u8> {
    let mut disk = sector(PROBE_WORD, Some(PROBE_ROUNDS));
    disk.resize(PROBE_DISK, 0);
    disk
}

/// A boot sector (512 bytes) that prints `word` and a line end on the first serial port, then halts.
pub fn boot_sector(word: &str) -> Vec<u8> {
    sector(word, None)
}

fn sector(word: &str, rounds: Option<u32>) -> Vec<u8> {
    let mut sector = vec![
        0xfa, // cli
        0xfc, // cld
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
    ];
    if let Some(rounds) = rounds {
        sector.extend([0x66, 0xb9]); // mov ecx, rounds
        sector.extend(rounds.to_le_bytes());
        sector.extend([0x66, 0x49]); // dec ecx
        sector.extend([0x75, 0xfc]); // jnz -4: dec ecx
    }
    // The text stands behind the 15 bytes that follow, at 0x7c00 and on.
    let text = 0x7c00 + sector.len() + 15;
    sector.extend([0xbe, text as u8, (text >> 8) as u8]); // mov si, text
    sector.extend([0xba, 0xf8, 0x03]); // mov dx, 0x3f8: the first serial port's data
    sector.push(0xac); // lodsb
    sector.extend([0x84, 0xc0]); // test al, al
    sector.extend([0x74, 0x03]); // jz +3
    sector.push(0xee); // out dx, al
    sector.extend([0xeb, 0xf8]); // jmp -8: lodsb
    sector.push(0xf4); // hlt
    sector.extend(word.bytes().take(400));
    sector.extend(b"\r\n\0");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

fn key(host: &Host, generation: Generation) -> String {
    // The program's size and time stand for its version: asking it would cost a start.
    let stamp = std::fs::metadata(&host.qemu_binary).map_or_else(
        |_| String::new(),
        |m| {
            use std::os::unix::fs::MetadataExt;
            format!("{}-{}-{}", m.len(), m.mtime(), m.ino())
        },
    );
    format!("{}|{stamp}|{}|{generation:?}|{PROBE_ROUNDS}", host.qemu_binary.display(), host.boot_id)
}

fn remember(memory: &Path, known: &BTreeMap<String, Measured>) {
    // Not being able to remember costs a probe next time, nothing else.
    let text = serde_json::to_vec_pretty(known).unwrap_or_default();
    let pid = rustix::process::getpid().as_raw_nonzero();
    let fresh = memory.with_extension(format!("{pid}.new"));
    if std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, memory)).is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
}
