//! XFS through `lamxfs`, which replays a dirty v5 log in memory and refuses one that it cannot replay.

use super::{Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Probe, Volume, VolumeError};
use crate::disk::{DiskRef, ReadError};
use crate::units::ByteOffset;
use std::cell::RefCell;
use std::collections::HashMap;

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
    last: RefCell<Folder>,
}

/// The folder that was asked last, by its path. The library reads a folder anew for each name that it looks up in it, so that a walk over a
/// folder of n names would read n × n.
#[derive(Default)]
struct Folder {
    path: Option<String>,
    names: HashMap<Vec<u8>, u64>,
}

impl Xfs {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<Xfs, VolumeError> {
        let len = disk.geometry().len.get();
        let fs = lamxfs::Xfs::open(Reader(disk), len)
            .map_err(|e| VolumeError::broken(FsKind::Xfs, "opening", format!("{e:?}")))?;
        Ok(Xfs { probe, fs: RefCell::new(fs), last: RefCell::default() })
    }

    /// The inode at `path`; a symbolic link is not followed.
    fn inode(&self, path: &str) -> Result<lamxfs::Inode, VolumeError> {
        let path = path.trim_end_matches('/');
        let mut fs = self.fs.borrow_mut();
        let Some((folder, name)) = path.rsplit_once('/') else {
            return fs.resolve(lamxfs::Path::new(path.as_bytes())).map_err(|e| error(path, e));
        };
        let mut last = self.last.borrow_mut();
        if last.path.as_deref() != Some(folder) {
            let at = lamxfs::Path::new(if folder.is_empty() { b"/" } else { folder.as_bytes() });
            let found = fs.resolve(at).and_then(|inode| fs.metadata(&inode)).map_err(|e| error(path, e))?;
            if !found.is_dir() {
                return Err(VolumeError::not_found(path));
            }
            let entries = fs.read_dir(at).map_err(|e| error(path, e))?;
            let names =
                entries.into_iter().take(super::DIR_LIMIT).map(|e| (e.name, e.inode_number)).collect();
            *last = Folder { path: Some(folder.to_string()), names };
        }
        let ino = last.names.get(name.as_bytes()).ok_or_else(|| VolumeError::not_found(path))?;
        Ok(lamxfs::Inode { ino: *ino })
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
        let inode = self.inode(path)?;
        let mut fs = self.fs.borrow_mut();
        let meta = fs.metadata(&inode).map_err(|e| error(path, e))?;
        if !meta.is_file() {
            return Err(VolumeError::not_found(path));
        }
        if meta.size() > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        let mut bytes = vec![0; usize::try_from(meta.size()).unwrap_or(0)];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match fs.read_file_at(&inode, done as u64, rest).map_err(|e| error(path, e))? {
                0 => break,
                n => done += n,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
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
        match self.inode(path) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let inode = self.inode(path)?;
        let mut fs = self.fs.borrow_mut();
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
            EntryKind::Symlink => {
                let link = fs.read_link(lamxfs::Path::new(path.as_bytes()));
                Some(link.map_err(|e| error(path, e))?)
            }
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
        let inode = self.inode(path)?;
        let mut fs = self.fs.borrow_mut();
        if !fs.metadata(&inode).map_err(|e| error(path, e))?.is_file() {
            return Err(VolumeError::not_found(path));
        }
        Ok(Box::new(Stream { fs: &self.fs, inode, at: 0, path: path.to_string() }))
    }
}
