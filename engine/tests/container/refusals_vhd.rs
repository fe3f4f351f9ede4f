//! Each VHD that is refused, with the whole text that says so.

use crate::bench::{Bench, noise, text};
use crate::vhd_bytes::{HEADER_AT, Parent, STAMP, TABLE_AT, Vhd, fix_sum, put, utf16le};
use engine::container::{Format, Gate, OpenError, open_through};
use std::path::Path;

const LEN: u64 = 448 << 10;
/// Where the two blocks of [`sample`] lie: their bitmaps, a sector each, then 64 KiB.
const BLOCKS_AT: [u32; 2] = [2048, 2048 + 512 + (64 << 10)];

/// A disk of seven blocks, of which 0 and 6 are stored.
fn sample(kind: u32) -> Vec<u8> {
    Vhd::new(kind, LEN, 1).write(3, noise(1, 512)).write(880, noise(2, 1024)).bytes()
}

/// An error's text and what to do about it, with the bench's folder out of them.
fn texts(bench: &Bench, error: &OpenError) -> (String, String) {
    let clean = |t: &str| t.replace(text(&bench.path("")), "DIR/");
    (clean(&error.to_string()), clean(error.next()))
}

#[track_caller]
fn check_path(bench: &Bench, image: &Path, gate: &Gate, expect: &str, next: &str) {
    let error = match open_through(image, Some(Format::Vhd), gate) {
        Err(error) => error,
        Ok(found) => panic!("accepted, with {:?}; wanted {expect}", found.info),
    };
    assert_eq!(texts(bench, &error), (expect.to_owned(), next.to_owned()));
}

const COPY_AGAIN: &str =
    "the file is damaged or was not copied whole: copy or replicate it again and compare checksums";

/// What a damaged sample of this type is refused with.
#[track_caller]
fn check(kind: u32, damage: impl Fn(&mut Vec<u8>), expect: &str) {
    let bench = Bench::new();
    let mut bytes = sample(kind);
    damage(&mut bytes);
    let path = bench.path("image.vhd");
    std::fs::write(&path, bytes).expect("a file");
    check_path(&bench, &path, &Gate::same_folder(), &format!("DIR/image.vhd: VHD: {expect}"), COPY_AGAIN);
}

/// Change the footer at the end, and the copy, and mend their checksums.
fn footer(at: usize, new: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let end = bytes.len() - 512;
        let copy = if bytes.starts_with(b"conectix") { 0 } else { end };
        for footer in [copy, end] {
            put(bytes, footer + at, new);
            fix_sum(bytes, footer, 512, 64);
        }
    }
}

/// Change the dynamic disk header and mend its checksum.
fn header(at: usize, new: &[u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        put(bytes, HEADER_AT + at, new);
        fix_sum(bytes, HEADER_AT, 1024, 36);
    }
}

/// Put another byte offset into the table's entry for a block.
fn entry(block: usize, at: u32) -> impl Fn(&mut Vec<u8>) {
    move |bytes| put(bytes, TABLE_AT + block * 4, &(at / 512).to_be_bytes())
}

#[test]
fn footers() {
    check(
        2,
        |b| {
            let end = b.len() - 512;
            b[end + 100] ^= 1;
        },
        "VHD footer checksum at 0x70000: wanted 0xfffff045, found 0xfffff046",
    );
    check(
        3,
        |b| {
            let end = b.len() - 512;
            b[end + 100] ^= 1;
            b[100] ^= 1;
        },
        "VHD footer checksum at 0x20c00: wanted 0xfffff83a, found 0xfffff83b",
    );
    check(
        2,
        footer(0, b"conectiX"),
        "VHD footer cookie at 0x70000: wanted `conectix`, found [63, 6f, 6e, 65, 63, 74, 69, 58]",
    );
    check(
        2,
        footer(12, &0x0002_0000u32.to_be_bytes()),
        "VHD footer version at 0x70000: wanted 1.x, found 0x00020000",
    );
    check(3, footer(60, &9u32.to_be_bytes()), "VHD footer disk type at 0x20c00: wanted 2, 3 or 4, found 9");
    check(
        2,
        footer(48, &0u64.to_be_bytes()),
        "VHD footer current size at 0x70000: wanted a multiple of 512 above 0, found 0",
    );
    check(
        2,
        footer(48, &1000u64.to_be_bytes()),
        "VHD footer current size at 0x70000: wanted a multiple of 512 above 0, found 1000",
    );
    check(
        2,
        footer(48, &(u64::MAX - 511).to_be_bytes()),
        "VHD footer current size at 0x70000: wanted 18446744073709551104 bytes of data before the footer, found 458752",
    );
    check(
        2,
        footer(48, &(LEN + 512).to_be_bytes()),
        "VHD footer current size at 0x70000: wanted 459264 bytes of data before the footer, found 458752",
    );
    check(
        2,
        |b| drop(b.drain(..512)),
        "VHD footer current size at 0x6fe00: wanted 458752 bytes of data before the footer, found 458240",
    );
    check(2, |b| b.truncate(100), "VHD footer at 0x0: wanted at least 512 bytes, found 100");
}

#[test]
fn headers() {
    check(
        3,
        footer(48, &(u64::MAX - 511).to_be_bytes()),
        "dynamic VHD header disk size at 0x200: wanted at most 2190433320960, found 18446744073709551104",
    );
    check(
        3,
        footer(48, &((2040u64 << 30) + 512).to_be_bytes()),
        "dynamic VHD header disk size at 0x200: wanted at most 2190433320960, found 2190433321472",
    );
    check(
        3,
        footer(16, &u64::MAX.to_be_bytes()),
        "end of file at 0x20e00: wanted 1024 bytes at 0xffffffffffffffff, found a shorter file",
    );
    check(
        3,
        footer(16, &(u64::MAX - 1024).to_be_bytes()),
        "end of file at 0x20e00: wanted 1024 bytes at 0xfffffffffffffbff, found a shorter file",
    );
    check(
        3,
        footer(16, &0u64.to_be_bytes()),
        "dynamic VHD header cookie at 0x0: wanted `cxsparse`, found [63, 6f, 6e, 65, 63, 74, 69, 78]",
    );
    check(
        3,
        header(0, b"cxsparsE"),
        "dynamic VHD header cookie at 0x200: wanted `cxsparse`, found [63, 78, 73, 70, 61, 72, 73, 45]",
    );
    check(
        3,
        |b| b[HEADER_AT + 1000] ^= 1,
        "dynamic VHD header checksum at 0x200: wanted 0xfffff48e, found 0xfffff48f",
    );
    check(
        3,
        header(24, &0x0002_0000u32.to_be_bytes()),
        "dynamic VHD header version at 0x200: wanted 1.x, found 0x00020000",
    );
    check(
        3,
        header(32, &0u32.to_be_bytes()),
        "dynamic VHD header block size at 0x200: wanted a power of two from 4 KiB to 256 MiB, found 0",
    );
    check(
        3,
        header(32, &(3u32 << 15).to_be_bytes()),
        "dynamic VHD header block size at 0x200: wanted a power of two from 4 KiB to 256 MiB, found 98304",
    );
    check(
        3,
        header(32, &2048u32.to_be_bytes()),
        "dynamic VHD header block size at 0x200: wanted a power of two from 4 KiB to 256 MiB, found 2048",
    );
    check(
        3,
        header(32, &(1u32 << 31).to_be_bytes()),
        "dynamic VHD header block size at 0x200: wanted a power of two from 4 KiB to 256 MiB, found 2147483648",
    );
    check(
        3,
        header(28, &6u32.to_be_bytes()),
        "dynamic VHD header table entries at 0x200: wanted 7..=8388608, found 6",
    );
    check(
        3,
        header(28, &((1u32 << 23) + 1).to_be_bytes()),
        "dynamic VHD header table entries at 0x200: wanted 7..=8388608, found 8388609",
    );
    let many_blocks = |b: &mut Vec<u8>| {
        footer(48, &(1u64 << 40).to_be_bytes())(b);
        header(32, &4096u32.to_be_bytes())(b);
    };
    check(
        3,
        many_blocks,
        "dynamic VHD header block size at 0x200: wanted at most 8388608 blocks, found 4096",
    );
}

#[test]
fn tables_and_blocks() {
    check(
        3,
        header(16, &u64::MAX.to_be_bytes()),
        "the block table at 0xffffffffffffffff: wanted an end within the file's first 0x20c00 bytes, found an end at 0xffffffffffffffff",
    );
    check(
        3,
        header(16, &(1u64 << 40).to_be_bytes()),
        "the block table at 0x10000000000: wanted an end within the file's first 0x20c00 bytes, found an end at 0x1000000001c",
    );
    check(
        3,
        |b| header(16, &(b.len() as u64 - 512).to_be_bytes())(b),
        "the block table at 0x20c00: wanted an end within the file's first 0x20c00 bytes, found an end at 0x20c1c",
    );
    check(
        3,
        header(16, &1024u64.to_be_bytes()),
        "the block table at 0x400: wanted a place not over the dynamic disk header at 0x200, found an end at 0x41c",
    );
    check(
        3,
        entry(6, 0xFFFF_FC00),
        "VHD block table entry at 0x618: wanted block 6 to end within the file's first 0x20c00 bytes, found an end at 0x10000fe00",
    );
    check(
        3,
        |b| entry(6, b.len() as u32 - 512 - (64 << 10))(b),
        "VHD block table entry at 0x618: wanted block 6 to end within the file's first 0x20c00 bytes, found an end at 0x20e00",
    );
    check(
        3,
        entry(6, BLOCKS_AT[0]),
        "VHD block table entry at 0x618: wanted a place of its own for block 6, found 0x800, taken by block 0 up to 0x10a00",
    );
    check(
        3,
        entry(5, BLOCKS_AT[1] - 512),
        "VHD block table entry at 0x614: wanted a place of its own for block 5, found 0x10800, taken by block 0 up to 0x10a00",
    );
    check(
        3,
        entry(3, 0),
        "VHD block table entry at 0x60c: wanted block 3 not to lie over the copy of the footer at 0x0, found 0x0..0x10200",
    );
    check(
        3,
        entry(3, 512),
        "VHD block table entry at 0x60c: wanted block 3 not to lie over the dynamic disk header at 0x200, found 0x200..0x10400",
    );
    check(
        3,
        entry(3, 1536),
        "VHD block table entry at 0x60c: wanted block 3 not to lie over the block table at 0x600, found 0x600..0x10800",
    );
    // Cut short: in the last block, with the footer; and just before the header's end.
    check(
        3,
        |b| b.truncate(b.len() - 512 - (64 << 10) + 1000),
        "VHD block table entry at 0x618: wanted block 6 to end within the file's first 0x10fe8 bytes, found an end at 0x20c00",
    );
    check(3, |b| b.truncate(1200), "end of file at 0x4b0: wanted 1024 bytes at 0x200, found a shorter file");
}

/// A child of `base.vhd`, whose id is 1, with one sector of its own.
fn child() -> Vhd {
    Vhd::new(4, LEN, 2).child_of(1, "base.vhd").write(5, noise(5, 512))
}

const GIVE: &str = "put the parent into the same folder, or give it with --parent FILE";
const FIND: &str = "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed";

#[test]
fn parents() {
    let bench = Bench::new();
    let folder = Gate::same_folder();
    let image = child().save(&bench, "child.vhd");
    let refused = |gate: &Gate, expect: &str, next: &str| check_path(&bench, &image, gate, expect, next);
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: opening DIR/base.vhd: No such file or directory (os error 2)"#,
        GIVE,
    );
    refused(
        &Gate::closed(),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: nothing"#,
        GIVE,
    );
    Vhd::new(2, LEN, 9).save(&bench, "base.vhd");
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: DIR/base.vhd: its id is 09090909-0909-0909-0909-090909090909, wanted 01010101-0101-0101-0101-010101010101"#,
        FIND,
    );
    refused(
        &Gate::same_folder().with_given([bench.path("base.vhd")]),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: DIR/base.vhd: its id is 09090909-0909-0909-0909-090909090909, wanted 01010101-0101-0101-0101-010101010101"#,
        FIND,
    );
    // The right file under another name, and a link to it.
    Vhd::new(2, LEN, 1).save(&bench, "renamed.vhd");
    std::fs::remove_file(bench.path("base.vhd")).expect("removed");
    std::os::unix::fs::symlink(bench.path("renamed.vhd"), bench.path("base.vhd")).expect("a link");
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: opening DIR/base.vhd: Too many levels of symbolic links (os error 40)"#,
        GIVE,
    );
    // A parent of another format.
    std::fs::remove_file(bench.path("base.vhd")).expect("removed");
    std::fs::write(bench.path("base.vhd"), [0; 4096]).expect("a file");
    refused(
        &folder,
        "DIR/base.vhd: VHD: VHD footer cookie at 0xe00: wanted `conectix`, found [00, 00, 00, 00, 00, 00, 00, 00]",
        COPY_AGAIN,
    );
}

#[test]
fn a_parent_with_another_time_stamp() {
    let bench = Bench::new();
    let base = Vhd::new(2, LEN, 1).save(&bench, "base.vhd");
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(946_684_800 + 700_000_000);
    std::fs::File::options().write(true).open(base).and_then(|f| f.set_modified(time)).expect("a time");
    let mut vhd = child();
    vhd.parent.as_mut().expect("a parent").stamp = 700_000_001;
    let image = vhd.save(&bench, "child.vhd");
    check_path(
        &bench,
        &image,
        &Gate::same_folder(),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", which was not found; tried: DIR/base.vhd: it was modified at 2022-03-07 20:26:40 UTC and made at 2026-11-24 00:00:00 UTC, wanted 2022-03-07 20:26:41 UTC for one of them: it was written to after the child was made, or is a copy that did not keep file times; if you know that it is a faithful copy, give it with --parent"#,
        FIND,
    );
}

#[test]
fn names_that_lead_elsewhere() {
    for (name, expect) in [
        (
            "/etc/shadow",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "/etc/shadow", which was not found; tried: opening DIR/shadow: No such file or directory (os error 2)"#,
        ),
        (
            "../../etc/shadow",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "../../etc/shadow", which was not found; tried: opening DIR/shadow: No such file or directory (os error 2)"#,
        ),
        (
            "..",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "..", which was not found; tried: nothing"#,
        ),
        (
            "",
            "DIR/child.vhd: a differencing VHD that needs a parent without naming it, which was not found; tried: nothing",
        ),
    ] {
        let bench = Bench::new();
        let mut vhd = child();
        let locators = vec![(*b"W2ru", utf16le(name))];
        vhd.parent = Some(Parent { id: [1; 16], stamp: STAMP, unicode_name: "", locators });
        let image = vhd.save(&bench, "child.vhd");
        check_path(&bench, &image, &Gate::same_folder(), expect, GIVE);
    }
}

#[test]
fn locators() {
    let first = 576; // the first locator entry
    for (damage, expect) in [
        (
            header(first + 16, &(1u64 << 40).to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name within the file's 0x10e00 bytes, found 20 bytes at 0x10000000000",
        ),
        (
            header(first + 16, &u64::MAX.to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name within the file's 0x10e00 bytes, found 20 bytes at 0xffffffffffffffff",
        ),
        (
            header(first + 8, &513u32.to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name of at most 512 bytes, found 513",
        ),
        (
            header(first + 4, &[0, 0, 1, 0, 0, 0, 0x10, 1]),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name of at most 4096 bytes, found 4097",
        ),
    ] {
        let bench = Bench::new();
        Vhd::new(2, LEN, 1).save(&bench, "base.vhd");
        let mut bytes = child().bytes();
        damage(&mut bytes);
        let path = bench.path("child.vhd");
        std::fs::write(&path, bytes).expect("a file");
        check_path(&bench, &path, &Gate::same_folder(), expect, COPY_AGAIN);
    }
}

#[test]
fn loops_and_long_chains() {
    let bench = Bench::new();
    let a = Vhd::new(4, LEN, 1).child_of(2, "b.vhd").save(&bench, "a.vhd");
    Vhd::new(4, LEN, 2).child_of(1, "a.vhd").save(&bench, "b.vhd");
    let next =
        "one of the files has another file's name: compare the names with those of the original machine";
    check_path(
        &bench,
        &a,
        &Gate::same_folder(),
        "DIR/a.vhd: is in its own chain of parents: the chain is a loop",
        next,
    );
    let own = Vhd::new(4, LEN, 1).child_of(1, "own.vhd").save(&bench, "own.vhd");
    check_path(
        &bench,
        &own,
        &Gate::same_folder(),
        "DIR/own.vhd: is in its own chain of parents: the chain is a loop",
        next,
    );
    // 64 files are a chain, 65 are too many.
    let names: Vec<&'static str> = (0..65).map(|i| &*format!("{i}.vhd").leak()).collect();
    for i in 0..65u8 {
        let name = names[usize::from(i)];
        if i == 0 {
            Vhd::new(2, LEN, 100).save(&bench, name);
        } else {
            Vhd::new(4, LEN, 100 + i).child_of(99 + i, names[usize::from(i) - 1]).save(&bench, name);
        }
    }
    let found = open_through(&bench.path(names[63]), None, &Gate::same_folder());
    assert_eq!(found.unwrap_or_else(|e| panic!("{e}")).info.chain.len(), 63);
    let next = "merge some of the differencing disks first (Hyper-V: Merge-VHD)";
    check_path(
        &bench,
        &bench.path(names[64]),
        &Gate::same_folder(),
        "DIR/0.vhd: is file 65 of a chain, wanted at most 64",
        next,
    );
}
