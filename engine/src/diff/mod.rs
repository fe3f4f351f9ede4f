//! Two disks compared by meaning: what a person would say has changed, not which sectors.
//!
//! ```text
//! A ─ look ─┐            ┌─ table and ids ─────── fields
//!           ├─ pairs ────┼─ LBA 0, the gap ────── bytes
//! B ─ look ─┘            ├─ partition / volume ── equal bytes? nothing more to do
//!                        │                        a file system on both? name by name, else bytes
//!                        └─ free space ────────── bytes
//! ```
//!
//! Only the disks are compared, never what holds them: a VHDX and a raw file of one disk are the same. Of files are compared kind, content,
//! permission bits, owner and link target, as far as the reader of the file system tells them; not times, extended attributes, hard
//! links or the numbers of devices. What is a hole on both sides, or the same stretch of one file, is not read.
//!
//! **Invariant: what could not be compared is said**, and then "no difference" is no verdict. **Invariant: bounded.** Memory is a
//! folder's names per level and two buffers; [`NAMES_MAX`], [`ENTRIES_MAX`], [`DEPTH_MAX`] and [`FILE_MAX`] end the rest.

mod bytes;
mod content;
mod files;
mod hint;
mod logical;
mod meter;
mod model;
mod places;
mod regions;
mod report;
mod role;
mod table;

pub use content::FILE_MAX;
pub use files::{DEPTH_MAX, ENTRIES_MAX, NAMES_MAX};
pub use model::{
    ByteRange, BytesDiff, ContentDiff, Diff, EntryDiff, Field, Mark, Node, PartitionDiff, Region, Remark,
    Scope, Verdict, VolumeDiff,
};
pub use role::BootRole;

use self::meter::Meter;
use self::places::Work;
use crate::disk::{DiskRef, ReadError};
use crate::guest::look;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::ControlFlow;

/// How to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How much.
    pub scope: Scope,
    /// Most lines that are shown of a text file that changed; 0 shows none.
    pub hint_lines: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { scope: Scope::All, hint_lines: 12 }
    }
}

/// How far a comparison is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes of the disks that are behind us.
    pub done: u64,
    /// Length of the longer disk.
    pub total: u64,
}

/// Which of the two disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::A => "A",
            Side::B => "B",
        })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A disk could not be read.
    #[error("disk {side}: {source}")]
    Read {
        /// Which disk.
        side: Side,
        /// What its container said.
        source: ReadError,
    },
    /// The callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Compare two disks. `progress` is called on this thread, at least every few MiB.
///
/// # Errors
/// [`DiffError`]. A file system that cannot be read is no error: its bytes are compared, or it stands under [`Diff::not_compared`].
pub fn diff(
    a: &DiskRef,
    b: &DiskRef,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Diff, DiffError> {
    let total = a.geometry().len.get().max(b.geometry().len.get());
    let guest_a = look(a).map_err(|source| DiffError::Read { side: Side::A, source })?;
    let guest_b = look(b).map_err(|source| DiffError::Read { side: Side::B, source })?;
    let mut work = Work {
        a: &guest_a,
        b: &guest_b,
        options,
        meter: Meter::new(total, progress),
        diff: Diff::new(options.scope),
    };
    work.compare()?;
    let mut diff = work.diff;
    diff.judge();
    Ok(diff)
}
