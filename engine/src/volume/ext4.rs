//! ext2, ext3 and ext4 through `ext4-view`.

use super::jbd2::{self, Replay};
use super::{Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Owner, Probe, Volume, VolumeError};
use crate::disk::DiskRef;
use crate::units::ByteOffset;
use ext4_view::{Ext4, Ext4Error, Ext4Read, File, FileType};

/// Bytes of a partition, in the shape `ext4-view` asks for.
struct Reader(DiskRef);

impl Ext4Read for Reader {
    fn read(&mut self, at: u64, dst: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_at(ByteOffset(at), dst)?)
    }
}

pub(super) struct Ext {
    probe: Probe,
    fs: Ext4,
    journal: Journal,
}

impl Ext {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<Ext, VolumeError> {
        // `ext4-view` replays too, but stops where the ring of the journal wraps, forgets blocks that a later transaction revoked, and
        // refuses journals without checksums; so it never sees a journal.
        let (disk, journal) = match jbd2::replay(&disk) {
            Replay::Clean => (disk, Journal::Clean),
            Replay::Done { disk, blocks, incomplete: None } => {
                (disk, Journal::Replayed { blocks: Some(blocks) })
            }
            Replay::Done { disk, incomplete: Some(why), .. } => (disk, Journal::Unreadable { why }),
            Replay::Failed(why) => (jbd2::without_journal(&disk), Journal::Unreadable { why }),
        };
        let fs =
            Ext4::load(Box::new(Reader(disk))).map_err(|e| VolumeError::broken(FsKind::Ext, "opening", e))?;
        Ok(Ext { probe, fs, journal })
    }
}

fn error(path: &str, e: Ext4Error) -> VolumeError {
    match e {
        Ext4Error::NotFound
        | Ext4Error::NotADirectory
        | Ext4Error::IsADirectory
        | Ext4Error::IsASpecialFile => VolumeError::not_found(path),
        other => VolumeError::broken(FsKind::Ext, path, other),
    }
}

fn kind_of(t: FileType) -> EntryKind {
    match t {
        FileType::Regular => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

/// An open file; its reader keeps its place among the blocks.
struct Stream {
    file: File,
    path: String,
}

impl FileStream for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError> {
        self.file.read_bytes(buf).map_err(|e| error(&self.path, e))
    }
}

impl Volume for Ext {
    fn kind(&self) -> FsKind {
        FsKind::Ext
    }

    fn uuid(&self) -> Option<String> {
        self.probe.uuid.clone()
    }

    fn label(&self) -> Option<String> {
        self.probe.label.clone()
    }

    fn journal(&self) -> Journal {
        self.journal.clone()
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let meta = self.fs.metadata(path).map_err(|e| error(path, e))?;
        if meta.is_dir() {
            return Err(VolumeError::not_found(path));
        }
        if meta.len() > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        self.fs.read(path).map_err(|e| error(path, e))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        let mut entries = Vec::new();
        for entry in self.fs.read_dir(path).map_err(|e| error(path, e))?.take(super::DIR_LIMIT) {
            let entry = entry.map_err(|e| error(path, e))?;
            let kind = entry.file_type().map_or(EntryKind::Other, kind_of);
            entries.push(Entry { name: entry.file_name().display().to_string(), kind });
        }
        Ok(entries)
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        match self.fs.exists(path) {
            Ok(yes) => Ok(yes),
            Err(Ext4Error::NotADirectory) => Ok(false),
            Err(e) => Err(error(path, e)),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let meta = self.fs.symlink_metadata(path).map_err(|e| error(path, e))?;
        let kind = kind_of(meta.file_type());
        let target = match kind {
            EntryKind::Symlink => Some(self.fs.read_link(path).map_err(|e| error(path, e))?),
            _ => None,
        };
        Ok(Metadata {
            kind,
            len: if kind == EntryKind::File { meta.len() } else { 0 },
            mode: Some(meta.mode()),
            owner: Some(Owner { user: meta.uid(), group: meta.gid() }),
            target: target.map(|t| t.display().to_string()),
        })
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let file = self.fs.open(path).map_err(|e| error(path, e))?;
        Ok(Box::new(Stream { file, path: path.to_string() }))
    }
}
