//! Whole distributions, as their own tools install them: the story of the stock drill, a plain QEMU, home to the byte. Each has a twin without
//! its kernel on the converted disk, which must be caught by its own words. All of it takes minutes a guest, so it is left to `./x test --full`.

mod common;

use common::raw::Raw;
use common::{consoles, expect, last_run, outside, sample, text};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

struct Debian {
    name: &'static str,
    /// Whether what the firmware starts is signed down to the kernel.
    signed: bool,
    /// Where its kernel lies: partition, and the path on it or how that ends.
    kernel: (u32, Kernel),
}

enum Kernel {
    /// On ext4, in a folder.
    Root(&'static str),
    /// On the ESP, the only file whose path ends so.
    Esp(&'static str),
}

const DEBIANS: [Debian; 3] = [
    Debian { name: "debian-12-gen2", signed: true, kernel: (2, Kernel::Root("/boot")) },
    Debian { name: "debian-13-gen2-uki", signed: false, kernel: (1, Kernel::Esp(".efi")) },
    Debian { name: "debian-13-gen2-sdboot", signed: false, kernel: (1, Kernel::Esp("/linux")) },
];

/// The guests of the long tier; the short one has none. `DRILL_TEST_ONLY` names some of them. One that fails does not hide the others.
#[track_caller]
fn each(what: &str, check: fn(&Debian)) {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        let names: Vec<&str> = DEBIANS.iter().map(|d| d.name).collect();
        println!("left to ./x test --full: {what} of {}", names.join(", "));
        return;
    }
    let only = std::env::var("DRILL_TEST_ONLY").ok();
    let wanted = |d: &&Debian| only.as_ref().is_none_or(|names| names.split(',').any(|n| n == d.name));
    let failed = |d: &&Debian| std::panic::catch_unwind(|| check(d)).is_err();
    let failed: Vec<&str> = DEBIANS.iter().filter(wanted).filter(failed).map(|d| d.name).collect();
    assert!(failed.is_empty(), "{what}: failed, see above: {}", failed.join(", "));
}

/// The shipped drill, with time for a full distribution under TCG, and without Secure Boot for one whose kernel nobody signed.
fn story(debian: &Debian) -> String {
    let shipped = include_str!("../drills/scenarios/failover.rhai");
    let patient = shipped.replace("3.minutes", "10.minutes");
    assert_ne!(patient, shipped);
    match debian.signed {
        true => patient,
        false => patient.replace("secure_boot: true", "secure_boot: false"),
    }
}

/// Not by drill: the plain command line that anybody would type.
#[track_caller]
fn starts_by_plain_qemu(vhd: &Path, console: &Path) {
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-machine", "pc", "-accel", "tcg", "-m", "1024", "-display", "none", "-snapshot"])
        .args([
            "-drive",
            &format!("file={},format=vpc", text(vhd)),
            "-serial",
            &format!("file:{}", text(console)),
        ])
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(600);
    let said = || String::from_utf8_lossy(&std::fs::read(console).unwrap_or_default()).into_owned();
    while !said().contains("login:") && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(500));
    }
    let _ = qemu.kill();
    let _ = qemu.wait();
    assert!(said().contains("login:"), "no login: within 10 minutes:\n{}", said());
}

#[test]
fn a_full_debian_passes_the_stock_drill_starts_from_a_plain_vhd_and_comes_home_to_the_byte() {
    each("the stock drill, the plain VHD and the way home", |debian| {
        let dir = tempfile::tempdir().unwrap();
        let image = text(&sample(debian.name));
        std::fs::write(dir.path().join("story.rhai"), story(debian)).unwrap();
        let args = ["run", "story.rhai", "--set", &format!("image={image}")];
        let (out, _) = expect(dir.path(), &args, 0);
        assert!(out.contains("PASSED"), "{out}");
        let (vhd, home) = (dir.path().join("g1.vhd"), dir.path().join("home.raw"));
        expect(dir.path(), &["convert", &image, &text(&vhd), "--to", "gen1"], 0);
        starts_by_plain_qemu(&vhd, &dir.path().join("console.txt"));
        expect(dir.path(), &["convert", &text(&vhd), &text(&home), "--to", "gen2"], 0);
        outside("qemu-img", &["compare", &image, &text(&home)]);
        println!("there and back: {}", debian.name);
    });
}

#[test]
fn a_converted_debian_without_its_kernel_is_caught_by_grubs_words() {
    each("the twins without a kernel", |debian| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("twin.raw");
        expect(dir.path(), &["convert", &text(&sample(debian.name)), &text(&path), "--to", "gen1"], 0);
        let twin = Raw { path };
        let kernel = match &debian.kernel {
            (number, Kernel::Root(folder)) => {
                let kernel = twin.kernel(*number, folder);
                twin.debugfs(*number, &format!("rm {kernel}"));
                kernel
            }
            (number, Kernel::Esp(ending)) => {
                let kernel = twin.only_file(*number, ending);
                twin.mdel(*number, &format!("::{kernel}"));
                kernel
            }
        };
        let args = ["boot", &text(&twin.path), "--as", "gen1", "--within", "3m"];
        let (out, err) = expect(dir.path(), &args, 1);
        // GRUB breaks a long message over lines; the verdict has it whole.
        let words = format!("GRUB did not find a file it needs: “error: file `{kernel}' not found.”");
        assert!(out.contains(&words), "not said: {words}\n{out}\n{err}\n{}", consoles(&last_run(dir.path())));
        let (why, _) = expect(dir.path(), &["why"], 0);
        assert!(why.contains(&kernel), "why does not name {kernel}\n{why}");
        println!("caught: {}", debian.name);
    });
}
