//! Every log of a VHDX that is not replayed: the whole text, and what to do next.

use crate::bench::Bench;
use crate::refusals_vhdx::{COPY_AGAIN, HEADERS, both, check, put, small};
use crate::vhdx_builder::{BAT_AT, Change, LOG_ID, LogEntry, make_dirty, parts};
use engine::units::MIB;

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

#[test]
fn logs_without_a_complete_sequence() {
    let zero = || vec![Change::Zero(BAT_AT, 4096)];
    logged(
        "no entry",
        &[],
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found no entry at all",
    );
    changed(
        "only of another log",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 32, &[0xFF], true),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found only entries of other logs, 1 of them",
    );
    changed(
        "only a torn one",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 70, &[1], false),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, which is torn: its CRC-32C is 0x3fc2b892, computed 0x7c6ebc22",
    );
    changed(
        "length",
        &[(0, 7, 0, zero())],
        |_, e| put(e, 8, &[1], false),
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, which is torn: its length is 0x1001, wanted a multiple of 4096 within the log's 0x100000 bytes",
    );
    logged(
        "tail elsewhere",
        &[(0, 7, 8192, zero())],
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 7 at 0x100000, whose sequence should begin with the entry at 0x102000, but that one does not lead to it",
    );
    let three = [(0, 7, 0, zero()), (4096, 8, 0, zero()), (8192, 9, 0, zero())];
    changed(
        "hole",
        &three,
        |n, e| if n == 8 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log entry 9 at 0x102000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    changed(
        "first torn",
        &three,
        |n, e| if n == 7 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log at 0x100000: wanted a complete sequence of entries of the log 20676F6C-666F-7420-6865-207465737473, found entry 9 at 0x102000, whose sequence should begin with the entry at 0x100000, but that one does not lead to it",
    );
    logged(
        "number missing",
        &[(0, 7, 0, zero()), (4096, 9, 0, zero())],
        "FILE: VHDX: log entry 9 at 0x101000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    logged(
        "two of one number",
        &[(0, 7, 0, zero()), (8192, 7, 8192, zero())],
        "FILE: VHDX: log entry 7 at 0x102000: wanted every entry from 8 on, found a hole: the last complete sequence ends with entry 7 at 0x100000",
    );
    let apart = [(0, 7, 0, zero()), (16384, 8, 0, zero())];
    changed(
        "torn elsewhere",
        &apart,
        |n, e| if n == 8 { put(e, 70, &[1], false) } else { e },
        "FILE: VHDX: log entry 8 at 0x104000: wanted a sound entry, or its place right behind the last sound one at 0x101000, found its CRC-32C is 0xd47a7f0f, computed 0x97d67bbf",
    );
}

#[test]
fn log_entries_that_make_no_sense() {
    let one = |change: Change| [(0, 7, 0, vec![change])];
    let data = |at| one(Change::Data(at, vec![1; 4096]));
    let zero = |at, len| one(Change::Zero(at, len));
    logged(
        "into a header",
        &data(0x10000),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place behind the headers, from 0x30000 on, found 0x1000 bytes at 0x10000",
    );
    logged(
        "into the log",
        &data(2 * MIB - 4096),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place outside the log itself, found 0x1000 bytes at 0x1ff000",
    );
    logged(
        "over the log",
        &zero(0x40000, 2 * MIB),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place outside the log itself, found 0x200000 bytes at 0x40000",
    );
    logged(
        "beyond the file",
        &data(6 * MIB),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place within the 0x600000 bytes the entry says the file has, found 0x1000 bytes at 0x600000",
    );
    logged(
        "wraps around",
        &zero(!4095, 8192),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted a place within the 0x600000 bytes the entry says the file has, found 0x2000 bytes at 0xfffffffffffff000",
    );
    logged(
        "unaligned",
        &data(BAT_AT + 512),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x1000 bytes at 0x300200",
    );
    logged(
        "part of a sector",
        &zero(BAT_AT, 512),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x200 bytes at 0x300000",
    );
    logged(
        "nothing",
        &zero(BAT_AT, 0),
        "FILE: VHDX: target of a descriptor of log entry 7 at 0x100040: wanted whole sectors of 4096 bytes, found 0x0 bytes at 0x300000",
    );
    let twice = |_: u64, e: Vec<u8>| {
        let descriptor = e[64..96].to_vec();
        put(put(e, 96, &descriptor, false), 24, &[2], true)
    };
    changed(
        "two descriptors, one sector of data",
        &data(BAT_AT),
        twice,
        "FILE: VHDX: data of descriptor 1 of log entry 7 at 0x100060: wanted a sector within the entry, found none left",
    );
    let changed = |row, at, bytes: &'static [u8], text| {
        changed(row, &data(BAT_AT), |_, e| put(e, at, bytes, true), text);
    };
    changed(
        "sequence number 0",
        16,
        &[0],
        "FILE: VHDX: sequence number of log entry 0 at 0x100000: wanted more than 0, found 0x0",
    );
    changed(
        "tail not aligned",
        12,
        &[1],
        "FILE: VHDX: tail of log entry 7 at 0x100000: wanted a multiple of 4096 below 0x100000, found 0x1",
    );
    changed(
        "tail outside",
        12,
        &[0, 0, 0x10],
        "FILE: VHDX: tail of log entry 7 at 0x100000: wanted a multiple of 4096 below 0x100000, found 0x100000",
    );
    changed(
        "too many descriptors",
        24,
        &[255],
        "FILE: VHDX: descriptor count of log entry 7 at 0x100000: wanted as many as fit into 0x2000 bytes, found 0xff",
    );
    changed(
        "far too many descriptors",
        24,
        &[255, 255, 255, 255],
        "FILE: VHDX: descriptor count of log entry 7 at 0x100000: wanted as many as fit into 0x2000 bytes, found 0xffffffff",
    );
    changed(
        "a descriptor of nothing",
        24,
        &[2],
        "FILE: VHDX: sequence number of descriptor 1 of log entry 7 at 0x100060: wanted 7, found 0",
    );
    changed(
        "signature of a descriptor",
        64,
        b"DESC",
        "FILE: VHDX: signature of descriptor 0 of log entry 7 at 0x100040: wanted `zero` or `desc`, found [44, 45, 53, 43]",
    );
    changed(
        "number of a descriptor",
        64 + 24,
        &[8],
        "FILE: VHDX: sequence number of descriptor 0 of log entry 7 at 0x100040: wanted 7, found 8",
    );
    changed(
        "signature of data",
        4096,
        b"DATA",
        "FILE: VHDX: data sector of log entry 7 at 0x101000: wanted `data` and sequence number 7, found [44, 41, 54, 41] and 7",
    );
    changed(
        "number of data",
        8188,
        &[8],
        "FILE: VHDX: data sector of log entry 7 at 0x101000: wanted `data` and sequence number 7, found [64, 61, 74, 61] and 8",
    );
    changed(
        "truncated",
        48,
        &[0, 0, 0, 1],
        "FILE: VHDX: log entry 7 at 0x100000: wanted a file of at least the 0x1000000 bytes that it calls flushed, found 0x600000 bytes: the file is truncated",
    );
    changed(
        "length of the file",
        62,
        &[1],
        "FILE: VHDX: last file offset of log entry 7 at 0x100000: wanted at most 0x800000000000, found 0x1000000600000",
    );
}

#[test]
fn a_log_longer_than_the_bound() {
    let bench = Bench::new();
    let image = small().write(&bench.path("image"));
    both(&image, HEADERS, 4096, 48, &LOG_ID);
    both(&image, HEADERS, 4096, 68, &(65u32 << 20).to_le_bytes());
    check(
        &bench,
        "65 MiB",
        "FILE: a VHDX with changes in a log of 0x4100000 bytes, wanted at most 0x4000000",
        "replay the log on a copy: attach and detach it once in Hyper-V (Mount-VHD, Dismount-VHD), or run `qemu-img check -r all`",
    );
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
    check(
        &bench,
        "nested",
        "FILE: VHDX: log at 0x110000: wanted entries one after another, found entries that lie in one another",
        COPY_AGAIN,
    );
}
