//! Read and write at the same time: one thread finds data and places it, others put it there.
//!
//! Of bytes that lie in a file as they are only the first ones of each grain are looked at; a grain is read whole only when they are zero. Where the
//! file system can share blocks the kernel is left to do so (`copy_file_range(2)`); elsewhere two threads copy through buffers that stay in the
//! processor's cache, which is faster than the kernel's own copy; what must be durable goes from there past the page cache (docs/performance.md).

use super::direct::Buffer;
use super::{ExportError, Phase, Progress, Sink, Storage};
use crate::disk::{Disk, ExtentKind, FileSpan, ReadError, SourceFile};
use crate::units::ByteOffset;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes between two calls of the progress callback, and most that one call of the kernel copies.
const WINDOW: u64 = 4 << 20;
/// Bytes of a buffer. Small enough that what was read is still in the processor's cache when it is written.
const STEP: u64 = 1 << 20;
/// Pieces that may wait to be written.
const QUEUE: usize = 8;
/// Threads that write. A file takes one write at a time, but one thread can read while another writes.
const WRITERS: usize = 2;
/// Zeros are looked for in pieces of this size; a smaller hole saves no space on common file systems.
const GRAIN: u64 = 64 << 10;
/// Bytes looked at in the beginning of a grain before it is read whole.
const PROBE: usize = 64;
/// How far ahead of the copy the kernel is asked to read.
const AHEAD: u64 = 16 << 20;

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

/// Something to put into the new file.
enum Job<'a> {
    /// Bytes of another file.
    Copy { to: u64, from: FileSpan<'a> },
    /// Parts of a buffer: where each goes, and which bytes it has.
    Write { bytes: Buffer, parts: Vec<(u64, std::ops::Range<usize>)> },
}

/// Copy all data of `disk` into `out`, where `sink` wants it. Returns the bytes written.
pub(super) fn pump(
    disk: &dyn Disk,
    sink: &mut dyn Sink,
    out: &dyn Storage,
    total: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, PumpError> {
    let (kernel_copies, failed) = (&AtomicBool::new(true), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (full, to_write) = bounded::<Job<'_>>(QUEUE);
        let (empty, to_fill) = bounded::<Buffer>(QUEUE + WRITERS);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (to_write, empty) = (to_write.clone(), empty.clone());
                scope.spawn(move || {
                    let drained = drain(out, &to_write, &empty, kernel_copies, failed);
                    // The others stop, too; then nobody takes jobs, and the feeder stops.
                    failed.fetch_or(drained.is_err(), Ordering::Relaxed);
                    drained
                })
            })
            .collect();
        drop((to_write, empty));
        let mut feeder = Feeder { sink, out, full: &full, to_fill: &to_fill, ahead: None, written: 0 };
        let fed = feeder.feed(disk, total, progress);
        let written = feeder.written;
        drop(full); // lets the writers come to their end
        let lost = |_| Err(PumpError::Write(io::Error::other("a writing thread panicked")));
        let ended: Vec<_> = writers.into_iter().map(|w| w.join().unwrap_or_else(lost)).collect();
        // A writer that failed is why the reader found the queue closed.
        ended.into_iter().collect::<Result<(), PumpError>>()?;
        fed.map(|()| written)
    })
}

/// The reading side.
struct Feeder<'p, 'a> {
    sink: &'p mut dyn Sink,
    out: &'p dyn Storage,
    full: &'p Sender<Job<'a>>,
    to_fill: &'p Receiver<Buffer>,
    /// The file that is being read ahead, and how far.
    ahead: Option<(&'a SourceFile, u64)>,
    written: u64,
}

/// The writer stopped; its own error says why.
struct WriterGone;

impl<'a> Feeder<'_, 'a> {
    fn feed(
        &mut self,
        disk: &'a dyn Disk,
        total: u64,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), PumpError> {
        let (mut at, mut done) = (0u64, 0u64);
        while let Some(extent) = disk.next_extent(ByteOffset(at)).map_err(PumpError::Read)? {
            let end = at.saturating_add(extent.len.get());
            while extent.kind == ExtentKind::Data && at < end {
                if progress(Progress { done, total, phase: Phase::Copying }).is_break() {
                    return Err(PumpError::Cancelled);
                }
                // Windows end at multiples of their size, so pieces of one block meet in one window.
                let len = (WINDOW - at % WINDOW).min(end - at);
                if self.window(disk, at, len)?.is_err() {
                    return Ok(());
                }
                at += len;
                done = done.saturating_add(len);
            }
            at = end;
            if progress(Progress { done, total, phase: Phase::Copying }).is_break() {
                return Err(PumpError::Cancelled);
            }
        }
        Ok(())
    }

    /// All of one window; its pieces come from files or from memory.
    fn window(&mut self, disk: &'a dyn Disk, at: u64, len: u64) -> Result<Result<(), WriterGone>, PumpError> {
        let mut done = 0;
        while done < len {
            let (from, left) = (at + done, len - done);
            let sent = match disk.span_at(ByteOffset(from), left).map_err(PumpError::Read)? {
                Some(span) if span.len > 0 && span.len <= left => {
                    done += span.len;
                    self.span(from, span)?
                }
                _ => {
                    let n = left.min(STEP - from % STEP);
                    done += n;
                    self.read(disk, from, n)?
                }
            };
            if sent.is_err() {
                return Ok(sent);
            }
        }
        Ok(Ok(()))
    }

    /// Bytes that lie in a file: only looked at, and left to the writer.
    fn span(&mut self, at: u64, span: FileSpan<'a>) -> Result<Result<(), WriterGone>, PumpError> {
        self.read_ahead(span);
        let is_data = |from: u64, len: u64| grain_is_data(span, from - at, len);
        for (from, len) in runs(at, span.len, is_data).map_err(PumpError::Read)? {
            let (mut from, end) = (from, from + len);
            while from < end {
                let (to, n) = self.place(from, end - from)?;
                let piece = FileSpan { file: span.file, at: span.at + (from - at), len: n };
                if self.full.send(Job::Copy { to, from: piece }).is_err() {
                    return Ok(Err(WriterGone));
                }
                from += n;
            }
        }
        Ok(Ok(()))
    }

    /// Bytes that must pass through memory.
    fn read(&mut self, disk: &dyn Disk, at: u64, len: u64) -> Result<Result<(), WriterGone>, PumpError> {
        let mut buffer = self.to_fill.try_recv().unwrap_or_default();
        let bytes = buffer.sized(len as usize); // at most STEP
        disk.read_at(ByteOffset(at), bytes).map_err(PumpError::Read)?;
        let is_data = |from: u64, len: u64| {
            let start = (from - at) as usize;
            Ok(!is_zero(&bytes[start..start + len as usize]))
        };
        let found = runs(at, len, is_data).map_err(PumpError::Read)?;
        let mut parts = Vec::new();
        for (from, len) in found {
            let (mut from, end) = (from, from + len);
            while from < end {
                let (to, n) = self.place(from, end - from)?;
                let start = (from - at) as usize;
                parts.push((to, start..start + n as usize));
                from += n;
            }
        }
        let sent = self.full.send(Job::Write { bytes: buffer, parts });
        Ok(sent.map_err(|_| WriterGone))
    }

    fn place(&mut self, at: u64, len: u64) -> Result<(u64, u64), PumpError> {
        let (to, n) = self.sink.place(self.out, at, len).map_err(PumpError::Write)?;
        let n = n.clamp(1, len);
        self.written = self.written.saturating_add(n);
        Ok((to, n))
    }

    /// Ask the kernel for what comes next, so that the device reads while the writer writes.
    fn read_ahead(&mut self, span: FileSpan<'a>) {
        let wanted = span.at.saturating_add(span.len).saturating_add(AHEAD).min(span.file.len());
        let from = match self.ahead {
            Some((file, to)) if std::ptr::eq(file, span.file) && (span.at..=wanted).contains(&to) => to,
            _ => span.at,
        };
        // In pieces, so that not each window costs a call.
        if wanted.saturating_sub(from) >= AHEAD / 2 || from == span.at {
            // The kernel looks at each page of what it is asked for: not worth it for what is in memory.
            let cached = [from, from + (wanted - from) / 2, wanted.saturating_sub(1)];
            if !cached.into_iter().all(|at| span.file.is_cached(at)) {
                span.file.will_need(from, wanted.saturating_sub(from));
            }
            self.ahead = Some((span.file, wanted));
        }
    }
}

/// One of the writing side, until there is nothing more to write or another one failed.
fn drain(
    out: &dyn Storage,
    to_write: &Receiver<Job<'_>>,
    empty: &Sender<Buffer>,
    kernel_copies: &AtomicBool,
    failed: &AtomicBool,
) -> Result<(), PumpError> {
    let mut buf = Buffer::default();
    for job in to_write {
        if failed.load(Ordering::Relaxed) {
            return Ok(()); // the other's error says why
        }
        match job {
            Job::Copy { to, from } => {
                let copied = kernel_copies.load(Ordering::Relaxed)
                    && out.copy_at(to, from).map_err(|e| match e.kind() {
                        // Only the file that is read can end too early.
                        io::ErrorKind::UnexpectedEof => read_error(from, from.at, e),
                        _ => PumpError::Write(e),
                    })?;
                if !copied {
                    kernel_copies.store(false, Ordering::Relaxed);
                    copy_through(out, to, from, &mut buf)?;
                }
            }
            Job::Write { bytes, parts } => {
                for (to, range) in parts {
                    out.write_at(to, &bytes.bytes()[range]).map_err(PumpError::Write)?;
                }
                let _ = empty.try_send(bytes); // a buffer that finds no place is freed
            }
        }
    }
    Ok(())
}

/// A copy for file systems between which the kernel cannot.
fn copy_through(out: &dyn Storage, to: u64, from: FileSpan<'_>, buf: &mut Buffer) -> Result<(), PumpError> {
    let mut done = 0;
    while done < from.len {
        let n = (from.len - done).min(STEP);
        let bytes = buf.sized(n as usize); // at most STEP
        let at = from.at + done;
        from.file.read_exact_at(at, bytes).map_err(|e| read_error(from, at, e))?;
        out.write_at(to + done, bytes).map_err(PumpError::Write)?;
        done += n;
    }
    Ok(())
}

fn read_error(from: FileSpan<'_>, at: u64, source: io::Error) -> PumpError {
    PumpError::Read(ReadError::Io { what: from.file.path().display().to_string(), at, source })
}

/// Whether `len` bytes of a span, at most a grain, from `skip` on are not all zero.
fn grain_is_data(span: FileSpan<'_>, skip: u64, len: u64) -> Result<bool, ReadError> {
    let mut grain = [0; GRAIN as usize];
    let at = span.at + skip;
    let failed = |source| ReadError::Io { what: span.file.path().display().to_string(), at, source };
    let probe = &mut grain[..PROBE.min(len as usize)];
    span.file.read_exact_at(at, probe).map_err(failed)?;
    if !is_zero(probe) {
        return Ok(true);
    }
    let whole = &mut grain[..len as usize];
    span.file.read_exact_at(at, whole).map_err(failed)?;
    Ok(!is_zero(whole))
}

/// Stretches of data, as offset and length, among the `len` bytes at `at`; cut at multiples of [`GRAIN`] of the disk.
fn runs(
    at: u64,
    len: u64,
    is_data: impl Fn(u64, u64) -> Result<bool, ReadError>,
) -> Result<Vec<(u64, u64)>, ReadError> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let (mut from, end) = (at, at + len);
    while from < end {
        let n = (GRAIN - from % GRAIN).min(end - from);
        if is_data(from, n)? {
            match runs.last_mut() {
                Some((start, len)) if *start + *len == from => *len += n,
                _ => runs.push((from, n)),
            }
        }
        from += n;
    }
    Ok(runs)
}

/// Whether all bytes are zero. An OR over words: the compiler turns it into vector instructions, which `all` prevents.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    let strides = words.chunks(64); // 1 KiB: leaves data early
    strides.into_iter().all(|s| s.iter().fold(0, |or, w| or | u128::from_ne_bytes(*w)) == 0)
        && rest.iter().all(|b| *b == 0)
}
