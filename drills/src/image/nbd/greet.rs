//! The handshake. `doc/proto.md`, "Fixed newstyle negotiation".

use super::line::{Line, wrong};
use crate::serve::protocol::{self as nbd, allocation, info, option, reply};
use std::io;

/// Answers to one option, before it is acknowledged.
const ANSWERS_MAX: usize = 32;
/// Longest answer to an option, in bytes: a name and a description, each at most 4096 bytes long.
const ANSWER_MAX: usize = 16 << 10;

/// Shake hands; the bytes of the export.
pub(super) fn greet(line: &mut Line) -> io::Result<u64> {
    let magic = line.u64()?;
    if magic != nbd::NBDMAGIC {
        return Err(wrong("greeting", format!("{:#x}", nbd::NBDMAGIC), format!("{magic:#x}")));
    }
    let magic = line.u64()?;
    if magic != nbd::IHAVEOPT {
        return Err(wrong("greeting", "newstyle negotiation", format!("{magic:#x}")));
    }
    let flags = line.u16()?;
    let needed = nbd::FLAG_FIXED_NEWSTYLE | nbd::FLAG_NO_ZEROES;
    if flags & needed != needed {
        return Err(wrong("handshake flags", format!("{needed:#x}"), format!("{flags:#x}")));
    }
    line.send(&u32::from(needed).to_be_bytes())?;

    ask(line, option::STRUCTURED_REPLY, &[])?;
    acknowledged(line, option::STRUCTURED_REPLY, |_, _| Ok(()))?;

    let mut query = 0u32.to_be_bytes().to_vec(); // the default export has the empty name
    query.extend(1u32.to_be_bytes());
    query.extend((allocation::NAME.len() as u32).to_be_bytes());
    query.extend(allocation::NAME.as_bytes());
    ask(line, option::SET_META_CONTEXT, &query)?;
    let mut chosen = 0;
    acknowledged(line, option::SET_META_CONTEXT, |kind, body| {
        let name = body.get(4..).unwrap_or_default();
        if kind == reply::META_CONTEXT && name == allocation::NAME.as_bytes() {
            chosen += 1;
            return Ok(());
        }
        Err(wrong("metadata context", allocation::NAME, String::from_utf8_lossy(name)))
    })?;
    if chosen != 1 {
        return Err(wrong("metadata contexts", "one", chosen));
    }

    let mut go = 0u32.to_be_bytes().to_vec();
    go.extend(0u16.to_be_bytes()); // nothing is asked about block sizes, so any offset and length will do
    ask(line, option::GO, &go)?;
    let mut export = None;
    acknowledged(line, option::GO, |kind, body| {
        if kind != reply::INFO {
            return Err(wrong("answer to GO", "information", format!("{kind:#x}")));
        }
        let Some((id, rest)) = body.split_first_chunk::<2>() else {
            return Err(wrong("information", "at least 2 bytes", body.len()));
        };
        if u16::from_be_bytes(*id) == info::EXPORT {
            let Some((len, [a, b])) = rest.split_first_chunk::<8>() else {
                return Err(wrong("export information", "12 bytes", body.len()));
            };
            export = Some((u64::from_be_bytes(*len), u16::from_be_bytes([*a, *b])));
        }
        Ok(())
    })?;
    let (len, flags) = export.ok_or_else(|| wrong("answer to GO", "the export's size", "none"))?;
    let needed = nbd::HAS_FLAGS | nbd::READ_ONLY;
    if flags & needed != needed {
        return Err(wrong("transmission flags", "a read-only export", format!("{flags:#x}")));
    }
    Ok(len)
}

fn ask(line: &mut Line, option: u32, data: &[u8]) -> io::Result<()> {
    let mut out = nbd::IHAVEOPT.to_be_bytes().to_vec();
    out.extend(option.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
    line.send(&out)
}

/// Give each answer to `each`, until the option is acknowledged.
fn acknowledged(
    line: &mut Line,
    option: u32,
    mut each: impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..ANSWERS_MAX {
        let magic = line.u64()?;
        if magic != nbd::OPTION_REPLY {
            return Err(wrong("option reply", format!("{:#x}", nbd::OPTION_REPLY), format!("{magic:#x}")));
        }
        let (about, kind, len) = (line.u32()?, line.u32()?, line.u32()?);
        if about != option {
            return Err(wrong("option reply", format!("one to option {option}"), about));
        }
        let body = line.take(u64::from(len), ANSWER_MAX, "option reply")?;
        if kind & reply::ERROR != 0 {
            let words = String::from_utf8_lossy(&body);
            return Err(wrong("option reply", "agreement", format!("error {kind:#x} {words:?}")));
        }
        if kind == reply::ACK {
            return Ok(());
        }
        each(kind, &body)?;
    }
    Err(wrong("option replies", format!("at most {ANSWERS_MAX}"), "more"))
}
