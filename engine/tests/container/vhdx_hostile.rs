//! Malicious logs, parent locators and sector bitmaps: an error or a disk, never a panic, a hang or unbounded memory.

use crate::bench::{Bench, bytes_at, noise, patch};
use crate::hostile::{visit, visit_flipped};
use crate::vhdx_builder::{
    BAT_AT, Block, Change, LOG_ID, LogEntry, METADATA_AT, Vhdx, make_dirty, parts, with_crc,
};
use engine::container::{Format, open};
use engine::units::MIB;
use proptest::prelude::{ProptestConfig, any, prop, proptest};

fn small() -> Vhdx {
    Vhdx::new(3 * MIB, MIB, 512).block(0, Block::Full(noise(1, 70_000)))
}

#[test]
fn no_flipped_byte_of_a_child_makes_it_panic() {
    let bench = Bench::new();
    small().write(&bench.path("parent.vhdx"));
    let child =
        small().child_of([0xDA; 16], "parent.vhdx").block(1, Block::Partial(noise(2, 5000), vec![0, 9]));
    let image = child.write(&bench.path("child.avhdx"));
    let item = METADATA_AT + 65536 + 40; // behind the five other items: 8 + 8 + 16 + 4 + 4 bytes
    let len = child.locator.as_ref().expect("a locator").len() as u64;
    let places = (item..item + len).chain(BAT_AT..BAT_AT + 24).chain(BAT_AT + 4096 * 8..BAT_AT + 4097 * 8);
    visit_flipped(&image, Format::Vhdx, places, &[0x01, 0x80, 0xFF]);
}

#[test]
fn each_flipped_byte_of_the_only_log_entry_is_noticed() {
    let bench = Bench::new();
    let image = small().write(&bench.path("image.vhdx"));
    let parts = parts(&image);
    let (flushed, last) = (parts.file_len, parts.file_len);
    let changes =
        vec![Change::Data(BAT_AT, bytes_at(&image, BAT_AT, 4096)), Change::Zero(BAT_AT + 4096, 4096)];
    let entry = LogEntry { sequence: 7, tail: 0, log_id: LOG_ID, flushed, last, changes }.bytes();
    make_dirty(&image, parts, &[(0, entry.clone())]);
    assert!(open(&image, None).is_ok(), "a sound log");
    for at in (0..128).chain((128..entry.len()).step_by(41)) {
        patch(&image, parts.log_at + at as u64, &[entry[at] ^ 0x10]);
        assert!(open(&image, None).is_err(), "a flip at {at:#x} was not noticed");
        patch(&image, parts.log_at + at as u64, &[entry[at]]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Wild numbers in log entries behind valid checksums.
    #[test]
    fn no_wild_field_of_a_log_makes_it_panic(
        places in prop::collection::vec(0u64..256, 1..5),
        fields in prop::collection::vec((0usize..4, 8usize..160, prop::sample::select(vec![0u8, 1, 7, 8, 0x10, 0x7F, 0xFF])), 0..4),
        change in any::<(u64, u64)>(),
    ) {
        let bench = Bench::new();
        let image = small().write(&bench.path("image.vhdx"));
        let parts = parts(&image);
        let (flushed, last) = (parts.file_len, parts.file_len);
        let tail = places[0] as u32 * 4096;
        let mut entries = Vec::new();
        let mut place = places[0] * 4096;
        for (i, jump) in places.iter().enumerate() {
            let changes = [Change::Data(BAT_AT, noise(i as u64, 4096)),
                Change::Zero(change.0 << 12, change.1 << 12)];
            let changes = changes[..if jump % 2 == 0 { 1 } else { 2 }].to_vec();
            let mut entry = LogEntry { sequence: 7 + i as u64, tail, log_id: LOG_ID, flushed, last, changes }.bytes();
            for (which, at, byte) in &fields {
                if *which == i && !(32..48).contains(at) {
                    entry[*at] = *byte;
                }
            }
            entries.push((place, with_crc(entry)));
            place += 8192;
        }
        make_dirty(&image, parts, &entries);
        visit(&image, Format::Vhdx);
    }
}
