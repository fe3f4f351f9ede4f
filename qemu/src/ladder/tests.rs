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
