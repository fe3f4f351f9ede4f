//! The handshake: fixed newstyle only. `doc/proto.md`, "Newstyle negotiation".

use super::Export;
use super::protocol as nbd;
use std::io::{self, Read, Write};

/// Options a client may send before we hang up; real ones send fewer than ten.
const MAX_OPTIONS: usize = 64;
/// Bytes of one option: a name, its length, and a few information requests.
const MAX_OPTION_BYTES: usize = nbd::MAX_NAME + 1024;

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// The client wants to read.
    Go,
    /// The client left, or asked for what we do not have.
    Bye,
}

/// Speaks the handshake.
///
/// # Errors
/// What the socket says, and `InvalidData` for a client that does not speak the protocol.
pub fn greet(stream: &mut (impl Read + Write), export: &Export) -> io::Result<Greeting> {
    let mut hello = Vec::with_capacity(18);
    hello.extend(nbd::NBDMAGIC.to_be_bytes());
    hello.extend(nbd::IHAVEOPT.to_be_bytes());
    hello.extend((nbd::FLAG_FIXED_NEWSTYLE | nbd::FLAG_NO_ZEROES).to_be_bytes());
    stream.write_all(&hello)?;
    let flags = u32::from_be_bytes(take(stream)?);
    // "The server MUST drop the connection on a client flag it does not know."
    if flags & !u32::from(nbd::FLAG_FIXED_NEWSTYLE | nbd::FLAG_NO_ZEROES) != 0 {
        return Err(garbage("unknown client flags"));
    }
    let zeroes = flags & u32::from(nbd::FLAG_NO_ZEROES) == 0;
    for _ in 0..MAX_OPTIONS {
        if u64::from_be_bytes(take(stream)?) != nbd::IHAVEOPT {
            return Err(garbage("an option without its magic"));
        }
        let option = u32::from_be_bytes(take(stream)?);
        let len = u32::from_be_bytes(take(stream)?) as usize;
        if len > MAX_OPTION_BYTES {
            return Err(garbage("an option that is too long"));
        }
        let mut data = vec![0; len];
        stream.read_exact(&mut data)?;
        match option {
            nbd::option::EXPORT_NAME => return export_name(stream, export, &data, zeroes),
            nbd::option::ABORT => {
                // The client need not wait for this answer.
                let _ = answer(stream, option, nbd::reply::ACK, &[]);
                return Ok(Greeting::Bye);
            }
            nbd::option::LIST => list(stream, export, &data)?,
            nbd::option::INFO | nbd::option::GO => {
                if describe(stream, export, option, &data)? && option == nbd::option::GO {
                    return Ok(Greeting::Go);
                }
            }
            _ => answer(stream, option, nbd::reply::ERR_UNSUP, &[])?,
        }
    }
    Err(garbage("more options than any client needs"))
}

/// `NBD_OPT_EXPORT_NAME` has no error reply: an unknown name ends the connection.
fn export_name(stream: &mut impl Write, export: &Export, name: &[u8], zeroes: bool) -> io::Result<Greeting> {
    if !export.is_called(name) {
        return Ok(Greeting::Bye);
    }
    let mut reply = size_and_flags(export);
    if zeroes {
        reply.resize(reply.len() + 124, 0);
    }
    stream.write_all(&reply)?;
    Ok(Greeting::Go)
}

/// `NBD_OPT_LIST`: the client must send no data.
fn list(stream: &mut impl Write, export: &Export, data: &[u8]) -> io::Result<()> {
    if !data.is_empty() {
        return answer(stream, nbd::option::LIST, nbd::reply::ERR_INVALID, &[]);
    }
    let mut entry = (export.name.len() as u32).to_be_bytes().to_vec();
    entry.extend(export.name.as_bytes());
    answer(stream, nbd::option::LIST, nbd::reply::SERVER, &entry)?;
    answer(stream, nbd::option::LIST, nbd::reply::ACK, &[])
}

/// `NBD_OPT_INFO` and `NBD_OPT_GO`: name length, name, number of information requests, requests. True when the export was described.
fn describe(stream: &mut impl Write, export: &Export, option: u32, data: &[u8]) -> io::Result<bool> {
    let Some(name) = name_in(data) else {
        answer(stream, option, nbd::reply::ERR_INVALID, &[])?;
        return Ok(false);
    };
    if !export.is_called(name) {
        answer(stream, option, nbd::reply::ERR_UNKNOWN, &[])?;
        return Ok(false);
    }
    let mut size = nbd::info::EXPORT.to_be_bytes().to_vec();
    size.extend(size_and_flags(export));
    answer(stream, option, nbd::reply::INFO, &size)?;
    let mut blocks = nbd::info::BLOCK_SIZE.to_be_bytes().to_vec();
    for n in [1, 64 << 10, nbd::MAX_PAYLOAD] {
        blocks.extend(n.to_be_bytes());
    }
    answer(stream, option, nbd::reply::INFO, &blocks)?;
    answer(stream, option, nbd::reply::ACK, &[])?;
    Ok(true)
}

fn name_in(data: &[u8]) -> Option<&[u8]> {
    let (len, rest) = data.split_first_chunk::<4>()?;
    let len = u32::from_be_bytes(*len) as usize;
    let name = rest.get(..len)?;
    let (count, requests) = rest.get(len..)?.split_first_chunk::<2>()?;
    (requests.len() == usize::from(u16::from_be_bytes(*count)).checked_mul(2)?).then_some(name)
}

fn size_and_flags(export: &Export) -> Vec<u8> {
    let mut out = export.len.to_be_bytes().to_vec();
    let flags = nbd::HAS_FLAGS | nbd::READ_ONLY | nbd::SEND_FLUSH | nbd::CAN_MULTI_CONN;
    out.extend(flags.to_be_bytes());
    out
}

fn answer(stream: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut out = nbd::OPTION_REPLY.to_be_bytes().to_vec();
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
    stream.write_all(&out)
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the NBD client sent {what}"))
}
