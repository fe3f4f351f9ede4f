//! Differencing VHDs as 7-Zip and libvhdi read them, and how a parent proves itself.

use crate::bench::{Bench, check_extents, content, noise, opened, run, same, text};
use crate::vhd_bytes::{Parent, STAMP, Vhd, put, utf16be, utf16le};
use engine::container::{Format, Gate, Layout, Opened, open, open_through};
use engine::units::ByteOffset;
use proptest::prelude::{ProptestConfig, prop, proptest};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LEN: u64 = 448 << 10;
/// Where the table of the images here ends, and the locator of the child's parent begins.
const TABLE_END: usize = 2048;
/// Reads a chain of VHDs, child first, with libvhdi, and writes what it sees to a file; sector by sector, because it stops short of
/// the end of longer reads over blocks smaller than Hyper-V's.
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
    for at in range(0, chain[0].get_media_size(), 512):
        flat.write(chain[0].read_buffer_at_offset(512, at))
";

/// The bytes that libvhdi sees in a chain, child first.
#[track_caller]
fn libvhdi(bench: &Bench, chain: &[PathBuf]) -> Vec<u8> {
    let flat = bench.path("libvhdi.raw");
    let mut args = vec!["-c", READER, text(&flat)];
    args.extend(chain.iter().map(|p| text(p)));
    run("/usr/bin/python3", args); // Debian's own, whatever comes first in PATH
    std::fs::read(&flat).expect("what libvhdi read")
}

/// The bytes that 7-Zip sees in an image; it finds parents beside it by itself.
#[track_caller]
fn seven_zip(image: &Path) -> Vec<u8> {
    let out =
        std::process::Command::new("7zz").args(["x", "-tVHD", "-so", text(image)]).output().expect("7zz");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Sectors a file holds: the first, and how many.
type Sectors<'a> = &'a [(u64, usize)];
/// Bits of every kind in the bitmaps of two children, whose blocks have 128 sectors.
const FINE: [Sectors; 2] = [
    // Over the border of two bytes of the bitmap; over that of two blocks; a whole block; the last sector.
    &[(0, 1), (7, 2), (127, 2), (256, 128), (610, 1), (LEN / 512 - 1, 1)],
    &[(1, 1), (8, 1), (300, 6), (700, 1)],
];
/// Runs that end with a byte of the bitmap. libvhdi 20210425 shifts a byte without masking the bit
/// (`libvhdi_block_descriptor_read_sector_bitmap_data`), so that each set bit sets all behind it in its byte.
const COARSE: [Sectors; 2] =
    [&[(0, 8), (23, 1), (120, 16), (256, 128), (611, 5), (LEN / 512 - 1, 1)], &[(6, 2), (8, 8), (300, 4)]];

/// A base, a child, and a child of that child, youngest first.
fn chain(bench: &Bench, base_kind: u32, [middle, child]: [Sectors; 2]) -> Vec<PathBuf> {
    let base = Vhd::new(base_kind, LEN, 1).write(0, noise(1, 200 << 10)).write(600, noise(2, 30 << 10));
    let with = |mut vhd: Vhd, seed: u64, sectors: Sectors| {
        for (i, (first, count)) in sectors.iter().enumerate() {
            vhd = vhd.write(*first, noise(seed + i as u64, count * 512));
        }
        vhd
    };
    let middle = with(Vhd::new(4, LEN, 2).child_of(1, "middle's base.vhd"), 100, middle);
    // Zeros hide what the parent has.
    let child = with(Vhd::new(4, LEN, 3).child_of(2, "middle.vhd"), 200, child).write(360, vec![0; 4096]);
    vec![
        child.save(bench, "child.vhd"),
        middle.save(bench, "middle.vhd"),
        base.save(bench, "middle's base.vhd"),
    ]
}

#[test]
fn reads_differencing_vhds_as_others_do() {
    for base_kind in [2, 3] {
        for sectors in [FINE, COARSE] {
            let bench = Bench::new();
            let files = chain(&bench, base_kind, sectors);
            for first in 0..files.len() {
                let found = opened(&files[first]);
                let bytes = content(&*found.disk);
                same(&bytes, &seven_zip(&files[first]));
                if sectors == COARSE {
                    same(&bytes, &libvhdi(&bench, &files[first..]));
                }
                assert!(check_extents(&*found.disk) > 0);
                let chain: Vec<&Path> = found.info.chain.iter().map(|p| p.path.as_path()).collect();
                assert_eq!(chain, files[first + 1..]);
                assert_eq!(found.sources.len(), files.len() - first);
                assert_eq!(found.info.notes, [""; 0]);
                found.unchanged().expect("reading changes nothing");
            }
            let info = opened(&files[0]).info;
            assert_eq!((info.format, info.layout), (Format::Vhd, Layout::Differencing));
            assert_eq!((info.time_stamp, info.block_size), (Some(STAMP), Some(64 << 10)));
        }
    }
}

#[test]
fn one_bit_of_a_bitmap_makes_a_difference() {
    // The twin of the test above: the comparison must be able to fail.
    let bench = Bench::new();
    let files = chain(&bench, 3, FINE);
    let before = content(&*opened(&files[0]).disk);
    let mut bytes = std::fs::read(&files[0]).expect("the child");
    let bitmap = TABLE_END + 512;
    assert_eq!(bytes[bitmap..bitmap + 2], [0b0100_0000, 0b1000_0000], "sectors 1 and 8");
    bytes[bitmap] = 0;
    std::fs::write(&files[0], bytes).expect("a file");
    let after = seven_zip(&files[0]);
    let differ: Vec<usize> = (0..before.len()).step_by(512).filter(|at| before[*at] != after[*at]).collect();
    assert_eq!(differ, [512], "sector 1 alone");
    same(&content(&*opened(&files[0]).disk), &after);
}

#[test]
fn what_a_child_does_not_hold_is_not_counted_as_its_own() {
    let bench = Bench::new();
    let files = chain(&bench, 3, FINE);
    let found = opened(&files[0]);
    // Blocks 0 (sectors 1 and 8), 2 (300 and 360) and 5 (700).
    assert_eq!(found.info.allocated.get(), 3 * (64 << 10));
}

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

#[test]
fn what_is_noted_about_a_parent_names_it() {
    let bench = Bench::new();
    let files = chain(&bench, 3, FINE);
    for file in &files {
        let bytes = std::fs::read(file).expect("an image");
        std::fs::write(file, &bytes[..bytes.len() - 1]).expect("a file");
    }
    let old = "the footer is 511 bytes long, as Virtual PC wrote it before 2004, or it lost its last byte";
    let found = opened(&files[0]);
    assert_eq!(
        notes(&found, &bench),
        [old.to_owned(), format!("DIR/middle.vhd: {old}"), format!("DIR/middle's base.vhd: {old}")]
    );
}

#[test]
fn a_child_of_more_blocks_than_bitmaps_are_kept_reads_right_in_any_order() {
    let bench = Bench::new();
    let (len, blocks) = (4 << 20, 64u64);
    Vhd::new(3, len, 1).write(0, noise(1, 4 << 20)).save(&bench, "base.vhd");
    let mut child = Vhd::new(4, len, 2).child_of(1, "base.vhd");
    for block in 0..blocks {
        child = child.write(block * 128 + block, noise(100 + block, 512));
    }
    let path = child.save(&bench, "child.vhd");
    let expect = seven_zip(&path);
    let disk = opened(&path).disk;
    for i in 0..3 * blocks {
        let at = (i * 29 % blocks * 128 * 512) as usize;
        let mut block = vec![0; 128 * 512];
        disk.read_at(ByteOffset(at as u64), &mut block).expect("a read");
        same(&block, &expect[at..at + block.len()]);
    }
    check_extents(&*disk);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A chain reads like an array of bytes to which the same was written in the same order.
    #[test]
    fn any_chain_reads_like_an_array(
        base_kind in 2u32..4,
        block in prop::sample::select(vec![4096u64, 16 << 10, 128 << 10]),
        layers in prop::collection::vec(prop::collection::vec((0u64..300, 1usize..40), 0..8), 1..5),
        (at, n) in (0usize..150_000, 1usize..50_000),
    ) {
        let bench = Bench::new();
        let len = 333 * 512; // whole in blocks of no size
        let mut flat = vec![0; len as usize];
        let mut path = bench.path("none");
        for (i, writes) in layers.into_iter().enumerate() {
            let id = i as u8 + 1;
            let mut vhd = Vhd::new(if i == 0 { base_kind } else { 4 }, len, id);
            if i > 0 {
                vhd = vhd.child_of(id - 1, NAMES[i - 1]);
            }
            vhd.block = block;
            for (j, (sector, count)) in writes.into_iter().enumerate() {
                let count = count.min(333 - sector as usize);
                let bytes = noise((i * 10 + j) as u64, count * 512);
                put(&mut flat, sector as usize * 512, &bytes);
                vhd = vhd.write(sector, bytes);
            }
            path = vhd.save(&bench, NAMES[i]);
        }
        let disk = opened(&path).disk;
        same(&content(&*disk), &flat);
        check_extents(&*disk);
        let mut piece = vec![0; n.min(flat.len() - at)];
        disk.read_at(ByteOffset(at as u64), &mut piece).expect("a read");
        same(&piece, &flat[at..at + piece.len()]);
    }
}

/// Names for a chain, the base first.
const NAMES: [&str; 4] = ["0.vhd", "1.vhd", "2.vhd", "3.vhd"];
