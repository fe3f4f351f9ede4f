//! The GPT for a disk of another shape, as bytes in place of bytes.

use super::op::Change;
use super::{LowerError, Op};
use crate::disk::{Disk, DiskRef, Geometry, Overlay, ReadError, Write, read_vec};
use crate::table::gpt::{Gpt, Partition};
use crate::units::{ByteOffset, SectorSize};
use std::sync::Arc;

/// The operation that turns the table of `disk`, of shape `from`, into one for `to`, with `gained` as a partition more.
///
/// # Errors
/// [`LowerError`] when there is no table, or it has no room.
pub(super) fn refit(
    disk: &DiskRef,
    (from, to): (Geometry, Geometry),
    gained: Option<Partition>,
    reason: &str,
) -> Result<Op, LowerError> {
    let gpt = Gpt::parse(disk.as_ref())?.ok_or(LowerError::NoTable)?;
    let id = gained.as_ref().map(|p| p.unique_guid.to_string().to_lowercase());
    let fitted = gpt.fit(to)?;
    let fitted = match gained {
        Some(partition) => fitted.with(partition),
        None => fitted,
    };
    let mut writes = fitted.to_sectors(to)?;
    if from.sector != to.sector {
        // What the old copies leave behind in the new ones' way was theirs alone: nobody may take it for a table.
        writes.extend(cleared(&gpt, from, &writes));
        writes.sort_by_key(|w| w.at);
    }
    Ok(Op::Table { from, to, gained: id, changes: changes(disk, to, &writes)?, reason: reason.to_string() })
}

/// What really changes of `writes`.
pub(super) fn changes(disk: &DiskRef, to: Geometry, writes: &[Write]) -> Result<Vec<Change>, LowerError> {
    let longer = Geometry { len: to.len.max(disk.geometry().len), sector: SectorSize::B512 };
    let view = Overlay::new(disk.clone(), longer, Vec::new())?;
    let mut found = Vec::new();
    for write in writes {
        let old = read_vec(&view, write.at, write.bytes.len())?;
        if old.as_slice() != &write.bytes[..] {
            found.push(Change { at: write.at, old: old.into(), new: write.bytes.clone().into() });
        }
    }
    Ok(found)
}

/// Zeros for the sectors of both old copies that no new copy covers.
fn cleared(gpt: &Gpt, from: Geometry, new: &[Write]) -> Vec<Write> {
    let (sector, end) = (from.sector.bytes(), from.len.get());
    let first_end = gpt.primary_end().get().saturating_mul(sector);
    // The backup is as long as the primary, which begins at LBA 1.
    let spans = [(sector, first_end), (end.saturating_sub(first_end.saturating_sub(sector)), end)];
    let covered = |at: u64| new.iter().any(|w| w.at.get() <= at && at - w.at.get() < w.bytes.len() as u64);
    let pieces = spans.into_iter().flat_map(|(from, to)| (from..to).step_by(512));
    let pieces = pieces.filter(|at| !covered(*at));
    pieces.map(|at| Write { at: ByteOffset(at), bytes: Arc::from(vec![0; 512]) }).collect()
}

/// Bytes of `disk`, zeros beyond its end.
pub(super) fn read_padded(disk: &dyn Disk, at: ByteOffset, len: usize) -> Result<Vec<u8>, ReadError> {
    let there = disk.geometry().len.get().saturating_sub(at.get()).min(len as u64) as usize;
    let mut bytes = if there == 0 { Vec::new() } else { read_vec(disk, at, there)? };
    bytes.resize(len, 0);
    Ok(bytes)
}
