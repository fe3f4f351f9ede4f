//! A boot that has come to a standstill is called so long before its deadline, and a sound guest that is only quiet never is.

mod sectors;

use qemu::ladder::{Outcome, Source};
use qemu::{Rung, Verdict};
use sectors::{BEGIN, IDLE, boot, say, sleep, wait};
use std::time::{Duration, Instant};

const COM1: u16 = 0x3f8;
const COM2: u16 = 0x2f8;
/// What GRUB says of a kernel that is not there.
const GRUB: &str = "error: file `/vmlinuz' not found.\r\n\r\nPress any key to continue...";
/// Far behind the moment at which a standstill is called.
const DEADLINE: u64 = 120;

#[track_caller]
fn assert_stopped(verdict: &Verdict, began: Instant, id: &str, within: u64) {
    let Outcome::Stopped { why, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert_eq!(why.id, id, "{verdict:#?}");
    assert!(began.elapsed() < Duration::from_secs(within), "after {:?}: {verdict:#?}", began.elapsed());
}

#[test]
fn a_halted_guest_is_called_halted_and_one_that_only_sleeps_is_not() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // cli before the halt.
    let dead = boot(dirs[0].path(), &[BEGIN, &say(COM1, "hello\r\n"), &[0xfa], IDLE]);
    let began = Instant::now();
    assert_stopped(&wait(&dead, "", DEADLINE), began, "halted", 40);
    drop(dead);
    let sleeper =
        boot(dirs[1].path(), &[BEGIN, &say(COM1, "hello\r\n"), &sleep(550), &say(COM1, "AWAKE\r\n"), IDLE]);
    let verdict = wait(&sleeper, "AWAKE", DEADLINE);
    assert!(verdict.is_ready() && verdict.took_ms > 25_000, "{verdict:#?}");
}

#[test]
fn a_loader_that_waits_for_a_key_is_not_waited_for_unless_it_goes_on() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stuck = boot(dirs[0].path(), &[BEGIN, &say(COM1, GRUB), &[0xfb], IDLE]);
    let began = Instant::now();
    assert_stopped(&wait(&stuck, "", DEADLINE), began, "grub-no-file", 60);
    drop(stuck);
    // GRUB waits ten seconds, and then tries the next entry.
    let next = boot(
        dirs[1].path(),
        &[BEGIN, &say(COM1, GRUB), &sleep(210), &say(COM1, "\r\nDRILL-READY\r\n"), IDLE],
    );
    let verdict = wait(&next, "", DEADLINE);
    assert!(verdict.is_ready(), "{verdict:#?}");
}

#[test]
fn a_loader_that_does_nothing_at_all_is_called_stalled() {
    let dir = tempfile::tempdir().unwrap();
    // It spins, with interrupts on.
    let vm = boot(dir.path(), &[BEGIN, &say(COM1, "hello\r\n"), &[0xfb, 0xeb, 0xfe]]);
    let began = Instant::now();
    let verdict = wait(&vm, "", 300);
    assert_stopped(&verdict, began, "stalled", 200);
    let Outcome::Stopped { why, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert!(why.text.contains("firmware or a loader runs"), "{}", why.text);
}

#[test]
fn the_emergency_console_of_windows_is_known_on_the_second_port() {
    let dir = tempfile::tempdir().unwrap();
    let vm = boot(dir.path(), &[BEGIN, &say(COM2, "\r\nSAC>"), IDLE]);
    let verdict = wait(&vm, "", 8);
    let last = verdict.attempts.last().and_then(|a| a.reached.last()).unwrap();
    assert_eq!((last.rung, last.evidence.line.as_str()), (Rung::Kernel, "SAC>"), "{verdict:#?}");
}

#[test]
fn the_second_serial_port_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let vm = boot(dir.path(), &[BEGIN, &say(COM2, "ON-THE-SECOND\r\n"), IDLE]);
    let verdict = wait(&vm, "ON-THE-SECOND", DEADLINE);
    let Outcome::Ready { evidence } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert_eq!(evidence.source, Source::Serial2);
    let log = |name: &str| std::fs::read_to_string(dir.path().join("run").join(name)).unwrap();
    assert_eq!((log("console2.log").as_str(), log("console.log").as_str()), ("ON-THE-SECOND\r\n", ""));
}
