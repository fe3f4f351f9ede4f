//! Guests that want to cost us much: what they say, paint and write is bounded, and the verdict says what they did.

mod sectors;

use qemu::ladder::Outcome;
use sectors::{BEGIN, boot, host, machine, sector, start, wait};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that the files of a start take, children aside.
fn kept(dir: &Path) -> (usize, u64) {
    let files: Vec<_> = std::fs::read_dir(dir.join("run")).unwrap().map(|e| e.unwrap()).collect();
    (files.len(), files.iter().map(|f| f.metadata().map_or(0, |m| m.len())).sum())
}

#[test]
fn a_guest_that_floods_its_ports_leaves_bounded_logs_and_is_called_a_flood() {
    let dir = tempfile::tempdir().unwrap();
    // mov dx, 3f8h; l: mov si, 7c00h; mov cx, 8000h; rep outsb; jmp l
    let code = [0xba, 0xf8, 0x03, 0xbe, 0x00, 0x7c, 0xb9, 0x00, 0x80, 0xf3, 0x6e, 0xeb, 0xf6];
    let mut vm = boot(dir.path(), &[BEGIN, &code]);
    let began = Instant::now();
    while vm.console_log_len() < 17 << 20 {
        assert!(began.elapsed() < Duration::from_secs(240), "only {} bytes", vm.console_log_len());
        std::thread::sleep(Duration::from_millis(200));
    }
    let verdict = wait(&vm, "NEVER-SAID", 3);
    let Outcome::Stopped { why, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert_eq!(why.id, "serial-flood", "{verdict:#?}");
    vm.kill();
    let run = dir.path().join("run");
    assert_eq!(std::fs::metadata(run.join("console.log")).unwrap().len(), 16 << 20);
    assert!(std::fs::metadata(run.join("console-tail.log")).unwrap().len() <= 4 << 20);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim();
    let kib: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(kib < 256 << 10, "it took {peak} of memory");
    println!(
        "{peak} of memory; {:?} for {} bytes; kept {:?}",
        began.elapsed(),
        vm.console_log_len(),
        kept(dir.path())
    );
}

#[test]
fn a_guest_that_fills_its_disk_is_stopped_and_that_is_no_answer_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = host();
    // l: mov si, packet; mov ax, 4300h; mov dl, 80h; int 13h; add word [packet + 8], 64; adc word [packet + 10], 0; jmp l
    let code = [
        0xbe, 0x00, 0x7d, 0xb8, 0x00, 0x43, 0xb2, 0x80, 0xcd, 0x13, 0x83, 0x06, 0x08, 0x7d, 0x40, 0x83, 0x16,
        0x0a, 0x7d, 0x00, 0xeb, 0xea,
    ];
    // The packet of an extended write (Enhanced Disk Drive Specification 3.0, 3.1): 64 sectors from 1000:0000, from LBA 64 on.
    let packet = [16, 0, 64, 0, 0, 0, 0, 0x10, 64, 0, 0, 0, 0, 0, 0, 0];
    let head = [BEGIN, &code].concat();
    let space = vec![0; 0x100 - head.len()];
    let mut machine = machine(&host, dir.path(), &sector(&[&head, &space, &packet]));
    machine.child_limit = 16 << 20;
    let vm = start(&host, dir.path(), &machine);
    let verdict = wait(&vm, "", 200);
    let Outcome::Broken { reason } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert!(reason.contains("wrote more than 16 MiB to its disk"), "{reason}");
    let used = std::fs::metadata(dir.path().join("child.qcow2")).unwrap().blocks() * 512;
    println!("the child takes {} MiB", used >> 20);
    assert!((16 << 20..=240 << 20).contains(&used), "{used}");
    assert!(!vm.is_running());
}

#[test]
fn a_guest_that_paints_noise_costs_a_few_pictures_and_is_neither_ready_nor_still() {
    let dir = tempfile::tempdir().unwrap();
    // mov ax, b800h; mov es, ax; l: xor di, di; mov cx, 2000; n: imul bx, bx, 25173; add bx, 13849; mov ax, bx; stosw; loop n; jmp l
    let code = [
        0xb8, 0x00, 0xb8, 0x8e, 0xc0, 0x31, 0xff, 0xb9, 0xd0, 0x07, 0x69, 0xdb, 0x55, 0x62, 0x81, 0xc3, 0x19,
        0x36, 0x89, 0xd8, 0xab, 0xe2, 0xf3, 0xeb, 0xec,
    ];
    let vm = boot(dir.path(), &[BEGIN, &code]);
    let verdict = wait(&vm, "", 30);
    assert!(matches!(verdict.outcome, Outcome::Unseen { .. }), "{verdict:#?}");
    let (files, bytes) = kept(dir.path());
    println!("{files} files, {bytes} bytes");
    assert!(files < 25 && bytes < 4 << 20, "{files} files, {bytes} bytes");
}
