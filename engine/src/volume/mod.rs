//! File systems: find and read a file by its path.
//!
//! One trait over kept libraries. Everything is read-only and works on a [`DiskRef`] slice; a journal that a pulled guest left
//! behind is replayed in memory, so that a read sees what the guest's kernel would show after mounting. [`fat_edit`] is
//! the one way to change a file, and it returns plain sector writes instead of performing them.

mod btrfs;
mod cursor;
mod ext4;
mod fat;
mod fat_edit;
mod fat_make;
mod jbd2;
pub mod lvm;
mod ntfs;
mod probe;
mod xfs;

pub use cursor::DiskCursor;
pub use fat_edit::{FatEdit, fat_edit};
pub use fat_make::fat_make;
pub use probe::{FsKind, Probe, probe};

use crate::disk::{DiskRef, ReadError};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most bytes that a [`Volume::read`] returns, whatever its caller asks for: 64 MiB.
pub const READ_LIMIT: u64 = 64 << 20;
/// Most entries that a [`Volume::read_dir`] returns.
pub const DIR_LIMIT: usize = 65_536;

/// Whether the file system was left in the middle of something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Journal {
    /// Unmounted properly, or a file system without a journal.
    Clean,
    /// The journal held committed changes; reads see them applied, in memory only.
    Replayed {
        /// Blocks that the journal replaced, when the replay was our own.
        blocks: Option<u64>,
    },
    /// Marked as in use, with nothing that could be replayed (FAT's dirty flag, NTFS's log).
    Dirty,
    /// The journal could not be replayed: what is read may be older than what the guest had committed.
    Unreadable {
        /// What stood in the way.
        why: String,
    },
}

/// Kind of a directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Device, socket, fifo or unknown.
    Other,
}

/// One name in a directory; `.` and `..` are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name; bytes that are no UTF-8 are shown as U+FFFD.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What a file system says of one name; a symbolic link is not followed. Times are left out: not every reader here tells them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Length in bytes of a regular file; 0 for everything else.
    pub len: u64,
    /// The lower twelve bits of the mode; `None` where the file system has none (FAT) or its reader does not tell (NTFS).
    pub mode: Option<u16>,
    /// Who owns it; `None` as for `mode`, and on XFS.
    pub owner: Option<Owner>,
    /// Where a symbolic link leads; bytes that are no UTF-8 are shown as U+FFFD.
    pub target: Option<String>,
}

/// Numbers of a user and a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// Why a file system could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// No superblock that we know.
    #[error("no known file system")]
    Unknown,
    /// Known by name, but there is no reader for it.
    #[error("{0} cannot be looked into")]
    Unsupported(FsKind),
    /// The path does not exist.
    #[error("{path} does not exist")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// The file is larger than the caller allowed.
    #[error("{path} is larger than {max} bytes")]
    TooLarge {
        /// The path asked for.
        path: String,
        /// The limit in bytes.
        max: u64,
    },
    /// The file system contradicts itself, or uses something the reader does not know.
    #[error("{kind} file system, {what}: {why}")]
    Broken {
        /// Which file system.
        kind: FsKind,
        /// What was being done.
        what: String,
        /// What the reader said.
        why: String,
    },
    /// A change to a FAT volume is not possible.
    #[error("{path}: {why}")]
    Edit {
        /// Path on the volume.
        path: String,
        /// Why not.
        why: String,
    },
    /// The disk below could not be read.
    #[error(transparent)]
    Disk(#[from] ReadError),
}

impl VolumeError {
    fn broken(kind: FsKind, what: impl Into<String>, why: impl std::fmt::Display) -> VolumeError {
        VolumeError::Broken { kind, what: what.into(), why: why.to_string() }
    }

    fn not_found(path: &str) -> VolumeError {
        VolumeError::NotFound { path: path.to_string() }
    }
}

/// The bytes of an open file, from its beginning on.
pub trait FileStream {
    /// The next bytes, at least one but at the end of the file.
    ///
    /// # Errors
    /// A broken file system, or a disk that cannot be read.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError>;
}

/// A readable file system. Paths are absolute, `/`-separated; links are followed.
pub trait Volume {
    /// Which file system.
    fn kind(&self) -> FsKind;

    /// The identifier `blkid` shows as UUID and GRUB's `search --fs-uuid` looks for.
    fn uuid(&self) -> Option<String>;

    /// The label, when it has one.
    fn label(&self) -> Option<String>;

    /// Whether the guest left it in the middle of something, and what was done about that.
    fn journal(&self) -> Journal;

    /// The whole file at `path`.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; [`VolumeError::TooLarge`] beyond `max` bytes (never more than [`READ_LIMIT`]); a broken file system.
    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError>;

    /// At most `len` bytes of the file at `path` from `at` on (fewer at its end), and the file's length.
    ///
    /// # Errors
    /// As for [`Volume::read`].
    fn read_part(&self, path: &str, at: u64, len: u64) -> Result<(Vec<u8>, u64), VolumeError> {
        let mut bytes = self.read(path, READ_LIMIT)?;
        let whole = bytes.len() as u64;
        // Both are at most READ_LIMIT.
        bytes.truncate(at.saturating_add(len).min(whole) as usize);
        bytes.drain(..at.min(whole).min(bytes.len() as u64) as usize);
        Ok((bytes, whole))
    }

    /// On btrfs, the path in the whole file system of the default subvolume, which is what all paths here begin at; `None` when that is the
    /// whole.
    fn subvolume(&self) -> Option<String> {
        None
    }

    /// The names in the directory at `path`, in the order of the file system.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], also for something that is no directory; a broken file system.
    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError>;

    /// Whether `path` leads to anything.
    ///
    /// # Errors
    /// When the file system is too broken to tell.
    fn exists(&self, path: &str) -> Result<bool, VolumeError>;

    /// What the file system says of `path` itself: a symbolic link at its end is not followed.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; a broken file system.
    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError>;

    /// The regular file at `path`, to be read piece by piece: it may be longer than [`READ_LIMIT`].
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], also for something that is no regular file; a broken file system.
    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError>;
}

/// Open the file system on `disk`, which is the partition itself ([`crate::disk::Slice`]).
///
/// # Errors
/// [`VolumeError::Unknown`] without a known superblock, [`VolumeError::Unsupported`] for one that only has a name here.
pub fn open(disk: &DiskRef) -> Result<Box<dyn Volume>, VolumeError> {
    open_as(disk, btrfs::Btrfs::open)
}

/// As [`open`], but a btrfs is seen from its top level, where a plain mount shows only the default subvolume.
///
/// # Errors
/// As for [`open`].
pub fn open_whole(disk: &DiskRef) -> Result<Box<dyn Volume>, VolumeError> {
    open_as(disk, btrfs::Btrfs::open_whole)
}

fn open_as(
    disk: &DiskRef,
    as_btrfs: fn(DiskRef, Probe) -> Result<btrfs::Btrfs, VolumeError>,
) -> Result<Box<dyn Volume>, VolumeError> {
    let probe = probe(disk.as_ref())?.ok_or(VolumeError::Unknown)?;
    let kind = probe.kind;
    let disk = disk.clone();
    let inner = guard(kind, "opening", move || -> Result<Box<dyn Volume>, VolumeError> {
        Ok(match kind {
            FsKind::Ext => Box::new(ext4::Ext::open(disk, probe)?),
            FsKind::Fat => Box::new(fat::Fat::open(disk, probe)?),
            FsKind::Xfs => Box::new(xfs::Xfs::open(disk, probe)?),
            FsKind::Btrfs => Box::new(as_btrfs(disk, probe)?),
            FsKind::Ntfs => Box::new(ntfs::NtfsVolume::open(disk, probe)?),
            other => return Err(VolumeError::Unsupported(other)),
        })
    })?;
    Ok(Box::new(Guarded { kind, inner }))
}

/// The libraries below are young and parse what a hostile guest wrote; they should return errors, but an index out of range or an
/// overflow in one of them must not end a drill. So the last line of defence turns a panic into [`VolumeError::Broken`].
fn guard<T>(
    kind: FsKind,
    what: &str,
    act: impl FnOnce() -> Result<T, VolumeError>,
) -> Result<T, VolumeError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(VolumeError::broken(kind, what, "the reader gave up on contradictory structures"))
    })
}

/// A volume whose reader may panic on hostile bytes. The readers keep no state between calls but caches of what they read, so going on
/// after a caught panic is sound.
struct Guarded {
    kind: FsKind,
    inner: Box<dyn Volume>,
}

impl Volume for Guarded {
    fn kind(&self) -> FsKind {
        self.kind
    }

    fn uuid(&self) -> Option<String> {
        self.inner.uuid()
    }

    fn label(&self) -> Option<String> {
        self.inner.label()
    }

    fn journal(&self) -> Journal {
        self.inner.journal()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        guard(self.kind, path, || self.inner.read(path, max.min(READ_LIMIT)))
    }

    fn read_part(&self, path: &str, at: u64, len: u64) -> Result<(Vec<u8>, u64), VolumeError> {
        guard(self.kind, path, || self.inner.read_part(path, at, len.min(READ_LIMIT)))
    }

    fn subvolume(&self) -> Option<String> {
        guard(self.kind, "finding the default subvolume", || Ok(self.inner.subvolume())).unwrap_or_default()
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        guard(self.kind, path, || {
            let mut entries = self.inner.read_dir(path)?;
            entries.retain(|e| e.name != "." && e.name != "..");
            Ok(entries)
        })
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        guard(self.kind, path, || self.inner.exists(path))
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        guard(self.kind, path, || self.inner.metadata(path))
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let inner = guard(self.kind, path, || self.inner.stream(path))?;
        Ok(Box::new(GuardedStream { kind: self.kind, path: path.to_string(), inner }))
    }
}

/// The same for an open file.
struct GuardedStream<'a> {
    kind: FsKind,
    path: String,
    inner: Box<dyn FileStream + 'a>,
}

impl FileStream for GuardedStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError> {
        guard(self.kind, &self.path, || self.inner.read(buf))
    }
}
