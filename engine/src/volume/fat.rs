//! FAT12, FAT16 and FAT32 through `hadris-fat`, read-only. Names match without regard to case.

use super::{
    DiskCursor, Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Probe, READ_LIMIT, Volume,
    VolumeError,
};
use crate::disk::DiskRef;
use hadris_fat::sync::read::FileReader;
use hadris_fat::{Error, FatVolume, FatVolumeReadExt, FileEntry, SeekFrom};

pub(super) struct Fat {
    probe: Probe,
    fs: FatVolume<DiskCursor>,
}

impl Fat {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<Fat, VolumeError> {
        let fs = FatVolume::open(DiskCursor::new(disk))
            .map_err(|e| VolumeError::broken(FsKind::Fat, "opening", e))?;
        Ok(Fat { probe, fs })
    }

    fn entry(&self, path: &str) -> Result<FileEntry, VolumeError> {
        self.fs.open_path(path).map_err(|e| error(path, e))
    }
}

pub(super) fn error(path: &str, e: Error) -> VolumeError {
    match e {
        Error::EntryNotFound | Error::NotADirectory | Error::NotAFile => VolumeError::not_found(path),
        other => VolumeError::broken(FsKind::Fat, path, other),
    }
}

fn is_root(path: &str) -> bool {
    path.split('/').all(str::is_empty)
}

/// An open file with its chain of clusters in memory: looking one cluster up at a time would read the table for each.
struct Stream<'a> {
    reader: FileReader<'a, DiskCursor>,
    path: String,
}

impl FileStream for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError> {
        self.reader.read(buf).map_err(|e| error(&self.path, e))
    }
}

impl Volume for Fat {
    fn kind(&self) -> FsKind {
        FsKind::Fat
    }

    fn uuid(&self) -> Option<String> {
        self.probe.uuid.clone()
    }

    fn label(&self) -> Option<String> {
        self.probe.label.clone()
    }

    fn journal(&self) -> Journal {
        match self.fs.read_status_flags() {
            Ok(flags) if flags.dirty => Journal::Dirty,
            _ => Journal::Clean,
        }
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let entry = self.entry(path)?;
        if !entry.is_file() {
            return Err(VolumeError::not_found(path));
        }
        if entry.len() > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        let mut reader = self.fs.read_file(&entry).map_err(|e| error(path, e))?;
        reader.read_to_vec().map_err(|e| error(path, e))
    }

    fn read_part(&self, path: &str, at: u64, len: u64) -> Result<(Vec<u8>, u64), VolumeError> {
        let entry = self.entry(path)?;
        if !entry.is_file() {
            return Err(VolumeError::not_found(path));
        }
        let whole = entry.len();
        let len = len.min(READ_LIMIT).min(whole.saturating_sub(at));
        if len == 0 {
            return Ok((Vec::new(), whole));
        }
        let mut reader = self.fs.read_file(&entry).map_err(|e| error(path, e))?;
        reader.seek(SeekFrom::Start(at)).map_err(|e| error(path, e))?;
        let mut bytes = vec![0; len as usize]; // at most READ_LIMIT
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match reader.read(rest).map_err(|e| error(path, e))? {
                0 => {
                    return Err(VolumeError::broken(FsKind::Fat, path, "its clusters end before its length"));
                }
                n => done = done.saturating_add(n),
            }
        }
        Ok((bytes, whole))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        let dir = if is_root(path) {
            self.fs.root_dir()
        } else {
            self.fs.open_dir_path(path).map_err(|e| error(path, e))?
        };
        let mut entries = Vec::new();
        for found in dir.entries().take(super::DIR_LIMIT) {
            let found = found.map_err(|e| error(path, e))?;
            if let Some(e) = found.as_entry() {
                let kind = if e.is_directory() { EntryKind::Directory } else { EntryKind::File };
                entries.push(Entry { name: e.name().into_owned(), kind });
            }
        }
        Ok(entries)
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        if is_root(path) {
            return Ok(true);
        }
        match self.entry(path) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let of = |kind, len| Metadata { kind, len, mode: None, owner: None, target: None };
        if is_root(path) {
            return Ok(of(EntryKind::Directory, 0));
        }
        let entry = self.entry(path)?;
        Ok(if entry.is_directory() { of(EntryKind::Directory, 0) } else { of(EntryKind::File, entry.len()) })
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let entry = self.entry(path)?;
        if !entry.is_file() {
            return Err(VolumeError::not_found(path));
        }
        let reader = self.fs.read_file(&entry).and_then(FileReader::with_cached_chain);
        Ok(Box::new(Stream { reader: reader.map_err(|e| error(path, e))?, path: path.to_string() }))
    }
}
