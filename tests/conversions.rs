//! Every kind of guest, there and back: it is converted, starts under a BIOS by the entry its own loader would have chosen, and comes home to
//! the byte. Each has a twin in which one thing is broken on the converted disk: it must not become ready, and `drill why` must say why.

mod common;

use common::raw::Raw;
use common::{consoles, expect, last_run, outside, sample, text};

struct Guest {
    /// The sample's name behind `tiny-gen2-`.
    name: &'static str,
    /// What its ready line says behind the marker.
    root: &'static str,
    /// The end of its ready line: which entry was started.
    entry: &'static str,
    /// What is broken on the converted disk.
    broken: fn(&Raw),
    /// What the twin's console says about that.
    says: &'static str,
}

/// What the short tier has time for: one menu of entries that is written out, one image that is taken apart.
const SHORT: [&str; 2] = ["sdboot", "uki"];
const OTHER_ID: &str = "5d1f0c3a-7b1e-4c52-9d0e-6a2f4be8dead";
const NO_DEVICE: &str = "error: no such device: 21111111-2222-4333-8444-555555555555";

const fn guest(
    name: &'static str,
    root: &'static str,
    entry: &'static str,
    broken: fn(&Raw),
    says: &'static str,
) -> Guest {
    Guest { name, root, entry, broken, says }
}

const GUESTS: [Guest; 19] = [
    guest(
        "partuuid",
        "/dev/sda2",
        " entry=debian",
        |d| d.sgdisk(&[&format!("--partition-guid=2:{OTHER_ID}")]),
        "DRILL-NOROOT cannot find root PARTUUID=",
    ),
    guest(
        "bootpart",
        "/dev/sda3",
        " entry=debian",
        |d| d.debugfs(2, &format!("rm {}", d.kernel(2, "/"))),
        "error: file `/vmlinuz-",
    ),
    guest(
        "xfs",
        "/dev/sda2",
        " entry=debian",
        |d| d.xfs_uuid(2, "dead1111-2222-4333-8444-555555555555"),
        NO_DEVICE,
    ),
    guest("parts7", "/dev/sda5", " entry=debian", |d| d.sgdisk(&["--delete=5"]), NO_DEVICE),
    guest(
        "nogap",
        "/dev/sda2",
        " entry=debian",
        |d| d.debugfs(2, &format!("rm {}", d.kernel(2, "/boot"))),
        "error: file `/boot/vmlinuz-",
    ),
    guest(
        "hybrid",
        "/dev/sda1",
        " entry=debian",
        |d| d.debugfs(1, "rm /sbin/init"),
        "DRILL-NOROOT cannot use /dev/sda1 as root",
    ),
    guest(
        "hybrid-empty",
        "/dev/sda1",
        " entry=debian",
        |d| d.debugfs(1, "rm /sbin/init"),
        "DRILL-NOROOT cannot use /dev/sda1 as root",
    ),
    guest(
        "4kn",
        "/dev/sda2",
        "",
        |d| d.debugfs(2, &format!("rm {}", d.kernel(2, "/boot"))),
        "error: file `/boot/vmlinuz-",
    ),
    guest(
        "sdboot",
        "/dev/sda2",
        " entry=v10 extra=second",
        |d| d.mdel(1, "::/5d1f0c3a7b1e4c529d0e6a2f4be8c0aa/6.1.0-10/linux"),
        "error: file `/5d1f0c3a7b1e4c529d0e6a2f4be8c0aa/6.1.0-10/linux' not found",
    ),
    guest(
        "dps",
        "/dev/sda2",
        " entry=dps",
        |d| d.sgdisk(&[&format!("--partition-guid=2:{OTHER_ID}")]),
        "DRILL-NOROOT cannot find root PARTUUID=",
    ),
    guest(
        "uki",
        "/dev/sda2",
        " entry=uki",
        |d| d.mdel(1, "::/EFI/BOOT/BOOTX64.EFI"),
        "error: file `/EFI/BOOT/BOOTX64.EFI' not found",
    ),
    guest(
        "uki-sdboot",
        "/dev/sda2",
        " entry=uki-10",
        |d| d.mdel(1, "::/EFI/Linux/tiny-10.efi"),
        "error: file `/EFI/Linux/tiny-10.efi' not found",
    ),
    guest(
        "efistub",
        "/dev/sda2",
        " entry=efistub",
        |d| d.mdel(1, "::/EFI/Linux/vmlinuz.efi"),
        "error: file `/EFI/Linux/vmlinuz.efi' not found",
    ),
    guest(
        "fedora",
        "/dev/sda3",
        " entry=v9",
        |d| d.debugfs(2, "rm /vmlinuz-6.1.0-9.fc.x86_64"),
        "error: file `/vmlinuz-6.1.0-9.fc.x86_64' not found",
    ),
    guest(
        "lvm",
        "/dev/mapper/vg0-root--a",
        " entry=partition",
        |d| d.clear(3, 0, 4096),
        "DRILL-NOROOT cannot find root",
    ),
    guest("lvmboot", "/dev/mapper/vg0-root--a", " entry=inside", |d| d.clear(2, 0, 4096), NO_DEVICE),
    guest(
        "thin",
        "/dev/mapper/vg0-root--a",
        " entry=thin",
        |d| d.clear(3, 0, 4096),
        "DRILL-NOROOT cannot find root",
    ),
    guest("btrfs", "/dev/sda2", " entry=btrfs", |d| d.clear(2, 64 << 10, 4096), NO_DEVICE),
    guest("suse", "/dev/sda2", " entry=suse", |d| d.clear(2, 64 << 10, 4096), NO_DEVICE),
];

/// The guests of this tier; one that fails does not hide the others.
#[track_caller]
fn each(what: &str, check: fn(&Guest)) {
    let only = std::env::var("DRILL_TEST_ONLY").ok();
    let full = std::env::var_os("DRILL_TEST_FULL").is_some();
    let wanted = |g: &&Guest| match &only {
        Some(names) => names.split(',').any(|n| n == g.name),
        None => full || SHORT.contains(&g.name),
    };
    let (now, later): (Vec<&Guest>, Vec<&Guest>) = GUESTS.iter().partition(wanted);
    assert!(!now.is_empty(), "no guest of this tier is in the table");
    if !later.is_empty() {
        let later: Vec<&str> = later.iter().map(|g| g.name).collect();
        println!("left to ./x test --full: {what} of {}", later.join(", "));
    }
    let failed = |guest: &&Guest| std::panic::catch_unwind(|| check(guest)).is_err();
    let failed: Vec<&str> = now.into_iter().filter(failed).map(|g| g.name).collect();
    assert!(failed.is_empty(), "{what}: failed, see above: {}", failed.join(", "));
}

fn ready_lines(console: &str) -> Vec<&str> {
    console.lines().map(str::trim).filter(|l| l.starts_with("DRILL-READY ")).collect()
}

#[test]
fn every_guest_starts_under_a_bios_by_its_own_entry_and_comes_home_to_the_byte() {
    each("the conversions", |guest| {
        let dir = tempfile::tempdir().unwrap();
        let image = text(&sample(&format!("tiny-gen2-{}", guest.name)));
        let at = |name: &str| text(&dir.path().join(name));
        expect(dir.path(), &["convert", &image, &at("gen1.vhd"), "--to", "gen1"], 0);
        let args = ["boot", &at("gen1.vhd"), "--as", "gen1", "--within", "5m"];
        let (out, err) = expect(dir.path(), &args, 0);
        let said = consoles(&last_run(dir.path()));
        let wanted = format!("DRILL-READY firmware=bios root={} marker=tiny-7f3a{}", guest.root, guest.entry);
        assert_eq!(ready_lines(&said), [wanted], "{}\n{out}\n{err}\n--- console\n{said}", guest.name);
        expect(dir.path(), &["convert", &at("gen1.vhd"), &at("home.raw"), "--to", "gen2"], 0);
        outside("qemu-img", &["compare", &image, &at("home.raw")]);
        println!("there and back: {}", guest.name);
    });
}

#[test]
fn a_converted_guest_with_one_thing_broken_does_not_start_and_why_says_it() {
    each("the broken twins", |guest| {
        let dir = tempfile::tempdir().unwrap();
        let image = text(&sample(&format!("tiny-gen2-{}", guest.name)));
        let path = dir.path().join("twin.raw");
        expect(dir.path(), &["convert", &image, &text(&path), "--to", "gen1"], 0);
        let disk = Raw { path };
        (guest.broken)(&disk);
        let args = ["boot", &text(&disk.path), "--as", "gen1", "--within", "80s"];
        let (out, err) = expect(dir.path(), &args, 1);
        let said = consoles(&last_run(dir.path()));
        let context = format!("{}\n{out}\n{err}\n--- console\n{said}", guest.name);
        assert!(ready_lines(&said).is_empty(), "it became ready: {context}");
        assert!(said.contains(guest.says), "not said: {}: {context}", guest.says);
        let (why, _) = expect(dir.path(), &["why"], 0);
        let cause = guest.says.trim_start_matches("error: ").trim_start_matches("DRILL-NOROOT ");
        let cause = cause.split([':', '`']).next().unwrap_or(cause).trim();
        assert!(why.contains(cause), "why does not say {cause:?}\n{why}\n{context}");
        println!("caught: {}", guest.name);
    });
}
