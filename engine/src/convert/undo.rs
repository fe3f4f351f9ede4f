//! What it takes to undo an operation: by bytes for sectors, by path for files.
//!
//! **The rule:** what is there now must be what we wrote. Then the old content comes back. If the old content is already there, nothing is
//! to do. Anything else was written by the guest, and is never overwritten: it is a [`Conflict`].

use super::op::span;
use super::patch::{file, slice};
use super::{Bytes, LowerError, Op, Place};
use crate::disk::{DiskRef, Geometry, read_vec};
use crate::table::gpt::Gpt;
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};
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
    /// Fit the GPT to the old length again.
    Table {
        /// Shape to return to.
        from: Geometry,
        /// Shape that was written.
        to: Geometry,
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
            Op::Table { from, to, .. } => Undo::Table { from, to },
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
            Undo::Table { from, to } => table(*from, *to, now),
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

fn table(from: Geometry, to: Geometry, now: &DiskRef) -> Result<Result<Option<Op>, Conflict>, LowerError> {
    let conflict = |found: String| {
        Ok(Err(Conflict {
            what: "the GPT".into(),
            place: "both copies".into(),
            rule: format!("the partitions must fit the original length of {} bytes", from.len.get()),
            found,
        }))
    };
    // The guest may have changed partitions; that is kept, as long as it fits the old length.
    let gpt = match Gpt::parse(now.as_ref()) {
        Ok(Some(gpt)) => gpt,
        Ok(None) => return conflict("there is no GPT any more".into()),
        Err(e) => return conflict(e.to_string()),
    };
    if let Err(e) = gpt.to_sectors(from) {
        return conflict(e.to_string());
    }
    let reason = "move the backup GPT to the original end of the disk".to_string();
    Ok(Ok(Some(Op::Table { from: to, to: from, reason })))
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
