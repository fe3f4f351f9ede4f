//! The dynamic VHD that we write: laid out as the specification asks for, and read alike by all others.

use crate::bench::{Bench, bytes_at, check_extents, content, noise, opened, patch, run, same, text};
use crate::vhd_bytes::{fix_sum, put};
use engine::container::{ExportError, ExportOptions, Layout, OutFormat, export};
use engine::disk::{Disk, Geometry, MemDisk, Overlay, Write};
use engine::units::{ByteLen, ByteOffset, MIB, SectorSize};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const ID: [u8; 16] = *b"drill test id 02";
/// 2026-11-24 00:00:00 UTC.
const NOW: u64 = 1_795_478_400;

#[track_caller]
fn write(disk: &dyn Disk, out: &Path, format: OutFormat) {
    let options = ExportOptions::new(ID, NOW);
    let mut go = |_| ControlFlow::Continue(());
    let done = export(disk, out, format, &options, &mut go).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.file_len.get(), std::fs::metadata(out).expect("the file").len());
}

fn geometry(len: u64) -> Geometry {
    Geometry { len: ByteLen(len), sector: SectorSize::B512 }
}

/// A disk of `len` bytes, zeros but for these writes.
fn disk(len: u64, writes: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Overlay {
    let writes = writes.into_iter().map(|(at, bytes)| Write { at: ByteOffset(at), bytes: bytes.into() });
    let below = Arc::new(MemDisk::empty(geometry(len)));
    Overlay::new(below, geometry(len), writes.collect()).expect("sorted writes")
}

#[track_caller]
fn virtual_size(image: &Path) -> u64 {
    let info = run("qemu-img", ["info", "-f", "vpc", "--output=json", text(image)]);
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON from qemu-img");
    info["virtual-size"].as_u64().expect("a number")
}

/// The disk in a VHD as `qemu-img` reads it.
#[track_caller]
fn qemu(bench: &Bench, image: &Path) -> Vec<u8> {
    let flat = bench.path("qemu.raw");
    run("qemu-img", ["convert", "-f", "vpc", "-O", "raw", text(image), text(&flat)]);
    std::fs::read(&flat).expect("what qemu-img read")
}

#[test]
fn a_dynamic_vhd_is_laid_out_as_the_specification_asks_for() {
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    // Two blocks, the first of them empty, the second half as long as a block.
    write(&disk(3 * MIB, [(2 * MIB + 512, noise(1, 512))]), &out, OutFormat::DynamicVhd);
    // "Hard Disk Footer Format". 0x32979000 is 2026-11-24 counted from 2000-01-01.
    let mut footer = vec![0; 512];
    put(&mut footer, 0, b"conectix\0\0\0\x02\0\x01\0\0\0\0\0\0\0\0\x02\0\x32\x97\x90\0win \0\x0a\0\0Wi2k");
    put(&mut footer, 40, b"\0\0\0\0\0\x30\0\0\0\0\0\0\0\x30\0\0");
    put(&mut footer, 56, &[0, 90, 4, 17, 0, 0, 0, 3]); // 6144 sectors, dynamic
    put(&mut footer, 68, b"lird let");
    put(&mut footer, 76, &ID[8..]);
    fix_sum(&mut footer, 0, 512, 64);
    // "Dynamic Disk Header Format": the table at 1536, two blocks of 2 MiB.
    let mut header = vec![0; 1024];
    put(
        &mut header,
        0,
        b"cxsparse\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\x06\0\0\x01\0\0\0\0\0\x02\0\x20\0\0",
    );
    fix_sum(&mut header, 0, 1024, 36);
    // "Block Allocation Table": the second block's bitmap in sector 15, so that its data begins at 8192.
    let mut table = vec![0xFF; 512];
    put(&mut table, 4, &15u32.to_be_bytes());
    let mut expect = [footer.clone(), header, table].concat();
    expect.resize(15 * 512, 0);
    expect.extend([0xFF; 512]);
    expect.extend([0; 512]);
    expect.extend(noise(1, 512));
    expect.resize(8192 + (2 << 20), 0); // whole, though the disk ends in its middle
    expect.extend(footer);
    same(&std::fs::read(&out).expect("the file"), &expect);
}

#[test]
fn others_read_what_we_write() {
    let bench = Bench::new();
    // Lengths that are no geometry, so that a reader that goes by it would see fewer sectors.
    for len in [512, 2 * MIB, 41 * MIB + 7 * 512] {
        let out = bench.path("out.vhd");
        let writes = [(0, 100), (3 * MIB - 70_000, 140_000), (20 * MIB, 4096), (41 * MIB + 512, 3072)];
        let fits = |(at, n): &(u64, usize)| at + *n as u64 <= len;
        let writes = writes.into_iter().filter(fits).map(|(at, n)| (at, noise(at, n)));
        let disk = disk(len, writes);
        write(&disk, &out, OutFormat::DynamicVhd);
        let expect = content(&disk);
        assert_eq!(virtual_size(&out), len);
        same(&qemu(&bench, &out), &expect);
        let seen = std::process::Command::new("7zz").args(["x", "-tVHD", "-so", text(&out)]).output();
        same(&seen.expect("7zz").stdout, &expect);
        let found = opened(&out);
        assert_eq!((found.info.layout, found.info.notes.len()), (Layout::Dynamic, 0));
        assert_eq!(found.info.block_size, Some(2 << 20));
        same(&content(&*found.disk), &expect);
        check_extents(&*found.disk);
        std::fs::remove_file(&out).expect("removed");
    }
}

#[test]
fn qemu_writes_on_into_what_we_wrote() {
    // A block that QEMU adds goes where it thinks the file ends: not over a block of ours.
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let disk = disk(20 * MIB, [(5 * MIB, noise(1, 5000)), (11 * MIB, noise(2, 5000))]);
    write(&disk, &out, OutFormat::DynamicVhd);
    run(
        "qemu-io",
        ["-f", "vpc", "-c", "write -q -P 0x77 16M 64k", "-c", "write -q -P 0x78 0 512", text(&out)],
    );
    let mut expect = content(&disk);
    expect[16 << 20..][..64 << 10].fill(0x77);
    expect[..512].fill(0x78);
    same(&content(&*opened(&out).disk), &expect);
    same(&qemu(&bench, &out), &expect);
}

#[test]
fn the_largest_disk_is_written_and_one_sector_more_is_not() {
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let largest = 2040 << 30;
    let last = largest - 4096;
    write(&disk(largest, [(7, noise(1, 50)), (last, noise(2, 4096))]), &out, OutFormat::DynamicVhd);
    assert_eq!(virtual_size(&out), largest);
    let stored = std::fs::metadata(&out).expect("the file").blocks() * 512;
    assert!(stored < 5 * MIB, "a table of 4 MiB and little more, not {stored} bytes");
    let found = opened(&out);
    let mut end = [0; 4096];
    found.disk.read_at(ByteOffset(last), &mut end).expect("a read");
    same(&end, &noise(2, 4096));
    for (len, sector) in
        [(largest + 512, SectorSize::B512), (0, SectorSize::B512), (4 * MIB, SectorSize::B4096)]
    {
        let none = MemDisk::empty(Geometry { len: ByteLen(len), sector });
        let mut go = |_| ControlFlow::Continue(());
        let options = ExportOptions::new(ID, NOW);
        let error = export(&none, &bench.path("no.vhd"), OutFormat::DynamicVhd, &options, &mut go);
        let error = error.expect_err("refused");
        assert!(matches!(error, ExportError::Shape { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!(
                "a disk of {len} bytes in sectors of {} cannot be a DynamicVhd: wanted 512-byte sectors, at least one, at \
                 most 2040 GiB",
                sector.bytes()
            )
        );
    }
    assert_eq!(bench.files(), ["out.vhd"]);
}

#[test]
fn the_bitmaps_of_a_dynamic_disk_do_not_matter_here_as_in_qemu() {
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let disk = disk(3 * MIB, [(2 * MIB + 512, noise(1, 512))]);
    write(&disk, &out, OutFormat::DynamicVhd);
    patch(&out, 15 * 512, &[0; 512]);
    same(&content(&*opened(&out).disk), &content(&disk));
    same(&qemu(&bench, &out), &content(&disk));
}

#[test]
fn a_damaged_export_is_noticed() {
    // The twin of the comparisons above.
    let bench = Bench::new();
    let out = bench.path("out.vhd");
    let disk = disk(3 * MIB, [(2 * MIB + 512, noise(1, 512))]);
    write(&disk, &out, OutFormat::DynamicVhd);
    patch(&out, 8192 + 512, &[0]);
    assert_ne!(qemu(&bench, &out), content(&disk));
    assert_eq!(bytes_at(&out, 8192 + 513, 511), noise(1, 512)[1..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is written to a disk, a VHD of it reads like an array of bytes with the same writes, here and in QEMU.
    #[test]
    fn any_writes_read_back(
        fixed in any::<bool>(),
        // MiB for a fixed disk, which must be whole MiB long, and sectors more for a dynamic one.
        (mib, sectors) in (1u64..10, 0u64..4096),
        gaps in prop::collection::vec((0u64..3 << 20, 1usize..200_000), 0..7),
    ) {
        let bench = Bench::new();
        let (format, len) =
            if fixed { (OutFormat::FixedVhd, mib * MIB) } else { (OutFormat::DynamicVhd, mib * MIB + sectors * 512) };
        let (mut flat, mut writes, mut end) = (vec![0; len as usize], Vec::new(), 0);
        for (gap, n) in gaps {
            let at = end + gap;
            end = at + n as u64;
            if end <= len {
                put(&mut flat, at as usize, &noise(at, n));
                writes.push((at, noise(at, n)));
            }
        }
        let out = bench.path("out.vhd");
        write(&disk(len, writes), &out, format);
        let found = opened(&out);
        same(&content(&*found.disk), &flat);
        check_extents(&*found.disk);
        same(&qemu(&bench, &out), &flat);
    }
}
