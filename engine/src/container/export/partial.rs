//! The file before it has its name.

use super::direct::Direct;
use super::pacer::Pacer;
use super::{ExportError, ExportOptions, Flush, Storage};
use crate::disk::FileSpan;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a temporary name has behind the final one; the number of the writing process follows.
const MARK: &str = ".drill-partial-";
/// Most bytes of one write through the page cache. For each the kernel takes one stretch of memory, and beyond eight pages it may stop to make room for
/// it (`PAGE_ALLOC_COSTLY_ORDER`), which costs more than the copy where memory is full.
const PIECE: usize = 32 << 10;
/// File systems that can let two files share blocks: XFS, btrfs, bcachefs, OCFS2 (`f_type`, see statfs(2)).
const SHARES_BLOCKS: [u64; 4] = [0x5846_5342, 0x9123_683E, 0xCA45_1A4E, 0x7461_636F];
/// Attempts to make the temporary file while other processes clear left-overs of the same name away.
const ATTEMPTS: usize = 8;

/// Where a finished export becomes a file that others see. Nothing written is safe before [`Target::flush`] has returned.
pub(super) trait Target: Storage {
    /// Wait until everything written is on stable storage.
    fn flush(&self) -> Result<(), ExportError>;

    /// Give the file its final name.
    fn take_name(&self) -> Result<(), ExportError>;

    /// Wait until the name is on stable storage.
    fn flush_folder(&self) -> Result<(), ExportError>;
}

/// The only order in which a file may appear: first its bytes are safe, then it gets its name, then its name is safe.
pub(super) fn publish(target: &dyn Target) -> Result<(), ExportError> {
    target.flush()?;
    target.take_name()?;
    target.flush_folder()
}

/// Whether a file has the name of an export that did not come to its end.
pub(in crate::container) fn is_partial_name(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy());
    name.is_some_and(|n| n.starts_with('.') && n.contains(MARK))
}

/// A file under a temporary name beside its final one. Removed when dropped, unless it took its name.
pub(super) struct Partial {
    file: Arc<File>,
    path: PathBuf,
    out: PathBuf,
    options: ExportOptions,
    pacer: Option<Pacer>,
    /// The same file for writes past the page cache.
    direct: Option<Direct>,
    /// Taken by each writer that goes through the page cache: the kernel lets one in at a time, and those that wait there burn the processor.
    turn: Mutex<()>,
    /// The file system can let two files share blocks.
    shares: bool,
    named: Mutex<bool>,
}

/// Refuse a final name that is taken, is a source, or cannot be one.
pub(super) fn check_target(out: &Path, options: &ExportOptions) -> Result<(), ExportError> {
    let path = || out.to_path_buf();
    let as_folder = out.as_os_str().as_encoded_bytes().ends_with(b"/");
    if out.file_name().is_none() || as_folder {
        return Err(ExportError::Path { path: path(), reason: "wanted the name of a file".into() });
    }
    let folder = folder(out);
    if !folder.is_dir() {
        let reason = format!("there is no folder {}; make it first", folder.display());
        return Err(ExportError::Path { path: path(), reason });
    }
    // Not `exists`: a symbolic link that leads nowhere is taken, too.
    let Ok(meta) = std::fs::symlink_metadata(out) else {
        return Ok(());
    };
    if !options.overwrite {
        return Err(ExportError::Exists { path: path() });
    }
    let target = std::fs::metadata(out).unwrap_or(meta.clone());
    if options.protect.iter().any(|p| p.dev == target.dev() && p.inode == target.ino()) {
        return Err(ExportError::Source { path: path() });
    }
    if !meta.is_file() {
        let reason = "exists and is not a regular file; it is not replaced".into();
        return Err(ExportError::Path { path: path(), reason });
    }
    Ok(())
}

/// Refuse a folder with less space free than the bytes that must be stored. `overhead` counts only as far as it is less than those: tables grow
/// with the data. Nothing is refused where blocks may be shared with a source, which takes no space; a disk that turns out full is an error then.
pub(super) fn check_space(
    out: &Path,
    data: u64,
    overhead: u64,
    options: &ExportOptions,
) -> Result<(), ExportError> {
    let folder = folder(out);
    let failed = |source: io::Error| ExportError::Write {
        doing: "looking for free space in",
        path: folder.to_path_buf(),
        source,
    };
    let needed = data.saturating_add(overhead.min(data));
    let dev = std::fs::metadata(folder).map_err(failed)?.dev();
    let kind = rustix::fs::statfs(folder).map_err(|e| failed(e.into()))?.f_type;
    if SHARES_BLOCKS.contains(&(kind as u64)) && options.protect.iter().any(|source| source.dev == dev) {
        return Ok(());
    }
    let stat = rustix::fs::statvfs(folder).map_err(|e| failed(e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        return Err(ExportError::Space { path: folder.to_path_buf(), needed, free });
    }
    Ok(())
}

fn folder(out: &Path) -> &Path {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What exports to the name `out` left behind when they were killed; not what is being written now. The next export removes it.
pub fn left_overs(out: &Path) -> Vec<PathBuf> {
    temporary_files(out).into_iter().filter(|path| matches!(lock(path), Some(Ok(_)))).collect()
}

/// Remove the left-overs. Returns what was removed.
pub(super) fn clear_left_overs(out: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let mut removed = Vec::new();
    for path in temporary_files(out) {
        let failed = |doing, source| ExportError::Write { doing, path: path.clone(), source };
        match lock(&path) {
            Some(Ok(_held)) => {
                std::fs::remove_file(&path).map_err(|e| failed("removing the left-over", e))?;
                removed.push(path);
            }
            // Another process writes it. One with our own number is another thread, and we would need the same name.
            Some(Err(e)) if path.ends_with(temporary_name(out)) => return Err(failed("locking", e.into())),
            _ => {}
        }
    }
    Ok(removed)
}

/// All files beside `out` with a temporary name for it.
fn temporary_files(out: &Path) -> Vec<PathBuf> {
    let prefix = temporary_prefix(out);
    let entries = std::fs::read_dir(folder(out)).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_file()) && is_temporary(&e.file_name(), &prefix))
        .map(|e| e.path())
        .collect()
}

/// The prefix, and the number of a process behind it: nothing that a person would choose.
fn is_temporary(name: &OsStr, prefix: &OsStr) -> bool {
    let number = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
    number.is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

/// The lock of a temporary file, or the reason that somebody else has it; nothing for what cannot be opened.
fn lock(path: &Path) -> Option<Result<std::os::fd::OwnedFd, Errno>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    Some(flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file))
}

fn temporary_prefix(out: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(out.file_name().unwrap_or_default());
    name.push(MARK);
    name
}

fn temporary_name(out: &Path) -> OsString {
    let mut name = temporary_prefix(out);
    name.push(std::process::id().to_string());
    name
}

impl Partial {
    /// Make `.<name>.drill-partial-<pid>` beside `out`, locked for as long as it is written.
    pub(super) fn create(out: &Path, options: &ExportOptions) -> Result<Partial, ExportError> {
        let path = folder(out).join(temporary_name(out));
        let failed = |doing, source| ExportError::Write { doing, path: path.clone(), source };
        for _ in 0..ATTEMPTS {
            let mut how = OpenOptions::new();
            how.read(true).write(true).create_new(true).mode(options.mode & 0o666 | 0o600);
            let file = Arc::new(how.open(&path).map_err(|e| failed("creating", e))?);
            // Waits: another export that looks for left-overs may hold it for a moment, and then removes it.
            if let Err(e) = flock(&*file, FlockOperation::LockExclusive) {
                let _ = std::fs::remove_file(&path);
                return Err(failed("locking", e.into()));
            }
            // Between making and locking it, another export to the same name may have taken it for a left-over.
            if file.metadata().is_ok_and(|m| m.nlink() == 0) {
                continue;
            }
            let pacer = match options.flush {
                Flush::Durable => Some(Pacer::start(file.clone()).map_err(|e| failed("flushing", e))?),
                Flush::Never => None,
            };
            let shares =
                rustix::fs::fstatfs(&*file).is_ok_and(|fs| SHARES_BLOCKS.contains(&(fs.f_type as u64)));
            let direct = match options.flush {
                // What is read back for its hash had better be in memory.
                Flush::Durable if !options.hash => Direct::open(&path, &file),
                _ => None,
            };
            let (out, options) = (out.to_path_buf(), options.clone());
            let (turn, named) = (Mutex::new(()), Mutex::new(false));
            return Ok(Partial { file, path, out, options, pacer, direct, turn, shares, named });
        }
        Err(failed("creating", io::Error::other("other exports to the same name keep removing it")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, doing: &'static str, source: io::Error) -> ExportError {
        ExportError::Write { doing, path: self.path.clone(), source }
    }

    fn wrote(&self, bytes: u64) {
        if let Some(pacer) = &self.pacer {
            pacer.wrote(bytes);
        }
    }

    /// Rename without replacing. File systems that cannot do that in one step can link, which does not replace either.
    fn rename_new(&self) -> Result<(), ExportError> {
        let renamed = rustix::fs::renameat_with(CWD, &self.path, CWD, &self.out, RenameFlags::NOREPLACE);
        let linked = match renamed {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                std::fs::hard_link(&self.path, &self.out).and_then(|()| std::fs::remove_file(&self.path))
            }
            other => other.map_err(io::Error::from),
        };
        linked.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists { path: self.out.clone() },
            _ => self.failed("naming", e),
        })
    }
}

impl Target for Partial {
    fn flush(&self) -> Result<(), ExportError> {
        let Some(pacer) = &self.pacer else { return Ok(()) };
        // What the pacer's flushes met, no later flush of the same file reports again.
        pacer.stop().and_then(|()| self.file.sync_all()).map_err(|e| self.failed("flushing", e))
    }

    fn take_name(&self) -> Result<(), ExportError> {
        if self.options.overwrite {
            // Looked at again: what was put there while we wrote may be a source.
            check_target(&self.out, &self.options)?;
            std::fs::rename(&self.path, &self.out).map_err(|e| self.failed("naming", e))?;
        } else {
            self.rename_new()?;
        }
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    fn flush_folder(&self) -> Result<(), ExportError> {
        if self.options.flush == Flush::Never {
            return Ok(());
        }
        let folder = folder(&self.out);
        match File::open(folder).and_then(|f| f.sync_all()) {
            // Some network file systems have nothing to flush in a folder and say so with EINVAL.
            Err(e) if e.raw_os_error() != Some(Errno::INVAL.raw_os_error()) => {
                let _ = std::fs::remove_file(&self.out);
                let path = folder.to_path_buf();
                Err(ExportError::Write { doing: "flushing the folder", path, source: e })
            }
            _ => Ok(()),
        }
    }
}

impl Storage for Partial {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && direct.write_at(at, bytes)?
        {
            return Ok(());
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for (n, piece) in (0..).zip(bytes.chunks(PIECE)) {
            self.file.write_all_at(piece, at + n * PIECE as u64)?;
        }
        drop(turn);
        self.wrote(bytes.len() as u64);
        Ok(())
    }

    fn copy_at(&self, at: u64, from: FileSpan<'_>) -> io::Result<bool> {
        if !self.shares {
            return Ok(false); // the kernel would copy page by page
        }
        let (mut source, mut target) = (from.at, at);
        let end = from.at.saturating_add(from.len);
        while source < end {
            let left = usize::try_from(end - source).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(
                from.file,
                Some(&mut source),
                &*self.file,
                Some(&mut target),
                left,
            ) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.wrote(n as u64),
                Err(Errno::INTR) => {}
                // Two file systems, a block device, or a kernel that cannot: read and write instead.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return Ok(false);
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !*self.named.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody is left to tell; a file that cannot be removed is found by its name.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
