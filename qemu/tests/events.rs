//! What QEMU says of a guest and of its host: panics, resets, a disk that this host does not serve.

mod sectors;

use qemu::ladder::{MAX_ATTEMPTS, Outcome};
use qemu::{Base, Cancel, Expect, Verdict, Vm};
use sectors::{BEGIN, IDLE, boot, host, machine, say, sector, start, wait};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const COM1: u16 = 0x3f8;

/// `mov dx, port; mov al, value; out dx, al`
fn out(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0xba, low, high, 0xb0, value, 0xee]
}

/// Resets the machine (PIIX and ICH9, port CF9h) as long as the byte at 50h of the CMOS memory is below `times`, counting there.
fn reset_times(times: u8) -> Vec<u8> {
    let read = [0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71];
    // inc al; mov ah, al; mov al, 50h; out 70h, al; mov al, ah; out 71h, al
    let count = [0xfe, 0xc0, 0x88, 0xc4, 0xb0, 0x50, 0xe6, 0x70, 0x88, 0xe0, 0xe6, 0x71];
    let reset = [&count[..], &out(0xcf9, 6), IDLE].concat();
    // cmp al, times; jae over the reset
    [&read[..], &[0x3c, times, 0x73, u8::try_from(reset.len()).unwrap()], &reset].concat()
}

#[track_caller]
fn stopped(verdict: &Verdict) -> (&str, &str) {
    let Outcome::Stopped { why, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    (&why.id, &why.text)
}

#[track_caller]
fn broken(verdict: &Verdict) -> &str {
    let Outcome::Broken { reason } = &verdict.outcome else { panic!("{verdict:#?}") };
    reason
}

#[test]
fn a_guest_that_says_that_it_panicked_is_believed_and_one_with_a_crash_kernel_may_go_on() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let panicked = boot(dirs[0].path(), &[BEGIN, &out(0x505, 1), IDLE]);
    let began = Instant::now();
    assert_eq!(stopped(&wait(&panicked, "", 60)).0, "guest-panicked");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    drop(panicked);
    let goes_on = boot(dirs[1].path(), &[BEGIN, &out(0x505, 2), &say(COM1, "GOES-ON\r\n"), IDLE]);
    assert_eq!(stopped(&wait(&goes_on, "NEVER-SAID", 6)).0, "crash-kernel");
    let verdict = wait(&goes_on, "GOES-ON", 60);
    assert!(verdict.is_ready(), "{verdict:#?}");
}

#[test]
fn a_guest_that_resets_for_ever_is_a_loop_of_bounded_length() {
    let dir = tempfile::tempdir().unwrap();
    let vm = boot(dir.path(), &[BEGIN, &out(0xcf9, 6), IDLE]);
    let verdict = wait(&vm, "", 120);
    assert_eq!(stopped(&verdict).0, "reset-loop");
    let before = vm.attempts().last().map(|a| a.started_ms);
    // It goes on behind our back, and costs no more.
    assert!(!wait(&vm, "NEVER", 1).is_ready());
    std::thread::sleep(Duration::from_secs(5));
    assert!(vm.attempts().last().map(|a| a.started_ms) > before, "it no longer resets");
    assert!(vm.attempts().len() <= MAX_ATTEMPTS + 1, "{}", vm.attempts().len());
}

#[test]
fn resets_that_are_expected_are_no_loop() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let code = [BEGIN, &reset_times(12), &say(COM1, "DONE\r\n"), IDLE];
    let vm = boot(dirs[0].path(), &code);
    vm.expect_resets(12);
    let verdict = wait(&vm, "DONE", 120);
    assert!(verdict.is_ready(), "{verdict:#?}");
    drop(vm);
    let verdict = wait(&boot(dirs[1].path(), &code), "DONE", 120);
    assert_eq!(stopped(&verdict).0, "reset-loop");
}

#[test]
fn a_disk_that_this_host_cannot_read_is_never_the_guests_failure() {
    let dir = tempfile::tempdir().unwrap();
    let host = host();
    // mov si, packet; mov ah, 42h; mov dl, 80h; int 13h, with a packet that reads LBA 2048 to 1000:0000.
    let read = [0xbe, 0x00, 0x7d, 0xb4, 0x42, 0xb2, 0x80, 0xcd, 0x13];
    let head = [BEGIN, &read, &say(COM1, "HELLO\r\n"), IDLE].concat();
    let packet = [16, 0, 1, 0, 0, 0, 0, 0x10, 0, 8, 0, 0, 0, 0, 0, 0];
    let machine = machine(&host, dir.path(), &sector(&[&head, &vec![0; 0x100 - head.len()], &packet]));
    let child = machine.disks[0].child.as_ref().unwrap();
    let io = ["-c", "write 1M 64k", child.to_str().unwrap()];
    assert!(Command::new("qemu-io").args(io).stdout(Stdio::null()).status().unwrap().success());
    // The cluster of that LBA now lies where none can: QEMU, docs/interop/qcow2.txt, "L2 table entry".
    let bytes = std::fs::read(child).unwrap();
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let l1 = usize::try_from(number(40)).unwrap();
    let l2 = number(l1) & 0x00ff_ffff_ffff_fe00;
    let mut file = std::fs::OpenOptions::new().write(true).open(child).unwrap();
    file.seek(SeekFrom::Start(l2 + 16 * 8)).unwrap();
    file.write_all(&(1_u64 << 63 | 0x200).to_be_bytes()).unwrap();
    let vm = start(&host, dir.path(), &machine);
    // The guest itself goes on, and what it does not say is no failure of its own.
    let verdict = wait(&vm, "NEVER-SAID", 15);
    let reason = broken(&verdict);
    assert!(reason.contains("damaged") || reason.contains("failed to read the guest's disk"), "{reason}");
    assert!(vm.host_trouble().is_some());
}

/// An NBD server of another program, which can be stopped and continued.
struct Nbd(Child);

impl Nbd {
    fn serve(image: &Path, socket: &Path) -> Nbd {
        let mut command = Command::new("qemu-nbd");
        command.args(["--read-only", "--format=raw", "--persistent", "--socket"]).arg(socket).arg(image);
        let nbd = Nbd(command.stdout(Stdio::null()).spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            assert!(Instant::now() < end, "qemu-nbd does not serve");
            std::thread::sleep(Duration::from_millis(50));
        }
        nbd
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Nbd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A guest whose first read takes so long that this host is late, or not.
fn late(seconds: u64, deadline: u64) -> (Vm, Verdict) {
    let dir = tempfile::tempdir().unwrap();
    let host = host();
    let mut machine = machine(&host, dir.path(), &sector(&[BEGIN, &say(COM1, "HELLO\r\n"), IDLE]));
    let socket = dir.path().join("nbd.sock");
    let nbd = Nbd::serve(&dir.path().join("base.img"), &socket);
    machine.disks[0].base = Base::Nbd { socket, export: String::new() };
    let vm = start(&host, dir.path(), &machine);
    nbd.signal(rustix::process::Signal::STOP);
    let goes_on = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        nbd.signal(rustix::process::Signal::CONT);
        nbd
    });
    let expect = Expect::Text("HELLO".into());
    let verdict =
        vm.wait_ready(&expect, qemu::Deadline::after(Duration::from_secs(deadline)), &Cancel::new());
    drop(goes_on.join().unwrap());
    (vm, verdict)
}

#[test]
fn a_host_that_is_late_for_a_disk_is_broken_and_one_that_is_only_slow_is_not() {
    let (_vm, verdict) = late(4, 60);
    assert!(verdict.is_ready(), "{verdict:#?}");
    // SeaBIOS gives a disk 32 s, and says then that it could not read it.
    let (_vm, verdict) = late(33, 60);
    assert!(broken(&verdict).contains("took longer than 30 s"), "{verdict:#?}");
}
