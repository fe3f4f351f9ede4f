//! Structured replies. `doc/proto.md`, "Structured reply chunk message".

use super::line::{Line, wrong};
use super::{Run, Trouble};
use crate::serve::protocol::{self as nbd, allocation, chunk};
use engine::disk::ExtentKind;
use std::io;

/// Error chunks in one reply.
const ERRORS_MAX: usize = 16;
/// Longest error chunk, in bytes: number, length and a string of 4096.
const ERROR_MAX: usize = 8 << 10;
/// Longest block status chunk, in bytes. QEMU sends at most 1 MiB of them (`NBD_MAX_BLOCK_STATUS_EXTENTS` in `nbd/server.c`).
const STATUS_MAX: usize = (2 << 20) + 4;

/// The head of a chunk, with an error chunk's body already taken.
struct Chunk {
    done: bool,
    kind: u16,
    len: u32,
}

/// Reads chunks of one reply.
struct Reply<'a> {
    line: &'a mut Line,
    cookie: u64,
    errors: usize,
    /// The first error the server told.
    error: Option<io::Error>,
}

impl Reply<'_> {
    fn new(line: &mut Line, cookie: u64) -> Reply<'_> {
        Reply { line, cookie, errors: 0, error: None }
    }

    /// The next chunk that is no error.
    fn next(&mut self) -> io::Result<Chunk> {
        loop {
            let magic = self.line.u32()?;
            if magic != nbd::STRUCTURED_REPLY {
                return Err(wrong("reply", format!("{:#x}", nbd::STRUCTURED_REPLY), format!("{magic:#x}")));
            }
            let (flags, kind) = (self.line.u16()?, self.line.u16()?);
            let (cookie, len) = (self.line.u64()?, self.line.u32()?);
            if cookie != self.cookie {
                return Err(wrong("reply", format!("one to request {}", self.cookie), cookie));
            }
            let done = flags & chunk::DONE != 0;
            if kind & chunk::ERROR == 0 {
                return Ok(Chunk { done, kind, len });
            }
            self.take_error(len)?;
            if done {
                return Ok(Chunk { done, kind: chunk::NONE, len: 0 });
            }
        }
    }

    /// "NBD_REPLY_TYPE_ERROR": number, length of the words, words.
    fn take_error(&mut self, len: u32) -> io::Result<()> {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            return Err(wrong("errors in one reply", format!("at most {ERRORS_MAX}"), "more"));
        }
        let body = self.line.take(u64::from(len), ERROR_MAX, "error")?;
        let Some((number, rest)) = body.split_first_chunk::<4>() else {
            return Err(wrong("error", "at least 4 bytes", len));
        };
        let number = u32::from_be_bytes(*number);
        if number == 0 {
            return Err(wrong("error", "a number", 0));
        }
        let words = rest
            .split_first_chunk::<2>()
            .and_then(|(n, rest)| rest.get(..usize::from(u16::from_be_bytes(*n))));
        let words = String::from_utf8_lossy(words.unwrap_or_default()).into_owned();
        let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.error.get_or_insert_with(|| io::Error::other(format!("qemu-nbd: error {number} {words}")));
        Ok(())
    }

    fn end(self) -> Result<(), Trouble> {
        self.error.map_or(Ok(()), |e| Err(Trouble::Refused(e)))
    }
}

/// The reply to a read of `buf.len()` bytes at `at`. Its pieces must come in order, each byte once.
pub(super) fn read(line: &mut Line, cookie: u64, at: u64, buf: &mut [u8]) -> Result<(), Trouble> {
    let end = at.saturating_add(buf.len() as u64);
    let (mut at, mut rest) = (at, buf);
    let mut reply = Reply::new(line, cookie);
    loop {
        let Chunk { done, kind, len } = reply.next()?;
        let n = match kind {
            chunk::NONE if len == 0 && done => 0,
            chunk::OFFSET_DATA if len > 8 => u64::from(len) - 8,
            chunk::OFFSET_HOLE if len == 12 => 0,
            _ => {
                return Err(
                    wrong("chunk of a read", "bytes or zeros", format!("type {kind}, {len} bytes")).into()
                );
            }
        };
        if kind != chunk::NONE {
            let offset = reply.line.u64()?;
            let n = if kind == chunk::OFFSET_HOLE { u64::from(reply.line.u32()?) } else { n };
            let wanted = || format!("bytes from {at:#x} on, at most {}", rest.len());
            if offset != at || n == 0 || n > rest.len() as u64 {
                return Err(wrong("chunk of a read", wanted(), format!("{n} at {offset:#x}")).into());
            }
            let (piece, behind) = rest.split_at_mut(n as usize); // at most rest.len()
            if kind == chunk::OFFSET_HOLE {
                piece.fill(0);
            } else {
                reply.line.fill(piece)?;
            }
            (at, rest) = (at.saturating_add(n), behind);
        }
        if done {
            break;
        }
    }
    if reply.error.is_none() && !rest.is_empty() {
        return Err(wrong("read", format!("bytes up to {end:#x}"), format!("an end at {at:#x}")).into());
    }
    reply.end()
}

/// The reply to a block status at `at`: stretches, coalesced, none beyond `disk_len`.
pub(super) fn status(line: &mut Line, cookie: u64, at: u64, disk_len: u64) -> Result<Vec<Run>, Trouble> {
    let mut reply = Reply::new(line, cookie);
    let mut runs: Vec<Run> = Vec::new();
    let mut told = false;
    loop {
        let Chunk { done, kind, len } = reply.next()?;
        match kind {
            chunk::NONE if len == 0 && done => {}
            chunk::BLOCK_STATUS if !told => {
                told = true;
                let body = reply.line.take(u64::from(len), STATUS_MAX, "block status")?;
                runs = stretches(&body, at, disk_len)?;
            }
            _ => return Err(wrong("chunk of a block status", "one context", format!("type {kind}")).into()),
        }
        if done {
            break;
        }
    }
    if reply.error.is_none() && runs.is_empty() {
        return Err(wrong("block status", "at least one stretch", "none").into());
    }
    reply.end()?;
    Ok(runs)
}

/// Context id, then pairs of length and flags. Only one context was chosen, so its id says nothing.
fn stretches(body: &[u8], at: u64, disk_len: u64) -> io::Result<Vec<Run>> {
    let pairs = match body.get(4..).map(<[u8]>::as_chunks::<8>) {
        Some((pairs, [])) => pairs,
        _ => return Err(wrong("block status", "4 bytes and pairs of 8", format!("{} bytes", body.len()))),
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut at = at;
    for [a, b, c, d, flags @ ..] in pairs {
        let len = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        if len == 0 {
            return Err(wrong("stretch of a block status", "a length", 0));
        }
        let flags = u32::from_be_bytes(*flags);
        let kind = match (flags & allocation::ZERO != 0, flags & allocation::HOLE != 0) {
            (true, true) => ExtentKind::Hole,
            (true, false) => ExtentKind::Zero,
            // A hole that is not said to read as zeros must be read.
            (false, _) => ExtentKind::Data,
        };
        // The last one may reach further than was asked, and further than the disk.
        let end = at.saturating_add(len).min(disk_len);
        if end <= at {
            return Err(wrong("block status", format!("stretches up to {disk_len:#x}"), "more"));
        }
        match runs.last_mut() {
            Some(last) if last.kind == kind => last.end = end,
            _ => runs.push(Run { at, end, kind }),
        }
        at = end;
    }
    Ok(runs)
}
