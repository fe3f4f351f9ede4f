//! What it takes to undo an operation: by bytes for sectors, by path for files.
//!
//! **The rule:** what is there now must be what we wrote. Then the old content comes back. If the old content is already there, nothing is
//! to do. Anything else was written by the guest, and is never overwritten: it is a [`Conflict`].

use super::op::Change;
use super::op::span;
use super::patch::{file, slice};
use super::table::{changes, read_padded};
use super::undo_mbr::undo_mbr;
use super::{Bytes, LowerError, Op, Place};
use crate::disk::{DiskRef, Geometry, Write, read_vec};
use crate::table::gpt::Gpt;
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What must be known to undo an operation later. Written bytes are kept as hashes, replaced ones in full.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// Put bytes back.
    Raw {
        /// First byte.
        at: ByteOffset,
        /// BLAKE3 of what was written there, in hex.
        wrote: String,
        /// What was there before.
        old: Bytes,
        /// What the bytes are.
        what: String,
    },
    /// Put back what the capsule itself covers. It cannot hold its own hash; that it could be read is the proof.
    Capsule {
        /// First byte.
        at: ByteOffset,
        /// What was there before, whole sectors.
        old: Bytes,
    },
    /// Put LBA 0 back in place of a real MBR. Where the guest moved the end of a partition, the GPT follows.
    Mbr {
        /// LBA 0 as it was written.
        wrote: Bytes,
        /// LBA 0 as it was before.
        old: Bytes,
        /// Number in the GPT of each entry's partition, in order.
        numbers: Vec<u32>,
        /// Shape of the disk that the GPT belongs to.
        from: Geometry,
    },
    /// Fit the GPT to the old shape again: to the byte if nobody changed it, by its meaning otherwise.
    Table {
        /// Shape to return to.
        from: Geometry,
        /// Shape that was written.
        to: Geometry,
        /// PARTUUID of the partition to remove.
        gained: Option<String>,
        /// What was replaced.
        old: Vec<Replaced>,
    },
    /// Put a file back, or remove it if there was none.
    FatPut {
        /// The partition.
        partition: Place,
        /// Path on it.
        path: String,
        /// BLAKE3 of what was written.
        wrote: String,
        /// What was there before.
        old: Option<Bytes>,
    },
    /// Put a removed file back.
    FatRemove {
        /// The partition.
        partition: Place,
        /// Path on it.
        path: String,
        /// What was there before.
        old: Bytes,
    },
}

/// Bytes that were replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Replaced {
    /// First byte.
    pub at: ByteOffset,
    /// BLAKE3 of what was written there, in hex.
    pub wrote: String,
    /// What was there before.
    pub old: Bytes,
}

/// Something that the guest changed where we would have to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// What it is about.
    pub what: String,
    /// Where.
    pub place: String,
    /// The rule that forbids going on.
    pub rule: String,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}; {}", self.what, self.place, self.rule, self.found)
    }
}

/// Unit in which a table is put together, bytes: headers and arrays begin at whole ones.
const PAGE: usize = 512;
const RULE: &str = "what is there must be what the conversion wrote";

/// The operation that undoes `op` on the disk as it is now; `None` when there is nothing left to undo.
///
/// # Errors
/// `Ok(Err(conflict))` when the guest has changed the same place; the outer error when the disk cannot be read.
pub fn invert(op: &Op, now: &DiskRef) -> Result<Result<Option<Op>, Conflict>, LowerError> {
    Undo::of(op).resolve(now)
}

impl Undo {
    /// What must be kept of an operation.
    pub fn of(op: &Op) -> Undo {
        match op.clone() {
            Op::Raw { at, old, new, reason } => Undo::Raw { at, wrote: new.hash(), old, what: reason },
            Op::Mbr { old, new, numbers, from, .. } => Undo::Mbr { wrote: new, old, numbers, from },
            Op::Table { from, to, gained, changes, .. } => {
                let replaced = |c: Change| Replaced { at: c.at, wrote: c.new.hash(), old: c.old };
                Undo::Table { from, to, gained, old: changes.into_iter().map(replaced).collect() }
            }
            Op::FatPut { partition, path, old, new, .. } => {
                Undo::FatPut { partition, path, wrote: new.hash(), old }
            }
            Op::FatRemove { partition, path, old, .. } => Undo::FatRemove { partition, path, old },
        }
    }

    /// The operation that undoes, judged against the disk as it is now.
    ///
    /// # Errors
    /// As for [`invert`].
    pub fn resolve(&self, now: &DiskRef) -> Result<Result<Option<Op>, Conflict>, LowerError> {
        match self {
            Undo::Raw { at, wrote, old, what } => {
                let is = Bytes::from(read_vec(now.as_ref(), *at, old.as_slice().len())?);
                if is == *old {
                    return Ok(Ok(None));
                }
                if is.hash() != *wrote {
                    return Ok(Err(Conflict {
                        what: what.clone(),
                        place: span(at.get(), old.len()),
                        rule: RULE.into(),
                        found: "the guest has written other bytes there".into(),
                    }));
                }
                let reason = format!("put back what was there before: {what}");
                Ok(Ok(Some(Op::Raw { at: *at, old: is, new: old.clone(), reason })))
            }
            Undo::Capsule { at, old } => {
                let is = Bytes::from(read_vec(now.as_ref(), *at, old.as_slice().len())?);
                let reason = "put back what was there before the capsule".to_string();
                Ok(Ok((is != *old).then(|| Op::Raw { at: *at, old: is, new: old.clone(), reason })))
            }
            Undo::Mbr { wrote, old, numbers, from } => undo_mbr(wrote, old, numbers, *from, now),
            Undo::Table { from, to, gained, old } => table(*from, *to, gained.as_deref(), old, now),
            Undo::FatPut { partition, path, wrote, old } => {
                let is = file(&slice(now, *partition)?, path)?;
                Ok(undo_put(*partition, path, wrote, old.as_ref(), is))
            }
            Undo::FatRemove { partition, path, old } => {
                let (partition, path, old) = (*partition, path.clone(), old.clone());
                Ok(match file(&slice(now, partition)?, &path)? {
                    Some(is) if is == old => Ok(None),
                    Some(_) => {
                        Err(file_conflict(partition, &path, "the guest has made a new file of that name"))
                    }
                    None => {
                        let reason = "put the removed file back".to_string();
                        Ok(Some(Op::FatPut { partition, path, old: None, new: old, reason }))
                    }
                })
            }
        }
    }
}

fn table(
    from: Geometry,
    to: Geometry,
    gained: Option<&str>,
    replaced: &[Replaced],
    now: &DiskRef,
) -> Result<Result<Option<Op>, Conflict>, LowerError> {
    let back = |changes: Vec<Change>, reason: &str| {
        let op = Op::Table { from: to, to: from, gained: None, changes, reason: reason.to_string() };
        Ok(Ok(Some(op)))
    };
    // What lies beyond the original end goes with it. A disk that grew by less than a backup is long has the new one across the old end, with a part
    // of the old one under it.
    let inside = |r: &Replaced| {
        let left = usize::try_from(from.len.get().saturating_sub(r.at.get())).unwrap_or(usize::MAX);
        r.old.as_slice().len().min(left)
    };
    let mut untouched = Vec::new();
    let mut is_ours = true;
    for r in replaced {
        let is = Bytes::from(read_padded(now.as_ref(), r.at, r.old.as_slice().len())?);
        is_ours &= is.hash() == r.wrote;
        let kept = inside(r);
        if let (Some(is), Some(old)) = (is.as_slice().get(..kept), r.old.as_slice().get(..kept))
            && kept > 0
        {
            untouched.push(Change { at: r.at, old: is.into(), new: old.into() });
        }
    }
    if is_ours {
        return back(untouched, "put the original GPT back");
    }
    // The guest may have changed partitions; that is kept, as long as it fits the old shape.
    let rule = format!("the partitions must fit the original disk of {} bytes", from.len.get());
    let conflict = |found: String| {
        Ok(Err(Conflict { what: "the GPT".into(), place: "both copies".into(), rule: rule.clone(), found }))
    };
    let gpt = match Gpt::parse(now.as_ref()) {
        Ok(Some(gpt)) => gpt,
        Ok(None) => return conflict("there is no GPT any more".into()),
        Err(e) => return conflict(e.to_string()),
    };
    let gpt = match gained.and_then(|id| id.parse().ok()) {
        Some(id) => gpt.without(id),
        None => gpt,
    };
    let writes = match gpt.fit(from).and_then(|gpt| gpt.to_sectors(from)) {
        Ok(writes) => writes,
        Err(e) => return conflict(e.to_string()),
    };
    // First what was there before, then over it the table as the guest left it.
    let mut pages: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let originals =
        replaced.iter().map(|r| (r.at.get(), r.old.as_slice().get(..inside(r)).unwrap_or_default()));
    for (at, bytes) in originals.chain(writes.iter().map(|w| (w.at.get(), &w.bytes[..]))) {
        for (i, page) in (0u64..).zip(bytes.chunks(PAGE)) {
            pages.insert(at.saturating_add(i.saturating_mul(PAGE as u64)), page.to_vec());
        }
    }
    let writes: Vec<Write> =
        pages.into_iter().map(|(at, bytes)| Write { at: ByteOffset(at), bytes: bytes.into() }).collect();
    back(changes(now, from, &writes)?, "fit the GPT, as the guest left it, to the original disk")
}

fn undo_put(
    partition: Place,
    path: &str,
    wrote: &str,
    old: Option<&Bytes>,
    is: Option<Bytes>,
) -> Result<Option<Op>, Conflict> {
    let path = path.to_string();
    match (is, old) {
        (None, None) => Ok(None),
        (Some(is), Some(old)) if is == *old => Ok(None),
        (Some(is), _) if is.hash() != wrote => {
            Err(file_conflict(partition, &path, "the guest has changed the file"))
        }
        (Some(is), None) => {
            let reason = "remove the file that the conversion made".to_string();
            Ok(Some(Op::FatRemove { partition, path, old: is, reason }))
        }
        (is, Some(old)) => {
            let reason = "put the file back as it was".to_string();
            Ok(Some(Op::FatPut { partition, path, old: is, new: old.clone(), reason }))
        }
    }
}

fn file_conflict(partition: Place, path: &str, found: &str) -> Conflict {
    Conflict {
        what: format!("the file {path}"),
        place: format!("partition at LBA {}", partition.at.get() / 512),
        rule: RULE.into(),
        found: found.into(),
    }
}
