//! Any disk to a new file: extent by extent, sparse, whole or not at all.
//!
//! The file grows under a temporary name in its own folder and takes its final name only when it is complete and on stable
//! storage. An error, a cancel or a full disk leaves nothing behind; `kill -9` leaves a `.…drill-partial-PID`.

mod partial;
mod pump;
mod sink;

use self::partial::Partial;
pub(in crate::container) use self::sink::{Sink, Storage};
use crate::disk::file::Identity;
use crate::disk::{Disk, ExtentKind, ReadError};
use crate::units::{ByteLen, ByteOffset};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Formats that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutFormat {
    /// Azure's and Generation 1's: the disk's bytes and a footer. The disk must be whole MiB long.
    FixedVhd,
    /// The disk's bytes alone.
    Raw,
    /// Hyper-V's, blocks as needed.
    DynamicVhdx,
    /// Hyper-V's, all blocks there and in order.
    FixedVhdx,
}

/// How to export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportOptions {
    /// Replace a file that exists under the final name.
    pub overwrite: bool,
    /// Id for the container, in the byte order of disk structures.
    pub unique_id: [u8; 16],
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Files that must not be replaced even with `overwrite`: the sources of the disk.
    pub protect: Vec<Identity>,
}

impl ExportOptions {
    /// Refuse an existing file.
    pub fn new(unique_id: [u8; 16], now: u64) -> ExportOptions {
        ExportOptions { overwrite: false, unique_id, now, protect: Vec::new() }
    }
}

/// How far an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes of data handled.
    pub done: u64,
    /// Bytes of data in all; holes do not count.
    pub total: u64,
}

/// A finished export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Exported {
    /// The new file.
    pub path: PathBuf,
    /// Its format.
    pub format: OutFormat,
    /// Length of the disk.
    pub virtual_len: ByteLen,
    /// Length of the file.
    pub file_len: ByteLen,
    /// Bytes that were written because they are not zero, in steps of 64 KiB.
    pub written: ByteLen,
}

/// Why there is no new file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something has the final name already.
    #[error("{} exists already; choose another name or allow overwriting", path.display())]
    Exists {
        /// The final name.
        path: PathBuf,
    },
    /// The final name is one of the sources.
    #[error("{} is a source of this disk and is never replaced", path.display())]
    Source {
        /// The final name.
        path: PathBuf,
    },
    /// The path has no file name, or its folder is not there.
    #[error("{}: {reason}", path.display())]
    Path {
        /// The path given.
        path: PathBuf,
        /// Why it is no place for a file.
        reason: String,
    },
    /// The format cannot hold the disk.
    #[error("a disk of {len} bytes in sectors of {sector} cannot be a {format:?}: wanted {wanted}")]
    Shape {
        /// Length of the disk.
        len: u64,
        /// Its sector size.
        sector: u64,
        /// The format.
        format: OutFormat,
        /// What it asks for.
        wanted: &'static str,
    },
    /// Checked before anything is written.
    #[error("{}: needs {needed} bytes of free space, the file system has {free}", path.display())]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes wanted.
        needed: u64,
        /// Bytes there.
        free: u64,
    },
    /// The disk could not be read.
    #[error("reading the disk: {0}")]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error("{} {}: {source}", doing, path.display())]
    Write {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Write `disk` to a new file `out`.
///
/// `progress` is called before and after each step of at most 4 MiB; `Break` cancels. Time and space follow the bytes stored,
/// not the length of the disk.
///
/// # Errors
/// [`ExportError`]; whatever it is, neither `out` nor a temporary file is left, and a file that was there is as it was.
pub fn export(
    disk: &dyn Disk,
    out: &Path,
    format: OutFormat,
    options: &ExportOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Exported, ExportError> {
    let geometry = disk.geometry();
    let mut sink = sink::sink_for(geometry, format, options)?;
    partial::check_target(out, options)?;
    let total = data_bytes(disk, progress)?;
    partial::check_space(out, total.saturating_add(sink.overhead()))?;
    let partial = Partial::create(out)?;
    let written =
        pump::pump(disk, &mut *sink, &partial, total, progress).map_err(|e| e.at(partial.path()))?;
    let file_len = sink.finish(&partial).map_err(|source| partial.failed("writing", source))?;
    partial.publish(options)?;
    Ok(Exported {
        path: out.to_path_buf(),
        format,
        virtual_len: geometry.len,
        file_len: ByteLen(file_len),
        written: ByteLen(written),
    })
}

/// Bytes in data extents.
fn data_bytes(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, ExportError> {
    let (mut at, mut sum) = (0u64, 0u64);
    while let Some(extent) = disk.next_extent(ByteOffset(at))? {
        if extent.kind == ExtentKind::Data {
            sum = sum.saturating_add(extent.len.get());
        }
        at = at.saturating_add(extent.len.get());
        if progress(Progress { done: 0, total: sum }).is_break() {
            return Err(ExportError::Cancelled);
        }
    }
    Ok(sum)
}
