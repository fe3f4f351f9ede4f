//! What we write, `qemu-img` reads; what cannot be finished is not there.

use crate::bench::{Bench, bytes_at, check_extents, content, noise, opened, patch, run, same, text};
use engine::container::vhd::chs_for;
use engine::container::{ExportError, ExportOptions, Format, Layout, OutFormat, Progress, export};
use engine::disk::{Disk, Extent, ExtentKind, Geometry, MemDisk, Overlay, ReadError, Write};
use engine::units::{ByteLen, ByteOffset, MIB, SectorSize};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const ID: [u8; 16] = *b"drill test id 01";
/// 2026-11-24 00:00:00 UTC.
const NOW: u64 = 1_795_478_400;

fn options() -> ExportOptions {
    ExportOptions::new(ID, NOW)
}

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn export_to(disk: &dyn Disk, out: &Path, format: OutFormat) {
    let done = export(disk, out, format, &options(), &mut go).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.file_len.get(), std::fs::metadata(out).expect("the file").len());
    assert_eq!(done.virtual_len, disk.geometry().len);
}

#[track_caller]
fn info(image: &Path, format: &str) -> serde_json::Value {
    let text = run("qemu-img", ["info", "-f", format, "--output=json", text(image)]);
    serde_json::from_str(&text).expect("JSON from qemu-img")
}

#[test]
fn qemu_img_finds_every_export_equal_to_the_source() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 41);
    let source = opened(&bench.convert(&raw, "image.vhdx", "vhdx", ""));
    for (format, name, driver) in [
        (OutFormat::FixedVhd, "out.vhd", "vpc"),
        (OutFormat::Raw, "out.raw", "raw"),
        (OutFormat::DynamicVhdx, "out.vhdx", "vhdx"),
    ] {
        let out = bench.path(name);
        export_to(&*source.disk, &out, format);
        run("qemu-img", ["compare", "-f", "raw", "-F", driver, text(&raw), text(&out)]);
        assert_eq!(info(&out, driver)["virtual-size"], 41 * MIB, "{driver}");
        same(&content(&*opened(&out).disk), &std::fs::read(&raw).expect("the raw disk"));
        check_extents(&*opened(&out).disk);
        let stored = std::fs::metadata(&out).expect("the file").blocks() * 512;
        assert!(stored < 4 * MIB, "{name} stores {stored} bytes");
    }
    run("qemu-img", ["check", "-f", "vhdx", text(&bench.path("out.vhdx"))]);
    source.unchanged().expect("an untouched source");
}

#[test]
fn a_fixed_vhd_ends_in_the_footer_the_specification_asks_for() {
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let disk = MemDisk::new(Geometry { len: ByteLen(3 * MIB), sector: SectorSize::B512 }, noise(1, 9000));
    export_to(&disk, &out, OutFormat::FixedVhd);
    assert_eq!(std::fs::metadata(&out).expect("the file").len(), 3 * MIB + 512);
    let footer = bytes_at(&out, 3 * MIB, 512);
    // Written by hand from "Hard Disk Footer Format"; 0x32979000 is 2026-11-24 counted from 2000-01-01.
    let mut expect = Vec::new();
    expect.extend(b"conectix\0\0\0\x02\0\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    expect.extend(0x3297_9000u32.to_be_bytes());
    expect.extend(b"win \0\x0a\0\0Wi2k\0\0\0\0\0\x30\0\0\0\0\0\0\0\x30\0\0");
    expect.extend([0, 90, 4, 17]); // 6144 sectors: 90 cylinders of 4 heads of 17 sectors
    expect.extend([0, 0, 0, 2]);
    expect.extend([0; 4]);
    expect.extend(b"lird let"); // the id in network byte order: its first three fields turned around
    expect.extend(&ID[8..]);
    expect.resize(512, 0);
    let sum: u32 = expect.iter().map(|b| u32::from(*b)).sum();
    expect[64..68].copy_from_slice(&(!sum).to_be_bytes());
    same(&footer, &expect);
}

#[test]
fn qemu_would_cut_the_disk_if_the_creator_were_unknown_to_it() {
    // Why the footer names `win ` as its creator: with any name of our own QEMU computes the length from the geometry.
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let disk = MemDisk::new(Geometry { len: ByteLen(41 * MIB), sector: SectorSize::B512 }, noise(1, 9000));
    export_to(&disk, &out, OutFormat::FixedVhd);
    assert_eq!(info(&out, "vpc")["virtual-size"], 41 * MIB);
    let mut footer = bytes_at(&out, 41 * MIB, 512);
    footer[28..32].copy_from_slice(b"drll");
    footer[64..68].fill(0);
    let sum: u32 = footer.iter().map(|b| u32::from(*b)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    patch(&out, 41 * MIB, &footer);
    assert!(info(&out, "vpc")["virtual-size"].as_u64().expect("a number") < 41 * MIB);
}

#[test]
fn geometry_agrees_with_qemu_img() {
    let bench = Bench::new();
    // Sizes that are exactly some geometry, so that qemu-img does not round them; footer bytes 56..60.
    for size in ["17M", "255M", "504M", "1023M", "2049M", "31G", "127G", "136G", "2000G"] {
        let image = bench.path("g.vhd");
        run("qemu-img", ["create", "-q", "-f", "vpc", "-o", "subformat=dynamic", text(&image), size]);
        let footer = bytes_at(&image, 0, 512);
        let sectors = u64::from_be_bytes(footer[48..56].try_into().expect("8 bytes")) / 512;
        let chs = chs_for(sectors);
        let found = [(chs.cylinders >> 8) as u8, chs.cylinders as u8, chs.heads, chs.sectors];
        assert_eq!(found, footer[56..60], "{size}: {sectors} sectors");
    }
}

#[test]
fn a_terabyte_of_nothing_is_exported_as_nothing() {
    let bench = Bench::new();
    let image = bench.path("large.vhdx");
    run("qemu-img", ["create", "-q", "-f", "vhdx", text(&image), "1T"]);
    run("qemu-io", ["-f", "vhdx", "-c", "write -q -P 0x77 700G 1M", text(&image)]);
    let source = opened(&image);
    for (format, name, driver) in
        [(OutFormat::FixedVhd, "out.vhd", "vpc"), (OutFormat::DynamicVhdx, "out.vhdx", "vhdx")]
    {
        let out = bench.path(name);
        export_to(&*source.disk, &out, format);
        assert_eq!(info(&out, driver)["virtual-size"], 1u64 << 40);
        assert!(std::fs::metadata(&out).expect("the file").blocks() * 512 < 4 * MIB);
        let read = opened(&out);
        let mut bytes = vec![0; 3 * MIB as usize];
        read.disk.read_at(ByteOffset((700 << 30) - MIB), &mut bytes).expect("a read");
        let expect: Vec<u8> = [[0u8; 1 << 20], [0x77; 1 << 20], [0; 1 << 20]].concat();
        same(&bytes, &expect);
    }
    run("qemu-img", ["check", "-f", "vhdx", text(&bench.path("out.vhdx"))]);
}

#[test]
fn a_vhdx_of_many_chunks_and_odd_pieces_survives() {
    // 9 GiB in 1 MiB blocks: two sector bitmap entries lie in the table.
    let bench = Bench::new();
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let geometry = Geometry { len: ByteLen((9 << 30) + 3 * 4096), sector };
        let writes = [0, 5, MIB - 3, 4095 * MIB + 9, 4096 * MIB, 8191 * MIB + 100, (9 << 30) + 4096]
            .into_iter()
            .enumerate()
            .map(|(i, at)| Write {
                at: ByteOffset(at),
                bytes: Arc::from(noise(i as u64, if i == 0 { 5 } else { 5000 })),
            })
            .collect();
        let disk = Overlay::new(Arc::new(MemDisk::empty(geometry)), geometry, writes).expect("sorted writes");
        let out = bench.path(&format!("{sector:?}.vhdx"));
        export_to(&disk, &out, OutFormat::DynamicVhdx);
        let found = opened(&out);
        assert_eq!((found.info.format, found.info.layout), (Format::Vhdx, Layout::Dynamic));
        assert_eq!(found.disk.geometry(), geometry);
        let mut no = |_| ControlFlow::Continue(());
        let hash = |disk: &dyn Disk, no: &mut dyn FnMut(Progress) -> ControlFlow<()>| {
            engine::hash::disk(disk, no).expect("a hash")
        };
        assert_eq!(hash(&*found.disk, &mut no), hash(&disk, &mut no));
        if sector == SectorSize::B512 {
            run("qemu-img", ["check", "-f", "vhdx", text(&out)]);
            let flat = bench.path("flat");
            run("qemu-img", ["convert", "-f", "vhdx", "-O", "raw", text(&out), text(&flat)]);
            let flat = engine::container::open(&flat, Some(Format::Raw)).expect("a raw disk");
            assert_eq!(hash(&*flat.disk, &mut no), hash(&disk, &mut no));
        }
    }
}

#[test]
fn a_disk_the_format_cannot_hold_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let odd = |len, sector| MemDisk::empty(Geometry { len: ByteLen(len), sector });
    for (disk, format) in [
        (odd(MIB + 512, SectorSize::B512), OutFormat::FixedVhd),
        (odd(0, SectorSize::B512), OutFormat::FixedVhd),
        (odd(MIB, SectorSize::B4096), OutFormat::FixedVhd),
        (odd(0, SectorSize::B512), OutFormat::DynamicVhdx),
        (odd((64 << 40) + 512, SectorSize::B512), OutFormat::DynamicVhdx),
    ] {
        let error = export(&disk, &bench.path("out"), format, &options(), &mut go).expect_err("refused");
        assert!(matches!(error, ExportError::Shape { .. }), "{error}");
    }
    assert_eq!(bench.files(), [""; 0]);
}

fn sample() -> MemDisk {
    MemDisk::new(Geometry { len: ByteLen(40 * MIB), sector: SectorSize::B512 }, noise(5, 21 << 20))
}

#[test]
fn an_existing_file_is_not_replaced_unless_asked_and_a_source_never() {
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    std::fs::write(&out, b"precious").expect("a file");
    let error = export(&sample(), &out, OutFormat::FixedVhd, &options(), &mut go).expect_err("refused");
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    assert_eq!(std::fs::read(&out).expect("the file"), b"precious");
    let source = engine::disk::SourceFile::open(&out).expect("a source");
    let mut over = ExportOptions { overwrite: true, protect: vec![source.identity()], ..options() };
    let error = export(&sample(), &out, OutFormat::FixedVhd, &over, &mut go).expect_err("refused");
    assert!(matches!(error, ExportError::Source { .. }), "{error}");
    assert_eq!(bench.files(), ["out.vhd"]);
    over.protect.clear();
    export(&sample(), &out, OutFormat::FixedVhd, &over, &mut go).expect("replaced");
    assert_eq!(std::fs::metadata(&out).expect("the file").len(), 40 * MIB + 512);
    let link = bench.path("link.vhd");
    std::os::unix::fs::symlink("nowhere", &link).expect("a link");
    let error = export(&sample(), &link, OutFormat::FixedVhd, &options(), &mut go).expect_err("refused");
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    let error = export(&sample(), &bench.path("no/where.vhd"), OutFormat::FixedVhd, &options(), &mut go);
    assert!(matches!(error, Err(ExportError::Path { .. })), "{error:?}");
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let bench = Bench::new();
    let out = bench.path("out.raw");
    let mut race = |_| {
        std::fs::write(&out, b"mine").expect("a file");
        ControlFlow::Continue(())
    };
    let error = export(&sample(), &out, OutFormat::Raw, &options(), &mut race).expect_err("refused");
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    assert_eq!(
        (std::fs::read(&out).expect("the file"), bench.files()),
        (b"mine".to_vec(), vec!["out.raw".to_owned()])
    );
}

#[test]
fn a_cancelled_export_leaves_nothing() {
    let bench = Bench::new();
    for format in [OutFormat::FixedVhd, OutFormat::Raw, OutFormat::DynamicVhdx] {
        let mut calls = 0;
        export(&sample(), &bench.path("whole"), format, &options(), &mut |_| {
            calls += 1;
            ControlFlow::Continue(())
        })
        .expect("an export");
        assert!(calls > 5, "progress in small steps, not {calls}");
        std::fs::remove_file(bench.path("whole")).expect("removed");
        for stop in 1..=calls {
            let mut call = 0;
            let mut cancel = |_| {
                call += 1;
                if call == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let error = export(&sample(), &bench.path("out"), format, &options(), &mut cancel)
                .expect_err("cancelled");
            assert!(matches!(error, ExportError::Cancelled), "{error}");
            assert_eq!(bench.files(), [""; 0]);
        }
    }
}

/// All data, and a bad spot at 9 MiB.
struct BadSpot(u64);

impl Disk for BadSpot {
    fn geometry(&self) -> Geometry {
        Geometry { len: ByteLen(self.0), sector: SectorSize::B512 }
    }
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let spot = 9 * MIB;
        if at.get() + buf.len() as u64 > spot {
            let source = std::io::Error::other("bad spot");
            return Err(ReadError::Io { what: "disk".into(), at: spot, source });
        }
        buf.fill(1);
        Ok(())
    }
    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let left = self.0.saturating_sub(from.get());
        Ok((left > 0).then_some(Extent { at: from, len: ByteLen(left), kind: ExtentKind::Data }))
    }
}

#[test]
fn a_disk_that_cannot_be_read_or_held_leaves_nothing() {
    let bench = Bench::new();
    let error =
        export(&BadSpot(40 * MIB), &bench.path("out"), OutFormat::Raw, &options(), &mut go).expect_err("bad");
    assert!(matches!(error, ExportError::Read(_)), "{error}");
    let error = export(&BadSpot(1 << 60), &bench.path("out"), OutFormat::Raw, &options(), &mut go)
        .expect_err("large");
    assert!(matches!(error, ExportError::Space { .. }), "{error}");
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn what_a_killed_process_of_our_number_left_is_cleared_away() {
    let bench = Bench::new();
    let left = format!(".out.drill-partial-{}", std::process::id());
    std::fs::write(bench.path(&left), b"half a disk").expect("a file");
    export_to(&sample(), &bench.path("out"), OutFormat::Raw);
    assert_eq!(bench.files(), ["out"]);
    // But not what another thread is writing just now.
    let mut inner = None;
    let mut nested = |_| {
        inner.get_or_insert_with(|| {
            export(&sample(), &bench.path("busy"), OutFormat::Raw, &options(), &mut go).err()
        });
        ControlFlow::Continue(())
    };
    // The callback runs before there is a temporary file, too; ask only once there is one.
    let mut once_there = |p: Progress| if p.done > 0 { nested(p) } else { ControlFlow::Continue(()) };
    export(&sample(), &bench.path("busy"), OutFormat::Raw, &options(), &mut once_there)
        .expect("the outer one");
    assert!(matches!(inner.flatten(), Some(ExportError::Write { doing: "locking", .. })));
    assert_eq!(bench.files(), ["busy", "out"]);
}

/// The part of the next test that runs under a file size limit, which stops a write in the middle as a full disk does.
#[test]
fn limited_child() {
    let Some(out) = std::env::var_os("DRILL_TEST_LIMITED_OUT") else { return };
    let error =
        export(&sample(), Path::new(&out), OutFormat::FixedVhd, &options(), &mut go).expect_err("no room");
    assert!(matches!(error, ExportError::Write { doing: "writing", .. }), "{error}");
}

#[test]
fn a_write_that_fails_in_the_middle_leaves_nothing() {
    let bench = Bench::new();
    let me = std::env::current_exe().expect("this program");
    // 8 MiB in blocks of 512 bytes; the signal is ignored, so that the write fails with EFBIG.
    let script = "trap '' XFSZ; ulimit -f 16384; exec \"$0\" export::limited_child --exact";
    let out = std::process::Command::new("sh")
        .args(["-c", script, text(&me)])
        .env("DRILL_TEST_LIMITED_OUT", bench.path("out"))
        .output()
        .expect("sh");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn the_sample_is_not_taken_for_sound_when_the_export_is_damaged() {
    // The twin of the comparisons above: the oracle must be able to say no.
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let out = bench.path("out.vhd");
    export_to(&*opened(&raw).disk, &out, OutFormat::FixedVhd);
    patch(&out, 20 * MIB, &[1]);
    let compare = std::process::Command::new("qemu-img")
        .args(["compare", "-f", "raw", "-F", "vpc", text(&raw), text(&out)])
        .output()
        .expect("qemu-img");
    assert_eq!(compare.status.code(), Some(1));
}
