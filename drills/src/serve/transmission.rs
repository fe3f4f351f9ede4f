//! Requests and simple replies. `doc/proto.md`, "Transmission".

use super::Export;
use super::protocol::{self as nbd, command, error};
use engine::units::ByteOffset;
use std::io::{self, Read, Write};

/// "Request message": magic, flags, type, cookie, offset, length.
const REQUEST_BYTES: usize = 28;
/// "Simple reply message": magic, error, cookie.
const REPLY_BYTES: usize = 16;

/// One request as it came.
struct Request {
    kind: u16,
    cookie: [u8; 8],
    offset: u64,
    len: u32,
}

/// Answers requests until the client leaves.
///
/// # Errors
/// What the socket says, and `InvalidData` for a client that does not speak the protocol.
pub fn serve(stream: &mut (impl Read + Write), export: &Export) -> io::Result<()> {
    // One buffer a connection, as large as its largest request.
    let mut buf = Vec::new();
    loop {
        let mut raw = [0; REQUEST_BYTES];
        stream.read_exact(&mut raw)?;
        let request = parse(&raw)?;
        match request.kind {
            command::DISC => return Ok(()),
            command::READ => read(stream, export, &request, &mut buf)?,
            command::WRITE => {
                // Its payload has to be taken off the line before the next request can be found.
                if request.len > nbd::MAX_PAYLOAD {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the NBD client sent a write that is too long",
                    ));
                }
                let drained =
                    io::copy(&mut Read::by_ref(stream).take(u64::from(request.len)), &mut io::sink())?;
                if drained != u64::from(request.len) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                reply(stream, &request, error::EPERM)?;
            }
            command::TRIM | command::WRITE_ZEROES => reply(stream, &request, error::EPERM)?,
            // Nothing is ever written, so everything is always flushed.
            command::FLUSH => reply(stream, &request, 0)?,
            _ => reply(stream, &request, error::EINVAL)?,
        }
    }
}

fn parse(raw: &[u8; REQUEST_BYTES]) -> io::Result<Request> {
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidData, "the NBD client sent a request without its magic");
    let mut rest = &raw[..];
    if u32::from_be_bytes(chunk(&mut rest).ok_or_else(wrong)?) != nbd::REQUEST {
        return Err(wrong());
    }
    let _flags: [u8; 2] = chunk(&mut rest).ok_or_else(wrong)?;
    Ok(Request {
        kind: u16::from_be_bytes(chunk(&mut rest).ok_or_else(wrong)?),
        cookie: chunk(&mut rest).ok_or_else(wrong)?,
        offset: u64::from_be_bytes(chunk(&mut rest).ok_or_else(wrong)?),
        len: u32::from_be_bytes(chunk(&mut rest).ok_or_else(wrong)?),
    })
}

fn read(stream: &mut impl Write, export: &Export, request: &Request, buf: &mut Vec<u8>) -> io::Result<()> {
    let end = request.offset.checked_add(u64::from(request.len));
    if request.len > nbd::MAX_PAYLOAD || end.is_none_or(|end| end > export.len) {
        return reply(stream, request, error::EINVAL);
    }
    // Header and data leave in one write: with a simple reply, an error after the header could not be told any more.
    buf.clear();
    buf.extend(nbd::SIMPLE_REPLY.to_be_bytes());
    buf.extend(0u32.to_be_bytes());
    buf.extend(request.cookie);
    buf.resize(REPLY_BYTES.saturating_add(request.len as usize), 0);
    let data = buf.get_mut(REPLY_BYTES..).unwrap_or_default();
    let timed = export.pace.begin();
    let read = export.disk.read_at(ByteOffset(request.offset), data);
    drop(timed);
    match read {
        Ok(()) => stream.write_all(buf),
        Err(e) => {
            (export.on_error)(&e);
            reply(stream, request, error::EIO)
        }
    }
}

fn reply(stream: &mut impl Write, request: &Request, error: u32) -> io::Result<()> {
    let mut out = nbd::SIMPLE_REPLY.to_be_bytes().to_vec();
    out.extend(error.to_be_bytes());
    out.extend(request.cookie);
    stream.write_all(&out)
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
