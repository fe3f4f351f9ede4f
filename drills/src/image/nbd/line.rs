//! A socket on which every wait ends.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A socket and the moment by which the exchange under way must be over.
pub(super) struct Line {
    stream: UnixStream,
    until: Instant,
    request: Duration,
}

impl Line {
    pub(super) fn new(stream: UnixStream, request: Duration) -> Line {
        Line { stream, until: Instant::now(), request }
    }

    /// An exchange begins that may take this long.
    pub(super) fn begin(&mut self, span: Duration) {
        self.until = Instant::now() + span;
    }

    pub(super) fn begin_request(&mut self) {
        self.begin(self.request);
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes).map_err(late)
    }

    /// Fill `buf`. A server that drips is as late as one that is silent.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> io::Result<()> {
        let mut rest = buf;
        while !rest.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(rest) {
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "qemu-nbd hung up"));
                }
                Ok(n) => rest = rest.get_mut(n..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(late(e)),
            }
        }
        Ok(())
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// Take `len` bytes off the line, at most `max`.
    pub(super) fn take(&mut self, len: u64, max: usize, what: &str) -> io::Result<Vec<u8>> {
        match usize::try_from(len).ok().filter(|len| *len <= max) {
            Some(len) => {
                let mut bytes = vec![0; len];
                self.fill(&mut bytes)?;
                Ok(bytes)
            }
            None => Err(wrong(what, format!("at most {max} bytes"), len)),
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late(io::ErrorKind::WouldBlock.into())) } else { Ok(left) }
    }
}

/// A socket's timeout comes as "try again", which would say nothing to a reader.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "qemu-nbd did not answer in time")
        }
        _ => error,
    }
}

/// A server that does not speak the protocol: where, wanted, found.
pub(super) fn wrong(what: &str, wanted: impl std::fmt::Display, found: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("NBD {what}: wanted {wanted}, found {found}"))
}
