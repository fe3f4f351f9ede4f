//! Disks made and changed by outside tools; the comparison must name exactly what was changed.

mod diff_support;
mod guest_support;

use diff_support::{compare, told};
use engine::diff::{DiffError, Options, Scope, Verdict, diff};
use engine::disk::DiskRef;
use guest_support::{
    ESP_AT, MIB, Made, ROOT_AT, ROOT_LEN, ROOT_UUID, Spec, bytes_of, gen2, mem, mem_bytes, run,
};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// First sector of the swap partition, behind the root.
const SWAP: u64 = (ROOT_AT + ROOT_LEN) / 512;

/// One disk for all cases: ESP, root and swap, and free space behind them.
fn base() -> &'static Made {
    static BASE: OnceLock<Made> = OnceLock::new();
    BASE.get_or_init(|| {
        let swap = [format!("-n3:{SWAP}:{}", SWAP + 2047), "-t3:8200".into(), "-c3:swap".into()];
        let made = gen2(&Spec { sgdisk: swap.to_vec(), ..Spec::default() });
        let area = made.dir.path().join("swap");
        File::create(&area).and_then(|f| f.set_len(MIB)).expect("swap");
        run("mkswap", &["-U", "11111111-2222-4333-8444-999999999999", text(&area)]);
        let bench = Bench { path: made.path.clone() };
        bench.patch(SWAP * 512, &fs::read(&area).expect("swap"));
        let long: Vec<u8> = (0..200_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let files = [
            ("long", long.as_slice(), "/long"),
            ("key", b"secret\n", "/etc/key"),
            ("motd", b"hello\n", "/etc/motd"),
        ];
        for (name, bytes, at) in files {
            let file = made.dir.path().join(name);
            fs::write(&file, bytes).expect("file");
            bench.root(&[&format!("write {} {at}", text(&file))]);
        }
        bench.root(&[
            "set_inode_field /etc/key mode 0100600",
            "mkdir /srv",
            "mkdir /srv/deep",
            "symlink /srv/loop ../srv",
            "symlink /srv/self self",
        ]);
        made
    })
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf-8 path")
}

/// A copy of the disk, to be changed.
struct Bench {
    path: PathBuf,
}

impl Bench {
    fn patch(&self, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(&self.path).expect("open");
        file.write_all_at(bytes, at).expect("write");
    }

    fn file(&self, content: &[u8]) -> String {
        let path = self.path.with_extension("new");
        fs::write(&path, content).expect("file");
        text(&path).to_string()
    }

    /// Commands of debugfs on the root file system.
    fn root(&self, commands: &[&str]) {
        let script = self.path.with_extension("debugfs");
        fs::write(&script, commands.join("\n")).expect("script");
        let said =
            run("debugfs", &["-w", "-f", text(&script), &format!("{}?offset={ROOT_AT}", text(&self.path))]);
        assert!(!said.contains("not found") && !said.contains("Usage"), "{commands:?}\n{said}");
    }

    fn esp(&self) -> String {
        format!("{}@@{ESP_AT}", text(&self.path))
    }

    fn sgdisk(&self, args: &[&str]) {
        run("sgdisk", &[args, &[text(&self.path)]].concat());
    }

    /// A program for a bare file system, run on the partition at `at`.
    fn on_part(&self, at: u64, len: u64, act: impl Fn(&str)) {
        let part = self.path.with_extension("part");
        let bytes = fs::read(&self.path).expect("image");
        fs::write(&part, &bytes[at as usize..(at + len) as usize]).expect("part");
        act(text(&part));
        self.patch(at, &fs::read(&part).expect("part"));
    }
}

/// Change a copy by `act`; the difference must be `want`, and with `--boot` those that have a `!` in front.
#[track_caller]
fn check(act: impl Fn(&Bench), want: &[&str]) {
    let dir = tempfile::tempdir().expect("temp dir");
    let bench = Bench { path: dir.path().join("changed.raw") };
    fs::copy(&base().path, &bench.path).expect("copy");
    act(&bench);
    let (a, b) = (base().disk(), mem(&bench.path));
    let all = compare(&a, &b, Scope::All);
    let wanted: Vec<&str> = want.iter().map(|w| w.trim_start_matches('!')).collect();
    // How many bytes a tool writes is its own affair: `…` stands for them.
    let found = told(&all);
    let like = |(w, f): (&&str, &String)| w.strip_suffix('…').map_or(*w == f, |start| f.starts_with(start));
    let same = wanted.len() == found.len() && wanted.iter().zip(&found).all(like);
    assert!(same, "wanted {wanted:#?}\nfound {found:#?}\n{all}");
    let boot = compare(&a, &b, Scope::Boot);
    let wanted: Vec<&str> = want.iter().filter_map(|w| w.strip_prefix('!')).collect();
    assert_eq!(told(&boot), wanted, "with --boot\n{boot}");
    for d in [&all, &boot] {
        let again: engine::diff::Diff =
            serde_json::from_str(&serde_json::to_string(d).expect("json")).expect("diff");
        assert_eq!(again, *d);
    }
    // What is different one way is different the other way round.
    assert_eq!(compare(&b, &a, Scope::All).verdict, all.verdict);
}

#[test]
fn nothing_changed() {
    check(|_| {}, &[]);
    let disk = base().disk();
    assert_eq!(compare(&disk, &disk, Scope::All).verdict, Verdict::Identical);
    assert_eq!(compare(&disk, &disk, Scope::Boot).verdict, Verdict::Same);
    let text = compare(&disk, &disk, Scope::All).to_string();
    assert_eq!(text, "The disks are the same to the byte.\n");
}

#[test]
fn names_types_ids_and_attributes_of_partitions() {
    check(|b| b.sgdisk(&["-c", "2:system"]), &["!partition 2 name: - → system"]);
    check(|b| b.sgdisk(&["-c", "3:other"]), &["!partition 3 name: swap → other"]);
    check(|b| b.sgdisk(&["-c", "3:"]), &["!partition 3 name: swap → -"]);
    check(
        |b| b.sgdisk(&["-t", "2:8304"]),
        &["!partition 2 type: Linux file system (0FC63DAF-8483-4772-8E79-3D69D8477DE4) → \
           Linux root (x86-64) (4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709)"],
    );
    check(|b| b.sgdisk(&["-A", "2:set:2"]), &["!partition 2 attributes: 0x0 → 0x4"]);
    let id = "99999999-8888-4777-8666-555555555555";
    let diff = {
        let dir = tempfile::tempdir().expect("temp dir");
        let bench = Bench { path: dir.path().join("changed.raw") };
        fs::copy(&base().path, &bench.path).expect("copy");
        bench.sgdisk(&["-u", &format!("2:{id}"), "-U", id]);
        compare(&base().disk(), &mem(&bench.path), Scope::Boot)
    };
    let fields: Vec<(&str, Option<&str>)> =
        diff.partitions[0].fields.iter().map(|f| (f.what.as_str(), f.b.as_deref())).collect();
    assert_eq!(fields, [("id", Some(id))], "{diff}");
    let fields: Vec<(&str, Option<&str>)> =
        diff.table.iter().map(|f| (f.what.as_str(), f.b.as_deref())).collect();
    assert_eq!(fields, [("disk id", Some(id))], "{diff}");
}

#[test]
fn partitions_come_go_and_change_their_number() {
    check(
        |b| b.sgdisk(&["-n4:45056:47000", "-c4:new"]),
        &["!+partition 4 (Linux file system \"new\"), 972.5 KiB at 22 MiB"],
    );
    check(|b| b.sgdisk(&["-d3"]), &["!-partition 3 (Linux swap \"swap\"), 1 MiB at 21 MiB"]);
    check(|b| b.sgdisk(&["-r", "2:3"]), &["!partition 2 number: 2 → 3", "!partition 3 number: 3 → 2"]);
    // Made anew at its place with another end: the same partition, longer.
    let id = "11111111-2222-4333-8444-777777777777";
    let same = format!("-u3:{id}");
    let dir = tempfile::tempdir().expect("temp dir");
    let (one, two) = (dir.path().join("one.raw"), dir.path().join("two.raw"));
    for (path, last) in [(&one, SWAP + 2047), (&two, SWAP + 3071)] {
        fs::copy(&base().path, path).expect("copy");
        let bench = Bench { path: path.clone() };
        bench.sgdisk(&["-d3", &format!("-n3:{SWAP}:{last}"), "-t3:8200", "-c3:swap", &same]);
    }
    let diff = compare(&mem(&one), &mem(&two), Scope::All);
    assert_eq!(
        told(&diff),
        ["partition 3 length: 1 MiB (1048576 bytes) → 1.5 MiB (1572864 bytes)"],
        "{diff}"
    );
}

#[test]
fn what_of_a_table_means_nothing_is_told_in_one_line() {
    // Reserved bytes behind the header have no checksum. UEFI 2.10 table 5-5.
    check(|b| b.patch(512 + 400, &[7]), &["=the GPT, LBA 1..=33"]);
    // A damaged copy does mean something.
    check(
        |b| b.patch(24 * MIB - 512 + 16, &[0xff]),
        &["!table backup GPT: valid → header CRC is 0x…, computed 0x…"],
    );
}

#[test]
fn boot_code_gap_and_signature() {
    check(|b| b.patch(0, &[0xeb, 0x63, 0x90]), &["!boot code at LBA 0, where A has none: 3"]);
    check(|b| b.patch(440, &[0x78, 0x56, 0x34, 0x12]), &["!table MBR disk signature: 00000000 → 12345678"]);
    check(
        |b| b.patch(446, &[0x80]),
        &[
            "!table MBR entry 1: type 0xee, status 0x00, 49151 sectors at LBA 1 → type 0xee, status 0x80, 49151 sectors at LBA 1",
        ],
    );
    check(
        |b| b.patch(447, &[0xfe]),
        &["!table MBR entry 1: type 0xee, status 0x00, 49151 sectors at LBA 1, CHS 000200 to 0f0c03 → \
         type 0xee, status 0x00, 49151 sectors at LBA 1, CHS fe0200 to 0f0c03"],
    );
    check(|b| b.patch(444, &[0x5a, 0x5a]), &["!table MBR bytes 444..446: 0x0000 → 0x5a5a"]);
}

#[test]
fn bytes_that_nobody_can_read_as_files() {
    check(
        |b| {
            b.patch(100 * 512, &[1]);
            b.patch(101 * 512, &[1]);
            b.patch(200 * 512 + 511, &[1]);
        },
        &["!the gap before the first partition, LBA 34..=2047: 1536 in 2"],
    );
    check(|b| b.patch(SWAP * 512 + 70_000, b"paged out"), &["partition 3 (swap): 512 in 1"]);
    check(|b| b.patch(23 * MIB, &[1; 1000]), &["unpartitioned space, LBA 45056..=49118: 1024 in 1"]);
}

#[test]
fn a_longer_disk() {
    let grown = |b: &Bench| {
        File::options().write(true).open(&b.path).and_then(|f| f.set_len(25 * MIB)).expect("longer");
    };
    check(
        |b| {
            grown(b);
            b.sgdisk(&["-e"]);
        },
        &[
            "!table length: 24 MiB (25165824 bytes) → 25 MiB (26214400 bytes)",
            "!table last usable sector: 49118 → 51166",
            "!table MBR entry 1: type 0xee, status 0x00, 49151 sectors at LBA 1 → type 0xee, status 0x00, 51199 sectors at LBA 1",
        ],
    );
}

#[test]
fn files_on_the_esp() {
    check(
        |b| {
            let note = b.file(b"written under BIOS\n");
            run("mcopy", &["-i", &b.esp(), &note, "::/EFI/Some long note.txt"]);
            run("mdel", &["-i", &b.esp(), "::/EFI/debian/grubx64.efi"]);
            run("mcopy", &["-o", "-i", &b.esp(), &note, "::/EFI/debian/grub.cfg"]);
            run("mmd", &["-i", &b.esp(), "::/drill"]);
        },
        &[
            "!+partition 1:/drill",
            "!~partition 1:/EFI/debian/grub.cfg [loader configuration]",
            "!-partition 1:/EFI/debian/grubx64.efi [boot loader]",
            "!+partition 1:/EFI/Some long note.txt",
        ],
    );
    // The same file once more: other clusters, another time, the same meaning.
    check(
        |b| {
            let out = b.path.with_extension("out");
            run("mcopy", &["-i", &b.esp(), "::/EFI/BOOT/BOOTX64.EFI", text(&out)]);
            run("mcopy", &["-o", "-i", &b.esp(), text(&out), "::/EFI/BOOT/BOOTX64.EFI"]);
            run("mattrib", &["+h", "-i", &b.esp(), "::/EFI/BOOT/BOOTX64.EFI"]);
        },
        &["=partition 1 (ESP, vfat \"ESP\")"],
    );
}

#[test]
fn files_on_the_root() {
    let note = |b: &Bench| b.file(b"one\ntwo\n");
    check(|b| b.root(&[&format!("write {} /etc/note", note(b))]), &["+partition 2:/etc/note"]);
    check(|b| b.root(&["rm /etc/fstab"]), &["!-partition 2:/etc/fstab [mounts]"]);
    check(
        |b| b.root(&["rm /etc/fstab", &format!("write {} /etc/fstab", note(b))]),
        &["!~partition 2:/etc/fstab [mounts]"],
    );
    check(
        |b| b.root(&["rm /boot/vmlinuz", &format!("write {} /boot/vmlinuz", note(b)), "rm /boot/initrd.img"]),
        &["!-partition 2:/boot/initrd.img [initramfs]", "!~partition 2:/boot/vmlinuz [kernel]"],
    );
    check(
        |b| {
            b.root(&[
                "mkdir /srv/www",
                &format!("write {} /srv/www/index", note(b)),
                "symlink /srv/www/up ..",
                "mknod pipe p",
            ])
        },
        &[
            "+partition 2:/pipe",
            "+partition 2:/srv/www",
            "+partition 2:/srv/www/index",
            "+partition 2:/srv/www/up",
        ],
    );
}

#[test]
fn modes_owners_links_and_kinds() {
    check(|b| b.root(&["set_inode_field /etc/motd mode 0100755"]), &["~partition 2:/etc/motd"]);
    check(|b| b.root(&["set_inode_field /etc/motd uid 1000"]), &["~partition 2:/etc/motd"]);
    check(|b| b.root(&["set_inode_field /srv/deep mode 040700"]), &["~partition 2:/srv/deep"]);
    check(|b| b.root(&["rm /srv/loop", "symlink /srv/loop /tmp"]), &["~partition 2:/srv/loop"]);
    check(
        |b| b.root(&["rm /etc/motd", "mkdir /etc/motd", "mkdir /etc/motd/inside"]),
        &["~partition 2:/etc/motd", "+partition 2:/etc/motd/inside"],
    );
    // A folder becomes a link to where files of the same names are: they went all the same.
    check(
        |b| {
            b.root(&[
                "mkdir /other",
                "mkdir /other/deep",
                "rmdir /srv/deep",
                "rm /srv/loop",
                "rm /srv/self",
                "rmdir /srv",
                "symlink /srv other",
            ])
        },
        &[
            "+partition 2:/other",
            "+partition 2:/other/deep",
            "~partition 2:/srv",
            "-partition 2:/srv/deep",
            "-partition 2:/srv/loop",
            "-partition 2:/srv/self",
        ],
    );
}

#[test]
fn times_journal_and_free_space_are_one_line() {
    let same = &["=partition 2 (ext4 \"root\")"][..];
    check(|b| b.root(&["set_inode_field /etc/motd mtime 200001010000", "set_super_value mnt_count 7"]), same);
    check(|b| b.root(&["mkdir /gone", "rmdir /gone"]), same);
    check(
        |b| {
            let motd = b.file(b"hello\n");
            b.root(&["rm /etc/motd", &format!("write {motd} /etc/motd")]);
        },
        same,
    );
}

#[test]
fn ids_and_labels_of_file_systems() {
    let on_root = |b: &Bench, program: &str, args: &[&str]| {
        b.on_part(ROOT_AT, ROOT_LEN, |part| {
            run(program, &[args, &[part]].concat());
        });
    };
    check(
        |b| on_root(b, "tune2fs", &["-L", "system"]),
        &["!partition 2 file system label: root → system", "=partition 2 (ext4 \"root\")"],
    );
    let id = "99999999-8888-4777-8666-555555555555";
    check(
        |b| on_root(b, "tune2fs", &["-U", id]),
        &[&*format!("!partition 2 file system id: {ROOT_UUID} → {id}"), "=partition 2 (ext4 \"root\")"],
    );
    check(
        |b| on_root(b, "mkfs.vfat", &["-F16", "-i", "1A2B3C4D"]),
        &[
            "!partition 2 file system: ext4 → vfat",
            &*format!("!partition 2 file system id: {ROOT_UUID} → 1A2B-3C4D"),
            "!partition 2 file system label: root → -",
            "partition 2 (ext4 \"root\"): …",
        ],
    );
}

#[test]
fn one_byte_of_a_long_file() {
    // The 150,000th word of the long file, found where the file system keeps it.
    check(
        |b| {
            let bytes = fs::read(&b.path).expect("image");
            let word = 150_000u32.to_le_bytes();
            let next = 150_001u32.to_le_bytes();
            let at = bytes.windows(8).position(|w| w[..4] == word && w[4..] == next).expect("the word");
            b.patch(at as u64, &[0xff]);
        },
        &["~partition 2:/long"],
    );
}

#[test]
fn texts_are_quoted_only_where_everybody_may_read() {
    let dir = tempfile::tempdir().expect("temp dir");
    let bench = Bench { path: dir.path().join("changed.raw") };
    fs::copy(&base().path, &bench.path).expect("copy");
    let secret = bench.file(b"other secret\n");
    bench.root(&[
        "rm /etc/key",
        &format!("write {secret} /etc/key"),
        "set_inode_field /etc/key mode 0100600",
    ]);
    let motd = bench.file(b"hello\nworld\x1b\n".strip_suffix(b"\x1b\n").expect("suffix"));
    bench.root(&["rm /etc/motd", &format!("write {motd} /etc/motd")]);
    let diff = compare(&base().disk(), &mem(&bench.path), Scope::All);
    let text = diff.to_string();
    assert!(!text.contains("secret") && text.contains("not everybody in the guest may read it"), "{text}");
    assert!(text.contains("      +world\n"), "{text}");
    assert!(!serde_json::to_string(&diff).expect("json").contains("secret"));
    let silent = Options { hint_lines: 0, ..Options::default() };
    let diff =
        engine::diff::diff(&base().disk(), &mem(&bench.path), &silent, &mut |_| ControlFlow::Continue(()));
    assert!(!diff.expect("diff").to_string().contains("world"));
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let dir = tempfile::tempdir().expect("temp dir");
    let bench = Bench { path: dir.path().join("changed.raw") };
    fs::copy(&base().path, &bench.path).expect("copy");
    run("sgdisk", &["-c", "3:\u{202e}paws", text(&bench.path)]);
    bench.root(&["mkdir \"/srv/\u{1b}[2J\""]);
    let text = compare(&base().disk(), &mem(&bench.path), Scope::All).to_string();
    assert!(text.contains("\\u{202e}") && text.contains("\\u{1b}[2J"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    // Deeper than anybody looks; a change behind that is no difference that could be found.
    let deep: Vec<String> = (1..=70).map(|n| format!("mkdir {}", "/d".repeat(n))).collect();
    let dir = tempfile::tempdir().expect("temp dir");
    let (one, two) = (dir.path().join("one.raw"), dir.path().join("two.raw"));
    fs::copy(&base().path, &one).expect("copy");
    Bench { path: one.clone() }.root(&deep.iter().map(String::as_str).collect::<Vec<_>>());
    fs::copy(&one, &two).expect("copy");
    Bench { path: two.clone() }.root(&[&format!("mkdir {}/new", "/d".repeat(70))]);
    let diff = compare(&mem(&one), &mem(&two), Scope::All);
    assert_eq!(diff.verdict, Verdict::Unknown, "{diff}");
    assert!(diff.to_string().contains("deeper than 64 folders"), "{diff}");
    // A name that is no text.
    let bench = Bench { path: two };
    fs::copy(&base().path, &bench.path).expect("copy");
    let at = {
        let motd = bench.file(b"x");
        bench.root(&[&format!("write {motd} /srv/mangled-name")]);
        let bytes = fs::read(&bench.path).expect("image");
        bytes.windows(12).position(|w| w == b"mangled-name").expect("the name")
    };
    bench.patch(at as u64, &[0xff]);
    let diff = compare(&base().disk(), &mem(&bench.path), Scope::All);
    let text = diff.to_string();
    assert!(!diff.not_compared.is_empty() && diff.verdict != Verdict::Same, "{text}");
}

/// A file system that is the whole disk, made twice from nearly the same tree.
#[test]
fn every_file_system_that_can_be_read() {
    let dir = tempfile::tempdir().expect("temp dir");
    let at = |name: &str| dir.path().join(name);
    let id = "11111111-2222-4333-8444-555555555555";
    let tree = |name: &str, motd: &str, link: &str| {
        let tree = at(name);
        fs::create_dir_all(tree.join("etc")).expect("folder");
        fs::write(tree.join("etc/motd"), motd).expect("file");
        fs::write(tree.join("etc/long"), vec![b'x'; 300_000]).expect("file");
        std::os::unix::fs::symlink(link, tree.join("etc/link")).expect("link");
        tree
    };
    let (one, two) = (tree("one", "hello\n", "motd"), tree("two", "HELLO\n", "long"));
    fs::write(two.join("etc/new"), "new\n").expect("file");
    let proto = |tree: &Path, new: bool| {
        let t = text(tree);
        let link = fs::read_link(tree.join("etc/link")).expect("link");
        let new = if new { format!("new ---644 0 0 {t}/etc/new\n") } else { String::new() };
        format!(
            "/\n0 0\nd--755 0 0\netc d--755 0 0\nmotd ---644 0 0 {t}/etc/motd\nlong ---644 0 0 {t}/etc/long\n\
             link l--777 0 0 {}\n{new}$\n$\n",
            text(&link)
        )
    };
    fs::write(at("one.proto"), proto(&one, false)).expect("proto");
    fs::write(at("two.proto"), proto(&two, true)).expect("proto");
    let make = |kind: &str, name: &str, tree: &Path| -> DiskRef {
        let image = at(&format!("{kind}-{name}"));
        let len = if kind == "ext4" { 16 * MIB } else { 320 * MIB };
        File::create(&image).and_then(|f| f.set_len(len)).expect("image");
        let (image, tree) = (text(&image).to_string(), text(tree));
        match kind {
            "ext4" => run(
                "mke2fs",
                &["-q", "-F", "-t", "ext4", "-U", id, "-E", "root_owner=0:0", "-d", tree, &image],
            ),
            "xfs" => run(
                "mkfs.xfs",
                &["-q", "-m", &format!("uuid={id}"), "-p", text(&at(&format!("{name}.proto"))), &image],
            ),
            _ => run("mkfs.btrfs", &["-q", "-U", id, "--rootdir", tree, &image]),
        };
        mem(Path::new(&image))
    };
    for kind in ["ext4", "xfs", "btrfs"] {
        let (a, b) = (make(kind, "one", &one), make(kind, "two", &two));
        let diff = compare(&a, &b, Scope::All);
        assert_eq!(
            told(&diff),
            ["~partition 0:/etc/link", "~partition 0:/etc/motd", "+partition 0:/etc/new"],
            "{kind}\n{diff}"
        );
        let diff = compare(&a, &a, Scope::All);
        assert_eq!(diff.verdict, Verdict::Identical, "{kind}\n{diff}");
    }
}

#[test]
fn files_on_ntfs_without_its_own_tables() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    File::create(&one).and_then(|f| f.set_len(16 * MIB)).expect("image");
    run("mkntfs", &["-Q", "-F", "-L", "System", text(&one)]);
    let file = dir.path().join("file");
    let put = |image: &Path, content: &[u8], to: &str| {
        fs::write(&file, content).expect("file");
        run("ntfscp", &[text(image), text(&file), to]);
    };
    put(&one, b"hello\n", "/motd");
    fs::copy(&one, &two).expect("copy");
    put(&two, b"HELLO, world\n", "/motd");
    put(&two, &[b'x'; 100_000], "/new");
    let diff = compare(&mem(&one), &mem(&two), Scope::All);
    assert_eq!(told(&diff), ["~partition 0:/motd", "+partition 0:/new"], "{diff}");
}

#[test]
fn damaged_file_systems_are_compared_as_far_as_they_go() {
    let disk = base().disk();
    let good = bytes_of(&disk);
    // Where tables, bitmaps, inodes and folders lie.
    let places = [(0, 40 * 512), (ESP_AT as usize, 200 << 10), (ROOT_AT as usize, 1 << 20)];
    for seed in 1..=60u64 {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let (at, len) = places[next() % places.len()];
        let mut bytes = good.clone();
        for _ in 0..1 + next() % 300 {
            bytes[at + next() % len] = next() as u8;
        }
        let other = mem_bytes(bytes);
        for (a, b) in [(&disk, &other), (&other, &disk), (&other, &other)] {
            for scope in [Scope::All, Scope::Boot] {
                let found = compare(a, b, scope);
                let same = std::ptr::eq(a, b);
                assert!(!(found.is_different() && same), "seed {seed}\n{found}");
                assert!(
                    scope == Scope::Boot || same == (found.verdict == Verdict::Identical),
                    "seed {seed}\n{found}"
                );
                let _ = found.to_string();
            }
        }
    }
}

#[test]
fn a_caller_can_stop_it_and_sees_how_far_it_is() {
    let disk = base().disk();
    let mut bytes = bytes_of(&disk);
    bytes[23 << 20] = 1;
    let other = mem_bytes(bytes);
    let mut seen = Vec::new();
    diff(&disk, &other, &Options::default(), &mut |p| {
        assert!(p.done <= p.total && p.total == 24 * MIB, "{p:?}");
        seen.push(p.done);
        ControlFlow::Continue(())
    })
    .expect("diff");
    assert!(seen.is_sorted() && seen.len() > 4, "{seen:?}");
    let stopped = diff(&disk, &other, &Options::default(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(DiffError::Cancelled)));
}
