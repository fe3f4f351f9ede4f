//! Home again after the guest has lived on as Generation 1: what still fits is kept, what does not is a conflict with its rule.
//! Every change is made by an outside tool on the converted disk, and judged by one.

mod guest_support;

use engine::convert::{Gen1Options, TableChoice, to_gen1, to_gen2};
use engine::guest::inspect;
use guest_support::{ESP_AT, MIB, ROOT_AT, Spec, bytes_of, gen2, kits, mem, run};
use std::fs;
use std::path::Path;

/// What becomes of the way home.
enum Home {
    /// A Generation 2 disk on which `tool` says this.
    Fits(&'static str, &'static [&'static str], &'static str),
    /// A conflict whose text holds these.
    Conflict(&'static [&'static str]),
}

struct Case {
    what: &'static str,
    spec: fn() -> Spec,
    table: TableChoice,
    /// The guest at work on its raw disk; the second path is for files of its own.
    guest: fn(&str, &str),
    home: Home,
}

use Home::{Conflict, Fits};
use TableChoice::{Gpt, Mbr};

fn plain() -> Spec {
    Spec::default()
}

/// A disk of a length that is no whole MiB: its copy is longer.
fn odd() -> Spec {
    Spec { len: 24 * MIB + 512, ..Spec::default() }
}

/// A disk whose ESP begins too early for a gap.
fn no_gap() -> Spec {
    Spec { esp_first: 40, ..Spec::default() }
}

fn root(disk: &str) -> String {
    format!("{disk}?offset={ROOT_AT}")
}

fn put(disk: &str, file: &str, at: &str, text: &str) {
    fs::write(file, text).expect("file");
    run("debugfs", &["-w", "-R", &format!("rm {at}"), &root(disk)]);
    run("debugfs", &["-w", "-R", &format!("write {file} {at}"), &root(disk)]);
}

/// sfdisk reads what to do from its standard input.
fn sfdisk(disk: &str, args: &str, what: &str) {
    run("sh", &["-c", &format!("printf '%s\\n' '{what}' | sfdisk --no-reread -q {args} '{disk}'")]);
}

const CASES: &[Case] = &[
    Case {
        what: "a kernel updated, its initramfs rebuilt, the menu regenerated",
        spec: plain,
        table: Gpt,
        guest: |disk, file| {
            put(disk, file, "/boot/vmlinuz-2", "new kernel");
            put(disk, file, "/boot/initrd.img", "rebuilt initramfs");
            put(
                disk,
                file,
                "/boot/grub/grub.cfg",
                "menuentry 'New' {\n linux /boot/vmlinuz-2 root=UUID=21111111-2222-4333-8444-555555555555\n}\n",
            );
        },
        home: Fits("debugfs", &["-R", "cat /boot/grub/grub.cfg", "ROOT"], "vmlinuz-2"),
    },
    Case {
        what: "fstab edited",
        spec: plain,
        table: Mbr,
        guest: |disk, file| {
            put(disk, file, "/etc/fstab", "UUID=21111111-2222-4333-8444-555555555555 / ext4 noatime 0 1\n")
        },
        home: Fits("debugfs", &["-R", "cat /etc/fstab", "ROOT"], "noatime"),
    },
    Case {
        what: "a new boot loader entry on the ESP",
        spec: plain,
        table: Gpt,
        guest: |disk, file| {
            fs::write(file, "title New\nlinux /new\n").expect("file");
            let esp = format!("{disk}@@{ESP_AT}");
            run("mmd", &["-i", &esp, "::/loader", "::/loader/entries"]);
            run("mcopy", &["-i", &esp, file, "::/loader/entries/new.conf"]);
        },
        home: Fits("mtype", &["-i", "ESP", "::/loader/entries/new.conf"], "title New"),
    },
    Case {
        what: "the last partition grown and its file system with it",
        spec: plain,
        table: Gpt,
        guest: |disk, _| {
            sfdisk(disk, "-N 2", ",+");
            run(
                "sh",
                &[
                    "-c",
                    &format!(
                        "dd if='{disk}' of='{disk}.root' bs=1M skip=9 status=none && e2fsck -fp '{disk}.root'; truncate -s 14M '{disk}.root' && \
                 resize2fs -f '{disk}.root' 14M && dd if='{disk}.root' of='{disk}' bs=1M seek=9 conv=notrunc status=none"
                    ),
                ],
            );
        },
        home: Fits("sgdisk", &["-i", "2", "DISK"], "Last sector: 49118"),
    },
    Case {
        what: "the last partition grown within the original length of a longer copy",
        spec: odd,
        table: Gpt,
        guest: |disk, _| sfdisk(disk, "-N 2", ",26000"),
        home: Fits("sgdisk", &["-i", "2", "DISK"], "Partition size: 26000 sectors"),
    },
    Case {
        what: "the last partition grown to the end of a longer copy",
        spec: odd,
        table: Gpt,
        guest: |disk, _| sfdisk(disk, "-N 2", ",+"),
        home: Conflict(&[
            "the GPT (both copies)",
            "the partitions must fit the original disk of 25166336 bytes",
            "partition 2 spans",
        ]),
    },
    Case {
        what: "the last partition of a real MBR grown",
        spec: plain,
        table: Mbr,
        guest: |disk, _| sfdisk(disk, "-N 2", ",26000"),
        home: Fits("sgdisk", &["-i", "2", "DISK"], "Partition size: 26000 sectors"),
    },
    Case {
        what: "the last partition of a real MBR grown over the backup GPT",
        spec: plain,
        table: Mbr,
        guest: |disk, _| sfdisk(disk, "-N 2", ",+"),
        home: Conflict(&[
            "the real MBR (LBA 0)",
            "partitions may have grown or shrunk at their ends",
            "no longer fit the GPT",
        ]),
    },
    Case {
        what: "a partition made in a real MBR",
        spec: plain,
        table: Mbr,
        guest: |disk, _| sfdisk(disk, "-a", "start=44000,size=1000"),
        home: Conflict(&[
            "the real MBR (LBA 0)",
            "the guest has made, removed, moved or retyped a partition",
        ]),
    },
    Case {
        what: "a partition made in a kept GPT",
        spec: plain,
        table: Gpt,
        guest: |disk, _| sfdisk(disk, "-a", "start=44000,size=1000"),
        home: Fits("sgdisk", &["-i", "3", "DISK"], "First sector: 44000"),
    },
    Case {
        what: "a partition made beside GRUB's own",
        spec: no_gap,
        table: Gpt,
        guest: |disk, _| sfdisk(disk, "-a", "start=44000,size=1000"),
        home: Fits("sgdisk", &["-p", "DISK"], "44000           44999"),
    },
    Case {
        what: "another boot loader installed",
        spec: plain,
        table: Gpt,
        guest: |disk, _| {
            run(
                "dd",
                &[
                    "if=/usr/lib/grub/i386-pc/boot.img",
                    &format!("of={disk}"),
                    "bs=440",
                    "count=1",
                    "conv=notrunc",
                    "status=none",
                ],
            );
        },
        home: Conflict(&["GRUB's boot code", "what is there must be what the conversion wrote"]),
    },
];

#[test]
fn what_fits_is_kept_and_what_does_not_is_a_conflict_with_its_rule() {
    for case in CASES {
        let made = gen2(&(case.spec)());
        let disk = made.disk();
        let options = Gen1Options { table: case.table, ..Gen1Options::default() };
        let plan = to_gen1(&disk, &inspect(&disk).expect("inspect"), &kits, &options)
            .unwrap_or_else(|e| panic!("{}: {e}", case.what));
        let at = |name: &str| made.dir.path().join(name).to_str().expect("path").to_string();
        fs::write(at("gen1.raw"), bytes_of(&plan.patch.apply(&disk).expect("apply"))).expect("write");
        (case.guest)(&at("gen1.raw"), &at("file"));

        let now = mem(Path::new(&at("gen1.raw")));
        let back = to_gen2(&now, None);
        match &case.home {
            Fits(tool, args, wanted) => {
                let back = back.unwrap_or_else(|e| panic!("{}: {e}", case.what));
                let home = at("gen2.raw");
                let result = back.patch.apply(&now).expect("apply");
                assert_eq!(result.geometry(), disk.geometry(), "{}", case.what);
                fs::write(&home, bytes_of(&result)).expect("write");
                let said = run("sgdisk", &["-v", &home]);
                assert!(said.contains("No problems found"), "{}: {said}", case.what);
                let place = |arg: &&'static str| match *arg {
                    "DISK" => home.clone(),
                    "ROOT" => root(&home),
                    "ESP" => format!("{home}@@{ESP_AT}"),
                    own => own.to_string(),
                };
                let args: Vec<String> = args.iter().map(place).collect();
                let said = run(tool, &args.iter().map(String::as_str).collect::<Vec<_>>());
                assert!(said.contains(wanted), "{}: wanted {wanted:?}\n{said}", case.what);
                let ids = run("sgdisk", &["-p", &home]);
                assert!(!ids.contains("drill"), "{}: what the conversion added is gone\n{ids}", case.what);
                let original = fs::read(&made.path).expect("original");
                assert!(
                    bytes_of(&result)[..440] == original[..440],
                    "{}: the boot code is as it was",
                    case.what
                );
            }
            Conflict(wanted) => {
                let refusal = back.expect_err(case.what).to_string();
                for text in *wanted {
                    assert!(refusal.contains(text), "{}: wanted {text:?}\n{refusal}", case.what);
                }
            }
        }
    }
}
