//! Foreign images against `qemu-img`: what it makes of them, we read; where a name leads out, we refuse.

use drills::image::{Reader, open};
use engine::container::{Format, Gate, Layout, Opened};
use engine::disk::ExtentKind;
use engine::units::{ByteOffset, MIB};
use std::ffi::OsStr;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LEN: u64 = 21 * MIB;
const QEMU_NBD: &str = "/usr/bin/qemu-nbd";

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("run")).expect("a folder");
        std::fs::set_permissions(dir.path().join("run"), std::fs::Permissions::from_mode(0o700))
            .expect("ours");
        Bench { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn reader(&self) -> Reader {
        Reader { qemu_nbd: Some(QEMU_NBD.into()), sockets: self.path("run") }
    }

    /// A sparse raw disk: noise at odd places, holes between. No partition table: nothing here depends on one.
    fn raw(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let file = std::fs::File::create(&path).expect("a new file");
        file.set_len(LEN).expect("room");
        for (i, at) in
            [0, 30_000, 3 * MIB + 512, 8 * MIB - 5, 11 * MIB + 100_000, LEN - 70_000].into_iter().enumerate()
        {
            file.write_all_at(&noise(i as u64, 70_000), at).expect("a write");
        }
        path
    }

    #[track_caller]
    fn qemu_img<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) {
        let mut command = Command::new("qemu-img");
        command.args(args).current_dir(self.dir.path());
        let out = command.output().expect("qemu-img runs");
        assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Write a stretch with `qemu-io`.
    #[track_caller]
    fn write(&self, format: &str, image: &str, command: &str) {
        let out = Command::new("qemu-io")
            .args(["-f", format, "-c", command, image])
            .current_dir(self.dir.path())
            .output()
            .expect("qemu-io runs");
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    }

    #[track_caller]
    fn opened(&self, image: &str) -> Opened {
        open(&self.path(image), None, &Gate::same_folder(), &self.reader())
            .unwrap_or_else(|e| panic!("{image}: {e}"))
    }

    /// That our reading is what `qemu-img convert` makes of it, to the byte, and that nothing was touched.
    #[track_caller]
    fn check(&self, image: &str, layout: Layout, files: &[&str]) -> Opened {
        let before: Vec<Vec<u8>> =
            files.iter().map(|f| std::fs::read(self.path(f)).expect("a file")).collect();
        self.qemu_img(["convert", "-O", "raw", image, "expected"]);
        let expected = std::fs::read(self.path("expected")).expect("the oracle");
        let found = self.opened(image);
        let content = content(&found);
        assert!(
            content == expected,
            "{image}: first difference at {:?}",
            content.iter().zip(&expected).position(|(a, b)| a != b)
        );
        let data = extents(&found, &content);
        assert_eq!(data, found.info.allocated.get());
        assert!(data > 0 && data < LEN, "{image}: {data} bytes of data");
        assert_eq!(found.info.layout, layout, "{image}");
        assert_eq!(found.info.virtual_len.get(), expected.len() as u64);
        found.unchanged().expect("reading changes nothing");
        let names: Vec<String> = found
            .sources
            .iter()
            .map(|s| s.path().file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, files);
        let after: Vec<Vec<u8>> =
            files.iter().map(|f| std::fs::read(self.path(f)).expect("a file")).collect();
        assert!(before == after, "{image}: a file was changed");
        found
    }

    /// `qemu-nbd` processes that use this bench's socket folder.
    fn running(&self) -> Vec<u32> {
        running(&self.path("run"))
    }
}

fn running(sockets: &Path) -> Vec<u32> {
    let wanted = sockets.display().to_string();
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted) && line.starts_with(QEMU_NBD.as_bytes())
    })
    .collect()
}

/// Bytes without pattern, none of them zero. (xorshift64*)
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8 | 1
    };
    (0..len).map(|_| next()).collect()
}

/// All bytes of a disk, in pieces that fit nothing.
fn content(opened: &Opened) -> Vec<u8> {
    let mut all = vec![0xA5; opened.disk.geometry().len.get() as usize];
    for (i, piece) in all.chunks_mut(777_777).enumerate() {
        opened.disk.read_at(ByteOffset(i as u64 * 777_777), piece).expect("a readable disk");
    }
    let mut whole = vec![0xA5; all.len()];
    opened.disk.read_at(ByteOffset(0), &mut whole).expect("a readable disk");
    assert!(whole == all, "in one piece it reads otherwise");
    all
}

/// That the extents cover the disk without a gap and what is not data reads as zeros. The bytes of data.
#[track_caller]
fn extents(opened: &Opened, content: &[u8]) -> u64 {
    let (mut at, mut data) = (0, 0);
    while let Some(e) = opened.disk.next_extent(ByteOffset(at)).expect("an extent") {
        assert!(e.at.get() == at && e.len.get() > 0, "{e:?} at {at}");
        if e.kind == ExtentKind::Data {
            data += e.len.get();
        } else {
            let bytes = &content[at as usize..(at + e.len.get()) as usize];
            assert!(bytes.iter().all(|b| *b == 0), "{e:?} is not zeros");
        }
        // From the middle of an extent on, the rest of it is told.
        if e.len.get() > 1 {
            let rest =
                opened.disk.next_extent(ByteOffset(at + e.len.get() / 2)).expect("an extent").expect("one");
            assert_eq!((rest.kind, rest.at.get()), (e.kind, at + e.len.get() / 2));
        }
        at += e.len.get();
    }
    assert_eq!(at, opened.disk.geometry().len.get());
    assert!(opened.disk.next_extent(ByteOffset(at)).expect("the end").is_none());
    data
}

#[test]
fn reads_every_kind_of_vmdk() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    for (kind, layout, extent) in [
        ("monolithicSparse", Layout::Dynamic, None),
        ("monolithicFlat", Layout::Fixed, Some("flat")),
        ("twoGbMaxExtentSparse", Layout::Dynamic, Some("s001")),
        ("twoGbMaxExtentFlat", Layout::Fixed, Some("f001")),
        ("streamOptimized", Layout::Dynamic, None),
    ] {
        let (image, options) = (format!("{kind}.image"), format!("subformat={kind}"));
        bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "-o", &options, "disk.raw", &image]);
        let extent = extent.map(|e| format!("{kind}-{e}.image"));
        let files: Vec<&str> =
            [Some(&image), extent.as_ref()].into_iter().flatten().map(String::as_str).collect();
        let found = bench.check(&image, layout, &files);
        assert_eq!(found.info.format, Format::Vmdk);
        assert_eq!(found.info.block_size, (layout == Layout::Dynamic).then_some(65536));
        assert!(found.info.chain.is_empty());
    }
}

#[test]
fn reads_a_split_vmdk_of_many_extents_with_their_offsets() {
    let bench = Bench::new();
    let raw = std::fs::read(bench.raw("disk.raw")).expect("the raw disk");
    // Two flat extents of one file in the wrong order, a sparse one between, read-only access, and a blank line before an extent.
    bench.qemu_img([
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=twoGbMaxExtentSparse",
        "disk.raw",
        "part.vmdk",
    ]);
    let sectors = LEN / 512;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType=\"custom\"\n\n\
         RW 2048 FLAT \"disk.raw\" 6144\nRDONLY {sectors} SPARSE \"part-s001.vmdk\"\n\nRW 3 FLAT \"disk.raw\" 0\n"
    );
    std::fs::write(bench.path("odd.vmdk"), text).expect("a file");
    let found = bench.opened("odd.vmdk");
    let m = MIB as usize;
    let expected = [&raw[3 * m..4 * m], &raw[..], &raw[..1536]].concat();
    assert!(content(&found) == expected);
    assert_eq!(found.info.virtual_len.get(), expected.len() as u64);
    extents(&found, &expected);
}

#[test]
fn reads_every_kind_of_qcow2() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    for (n, (compressed, options, foreign)) in [
        (true, "compat=1.1", true),
        (true, "compat=0.10", true),
        (true, "compression_type=zstd", true),
        (true, "cluster_size=512", true),
        (true, "cluster_size=2M", true),
        (false, "extended_l2=on", true),
        (true, "extended_l2=on,cluster_size=128k", true),
        (true, "lazy_refcounts=on", true),
        (false, "lazy_refcounts=on", false),
        (false, "compat=0.10", false),
    ]
    .into_iter()
    .enumerate()
    {
        let image = format!("image{n}");
        let args = ["convert", "-f", "raw", "-O", "qcow2", "-o", options].into_iter();
        let args = args.chain(compressed.then_some("-c")).chain(["disk.raw", &image]);
        bench.qemu_img(args);
        let found = bench.check(&image, Layout::Dynamic, &[&image]);
        assert_eq!(found.info.format, Format::Qcow2);
        let through = found.info.notes.iter().any(|n| n.contains("QEMU's block layer"));
        assert_eq!(through, foreign, "{options}: {:?}", found.info.notes);
    }
}

/// base.raw ◄ middle.qcow2 ◄ top.qcow2.
fn chain(bench: &Bench) {
    bench.raw("base.raw");
    bench.qemu_img(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", "middle.qcow2"]);
    bench.write("qcow2", "middle.qcow2", "write -q -P 0x11 5M 300k");
    bench.write("qcow2", "middle.qcow2", "write -q -z 30000 64k");
    bench.qemu_img(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "middle.qcow2", "top.qcow2", "24M"]);
    bench.write("qcow2", "top.qcow2", "write -q -P 0x22 5200k 10k");
}

#[test]
fn reads_a_chain_of_backing_files() {
    let bench = Bench::new();
    chain(&bench);
    let found = bench.check("top.qcow2", Layout::Differencing, &["top.qcow2", "middle.qcow2", "base.raw"]);
    let below: Vec<_> = found.info.chain.iter().map(|p| (p.format, p.layout)).collect();
    assert_eq!(below, [(Format::Qcow2, Layout::Differencing), (Format::Raw, Layout::Fixed)]);
    assert_eq!(found.info.chain[1].path, bench.path("base.raw"));
    // By the folder's own full name, and without a recorded format where the content is a container.
    bench.qemu_img([
        "rebase",
        "-u",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        &bench.path("base.raw").display().to_string(),
        "middle.qcow2",
    ]);
    bench.check("top.qcow2", Layout::Differencing, &["top.qcow2", "middle.qcow2", "base.raw"]);
}

#[test]
fn reads_a_backing_file_that_the_user_gave() {
    let (bench, other) = (Bench::new(), Bench::new());
    chain(&bench);
    std::fs::rename(bench.path("base.raw"), other.path("base.raw")).expect("a move");
    let (top, reader) = (bench.path("top.qcow2"), bench.reader());
    let alone = open(&top, None, &Gate::same_folder(), &reader).expect_err("its base is elsewhere");
    assert!(alone.next().contains("--parent FILE"), "{}", alone.next());
    let gate = Gate::same_folder().with_given([other.path("other"), other.path("base.raw")]);
    let found = open(&top, None, &gate, &reader).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found.sources[2].path(), other.path("base.raw"));
}

#[test]
fn reads_a_vmdk_delta_only_on_the_parent_it_was_made_from() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "base.vmdk"]);
    bench.qemu_img(["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "delta.vmdk"]);
    bench.write("vmdk", "delta.vmdk", "write -q -P 0x33 1M 100k");
    let found = bench.check("delta.vmdk", Layout::Differencing, &["delta.vmdk", "base.vmdk"]);
    assert_eq!(found.info.chain.len(), 1);
    drop(found);
    // The parent changed after the delta was made: its content has another id.
    bench.write("vmdk", "base.vmdk", "write -q -P 0x44 2M 4k");
    let error = open(&bench.path("delta.vmdk"), None, &Gate::same_folder(), &bench.reader())
        .expect_err("another state");
    let shown = error.to_string();
    assert!(shown.contains("needs a parent with CID") && shown.contains("base.vmdk: has CID"), "{shown}");
    assert!(error.next().contains("a disk that never existed"), "{}", error.next());
}

#[test]
fn the_process_goes_with_its_disk_and_leaves_no_socket() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "image"]);
    let found = bench.opened("image");
    let pids = bench.running();
    assert_eq!(pids.len(), 1);
    assert_eq!(std::fs::read_dir(bench.path("run")).expect("the folder").count(), 0);
    // Whatever it has open besides pipes and sockets is the image.
    for entry in std::fs::read_dir(format!("/proc/{}/fd", pids[0])).expect("its descriptors").flatten() {
        let to = std::fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let harmless = ["socket:", "pipe:", "anon_inode:", "/dev/null", "/dev/urandom"]
            .iter()
            .any(|p| to.starts_with(p));
        assert!(harmless || Path::new(&to) == bench.path("image"), "it has {to} open");
    }
    drop(found);
    assert_eq!(bench.running(), [] as [u32; 0]);
}

/// Not a test: the owner of an image for the one below.
#[test]
#[ignore = "run by the_process_dies_when_its_owner_is_killed"]
fn owner() {
    let Some(dir) = std::env::var_os("DRILL_TEST_OWNER").map(PathBuf::from) else { return };
    let reader = Reader { qemu_nbd: Some(QEMU_NBD.into()), sockets: dir.join("run") };
    let _opened =
        open(&dir.join("image"), None, &Gate::same_folder(), &reader).unwrap_or_else(|e| panic!("{e}"));
    std::fs::write(dir.join("ready"), "").expect("a file");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_process_dies_when_its_owner_is_killed() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "image"]);
    let mut owner = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "owner", "--ignored"])
        .env("DRILL_TEST_OWNER", bench.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("the owner starts");
    let until = Instant::now() + Duration::from_secs(30);
    while !bench.path("ready").exists() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(bench.running().len(), 1);
    owner.kill().expect("a kill");
    owner.wait().expect("its end");
    while !bench.running().is_empty() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(bench.running(), [] as [u32; 0]);
}

#[test]
fn a_missing_or_wrong_reader_is_not_the_images_fault() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "image"]);
    for (program, expect) in [
        (None, "FILE: QEMU's block layer must read it, but qemu-nbd is not in PATH"),
        (Some("/usr/bin/true"), "FILE: QEMU's block layer must read it, but qemu-nbd ended: exit status: 0"),
        (
            Some("/nowhere"),
            "FILE: QEMU's block layer must read it, but /nowhere: No such file or directory (os error 2)",
        ),
    ] {
        let reader = Reader { qemu_nbd: program.map(Into::into), sockets: bench.path("run") };
        let image = bench.path("image");
        let error = open(&image, None, &Gate::same_folder(), &reader).expect_err("no reader").to_string();
        assert_eq!(error.replace(&image.display().to_string(), "FILE"), expect);
    }
}

/// What a cut copy may be: refused, the same disk, or a disk with a note that says where it may lack something. Never another disk without a word.
struct Cuts<'a> {
    bench: &'a Bench,
    /// What is opened.
    image: &'a str,
    /// What is cut.
    file: &'a str,
    refused: usize,
    noted: usize,
}

impl Cuts<'_> {
    /// Cut the file at many places.
    #[track_caller]
    fn sweep(bench: &Bench, image: &str, file: &str) -> (usize, usize) {
        let whole = bench.opened(image);
        let expected = content(&whole);
        assert!(!whole.info.notes.iter().any(|n| n.contains("cut")), "{image}: {:?}", whole.info.notes);
        drop(whole);
        let bytes = std::fs::read(bench.path(file)).expect("a file");
        let len = bytes.len() as u64;
        let mut cuts = Cuts { bench, image, file, refused: 0, noted: 0 };
        let near = [1, 2, 511, 512, 513, 4096, 65536, 65537, 200_000].map(|n| len.saturating_sub(n));
        let parts = [1, 7, 11, 13, 15].map(|n| len / 16 * n + n);
        for at in near.into_iter().chain(parts) {
            cuts.at(at, &expected);
        }
        std::fs::write(bench.path(file), bytes).expect("a file");
        (cuts.refused, cuts.noted)
    }

    #[track_caller]
    fn at(&mut self, at: u64, expected: &[u8]) {
        let (image, file) = (self.image, self.file);
        let path = self.bench.path(file);
        let bytes = std::fs::read(&path).expect("a file");
        std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(at)).expect("a cut");
        match open(&self.bench.path(image), None, &Gate::same_folder(), &self.bench.reader()) {
            Err(_) => self.refused += 1,
            Ok(found) if found.info.notes.iter().any(|n| n.contains("cut")) => self.noted += 1,
            Ok(found) => {
                let mut all = vec![0xA5; expected.len()];
                // A compressed grain has a checksum: its cut is noticed when it is read.
                match found.disk.read_at(ByteOffset(0), &mut all) {
                    Ok(()) => assert!(all == expected, "{image}: {file} cut at {at} is another disk"),
                    Err(_) => self.refused += 1,
                }
            }
        }
        std::fs::write(&path, bytes).expect("a file");
    }
}

#[test]
fn a_cut_qcow2_is_never_another_disk() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    for (n, (compressed, options)) in [
        (false, "compat=1.1"),
        (false, "compat=0.10"),
        (false, "cluster_size=512"),
        (false, "cluster_size=2M"),
        (false, "extended_l2=on"),
        (false, "preallocation=metadata"),
        (true, "compat=1.1"),
        (true, "compat=0.10"),
        (true, "cluster_size=512"),
        (true, "compression_type=zstd"),
        (true, "extended_l2=on,cluster_size=128k"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = format!("image{n}");
        let args = ["convert", "-f", "raw", "-O", "qcow2", "-o", options].into_iter();
        let args = args.chain(compressed.then_some("-c")).chain(["disk.raw", &image]);
        bench.qemu_img(args);
        let (refused, noted) = Cuts::sweep(&bench, &image, &image);
        // With clusters of 2 MiB the file ends 1 MiB behind the end of the disk: what is cut there is nobody's.
        assert!(refused >= 5 && (compressed || noted == 0), "{options}: {refused} refused, {noted} noted");
    }
}

#[test]
fn a_cut_chain_is_never_another_disk() {
    let bench = Bench::new();
    chain(&bench);
    for (file, expect) in [("top.qcow2", "refused"), ("middle.qcow2", "refused"), ("base.raw", "noted")] {
        let (refused, noted) = Cuts::sweep(&bench, "top.qcow2", file);
        let found = if expect == "noted" { noted } else { refused };
        assert!(found >= 6, "{file}: {refused} refused, {noted} noted");
    }
}

#[test]
fn a_cut_vmdk_is_never_another_disk() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    for (kind, extent) in [
        ("monolithicSparse", None),
        ("monolithicFlat", Some("flat")),
        ("twoGbMaxExtentSparse", Some("s001")),
        ("twoGbMaxExtentFlat", Some("f001")),
        ("streamOptimized", None),
    ] {
        let (image, options) = (format!("{kind}.image"), format!("subformat={kind}"));
        bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "-o", &options, "disk.raw", &image]);
        let file = extent.map_or(image.clone(), |e| format!("{kind}-{e}.image"));
        let (refused, noted) = Cuts::sweep(&bench, &image, &file);
        assert!(refused >= 6 && noted == 0, "{kind}: {refused} refused, {noted} noted");
    }
    bench.qemu_img(["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "base.vmdk"]);
    bench.qemu_img(["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "delta.vmdk"]);
    bench.write("vmdk", "delta.vmdk", "write -q -P 0x33 1M 100k");
    for file in ["delta.vmdk", "base.vmdk"] {
        let (refused, noted) = Cuts::sweep(&bench, "delta.vmdk", file);
        assert!(refused >= 6 && noted == 0, "{file}: {refused} refused, {noted} noted");
    }
}

#[test]
fn what_a_program_leaves_in_the_last_sector_is_noted() {
    let bench = Bench::new();
    bench.qemu_img(["create", "-q", "-f", "qcow2", "image", "1M"]);
    bench.write("qcow2", "image", "write -q -c -P 7 0 64k");
    let len = std::fs::metadata(bench.path("image")).expect("a file").len();
    assert!(!len.is_multiple_of(512), "qemu-io fills the sector");
    let found = bench.opened("image");
    let lacks = 512 - len % 512;
    let expect = format!(
        "FILE: the last sector of compressed data lacks {lacks} bytes at the end of the file: some programs leave it so, and a copy that was cut \
         there looks the same"
    );
    let image = bench.path("image").display().to_string();
    let notes: Vec<String> = found.info.notes.iter().map(|n| n.replace(&image, "FILE")).collect();
    assert_eq!(notes, ["read through QEMU's block layer", &expect]);
    let mut byte = [0];
    found.disk.read_at(ByteOffset(65535), &mut byte).expect("a readable disk");
    assert_eq!(byte, [7]);
}

#[test]
fn a_cut_file_is_refused_with_the_entry_that_leads_out_of_it() {
    let bench = Bench::new();
    bench.raw("disk.raw");
    for (format, options, by, expect) in [
        (
            "qcow2",
            vec!["-o", "compat=1.1"],
            1,
            "qcow2: L2 entry at 0x40a78: wanted a cluster within the file's 0xfffff bytes, found 0xf0000",
        ),
        (
            "qcow2",
            vec!["-o", "extended_l2=on"],
            1,
            "qcow2: L2 entry at 0x414f0: wanted a cluster within the file's 0xfffff bytes, found 0xf0000",
        ),
        // How long the data is, zlib knows.
        ("qcow2", vec!["-c"], 512, "qcow2: L2 entry at 0x40a78: wanted compressed data within the file's "),
        (
            "qcow2",
            vec!["-o", "preallocation=metadata"],
            MIB,
            "qcow2: L2 entry at 0x40a00: wanted a cluster within the file's 0x1450000 bytes, found 0x1450000",
        ),
        (
            "vmdk",
            vec![],
            1,
            "VMDK: VMDK grain table entry at 0x3b3c: wanted a grain within the file's 0xbffff bytes, found 0xb0000",
        ),
        (
            "vmdk",
            vec!["-o", "subformat=streamOptimized"],
            MIB / 8,
            "VMDK: VMDK grain table entry at 0x38c8: wanted a grain within the file's ",
        ),
    ] {
        let path = bench.path("image");
        bench.qemu_img(
            ["convert", "-f", "raw", "-O", format]
                .into_iter()
                .chain(options.clone())
                .chain(["disk.raw", "image"]),
        );
        let len = std::fs::metadata(&path).expect("a file").len();
        std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(len - by)).expect("a cut");
        let error = open(&path, None, &Gate::same_folder(), &bench.reader()).expect_err("cut");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("{}: {expect}", path.display())), "{options:?}: {shown}");
        assert!(error.next().contains("was not copied whole"), "{}", error.next());
    }
}
