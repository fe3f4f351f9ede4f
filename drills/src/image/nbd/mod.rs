//! The client's side of NBD, for a server that is not trusted: `doc/proto.md` of the NetworkBlockDevice project.
//!
//! Fixed newstyle handshake, structured replies, block status of `base:allocation`. Every number from the server is checked before it is used, every
//! wait ends, and after the first word out of line nothing is asked any more: the two sides no longer mean the same thing.

mod greet;
mod line;
mod reply;

use crate::serve::protocol::{self as nbd, command};
use engine::disk::{ExtentKind, ReadError};
use line::Line;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time the handshake may take.
const GREET_TIMEOUT: Duration = Duration::from_secs(30);
/// Time one request may take, up to the last byte of its reply.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest stretch that block status is asked for at once, in bytes.
const STATUS_SPAN: u64 = 1 << 30;

/// A connection to a read-only export.
pub(super) struct Client {
    line: Mutex<State>,
    /// Bytes of the export.
    len: u64,
    /// What is read, for errors.
    what: String,
}

struct State {
    line: Line,
    /// Number of the last request.
    cookie: u64,
    /// Why nothing is asked any more.
    broken: Option<String>,
    /// The stretches of the last block status, in order, one behind the other.
    runs: Vec<Run>,
}

/// A stretch of one kind; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub at: u64,
    pub end: u64,
    pub kind: ExtentKind,
}

/// A request that was refused, and a server that does not speak the protocol, are two things.
enum Trouble {
    /// The server said no; the line is in order.
    Refused(io::Error),
    /// The line is of no use any more.
    Broken(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Broken(error)
    }
}

impl Client {
    /// Shake hands and choose the default export.
    ///
    /// # Errors
    /// What the socket says; `InvalidData` for a server that does not speak the protocol, cannot tell allocation or would let us write.
    pub(super) fn greet(stream: UnixStream, what: String) -> io::Result<Client> {
        Client::greet_within(stream, what, GREET_TIMEOUT, REQUEST_TIMEOUT)
    }

    /// The same with other patience.
    pub(super) fn greet_within(
        stream: UnixStream,
        what: String,
        greeting: Duration,
        request: Duration,
    ) -> io::Result<Client> {
        let mut line = Line::new(stream, request);
        line.begin(greeting);
        let len = greet::greet(&mut line)?;
        let state = State { line, cookie: 0, broken: None, runs: Vec::new() };
        Ok(Client { line: Mutex::new(state), len, what })
    }

    /// Bytes of the export.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fill `buf` with the bytes at `at`; they must lie within the export.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = at;
        for piece in buf.chunks_mut(nbd::MAX_PAYLOAD as usize) {
            self.ask(at, |state| {
                // At most MAX_PAYLOAD.
                let cookie = state.request(command::READ, at, piece.len() as u32)?;
                reply::read(&mut state.line, cookie, at, piece)
            })?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// The stretch that contains `at`, from wherever it begins; `at` must lie within the export.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub(super) fn run_at(&self, at: u64) -> Result<Run, ReadError> {
        self.ask(at, |state| {
            if let Some(run) = state.known(at) {
                return Ok(run);
            }
            let len = self.len.saturating_sub(at).min(STATUS_SPAN);
            let cookie = state.request(command::BLOCK_STATUS, at, len as u32)?; // at most STATUS_SPAN
            state.runs = reply::status(&mut state.line, cookie, at, self.len)?;
            Ok(state
                .known(at)
                .ok_or_else(|| line::wrong("block status", "the stretch asked for", "another"))?)
        })
    }

    fn ask<T>(
        &self,
        at: u64,
        question: impl FnOnce(&mut State) -> Result<T, Trouble>,
    ) -> Result<T, ReadError> {
        let failed = |source| ReadError::Io { what: self.what.clone(), at, source };
        let mut state = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.broken {
            return Err(failed(io::Error::other(format!("the line to qemu-nbd is broken: {why}"))));
        }
        question(&mut state).map_err(|trouble| match trouble {
            Trouble::Refused(e) => failed(e),
            Trouble::Broken(e) => {
                state.broken = Some(e.to_string());
                failed(e)
            }
        })
    }
}

impl State {
    fn known(&self, at: u64) -> Option<Run> {
        let n = self.runs.partition_point(|run| run.end <= at);
        self.runs.get(n).copied().filter(|run| run.at <= at)
    }

    /// "Request message". The time for its reply begins now.
    fn request(&mut self, kind: u16, at: u64, len: u32) -> io::Result<u64> {
        self.cookie = self.cookie.wrapping_add(1);
        let mut out = nbd::REQUEST.to_be_bytes().to_vec();
        out.extend(0u16.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(self.cookie.to_be_bytes());
        out.extend(at.to_be_bytes());
        out.extend(len.to_be_bytes());
        self.line.begin_request();
        self.line.send(&out)?;
        Ok(self.cookie)
    }
}
