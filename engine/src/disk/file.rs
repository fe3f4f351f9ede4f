//! The one read-only descriptor through which a given image is seen.

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What tells one state of one file from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Device that holds the file.
    pub dev: u64,
    /// Inode on that device.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of content or metadata, nanoseconds since 1970.
    pub ctime_ns: i128,
}

/// Why a file cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system refused.
    #[error("opening {}: {source}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, pipe, terminal or socket.
    #[error("{}: wanted a file or a block device, found a {found}; give the path of a disk image", path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
}

/// How a source is no longer what was opened. Whoever sees this must not trust what was read meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum Changed {
    /// The path or the open file differs from the state at opening.
    #[error("{} changed while it was in use: {field} was {was}, is {is}", path.display())]
    Differs {
        /// Which file.
        path: PathBuf,
        /// Which property.
        field: &'static str,
        /// At opening.
        was: String,
        /// Now.
        is: String,
    },
    /// It could not be looked at.
    #[error("{} could not be looked at again: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file opened for reading only, once; all access to a given image goes through it.
pub struct SourceFile {
    file: File,
    path: PathBuf,
    identity: Identity,
}

/// Whether a stretch of a file is stored or a hole of the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// Bytes are stored.
    Data,
    /// A hole: zeros that take no space.
    Hole,
}

impl SourceFile {
    /// Open `path` with `O_RDONLY | O_CLOEXEC`. Symbolic links are followed; a pipe is refused instead of waited for.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be opened or is neither a regular file nor a block device.
    pub fn open(path: &Path) -> Result<SourceFile, SourceError> {
        SourceFile::open_with(path, OFlags::empty())
    }

    /// As [`SourceFile::open`], but a symbolic link is refused: for a path that no user gave.
    ///
    /// # Errors
    /// As for [`SourceFile::open`].
    pub fn open_itself(path: &Path) -> Result<SourceFile, SourceError> {
        SourceFile::open_with(path, OFlags::NOFOLLOW)
    }

    fn open_with(path: &Path, more: OFlags) -> Result<SourceFile, SourceError> {
        let failed = |source: io::Error| SourceError::Open { path: path.to_path_buf(), source };
        // O_NONBLOCK changes nothing for files and disks, but keeps the open of a pipe from waiting for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | more;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
            Errno::LOOP if more.contains(OFlags::NOFOLLOW) => {
                SourceError::NotAFile { path: path.to_path_buf(), found: "symbolic link" }
            }
            e => failed(e.into()),
        })?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(failed)?;
        if let Some(found) = refused_kind(&meta) {
            return Err(SourceError::NotAFile { path: path.to_path_buf(), found });
        }
        let identity = identity(&file, &meta).map_err(failed)?;
        Ok(SourceFile { file, path: path.to_path_buf(), identity })
    }

    /// Path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes when it was opened.
    pub fn len(&self) -> u64 {
        self.identity.size
    }

    /// Whether it had no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.identity.size == 0
    }

    /// Its permission bits; of what cannot be asked, only the owner's.
    pub fn mode(&self) -> u32 {
        self.file.metadata().map_or(0o600, |m| m.mode() & 0o777)
    }

    /// State when it was opened.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The quick proof that nobody touched the source: the open file, and the file the path now leads to, still have the
    /// device, inode, size and times of the first look.
    ///
    /// # Errors
    /// [`Changed`] names the first property that differs.
    pub fn unchanged(&self) -> Result<(), Changed> {
        let io = |source| Changed::Io { path: self.path.clone(), source };
        let held = self.file.metadata().and_then(|m| identity(&self.file, &m)).map_err(io)?;
        self.compare(held)?;
        let meta = std::fs::metadata(&self.path).map_err(io)?;
        let mut named = stat_identity(&meta);
        if meta.file_type().is_block_device() {
            named.size = held.size; // a block device has no size in its metadata
        }
        self.compare(named)
    }

    fn compare(&self, now: Identity) -> Result<(), Changed> {
        let was = self.identity;
        let differs = |field, was: &dyn fmt::Display, is: &dyn fmt::Display| {
            Err(Changed::Differs { path: self.path.clone(), field, was: was.to_string(), is: is.to_string() })
        };
        if was.dev != now.dev {
            return differs("device", &was.dev, &now.dev);
        }
        if was.inode != now.inode {
            return differs("inode", &was.inode, &now.inode);
        }
        if was.size != now.size {
            return differs("size", &was.size, &now.size);
        }
        if was.mtime_ns != now.mtime_ns {
            return differs("modification time (ns)", &was.mtime_ns, &now.mtime_ns);
        }
        if was.ctime_ns != now.ctime_ns {
            return differs("change time (ns)", &was.ctime_ns, &now.ctime_ns);
        }
        Ok(())
    }

    /// Fill `buf` from `at`.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` beyond the end.
    pub fn read_exact_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, at)
    }

    /// Whether the byte at `at` is in memory already, as far as the kernel tells without waiting; `false` where it cannot tell.
    pub fn is_cached(&self, at: u64) -> bool {
        let mut byte = [0];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        let read = rustix::io::preadv2(&self.file, &mut [io::IoSliceMut::new(&mut byte)], at, flags);
        matches!(read, Ok(1))
    }

    /// Tell the kernel that these bytes will be read soon. Only a hint: nothing waits, nothing can fail.
    pub fn will_need(&self, at: u64, len: u64) {
        if let Some(len) = NonZeroU64::new(len) {
            let _ = rustix::fs::fadvise(&self.file, at, Some(len), rustix::fs::Advice::WillNeed);
        }
    }

    /// Whether the bytes from `from` on are stored or a hole, and how many until that changes. `None` at the end. A file
    /// system that cannot tell says everything is stored.
    ///
    /// # Errors
    /// What the system says.
    pub fn next_stored(&self, from: u64) -> io::Result<Option<(u64, Stored)>> {
        let end = self.identity.size;
        if from >= end {
            return Ok(None);
        }
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(from)) {
            Ok(at) => at.min(end),
            Err(Errno::NXIO) => end,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((end - from, Stored::Data))),
            Err(e) => return Err(e.into()),
        };
        if data > from {
            return Ok(Some((data - from, Stored::Hole)));
        }
        let hole = match rustix::fs::seek(&self.file, SeekFrom::Hole(from)) {
            Ok(at) => at.clamp(from + 1, end),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => end,
            Err(e) => return Err(e.into()),
        };
        Ok(Some((hole - from, Stored::Data)))
    }
}

impl AsFd for SourceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({}, {} bytes)", self.path.display(), self.identity.size)
    }
}

fn refused_kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    if kind.is_file() || kind.is_block_device() {
        None
    } else if kind.is_dir() {
        Some("directory")
    } else if kind.is_fifo() {
        Some("pipe")
    } else if kind.is_socket() {
        Some("socket")
    } else {
        Some("character device")
    }
}

fn stat_identity(meta: &Metadata) -> Identity {
    let ns = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
    Identity {
        dev: meta.dev(),
        inode: meta.ino(),
        size: meta.len(),
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
    }
}

fn identity(file: &File, meta: &Metadata) -> io::Result<Identity> {
    let mut id = stat_identity(meta);
    if meta.file_type().is_block_device() {
        id.size = rustix::fs::seek(file, SeekFrom::End(0))?;
    }
    Ok(id)
}
