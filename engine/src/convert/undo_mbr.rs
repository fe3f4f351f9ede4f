//! The way back from a real MBR: LBA 0 to the byte, and the GPT behind it where the guest has moved the end of a partition.

use super::op::Change;
use super::table::changes;
use super::{Bytes, Conflict, LowerError, Op};
use crate::boot::SECTOR;
use crate::disk::{DiskRef, Geometry, Overlay, Write, read_vec};
use crate::table::gpt::Gpt;
use crate::table::mbr::{Mbr, MbrEntry};
use crate::units::{ByteOffset, Lba};

/// What the guest may have done to the table it saw.
const RULE: &str = "partitions may have grown or shrunk at their ends; the boot code, their starts, types and number must be what the conversion wrote";

pub(super) fn undo_mbr(
    wrote: &Bytes,
    old: &Bytes,
    numbers: &[u32],
    from: Geometry,
    now: &DiskRef,
) -> Result<Result<Option<Op>, Conflict>, LowerError> {
    let is = Bytes::from(read_vec(now.as_ref(), ByteOffset(0), old.as_slice().len())?);
    if is == *old {
        return Ok(Ok(None));
    }
    let to = now.geometry();
    let table = |changes: Vec<Change>, reason: &str| {
        Ok(Ok(Some(Op::Table { from: to, to: from, gained: None, changes, reason: reason.to_string() })))
    };
    let own = Change { at: ByteOffset(0), old: is.clone(), new: old.clone() };
    if is == *wrote {
        return table(vec![own], "put back the protective MBR: the GPT behind it is in force again");
    }
    let conflict = |found: &str| {
        let (what, place, rule) = ("the real MBR".to_string(), "LBA 0".to_string(), RULE.to_string());
        Ok(Err(Conflict { what, place, rule, found: found.to_string() }))
    };
    let (Some(was), Some(is)) = (wrote.as_slice().first_chunk::<512>(), is.as_slice().first_chunk::<512>())
    else {
        return conflict("the capsule holds no whole sector");
    };
    let (was, is) = (Mbr::from_bytes(was), Mbr::from_bytes(is));
    if was.boot_code != is.boot_code || was.disk_signature != is.disk_signature || !is.has_signature {
        return conflict("the guest has written other boot code or another disk signature");
    }
    let same_start =
        |a: &MbrEntry, b: &MbrEntry| (a.kind, a.first, a.is_used()) == (b.kind, b.first, b.is_used());
    if !was.entries.iter().zip(&is.entries).all(|(a, b)| same_start(a, b)) {
        return conflict("the guest has made, removed, moved or retyped a partition");
    }
    let behind = Overlay::new(now.clone(), from, Vec::new())?;
    let mut gpt = match Gpt::parse(&behind) {
        Ok(Some(gpt)) => gpt,
        Ok(None) => {
            return conflict("the partitions were changed, and there is no GPT behind the MBR to follow");
        }
        Err(e) => {
            return conflict(&format!(
                "the partitions were changed, and the GPT behind the MBR cannot be used: {e}"
            ));
        }
    };
    for ((a, b), number) in was.entries.iter().zip(&is.entries).zip(numbers) {
        if a.sectors == b.sectors {
            continue;
        }
        let end = u64::from(b.first).saturating_add(u64::from(b.sectors)).saturating_mul(SECTOR);
        let Some(partition) = gpt.partitions.iter_mut().find(|p| p.index == *number) else {
            return conflict(&format!("partition {number} is not in the GPT behind the MBR"));
        };
        match (end / from.sector.bytes()).checked_sub(1).filter(|_| end.is_multiple_of(from.sector.bytes())) {
            Some(last) => partition.last = Lba(last),
            None => {
                return conflict(&format!(
                    "partition {number} ends within a sector of {} bytes",
                    from.sector.bytes()
                ));
            }
        }
    }
    let mut writes = match gpt.to_sectors(from) {
        Ok(writes) => writes,
        Err(e) => return conflict(&format!("the partitions no longer fit the GPT: {e}")),
    };
    writes.insert(0, Write { at: ByteOffset(0), bytes: old.share() });
    table(
        changes(now, from, &writes)?,
        "put back the protective MBR; the GPT follows the partitions that the guest resized",
    )
}
