//! Each VHD that is refused for what is in its own file, with the whole text that says so.

use crate::bench::{Bench, noise, text};
use crate::vhd_bytes::{HEADER_AT, TABLE_AT, Vhd, fix_sum, put};
use engine::container::{Format, Gate, OpenError, open_through};
use std::path::Path;

pub const LEN: u64 = 448 << 10;
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
pub fn check_path(bench: &Bench, image: &Path, gate: &Gate, expect: &str, next: &str) {
    let error = match open_through(image, Some(Format::Vhd), gate) {
        Err(error) => error,
        Ok(found) => panic!("accepted, with {:?}; wanted {expect}", found.info),
    };
    assert_eq!(texts(bench, &error), (expect.to_owned(), next.to_owned()));
}

pub const COPY_AGAIN: &str =
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
pub fn header(at: usize, new: &[u8]) -> impl Fn(&mut Vec<u8>) {
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
    // The first sector of a fixed disk is the guest's: a footer there is no copy of this disk's.
    check(
        2,
        |b| {
            let end = b.len() - 512;
            b.copy_within(end.., 0);
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
