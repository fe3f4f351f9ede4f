//! Whole drills: the binary, real QEMU, the real sample, and twins with a planted fault that must be caught by their own words.

mod common;

use common::{consoles, drill, expect, last_run, outside, qemus_of, sample, text, tiny};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The line by which the sample says that it is ready: firmware, root device and the marker's content.
fn ready_lines(consoles: &str) -> Vec<String> {
    consoles.lines().filter(|l| l.starts_with("DRILL-READY ")).map(|l| l.trim().to_owned()).collect()
}

#[test]
fn the_stock_drill_passes_on_the_sample_and_leaves_the_evidence() {
    let dir = dir();
    let (out, _) = expect(dir.path(), &["run", &text(tiny()), "--proof", "full"], 0);
    assert!(out.contains("PASSED"), "{out}");
    let run = last_run(dir.path());
    let ready = ready_lines(&consoles(&run));
    let firmwares: Vec<&str> = ready
        .iter()
        .map(|l| {
            if l.contains("firmware=uefi") {
                "uefi"
            } else if l.contains("firmware=bios") {
                "bios"
            } else {
                "?"
            }
        })
        .collect();
    assert_eq!(firmwares.iter().filter(|f| **f == "uefi").count(), 2, "{ready:?}");
    assert_eq!(firmwares.iter().filter(|f| **f == "bios").count(), 1, "{ready:?}");
    for line in &ready {
        let field =
            |key: &str| line.split(' ').find_map(|w| w.strip_prefix(key)).unwrap_or_default().to_owned();
        // What the recipe of the sample put there.
        assert_eq!(
            (field("root=").as_str(), field("marker=").as_str()),
            ("/dev/sda2", "tiny-7f3a"),
            "{line}"
        );
    }
    assert!(!run.join("work").exists(), "what a run throws away is gone when it ends");
    // The same stream again gives the same answer.
    let (replayed, _) = expect(dir.path(), &["replay", &text(&run)], 0);
    assert!(replayed.contains("PASSED"), "{replayed}");
    let (junit, _) = expect(dir.path(), &["replay", &text(&run), "--junit"], 0);
    assert!(junit.contains("<testsuites") && junit.contains("failures=\"0\""), "{junit}");
    let (json, _) = expect(dir.path(), &["replay", &text(&run), "--json"], 0);
    serde_json::from_str::<serde_json::Value>(&json).expect("one JSON document");
}

/// The scenario of a control: it passes only when the planted fault is caught for the right reason.
#[track_caller]
fn twin(name: &str, fault: &str, within: &str) {
    let dir = dir();
    let path = dir.path().join(format!("{name}.rhai"));
    let scenario = format!(
        "drill(\"control: {fault}\");\nlet web = machine(arg(\"image\", fixture(\"tiny-gen2\")));\n\
         web.test_failover().plant(\"{fault}\").start().expect_failure_of(\"{fault}\", {within});\n\
         web.cleanup();\nweb.assert_source_untouched();\n"
    );
    std::fs::write(&path, scenario).unwrap();
    expect(dir.path(), &["run", &text(&path)], 0);
}

#[test]
fn a_copy_without_boot_code_is_caught_by_the_bios_own_words() {
    twin("boot-code", "boot-code-missing", "20.seconds");
}

#[test]
fn a_copy_with_a_truncated_core_is_caught() {
    twin("core", "core-truncated", "20.seconds");
}

#[test]
fn a_copy_without_its_kernel_is_caught_by_grubs_words() {
    twin("kernel", "kernel-missing", "90.seconds");
}

#[test]
fn a_copy_that_asks_for_another_root_is_caught_by_the_initramfs() {
    twin("root", "root-uuid-changed", "3.minutes");
}

#[test]
fn a_guest_without_a_serial_console_is_still_seen() {
    let dir = dir();
    let image = sample("tiny-gen2-noconsole");
    // Under UEFI its screen is graphics: the kernel's own font is read there.
    let (out, _) =
        expect(dir.path(), &["boot", &text(&image), "--as", "gen2", "--within", "3m", "--json"], 0);
    assert!(out.contains("DRILL-READY firmware=uefi"), "{out}");
    assert!(out.contains("[    ") && out.contains("Run /init as init process"), "{out}");
    let run = last_run(dir.path());
    assert!(ready_lines(&consoles(&run)).is_empty(), "the guest must not speak on the serial console");
}

#[test]
fn a_panic_that_only_the_screen_shows_is_told_by_its_words_and_kept_as_a_picture() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left out: a kernel panic on a graphics screen; set DRILL_TEST_FULL=1");
        return;
    }
    let dir = dir();
    let disk = common::raw::Raw::copy_of(&sample("tiny-gen2-noconsole"), dir.path());
    // The twin of the guest above: no initramfs, so the kernel finds no root.
    let config = format!(
        "search.fs_uuid 21111111-2222-4333-8444-555555555555 root\nlinux {} root=/dev/sda2 console=tty0\nboot\n",
        disk.kernel(2, "/boot")
    );
    let file = dir.path().join("grub.cfg");
    std::fs::write(&file, config).unwrap();
    outside("mcopy", &["-o", "-i", &disk.volume(1, "@@"), &text(&file), "::/EFI/debian/grub.cfg"]);
    let scenario = format!(
        "drill(\"panic\");\nlet vm = machine(\"{}\").start();\nvm.wait_screen(\"Unable to mount root fs\", 3.minutes);\n\
         if vm.screen().contains(\"Kernel panic - not syncing\") {{ print(\"it is read\"); }}\n\
         vm.assert_screen(\"end Kernel panic\");\nvm.assert_screen(\"Kernel tonic\");\n",
        text(&disk.path)
    );
    std::fs::write(dir.path().join("panic.rhai"), scenario).unwrap();
    let (out, err) = expect(dir.path(), &["run", "panic.rhai"], 1);
    assert!(out.contains("it is read") && err.contains("“Kernel tonic” now, found:"), "{out}\n{err}");
    let run = last_run(dir.path());
    let boot = std::fs::read_dir(&run).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let picture = std::fs::read(boot.join("screen-last.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "{}", boot.display());
    let (out, _) = expect(dir.path(), &["boot", &text(&disk.path), "--as", "gen2", "--within", "3m"], 1);
    assert!(out.contains("Unable to mount root fs"), "{out}");
}

fn await_guest(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    while qemus_of(dir).is_empty() {
        assert!(Instant::now() < end, "no QEMU was started within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_source_that_somebody_else_changes_meanwhile_makes_the_run_broken() {
    let dir = dir();
    let image = dir.path().join("mine.vhdx");
    std::fs::copy(tiny(), &image).unwrap();
    // The scenario does not even ask: every run looks at its sources when it ends.
    let scenario = "drill(\"c\");\nlet vm = machine(arg(\"image\", \"x\")).start();\nvm.wait_ready(3.minutes);\nvm.stop();\n";
    std::fs::write(dir.path().join("c.rhai"), scenario).unwrap();
    let set = format!("image={}", text(&image));
    let child = drill(dir.path(), &["run", "c.rhai", "--set", &set])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    await_guest(dir.path());
    common::outside("touch", &[&text(&image)]);
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("changed it meanwhile"), "{out}");
}

#[test]
fn ctrl_c_ends_within_two_seconds_and_leaves_nothing() {
    let dir = dir();
    let mut child =
        drill(dir.path(), &["run", &text(tiny())]).stdout(std::process::Stdio::null()).spawn().unwrap();
    await_guest(dir.path());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let asked = Instant::now();
    kill_process(pid, Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    assert_eq!(qemus_of(dir.path()), Vec::<String>::new());
    assert!(!last_run(dir.path()).join("work").exists());
}

#[test]
fn a_killed_drill_leaves_no_qemu_and_the_next_start_sweeps_up() {
    let dir = dir();
    let mut child =
        drill(dir.path(), &["run", &text(tiny())]).stdout(std::process::Stdio::null()).spawn().unwrap();
    await_guest(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while !qemus_of(dir.path()).is_empty() {
        assert!(Instant::now() < end, "QEMU outlived its drill");
        std::thread::sleep(Duration::from_millis(20));
    }
    let work = last_run(dir.path()).join("work");
    assert!(work.exists(), "a kill -9 cannot clean up itself");
    std::fs::write(dir.path().join("n.rhai"), "drill(\"n\");\nprint(\"nothing\");\n").unwrap();
    expect(dir.path(), &["run", "n.rhai"], 4);
    assert!(!work.exists());
}

#[test]
fn what_the_guest_wrote_to_root_esp_and_fstab_in_gen1_is_there_in_gen2_again() {
    let dir = dir();
    let fstab = "UUID=21111111-2222-4333-8444-555555555555 / ext4 defaults,noatime 0 1";
    let scenario = format!(
        "drill(\"guest writes\");\nlet web = machine(arg(\"image\", fixture(\"tiny-gen2\")));\n\
         let copy = web.test_failover();\nlet vm = copy.start();\nvm.wait_ready(3.minutes);\n\
         vm.run(\"mount /boot/efi && echo esp > /boot/efi/NOTE.TXT && umount /boot/efi\");\n\
         vm.run(\"echo '{fstab}' > /etc/fstab && echo root > /var/lib/marker && sync\");\nvm.stop();\n\
         let home = copy.failback();\nhome.start(#{{ nvram: \"empty\" }}).wait_ready(3.minutes).stop();\n\
         home.assert_file(\"/boot/efi/NOTE.TXT\", \"esp\\n\");\nhome.assert_file(\"/etc/fstab\", \"{fstab}\\n\");\n\
         home.assert_file(\"/var/lib/marker\", \"root\\n\");\nhome.assert_same_layout_as(web);\nweb.cleanup();\n"
    );
    std::fs::write(dir.path().join("writes.rhai"), scenario).unwrap();
    expect(dir.path(), &["run", "writes.rhai"], 0);
}

#[test]
fn a_guest_that_speaks_only_on_the_screen_is_read_off_it() {
    let dir = dir();
    let scenario = "drill(\"screen\");\nlet web = machine(arg(\"image\", fixture(\"tiny-gen2-noconsole\")));\n\
        let vm = web.test_failover().start();\nvm.wait_ready(3.minutes);\nvm.stop();\nweb.cleanup();\n";
    std::fs::write(dir.path().join("screen.rhai"), scenario).unwrap();
    let (out, _) = expect(dir.path(), &["run", "screen.rhai", "--json"], 0);
    assert!(out.contains("DRILL-READY firmware=bios root=/dev/sda2 marker=tiny-7f3a"), "{out}");
    let spoken = consoles(&last_run(dir.path()));
    assert!(ready_lines(&spoken).is_empty(), "the twin must not speak on the serial console:\n{spoken}");
}
