//! What an export leaves when the power goes: nothing, the whole, or a file that is refused.
//!
//! The storage here may lose, reorder or tear (at 512 bytes) any writes that were not flushed, and may or may not have kept a name that was
//! not flushed. The writers and [`publish`](super::partial::publish) are the real ones. The twin of the test takes one flush away
//! and must then find a file that is taken for sound and is not.

use super::partial::{Target, publish};
use super::pump::pump;
use super::sink::sink_for;
use super::{ExportError, ExportOptions, OutFormat, Storage};
use crate::container::{Gate, open_through};
use crate::disk::{Disk, FileSpan, Geometry, Overlay, SourceFile, Write};
use crate::hash::{self, ContentHash};
use crate::units::{ByteLen, ByteOffset, MIB, SectorSize};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes that are written whole or not at all.
const SECTOR: usize = 512;
/// Ways in which unflushed writes are lost, for each cut point.
const SEEDS: u64 = 12;

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Flush,
    Name,
    FlushFolder,
}

impl Op {
    fn is_flush(&self) -> bool {
        matches!(self, Op::Flush | Op::FlushFolder)
    }
}

/// Writes down what is done to it, in order.
#[derive(Default)]
struct Recorder(Mutex<Vec<Op>>);

impl Recorder {
    fn push(&self, op: Op) {
        self.0.lock().expect("no panic under the lock").push(op);
    }
}

impl Storage for Recorder {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.push(Op::Write(at, bytes.to_vec()));
        Ok(())
    }
    fn copy_at(&self, at: u64, from: FileSpan<'_>) -> io::Result<bool> {
        let mut bytes = vec![0; from.len as usize];
        from.file.read_exact_at(from.at, &mut bytes)?;
        self.write_at(at, &bytes).map(|()| true)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.push(Op::SetLen(len));
        Ok(())
    }
}

impl Target for Recorder {
    fn flush(&self) -> Result<(), ExportError> {
        self.push(Op::Flush);
        Ok(())
    }
    fn take_name(&self) -> Result<(), ExportError> {
        self.push(Op::Name);
        Ok(())
    }
    fn flush_folder(&self) -> Result<(), ExportError> {
        self.push(Op::FlushFolder);
        Ok(())
    }
}

/// xorshift64*: the same decisions for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// A disk of 5 MiB with data from a file (which the kernel would copy) and from memory, and zeros between.
fn sample(folder: &Path) -> Arc<dyn Disk> {
    let path = folder.join("source.raw");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(5 * MIB).expect("room");
    let mut dice = Dice(0x5EED);
    for at in [0, MIB + 4096, 3 * MIB - 512] {
        let noise: Vec<u8> = (0..150_000).map(|_| dice.roll(255) as u8 + 1).collect();
        file.write_all_at(&noise, at).expect("a write");
    }
    file.write_all_at(&[0x55, 0xAA], 510).expect("a write");
    let base = crate::container::open(&path, Some(crate::container::Format::Raw)).expect("a raw disk").disk;
    let geometry = Geometry { len: ByteLen(5 * MIB), sector: SectorSize::B512 };
    let writes = vec![Write { at: ByteOffset(4 * MIB + 100), bytes: Arc::from(vec![0x77; 9000]) }];
    Arc::new(Overlay::new(base, geometry, writes).expect("an overlay"))
}

fn go(_: super::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn record(disk: &dyn Disk, format: OutFormat) -> Vec<Op> {
    let options = ExportOptions::new(*b"sixteen byte id.", 1_800_000_000);
    let recorder = Recorder::default();
    let mut sink = sink_for(disk.geometry(), format, &options).expect("a sink");
    assert!(pump(disk, &mut *sink, &recorder, 0, &mut go).is_ok());
    sink.finish(&recorder).expect("a finished file");
    publish(&recorder).expect("a published file");
    recorder.0.into_inner().expect("no panic under the lock")
}

/// The file after the power went behind `done`; `None` when there is none under its final name.
fn after_cut(done: &[Op], dice: &mut Dice) -> Option<Vec<u8>> {
    let named = done.iter().position(|op| *op == Op::Name)?;
    let name_is_safe = done[named..].contains(&Op::FlushFolder);
    if !name_is_safe && dice.roll(2) == 0 {
        return None;
    }
    let safe = done.iter().rposition(|op| *op == Op::Flush).unwrap_or(0);
    let mut file = Vec::new();
    for op in &done[..safe] {
        apply(&mut file, op, |_| true);
    }
    let mut pending: Vec<&Op> = done[safe..].iter().collect();
    for i in (1..pending.len()).rev() {
        pending.swap(i, dice.roll(i as u64 + 1) as usize);
    }
    // A bias for each cut: sometimes nearly all is lost, sometimes only a sector.
    let keep = 1 + dice.roll(20);
    for op in pending {
        match dice.roll(keep + 1) {
            0 => {}
            1 => apply(&mut file, op, |_| dice.roll(2) == 0),
            _ => apply(&mut file, op, |_| true),
        }
    }
    Some(file)
}

fn apply(file: &mut Vec<u8>, op: &Op, mut sector_arrives: impl FnMut(usize) -> bool) {
    match op {
        Op::Write(at, bytes) => {
            let at = *at as usize;
            for (i, piece) in bytes.chunks(SECTOR).enumerate() {
                if sector_arrives(i) {
                    let from = at + i * SECTOR;
                    if file.len() < from + piece.len() {
                        file.resize(from + piece.len(), 0);
                    }
                    file[from..from + piece.len()].copy_from_slice(piece);
                }
            }
        }
        Op::SetLen(len) if sector_arrives(0) => file.resize(*len as usize, 0),
        _ => {}
    }
}

/// What a program finds under the final name.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Whole,
    Refused,
    /// Taken for sound, and another disk than the one that was exported.
    Wrong,
}

fn look(file: Option<Vec<u8>>, path: &Path, format: OutFormat, whole: ContentHash) -> Found {
    let Some(bytes) = file else { return Found::Nothing };
    std::fs::write(path, bytes).expect("room");
    let Ok(opened) = open_through(path, Some(format.container()), &Gate::closed()) else {
        return Found::Refused;
    };
    match hash::disk(&*opened.disk, &mut go) {
        Ok(found) if found == whole => Found::Whole,
        Ok(_) => Found::Wrong,
        Err(_) => Found::Refused,
    }
}

/// Everything that must not be found, over all cut points and seeds.
fn violations(ops: &[Op], path: &Path, format: OutFormat, whole: ContentHash) -> Vec<String> {
    let mut found = Vec::new();
    let first = ops.iter().position(|op| *op == Op::Name).expect("a name");
    // Before it has its name there is nothing to find, whatever was lost.
    for cut in 0..=first {
        assert_eq!(after_cut(&ops[..cut], &mut Dice(1)), None, "a file without a name after {cut} steps");
    }
    for cut in first + 1..=ops.len() {
        for seed in 1..=SEEDS {
            let file = after_cut(&ops[..cut], &mut Dice(seed * 0x9E37_79B9 + cut as u64));
            let result = look(file, path, format, whole);
            // When the export has said that it is done, the file must be there.
            let allowed = match result {
                Found::Whole => true,
                Found::Nothing | Found::Refused => cut < ops.len(),
                Found::Wrong => false,
            };
            if !allowed {
                found.push(format!("{format:?}, power cut after step {cut} of {}: {result:?}", ops.len()));
            }
        }
    }
    found
}

#[test]
fn a_power_cut_leaves_nothing_or_the_whole_or_a_file_that_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = sample(folder.path());
    let whole = hash::disk(&*disk, &mut go).expect("a hash");
    for format in OutFormat::ALL {
        let ops = record(&*disk, format);
        let bad = violations(&ops, &folder.path().join("out"), format, whole);
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

#[test]
fn with_any_one_flush_taken_away_a_power_cut_does_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = sample(folder.path());
    let whole = hash::disk(&*disk, &mut go).expect("a hash");
    for format in OutFormat::ALL {
        let ops = record(&*disk, format);
        let flushes: Vec<usize> = (0..ops.len()).filter(|i| ops[*i].is_flush()).collect();
        assert_eq!(flushes.len(), 2, "{format:?}: the bytes, then the name");
        for flush in flushes {
            let mut without = ops.clone();
            let taken = without.remove(flush);
            let bad = violations(&without, &folder.path().join("out"), format, whole);
            assert!(
                !bad.is_empty(),
                "{format:?} without {taken:?} was never harmed: the flush is not needed"
            );
        }
    }
}

#[test]
fn the_file_of_an_interrupted_export_is_refused_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".out.raw.drill-partial-123");
    let mut bytes = vec![0; MIB as usize];
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    std::fs::write(&path, bytes).expect("a file");
    let error = crate::container::open(&path, None).expect_err("refused").to_string();
    assert!(error.contains("did not come to its end"), "{error}");
    assert!(SourceFile::open(&path).is_ok());
}
