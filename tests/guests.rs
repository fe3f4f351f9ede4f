//! Guests of every mainstream boot style start as Generation 2, by the entry that their own loader chooses; and each has a twin in
//! which one thing is broken, which must not become ready and must say what is broken.

mod common;

use common::raw::Raw;
use common::{consoles, expect, last_run, sample, text};
use std::path::PathBuf;

/// A guest: its sample, and what it says when it is ready.
struct Guest {
    /// The sample's name behind `tiny-gen2-`.
    name: &'static str,
    /// The end of its ready line: which entry was started, and what a second initrd brought.
    entry: &'static str,
    /// The device of its root.
    root: &'static str,
    /// What is broken in its twin.
    broken: fn(&Raw),
    /// What the twin's console says about that.
    says: &'static str,
}

/// The folder of the kernel that systemd-boot must choose.
const SDBOOT_KERNEL: &str = "::/5d1f0c3a7b1e4c529d0e6a2f4be8c0aa/6.1.0-10/linux";

/// What the short tier has time for; systemd-boot and a unified kernel image are converted and started there by `conversions`.
const SHORT: [&str; 1] = ["fedora"];

const GUESTS: [Guest; 13] = [
    Guest {
        name: "partuuid",
        entry: "debian",
        root: "/dev/sda2",
        broken: |disk| disk.sgdisk(&["--partition-guid=2:5d1f0c3a-7b1e-4c52-9d0e-6a2f4be8dead"]),
        says: "DRILL-NOROOT cannot find root PARTUUID=5d1f0c3a-7b1e-4c52-9d0e-6a2f4be8c003",
    },
    Guest {
        name: "bootpart",
        entry: "debian",
        root: "/dev/sda3",
        broken: |disk| disk.debugfs(2, &format!("rm {}", disk.kernel(2, "/"))),
        says: "error: file `/vmlinuz-",
    },
    Guest {
        name: "xfs",
        entry: "debian",
        root: "/dev/sda2",
        broken: |disk| disk.xfs_uuid(2, "dead1111-2222-4333-8444-555555555555"),
        says: "error: no such device: 21111111-2222-4333-8444-555555555555",
    },
    Guest {
        name: "parts7",
        entry: "debian",
        root: "/dev/sda5",
        broken: |disk| disk.sgdisk(&["--delete=5"]),
        says: "error: no such device: 21111111-2222-4333-8444-555555555555",
    },
    Guest {
        name: "nogap",
        entry: "debian",
        root: "/dev/sda2",
        broken: |disk| disk.mdel(1, "::/EFI/BOOT/BOOTX64.EFI"),
        says: "Shell>",
    },
    Guest {
        name: "hybrid",
        entry: "debian",
        root: "/dev/sda1",
        broken: |disk| disk.debugfs(1, &format!("rm {}", disk.kernel(1, "/boot"))),
        says: "error: file `/boot/vmlinuz-",
    },
    Guest {
        name: "hybrid-empty",
        entry: "debian",
        root: "/dev/sda1",
        broken: |disk| disk.debugfs(1, "rm /sbin/init"),
        says: "DRILL-NOROOT cannot use /dev/sda1 as root",
    },
    Guest {
        name: "sdboot",
        entry: "v10 extra=second",
        root: "/dev/sda2",
        broken: |disk| disk.truncate(1, SDBOOT_KERNEL),
        says: "Error loading \\5d1f0c3a7b1e4c529d0e6a2f4be8c0aa\\6.1.0-10\\linux: Unsupported",
    },
    Guest {
        name: "dps",
        entry: "dps",
        root: "/dev/sda2",
        broken: |disk| disk.sgdisk(&["--typecode=2:8300"]),
        says: "DRILL-NOROOT cannot find root gpt-auto",
    },
    Guest {
        name: "uki",
        entry: "uki",
        root: "/dev/sda2",
        broken: |disk| disk.truncate(1, "::/EFI/BOOT/BOOTX64.EFI"),
        says: "BdsDxe: failed to load Boot0001",
    },
    Guest {
        name: "uki-sdboot",
        entry: "uki-10",
        root: "/dev/sda2",
        broken: |disk| disk.truncate(1, "::/EFI/Linux/tiny-10.efi"),
        says: "Error loading \\EFI\\Linux\\tiny-10.efi: Unsupported",
    },
    Guest {
        name: "efistub",
        entry: "efistub",
        root: "/dev/sda2",
        broken: |disk| disk.mdel(1, "::/EFI/Linux/vmlinuz.efi"),
        says: "is not recognized as an internal or external command",
    },
    Guest {
        name: "fedora",
        entry: "v9",
        root: "/dev/sda3",
        broken: |disk| disk.debugfs(2, "rm /vmlinuz-6.1.0-9.fc.x86_64"),
        says: "error: file `/vmlinuz-6.1.0-9.fc.x86_64' not found",
    },
];

/// The guests of this tier; `what` names what the others are left without.
fn guests(what: &str) -> Vec<&'static Guest> {
    if std::env::var_os("DRILL_TEST_FULL").is_some() {
        return GUESTS.iter().collect();
    }
    let (now, later): (Vec<&Guest>, Vec<&Guest>) = GUESTS.iter().partition(|g| SHORT.contains(&g.name));
    assert_eq!(now.len(), SHORT.len(), "a guest of the short tier is not in the table");
    let later: Vec<&str> = later.iter().map(|g| g.name).collect();
    println!("left to ./x test --full: {what} of {}", later.join(", "));
    now
}

impl Guest {
    fn sample(&self) -> PathBuf {
        sample(&format!("tiny-gen2-{}", self.name))
    }
}

fn ready_lines(console: &str) -> Vec<&str> {
    console.lines().map(str::trim).filter(|l| l.starts_with("DRILL-READY ")).collect()
}

/// Each guest of the tier; one that fails does not hide the others.
#[track_caller]
fn each(what: &str, check: fn(&Guest)) {
    let failed = |guest: &&Guest| std::panic::catch_unwind(|| check(guest)).is_err();
    let failed: Vec<&str> = guests(what).into_iter().filter(failed).map(|g| g.name).collect();
    assert!(failed.is_empty(), "{what}: failed, see above: {}", failed.join(", "));
}

#[test]
fn every_guest_starts_by_the_entry_that_its_loader_chooses() {
    each("the boots", |guest| {
        let dir = tempfile::tempdir().unwrap();
        let image = text(&guest.sample());
        let (shown, _) = expect(dir.path(), &["inspect", &image], 0);
        assert!(shown.contains("Drill Tiny Linux 1"), "{}: {shown}", guest.name);
        let (out, err) = expect(dir.path(), &["boot", &image, "--as", "gen2", "--within", "5m"], 0);
        let said = consoles(&last_run(dir.path()));
        let wanted =
            format!("DRILL-READY firmware=uefi root={} marker=tiny-7f3a entry={}", guest.root, guest.entry);
        assert_eq!(ready_lines(&said), [wanted], "{}\n{out}\n{err}\n--- console\n{said}", guest.name);
        println!("starts: {}", guest.name);
    });
}

#[test]
fn a_guest_with_one_thing_broken_does_not_start_and_says_what() {
    each("the broken twins", |guest| {
        let dir = tempfile::tempdir().unwrap();
        let disk = Raw::copy_of(&guest.sample(), dir.path());
        (guest.broken)(&disk);
        let image = text(&disk.path);
        let (out, err) = expect(dir.path(), &["boot", &image, "--as", "gen2", "--within", "90s"], 1);
        let said = consoles(&last_run(dir.path()));
        let context = format!("{}\n{out}\n{err}\n--- console\n{said}", guest.name);
        assert!(ready_lines(&said).is_empty(), "it became ready: {context}");
        assert!(said.contains(guest.says), "not said: {}: {context}", guest.says);
        println!("caught: {}", guest.name);
    });
}

#[test]
fn the_hybrid_starts_under_a_bios_as_it_is_and_not_without_its_boot_code() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: the BIOS boots of hybrid, hybrid-empty");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let boot = |name: &str, within: &str, exit: i32| {
        let image = text(&sample(name));
        let (out, err) = expect(dir.path(), &["boot", &image, "--as", "gen1", "--within", within], exit);
        (format!("{out}{err}"), consoles(&last_run(dir.path())))
    };
    let (_, said) = boot("tiny-gen2-hybrid", "3m", 0);
    let wanted = "DRILL-READY firmware=bios root=/dev/sda1 marker=tiny-7f3a entry=debian";
    assert_eq!(ready_lines(&said), [wanted], "{said}");
    let (shown, said) = boot("tiny-gen2-hybrid-empty", "30s", 1);
    assert!(ready_lines(&said).is_empty(), "{said}");
    assert!(shown.contains("does LBA 0 hold boot code"), "{shown}");
}
