//! Why something is not sound, or not looked into.

use super::{Id, LvKind};
use crate::disk::ReadError;

/// Why a logical volume is not looked into.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Hidden {
    /// It is no plain run of extents.
    #[error("{kind} LVM ({named}) is not looked into")]
    Kind {
        /// What it is.
        kind: LvKind,
        /// What the metadata calls it.
        named: String,
    },
    /// A physical volume is not among the disks.
    #[error("part of it lies on the physical volume {id}, which is not on this disk")]
    Missing {
        /// Which.
        id: Id,
    },
    /// Two disks have the same id.
    #[error("part of it lies on the physical volume {id}, which is on this disk twice")]
    Twice {
        /// Which.
        id: Id,
    },
    /// A physical volume was missing when the group was changed, and its extents count as lost.
    #[error("part of it lies on the physical volume {id}, which its group has given up")]
    GivenUp {
        /// Which.
        id: Id,
    },
    /// lvm2 puts volumes on others while it moves extents.
    #[error("part of it lies on the logical volume {name}, which is not looked into")]
    OnVolume {
        /// Which.
        name: String,
    },
    /// Its bytes are partly those of the snapshot.
    #[error("a snapshot is being merged into it")]
    Merging,
    /// What the metadata says cannot be.
    #[error("by its metadata it {why}")]
    Contradiction {
        /// What.
        why: String,
    },
}

/// Why a label or a copy of the metadata is not sound.
#[derive(Debug, thiserror::Error)]
pub enum LvmError {
    /// Not a physical volume.
    #[error("no LVM label in the first four sectors")]
    NoLabel,
    /// A checksum is wrong.
    #[error("the CRC of the {what} at {at:#x} is {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Of what.
        what: &'static str,
        /// Where it begins, in bytes from the start of the physical volume.
        at: u64,
        /// In its field.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
    /// A field is not as the format asks.
    #[error("{what} at {at:#x}: wanted {wanted}, found {found}")]
    Field {
        /// Of what.
        what: &'static str,
        /// Where that or its text begins, in bytes from the start of the physical volume.
        at: u64,
        /// What the format asks for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// The text cannot be read.
    #[error("metadata text at {at:#x}, line {line}: wanted {wanted}, found {found}")]
    Text {
        /// Where it begins, in bytes from the start of the physical volume.
        at: u64,
        /// Line in the text.
        line: usize,
        /// What the format asks for.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// The disk below could not be read.
    #[error(transparent)]
    Disk(#[from] ReadError),
}

impl Hidden {
    pub(super) fn contradiction(why: impl Into<String>) -> Hidden {
        Hidden::Contradiction { why: why.into() }
    }
}
