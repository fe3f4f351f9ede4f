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
    let row = damaged;
    row("identifier", |i| patch(i, 0, b"V"), "?");
    row("both headers: CRC", |i| HEADERS.iter().for_each(|at| patch(i, at + 60, &[1])), "?");
    row("both headers: signature", headers(0, b"HEAD"), "?");
    row("version", headers(66, &[2]), "?");
    row("log version", headers(64, &[1]), "?");
    row("log length", headers(68, &[0, 0, 8, 0]), "?");
    row("log behind the end", headers(72, &[0, 0, 0, 0, 1]), "?");
    row("log in the metadata", headers(72, &[0, 0, 0x20]), "?");
    row("sequence", |i| both(i, HEADERS, 4096, 8, &[5]), "?");
    row("both tables: CRC", |i| TABLES.iter().for_each(|at| patch(i, at + 60, &[1])), "?");
    row("tables differ", |i| both(i, [0x40000; 2], 65536, 80, &[1]), "?");
    row("too many regions", tables(8, &[0, 8]), "?");
    row("one region", tables(8, &[1]), "?");
    row("unknown required region", tables(16, &[0]), "?");
    row("two of one kind", |i| both(i, TABLES, 65536, 48, &bytes_at(i, 0x30010, 16)), "?");
    row("region not at a whole MiB", tables(33, &[1]), "?");
    row("region behind the end", tables(37, &[1]), "?");
}

#[test]
fn metadata_items() {
    let row = damaged;
    row("signature", metadata(0, b"M"), "?");
    row("too many items", metadata(10, &[0, 8]), "?");
    row("missing item", metadata(10, &[4]), "?");
    row("unknown required item", metadata(32, &[0]), "?");
    row("item outside", metadata(32 + 18, &[0x10]), "?");
    row("item length", metadata(32 + 20, &[9]), "?");
    row("block size", metadata(65536, &[0, 0, 0x30, 0]), "?");
    row("block size", metadata(65536, &[0, 0, 0, 0x20]), "?");
    row("logical sectors of 1024", metadata(65536 + 32, &[0, 4]), "?");
    row("physical sectors of 0", metadata(65536 + 36, &[0, 0]), "?");
    row("part of a sector", virtual_len(3 * MIB + 1), "?");
    row("nothing", virtual_len(0), "?");
    row("more than 64 TiB", virtual_len((64 << 40) + 512), "?");
    row("wraps around", virtual_len(u64::MAX - 511), "?");
    row("more than the BAT has", virtual_len(1 << 40), "?");
}

#[test]
fn blocks() {
    let row = damaged;
    row("twice", bat(2, 4 * MIB | 6), "?");
    row("in the header section", bat(2, 6), "?");
    row("in the log", bat(2, MIB | 6), "?");
    row("in the BAT", bat(2, 3 * MIB | 6), "?");
    row("behind the end", bat(2, 6 * MIB | 6), "?");
    row("far behind the end", bat(2, !7 | 6), "?");
    row("partly present, no parent", bat(2, 5 * MIB | 7), "?");
    row("reserved state", bat(1, 5), "?");
}

#[test]
fn cut_short() {
    let row = damaged;
    row("nothing left of it", cut(8), "?");
    row("in the first header", cut(0x10800), "?");
    row("no region table", cut(0x30000), "?");
    row("in the log", cut(MIB + 4096), "?");
    row("in the BAT", cut(3 * MIB + 4096), "?");
    row("the last sector of the last block", cut(6 * MIB - 512), "?");
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
    logged("no entry", &[], "?");
    changed("only of another log", &[(0, 7, 0, zero())], |_, e| put(e, 32, &[0xFF], true), "?");
    changed("only a torn one", &[(0, 7, 0, zero())], |_, e| put(e, 70, &[1], false), "?");
    changed("length", &[(0, 7, 0, zero())], |_, e| put(e, 8, &[1], false), "?");
    logged("tail elsewhere", &[(0, 7, 8192, zero())], "?");
    let three = [(0, 7, 0, zero()), (4096, 8, 0, zero()), (8192, 9, 0, zero())];
    changed("hole", &three, |n, e| if n == 8 { put(e, 70, &[1], false) } else { e }, "?");
    changed("first torn", &three, |n, e| if n == 7 { put(e, 70, &[1], false) } else { e }, "?");
    logged("number missing", &[(0, 7, 0, zero()), (4096, 9, 0, zero())], "?");
    logged("two of one number", &[(0, 7, 0, zero()), (8192, 7, 8192, zero())], "?");
    let apart = [(0, 7, 0, zero()), (16384, 8, 0, zero())];
    changed("torn elsewhere", &apart, |n, e| if n == 8 { put(e, 70, &[1], false) } else { e }, "?");
}

#[test]
fn log_entries_that_make_no_sense() {
    let one = |change: Change| [(0, 7, 0, vec![change])];
    let data = |at| one(Change::Data(at, vec![1; 4096]));
    let zero = |at, len| one(Change::Zero(at, len));
    logged("into a header", &data(0x10000), "?");
    logged("into the log", &data(2 * MIB - 4096), "?");
    logged("over the log", &zero(0x40000, 2 * MIB), "?");
    logged("beyond the file", &data(6 * MIB), "?");
    logged("wraps around", &zero(!4095, 8192), "?");
    logged("unaligned", &data(BAT_AT + 512), "?");
    logged("part of a sector", &zero(BAT_AT, 512), "?");
    logged("nothing", &zero(BAT_AT, 0), "?");
    let changed = |row, at, bytes: &'static [u8], text| {
        changed(row, &data(BAT_AT), |_, e| put(e, at, bytes, true), text);
    };
    changed("sequence number 0", 16, &[0], "?");
    changed("tail not aligned", 12, &[1], "?");
    changed("tail outside", 12, &[0, 0, 0x10], "?");
    changed("too many descriptors", 24, &[255], "?");
    changed("far too many descriptors", 24, &[255, 255, 255, 255], "?");
    changed("a descriptor without data", 24, &[2], "?");
    changed("signature of a descriptor", 64, b"DESC", "?");
    changed("number of a descriptor", 64 + 24, &[8], "?");
    changed("signature of data", 4096, b"DATA", "?");
    changed("number of data", 8188, &[8], "?");
    changed("truncated", 48, &[0, 0, 0, 1], "?");
    changed("length of the file", 62, &[1], "?");
}

#[test]
fn a_log_longer_than_the_bound() {
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    both(&image, HEADERS, 4096, 48, &LOG_ID);
    both(&image, HEADERS, 4096, 68, &(65u32 << 20).to_le_bytes());
    check(&bench, "65 MiB", "?", "?");
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
    check(&bench, "nested", "?", COPY_AGAIN);
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
    orphan("missing", &child(), nothing, "?", WHERE_PARENT);
    let shadow = small().child_of(PARENT_ID, "/etc/shadow");
    orphan("/etc/shadow", &shadow, nothing, "?", WHERE_PARENT);
    let link =
        |bench: &Bench| std::os::unix::fs::symlink("/etc/passwd", bench.path("parent")).expect("a link");
    orphan("a link", &child(), link, "?", WHERE_PARENT);
    let changed = |bench: &Bench| drop(Vhdx { data_id: [0xDB; 16], ..small() }.write(&bench.path("parent")));
    orphan("changed since", &child(), changed, "?", WHICH_PARENT);
    let sectors = |bench: &Bench| drop(Vhdx { sector: 4096, ..small() }.write(&bench.path("parent")));
    let next = "the two files do not belong together: take both from the original machine again";
    orphan("other sectors", &child(), sectors, "?", next);
    let raw = |bench: &Bench| std::fs::write(bench.path("parent"), [0; 4096]).expect("a file");
    orphan("not a VHDX", &child(), raw, "?", COPY_AGAIN);
    let next =
        "one of the files has another file's name: compare the names with those of the original machine";
    orphan("itself", &small().child_of([0xC1; 16], "image"), nothing, "?", next);
    let circle = |bench: &Bench| drop(small().child_of([0xC1; 16], "image").write(&bench.path("parent")));
    orphan("a circle", &child(), circle, "?", next);
}

#[test]
fn parent_locators() {
    let link = braced(PARENT_ID);
    let row = |row: &str, item: Vec<u8>, text: &str| {
        let child = Vhdx { locator: Some(item), ..child() };
        orphan(row, &child, |_| {}, text, COPY_AGAIN);
    };
    let pairs = |pairs: &[(&str, &str)]| locator(pairs);
    row("empty", vec![], "?");
    row("type", put(pairs(&[("parent_linkage", &link)]), 0, &[0], false), "?");
    row("count", put(pairs(&[("parent_linkage", &link)]), 18, &[65], false), "?");
    row("no linkage", pairs(&[("relative_path", "parent")]), "?");
    row("no GUID", pairs(&[("parent_linkage", "parent")]), "?");
    row("twice", pairs(&[("parent_linkage", &link), ("parent_linkage", &link)]), "?");
    row("text outside", put(pairs(&[("parent_linkage", &link)]), 24, &[0, 1], false), "?");
    row("half a letter", put(pairs(&[("parent_linkage", &link)]), 30, &[75], false), "?");
    row("long text", pairs(&[("relative_path", &"x".repeat(2049))]), "?");
    row("long locator", vec![0; (256 << 10) + 1], "?");
    let orphan_of = Vhdx { locator: Some(pairs(&[("parent_linkage", &link)])), ..child() };
    orphan("no name", &orphan_of, |_| {}, "?", WHERE_PARENT);
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
    orphan("missing", &partial, bitmap(0), "?", COPY_AGAIN);
    orphan("reserved state", &partial, bitmap(5 * MIB | 7), "?", COPY_AGAIN);
    orphan("outside", &partial, bitmap(6 * MIB | 6), "?", COPY_AGAIN);
    orphan("in a block", &partial, bitmap(4 * MIB | 6), "?", COPY_AGAIN);
    orphan("reserved state, not needed", &child(), bitmap(3), "?", COPY_AGAIN);
}

#[test]
fn one_damaged_copy_is_noted() {
    for (at, note) in [(0x10000, "?"), (0x20000, "?"), (0x30000, "?"), (0x40000, "?")] {
        let bench = Bench::new();
        let image = small().write(&bench.path("image"));
        patch(&image, at + 70, &[0xFF]);
        assert_eq!(opened(&image).info.notes, [note]);
    }
}
