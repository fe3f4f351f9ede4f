//! Any disk to a new file: extent by extent, sparse, whole or not at all.
//!
//! The file grows under a temporary name in its own folder and takes its final name only when it is complete and on stable
//! storage. An error, a cancel or a full disk leaves nothing behind; `kill -9` leaves a `.…drill-partial-PID`.

#[cfg(test)]
mod alignment;
mod child;
mod direct;
mod pacer;
mod partial;
#[cfg(test)]
mod power_cut;
pub(crate) mod pump;
mod sink;

pub use self::child::{Base, NoBase, export_child};
use self::partial::Partial;
pub(in crate::container) use self::partial::is_partial_name;
pub use self::partial::left_overs;
pub(in crate::container) use self::sink::{Sink, Storage};
use super::{Format, Gate};
use crate::disk::file::{Changed, Identity};
use crate::disk::{Disk, ExtentKind, Geometry, ReadError};
use crate::hash::{self, ContentHash, HashError};
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
    /// Generation 1's too, blocks as needed; Azure does not take it. At most 2040 GiB in sectors of 512 bytes.
    DynamicVhd,
    /// The disk's bytes alone.
    Raw,
    /// Hyper-V's, blocks as needed.
    DynamicVhdx,
    /// Hyper-V's, all blocks there and in order.
    FixedVhdx,
    /// QEMU's, clusters as needed, without a backing file.
    Qcow2,
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
    /// Whether the file is safe from a power cut when the export returns.
    pub flush: Flush,
    /// Read the new file back, before it gets its name, and take its hash.
    pub hash: bool,
    /// Permissions of the new file, before the process's mask: a copy should be no more readable than its source. See [`Opened::mode`](super::Opened::mode).
    pub mode: u32,
}

/// Whether an export waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The file gets its name only when it is on stable storage.
    Durable,
    /// The file is complete for every program, but after a power cut it may be damaged. For copies that are soon thrown away.
    Never,
}

impl ExportOptions {
    /// Refuse an existing file.
    pub fn new(unique_id: [u8; 16], now: u64) -> ExportOptions {
        ExportOptions {
            overwrite: false,
            unique_id,
            now,
            protect: Vec::new(),
            flush: Flush::Durable,
            hash: false,
            mode: 0o666,
        }
    }
}

/// How far an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes of data handled.
    pub done: u64,
    /// Bytes of data in all; holes do not count.
    pub total: u64,
    /// Which part of the work is measured; each begins at 0.
    pub phase: Phase,
}

/// A part of a long action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Bytes are copied.
    Copying,
    /// Bytes are read and hashed.
    Hashing,
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
    /// What the new file holds, read back from it, if that was asked for: see [`hash::disk`].
    pub hash: Option<ContentHash>,
    /// What earlier exports to the same name left when they were killed, and this one removed.
    pub cleared: Vec<PathBuf>,
}

/// Why there is no new file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something has the final name already.
    #[error("{} exists already; choose another name", path.display())]
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
    /// A source was touched while it was copied.
    #[error(transparent)]
    Changed(#[from] Changed),
}

/// Write `disk` to a new file `out`.
///
/// `progress` is called before and after each step of at most 4 MiB; `Break` cancels. Time and space follow the bytes stored,
/// not the length of the disk. What an export to the same name left when it was killed is removed first: an export always starts clean.
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
    export_if(disk, out, format, options, progress, &|| Ok(()))
}

/// As [`export`], but the file gets its name only if `still` says, after everything was read, that the sources are still what they were:
/// [`Opened::unchanged`](super::Opened::unchanged).
///
/// # Errors
/// As for [`export`], and what `still` says.
pub fn export_if(
    disk: &dyn Disk,
    out: &Path,
    format: OutFormat,
    options: &ExportOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    still: &dyn Fn() -> Result<(), Changed>,
) -> Result<Exported, ExportError> {
    let geometry = disk.geometry();
    let mut sink = sink::sink_for(geometry, format, options)?;
    partial::check_target(out, options)?;
    let total = data_bytes(disk, progress)?;
    let new = NewFile::begin(out, options, total, sink.overhead())?;
    let partial = &new.partial;
    let written = pump::pump(disk, &mut *sink, partial, total, progress).map_err(|e| e.at(partial.path()))?;
    let file_len = sink.finish(partial).map_err(|source| partial.failed("writing", source))?;
    let hash = if options.hash { Some(hash_of_copy(partial, geometry, format, progress)?) } else { None };
    let (path, cleared) = new.end(still)?;
    let (virtual_len, file_len, written) = (geometry.len, ByteLen(file_len), ByteLen(written));
    Ok(Exported { path, format, virtual_len, file_len, written, hash, cleared })
}

/// A file that is being written: what comes before its first byte, and what comes before its name.
struct NewFile<'a> {
    out: &'a Path,
    partial: Partial,
    cleared: Vec<PathBuf>,
}

impl<'a> NewFile<'a> {
    /// For so many bytes of data, and of other things.
    fn begin(
        out: &'a Path,
        options: &ExportOptions,
        data: u64,
        overhead: u64,
    ) -> Result<NewFile<'a>, ExportError> {
        partial::check_space(out, data, overhead, options)?;
        let cleared = partial::clear_left_overs(out)?;
        Ok(NewFile { out, partial: Partial::create(out, options)?, cleared })
    }

    /// Its name, if the sources are still what they were; and what was cleared away for it.
    fn end(self, still: &dyn Fn() -> Result<(), Changed>) -> Result<(PathBuf, Vec<PathBuf>), ExportError> {
        still()?;
        partial::publish(&self.partial)?;
        Ok((self.out.to_path_buf(), self.cleared))
    }
}

/// The hash of what was written, taken from its own bytes through the reader of its format.
fn hash_of_copy(
    partial: &Partial,
    geometry: Geometry,
    format: OutFormat,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ContentHash, ExportError> {
    let damaged =
        |error: super::OpenError| partial.failed("reading back", io::Error::other(error.to_string()));
    let copy = match format {
        // Neither says how long its sectors are.
        OutFormat::Qcow2 => super::qcow2::open_as(partial.path(), geometry.sector).map_err(damaged)?,
        OutFormat::Raw => super::raw::open_as(partial.path(), geometry).map_err(damaged)?,
        other => {
            super::open_through(partial.path(), Some(other.container()), &Gate::closed())
                .map_err(damaged)?
                .disk
        }
    };
    hash::disk(&*copy, progress).map_err(|e| match e {
        HashError::Read(e) => partial.failed("reading back", io::Error::other(e.to_string())),
        HashError::Cancelled => ExportError::Cancelled,
        HashError::Lost => partial.failed("reading back", io::Error::other(HashError::Lost.to_string())),
    })
}

impl OutFormat {
    /// All of them.
    pub const ALL: [OutFormat; 6] = [
        OutFormat::FixedVhd,
        OutFormat::DynamicVhd,
        OutFormat::Raw,
        OutFormat::DynamicVhdx,
        OutFormat::FixedVhdx,
        OutFormat::Qcow2,
    ];

    /// The format of the file, as it is read again.
    pub fn container(self) -> Format {
        match self {
            OutFormat::FixedVhd | OutFormat::DynamicVhd => Format::Vhd,
            OutFormat::Raw => Format::Raw,
            OutFormat::DynamicVhdx | OutFormat::FixedVhdx => Format::Vhdx,
            OutFormat::Qcow2 => Format::Qcow2,
        }
    }
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
        if progress(Progress { done: 0, total: sum, phase: Phase::Copying }).is_break() {
            return Err(ExportError::Cancelled);
        }
    }
    Ok(sum)
}
