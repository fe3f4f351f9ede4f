use crate::cpus::Running;

use super::{End, Expect, Ladder, Observation, Outcome, READY_HOLD_MS, Rung, SETTLE_MS, Seen, Source};

fn see(ladder: &mut Ladder, at_ms: u64, source: Source, text: &str) {
    ladder.observe(&Observation { at_ms, source, seen: Seen::Line(text.into()) });
    ladder.observe(&Observation { at_ms, source, seen: Seen::Partial(text.into()) });
}

/// Plays `script` (`D`, `S` or `V` for the source, then the line) one line each 100 ms and names the outcome.
fn play(script: &[&str], wait_ms: u64) -> (Ladder, String) {
    let mut ladder = Ladder::default();
    let mut now = 0;
    for step in script {
        now += 100;
        let seen = |seen| Observation { at_ms: now, source: Source::Qemu, seen };
        match step.split_once(' ') {
            Some(("D", line)) => see(&mut ladder, now, Source::Debug, line),
            Some(("S", line)) => see(&mut ladder, now, Source::Serial, line),
            Some(("V", line)) => see(&mut ladder, now, Source::Screen, line),
            _ if *step == "GRAPHICS" => ladder.observe(&seen(Seen::NoText)),
            _ if *step == "RESET" => ladder.observe(&seen(Seen::Reset)),
            _ if *step == "OFF" => ladder.observe(&seen(Seen::PowerOff)),
            _ => panic!("unknown step {step}"),
        }
    }
    let verdict = ladder.judge(End::Deadline, now + wait_ms);
    let name = match verdict.outcome {
        Outcome::Ready { .. } => "ready".to_owned(),
        Outcome::Stopped { at, why, .. } => format!("{at:?} {}", why.id),
        Outcome::Unseen { .. } => "unseen".to_owned(),
        Outcome::Broken { .. } => "broken".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
    };
    (ladder, name)
}

#[track_caller]
fn check(script: &[&str], expect: &str) {
    assert_eq!(play(script, SETTLE_MS).1, expect, "{script:#?}");
}

const BIOS: &str = "D SeaBIOS (version 1.16.2-debian-1.16.2-1)";
const UEFI: &str =
    r#"S BdsDxe: starting Boot0001 "UEFI QEMU QEMU HARDDISK " from PciRoot(0x0)/Pci(0x2,0x0)/Scsi(0x0,0x0)"#;
const LINUX: &str = "S [    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)";

#[test]
fn what_still_stands_on_a_screen_was_overcome_when_a_higher_rung_was_seen() {
    let failed = "BdsDxe: failed to load Boot0001 \"UEFI\" from PciRoot(0x0): Not Found";
    let screen = format!("V {failed}");
    check(&[&screen], "Firmware uefi-not-found");
    check(&[UEFI, LINUX, &screen], "Kernel no-progress");
}

#[test]
fn each_way_to_stop_has_its_own_name() {
    check(&[], "broken");
    check(
        &[BIOS, "D Boot failed: not a bootable disk", "D No bootable device."],
        "Firmware bios-not-bootable-disk",
    );
    check(&[BIOS, "D No bootable device."], "Firmware bios-no-bootable");
    check(&["S BdsDxe: No bootable option or device was found."], "Firmware uefi-no-bootable");
    check(
        &[
            "S BdsDxe: failed to load Boot0001 \"UEFI\" from PciRoot(0x0): Access Denied",
            "S BdsDxe: No bootable option or device was found.",
        ],
        "Firmware uefi-access-denied",
    );
    check(&[UEFI], "unseen");
    check(
        &[
            "S BdsDxe: failed to start Boot0002 \"EFI Internal Shell\" from Fv(7CB8)/FvFile(7C04): Security Violation",
            "S BdsDxe: No bootable option or device was found.",
        ],
        "Firmware uefi-no-bootable",
    );
    check(
        &[
            "S BdsDxe: failed to start Boot0001 \"UEFI QEMU\" from PciRoot(0x0): Security Violation",
            "S BdsDxe: No bootable option or device was found.",
        ],
        "Firmware uefi-security",
    );
    // Recorded from Debian's OVMF with a blank disk: the shell in the firmware is no loader from the disk.
    check(
        &[
            r#"S BdsDxe: failed to load Boot0001 "UEFI QEMU QEMU HARDDISK " from PciRoot(0x0)/Pci(0x3,0x0)/Scsi(0x0,0x0): Not Found"#,
            r#"S BdsDxe: loading Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1)"#,
            r#"S BdsDxe: starting Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1)"#,
            "S UEFI Interactive Shell v2.2",
            "S Shell> ",
        ],
        "Firmware uefi-not-found",
    );
    check(&[UEFI, "S error: file `/boot/vmlinuz' not found.", "S grub rescue> "], "Loader grub-no-file");
    // Recorded: a name as long as kernel-install makes them is broken over lines.
    let broken = [
        "S error: file",
        "S `/EFI/Linux/",
        "S 5d1f0c3a7b1e4c529d0e6a2f4be8c0ab-6.12.117+deb13-amd64.efi' not found.",
    ];
    let behind = ["S error: no server is specified.", "S error: you need to load the kernel first."];
    check(&[&[BIOS], &broken[..], &behind].concat(), "Loader grub-no-file");
    check(&[&[BIOS], &broken[..2], &behind].concat(), "Loader grub-no-kernel");
    check(&[&[BIOS, broken[0]], &["S x"; 8][..], &broken[1..], &behind].concat(), "Loader grub-no-kernel");
    check(&[BIOS, "D Booting from 0000:7c00", "V Missing operating system"], "Loader mbr-missing-os");
    let silent = [BIOS, "D Booting from 0000:7c00", "V Booting from Hard Disk..."];
    check(&silent, "Loader boot-code-silent");
    check(&[&silent[..], &["GRAPHICS"]].concat(), "unseen");
    check(&[&silent[..], &["V GRUB loading."]].concat(), "unseen");
    // A console that is the screen alone: nobody can say that the guest hangs. One that speaks, or has a cause, is judged.
    let screen = ["V [    0.000000] Linux version 6.1.0", "V [    3.0] Run /init as init process"];
    check(&[&[UEFI], &screen[..]].concat(), "unseen");
    check(&[&[UEFI], &screen[..], &["S starting services"]].concat(), "Init no-progress");
    check(
        &[&[UEFI], &screen[..], &["V [    4.0] Kernel panic - not syncing: Attempted to kill init!"]]
            .concat(),
        "Init panic",
    );
    // Recorded with faults planted in tiny-gen2.
    check(&[BIOS, "D Booting from 0000:7c00", "V GRUB Read Error"], "Loader grub-boot-read");
    check(
        &[BIOS, "V Welcome to GRUB!", "V incompatible license", "V Aborted. Press any key to exit."],
        "Loader grub-aborted",
    );
    check(
        &["S BdsDxe: failed to load Boot0001 \"UEFI QEMU\" from PciRoot(0x0)/Pci(0x3,0x0): Unsupported"],
        "Firmware uefi-failed-load",
    );
    check(&[UEFI, "S Failed to open \\EFI\\BOOT\\grubx64.efi - Not Found"], "Loader shim-not-found");
    check(&[UEFI, "S error: syntax error."], "Loader grub-syntax");
    // Seen on a host with six times as much to do as it had processors; the guest was sound.
    check(
        &[
            UEFI,
            LINUX,
            "S [    0.04] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug",
        ],
        "broken",
    );
    check(&[UEFI, LINUX], "Kernel no-progress");
    check(
        &[
            LINUX,
            "S [    1.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        ],
        "Kernel root-unmountable",
    );
    check(&[LINUX, "S [    1.5] Kernel panic - not syncing: Fatal exception"], "Kernel panic");
    check(
        &[LINUX, "S ALERT!  UUID=12 does not exist.  Dropping to a shell!", "S (initramfs) "],
        "Init initramfs-alert",
    );
    check(&[LINUX, "S You are in emergency mode. After logging in, type"], "Init emergency");
    check(&[LINUX, "OFF"], "Kernel power-off");
    check(&[UEFI, "RESET", UEFI, "RESET", UEFI, "RESET", UEFI, "RESET", UEFI, "RESET"], "Loader reset-loop");
}

#[test]
fn a_later_rung_overcomes_an_earlier_cause() {
    let failed = "S BdsDxe: failed to load Boot0001 \"UEFI DVD\" from PciRoot(0x0): Not Found";
    check(&[failed, UEFI, LINUX, "S debian login: "], "ready");
}

#[test]
fn a_reset_starts_a_new_attempt() {
    let (ladder, name) = play(&[LINUX, "RESET", UEFI, LINUX, "S DRILL-READY firmware=uefi"], READY_HOLD_MS);
    assert_eq!(name, "ready");
    assert_eq!(ladder.attempts().len(), 2);
    check(&[LINUX, "S debian login: ", "RESET", UEFI], "unseen");
}

#[test]
fn ready_must_hold() {
    assert_ne!(play(&[LINUX, "S debian login: "], READY_HOLD_MS - 1).1, "ready");
    check(
        &[LINUX, "S debian login: ", "S [   9.0] Kernel panic - not syncing: Fatal exception"],
        "Ready panic",
    );
}

#[test]
fn a_terminal_cause_ends_the_wait_only_after_it_settled() {
    let (ladder, _) = play(&[BIOS, "D No bootable device."], 0);
    assert!(ladder.decided(200 + SETTLE_MS - 1).is_none());
    assert!(ladder.decided(200 + SETTLE_MS).is_some());
}

#[test]
fn a_custom_expectation_replaces_the_login_prompt() {
    let (mut ladder, name) = play(&[LINUX, "S service up", "S debian login: "], READY_HOLD_MS);
    assert_eq!(name, "ready");
    ladder.expect(Expect::Text("database open".into()));
    assert!(ladder.decided(60_000).is_none());
    assert_eq!(ladder.attempts().last().and_then(super::Attempt::highest), Some(Rung::Init));
    ladder.expect(Expect::Text("service up".into()));
    assert!(ladder.decided(60_000).is_some_and(|v| v.is_ready()));
}

#[test]
fn half_a_line_is_not_a_prompt_once_the_line_went_on() {
    let mut ladder = Ladder::default();
    ladder.observe(&Observation { at_ms: 1, source: Source::Serial, seen: Seen::Line("Last login:".into()) });
    assert!(ladder.decided(60_000).is_none());
}

/// How the ladder decides after nothing has moved for `still_ms`, with `running` on the processors.
fn standstill(script: &[&str], running: Running, still_ms: u64, looks: u32) -> String {
    let (mut ladder, _) = play(script, 0);
    let since_ms = 100 * script.len() as u64;
    ladder.still(Some(super::Still { since_ms, looks, running }));
    match ladder.decided(since_ms + still_ms).map(|v| v.outcome) {
        Some(Outcome::Stopped { at, why, .. }) => format!("{at:?} {}", why.id),
        Some(other) => format!("{other:?}"),
        None => "waits".to_owned(),
    }
}

#[test]
fn a_standstill_is_called_when_what_runs_has_had_its_allowance() {
    use super::stall::{DEAD_MS, LOADER_CAUSE_MS, LOADER_MS, LOOKS, SYSTEM_CAUSE_MS, SYSTEM_MS};
    let key = [
        BIOS,
        "D Booting from 0000:7c00",
        "V error: file `/vmlinuz' not found.",
        "V Press any key to continue...",
    ];
    let silent = [BIOS, "D Booting from 0000:7c00", "V Booting from Hard Disk..."];
    let alert = [LINUX, "S ALERT!  UUID=12 does not exist.  Dropping to a shell!"];
    let luks = [LINUX, "S Please unlock disk sda3_crypt: "];
    let (before, system) = (Running::BeforeSystem, Running::System);
    for (script, running, allowed, expect) in [
        (&key[..], before, 20_000, "Loader grub-no-file"),
        (&key[1..2], before, LOADER_MS, "Loader stalled"),
        (&key[..3], before, LOADER_CAUSE_MS, "Loader grub-no-file"),
        (&silent, before, LOADER_CAUSE_MS, "Loader boot-code-silent"),
        (&[UEFI], Running::Dead, DEAD_MS, "Loader halted"),
        (&[UEFI], system, SYSTEM_MS, "Loader stalled"),
        (&alert, system, SYSTEM_CAUSE_MS, "Init initramfs-alert"),
        (&luks, system, 60_000, "Init passphrase-initramfs"),
        (&[LINUX], system, SYSTEM_MS, "Kernel stalled"),
    ] {
        assert_eq!(standstill(script, running, allowed - 1, LOOKS), "waits", "{script:#?}");
        assert_eq!(standstill(script, running, allowed, LOOKS), expect, "{script:#?}");
        assert_eq!(standstill(script, running, allowed, LOOKS - 1), "waits", "{script:#?}");
        assert_eq!(standstill(script, Running::Unknown, 10 * SYSTEM_MS, LOOKS), "waits", "{script:#?}");
    }
    // Nothing was heard of it at all.
    assert_eq!(standstill(&[], before, SYSTEM_MS, LOOKS), "waits");
}

#[test]
fn the_kernels_own_complaints_have_their_class() {
    for (line, expect) in [
        ("S /dev/sda2: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.", "Init fsck-manual"),
        ("S The root filesystem on /dev/sda2 requires a manual fsck", "Init fsck-root"),
        (
            "S [FAILED] Failed to start systemd-fsck-root.service - File System Check on Root Device.",
            "Init fsck-unit",
        ),
        ("S [   33.1] Out of memory: Killed process 77 (apt) total-vm:1kB", "Kernel out-of-memory"),
        ("S [    3.1] Kernel panic - not syncing: System is deadlocked on memory", "Kernel memory-deadlock"),
        ("S error: out of memory.", "Loader grub-memory"),
        (
            "S modprobe: FATAL: Module dm-thin-pool not found in directory /lib/modules/6.1.0",
            "Init driver-missing",
        ),
        ("S modprobe: ERROR: could not insert 'zfs': Key was rejected by service", "Init driver-refused"),
        ("S [   35.1] ata1.00: qc timeout (cmd 0xec)", "Kernel disk-timeout"),
        (
            "S [   35.1] ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
            "Kernel disk-frozen",
        ),
        (
            "S [   35.1] sd 0:0:0:0: [sda] tag#1 FAILED Result: hostbyte=DID_TIME_OUT driverbyte=DRIVER_OK",
            "Kernel disk-timeout-scsi",
        ),
        ("S [   35.1] I/O error, dev sda, sector 2048 op 0x0:(READ)", "Kernel disk-error"),
        ("S [  243.1] INFO: task mount:77 blocked for more than 120 seconds.", "Kernel hung-task"),
    ] {
        check(&[line], expect);
    }
    for (line, rung) in [
        ("S Computer is booting, SAC started and initialized.", Rung::Kernel),
        ("S SAC>", Rung::Kernel),
        ("S EVENT: The CMD command is now available.", Rung::Init),
    ] {
        let (ladder, _) = play(&[UEFI, line], 0);
        assert_eq!(ladder.attempts()[0].highest(), Some(rung), "{line}");
    }
}

#[test]
fn what_the_host_did_to_the_disk_is_no_answer_about_the_guest() {
    let (mut ladder, _) = play(&[LINUX, "S [   35.1] I/O error, dev sda, sector 2048"], 0);
    let seen = Seen::HostIo("this host took longer than 30 s".into());
    ladder.observe(&Observation { at_ms: 300, source: Source::Qemu, seen });
    let Outcome::Broken { reason } = ladder.judge(End::Deadline, 60_000).outcome else {
        panic!("{ladder:#?}")
    };
    assert!(reason.starts_with("this host took longer than 30 s"), "{reason}");
    // A guest that comes up all the same did.
    see(&mut ladder, 400, Source::Serial, "DRILL-READY");
    assert!(ladder.judge(End::Deadline, 60_000).is_ready());
}

#[test]
fn resets_of_a_known_class_or_named_are_expected_and_others_are_a_loop() {
    let relabel = ["S *** Warning -- SELinux targeted policy relabel is required.", "RESET"];
    let script = |count: usize| [&[UEFI][..], &relabel.repeat(count)].concat();
    let (ladder, _) = play(&script(1), 0);
    let reset = ladder.last_reset().unwrap();
    assert_eq!((reset.expected, reset.reason), (true, "SELinux labels all files anew"));
    check(&script(7), "broken");
    // One that announces it each time is in a loop too.
    check(&script(8), "Init reset-loop");
    // Recorded: SeaBIOS resets once more by itself, and QEMU's event of that may come before its words or long after them.
    let again = "D Attempting a hard reboot";
    for script in [[BIOS, "RESET", again, "RESET", BIOS, "D x"], [BIOS, "RESET", again, BIOS, "D x", "RESET"]]
    {
        let (ladder, _) = play(&script, 0);
        let last = ladder.last_reset().map(|r| r.expected);
        assert_eq!((ladder.resets(), ladder.attempts().len(), last), (1, 2, Some(false)), "{script:?}");
    }
    let late = [BIOS, "RESET", "RESET", again, BIOS, "RESET", again, "RESET"];
    assert_eq!(play(&late, 0).0.resets(), 2);
    // A firmware that never comes to speak is in a loop all the same.
    check(&["RESET"; 5], "Firmware reset-loop");
}
