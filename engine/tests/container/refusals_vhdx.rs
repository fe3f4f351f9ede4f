//! Every VHDX that is not read, and what the user is told: the whole text, and what to do next.

use crate::bench::{Bench, bytes_at, fix_crc, noise, opened, patch};
use crate::vhdx_builder::{BAT_AT, Block, METADATA_AT, Vhdx, with_crc};
use engine::container::{Format, open};
use engine::units::MIB;
use std::path::Path;

pub const COPY_AGAIN: &str =
    "the file is damaged or was not copied whole: copy or replicate it again and compare checksums";

/// Three blocks of 1 MiB at 4 and 5 MiB, the second one not there.
pub fn small() -> Vhdx {
    Vhdx::new(3 * MIB, MIB, 512)
        .block(0, Block::Full(noise(1, MIB as usize)))
        .block(2, Block::Full(noise(2, MIB as usize)))
}

/// Opens the file `image` of a bench. Names of the folder are taken out of the error.
#[track_caller]
pub fn check(bench: &Bench, row: &str, text: &str, next: &str) {
    let image = bench.path("image");
    let error = open(&image, Some(Format::Vhdx)).err().unwrap_or_else(|| panic!("{row}: was read"));
    let folder = bench.path("");
    let found = error.to_string().replace(&image.display().to_string(), "FILE");
    let found = found.replace(&folder.display().to_string(), "DIR/");
    assert_eq!((found.as_str(), error.next()), (text, next), "{row}");
}

/// A small image, damaged.
#[track_caller]
fn damaged(row: &str, damage: impl Fn(&Path), text: &str) {
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    opened(&image);
    damage(&image);
    check(&bench, row, text, COPY_AGAIN);
}

/// Change both headers or both region tables, with the right checksum.
pub fn both(image: &Path, at: [u64; 2], len: usize, offset: u64, bytes: &[u8]) {
    for at in at {
        patch(image, at + offset, bytes);
        fix_crc(image, at, len);
    }
}

/// Put bytes into an entry, and perhaps the right checksum.
pub fn put(mut entry: Vec<u8>, at: usize, bytes: &[u8], crc: bool) -> Vec<u8> {
    entry[at..at + bytes.len()].copy_from_slice(bytes);
    if crc { with_crc(entry) } else { entry }
}

pub const HEADERS: [u64; 2] = [0x10000, 0x20000];
const TABLES: [u64; 2] = [0x30000, 0x40000];

fn headers(offset: u64, bytes: &'static [u8]) -> impl Fn(&Path) {
    move |image| both(image, HEADERS, 4096, offset, bytes)
}

fn tables(offset: u64, bytes: &'static [u8]) -> impl Fn(&Path) {
    move |image| both(image, TABLES, 65536, offset, bytes)
}

/// Change the metadata table, or from 64 KiB on its items: block size and flags, virtual size at 8, id at 16, sector sizes at 32 and 36.
fn metadata(offset: u64, bytes: &'static [u8]) -> impl Fn(&Path) {
    move |image| patch(image, METADATA_AT + offset, bytes)
}

fn virtual_len(len: u64) -> impl Fn(&Path) {
    move |image| patch(image, METADATA_AT + 65536 + 8, &len.to_le_bytes())
}

fn bat(block: u64, entry: u64) -> impl Fn(&Path) {
    move |image| patch(image, BAT_AT + block * 8, &entry.to_le_bytes())
}

fn cut(len: u64) -> impl Fn(&Path) {
    move |image| {
        let file = std::fs::OpenOptions::new().write(true).open(image).expect("a file of ours");
        file.set_len(len).expect("shorter");
    }
}

#[test]
fn headers_and_region_tables() {
    damaged(
        "identifier",
        |i| patch(i, 0, b"V"),
        "FILE: VHDX: file identifier at 0x0: wanted `vhdxfile`, found [56, 68, 64, 78, 66, 69, 6c, 65]",
    );
    damaged(
        "both headers: CRC",
        |i| HEADERS.iter().for_each(|at| patch(i, at + 60, &[1])),
        "FILE: VHDX: header CRC-32C at 0x10000: wanted 0xc298ae25, found 0x6def0c8f; the other header is no better: header CRC-32C at 0x20000: wanted 0x407d7c4d, found 0xef0adee7",
    );
    damaged(
        "both headers: signature",
        headers(0, b"HEAD"),
        "FILE: VHDX: header signature at 0x10000: wanted `head`, found [48, 45, 41, 44]; the other header is no better: header signature at 0x20000: wanted `head`, found [48, 45, 41, 44]",
    );
    damaged(
        "version",
        headers(66, &[2]),
        "FILE: VHDX: header version at 0x10000: wanted 1, found 2; the other header is no better: header version at 0x20000: wanted 1, found 2",
    );
    damaged(
        "log version",
        headers(64, &[1]),
        "FILE: VHDX: header log version at 0x10000: wanted 0, found 1; the other header is no better: header log version at 0x20000: wanted 0, found 1",
    );
    damaged(
        "log length",
        headers(68, &[0, 0, 8, 0]),
        "FILE: VHDX: header log at 0x10000: wanted whole MiB, from 1 MiB on, found 0x80000 bytes at 0x100000; the other header is no better: header log at 0x20000: wanted whole MiB, from 1 MiB on, found 0x80000 bytes at 0x100000",
    );
    damaged(
        "log behind the end",
        headers(72, &[0, 0, 0, 0, 1]),
        "FILE: VHDX: log at 0x20000: wanted all of it within the file's 0x600000 bytes, found 0x100000 bytes at 0x100000000: the file is truncated",
    );
    damaged(
        "log in the metadata",
        headers(72, &[0, 0, 0x20]),
        "FILE: VHDX: region 8B7CA206-4790-4B9A-B8FE-575F050F886E at 0x30000: wanted a place of its own, found 0x100000 bytes at 0x200000, where something else is at 0x200000",
    );
    let same_number = |i: &Path| {
        patch(i, 0x10010, &[9]);
        both(i, HEADERS, 4096, 8, &[5]);
    };
    damaged(
        "two headers of one number",
        same_number,
        "FILE: VHDX: second header at 0x20000: wanted a sequence number other than that of the header at 0x10000, found 5",
    );
    damaged(
        "both tables: CRC",
        |i| TABLES.iter().for_each(|at| patch(i, at + 60, &[1])),
        "FILE: VHDX: region table CRC-32C at 0x30000: wanted 0xffc2c7a3, found 0xc66b8cae; the other region table is no better: region table CRC-32C at 0x40000: wanted 0xffc2c7a3, found 0xc66b8cae",
    );
    damaged(
        "tables differ",
        |i| both(i, [0x40000; 2], 65536, 76, &[0]),
        "FILE: VHDX: second region table at 0x40000: wanted the same as the region table at 0x30000, found another valid one",
    );
    damaged(
        "too many regions",
        tables(8, &[0, 8]),
        "FILE: VHDX: region table entry count at 0x30000: wanted at most 2047, found 2048; the other region table is no better: region table entry count at 0x40000: wanted at most 2047, found 2048",
    );
    damaged(
        "one region",
        tables(8, &[1]),
        "FILE: VHDX: region table at 0x30000: wanted a metadata region, found none",
    );
    damaged(
        "unknown required region",
        tables(16, &[0]),
        "FILE: VHDX: region table at 0x30000: wanted known required regions, found 2DC27700-F623-4200-9D64-115E9BFD4A08",
    );
    damaged(
        "two of one kind",
        |i| both(i, TABLES, 65536, 48, &bytes_at(i, 0x30010, 16)),
        "FILE: VHDX: region table at 0x30000: wanted one region 2DC27766-F623-4200-9D64-115E9BFD4A08, found two",
    );
    damaged(
        "region not at a whole MiB",
        tables(33, &[1]),
        "FILE: VHDX: region table entry at 0x30000: wanted whole MiB, from 1 MiB on, found 0x100000 bytes at 0x300100; the other region table is no better: region table entry at 0x40000: wanted whole MiB, from 1 MiB on, found 0x100000 bytes at 0x300100",
    );
    damaged(
        "region behind the end",
        tables(37, &[1]),
        "FILE: VHDX: region 2DC27766-F623-4200-9D64-115E9BFD4A08 at 0x30000: wanted all of it within the file's 0x600000 bytes, found 0x100000 bytes at 0x10000300000: the file is truncated",
    );
}

#[test]
fn metadata_items() {
    damaged(
        "signature",
        metadata(0, b"M"),
        "FILE: VHDX: metadata table signature at 0x200000: wanted `metadata`, found [4d, 65, 74, 61, 64, 61, 74, 61]",
    );
    damaged(
        "too many items",
        metadata(10, &[0, 8]),
        "FILE: VHDX: metadata table entry count at 0x200000: wanted at most 2047, found 2048",
    );
    damaged(
        "missing item",
        metadata(10, &[4]),
        "FILE: VHDX: metadata table at 0x200000: wanted the item physical sector size (CDA348C7-445D-4471-9CC9-E9885251C556), found none",
    );
    damaged(
        "unknown required item",
        metadata(32, &[0]),
        "FILE: VHDX: metadata table at 0x200000: wanted known required items, found CAA16700-FA36-4D43-B3B6-33F0AA44E76B",
    );
    damaged(
        "item outside",
        metadata(32 + 18, &[0x10]),
        "FILE: VHDX: metadata table entry at 0x200000: wanted item CAA16737-FA36-4D43-B3B6-33F0AA44E76B within the metadata region of 0x100000 bytes, found 0x8 bytes at offset 0x100000",
    );
    damaged(
        "item length",
        metadata(32 + 20, &[9]),
        "FILE: VHDX: item file parameters at 0x210000: wanted 8 bytes, found 9",
    );
    damaged(
        "block size",
        metadata(65536, &[0, 0, 0x30, 0]),
        "FILE: VHDX: block size at 0x210000: wanted a power of two from 1 MiB to 256 MiB, found 3145728",
    );
    damaged(
        "block size",
        metadata(65536, &[0, 0, 0, 0x20]),
        "FILE: VHDX: block size at 0x210000: wanted a power of two from 1 MiB to 256 MiB, found 536870912",
    );
    damaged(
        "logical sectors of 1024",
        metadata(65536 + 32, &[0, 4]),
        "FILE: VHDX: logical sector size at 0x210020: wanted 512 or 4096, found 1024",
    );
    damaged(
        "physical sectors of 0",
        metadata(65536 + 36, &[0, 0]),
        "FILE: VHDX: physical sector size at 0x210024: wanted 512 or 4096, found 0",
    );
    damaged(
        "part of a sector",
        virtual_len(3 * MIB + 1),
        "FILE: VHDX: virtual disk size at 0x210008: wanted whole sectors of 512 bytes, at most 64 TiB, found 3145729",
    );
    damaged(
        "nothing",
        virtual_len(0),
        "FILE: VHDX: virtual disk size at 0x210008: wanted whole sectors of 512 bytes, at most 64 TiB, found 0",
    );
    damaged(
        "more than 64 TiB",
        virtual_len((64 << 40) + 512),
        "FILE: VHDX: virtual disk size at 0x210008: wanted whole sectors of 512 bytes, at most 64 TiB, found 70368744178176",
    );
    damaged(
        "wraps around",
        virtual_len(u64::MAX - 511),
        "FILE: VHDX: virtual disk size at 0x210008: wanted whole sectors of 512 bytes, at most 64 TiB, found 18446744073709551104",
    );
    damaged(
        "more than the BAT has",
        virtual_len(1 << 40),
        "FILE: VHDX: BAT region length at 0x300000: wanted at least 0x8007f8, found 0x100000",
    );
}

#[test]
fn blocks() {
    damaged(
        "twice",
        bat(2, (4 * MIB) | 6),
        "FILE: VHDX: payload block 2 at 0x300010: wanted a place of its own, found 0x100000 bytes at 0x400000, where something else is at 0x400000",
    );
    damaged(
        "in the header section",
        bat(2, 6),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x600000, found offset 0x0: the file is truncated or the entry is damaged",
    );
    damaged(
        "in the log",
        bat(2, MIB | 6),
        "FILE: VHDX: payload block 2 at 0x300010: wanted a place of its own, found 0x100000 bytes at 0x100000, where something else is at 0x100000",
    );
    damaged(
        "in the BAT",
        bat(2, (3 * MIB) | 6),
        "FILE: VHDX: payload block 2 at 0x300010: wanted a place of its own, found 0x100000 bytes at 0x300000, where something else is at 0x300000",
    );
    damaged(
        "behind the end",
        bat(2, (6 * MIB) | 6),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x600000, found offset 0x600000: the file is truncated or the entry is damaged",
    );
    damaged(
        "far behind the end",
        bat(2, !7 | 6),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x600000, found offset 0xfffffffffff00000: the file is truncated or the entry is damaged",
    );
    damaged(
        "partly present, no parent",
        bat(2, (5 * MIB) | 7),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted state 0, 1, 2, 3 or 6 on a disk without parent, found 7",
    );
    damaged(
        "reserved state",
        bat(1, 5),
        "FILE: VHDX: BAT entry of block 1 at 0x300008: wanted state 0, 1, 2, 3 or 6 on a disk without parent, found 5",
    );
}

#[test]
fn cut_short() {
    damaged(
        "nothing left of it",
        cut(8),
        "FILE: VHDX: end of file at 0x8: wanted 520 bytes at 0x0, found a shorter file",
    );
    damaged(
        "in the first header",
        cut(0x10800),
        "FILE: VHDX: end of file at 0x10800: wanted 4096 bytes at 0x10000, found a shorter file; the other header is no better: end of file at 0x10800: wanted 4096 bytes at 0x20000, found a shorter file",
    );
    damaged(
        "no region table",
        cut(0x30000),
        "FILE: VHDX: log at 0x20000: wanted all of it within the file's 0x30000 bytes, found 0x100000 bytes at 0x100000: the file is truncated",
    );
    damaged(
        "in the log",
        cut(MIB + 4096),
        "FILE: VHDX: log at 0x20000: wanted all of it within the file's 0x101000 bytes, found 0x100000 bytes at 0x100000: the file is truncated",
    );
    damaged(
        "in the BAT",
        cut(3 * MIB + 4096),
        "FILE: VHDX: region 2DC27766-F623-4200-9D64-115E9BFD4A08 at 0x30000: wanted all of it within the file's 0x301000 bytes, found 0x100000 bytes at 0x300000: the file is truncated",
    );
    damaged(
        "the last sector of the last block",
        cut(6 * MIB - 512),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x5ffe00, found offset 0x500000: the file is truncated or the entry is damaged",
    );
}

#[test]
fn one_damaged_copy_is_noted() {
    for (at, note) in [
        (
            0x10000,
            "one of the two headers is not valid, the one at 0x20000 was used: header CRC-32C at 0x10000: wanted 0x35ba3f45, found 0x6def0c8f",
        ),
        (
            0x20000,
            "one of the two headers is not valid, the one at 0x10000 was used: header CRC-32C at 0x20000: wanted 0xb75fed2d, found 0xef0adee7",
        ),
        (
            0x30000,
            "one of the two region tables is not valid, the one at 0x40000 was used: region table CRC-32C at 0x30000: wanted 0x29b198dc, found 0xc66b8cae",
        ),
        (
            0x40000,
            "one of the two region tables is not valid, the one at 0x30000 was used: region table CRC-32C at 0x40000: wanted 0x29b198dc, found 0xc66b8cae",
        ),
    ] {
        let bench = Bench::new();
        let image = small().write(&bench.path("image"));
        patch(&image, at + 70, &[0xFF]);
        assert_eq!(opened(&image).info.notes, [note]);
    }
}
