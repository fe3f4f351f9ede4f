//! Differencing VHDs against `libvhdi`, and what else a VHD may say about itself.

use crate::bench::{Bench, check_extents, content, noise, opened, run, same, text};
use crate::vhd_bytes::{HEADER_AT, Parent, STAMP, Vhd, fix_sum, put, utf16be, utf16le};
use engine::container::{Format, Gate, Layout, Opened, open, open_through};
use engine::disk::Disk;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LEN: u64 = 448 << 10;
/// Reads a chain of VHDs, child first, with libvhdi, and writes what it sees to a file.
const READER: &str = r"
import sys, pyvhdi
out, *paths = sys.argv[1:]
chain = []
for path in paths:
    chain.append(pyvhdi.file())
    chain[-1].open(path)
for child, parent in reversed(list(zip(chain, chain[1:]))):
    child.set_parent(parent)
with open(out, 'wb') as flat:
    flat.write(chain[0].read_buffer_at_offset(chain[0].get_media_size(), 0))
";

/// The bytes that libvhdi sees in a chain, child first.
#[track_caller]
fn libvhdi(bench: &Bench, chain: &[&Path]) -> Vec<u8> {
    let flat = bench.path("libvhdi.raw");
    let mut args = vec!["-c", READER, text(&flat)];
    args.extend(chain.iter().map(|p| text(p)));
    run("/usr/bin/python3", args); // Debian's own, whatever comes first in PATH
    std::fs::read(&flat).expect("what libvhdi read")
}

/// A base of noise, a child that has bits of every kind, and a child of that child. Block size 64 KiB.
fn chain(bench: &Bench, base_kind: u32) -> [PathBuf; 3] {
    let base = Vhd::new(base_kind, LEN, 1)
        .write(0, noise(1, 200 << 10))
        .write(600, noise(2, 30 << 10))
        .save(bench, "base.vhd");
    let middle = Vhd::new(4, LEN, 2)
        .child_of(1, "base.vhd")
        .write(0, noise(3, 512)) // the first sector
        .write(7, noise(4, 1024)) // over the border of two bytes of the bitmap
        .write(127, noise(5, 1024)) // over the border of two blocks
        .write(256, noise(6, 64 << 10)) // a whole block
        .write(610, noise(7, 512))
        .write(LEN / 512 - 1, noise(8, 512)) // the last sector
        .save(bench, "middle.vhd");
    let child = Vhd::new(4, LEN, 3)
        .child_of(2, "middle.vhd")
        .write(1, noise(9, 512))
        .write(8, vec![0; 512]) // zeros hide what the parent has
        .write(300, noise(10, 3 << 10))
        .write(700, noise(11, 512))
        .save(bench, "child.vhd");
    [child, middle, base]
}

#[test]
fn reads_differencing_vhds_as_libvhdi_does() {
    for base_kind in [2, 3] {
        let bench = Bench::new();
        let [child, middle, base] = chain(&bench, base_kind);
        for files in [&[&child, &middle, &base][..], &[&middle, &base], &[&base]] {
            let files: Vec<&Path> = files.iter().map(|p| p.as_path()).collect();
            let found = opened(files[0]);
            same(&content(&*found.disk), &libvhdi(&bench, &files));
            assert!(check_extents(&*found.disk) > 0);
            let chain: Vec<&Path> = found.info.chain.iter().map(|p| p.path.as_path()).collect();
            assert_eq!(chain, files[1..]);
            assert_eq!(found.sources.len(), files.len());
            assert_eq!(found.info.notes, [""; 0]);
            found.unchanged().expect("reading changes nothing");
        }
        let found = opened(&child);
        assert_eq!((found.info.format, found.info.layout), (Format::Vhd, Layout::Differencing));
        assert_eq!(found.info.time_stamp, Some(STAMP));
        assert_eq!(found.info.block_size, Some(64 << 10));
        assert_eq!(found.info.allocated.get(), 4 * (64 << 10)); // sectors 1 and 8, 300 to 305, 700
    }
}

#[test]
fn the_oracle_notices_a_flipped_bit_of_a_bitmap() {
    // The twin of the test above: the comparison must be able to fail.
    let bench = Bench::new();
    let files = chain(&bench, 3);
    let before = content(&*opened(&files[0]).disk);
    let mut bytes = std::fs::read(&files[0]).expect("the child");
    let bitmap = TABLE_END + 512; // behind the locator
    assert_eq!(bytes[bitmap..bitmap + 2], [0b0100_0000, 0b1000_0000], "sectors 1 and 8");
    bytes[bitmap] = 0b0010_0000;
    std::fs::write(&files[0], bytes).expect("a file");
    let after = libvhdi(&bench, &[&files[0], &files[1], &files[2]]);
    assert_eq!(before.iter().zip(&after).position(|(a, b)| a != b).map(|at| at / 512), Some(1));
    same(&content(&*opened(&files[0]).disk), &after);
}

/// Where the table of the images here ends.
const TABLE_END: usize = 2048;

#[test]
fn a_shorter_parent_reads_as_zeros_behind_its_end() {
    let bench = Bench::new();
    let base = noise(1, 100 << 10);
    Vhd::new(2, 100 << 10, 1).write(0, base.clone()).save(&bench, "base.vhd");
    let child =
        Vhd::new(4, LEN, 2).child_of(1, "base.vhd").write(400, noise(2, 512)).save(&bench, "child.vhd");
    let mut expect = base;
    expect.resize(LEN as usize, 0);
    put(&mut expect, 400 * 512, &noise(2, 512));
    let found = opened(&child);
    same(&content(&*found.disk), &expect);
    check_extents(&*found.disk);
}

#[test]
fn a_parent_is_found_by_each_of_its_names() {
    for (locators, unicode_name) in [
        (vec![(*b"W2ru", utf16le(r".\base.vhd"))], "elsewhere.vhd"),
        (vec![(*b"W2ku", utf16le(r"C:\VMs\base.vhd"))], ""),
        (vec![(*b"MacX", b"file://localhost/VMs/b%61se.vhd".to_vec())], ""),
        (vec![], "base.vhd"),
        // Names that are not read, and names of files that are not there, do not hide one that is.
        (vec![(*b"Wi2r", b"other.vhd".to_vec()), (*b"W2ru", utf16le("gone.vhd"))], "base.vhd"),
        // The relative name is trusted before the absolute one, whatever their order.
        (vec![(*b"W2ku", utf16le(r"C:\other.vhd")), (*b"W2ru", utf16le(r".\base.vhd"))], ""),
    ] {
        let bench = Bench::new();
        Vhd::new(2, LEN, 1).write(5, noise(1, 512)).save(&bench, "base.vhd");
        Vhd::new(2, LEN, 1).write(5, noise(2, 512)).save(&bench, "other.vhd");
        let mut child = Vhd::new(4, LEN, 2);
        child.parent = Some(Parent { id: [1; 16], stamp: STAMP, unicode_name, locators });
        let found = opened(&child.save(&bench, "child.vhd"));
        assert_eq!(found.info.chain[0].path, bench.path("base.vhd"), "{unicode_name:?}");
        same(&content(&*found.disk)[5 * 512..6 * 512], &noise(1, 512));
    }
    assert_eq!(utf16be("b"), [0, b'b'], "the name in the header is big-endian");
}

/// A child of a base that was last modified `modified` seconds after 2000 and recorded as `stamp`.
fn stamped(bench: &Bench, stamp: u32, modified: u64) -> PathBuf {
    let base = Vhd::new(2, LEN, 1).write(0, noise(1, 512)).save(bench, "base.vhd");
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis((946_684_800 + modified) * 1000 + 999);
    std::fs::File::options()
        .write(true)
        .open(&base)
        .and_then(|f| f.set_modified(time))
        .expect("a file of ours");
    let mut child = Vhd::new(4, LEN, 2).child_of(1, "base.vhd");
    child.parent.as_mut().expect("a parent").stamp = stamp;
    child.save(bench, "child.vhd")
}

#[track_caller]
fn notes(found: &Opened, bench: &Bench) -> Vec<String> {
    found.info.notes.iter().map(|n| n.replace(text(&bench.path("")), "DIR/")).collect()
}

#[test]
fn a_parent_proves_itself_by_its_times_or_is_vouched_for() {
    let bench = Bench::new();
    // The time of its last change, and the time at which it was made.
    for (stamp, modified) in [(700_000_000, 700_000_000), (STAMP, 700_000_000)] {
        let found = opened(&stamped(&bench, stamp, modified));
        assert_eq!(notes(&found, &bench), [""; 0]);
    }
    let found = opened(&stamped(&bench, 0, 5));
    assert_eq!(
        notes(&found, &bench),
        ["no time stamp of the parent is recorded, so that DIR/base.vhd is known by its id alone"]
    );
    let child = stamped(&bench, 700_000_000, 700_000_001);
    assert!(open(&child, None).is_err(), "not merely because it lies there");
    let gate = Gate::same_folder().with_given([bench.path("base.vhd")]);
    let found = open_through(&child, None, &gate).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        notes(&found, &bench),
        [
            "DIR/base.vhd was taken for the parent because it was given: it was modified at 2022-03-07 20:26:41 UTC \
          and made at 2026-11-24 00:00:00 UTC, wanted 2022-03-07 20:26:40 UTC for one of them"
        ]
    );
}

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
            "there is no sound footer at the end of the file (VHD footer checksum at 0x20c00: wanted 0xffffed4d, found \
           0xffffed4e), which may have been cut short; the copy of the footer at its beginning was used, and every \
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
            "the copy of the footer at the beginning is damaged: VHD footer checksum at 0x0: wanted 0xffffed4d, found \
           0xffffed4e",
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
            &["the footer is 511 bytes long, as Virtual PC wrote it before 2004"],
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
               and QEMU go by the geometry for this creator",
            ],
        );
    }
}

#[test]
fn qemu_goes_by_the_geometry_where_the_note_says_so() {
    // The reason for the note above, and for `win ` in what we write.
    for (creator, expect) in
        [(b"vpc ", 34_816), (b"win ", LEN), (b"drll", 34_816), (b"tap\0", LEN), (b"qem2", LEN)]
    {
        let bench = Bench::new();
        let mut bytes = Vhd::new(3, LEN, 1).bytes();
        put(&mut bytes[HEADER_AT..], 0, b"cxsparse");
        footers(&mut bytes, 28, creator);
        let path = bench.path("image.vhd");
        std::fs::write(&path, bytes).expect("a file");
        let info = run("qemu-img", ["info", "-f", "vpc", "--output=json", text(&path)]);
        let info: serde_json::Value = serde_json::from_str(&info).expect("JSON from qemu-img");
        assert_eq!(info["virtual-size"], expect, "{}", creator.escape_ascii());
        let found = opened(&path);
        assert_eq!((found.disk.geometry().len.get(), found.info.notes.is_empty()), (LEN, expect == LEN));
    }
}
