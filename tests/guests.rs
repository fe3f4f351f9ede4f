//! Guests of every mainstream boot style start as Generation 2, by the entry that their own loader chooses; and each has a twin in
//! which one thing is broken, which must not become ready and must say what is broken.

mod common;

use common::{consoles, expect, last_run, outside, raw_copy, sample, text};
use std::path::{Path, PathBuf};

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

/// What the short tier has time for: one of each loader that is not Debian's GRUB.
const SHORT: [&str; 3] = ["sdboot", "uki", "fedora"];

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
        let (out, err) = expect(dir.path(), &["boot", &image, "--as", "gen2", "--within", "2m"], 1);
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

/// A copy of a sample, for outside tools to break.
struct Raw {
    path: PathBuf,
}

impl Raw {
    #[track_caller]
    fn copy_of(image: &Path, dir: &Path) -> Raw {
        Raw { path: raw_copy(image, dir, "twin.raw") }
    }

    #[track_caller]
    fn sgdisk(&self, args: &[&str]) {
        let path = text(&self.path);
        outside("sgdisk", &[args, &[path.as_str()]].concat());
    }

    /// Where a partition begins and how long it is, in bytes.
    #[track_caller]
    fn place(&self, number: u32) -> (u64, u64) {
        let said = outside("sgdisk", &[&format!("--info={number}"), &text(&self.path)]);
        let field = |name: &str| -> u64 {
            let rest =
                said.lines().find_map(|l| l.strip_prefix(name)).and_then(|l| l.split_whitespace().next());
            rest.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name}\n{said}"))
        };
        (field("First sector: ") * 512, field("Partition size: ") * 512)
    }

    /// A partition as mtools and debugfs name one.
    #[track_caller]
    fn volume(&self, number: u32, between: &str) -> String {
        format!("{}{between}{}", text(&self.path), self.place(number).0)
    }

    #[track_caller]
    fn debugfs(&self, number: u32, command: &str) {
        let said = outside("debugfs", &["-w", "-R", command, &self.volume(number, "?offset=")]);
        assert!(!said.contains("not found"), "debugfs: {said}");
    }

    /// The kernel that lies in that folder.
    #[track_caller]
    fn kernel(&self, number: u32, folder: &str) -> String {
        let said = outside("debugfs", &["-R", &format!("ls -p {folder}"), &self.volume(number, "?offset=")]);
        let name = said.split('/').find(|name| name.starts_with("vmlinuz-"));
        format!(
            "{}/{}",
            folder.trim_end_matches('/'),
            name.unwrap_or_else(|| panic!("no kernel in {folder}\n{said}"))
        )
    }

    #[track_caller]
    fn mdel(&self, number: u32, file: &str) {
        outside("mdel", &["-i", &self.volume(number, "@@"), file]);
    }

    /// Only the first half of a file is left.
    #[track_caller]
    fn truncate(&self, number: u32, file: &str) {
        let (volume, part) = (self.volume(number, "@@"), self.path.with_extension("half"));
        outside("mcopy", &["-n", "-i", &volume, file, &text(&part)]);
        let whole = std::fs::File::options().write(true).open(&part).unwrap();
        whole.set_len(whole.metadata().unwrap().len() / 2).unwrap();
        outside("mcopy", &["-o", "-i", &volume, &text(&part), file]);
    }

    /// xfs_admin knows no offsets: the partition is taken out and put back.
    #[track_caller]
    fn xfs_uuid(&self, number: u32, uuid: &str) {
        let (at, len) = self.place(number);
        let (disk, part) = (text(&self.path), text(&self.path.with_extension("xfs")));
        let (at, len) = (format!("={at}"), format!("count={len}"));
        let dd = |from: &str, to: &str, flags: &[&str]| {
            let common = [format!("if={from}"), format!("of={to}"), "bs=1M".into(), "status=none".into()];
            let common: Vec<&str> = common.iter().map(String::as_str).collect();
            outside("dd", &[&common, flags].concat());
        };
        dd(&disk, &part, &["iflag=skip_bytes,count_bytes", &format!("skip{at}"), &len, "conv=sparse"]);
        outside("xfs_admin", &["-U", uuid, &part]);
        dd(&part, &disk, &["oflag=seek_bytes", &format!("seek{at}"), "conv=notrunc,nocreat"]);
    }
}
