//! A disk is a thing you can read at an offset.
//!
//! Containers open to a [`Disk`]; views stack on one another: a `Slice` is a partition, an `Overlay` is
//! copy-on-write in memory. Nothing here can write: **an image that was given is never opened for writing.**

pub mod file;
mod memory;
mod overlay;
mod slice;

pub use file::SourceFile;
pub use memory::MemDisk;
pub use overlay::{Overlay, OverlayError, Write};
pub use slice::Slice;

use crate::units::{ByteLen, ByteOffset, SectorSize};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Shape of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Geometry {
    /// Virtual length in bytes; a multiple of the sector size.
    pub len: ByteLen,
    /// Logical sector size.
    pub sector: SectorSize,
}

/// What a stretch of a disk is made of, as far as its container knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExtentKind {
    /// Bytes are stored; they may still be zero.
    Data,
    /// Reads as zeros, and the container says so.
    Zero,
    /// Never allocated; reads as zeros.
    Hole,
}

/// A stretch of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// Where it starts.
    pub at: ByteOffset,
    /// Its length, never 0.
    pub len: ByteLen,
    /// What it is made of.
    pub kind: ExtentKind,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller asked for bytes beyond the end.
    #[error("read of {len} bytes at {at:#x} goes beyond the end of the disk at {end:#x}")]
    OutOfRange {
        /// Offset asked for.
        at: u64,
        /// Bytes asked for.
        len: u64,
        /// Length of the disk.
        end: u64,
    },
    /// The operating system refused.
    #[error("reading {what} at {at:#x}: {source}")]
    Io {
        /// Which file.
        what: String,
        /// Offset in that file.
        at: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// The container contradicts itself.
    #[error("{what} at {at:#x}: wanted {wanted}, found {found}")]
    Corrupt {
        /// Which structure.
        what: String,
        /// Where it lies in the file.
        at: u64,
        /// What the format asks for.
        wanted: String,
        /// What is there.
        found: String,
    },
}

/// A readable disk. `read_at` fills `buf` whole or fails; holes and zero extents read as zeros.
pub trait Disk: Send + Sync {
    /// Length and sector size.
    fn geometry(&self) -> Geometry;

    /// Fill `buf` with the bytes at `at`.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] when `at + buf.len()` passes the end; otherwise what the container or the system says.
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError>;

    /// The extent that contains `from` (starting exactly at `from`), or `None` at the end of the disk. Neighbours of one kind may come
    /// in several pieces; cost follows the number of pieces, not the length of the disk.
    ///
    /// # Errors
    /// As for [`Disk::read_at`].
    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError>;

    /// Where the bytes from `from` on lie in a file just as they are: the first stretch of them, at most `len` bytes (not 0), so that a copy
    /// can be left to the kernel. `None` when they do not, or when nobody knows; they must then be read.
    ///
    /// # Errors
    /// As for [`Disk::read_at`].
    fn span_at(&self, from: ByteOffset, len: u64) -> Result<Option<FileSpan<'_>>, ReadError> {
        let _ = (from, len);
        Ok(None)
    }
}

/// Bytes of a disk as they lie in a file.
#[derive(Clone, Copy, Debug)]
pub struct FileSpan<'a> {
    /// The file.
    pub file: &'a SourceFile,
    /// Where in it, in bytes.
    pub at: u64,
    /// How many bytes; never 0.
    pub len: u64,
}

/// How disks are passed about: views share what lies under them.
pub type DiskRef = Arc<dyn Disk>;

impl Geometry {
    /// That `len` bytes at `at` lie on a disk of this shape; the offset behind them.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] when they do not.
    pub fn check(&self, at: ByteOffset, len: u64) -> Result<u64, ReadError> {
        match at.get().checked_add(len) {
            Some(end) if end <= self.len.get() => Ok(end),
            _ => Err(ReadError::OutOfRange { at: at.get(), len, end: self.len.get() }),
        }
    }
}

impl std::fmt::Debug for dyn Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({:?})", self.geometry())
    }
}

/// Bytes `at..at + len` of a disk, in memory of their own.
///
/// # Errors
/// As for [`Disk::read_at`]. The range is checked before anything is allocated, and `len` is refused beyond [`READ_MAX`].
pub fn read_vec(disk: &dyn Disk, at: ByteOffset, len: usize) -> Result<Vec<u8>, ReadError> {
    disk.geometry().check(at, len as u64)?;
    if len > READ_MAX {
        return Err(ReadError::OutOfRange { at: at.get(), len: len as u64, end: disk.geometry().len.get() });
    }
    let mut bytes = vec![0; len];
    disk.read_at(at, &mut bytes)?;
    Ok(bytes)
}

/// Most that [`read_vec`] puts into memory at once: 256 MiB.
pub const READ_MAX: usize = 256 << 20;
