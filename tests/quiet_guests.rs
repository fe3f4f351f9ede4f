//! A real GRUB that can go no further ends a boot long before its deadline; a guest that is only quiet, for however long, becomes ready.

mod common;

use common::raw::Raw;
use common::{consoles, expect, last_run, outside, text, tiny};
use std::path::Path;
use std::time::{Duration, Instant};

/// The root of `tiny-gen2`, by the name that GRUB and the kernel know.
const ROOT: &str = "21111111-2222-4333-8444-555555555555";

/// A copy of the sample whose first configuration of GRUB is `lines`, behind the search for the root; `{kernel}` and `{initrd}` are its files.
fn disk(dir: &Path, lines: &str) -> Raw {
    let disk = Raw::copy_of(tiny(), dir);
    let kernel = disk.kernel(2, "/boot");
    let initrd = kernel.replace("vmlinuz", "initrd.img");
    let lines = lines.replace("{kernel}", &kernel).replace("{initrd}", &initrd);
    let file = dir.join("grub.cfg");
    std::fs::write(&file, format!("search.fs_uuid {ROOT} root\n{lines}")).unwrap();
    outside("mcopy", &["-o", "-i", &disk.volume(1, "@@"), &text(&file), "::/EFI/debian/grub.cfg"]);
    disk
}

fn boot(dir: &Path, disk: &Raw, exit: i32) -> (String, Duration) {
    let began = Instant::now();
    let (out, err) =
        expect(dir, &["boot", &text(&disk.path), "--as", "gen2", "--within", "6m", "--json"], exit);
    (format!("{out}{err}"), began.elapsed())
}

#[test]
fn a_grub_without_its_kernel_is_not_waited_for_to_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(
        dir.path(),
        "set timeout=0\nmenuentry one {\nlinux /boot/no-such-kernel root=/dev/sda2\n}\nmenuentry two {\nlinux {kernel}\n}\n",
    );
    let (out, took) = boot(dir.path(), &disk, 1);
    assert!(out.contains("GRUB did not find a file it needs"), "{out}");
    assert!(took < Duration::from_secs(150), "{took:?}\n{out}");
    println!("ended after {took:?}");
}

#[test]
fn a_grub_that_complains_then_sleeps_and_goes_on_becomes_ready() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(
        dir.path(),
        "search --fs-uuid --set=nowhere dead1111-2222-4333-8444-555555555555\nsleep 30\n\
         linux {kernel} root=/dev/sda2 console=ttyS0\ninitrd {initrd}\nboot\n",
    );
    boot(dir.path(), &disk, 0);
    let said = consoles(&last_run(dir.path()));
    assert!(said.contains("error: no such device: dead1111") && said.contains("DRILL-READY"), "{said}");
}

#[test]
fn a_kernel_that_is_silent_for_minutes_becomes_ready() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left out: a guest that says nothing for 100 s; set DRILL_TEST_FULL=1");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(
        dir.path(),
        "linux {kernel} root=/dev/sda2 console=ttyS0 quiet loglevel=0\ninitrd {initrd}\nboot\n",
    );
    let script = dir.path().join("rcS");
    std::fs::write(&script, "#!/bin/sh\n/bin/busybox sleep 100\nexec /bin/sh /etc/init.d/rcS.real\n")
        .unwrap();
    outside("chmod", &["755", &text(&script)]);
    disk.debugfs(2, "ln /etc/init.d/rcS /etc/init.d/rcS.real");
    disk.debugfs(2, "unlink /etc/init.d/rcS");
    disk.debugfs(2, &format!("write {} /etc/init.d/rcS", text(&script)));
    let (out, took) = boot(dir.path(), &disk, 0);
    assert!(took > Duration::from_secs(100), "it did not sleep: {took:?}\n{out}");
    println!("ready after {took:?}");
}

#[test]
fn resets_that_the_scenario_names_are_told_as_expected_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(dir.path(), "reboot\n");
    let scenario = format!(
        "drill(\"resets\");\nmachine(\"{}\").start(#{{ resets: 2, writes: 64.mib }}).wait_ready(5.minutes);\n",
        text(&disk.path)
    );
    std::fs::write(dir.path().join("resets.rhai"), scenario).unwrap();
    let (out, err) = expect(dir.path(), &["run", "resets.rhai", "--json"], 1);
    assert!(format!("{out}{err}").contains("without getting ready"), "{out}\n{err}");
    let journal = std::fs::read_to_string(last_run(dir.path()).join("journal.jsonl")).unwrap();
    let told: Vec<bool> = journal
        .lines()
        .filter(|line| line.contains("\"kind\":\"reset\"") || line.contains("\"reset\""))
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|event| event["expected"].as_bool())
        .collect();
    assert!(
        told.len() >= 5 && told[..2] == [true, true] && !told[2..].contains(&true),
        "{told:?}\n{journal}"
    );
}
