//! What `qemu-img` writes, we read to the byte; what we must not read, we refuse by name.

use crate::bench::{Bench, bytes_at, check_extents, content, fix_crc, opened, patch, run, same, text};
use engine::container::{Format, Layout, open};
use engine::units::{MIB, SectorSize};
use std::path::Path;

#[track_caller]
fn check(format: &str, options: &str, expect: Format, layout: Layout) {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 41);
    let image = bench.convert(&raw, "image", format, options);
    let found = opened(&image);
    assert_eq!((found.info.format, found.info.layout), (expect, layout));
    assert_eq!(found.info.virtual_len.get(), 41 * MIB);
    assert_eq!(found.info.file_len.get(), std::fs::metadata(&image).expect("its length").len());
    same(&content(&*found.disk), &std::fs::read(&raw).expect("the raw disk"));
    let data = check_extents(&*found.disk);
    assert!(data > 0 && data <= found.info.allocated.get(), "{data} of {:?}", found.info);
    found.unchanged().expect("reading changes nothing");
}

#[test]
fn reads_what_qemu_img_writes() {
    check("raw", "", Format::Raw, Layout::Fixed);
    check("vhdx", "subformat=dynamic", Format::Vhdx, Layout::Dynamic);
    check("vhdx", "subformat=dynamic,block_size=1M", Format::Vhdx, Layout::Dynamic);
    check("vhdx", "subformat=dynamic,block_size=256M", Format::Vhdx, Layout::Dynamic);
    check("vhdx", "subformat=dynamic,block_state_zero=off", Format::Vhdx, Layout::Dynamic);
    check("vhdx", "subformat=fixed,block_size=2M", Format::Vhdx, Layout::Fixed);
    check("vpc", "subformat=fixed,force_size=on", Format::Vhd, Layout::Fixed);
    check("vpc", "subformat=dynamic,force_size=on", Format::Vhd, Layout::Dynamic);
    check("qcow2", "", Format::Qcow2, Layout::Dynamic);
    check("qcow2", "compat=0.10,cluster_size=512", Format::Qcow2, Layout::Dynamic);
    check("qcow2", "cluster_size=2M,preallocation=metadata", Format::Qcow2, Layout::Dynamic);
}

#[test]
fn reads_a_disk_of_more_than_one_chunk_of_the_table() {
    // 1 MiB blocks and 512-byte sectors: one sector bitmap entry after each 4096 payload entries.
    let bench = Bench::new();
    let image = bench.path("large.vhdx");
    run("qemu-img", ["create", "-q", "-f", "vhdx", "-o", "block_size=1M", text(&image), "40G"]);
    for at in ["4095M", "4096M", "8191M", "20479M", "40959M"] {
        let write = format!("write -q -P 0x5a {at} 4k");
        run("qemu-io", ["-f", "vhdx", "-c", write.as_str(), text(&image)]);
    }
    let disk = opened(&image).disk;
    let mut stored = Vec::new();
    let mut at = 0;
    while let Some(e) = disk.next_extent(engine::units::ByteOffset(at)).expect("extents") {
        let mut first = [0; 4096];
        if e.kind == engine::disk::ExtentKind::Data && e.at.get() % MIB == 0 {
            disk.read_at(e.at, &mut first).expect("a read");
            if first == [0x5a; 4096] {
                stored.push(e.at.get() / MIB);
            }
        }
        at += e.len.get();
    }
    assert_eq!(stored, [4095, 4096, 8191, 20479, 40959]);
}

/// Offset of the header with the higher sequence number.
fn current_header(image: &Path) -> u64 {
    let sequence = |at: u64| bytes_at(image, at + 8, 8);
    let newer = |at: u64| u64::from_le_bytes(sequence(at).try_into().expect("8 bytes"));
    if newer(0x10000) > newer(0x20000) { 0x10000 } else { 0x20000 }
}

fn vhdx(bench: &Bench) -> std::path::PathBuf {
    let raw = bench.raw("disk.raw", 24);
    bench.convert(&raw, "image.vhdx", "vhdx", "block_size=1M")
}

#[track_caller]
fn refusal(image: &Path) -> (String, String) {
    let error = open(image, None).expect_err("must be refused");
    (error.to_string(), error.next().to_owned())
}

#[test]
fn refuses_a_log_without_an_entry_of_its_own() {
    let bench = Bench::new();
    let image = vhdx(&bench);
    let header = current_header(&image);
    patch(&image, header + 48, &[7; 16]);
    fix_crc(&image, header, 4096);
    let (error, next) = refusal(&image);
    assert!(error.contains("a complete sequence of entries of the log 07070707-"), "{error}");
    assert!(error.contains("only entries of other logs"), "{error}");
    assert!(next.contains("copy or replicate it again"), "{next}");
}

#[test]
fn an_older_header_with_a_log_does_not_matter() {
    let bench = Bench::new();
    let image = vhdx(&bench);
    let old = 0x30000 - current_header(&image);
    patch(&image, old + 48, &[7; 16]);
    fix_crc(&image, old, 4096);
    opened(&image);
}

#[test]
fn one_damaged_header_or_region_table_is_survived_two_are_not() {
    for (first, second) in [(0x10000, 0x20000), (0x30000, 0x40000)] {
        let bench = Bench::new();
        let image = vhdx(&bench);
        let raw = std::fs::read(bench.path("disk.raw")).expect("the raw disk");
        patch(&image, first + 60, &[0xFF]);
        same(&content(&*opened(&image).disk), &raw);
        patch(&image, second + 60, &[0xFF]);
        let (error, _) = refusal(&image);
        assert!(error.contains("CRC-32C"), "{error}");
    }
}

/// Offset of the metadata region, from the first region table.
pub fn metadata_at(image: &Path) -> u64 {
    let id = [0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B, 0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E];
    (0..2)
        .map(|i| bytes_at(image, 0x30000 + 16 + i * 32, 24))
        .find(|entry| entry[..16] == id)
        .map(|entry| u64::from_le_bytes(entry[16..24].try_into().expect("8 bytes")))
        .expect("a metadata region")
}

/// Offset in the file of the metadata item whose id begins with `id`.
pub fn item_at(image: &Path, id: [u8; 4]) -> u64 {
    let table = metadata_at(image);
    (0..5)
        .map(|i| bytes_at(image, table + 32 + i * 32, 20))
        .find(|entry| entry[..4] == id)
        .map(|entry| table + u64::from(u32::from_le_bytes(entry[16..20].try_into().expect("4 bytes"))))
        .expect("the item")
}

const FILE_PARAMETERS: [u8; 4] = [0x37, 0x67, 0xA1, 0xCA];
const LOGICAL_SECTOR: [u8; 4] = [0x1D, 0xBF, 0x41, 0x81];

#[test]
fn refuses_a_differencing_vhdx_that_names_no_parent() {
    let bench = Bench::new();
    let image = vhdx(&bench);
    patch(&image, item_at(&image, FILE_PARAMETERS) + 4, &[2]);
    let (error, _) = refusal(&image);
    assert!(error.contains("the item parent locator"), "{error}");
}

#[test]
fn refuses_block_sizes_outside_the_format() {
    for size in [0u32, 512, 3 << 20, 512 << 20, u32::MAX] {
        let bench = Bench::new();
        let image = vhdx(&bench);
        patch(&image, item_at(&image, FILE_PARAMETERS), &size.to_le_bytes());
        let (error, _) = refusal(&image);
        assert!(error.contains("block size") && error.contains(&size.to_string()), "{error}");
    }
}

#[test]
fn reads_a_disk_with_4096_byte_sectors() {
    let bench = Bench::new();
    let image = vhdx(&bench);
    patch(&image, item_at(&image, LOGICAL_SECTOR), &4096u32.to_le_bytes());
    let found = opened(&image);
    assert_eq!(found.disk.geometry().sector, SectorSize::B4096);
    same(&content(&*found.disk), &std::fs::read(bench.path("disk.raw")).expect("the raw disk"));
}

#[test]
fn refuses_a_vhdx_cut_short_anywhere() {
    let bench = Bench::new();
    let image = vhdx(&bench);
    let whole = std::fs::metadata(&image).expect("its length").len();
    let file = std::fs::OpenOptions::new().write(true).open(&image).expect("a file of ours");
    for cut in (0..whole).rev().step_by(512 * 1024 - 1) {
        file.set_len(cut).expect("shorter");
        let error =
            open(&image, None).err().unwrap_or_else(|| panic!("cut to {cut} of {whole} bytes was accepted"));
        if cut + (600 << 10) > whole {
            let error = error.to_string();
            assert!(error.contains("block") && error.contains("truncated"), "{error}");
        }
    }
}

#[test]
fn refuses_a_vhd_that_lost_its_footer() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let image = bench.convert(&raw, "image.vhd", "vpc", "subformat=fixed,force_size=on");
    let file = std::fs::OpenOptions::new().write(true).open(&image).expect("a file of ours");
    file.set_len(24 * MIB).expect("shorter");
    let (error, next) = refusal(&image);
    assert!(error.contains("footer"), "{error}");
    assert!(next.contains("--format raw"), "{next}");
    assert!(open(&image, Some(Format::Raw)).is_ok());
}

#[test]
fn refuses_a_vhd_with_less_data_than_its_footer_says() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let image = bench.convert(&raw, "image.vhd", "vpc", "subformat=fixed,force_size=on");
    let footer = bytes_at(&image, 24 * MIB, 512);
    let short = bench.path("short.vhd");
    std::fs::write(&short, [&bytes_at(&image, 0, 1 << 20)[..], &footer].concat()).expect("a file");
    let (error, _) = refusal(&short);
    assert!(error.contains("current size"), "{error}");
}

#[test]
fn rejects_a_footer_with_a_bad_checksum() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    for subformat in ["fixed", "dynamic"] {
        let image = bench.convert(&raw, subformat, "vpc", &format!("subformat={subformat},force_size=on"));
        let len = std::fs::metadata(&image).expect("its length").len();
        patch(&image, len - 512 + 100, &[1]);
        match subformat {
            "fixed" => assert!(refusal(&image).0.contains("checksum")),
            // The copy at the beginning still holds.
            _ => same(&content(&*opened(&image).disk), &std::fs::read(&raw).expect("the raw disk")),
        }
    }
}

#[test]
fn refuses_what_is_no_image() {
    let bench = Bench::new();
    let cases: [(&str, &[u8], &str); 6] = [
        ("notes.vhdx", b"Dear diary, this is no disk image at all. ", "44 65 61 72"),
        ("empty.raw", b"", "an empty file"),
        ("zeros", &[0; 9000], "zeros"),
        ("a.vmdk", b"COWD\x01\0\0\0", "an ESX VMDK"),
        ("a.vhdx.gz", b"\x1f\x8b\x08\0", "a gzip file; unpack it"),
        ("short", b"x", "78"),
    ];
    for (name, bytes, found) in cases {
        let path = bench.path(name);
        std::fs::write(&path, bytes).expect("a file");
        let (error, next) = refusal(&path);
        assert!(error.contains("not a disk image drill knows") && error.contains(found), "{error}");
        assert!(next.contains("qemu-img"), "{next}");
    }
}

#[test]
fn refuses_what_is_no_file() {
    let bench = Bench::new();
    assert!(refusal(&bench.path("missing")).0.contains("No such file"));
    assert!(refusal(&bench.path(".")).0.contains("directory"));
    run("mkfifo", [text(&bench.path("pipe"))]);
    assert!(refusal(&bench.path("pipe")).0.contains("pipe"));
    assert!(refusal(Path::new("/dev/zero")).0.contains("character device"));
}

#[test]
fn a_source_that_changed_is_noticed() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 12);
    let found = opened(&raw);
    found.unchanged().expect("untouched");
    patch(&raw, 5000, b"x");
    let error = found.unchanged().expect_err("a write").to_string();
    assert!(error.contains("changed while it was in use"), "{error}");
    let found = opened(&raw);
    std::fs::copy(&raw, bench.path("copy")).expect("a copy");
    std::fs::rename(bench.path("copy"), &raw).expect("another file under the name");
    let error = found.unchanged().expect_err("another file").to_string();
    assert!(error.contains("inode") || error.contains("change time"), "{error}");
}
