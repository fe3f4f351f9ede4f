//! Every format we write: what was put in is what comes out, read by us and by `qemu-img`.

use crate::bench::{Bench, bytes_at, content, noise, run, same, text};
use engine::container::{ExportOptions, Format, OutFormat, export, export_if, open};
use engine::disk::{Geometry, Overlay, Write};
use engine::units::{ByteLen, ByteOffset, MIB, SectorSize};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Each format, how QEMU calls it, and whether its length must be whole MiB.
const FORMATS: [(OutFormat, &str); 6] = [
    (OutFormat::Raw, "raw"),
    (OutFormat::FixedVhd, "vpc"),
    (OutFormat::DynamicVhd, "vpc"),
    (OutFormat::DynamicVhdx, "vhdx"),
    (OutFormat::FixedVhdx, "vhdx"),
    (OutFormat::Qcow2, "qcow2"),
];

fn go(_: engine::container::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a random write holds: some of them only zeros.
#[derive(Clone, Debug)]
struct Stroke {
    at: u64,
    len: usize,
    seed: Option<u64>,
}

impl Stroke {
    fn bytes(&self) -> Vec<u8> {
        self.seed.map_or_else(|| vec![0; self.len], |seed| noise(seed, self.len))
    }
}

fn strokes(disk: u64) -> impl Strategy<Value = Vec<Stroke>> {
    let one = (0..disk, 1usize..300_000, prop::option::weighted(0.8, any::<u64>()));
    prop::collection::vec(one.prop_map(|(at, len, seed)| Stroke { at, len, seed }), 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Writes into a file (which the kernel copies) and writes over it in memory (which pass through buffers).
    #[test]
    fn random_writes_come_out_of_every_sink_as_they_went_in(
        mib in 3u64..9,
        below in strokes(9 * MIB),
        above in strokes(9 * MIB),
    ) {
        let bench = Bench::new();
        let len = mib * MIB;
        let mut expect = vec![0u8; len as usize];
        let raw = bench.path("base.raw");
        let file = std::fs::File::create(&raw).expect("a file");
        file.set_len(len).expect("room");
        for stroke in below.iter().filter(|s| s.at < len) {
            let mut bytes = stroke.bytes();
            bytes.truncate((len - stroke.at) as usize);
            file.write_all_at(&bytes, stroke.at).expect("a write");
            expect[stroke.at as usize..stroke.at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        let mut sorted: Vec<&Stroke> = above.iter().filter(|s| s.at < len).collect();
        sorted.sort_by_key(|s| s.at);
        let (mut writes, mut free): (Vec<Write>, u64) = (Vec::new(), 0);
        for stroke in sorted.into_iter() {
            if stroke.at < free {
                continue;
            }
            let mut bytes = stroke.bytes();
            bytes.truncate((len - stroke.at) as usize);
            free = stroke.at + bytes.len() as u64;
            expect[stroke.at as usize..free as usize].copy_from_slice(&bytes);
            writes.push(Write { at: ByteOffset(stroke.at), bytes: bytes.into() });
        }
        let base = open(&raw, Some(Format::Raw)).expect("a raw disk").disk;
        let geometry = Geometry { len: ByteLen(len), sector: SectorSize::B512 };
        let disk = Overlay::new(base, geometry, writes).expect("sorted writes");
        for (format, driver) in FORMATS {
            let (out, flat) = (bench.path("out"), bench.path("flat"));
            export(&disk, &out, format, &ExportOptions::new([7; 16], 1_800_000_000), &mut go).expect("an export");
            same(&content(&*open(&out, Some(format.container())).expect("our own file").disk), &expect);
            run("qemu-img", ["convert", "-f", driver, "-O", "raw", text(&out), text(&flat)]);
            same(&std::fs::read(&flat).expect("the flat file"), &expect);
            if matches!(driver, "vhdx" | "qcow2") {
                run("qemu-img", ["check", "-q", "-f", driver, text(&out)]);
            }
            std::fs::remove_file(&out).expect("removed");
            std::fs::remove_file(&flat).expect("removed");
        }
    }
}

#[test]
fn the_hash_of_a_copy_is_the_hash_of_its_source_in_every_format() {
    let bench = Bench::new();
    let source = open(&bench.raw("disk.raw", 41), None).expect("a raw disk");
    let expect = engine::hash::disk(&*source.disk, &mut go).expect("a hash");
    for (format, _) in FORMATS {
        let out = bench.path("out");
        let options = ExportOptions { hash: true, ..ExportOptions::new([7; 16], 1_800_000_000) };
        let exported = export(&*source.disk, &out, format, &options, &mut go).expect("an export");
        assert_eq!(exported.hash, Some(expect), "{format:?}");
        std::fs::remove_file(&out).expect("removed");
    }
}

#[test]
fn a_disk_with_large_sectors_keeps_them_in_vhdx_and_is_refused_by_vhd() {
    let bench = Bench::new();
    let geometry = Geometry { len: ByteLen(5 * MIB), sector: SectorSize::B4096 };
    let disk = engine::disk::MemDisk::new(geometry, noise(3, 2 << 20));
    for format in [OutFormat::DynamicVhdx, OutFormat::FixedVhdx] {
        let out = bench.path("out.vhdx");
        export(&disk, &out, format, &ExportOptions::new([7; 16], 0), &mut go).expect("an export");
        let found = open(&out, None).expect("our own file");
        assert_eq!(found.disk.geometry(), geometry);
        same(&content(&*found.disk), &content(&disk));
        std::fs::remove_file(&out).expect("removed");
    }
    for format in [OutFormat::FixedVhd, OutFormat::DynamicVhd] {
        let error = export(&disk, &bench.path("out.vhd"), format, &ExportOptions::new([7; 16], 0), &mut go);
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("sectors of 4096") && error.contains("512-byte sectors"), "{error}");
    }
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn a_qcow2_of_more_than_one_table_is_sound() {
    // An L2 table covers 512 MiB, a block of reference counts 2 GiB.
    let bench = Bench::new();
    let geometry = Geometry { len: ByteLen(5 << 30), sector: SectorSize::B512 };
    let places = [0u64, (512 << 20) - 70_000, (512 << 20) + 5, 2 << 30, (5 << 30) - 9000];
    let writes = places
        .into_iter()
        .zip(1u64..)
        .map(|(at, seed)| Write { at: ByteOffset(at), bytes: noise(seed, 9000).into() })
        .collect();
    let disk =
        Overlay::new(Arc::new(engine::disk::MemDisk::empty(geometry)), geometry, writes).expect("writes");
    let out = bench.path("out.qcow2");
    export(&disk, &out, OutFormat::Qcow2, &ExportOptions::new([7; 16], 0), &mut go).expect("an export");
    run("qemu-img", ["check", "-q", "-f", "qcow2", text(&out)]);
    let flat = bench.path("flat.raw");
    run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", text(&out), text(&flat)]);
    for (at, seed) in places.into_iter().zip(1u64..) {
        same(&bytes_at(&flat, at, 9000), &noise(seed, 9000));
    }
    // And a child is one of those without anything in it, which takes QEMU's writes.
    let child = bench.path("child.qcow2");
    engine::container::qcow2::create_child(&child, geometry).expect("a child");
    run("qemu-img", ["check", "-q", "-f", "qcow2", text(&child)]);
    run("qemu-io", ["-f", "qcow2", "-c", "write -q -P 0x33 4G 1M", text(&child)]);
    run("qemu-img", ["check", "-q", "-f", "qcow2", text(&child)]);
    let read = engine::container::qcow2::open_child(&child, Arc::new(disk)).expect("our child");
    let mut seen = vec![0; MIB as usize];
    read.read_at(ByteOffset(4 << 30), &mut seen).expect("a read");
    assert!(seen.iter().all(|b| *b == 0x33));
    let mut seen = vec![0; 9000];
    read.read_at(ByteOffset(2 << 30), &mut seen).expect("a read");
    same(&seen, &noise(4, 9000));
}

#[test]
fn a_left_over_of_any_killed_export_is_cleared_away_and_told() {
    let bench = Bench::new();
    let source = open(&bench.raw("disk.raw", 24), None).expect("a raw disk");
    let out = bench.path("out.vhd");
    let (ours, others) = (bench.path(".out.vhd.drill-partial-1"), bench.path(".out.vhdx.drill-partial-1"));
    let busy = bench.path(".out.vhd.drill-partial-2");
    for path in [&ours, &others, &busy] {
        std::fs::write(path, b"half a disk").expect("a file");
    }
    let held = std::fs::File::open(&busy).expect("a file");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("a lock");
    assert_eq!(engine::container::export::left_overs(&out), [ours.as_path()]);
    let exported = export(&*source.disk, &out, OutFormat::FixedVhd, &ExportOptions::new([7; 16], 0), &mut go)
        .expect("an export");
    assert_eq!(exported.cleared, [ours]);
    assert_eq!(
        bench.files(),
        [".out.vhd.drill-partial-2", ".out.vhdx.drill-partial-1", "disk.raw", "out.vhd"],
        "another name's and a running export's files are left alone"
    );
}

#[test]
fn between_file_systems_that_do_not_copy_for_us_the_bytes_are_the_same() {
    // /dev/shm is another file system: copy_file_range answers EXDEV or copies; both must give the same disk.
    let shm = std::path::Path::new("/dev/shm");
    if !shm.is_dir() {
        println!("not performed: there is no /dev/shm here");
        return;
    }
    let bench = Bench::new();
    let source = open(&bench.raw("disk.raw", 41), None).expect("a raw disk");
    let folder = tempfile::tempdir_in(shm).expect("a folder");
    let out = folder.path().join("out.raw");
    export(&*source.disk, &out, OutFormat::Raw, &ExportOptions::new([7; 16], 0), &mut go).expect("an export");
    same(
        &std::fs::read(&out).expect("the copy"),
        &std::fs::read(bench.path("disk.raw")).expect("the source"),
    );
}

#[test]
fn a_source_that_is_touched_during_the_copy_gives_no_file() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let source = open(&raw, None).expect("a raw disk");
    let options = ExportOptions::new([7; 16], 0);
    let mut touch = |p: engine::container::Progress| {
        if p.done > 0 {
            crate::bench::patch(&raw, 20 * MIB, b"x");
        }
        ControlFlow::Continue(())
    };
    let still = || source.unchanged();
    let ended = export_if(&*source.disk, &bench.path("out"), OutFormat::Raw, &options, &mut touch, &still);
    let error = ended.expect_err("touched").to_string();
    assert!(error.contains("disk.raw changed while it was in use"), "{error}");
    assert_eq!(bench.files(), ["disk.raw"]);
}

#[test]
fn a_source_that_is_cut_during_the_copy_is_called_by_its_name() {
    let bench = Bench::new();
    let raw = bench.path("disk.raw");
    std::fs::write(&raw, noise(5, 24 << 20)).expect("a file");
    let source = open(&raw, Some(Format::Raw)).expect("a raw disk");
    let mut cut = |p: engine::container::Progress| {
        if p.done > 0 {
            std::fs::File::options().write(true).open(&raw).and_then(|f| f.set_len(MIB)).expect("cut");
        }
        ControlFlow::Continue(())
    };
    let ended =
        export(&*source.disk, &bench.path("out"), OutFormat::Raw, &ExportOptions::new([7; 16], 0), &mut cut);
    let error = ended.expect_err("cut").to_string();
    assert!(error.contains("disk.raw") && error.starts_with("reading"), "{error}");
    assert_eq!(bench.files(), ["disk.raw"]);
}

#[test]
fn a_copy_is_no_more_readable_than_the_least_readable_file_behind_it() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    for mode in [0o600, 0o640, 0o444] {
        std::fs::set_permissions(&raw, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let source = open(&raw, None).expect("a raw disk");
        let options = ExportOptions { mode: source.mode(), ..ExportOptions::new([7; 16], 0) };
        let out = bench.path("out");
        export(&*source.disk, &out, OutFormat::Raw, &options, &mut go).expect("an export");
        let found = std::fs::metadata(&out).expect("the copy").permissions().mode() & 0o777;
        assert_eq!(found & !(mode | 0o600), 0, "source {mode:o}, copy {found:o}");
        std::fs::remove_file(&out).expect("removed");
    }
}

#[test]
fn a_stray_signature_makes_no_disk_of_large_sectors() {
    let bench = Bench::new();
    let raw = bench.path("disk.img");
    std::fs::File::create(&raw).and_then(|f| f.set_len(24 * MIB)).expect("room");
    crate::bench::patch(&raw, 510, &[0x55, 0xAA]);
    crate::bench::patch(&raw, 4096, b"EFI PART");
    let found = open(&raw, None).expect("a raw disk");
    assert_eq!(found.disk.geometry().sector, SectorSize::B512);
    crate::bench::patch(&raw, 450, &[0xEE]);
    assert_eq!(open(&raw, None).expect("a raw disk").disk.geometry().sector, SectorSize::B512, "no CRC");
}
