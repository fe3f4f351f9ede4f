//! Logs with changes that are not in place: we read what `qemu-img` reads once it has replayed them, and leave the file alone.

use crate::bench::{Bench, bytes_at, check_extents, content, fix_crc, noise, opened, patch, run, same, text};
use crate::vhdx_builder::{Block, Change, LOG_ID, LogEntry, Parts, Vhdx, make_dirty, parts};
use engine::container::LogState;
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use std::path::{Path, PathBuf};

/// Who else says what the disk is.
#[derive(Clone, Copy, PartialEq)]
enum Oracle {
    /// `qemu-img` replays the log of a copy.
    Qemu,
    /// Only the disk the image was made from: QEMU 7.2 does not read this log as the specification has it.
    Source,
}

/// What stands in the log: places in the ring and entries.
type Log = Vec<(u64, Vec<u8>)>;

/// An image whose first sector of the BAT is lost on disk, and may be restored by what `log` makes of the parts of the image and that sector.
#[track_caller]
fn dirty(bench: &Bench, log: impl Fn(Parts, &[u8]) -> Log) -> PathBuf {
    let raw = bench.raw("disk.raw", 24);
    let image = bench.convert(&raw, "image.vhdx", "vhdx", "block_size=1M");
    let parts = parts(&image);
    let table = bytes_at(&image, parts.bat_at, 4096);
    patch(&image, parts.bat_at, &[0; 4096]);
    make_dirty(&image, parts, &log(parts, &table));
    image
}

#[track_caller]
fn check(oracle: Oracle, expect: LogState, log: impl Fn(Parts, &[u8]) -> Log) -> Vec<String> {
    let bench = Bench::new();
    let image = dirty(&bench, log);
    let raw = std::fs::read(bench.path("disk.raw")).expect("the raw disk");
    let before = std::fs::read(&image).expect("the image");
    let found = opened(&image);
    assert_eq!(found.info.log, Some(expect));
    let ours = content(&*found.disk);
    check_extents(&*found.disk);
    same(&ours, &raw);
    if oracle == Oracle::Qemu {
        same(&ours, &qemu_replays(&bench, &image));
    }
    found.unchanged().expect("an untouched source");
    same(&std::fs::read(&image).expect("the image"), &before);
    found.info.notes
}

/// What QEMU reads of an image once it has replayed the log of a copy.
#[track_caller]
fn qemu_replays(bench: &Bench, image: &Path) -> Vec<u8> {
    let (copy, raw) = (bench.path("copy.vhdx"), bench.path("replayed.raw"));
    std::fs::copy(image, &copy).expect("a copy");
    run("qemu-img", ["check", "-q", "-r", "all", "-f", "vhdx", text(&copy)]);
    run("qemu-img", ["convert", "-f", "vhdx", "-O", "raw", text(&copy), text(&raw)]);
    std::fs::read(&raw).expect("QEMU's disk")
}

/// Length of the log in the images that are made here.
const RING: u64 = 1 << 20;

fn replayed(first: u64, last: u64) -> LogState {
    LogState::Replayed { first, last }
}

/// An entry for an image of these parts, to be replayed from `tail` on.
fn entry(parts: Parts, sequence: u64, tail: u64, changes: Vec<Change>) -> LogEntry {
    let len = parts.file_len;
    LogEntry { sequence, tail: tail as u32, log_id: LOG_ID, flushed: len, last: len, changes }
}

#[test]
fn one_entry() {
    let notes = check(Oracle::Qemu, replayed(7, 7), |parts, table| {
        vec![(0, entry(parts, 7, 0, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes())]
    });
    assert_eq!(notes, [""; 0]);
}

#[test]
fn later_entries_win() {
    check(Oracle::Qemu, replayed(7, 9), |parts, table| {
        let restore = vec![Change::Data(parts.bat_at, table.to_vec())];
        vec![
            (0, entry(parts, 7, 0, restore.clone()).bytes()),
            (8192, entry(parts, 8, 0, vec![Change::Zero(parts.bat_at, 4096)]).bytes()),
            (12288, entry(parts, 9, 0, restore).bytes()),
        ]
    });
}

#[test]
fn later_descriptors_of_one_entry_win() {
    check(Oracle::Qemu, replayed(7, 7), |parts, table| {
        let (at, other) = (parts.bat_at, vec![0xEE; 4096]);
        let changes = vec![
            Change::Data(at, other),
            Change::Zero(at, 65536),
            Change::Data(at, table.to_vec()),
            Change::Zero(at + 4096, 8192),
        ];
        vec![(0, entry(parts, 7, 0, changes).bytes())]
    });
}

#[test]
fn a_sequence_goes_on_at_the_begin_of_the_ring() {
    check(Oracle::Qemu, replayed(7, 8), |parts, table| {
        let tail = parts.log_len - 4096;
        vec![
            (tail, entry(parts, 7, tail, vec![Change::Zero(parts.bat_at, 4096)]).bytes()),
            (0, entry(parts, 8, tail, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes()),
        ]
    });
}

#[test]
fn an_entry_goes_on_at_the_begin_of_the_ring() {
    check(Oracle::Qemu, replayed(7, 7), |parts, table| {
        let tail = parts.log_len - 4096;
        vec![(tail, entry(parts, 7, tail, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes())]
    });
}

#[test]
fn descriptors_of_more_than_one_sector() {
    // 126 descriptors fit behind the head, the rest into a sector of their own. QEMU 7.2 answers EINVAL to more than one sector of them.
    check(Oracle::Source, replayed(1 << 33, 1 << 33), |parts, table| {
        let mut changes: Vec<Change> =
            (1..201).map(|i| Change::Data(parts.bat_at + i * 4096, vec![i as u8; 4096])).collect();
        changes.push(Change::Zero(parts.bat_at + 4096, 200 * 4096));
        changes.push(Change::Data(parts.bat_at, table.to_vec()));
        vec![(0, entry(parts, 1 << 33, 0, changes).bytes())]
    });
}

#[test]
fn the_file_is_extended_in_memory() {
    // The 12th block, which is not present, gets a place behind the end of the file. QEMU 7.2 extends a file only to an odd length
    // (vhdx_log_flush), and then misses the block.
    check(Oracle::Source, replayed(7, 7), |parts, table| {
        let mut table = table.to_vec();
        assert!(table[11 * 8] & 7 < 6, "the block is not stored");
        table[11 * 8..12 * 8].copy_from_slice(&(parts.file_len | 6).to_le_bytes());
        let mut entry = entry(parts, 7, 0, vec![Change::Data(parts.bat_at, table)]);
        entry.last = parts.file_len + (1 << 20);
        vec![(0, entry.bytes())]
    });
}

#[test]
fn entries_before_the_tail_are_in_place_already_and_are_not_replayed() {
    // The first one would destroy the metadata.
    check(Oracle::Source, replayed(6, 6), |parts, table| {
        vec![
            (0, entry(parts, 5, 0, vec![Change::Zero(2 << 20, 1 << 20)]).bytes()),
            (4096, entry(parts, 6, 4096, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes()),
        ]
    });
}

#[test]
fn the_newest_complete_sequence_wins_wherever_it_is() {
    check(Oracle::Source, replayed(9, 9), |parts, table| {
        vec![
            (0, entry(parts, 3, 0, vec![Change::Zero(parts.bat_at, 4096)]).bytes()),
            (40960, entry(parts, 9, 40960, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes()),
        ]
    });
}

#[test]
fn an_entry_torn_while_it_was_written_is_skipped_and_noted() {
    let torn = |byte: usize| {
        check(Oracle::Source, replayed(7, 7), |parts, table| {
            let whole = entry(parts, 7, 0, vec![Change::Data(parts.bat_at, table.to_vec())]).bytes();
            let mut torn = entry(parts, 8, 0, vec![Change::Zero(parts.bat_at, 4096)]).bytes();
            torn[byte] ^= 0xFF;
            vec![(0, whole), (8192, torn)]
        })
    };
    // In a descriptor, and in the sequence number itself, whose upper half becomes 0xFF.
    for (byte, sequence) in [(100, 8u64), (20, 0xFF_0000_0008)] {
        let notes = torn(byte);
        assert_eq!(notes.len(), 1, "{notes:?}");
        let begin = format!("log entry {sequence} at 0x102000 was torn while it was written and was skipped");
        assert!(notes[0].starts_with(&begin) && notes[0].contains("CRC-32C"), "{notes:?}");
    }
}

#[test]
fn a_log_may_change_the_region_tables() {
    // One region table is lost on disk and restored by the log, the other is lost for good.
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let image = bench.convert(&raw, "image.vhdx", "vhdx", "block_size=1M");
    let parts = parts(&image);
    let table = bytes_at(&image, 0x30000, 4096);
    patch(&image, 0x30000, &[0; 4096]);
    patch(&image, 0x40000, &[0; 4096]);
    make_dirty(&image, parts, &[(0, entry(parts, 7, 0, vec![Change::Data(0x30000, table)]).bytes())]);
    let found = opened(&image);
    same(&content(&*found.disk), &std::fs::read(&raw).expect("the raw disk"));
    assert_eq!(found.info.notes.len(), 1, "{:?}", found.info.notes);
}

#[test]
fn an_entry_that_qemu_wrote() {
    // QEMU empties its log after each write, but leaves the entry where it is. With its id back in the header it counts again.
    let bench = Bench::new();
    let image = bench.path("image.vhdx");
    run("qemu-img", ["create", "-q", "-f", "vhdx", "-o", "block_size=1M", text(&image), "24M"]);
    run(
        "qemu-io",
        ["-f", "vhdx", "-c", "write -q -P 0x5a 3M 64k", "-c", "write -q -P 0x11 9M 4k", text(&image)],
    );
    let expect = content(&*opened(&image).disk);
    let parts = parts(&image);
    let entry = bytes_at(&image, parts.log_at + 8192, 8192);
    assert_eq!(&entry[..4], b"loge");
    patch(&image, parts.bat_at, &[0; 4096]);
    patch(&image, parts.header + 48, &entry[32..48]);
    fix_crc(&image, parts.header, 4096);
    let found = opened(&image);
    assert_eq!(found.info.log, Some(replayed(2, 2)));
    same(&content(&*found.disk), &expect);
    same(&qemu_replays(&bench, &image), &expect);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Any changes in any number of entries, anywhere in the ring, are replayed as QEMU replays them, and as a flat array would be changed.
    #[test]
    fn replay_is_what_qemu_replays(
        start in 0u64..256,
        entries in prop::collection::vec(prop::collection::vec((any::<bool>(), 0u64..512, 1u64..9), 0..9), 1..6),
    ) {
        let bench = Bench::new();
        let block = |seed| Block::Full(noise(seed, 1 << 20));
        let image = Vhdx::new(3 << 20, 1 << 20, 512).block(0, block(1)).block(2, block(2)).write(&bench.path("image.vhdx"));
        // The two blocks lie one behind the other in the file, from here on.
        let data_at = 4u64 << 20;
        let mut flat = [noise(1, 1 << 20), noise(2, 1 << 20)].concat();
        let parts = parts(&image);
        let (mut log, mut place, mut qemu_loses_the_rest) = (Vec::new(), start * 4096, false);
        for (i, changes) in entries.iter().enumerate() {
            let changes = changes.iter().enumerate().map(|(j, (zero, sector, count))| {
                let from = *sector as usize * 4096;
                if *zero {
                    let to = (from + *count as usize * 4096).min(flat.len());
                    flat[from..to].fill(0);
                    return Change::Zero(data_at + from as u64, (to - from) as u64);
                }
                let bytes = noise((i * 100 + j) as u64, 4096);
                flat[from..from + 4096].copy_from_slice(&bytes);
                Change::Data(data_at + from as u64, bytes)
            });
            let bytes = entry(parts, 7 + i as u64, start * 4096, changes.collect()).bytes();
            if place == RING {
                qemu_loses_the_rest = true;
            }
            log.push((place, bytes.clone()));
            place += bytes.len() as u64;
        }
        make_dirty(&image, parts, &log);
        let found = opened(&image);
        let ours = content(&*found.disk);
        assert_eq!(found.info.log, Some(replayed(7, 6 + entries.len() as u64)));
        let (first, second) = flat.split_at(1 << 20);
        same(&ours, &[first, &[0; 1 << 20], second].concat());
        if !qemu_loses_the_rest {
            same(&qemu_replays(&bench, &image), &ours);
        }
    }
}

/// One entry ends where the ring ends and the next begins where the ring does. QEMU 7.2 replays neither, so the judge is what the entries say.
#[test]
fn an_entry_that_begins_with_the_ring_belongs_to_the_one_that_ended_with_it() {
    let bench = Bench::new();
    let old = noise(1, 1 << 20);
    let image =
        Vhdx::new(1 << 20, 1 << 20, 512).block(0, Block::Full(old.clone())).write(&bench.path("image.vhdx"));
    let (parts, data_at) = (parts(&image), 4u64 << 20);
    let start = RING - 4096;
    let zero = |n: u64| entry(parts, 7 + n, start, vec![Change::Zero(data_at + n * 8192, 4096)]).bytes();
    make_dirty(&image, parts, &[(start, zero(0)), (RING, zero(1))]);
    let found = opened(&image);
    assert_eq!(found.info.log, Some(replayed(7, 8)));
    let mut expect = old;
    expect[..4096].fill(0);
    expect[8192..12288].fill(0);
    same(&content(&*found.disk), &expect);
}
