//! Other bytes for a file of any file system, in the places where a reader found the old ones.

use super::Misfit;
use engine::disk::{Disk, Write, read_vec};
use engine::units::ByteOffset;
use std::sync::Arc;

/// The writes that make `old` into `new`, which is as long. `reads` is where the disk was read while the file was (offset and length in bytes, in
/// order): among them are the file's blocks, known by what they hold.
pub(super) fn overwrite(
    disk: &dyn Disk,
    path: &str,
    reads: &[(u64, usize)],
    old: &[u8],
    new: &[u8],
) -> Result<Vec<Write>, Misfit> {
    if old.len() != new.len() {
        return Err(Misfit::new(format!("{path} would be {} bytes, wanted {} as now", new.len(), old.len())));
    }
    let (mut writes, mut done) = (Vec::new(), 0usize);
    for (at, len) in reads {
        let n = (*len).min(old.len().saturating_sub(done));
        let end = done.saturating_add(n);
        let (Some(was), Some(is)) = (old.get(done..end), new.get(done..end)) else { break };
        if n == 0 || read_vec(disk, ByteOffset(*at), n)? != was {
            continue;
        }
        writes.extend(difference(*at, was, is));
        done = end;
    }
    if done < old.len() {
        let why = format!("where byte {done} of the {} bytes of {path} lies was not seen", old.len());
        return Err(Misfit::new(why));
    }
    Ok(writes)
}

/// From the first byte that differs to the last.
pub(super) fn difference(at: u64, was: &[u8], is: &[u8]) -> Option<Write> {
    let differs = |(a, b): (&u8, &u8)| a != b;
    let first = was.iter().zip(is).position(differs)?;
    let last = was.iter().zip(is).rposition(differs)?;
    let bytes: Arc<[u8]> = is.get(first..=last)?.into();
    Some(Write { at: ByteOffset(at.saturating_add(first as u64)), bytes })
}
