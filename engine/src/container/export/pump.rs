//! Read and write at the same time: one thread fills buffers, another empties them.

use super::partial::Partial;
use super::{ExportError, Progress, Sink, Storage};
use crate::disk::{Disk, ExtentKind, ReadError};
use crate::units::ByteOffset;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of one step.
const STEP: u64 = 4 << 20;
/// Steps that may wait to be written.
const QUEUE: usize = 3;
/// Zeros are looked for in pieces of this size; a smaller hole saves no space on common file systems.
const GRAIN: usize = 64 << 10;
/// Bytes written between flushes: small enough that no flush, not even the last, holds up a cancel for long.
const FLUSH_EVERY: u64 = 64 << 20;

pub(super) enum PumpError {
    Read(ReadError),
    Write(io::Error),
    Cancelled,
}

impl PumpError {
    pub(super) fn at(self, path: &Path) -> ExportError {
        match self {
            PumpError::Read(error) => ExportError::Read(error),
            PumpError::Cancelled => ExportError::Cancelled,
            PumpError::Write(source) => {
                ExportError::Write { doing: "writing", path: path.to_path_buf(), source }
            }
        }
    }
}

struct Step {
    at: u64,
    bytes: Vec<u8>,
}

/// Copy all data of `disk` into `sink`. Returns the bytes written.
pub(super) fn pump(
    disk: &dyn Disk,
    sink: &mut dyn Sink,
    out: &Partial,
    total: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, PumpError> {
    std::thread::scope(|scope| {
        let (full, to_write) = sync_channel::<Step>(QUEUE);
        let (empty, to_fill) = sync_channel::<Vec<u8>>(QUEUE + 2);
        let writer = scope.spawn(move || drain(sink, out, &to_write, &empty));
        let read = feed(disk, &full, &to_fill, total, progress);
        drop(full); // lets the writer come to its end
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")));
        match (read, written) {
            // A writer that failed is why the reader found the queue closed.
            (_, Err(error)) => Err(PumpError::Write(error)),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(written)) => Ok(written),
        }
    })
}

fn feed(
    disk: &dyn Disk,
    full: &SyncSender<Step>,
    to_fill: &Receiver<Vec<u8>>,
    total: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), PumpError> {
    let (mut at, mut done) = (0u64, 0u64);
    while let Some(extent) = disk.next_extent(ByteOffset(at)).map_err(PumpError::Read)? {
        let end = at.saturating_add(extent.len.get());
        while extent.kind == ExtentKind::Data && at < end {
            if progress(Progress { done, total }).is_break() {
                return Err(PumpError::Cancelled);
            }
            // Steps end at multiples of their size, so pieces of the same block meet in one step.
            let len = (STEP - at % STEP).min(end - at);
            let mut bytes = to_fill.try_recv().unwrap_or_default();
            bytes.resize(len as usize, 0);
            disk.read_at(ByteOffset(at), &mut bytes).map_err(PumpError::Read)?;
            if full.send(Step { at, bytes }).is_err() {
                return Ok(()); // the writer stopped; its error says why
            }
            at += len;
            done = done.saturating_add(len);
        }
        at = end;
        if progress(Progress { done, total }).is_break() {
            return Err(PumpError::Cancelled);
        }
    }
    Ok(())
}

fn drain(
    sink: &mut dyn Sink,
    out: &Partial,
    to_write: &Receiver<Step>,
    empty: &SyncSender<Vec<u8>>,
) -> io::Result<u64> {
    let (mut written, mut unflushed) = (0u64, 0u64);
    for step in to_write {
        for (start, end) in data_runs(&step.bytes, step.at) {
            let mut piece = &step.bytes[start..end];
            let mut at = step.at + start as u64;
            while !piece.is_empty() {
                let (place, len) = sink.place(out, at, piece.len() as u64)?;
                let (now, rest) = piece.split_at(len as usize); // at most the piece
                out.write_at(place, now)?;
                at += len;
                piece = rest;
            }
            unflushed += (end - start) as u64;
            written += (end - start) as u64;
        }
        if unflushed >= FLUSH_EVERY {
            out.file().sync_data()?;
            unflushed = 0;
        }
        let _ = empty.try_send(step.bytes); // a buffer that finds no place is freed
    }
    Ok(written)
}

/// Ranges of `bytes`, which lie at `at`, that are not all zero; cut at multiples of [`GRAIN`] of the disk.
fn data_runs(bytes: &[u8], at: u64) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let to_grain = GRAIN - ((at + start as u64) % GRAIN as u64) as usize;
        let end = (start + to_grain).min(bytes.len());
        if !is_zero(&bytes[start..end]) {
            match runs.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => runs.push((start, end)),
            }
        }
        start = end;
    }
    runs
}

/// Whether all bytes are zero. An OR over words: the compiler turns it into vector instructions, which `all` prevents.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    let strides = words.chunks(64); // 1 KiB: leaves data early
    strides.into_iter().all(|s| s.iter().fold(0, |or, w| or | u128::from_ne_bytes(*w)) == 0)
        && rest.iter().all(|b| *b == 0)
}
