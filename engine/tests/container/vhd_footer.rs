//! What a VHD's footer says about itself, and how far it is believed.

use crate::bench::{Bench, content, noise, opened, run, same, text};
use crate::vhd_bytes::{Vhd, fix_sum, put};
use engine::container::{Format, open};

const LEN: u64 = 448 << 10;

/// Open an image after a change; its length and its notes.
#[track_caller]
fn check_notes(kind: u32, change: impl Fn(&mut Vec<u8>), expect: &[&str]) {
    let bench = Bench::new();
    let disk = Vhd::new(kind, LEN, 1).write(3, noise(1, 512)).write(880, noise(2, 1024));
    let mut bytes = disk.bytes();
    change(&mut bytes);
    let path = bench.path("image.vhd");
    std::fs::write(&path, bytes).expect("a file");
    let found = open(&path, Some(Format::Vhd)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found.info.virtual_len.get(), LEN);
    let mut flat = vec![0; LEN as usize];
    put(&mut flat, 3 * 512, &noise(1, 512));
    put(&mut flat, 880 * 512, &noise(2, 1024));
    same(&content(&*found.disk), &flat);
    assert_eq!(found.info.notes, expect);
}

/// Change both footers, the one at the end alone for a fixed disk, and mend their checksums.
fn footers(bytes: &mut [u8], at: usize, new: &[u8]) {
    let end = bytes.len() - 512;
    let copy = if bytes.starts_with(b"conectix") { 0 } else { end };
    for footer in [copy, end] {
        put(bytes, footer + at, new);
        fix_sum(bytes, footer, 512, 64);
    }
}

#[test]
fn what_is_unusual_about_a_footer_is_noted() {
    check_notes(2, |_| {}, &[]);
    check_notes(3, |_| {}, &[]);
    check_notes(
        3,
        |b| {
            let end = b.len() - 512;
            b[end + 100] ^= 1;
        },
        &[
            "there is no sound footer at the end of the file (VHD footer checksum at 0x20c00: wanted 0xfffff83a, found \
           0xfffff83b), which may have been cut short; the copy of the footer at its beginning was used, and every \
           block that the table lists is in the file",
        ],
    );
    check_notes(
        3,
        |b| b.truncate(b.len() - 512),
        &[
            "there is no sound footer at the end of the file (VHD footer cookie at 0x20a00: wanted `conectix`, found \
           [00, 00, 00, 00, 00, 00, 00, 00]), which may have been cut short; the copy of the footer at its beginning \
           was used, and every block that the table lists is in the file",
        ],
    );
    check_notes(
        3,
        |b| b[100] ^= 1,
        &[
            "the copy of the footer at the beginning is damaged: VHD footer checksum at 0x0: wanted 0xfffff83a, found 0xfffff83b",
        ],
    );
    check_notes(
        3,
        |b| {
            put(b, 68, &[9; 16]);
            fix_sum(b, 0, 512, 64);
        },
        &[
            "the copy of the footer at the beginning describes another disk than the footer at the end, which was used",
        ],
    );
    for kind in [2, 3] {
        check_notes(
            kind,
            |b| {
                b.pop();
            },
            &["the footer is 511 bytes long, as Virtual PC wrote it before 2004, or it lost its last byte"],
        );
        check_notes(
            kind,
            |b| footers(b, 84, &[1]),
            &[
                "the footer's Saved State is set: the machine was suspended, so what it held in memory is not on the \
               disk",
            ],
        );
        check_notes(
            kind,
            |b| footers(b, 28, b"vpc "),
            &[
                "the footer's geometry of 1/4/17 gives 34816 bytes, its Current Size, which was used, 458752; Virtual PC \
               and QEMU may go by the geometry for this creator",
            ],
        );
    }
}

/// One cylinder, four heads, 17 sectors.
const SMALL: [u8; 4] = [0, 1, 4, 17];
/// The geometry of all disks that are too large for one.
const LARGEST: [u8; 4] = [0xFF, 0xFF, 16, 255];

#[test]
fn qemu_goes_by_the_geometry_where_the_note_says_so() {
    // The reason for the note above, and for `win ` in what we write.
    for (creator, chs, expect) in [
        (b"vpc ", SMALL, 34_816),
        (b"vpc ", LARGEST, LEN),
        (b"win ", SMALL, LEN),
        (b"drll", SMALL, 34_816),
        (b"tap\0", SMALL, LEN),
        (b"tapx", SMALL, 34_816),
        (b"qem2", SMALL, LEN),
        (b"qemu", SMALL, 34_816),
        (b"d2v ", SMALL, LEN),
        (b"CTXS", SMALL, LEN),
    ] {
        let bench = Bench::new();
        let mut bytes = Vhd::new(3, LEN, 1).bytes();
        footers(&mut bytes, 28, creator);
        footers(&mut bytes, 56, &chs);
        let path = bench.path("image.vhd");
        std::fs::write(&path, bytes).expect("a file");
        let info = run("qemu-img", ["info", "-f", "vpc", "--output=json", text(&path)]);
        let info: serde_json::Value = serde_json::from_str(&info).expect("JSON from qemu-img");
        assert_eq!(info["virtual-size"], expect, "{}", creator.escape_ascii());
        let found = opened(&path);
        assert_eq!((found.disk.geometry().len.get(), found.info.notes.is_empty()), (LEN, expect == LEN));
    }
}
