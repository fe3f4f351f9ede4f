//! File systems made by their own tools, read by path; journals left behind by a pulled guest.

mod guest_support;

use engine::disk::DiskRef;
use engine::volume::{EntryKind, FsKind, Journal, Metadata, Volume, VolumeError, open, probe};
use guest_support::{MIB, mem, mem_bytes, run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().expect("temp dir"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).expect("write");
        text(&self.path(name))
    }

    fn image(&self, name: &str, len: u64) -> String {
        File::create(self.path(name)).and_then(|f| f.set_len(len)).expect("image");
        text(&self.path(name))
    }

    /// A small tree: a file, a long one, a directory, a link.
    fn tree(&self) -> String {
        let root = self.path("tree");
        fs::create_dir_all(root.join("etc/deep")).expect("folder");
        fs::write(root.join("etc/name"), "drill\n").expect("file");
        fs::write(root.join("etc/deep/long"), long()).expect("file");
        std::os::unix::fs::symlink("deep/long", root.join("etc/link")).expect("link");
        text(&root)
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("utf-8").to_string()
}

fn long() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

/// A file read through a stream, by pieces of an odd size.
fn streamed(volume: &dyn Volume, path: &str) -> Vec<u8> {
    let mut stream = volume.stream(path).expect("stream");
    let (mut all, mut piece) = (Vec::new(), vec![0; 5_003]);
    loop {
        match stream.read(&mut piece).expect("read") {
            0 => return all,
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

/// Kind and length, and nothing else that the file system would not know.
#[track_caller]
fn check_metadata(volume: &dyn Volume, path: &str, kind: EntryKind, len: u64) -> Metadata {
    let found = volume.metadata(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert_eq!((found.kind, found.len), (kind, len), "{path}");
    found
}

#[track_caller]
fn check_tree(disk: &DiskRef, kind: FsKind, uuid: &str, label: &str) {
    let found = probe(disk.as_ref()).expect("read").expect("known");
    assert_eq!((found.kind, found.uuid.as_deref()), (kind, Some(uuid)));
    let volume = open(disk).expect("open");
    assert_eq!(volume.label().as_deref(), Some(label));
    assert_eq!(volume.read("/etc/name", 100).expect("read"), b"drill\n");
    assert!(volume.read("/etc/deep/long", 2 << 20).expect("read") == long());
    assert!(streamed(volume.as_ref(), "/etc/deep/long") == long());
    check_metadata(volume.as_ref(), "/", EntryKind::Directory, 0);
    check_metadata(volume.as_ref(), "/etc/deep", EntryKind::Directory, 0);
    check_metadata(volume.as_ref(), "/etc/name", EntryKind::File, 6);
    check_metadata(volume.as_ref(), "/etc/deep/long", EntryKind::File, 1_200_000);
    for path in ["/etc/none", "/etc/deep"] {
        assert!(matches!(volume.stream(path).err(), Some(VolumeError::NotFound { .. })), "{path}");
    }
    assert!(matches!(volume.metadata("/etc/none"), Err(VolumeError::NotFound { .. })));
    assert!(matches!(volume.read("/etc/deep/long", 1000), Err(VolumeError::TooLarge { .. })));
    assert!(matches!(volume.read("/etc/none", 100), Err(VolumeError::NotFound { .. })));
    assert!(matches!(volume.read("/etc/name/x", 100), Err(VolumeError::NotFound { .. })));
    assert!(matches!(volume.read("/etc", 100), Err(VolumeError::NotFound { .. })));
    assert!(volume.exists("/etc/deep").expect("exists") && !volume.exists("/usr").expect("exists"));
    let mut names: Vec<(String, EntryKind)> =
        volume.read_dir("/etc").expect("list").into_iter().map(|e| (e.name, e.kind)).collect();
    names.retain(|(name, _)| name != "link");
    names.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(names, [("deep".to_string(), EntryKind::Directory), ("name".to_string(), EntryKind::File)]);
}

#[test]
fn reads_ext4_ext3_and_ext2() {
    let bench = Bench::new();
    let tree = bench.tree();
    let id = "11111111-2222-4333-8444-555555555555";
    for kind in ["ext4", "ext3", "ext2"] {
        let image = bench.image(kind, 16 * MIB);
        run("mke2fs", &["-q", "-F", "-t", kind, "-U", id, "-L", "data", "-d", &tree, &image]);
        let disk = mem(&bench.path(kind));
        check_tree(&disk, FsKind::Ext, id, "data");
        let volume = open(&disk).expect("open");
        assert_eq!(volume.journal(), Journal::Clean);
        assert!(volume.read("/etc/link", 2 << 20).expect("through the link") == long());
        let link = check_metadata(volume.as_ref(), "/etc/link", EntryKind::Symlink, 0);
        assert_eq!(link.target.as_deref(), Some("deep/long"));
    }
}

#[test]
fn tells_modes_owners_and_what_is_no_file() {
    let bench = Bench::new();
    let image = bench.image("ext4", 8 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-d", &bench.tree(), &image]);
    for command in [
        "set_inode_field /etc/name mode 0104750",
        "set_inode_field /etc/name uid 1000",
        "set_inode_field /etc/name gid 70000",
        "mknod pipe p",
    ] {
        run("debugfs", &["-w", "-R", command, &image]);
    }
    let volume = open(&mem(&bench.path("ext4"))).expect("open");
    let name = check_metadata(volume.as_ref(), "/etc/name", EntryKind::File, 6);
    assert_eq!(name.mode, Some(0o4750));
    assert_eq!(name.owner.map(|o| (o.user, o.group)), Some((1000, 70000)));
    check_metadata(volume.as_ref(), "/pipe", EntryKind::Other, 0);
    assert!(matches!(volume.stream("/pipe").err(), Some(VolumeError::NotFound { .. })));
}

#[test]
fn reads_fat_of_every_width() {
    let bench = Bench::new();
    let tree = bench.tree();
    for (width, len) in [("12", 4 * MIB), ("16", 16 * MIB), ("32", 40 * MIB)] {
        let image = bench.image(width, len);
        run("mkfs.vfat", &["-F", width, "-n", "DATA", "-i", "1A2B3C4D", &image]);
        fs::remove_file(format!("{tree}/etc/link")).ok();
        run("mcopy", &["-s", "-i", &image, &format!("{tree}/etc"), "::/"]);
        let disk = mem(&bench.path(width));
        check_tree(&disk, FsKind::Fat, "1A2B-3C4D", "DATA");
        assert_eq!(open(&disk).expect("open").read("/ETC/NAME", 100).expect("any case"), b"drill\n");
    }
}

#[test]
fn reads_ntfs() {
    let bench = Bench::new();
    let image = bench.image("ntfs", 16 * MIB);
    run("mkntfs", &["-Q", "-F", "-L", "System", &image]);
    let long_file = bench.file("long", &long());
    run("ntfscp", &[&image, &long_file, "/long"]);
    let disk = mem(&bench.path("ntfs"));
    assert_eq!(probe(disk.as_ref()).expect("read").map(|p| p.kind), Some(FsKind::Ntfs));
    let volume = open(&disk).expect("open");
    assert_eq!(volume.label().as_deref(), Some("System"));
    assert!(volume.read("/LONG", 2 << 20).expect("any case") == long());
    assert!(streamed(volume.as_ref(), "/long") == long());
    check_metadata(volume.as_ref(), "/long", EntryKind::File, 1_200_000);
    check_metadata(volume.as_ref(), "/", EntryKind::Directory, 0);
    assert!(
        volume.read_dir("/").expect("list").iter().any(|e| e.name == "long" && e.kind == EntryKind::File)
    );
    assert!(!volume.exists("/Windows/System32").expect("exists"));
}

#[test]
fn names_what_it_cannot_look_into() {
    for (at, magic, kind) in [
        (0, &b"LUKS\xba\xbe"[..], FsKind::Luks),
        (512, b"LABELONE", FsKind::Lvm),
        (4086, b"SWAPSPACE2", FsKind::Swap),
        (3, b"-FVE-FS-", FsKind::BitLocker),
    ] {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + magic.len()].copy_from_slice(magic);
        let disk = mem_bytes(bytes);
        assert!(matches!(open(&disk), Err(VolumeError::Unsupported(k)) if k == kind));
    }
    assert!(matches!(open(&mem_bytes(vec![0; 512])), Err(VolumeError::Unknown)));
    assert!(matches!(open(&mem_bytes(vec![0; 1 << 20])), Err(VolumeError::Unknown)));
}

/// Transactions written into the journal by debugfs, not yet in place: what a pulled guest leaves. `e2fsck` is the oracle.
struct Pulled {
    bench: Bench,
    image: String,
    blocks: Vec<String>,
}

impl Pulled {
    fn new(kind: &str, mke2fs: &[&str]) -> Pulled {
        let bench = Bench::new();
        let tree = bench.tree();
        fs::write(bench.path("tree/etc/a"), vec![b'a'; 8192]).expect("file");
        fs::write(bench.path("tree/etc/b"), vec![b'b'; 4096]).expect("file");
        let image = bench.image("ext", 16 * MIB);
        let mut args = vec!["-q", "-F", "-t", kind, "-b", "4096", "-d", &tree];
        args.extend(mke2fs);
        args.push(&image);
        run("mke2fs", &args);
        let blocks = ["/etc/a", "/etc/b"].iter().flat_map(|f| {
            let said = run("debugfs", &["-R", &format!("blocks {f}"), &image]);
            let line = said.lines().next().expect("blocks").to_string();
            line.split_whitespace().map(str::to_string).collect::<Vec<_>>()
        });
        let blocks = blocks.collect();
        Pulled { image, blocks, bench }
    }

    fn journal(&self, open: &str, commands: &[String]) {
        let mut script = format!("jo {open}\n");
        for command in commands {
            script.push_str(&format!("{command}\n"));
        }
        script.push_str("jc\n");
        let script = self.bench.file("script", script.as_bytes());
        run("debugfs", &["-w", "-f", &script, &self.image]);
    }

    /// `/etc/a` and `/etc/b` as we read them and as they are after `e2fsck` has replayed a copy.
    #[track_caller]
    fn compare(&self) -> (Vec<u8>, Vec<u8>) {
        let before = fs::read(&self.image).expect("image");
        let disk = mem_bytes(before.clone());
        let volume = open(&disk).expect("open");
        assert!(matches!(volume.journal(), Journal::Replayed { .. }), "{:?}", volume.journal());
        let ours = ["/etc/a", "/etc/b", "/etc/deep/long"].map(|f| volume.read(f, 2 << 20).expect("read"));
        let copy = self.bench.file("copy", &before);
        let out = std::process::Command::new("e2fsck").args(["-fy", &copy]).output().expect("e2fsck");
        assert!(out.status.code() < Some(4), "{}", String::from_utf8_lossy(&out.stdout));
        let theirs = ["/etc/a", "/etc/b", "/etc/deep/long"].map(|f| {
            let to = text(&self.bench.path("dump"));
            run("debugfs", &["-R", &format!("dump {f} {to}"), &copy]);
            fs::read(to).expect("dump")
        });
        assert!(ours == theirs, "what we show is what e2fsck leaves");
        assert!(fs::read(&self.image).expect("image") == before, "the image itself is untouched");
        let [a, b, _] = ours;
        (a, b)
    }
}

const JOURNALS: [(&str, &str, &[&str]); 4] = [
    ("ext4", "-c", &[]),
    ("ext4", "", &["-O", "^metadata_csum"]),
    ("ext4", "-c", &["-O", "64bit,metadata_csum"]),
    ("ext3", "", &[]),
];

#[test]
fn replays_what_a_pulled_guest_left_in_its_journal() {
    for (kind, jo, mke2fs) in JOURNALS {
        let pulled = Pulled::new(kind, mke2fs);
        // The second block begins with the journal's own magic number, which the journal must escape.
        let new = [vec![b'n'; 4096], b"\xc0\x3b\x39\x98escaped".to_vec(), vec![b'm'; 4085]].concat();
        let new = pulled.bench.file("new", &new);
        let newer = pulled.bench.file("newer", &[b'z'; 4096]);
        let b = &pulled.blocks;
        pulled.journal(
            jo,
            &[
                format!("jw -b {},{} {new}", b[0], b[1]),
                format!("jw -b {} {newer}", b[2]),
                format!("jw -b {} {newer}", b[0]),
            ],
        );
        let (a, b) = pulled.compare();
        assert_eq!(
            (a[0], &a[4096..4107], b[0]),
            (b'z', &b"\xc0\x3b\x39\x98escaped"[..], b'z'),
            "{kind} {jo} {mke2fs:?}"
        );
    }
}

#[test]
fn leaves_out_blocks_that_a_later_transaction_revoked() {
    for (kind, jo, mke2fs) in JOURNALS {
        let pulled = Pulled::new(kind, mke2fs);
        let new = pulled.bench.file("new", &[b'n'; 4096]);
        let b = &pulled.blocks;
        pulled.journal(
            jo,
            &[
                format!("jw -b {} {new}", b[0]),
                format!("jw -b {} {new}", b[2]),
                format!("jw -r {}", b[0]),
                format!("jw -b {} {new}", b[1]),
            ],
        );
        let (a, b) = pulled.compare();
        assert_eq!((a[0], a[4096], b[0]), (b'a', b'n', b'n'), "{kind} {jo} {mke2fs:?}");
    }
}

#[test]
fn a_transaction_without_its_commit_never_happened() {
    let pulled = Pulled::new("ext4", &[]);
    let new = pulled.bench.file("new", &[b'n'; 4096]);
    let newer = pulled.bench.file("newer", &[b'z'; 4096]);
    let b = &pulled.blocks;
    pulled.journal("-c", &[format!("jw -b {} {new}", b[2]), format!("jw -b {} {newer}", b[0])]);
    let mut bytes = fs::read(&pulled.image).expect("image");
    // The last commit block of the journal, by its header; torn as by a power cut.
    let commits: Vec<usize> = (0..bytes.len())
        .step_by(4096)
        .filter(|at| bytes[*at..].starts_with(b"\xc0\x3b\x39\x98\0\0\0\x02"))
        .collect();
    let last = commits.last().expect("a commit");
    bytes[last + 100] ^= 1;
    fs::write(&pulled.image, &bytes).expect("write");
    let volume = open(&mem_bytes(bytes)).expect("open");
    assert_eq!(volume.read("/etc/a", 1 << 20).expect("read")[0], b'a');
    assert_eq!(volume.read("/etc/b", 1 << 20).expect("read")[0], b'n');
}

#[test]
fn says_when_a_journal_cannot_be_replayed() {
    let pulled = Pulled::new("ext4", &[]);
    let new = pulled.bench.file("new", &[b'n'; 4096]);
    pulled.journal("-c", &[format!("jw -b {} {new}", pulled.blocks[0])]);
    let mut bytes = fs::read(&pulled.image).expect("image");
    let at =
        (0..bytes.len()).step_by(4096).find(|at| bytes[*at..].starts_with(b"\xc0\x3b\x39\x98\0\0\0\x04"));
    let at = at.expect("the journal's superblock");
    bytes[at] = 0;
    let volume = open(&mem_bytes(bytes)).expect("open");
    assert!(matches!(volume.journal(), Journal::Unreadable { .. }), "{:?}", volume.journal());
    assert_eq!(volume.read("/etc/a", 1 << 20).expect("read")[0], b'a', "what is in place can still be read");
}

#[test]
fn follows_the_journal_round_its_end() {
    let pulled = Pulled::new("ext4", &["-O", "^metadata_csum"]);
    let new = pulled.bench.file("new", &[b'n'; 4096]);
    let newer = pulled.bench.file("newer", &[b'z'; 4096]);
    let b = &pulled.blocks;
    pulled.journal("", &[format!("jw -b {} {new}", b[0]), format!("jw -b {} {newer}", b[2])]);
    let mut bytes = fs::read(&pulled.image).expect("image");
    let said = run("debugfs", &["-R", "blocks <8>", &pulled.image]);
    let line = said.lines().next().expect("blocks");
    let blocks: Vec<usize> =
        line.split_whitespace().map(|b| b.parse::<usize>().expect("a number") * 4096).collect();
    let at = blocks[0];
    let word =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
    let (len, first, start) = (word(at + 0x10), word(at + 0x14), word(at + 0x1c));
    // Without checksums nothing in the log knows its own place, so the ring can be turned until the log runs over its end.
    let turn = len - start - 2;
    let mut ring: Vec<Vec<u8>> = (first..len).map(|n| bytes[blocks[n]..blocks[n] + 4096].to_vec()).collect();
    ring.rotate_right(turn);
    for (n, block) in (first..len).zip(ring) {
        bytes[blocks[n]..blocks[n] + 4096].copy_from_slice(&block);
    }
    bytes[at + 0x1c..at + 0x20].copy_from_slice(&((start + turn) as u32).to_be_bytes());
    fs::write(&pulled.image, &bytes).expect("write");
    let (a, b) = pulled.compare();
    assert_eq!((a[0], b[0]), (b'n', b'z'));
}

#[test]
fn reads_xfs_and_btrfs() {
    for (name, kind) in [("xfs", FsKind::Xfs), ("btrfs", FsKind::Btrfs)] {
        let image = format!("{}/tests/volume_data/{name}.img.gz", env!("CARGO_MANIFEST_DIR"));
        let out = std::process::Command::new("gzip").args(["-dc", &image]).output().expect("gzip");
        assert!(out.status.success(), "{image}");
        let disk = mem_bytes(out.stdout);
        let found = probe(disk.as_ref()).expect("read").expect("known");
        let id = "11111111-2222-4333-8444-555555555555";
        assert_eq!(
            (found.kind, found.uuid.as_deref(), found.label.as_deref()),
            (kind, Some(id), Some("data"))
        );
        let volume = open(&disk).expect("open");
        assert_eq!(volume.read("/etc/name", 100).expect("read"), b"drill\n");
        assert!(volume.read("/etc/deep/long", 1 << 20).expect("read") == vec![b'x'; 300_000]);
        assert!(streamed(volume.as_ref(), "/etc/deep/long") == vec![b'x'; 300_000]);
        let long = check_metadata(volume.as_ref(), "/etc/deep/long", EntryKind::File, 300_000);
        assert!(long.mode.is_some_and(|mode| mode & 0o777 == 0o644), "{long:?}");
        check_metadata(volume.as_ref(), "/etc", EntryKind::Directory, 0);
        assert!(matches!(volume.stream("/etc").err(), Some(VolumeError::NotFound { .. })));
        assert!(matches!(volume.read("/etc/deep/long", 1000), Err(VolumeError::TooLarge { .. })));
        assert!(matches!(volume.read("/etc/none", 100), Err(VolumeError::NotFound { .. })));
        assert!(matches!(volume.read("/etc", 100), Err(VolumeError::NotFound { .. })));
        assert!(!volume.exists("/etc/name/x").expect("exists"));
        let mut names: Vec<String> =
            volume.read_dir("/etc").expect("list").into_iter().map(|e| e.name).collect();
        names.sort();
        assert_eq!(names, ["deep", "name"]);
    }
}
