//! btrfs through `lambutter`: the default subvolume, as a plain mount shows it. btrfs has no journal to replay; its log tree only
//! matters for files synced in the last seconds before a power cut.

use super::{Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Owner, Probe, Volume, VolumeError};
use crate::disk::{DiskRef, ReadError};
use crate::units::ByteOffset;
use std::cell::RefCell;

/// Bytes of a partition, in the shape `lambutter` asks for.
struct Reader(DiskRef);

impl lambutter::BlockRead for Reader {
    type Error = ReadError;
    fn read_at(&mut self, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_at(ByteOffset(at), buf)
    }
}

/// `BTRFS_FT_DIR`.
const DIRECTORY: u8 = 2;
/// Object id of the tree that everything else hangs from: `BTRFS_FS_TREE_OBJECTID`.
const TOP_LEVEL: u64 = 5;
/// Most directories that are looked at to find a subvolume's place.
const LOOKS_MAX: usize = 4096;

pub(super) struct Btrfs {
    probe: Probe,
    disk: DiskRef,
    // The library wants `&mut` to read; nothing but its reader's position changes.
    fs: RefCell<lambutter::Btrfs<Reader>>,
}

impl Btrfs {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<Btrfs, VolumeError> {
        let len = disk.geometry().len.get();
        let fs = lambutter::Btrfs::open(Reader(disk.clone()), len)
            .map_err(|e| VolumeError::broken(FsKind::Btrfs, "opening", format!("{e:?}")))?;
        Ok(Btrfs { probe, disk, fs: RefCell::new(fs) })
    }

    /// The same from the top level: every subvolume where it hangs, whichever is the default.
    pub(super) fn open_whole(disk: DiskRef, probe: Probe) -> Result<Btrfs, VolumeError> {
        let len = disk.geometry().len.get();
        let fs = lambutter::Btrfs::open_subvol_id(Reader(disk.clone()), len, TOP_LEVEL)
            .map_err(|e| VolumeError::broken(FsKind::Btrfs, "opening", format!("{e:?}")))?;
        Ok(Btrfs { probe, disk, fs: RefCell::new(fs) })
    }

    /// Where the subvolume `wanted` hangs. The reader has no way from a subvolume to its parent, so its usual places are looked at:
    /// subvolumes within subvolumes, and snapper's `.snapshots/NUMBER/snapshot`.
    fn place_of(&self, wanted: u64) -> Option<String> {
        let len = self.disk.geometry().len.get();
        let mut fs = lambutter::Btrfs::open_subvol_id(Reader(self.disk.clone()), len, TOP_LEVEL).ok()?;
        let mut open = vec![(String::new(), TOP_LEVEL)];
        let mut looks = 0;
        while let Some((folder, subvolume)) = open.pop() {
            let here = if folder.is_empty() { "/" } else { folder.as_str() };
            let entries = fs.read_dir(lambutter::Path::new(here.as_bytes())?).ok()?;
            for entry in entries.iter().filter(|e| e.kind_byte == DIRECTORY) {
                looks += 1;
                if looks > LOOKS_MAX {
                    return None;
                }
                let path = format!("{folder}/{}", String::from_utf8_lossy(&entry.name));
                let Some(Ok(inode)) = lambutter::Path::new(path.as_bytes()).map(|p| fs.resolve(p)) else {
                    continue;
                };
                if inode.subvolume() == wanted {
                    return Some(path);
                }
                let snapper = folder.ends_with("/.snapshots") || entry.name == b".snapshots";
                if inode.subvolume() != subvolume || snapper {
                    open.push((path, inode.subvolume()));
                }
            }
        }
        None
    }
}

fn error(path: &str, e: lambutter::Error) -> VolumeError {
    match e {
        lambutter::Error::NotFound | lambutter::Error::NotARegularFile => VolumeError::not_found(path),
        other => VolumeError::broken(FsKind::Btrfs, path, format!("{other:?}")),
    }
}

fn at(path: &str) -> Result<lambutter::Path<'_>, VolumeError> {
    lambutter::Path::new(path.as_bytes()).ok_or_else(|| VolumeError::not_found(path))
}

/// An open file: its inode, and how far it was read.
struct Stream<'a> {
    fs: &'a RefCell<lambutter::Btrfs<Reader>>,
    inode: lambutter::Inode,
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

impl Volume for Btrfs {
    fn kind(&self) -> FsKind {
        FsKind::Btrfs
    }

    fn uuid(&self) -> Option<String> {
        self.probe.uuid.clone()
    }

    fn label(&self) -> Option<String> {
        self.probe.label.clone()
    }

    fn journal(&self) -> Journal {
        Journal::Clean
    }

    fn subvolume(&self) -> Option<String> {
        let own = self.fs.borrow().subvolume();
        if own == TOP_LEVEL { None } else { self.place_of(own) }
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let at = at(path)?;
        let inode = fs.resolve(at).map_err(|e| error(path, e))?;
        let meta = fs.metadata(&inode).map_err(|e| error(path, e))?;
        if !meta.is_file() {
            return Err(VolumeError::not_found(path));
        }
        if meta.size > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        fs.read_file(at).map_err(|e| error(path, e))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        let entries = self.fs.borrow_mut().read_dir(at(path)?).map_err(|e| error(path, e))?;
        Ok(entries
            .into_iter()
            .take(super::DIR_LIMIT)
            .map(|e| Entry {
                name: String::from_utf8_lossy(&e.name).into_owned(),
                // BTRFS_FT_*: 1 regular, 2 directory, 7 symbolic link.
                kind: match e.kind_byte {
                    1 => EntryKind::File,
                    DIRECTORY => EntryKind::Directory,
                    7 => EntryKind::Symlink,
                    _ => EntryKind::Other,
                },
            })
            .collect())
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        match self.fs.borrow_mut().resolve(at(path)?).map_err(|e| error(path, e)) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let at = at(path)?;
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
            len: if kind == EntryKind::File { meta.size } else { 0 },
            mode: Some((meta.mode & 0o7777) as u16),
            owner: Some(Owner { user: meta.uid, group: meta.gid }),
            target: target.map(|t| String::from_utf8_lossy(&t).into_owned()),
        })
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let mut fs = self.fs.borrow_mut();
        let inode = fs.resolve(at(path)?).map_err(|e| error(path, e))?;
        if !fs.metadata(&inode).map_err(|e| error(path, e))?.is_file() {
            return Err(VolumeError::not_found(path));
        }
        Ok(Box::new(Stream { fs: &self.fs, inode, at: 0, path: path.to_string() }))
    }
}
