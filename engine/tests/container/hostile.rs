//! Damaged and malicious images: an error or a disk, never a panic, a hang or unbounded memory.

use crate::bench::{Bench, bytes_at, fix_crc, patch};
use crate::read::metadata_at;
use engine::container::{Format, open};
use engine::units::{ByteOffset, MIB};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use std::path::{Path, PathBuf};

/// A VHDX of 3 MiB in blocks of 1 MiB, of which two are stored.
fn small_vhdx(bench: &Bench) -> PathBuf {
    let raw = bench.path("small.raw");
    std::fs::write(&raw, vec![0; 3 * MIB as usize]).expect("a file");
    patch(&raw, 510, &[0x55, 0xAA]);
    patch(&raw, 2 * MIB + 77, b"data");
    bench.convert(&raw, "small.vhdx", "vhdx", "block_size=1M")
}

/// Open, and if that succeeds walk over the disk and read the begin of what is there.
pub fn visit(path: &Path, format: Format) {
    let Ok(found) = open(path, Some(format)) else { return };
    assert!(found.disk.geometry().len.get() > 0);
    let (mut at, mut steps) = (0, 0);
    let mut buf = vec![0; 4096];
    while let Ok(Some(e)) = found.disk.next_extent(ByteOffset(at)) {
        let n = buf.len().min(e.len.get() as usize);
        let _ = found.disk.read_at(e.at, &mut buf[..n]);
        at += e.len.get();
        steps += 1;
        assert!(e.len.get() > 0 && steps < 100_000, "walking must come to an end");
    }
}

/// Visit an image with each of `places` flipped by each of `masks`, one at a time; it is as it was afterwards.
#[track_caller]
pub fn visit_flipped(image: &Path, format: Format, places: impl Iterator<Item = u64>, masks: &[u8]) {
    for at in places {
        let before = bytes_at(image, at, 1)[0];
        for bits in masks {
            patch(image, at, &[before ^ bits]);
            visit(image, format);
        }
        patch(image, at, &[before]);
    }
    assert!(open(image, None).is_ok(), "all flips were undone");
}

#[test]
fn no_flipped_byte_of_a_vhdx_makes_it_panic() {
    let bench = Bench::new();
    let image = small_vhdx(&bench);
    let metadata = metadata_at(&image);
    let places = (0..16)
        .chain(0x10000..0x10000 + 80)
        .chain(0x20000..0x20000 + 80)
        .chain(0x30000..0x30000 + 80)
        .chain(0x40000..0x40000 + 80)
        .chain(metadata..metadata + 32 + 5 * 32)
        .chain(metadata + 65536..metadata + 65536 + 64)
        .chain(3 * MIB..3 * MIB + 32);
    visit_flipped(&image, Format::Vhdx, places, &[0x01, 0x80, 0xFF]);
}

#[test]
fn a_flip_in_both_headers_or_tables_is_always_refused() {
    let bench = Bench::new();
    let image = small_vhdx(&bench);
    for (first, second, len) in [(0x10000u64, 0x20000u64, 4096), (0x30000, 0x40000, 65536u64)] {
        for offset in (0..len).step_by(61) {
            let (a, b) = (bytes_at(&image, first + offset, 1)[0], bytes_at(&image, second + offset, 1)[0]);
            patch(&image, first + offset, &[a ^ 4]);
            patch(&image, second + offset, &[b ^ 4]);
            assert!(open(&image, None).is_err(), "a flip at {offset:#x} in both copies was not noticed");
            patch(&image, first + offset, &[a]);
            patch(&image, second + offset, &[b]);
        }
    }
}

/// Where the first region table's second field of the entry for the BAT leads.
fn bat_at(image: &Path) -> u64 {
    let metadata = metadata_at(image);
    (0..2)
        .map(|i| u64::from_le_bytes(bytes_at(image, 0x30000 + 32 + i * 32, 8).try_into().expect("8 bytes")))
        .find(|at| *at != metadata)
        .expect("a BAT region")
}

#[test]
fn refuses_blocks_that_overlap_or_lie_elsewhere() {
    let bench = Bench::new();
    let image = small_vhdx(&bench);
    let bat = bat_at(&image);
    let first = u64::from_le_bytes(bytes_at(&image, bat, 8).try_into().expect("8 bytes"));
    assert_eq!(first & 7, 6, "qemu-img stored the first block");
    let cases = [
        (first, "place of its own"),              // the third block where the first one is
        (6, "truncated or the entry is damaged"), // in the header section
        (MIB | 6, "place of its own"),            // in the log
        (bat | 6, "place of its own"),            // in the table itself
        (1 << 50 | 6, "truncated"),               // far behind the end
        (u64::MAX - 1, "truncated"),
        (first | 1, "state 0, 1, 2, 3 or 6"), // partially present, without a parent
        (5, "state 0, 1, 2, 3 or 6"),
    ];
    for (entry, expect) in cases {
        patch(&image, bat + 16, &entry.to_le_bytes());
        let error = open(&image, None).err().unwrap_or_else(|| panic!("{entry:#x} was accepted")).to_string();
        assert!(error.contains(expect) && error.contains("block 2"), "{entry:#x}: {error}");
    }
}

#[test]
fn a_disk_of_64_tib_with_a_table_for_3_mib_is_refused() {
    let bench = Bench::new();
    let image = small_vhdx(&bench);
    let item = crate::read::item_at(&image, [0x24, 0x42, 0xA5, 0x2F]);
    for (len, expect) in [
        (64u64 << 40, "BAT region length"),
        ((64 << 40) + 512, "64 TiB"),
        (0, "64 TiB"),
        (1000, "whole sectors"),
    ] {
        patch(&image, item, &len.to_le_bytes());
        let error = open(&image, None).expect_err("refused").to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn no_flipped_byte_of_a_vhd_or_qcow2_makes_it_panic() {
    let bench = Bench::new();
    small_vhdx(&bench);
    let raw = bench.path("small.raw");
    let vhd = bench.convert(&raw, "d.vhd", "vpc", "subformat=dynamic,force_size=on");
    let len = std::fs::metadata(&vhd).expect("its length").len();
    let qcow2 = bench.convert(&raw, "d.qcow2", "qcow2", "cluster_size=4096");
    let l1 = u64::from_be_bytes(bytes_at(&qcow2, 40, 8).try_into().expect("8 bytes"));
    let l2 = u64::from_be_bytes(bytes_at(&qcow2, l1, 8).try_into().expect("8 bytes")) & 0x00ff_ffff_ffff_fe00;
    let vhd_places: Vec<u64> =
        (0..90).chain(512..580).chain(1536..1552).chain(len - 512..len - 420).collect();
    let qcow2_places: Vec<u64> = (0..112).chain(l1..l1 + 16).chain(l2..l2 + 32).collect();
    for (image, format, places) in [(vhd, Format::Vhd, vhd_places), (qcow2, Format::Qcow2, qcow2_places)] {
        visit_flipped(&image, format, places.into_iter(), &[0x01, 0x10, 0x80, 0xFF]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Wild numbers behind valid checksums.
    #[test]
    fn no_wild_field_of_a_vhdx_makes_it_panic(
        headers in prop::collection::vec((8u64..80, any::<[u8; 4]>()), 0..2),
        regions in prop::collection::vec((8u64..80, prop::sample::select(vec![0u8, 1, 0x10, 0x20, 0x7F, 0xFF])), 0..3),
        items in prop::collection::vec((8u64..192, any::<u8>()), 0..3),
        values in prop::collection::vec((0u64..40, prop::sample::select(vec![0u8, 1, 2, 0x10, 0x40, 0x80, 0xFF])), 0..4),
        entries in prop::collection::vec((0u64..24, any::<u8>()), 0..4),
    ) {
        let bench = Bench::new();
        let image = bench.path("wild.vhdx");
        let (pieces, len) = template();
        std::fs::File::create(&image).and_then(|f| f.set_len(*len)).expect("room");
        pieces.iter().for_each(|(at, piece)| patch(&image, *at, piece));
        let (metadata, bat) = (metadata_at(&image), bat_at(&image));
        for (at, bytes) in headers {
            for header in [0x10000, 0x20000] {
                patch(&image, header + at, &bytes);
            }
        }
        for (at, byte) in regions {
            for table in [0x30000, 0x40000] {
                patch(&image, table + at, &[byte]);
            }
        }
        for (at, byte) in items {
            patch(&image, metadata + at, &[byte]);
        }
        for (at, byte) in values {
            patch(&image, metadata + 65536 + at, &[byte]);
        }
        for (at, byte) in entries {
            patch(&image, bat + at, &[byte]);
        }
        for (at, len) in [(0x10000, 4096), (0x20000, 4096), (0x30000, 65536), (0x40000, 65536)] {
            fix_crc(&image, at, len);
        }
        visit(&image, Format::Vhdx);
    }
}

/// Offset and bytes of what a file stores, and its length.
type Pieces = (Vec<(u64, Vec<u8>)>, u64);

/// The stored 64 KiB pieces of one image, for all cases of the property above, and its length.
fn template() -> &'static Pieces {
    static TEMPLATE: std::sync::OnceLock<Pieces> = std::sync::OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let bytes = std::fs::read(small_vhdx(&Bench::new())).expect("the image");
        let pieces = (0u64..).step_by(65536).zip(bytes.chunks(65536));
        let stored = pieces.filter(|(_, piece)| piece.iter().any(|b| *b != 0));
        (stored.map(|(at, piece)| (at, piece.to_vec())).collect(), bytes.len() as u64)
    })
}
