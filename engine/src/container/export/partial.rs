//! The file before it has its name.

use super::{ExportError, ExportOptions, Storage};
use crate::disk::FileSpan;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A file under a temporary name beside its final one. Removed when dropped, unless published.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    out: PathBuf,
    armed: bool,
}

/// Refuse a final name that is taken, is a source, or cannot be one.
pub(super) fn check_target(out: &Path, options: &ExportOptions) -> Result<(), ExportError> {
    let path = || out.to_path_buf();
    if out.file_name().is_none() {
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

/// Refuse a folder with less than `needed` bytes free.
pub(super) fn check_space(out: &Path, needed: u64) -> Result<(), ExportError> {
    let folder = folder(out);
    let stat = rustix::fs::statvfs(folder).map_err(|e| ExportError::Write {
        doing: "looking for free space in",
        path: folder.to_path_buf(),
        source: e.into(),
    })?;
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

impl Partial {
    /// Make `.<name>.drill-partial-<pid>` beside `out`.
    pub(super) fn create(out: &Path) -> Result<Partial, ExportError> {
        let mut name = OsString::from(".");
        name.push(out.file_name().unwrap_or_default());
        name.push(format!(".drill-partial-{}", std::process::id()));
        let path = folder(out).join(name);
        let failed = |doing, source| ExportError::Write { doing, path: path.clone(), source };
        if let Ok(left) = OpenOptions::new().write(true).open(&path) {
            // Left by a killed process that had our number, which in a container is likely; unless it is in use by another thread.
            flock(&left, FlockOperation::NonBlockingLockExclusive)
                .map_err(|e| failed("locking", e.into()))?;
            std::fs::remove_file(&path).map_err(|e| failed("removing the left-over", e))?;
        }
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = opened.map_err(|e| failed("creating", e))?;
        let partial = Partial { file, path, out: out.to_path_buf(), armed: true };
        flock(&partial.file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| partial.failed("locking", e.into()))?;
        Ok(partial)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, doing: &'static str, source: io::Error) -> ExportError {
        ExportError::Write { doing, path: self.path.clone(), source }
    }

    /// Flush, then take the final name, then flush the folder.
    pub(super) fn publish(mut self, options: &ExportOptions) -> Result<(), ExportError> {
        self.file.sync_all().map_err(|e| self.failed("flushing", e))?;
        if options.overwrite {
            // Looked at again: what was put there while we wrote may be a source.
            check_target(&self.out, options)?;
            std::fs::rename(&self.path, &self.out).map_err(|e| self.failed("naming", e))?;
        } else {
            self.rename_new()?;
        }
        self.armed = false;
        let folder = folder(&self.out);
        match File::open(folder).and_then(|f| f.sync_all()) {
            // Some network file systems have nothing to flush in a folder and say so with EINVAL.
            Err(e) if e.raw_os_error() != Some(Errno::INVAL.raw_os_error()) => {
                let _ = std::fs::remove_file(&self.out);
                Err(ExportError::Write {
                    doing: "flushing the folder",
                    path: folder.to_path_buf(),
                    source: e,
                })
            }
            _ => Ok(()),
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

impl Storage for Partial {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn copy_at(&self, _at: u64, _from: FileSpan<'_>) -> io::Result<bool> {
        Ok(false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.armed {
            // Nobody is left to tell; a file that cannot be removed is found by its name.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
