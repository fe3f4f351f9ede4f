//! XFS through `lamxfs`, which replays a dirty v5 log in memory and refuses one that it cannot replay.

use super::{Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Probe, Volume, VolumeError};
use crate::disk::{DiskRef, ReadError};
use crate::units::ByteOffset;
use std::cell::RefCell;

/// Bytes of a partition, in the shape `lamxfs` asks for.
struct Reader(DiskRef);

impl lamxfs::BlockRead for Reader {
    type Error = ReadError;
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_at(ByteOffset(at), buf)
    }
}

pub(super) struct Xfs {
    probe: Probe,
    // The library wants `&mut` to read; nothing but its caches changes.
    fs: RefCell<lamxfs::Xfs<Reader>>,
}

impl Xfs {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<Xfs, VolumeError> {
        let len = disk.geometry().len.get();
        let fs = lamxfs::Xfs::open(Reader(disk), len)
            .map_err(|e| VolumeError::broken(FsKind::Xfs, "opening", format!("{e:?}")))?;
        Ok(Xfs { probe, fs: RefCell::new(fs) })
    }
}

fn error(path: &str, e: lamxfs::Error) -> VolumeError {
    match e {
        lamxfs::Error::NotFound { .. } | lamxfs::Error::NotARegularFile => VolumeError::not_found(path),
        _ => VolumeError::broken(FsKind::Xfs, path, format!("{e:?}")),
    }
}

/// An open file: its inode, and how far it was read.
struct Stream<'a> {
    fs: &'a RefCell<lamxfs::Xfs<Reader>>,
    inode: lamxfs::Inode,
    at: u64,
    path: String,
}

impl FileStream for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError> {
        let n = self.fs.borrow_mut().read_file_at(&self.inode, self.at, buf);
        let n = n.map_err(|e| error(&self.path, e))?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

impl Volume for Xfs {
    fn kind(&self) -> FsKind {
        FsKind::Xfs
    }

    fn uuid(&self) -> Option<String> {
        self.probe.uuid.clone()
    }

    fn label(&self) -> Option<String> {
        self.probe.label.clone()
    }

    fn journal(&self) -> Journal {
        // A log that could not be replayed would have been refused by `open`; whether there was one, the library does not tell.
        Journal::Clean
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let at = lamxfs::Path::new(path.as_bytes());
        let inode = fs.resolve(at).map_err(|e| error(path, e))?;
        let meta = fs.metadata(&inode).map_err(|e| error(path, e))?;
        if !meta.is_file() {
            return Err(VolumeError::not_found(path));
        }
        if meta.size() > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        fs.read_file(at).map_err(|e| error(path, e))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        let entries =
            self.fs.borrow_mut().read_dir(lamxfs::Path::new(path.as_bytes())).map_err(|e| error(path, e))?;
        Ok(entries
            .into_iter()
            .take(super::DIR_LIMIT)
            .map(|e| Entry {
                name: String::from_utf8_lossy(&e.name).into_owned(),
                kind: match e.kind {
                    lamxfs::EntryKind::Regular => EntryKind::File,
                    lamxfs::EntryKind::Directory => EntryKind::Directory,
                    lamxfs::EntryKind::Symlink => EntryKind::Symlink,
                    lamxfs::EntryKind::Other => EntryKind::Other,
                },
            })
            .collect())
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        match self.fs.borrow_mut().resolve(lamxfs::Path::new(path.as_bytes())).map_err(|e| error(path, e)) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let at = lamxfs::Path::new(path.as_bytes());
        let inode = fs.resolve(at).map_err(|e| error(path, e))?;
        let meta = fs.metadata(&inode).map_err(|e| error(path, e))?;
        let kind = if meta.is_file() {
            EntryKind::File
        } else if meta.is_dir() {
            EntryKind::Directory
        } else if meta.is_symlink() {
            EntryKind::Symlink
        } else {
            EntryKind::Other
        };
        let target = match kind {
            EntryKind::Symlink => Some(fs.read_link(at).map_err(|e| error(path, e))?),
            _ => None,
        };
        Ok(Metadata {
            kind,
            len: if kind == EntryKind::File { meta.size() } else { 0 },
            mode: Some((meta.mode() & 0o7777) as u16),
            owner: None,
            target: target.map(|t| String::from_utf8_lossy(&t).into_owned()),
        })
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let inode = fs.resolve(lamxfs::Path::new(path.as_bytes())).map_err(|e| error(path, e))?;
        if !fs.metadata(&inode).map_err(|e| error(path, e))?.is_file() {
            return Err(VolumeError::not_found(path));
        }
        Ok(Box::new(Stream { fs: &self.fs, inode, at: 0, path: path.to_string() }))
    }
}
