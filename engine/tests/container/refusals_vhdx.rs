//! Every VHDX that is not read, and what the user is told: the whole text, and what to do next.

use crate::bench::{Bench, bytes_at, fix_crc, noise, opened, patch};
use crate::vhdx_builder::{
    BAT_AT, Block, Change, LOG_ID, LogEntry, METADATA_AT, Vhdx, braced, locator, make_dirty, parts, with_crc,
};
use engine::container::{Format, open};
use engine::units::MIB;
use std::path::Path;

const COPY_AGAIN: &str =
    "the file is damaged or was not copied whole: copy or replicate it again and compare checksums";
const WHICH_PARENT: &str = "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed";
const WHERE_PARENT: &str = "put the parent into the same folder, or give it with --parent FILE";

/// Three blocks of 1 MiB at 4 and 5 MiB, the second one not there.
fn small() -> Vhdx {
    Vhdx::new(3 * MIB, MIB, 512)
        .block(0, Block::Full(noise(1, MIB as usize)))
        .block(2, Block::Full(noise(2, MIB as usize)))
}

/// Opens the file `image` of a bench. Names of the folder are taken out of the error.
#[track_caller]
fn check(bench: &Bench, row: &str, text: &str, next: &str) {
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
fn both(image: &Path, at: [u64; 2], len: usize, offset: u64, bytes: &[u8]) {
    for at in at {
        patch(image, at + offset, bytes);
        fix_crc(image, at, len);
    }
}

const HEADERS: [u64; 2] = [0x10000, 0x20000];
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
        bat(2, 4 * MIB | 6),
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
        bat(2, 3 * MIB | 6),
        "FILE: VHDX: payload block 2 at 0x300010: wanted a place of its own, found 0x100000 bytes at 0x300000, where something else is at 0x300000",
    );
    damaged(
        "behind the end",
        bat(2, 6 * MIB | 6),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x600000, found offset 0x600000: the file is truncated or the entry is damaged",
    );
    damaged(
        "far behind the end",
        bat(2, !7 | 6),
        "FILE: VHDX: BAT entry of block 2 at 0x300010: wanted 0x100000 bytes within the file's 0x600000, found offset 0xfffffffffff00000: the file is truncated or the entry is damaged",
    );
    damaged(
        "partly present, no parent",
        bat(2, 5 * MIB | 7),
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

/// A small image with what `entries` makes in its log: place, sequence number, tail, changes.
#[track_caller]
fn logged(row: &str, entries: &[(u64, u64, u32, Vec<Change>)], text: &str) {
    changed(row, entries, |_, bytes| bytes, text);
}

/// The same with the entries changed.
#[track_caller]
fn changed(
    row: &str,
    entries: &[(u64, u64, u32, Vec<Change>)],
    change: impl Fn(u64, Vec<u8>) -> Vec<u8>,
    text: &str,
) {
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    let parts = parts(&image);
    let log: Vec<(u64, Vec<u8>)> = entries
        .iter()
        .map(|(place, sequence, tail, changes)| {
            let (sequence, tail, changes) = (*sequence, *tail, changes.clone());
            let (flushed, last) = (parts.file_len, parts.file_len);
            let entry = LogEntry { sequence, tail, log_id: LOG_ID, flushed, last, changes };
            (*place, change(sequence, entry.bytes()))
        })
        .collect();
    make_dirty(&image, parts, &log);
    check(&bench, row, text, COPY_AGAIN);
}

/// Put bytes into an entry, and perhaps the right checksum.
fn put(mut entry: Vec<u8>, at: usize, bytes: &[u8], crc: bool) -> Vec<u8> {
    entry[at..at + bytes.len()].copy_from_slice(bytes);
    if crc { with_crc(entry) } else { entry }
}

#[test]
fn logs_without_a_complete_sequence() {
    let zero = || vec![Change::Zero(BAT_AT, 4096)];
    logged(
        "no entry",
        &[],
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found no entry at all",
    );
    changed(
        "only of another log",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 32, &[0xFF], true),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found only entries of other logs, 1 of them",
    );
    changed(
        "only a torn one",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 70, &[1], false),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, which is torn: its CRC-32C is 0x3fc2b892, computed 0x7c6ebc22",
    );
    changed(
        "length",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 8, &[1], false),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, which is torn: its length is 0x1001, wanted a multiple of 4096 within the log's 0x100000 bytes",
    );
    logged(
        "tail elsewhere",
        &[(0, 7, 8192, zero())],
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, whose sequence should begin with the entry at 0x102000, but that one does not lead to it",
    );
    let three = [(0, 7, 0, zero()), (4096, 8, 0, zero()), (8192, 9, 0, zero())];
    changed(
        "hole",
        &three,
        |n, e| if n == 8 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log entry 9 at 0x102000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    changed(
        "first torn",
        &three,
        |n, e| if n == 7 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 9 at 0x102000, whose sequence should begin with the entry at 0x100000, but that one does not lead to it",
    );
    logged(
        "number missing",
        &[(0, 7, 0, zero()), (4096, 9, 0, zero())],
        "FILE: VHDX: log entry 9 at 0x101000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    logged(
        "two of one number",
        &[(0, 7, 0, zero()), (8192, 7, 8192, zero())],
        "FILE: VHDX: log entry 7 at 0x102000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    let apart = [(0, 7, 0, zero()), (16384, 8, 0, zero())];
    changed(
        "torn elsewhere",
        &apart,
        |n, e| if n == 8 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log entry 8 at 0x104000: wanted a sound entry, or its place right behind the last sound one at 0x101000, found its CRC-32C is 0xd47a7f0f, computed 0x97d67bbf",
    );
}

#[test]
fn log_entries_that_make_no_sense() {
    let one = |change: Change| [(0, 7, 0, vec![change])];
    let data = |at| one(Change::Data(at, vec![1; 4096]));
    let zero = |at, len| one(Change::Zero(at, len));
    logged(
        "into a header",
        &data(0x10000),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place behind the headers, from 0x30000 on, found 0x1000 bytes at 0x10000",
    );
    logged(
        "into the log",
        &data(2 * MIB - 4096),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place outside the log itself, found 0x1000 bytes at 0x1ff000",
    );
    logged(
        "over the log",
        &zero(0x40000, 2 * MIB),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place outside the log itself, found 0x200000 bytes at 0x40000",
    );
    logged(
        "beyond the file",
        &data(6 * MIB),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place within the 0x600000 bytes the entry says the file has, found 0x1000 bytes at 0x600000",
    );
    logged(
        "wraps around",
        &zero(!4095, 8192),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place within the 0x600000 bytes the entry says the file has, found 0x2000 bytes at 0xfffffffffffff000",
    );
    logged(
        "unaligned",
        &data(BAT_AT + 512),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x1000 bytes at 0x300200",
    );
    logged(
        "part of a sector",
        &zero(BAT_AT, 512),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x200 bytes at 0x300000",
    );
    logged(
        "nothing",
        &zero(BAT_AT, 0),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x0 bytes at 0x300000",
    );
    let twice = |_: u64, e: Vec<u8>| {
        let descriptor = e[64..96].to_vec();
        put(put(e, 96, &descriptor, false), 24, &[2], true)
    };
    changed(
        "two descriptors, one sector of data",
        &data(BAT_AT),
        twice,
        "FILE: VHDX: data of descriptor 1 of log entry 7 at 0x100060: wanted a sector within the entry, found none left",
    );
    let changed = |row, at, bytes: &'static [u8], text| {
        changed(row, &data(BAT_AT), |_, e| put(e, at, bytes, true), text);
    };
    changed(
        "sequence number 0",
        16,
        &[0],
        "FILE: VHDX: sequence number of log entry 0 at 0x100000: wanted more than 0, found 0x0",
    );
    changed(
        "tail not aligned",
        12,
        &[1],
        "FILE: VHDX: tail of log entry 7 at 0x100000: wanted a multiple of 4096 below 0x100000, found 0x1",
    );
    changed(
        "tail outside",
        12,
        &[0, 0, 0x10],
        "FILE: VHDX: tail of log entry 7 at 0x100000: wanted a multiple of 4096 below 0x100000, found 0x100000",
    );
    changed(
        "too many descriptors",
        24,
        &[255],
        "FILE: VHDX: descriptor count of log entry 7 at 0x100000: wanted as many as fit into 0x2000 bytes, found 0xff",
    );
    changed(
        "far too many descriptors",
        24,
        &[255, 255, 255, 255],
        "FILE: VHDX: descriptor count of log entry 7 at 0x100000: wanted as many as fit into 0x2000 bytes, found 0xffffffff",
    );
    changed(
        "a descriptor of nothing",
        24,
        &[2],
        "FILE: VHDX: sequence number of descriptor 1 of log entry 7 at 0x100060: wanted 7, found 0",
    );
    changed(
        "signature of a descriptor",
        64,
        b"DESC",
        "FILE: VHDX: signature of descriptor 0 of log entry 7 at 0x100040: wanted `zero` or `desc`, found [44, 45, 53, 43]",
    );
    changed(
        "number of a descriptor",
        64 + 24,
        &[8],
        "FILE: VHDX: sequence number of descriptor 0 of log entry 7 at 0x100040: wanted 7, found 8",
    );
    changed(
        "signature of data",
        4096,
        b"DATA",
        "FILE: VHDX: data sector of log entry 7 at 0x101000: wanted `data` and sequence number 7, found [44, 41, 54, 41] and 7",
    );
    changed(
        "number of data",
        8188,
        &[8],
        "FILE: VHDX: data sector of log entry 7 at 0x101000: wanted `data` and sequence number 7, found [64, 61, 74, 61] and 8",
    );
    changed(
        "truncated",
        48,
        &[0, 0, 0, 1],
        "FILE: VHDX: log entry 7 at 0x100000: wanted a file of at least the 0x1000000 bytes that it calls flushed, found 0x600000 bytes: the file is truncated",
    );
    changed(
        "length of the file",
        62,
        &[1],
        "FILE: VHDX: last file offset of log entry 7 at 0x100000: wanted at most 0x800000000000, found 0x1000000600000",
    );
}

#[test]
fn a_log_longer_than_the_bound() {
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    both(&image, HEADERS, 4096, 48, &LOG_ID);
    both(&image, HEADERS, 4096, 68, &(65u32 << 20).to_le_bytes());
    check(
        &bench,
        "65 MiB",
        "FILE: a VHDX with changes in a log of 0x4100000 bytes, wanted at most 0x4000000",
        "replay the log on a copy: attach and detach it once in Hyper-V (Mount-VHD, Dismount-VHD), or run `qemu-img check -r all`",
    );
}

#[test]
fn log_entries_within_entries() {
    // Each sector is the head of an entry that reaches to the end of the log: 256 of them would be 32 MiB of checksums, and in a log of 64 MiB
    // half a terabyte.
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    let parts = parts(&image);
    let head =
        LogEntry { sequence: 7, tail: 0, log_id: LOG_ID, flushed: 0, last: 0, changes: vec![] }.bytes();
    let entries: Vec<(u64, Vec<u8>)> = (0..256u32)
        .map(|i| (u64::from(i) * 4096, put(head.clone(), 8, &(MIB as u32 - i * 4096).to_le_bytes(), false)))
        .collect();
    make_dirty(&image, parts, &entries);
    check(
        &bench,
        "nested",
        "FILE: VHDX: log at 0x110000: wanted entries one after another, found entries that lie in one another",
        COPY_AGAIN,
    );
}

const PARENT_ID: [u8; 16] = [0xDA; 16];

fn child() -> Vhdx {
    small().child_of(PARENT_ID, "parent")
}

/// A child, with what else is in its folder.
#[track_caller]
fn orphan(row: &str, child: &Vhdx, prepare: impl Fn(&Bench), text: &str, next: &str) {
    let bench = Bench::new();
    child.write(&bench.path("image"));
    prepare(&bench);
    check(&bench, row, text, next);
}

#[test]
fn parents() {
    let nothing = |_: &Bench| {};
    orphan(
        "missing",
        &child(),
        nothing,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: opening DIR/parent: No such file or directory (os error 2)",
        WHERE_PARENT,
    );
    let shadow = small().child_of(PARENT_ID, "/etc/shadow");
    orphan(
        "/etc/shadow",
        &shadow,
        nothing,
        "FILE: a differencing VHDX that needs a parent named \"/etc/shadow\", which was not found; tried: opening DIR/shadow: No such file or directory (os error 2)",
        WHERE_PARENT,
    );
    let link =
        |bench: &Bench| std::os::unix::fs::symlink("/etc/passwd", bench.path("parent")).expect("a link");
    orphan(
        "a link",
        &child(),
        link,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: opening DIR/parent: Too many levels of symbolic links (os error 40)",
        WHERE_PARENT,
    );
    let changed = |bench: &Bench| drop(Vhdx { data_id: [0xDB; 16], ..small() }.write(&bench.path("parent")));
    orphan(
        "changed since",
        &child(),
        changed,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: DIR/parent: its data write GUID is DBDBDBDB-DBDB-DBDB-DBDB-DBDBDBDBDBDB, the child was made from DADADADA-DADA-DADA-DADA-DADADADADADA: it is another disk, or was changed after the child was made",
        WHICH_PARENT,
    );
    let sectors = |bench: &Bench| drop(Vhdx { sector: 4096, ..small() }.write(&bench.path("parent")));
    let next = "the two files do not belong together: take both from the original machine again";
    orphan(
        "other sectors",
        &child(),
        sectors,
        "FILE: a differencing VHDX with sectors of 512 bytes on a parent, DIR/parent, with sectors of 4096",
        next,
    );
    let raw = |bench: &Bench| std::fs::write(bench.path("parent"), [0; 4096]).expect("a file");
    orphan(
        "not a VHDX",
        &child(),
        raw,
        "DIR/parent: VHDX: file identifier at 0x0: wanted `vhdxfile`, found [00, 00, 00, 00, 00, 00, 00, 00]",
        COPY_AGAIN,
    );
    let next =
        "one of the files has another file's name: compare the names with those of the original machine";
    orphan(
        "itself",
        &small().child_of([0xC1; 16], "image"),
        nothing,
        "FILE: is in its own chain of parents: the chain is a loop",
        next,
    );
    let circle = |bench: &Bench| drop(small().child_of([0xC1; 16], "image").write(&bench.path("parent")));
    orphan("a circle", &child(), circle, "FILE: is in its own chain of parents: the chain is a loop", next);
}

#[test]
fn parent_locators() {
    let link = braced(PARENT_ID);
    let row = |row: &str, item: Vec<u8>, text: &str| {
        let child = Vhdx { locator: Some(item), ..child() };
        orphan(row, &child, |_| {}, text, COPY_AGAIN);
    };
    let pairs = |pairs: &[(&str, &str)]| locator(pairs);
    row("empty", vec![], "FILE: VHDX: parent locator at 0x210028: wanted 20 bytes at least, found 0");
    row(
        "type",
        put(pairs(&[("parent_linkage", &link)]), 0, &[0], false),
        "FILE: VHDX: type of the parent locator at 0x210028: wanted B04AEFB7-D19E-4A81-B789-25B8E9445913, found B04AEF00-D19E-4A81-B789-25B8E9445913",
    );
    row(
        "count",
        put(pairs(&[("parent_linkage", &link)]), 18, &[65], false),
        "FILE: VHDX: entry count of the parent locator at 0x210028: wanted at most 9, found 65",
    );
    row(
        "no linkage",
        pairs(&[("relative_path", "parent")]),
        "FILE: VHDX: parent locator at 0x210028: wanted the key parent_linkage, found none",
    );
    row(
        "no GUID",
        pairs(&[("parent_linkage", "parent")]),
        "FILE: VHDX: parent_linkage at 0x210028: wanted a GUID, found \"parent\"",
    );
    row(
        "twice",
        pairs(&[("parent_linkage", &link), ("parent_linkage", &link)]),
        "FILE: VHDX: parent locator at 0x210028: wanted one \"parent_linkage\", found two, \"{dadadada-dada-dada-dada-dadadadadada}\" first",
    );
    row(
        "text outside",
        put(pairs(&[("parent_linkage", &link)]), 24, &[0, 1], false),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted text within the locator's 136 bytes, found 76 bytes at offset 0x100",
    );
    row(
        "half a letter",
        put(pairs(&[("parent_linkage", &link)]), 30, &[75], false),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted UTF-16 of at most 4096 bytes, found 75 bytes at offset 0x3c",
    );
    row(
        "long text",
        pairs(&[("relative_path", &"x".repeat(2049))]),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted UTF-16 of at most 4096 bytes, found 4098 bytes at offset 0x3a",
    );
    row(
        "long locator",
        vec![0; (256 << 10) + 1],
        "FILE: VHDX: item parent locator at 0x210028: wanted at most 262144 bytes, found 262145",
    );
    let orphan_of = Vhdx { locator: Some(pairs(&[("parent_linkage", &link)])), ..child() };
    orphan(
        "no name",
        &orphan_of,
        |_| {},
        "FILE: a differencing VHDX that needs a parent without naming it, which was not found; tried: nothing",
        WHERE_PARENT,
    );
}

#[test]
fn sector_bitmaps() {
    let bitmap = |entry: u64| {
        move |bench: &Bench| {
            let image = bench.path("image");
            patch(&image, child().bitmap_entry_at(0), &entry.to_le_bytes());
            small().write(&bench.path("parent"));
        }
    };
    let partial = Vhdx { blocks: vec![(1, Block::Partial(noise(1, MIB as usize), vec![3]))], ..child() };
    orphan(
        "missing",
        &partial,
        bitmap(0),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 6, because block 1 is partly present, found 0",
        COPY_AGAIN,
    );
    orphan(
        "reserved state",
        &partial,
        bitmap(5 * MIB | 7),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 0 or 6, found 7",
        COPY_AGAIN,
    );
    orphan(
        "outside",
        &partial,
        bitmap(6 * MIB | 6),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted 0x100000 bytes within the file's 0x600000, found offset 0x600000: the file is truncated or the entry is damaged",
        COPY_AGAIN,
    );
    orphan(
        "in a block",
        &partial,
        bitmap(4 * MIB | 6),
        "FILE: VHDX: sector bitmap 0 at 0x308000: wanted a place of its own, found 0x100000 bytes at 0x400000, where something else is at 0x400000",
        COPY_AGAIN,
    );
    orphan(
        "reserved state, not needed",
        &child(),
        bitmap(3),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 0 or 6, found 3",
        COPY_AGAIN,
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
