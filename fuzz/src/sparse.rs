//! A sparse file as a short string of bytes, and back. Every string is a file: what does not fit is cut.
//!
//! ```text
//! flags u8 · length u48 · pieces…       piece = offset u48 · length u16 · bytes          (little-endian)
//!                                       offset bit 47: counted back from the end of the file
//!                                       length bit 15: one byte follows, repeated
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Flag: checksums are put right before the file is opened.
pub const REPAIR: u8 = 1;
/// Longest file: large enough for tables of tens of megabytes, all of them a hole.
pub const LEN_MAX: u64 = 1 << 40;
/// Most pieces of one file.
pub const PIECES_MAX: usize = 1024;
/// Longest piece, in bytes.
pub const PIECE_MAX: usize = 0x7FFF;

const FROM_END: u64 = 1 << 47;
const REPEATED: u16 = 1 << 15;
/// Zeros that cost more as bytes of a piece than as the header of the next.
const GAP: usize = 9;
/// Equal bytes that are worth a piece of their own.
const RUN: usize = 24;

/// A file that is mostly zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sparse {
    /// What the harness does with it: [`REPAIR`].
    pub flags: u8,
    /// Length in bytes.
    pub len: u64,
    /// Offset and bytes of what is not zero; later ones lie over earlier ones.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    /// The file that `input` stands for; nothing when it has not even a length.
    pub fn decode(input: &[u8]) -> Option<Sparse> {
        let (&flags, rest) = input.split_first()?;
        let (len, mut rest) = number(rest)?;
        let len = len.min(LEN_MAX);
        let mut pieces = Vec::new();
        while pieces.len() < PIECES_MAX {
            let Some((at, behind)) = number(rest) else { break };
            let Some((count, behind)) = behind.split_first_chunk::<2>() else { break };
            let count = u16::from_le_bytes(*count);
            let wanted = usize::from(count & !REPEATED);
            let (mut bytes, behind) = if count & REPEATED == 0 {
                let (bytes, behind) = behind.split_at(wanted.min(behind.len()));
                (bytes.to_vec(), behind)
            } else {
                let Some((byte, behind)) = behind.split_first() else { break };
                (vec![*byte; wanted], behind)
            };
            let at = if at & FROM_END == 0 { at } else { len.saturating_sub(at & !FROM_END) };
            bytes.truncate(usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                pieces.push((at, bytes));
            }
            rest = behind;
        }
        Some(Sparse { flags, len, pieces })
    }

    /// The bytes that decode to this file, as few as come easily. The last 512 bytes of the file are counted from its end.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.flags];
        out.extend(&self.len.to_le_bytes()[..6]);
        for (at, bytes) in &self.pieces {
            let tail =
                usize::try_from(self.len.saturating_sub(512).saturating_sub(*at)).unwrap_or(usize::MAX);
            let (head, last) = bytes.split_at(tail.min(bytes.len()));
            encode_piece(&mut out, *at, 0, head);
            let last_at = at + head.len() as u64;
            encode_piece(&mut out, last_at, self.len.saturating_sub(last_at), last);
        }
        out
    }

    /// Make `file` this one.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, file: &File) -> io::Result<()> {
        file.set_len(0)?;
        file.set_len(self.len)?;
        self.pieces.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))
    }
}

/// `from_end` is the distance to the end of the file, or 0 for an offset from the beginning.
fn encode_piece(out: &mut Vec<u8>, at: u64, from_end: u64, bytes: &[u8]) {
    let mut skip = 0;
    for run in runs(bytes) {
        let place = if from_end == 0 { at + skip } else { FROM_END | (from_end - skip) };
        skip += run.len() as u64;
        if run.iter().all(|b| *b == 0) {
            continue;
        }
        out.extend(&place.to_le_bytes()[..6]);
        let count = run.len() as u16; // at most PIECE_MAX
        if run.len() >= RUN && run.iter().all(|b| *b == run[0]) {
            out.extend((count | REPEATED).to_le_bytes());
            out.push(run[0]);
        } else {
            out.extend(count.to_le_bytes());
            out.extend(run);
        }
    }
}

/// `bytes` in pieces that are all zero, all one byte, or neither.
fn runs(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let same = bytes[at..].iter().take_while(|b| **b == bytes[at]).count();
        if same >= if bytes[at] == 0 { GAP } else { RUN } {
            found.extend(bytes[begin..at].chunks(PIECE_MAX));
            found.extend(bytes[at..at + same].chunks(PIECE_MAX));
            begin = at + same;
        }
        at += same;
    }
    found.extend(bytes[begin..].chunks(PIECE_MAX));
    found
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<6>()?;
    let [a, b, c, d, e, f] = *first;
    Some((u64::from_le_bytes([a, b, c, d, e, f, 0, 0]), rest))
}
