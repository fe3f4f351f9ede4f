//! Logs with changes that are not in place: we read what `qemu-img` reads once it has replayed them, and leave the file alone.

use crate::bench::{Bench, bytes_at, check_extents, content, opened, patch, run, same, text};
use crate::vhdx_builder::{Change, LOG_ID, LogEntry, Parts, make_dirty, parts};
use engine::container::LogState;
use std::path::PathBuf;

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
        let copy = bench.path("copy.vhdx");
        std::fs::copy(&image, &copy).expect("a copy");
        run("qemu-img", ["check", "-q", "-r", "all", "-f", "vhdx", text(&copy)]);
        let replayed = bench.path("replayed.raw");
        run("qemu-img", ["convert", "-f", "vhdx", "-O", "raw", text(&copy), text(&replayed)]);
        same(&ours, &std::fs::read(&replayed).expect("QEMU's disk"));
    }
    found.unchanged().expect("an untouched source");
    same(&std::fs::read(&image).expect("the image"), &before);
    found.info.notes
}

fn replayed(first: u64, last: u64) -> LogState {
    LogState::Replayed { first, last }
}

/// An entry for an image of these parts, to be replayed from `tail` on.
pub fn entry(parts: Parts, sequence: u64, tail: u64, changes: Vec<Change>) -> LogEntry {
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
