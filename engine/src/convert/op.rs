//! One semantic change to a disk.

use super::Bytes;
use crate::disk::Geometry;
use crate::units::{ByteLen, ByteOffset};
use serde::{Deserialize, Serialize};

/// A stretch of a disk, such as the partition a file operation works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// First byte.
    pub at: ByteOffset,
    /// Length in bytes.
    pub len: ByteLen,
}

/// Bytes in place of others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// First byte.
    pub at: ByteOffset,
    /// What is there before; zeros beyond the end of a shorter disk.
    pub old: Bytes,
    /// What is there afterwards; as long as `old`.
    pub new: Bytes,
}

/// A change, with the reason for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Replace bytes.
    Raw {
        /// First byte.
        at: ByteOffset,
        /// What is there before.
        old: Bytes,
        /// What is there afterwards; as long as `old`.
        new: Bytes,
        /// Why.
        reason: String,
    },
    /// Put a real MBR in place of LBA 0.
    Mbr {
        /// LBA 0 before.
        old: Bytes,
        /// LBA 0 afterwards.
        new: Bytes,
        /// Number in the GPT of each entry's partition, in order.
        numbers: Vec<u32>,
        /// Shape of the disk whose GPT stays behind it.
        from: Geometry,
        /// Why.
        reason: String,
    },
    /// Fit the GPT to a disk of another shape, or give it a partition more: both copies, and the end of the protective entry.
    Table {
        /// Shape before.
        from: Geometry,
        /// Shape afterwards.
        to: Geometry,
        /// PARTUUID of the partition that it gains.
        gained: Option<String>,
        /// What changes, sorted by offset.
        changes: Vec<Change>,
        /// Why.
        reason: String,
    },
    /// Put a file on a FAT partition.
    FatPut {
        /// The partition.
        partition: Place,
        /// Path on it.
        path: String,
        /// What the file holds before; `None` when there is none.
        old: Option<Bytes>,
        /// What it holds afterwards.
        new: Bytes,
        /// Why.
        reason: String,
    },
    /// Remove a file from a FAT partition.
    FatRemove {
        /// The partition.
        partition: Place,
        /// Path on it.
        path: String,
        /// What it holds before.
        old: Bytes,
        /// Why.
        reason: String,
    },
}

impl Op {
    /// Why the operation is in the plan.
    pub fn reason(&self) -> &str {
        match self {
            Op::Raw { reason, .. }
            | Op::Mbr { reason, .. }
            | Op::Table { reason, .. }
            | Op::FatPut { reason, .. }
            | Op::FatRemove { reason, .. } => reason,
        }
    }

    /// Where it works, in words: `LBA 34..534`, `partition at LBA 2048: /EFI/x`.
    pub fn place(&self) -> String {
        match self {
            Op::Raw { at, new, .. } => span(at.get(), new.len()),
            Op::Mbr { .. } => "LBA 0".to_string(),
            Op::Table { .. } => "both GPT copies".to_string(),
            Op::FatPut { partition, path, .. } | Op::FatRemove { partition, path, .. } => {
                format!("{path} on the partition at LBA {}", partition.at.get() / 512)
            }
        }
    }

    /// Bytes that it puts somewhere: the length of a file or a stretch; 0 when it only removes.
    pub fn size(&self) -> u64 {
        match self {
            Op::Raw { new, .. } | Op::Mbr { new, .. } | Op::FatPut { new, .. } => new.len(),
            Op::Table { changes, .. } => changes.iter().map(|c| c.new.len()).sum(),
            Op::FatRemove { .. } => 0,
        }
    }
}

/// A byte range in sectors where it is made of whole ones, in bytes of a sector otherwise.
pub(super) fn span(at: u64, len: u64) -> String {
    let (sector, skip) = (at / 512, at % 512);
    if skip == 0 && len.is_multiple_of(512) {
        let last = sector.saturating_add((len / 512).saturating_sub(1));
        if last == sector { format!("LBA {sector}") } else { format!("LBA {sector}..={last}") }
    } else {
        format!("LBA {sector}, bytes {skip}..{}", skip.saturating_add(len))
    }
}
