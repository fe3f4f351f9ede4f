//! NTFS through `ntfs`: enough to recognise a Windows by its files. Its log is not replayed, and compressed files are not read.

use super::{
    DiskCursor, Entry, EntryKind, FileStream, FsKind, Journal, Metadata, Probe, Volume, VolumeError,
};
use crate::disk::DiskRef;
use ntfs::indexes::NtfsFileNameIndex;
use ntfs::structured_values::NtfsFileNamespace;
use ntfs::{Ntfs, NtfsError, NtfsFile, NtfsReadSeek};
use std::cell::RefCell;
use std::io::SeekFrom;

pub(super) struct NtfsVolume {
    probe: Probe,
    fs: Ntfs,
    label: Option<String>,
    // The library reads through a `&mut` cursor.
    disk: RefCell<DiskCursor>,
}

impl NtfsVolume {
    pub(super) fn open(disk: DiskRef, probe: Probe) -> Result<NtfsVolume, VolumeError> {
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, "opening", e);
        let mut cursor = DiskCursor::new(disk);
        let mut fs = Ntfs::new(&mut cursor).map_err(fail)?;
        fs.read_upcase_table(&mut cursor).map_err(fail)?;
        let label = fs.volume_name(&mut cursor).and_then(Result::ok).map(|n| n.name().to_string_lossy());
        Ok(NtfsVolume { probe, fs, label: label.filter(|l| !l.is_empty()), disk: RefCell::new(cursor) })
    }

    fn file(&self, path: &str) -> Result<NtfsFile<'_>, VolumeError> {
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, path, e);
        let mut disk = self.disk.borrow_mut();
        let mut file = self.fs.root_directory(&mut *disk).map_err(fail)?;
        for name in path.split('/').filter(|n| !n.is_empty()) {
            if !file.is_directory() {
                return Err(VolumeError::not_found(path));
            }
            let index = file.directory_index(&mut *disk).map_err(fail)?;
            let mut finder = index.finder();
            let entry = NtfsFileNameIndex::find(&mut finder, &self.fs, &mut *disk, name);
            let reference =
                entry.ok_or_else(|| VolumeError::not_found(path))?.map_err(fail)?.file_reference();
            file = reference.to_file(&self.fs, &mut *disk).map_err(fail)?;
        }
        Ok(file)
    }
}

/// An open file, found anew for each piece: what the library hands out borrows from what it found before.
struct Stream<'a> {
    volume: &'a NtfsVolume,
    file: NtfsFile<'a>,
    at: u64,
    path: String,
}

impl FileStream for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, VolumeError> {
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, &*self.path, e);
        let mut disk = self.volume.disk.borrow_mut();
        let Some(data) = self.file.data(&mut *disk, "") else { return Ok(0) };
        let data = data.map_err(fail)?;
        let attribute = data.to_attribute().map_err(fail)?;
        let mut value = attribute.value(&mut *disk).map_err(fail)?;
        if self.at >= value.len() {
            return Ok(0);
        }
        value.seek(&mut *disk, SeekFrom::Start(self.at)).map_err(fail)?;
        let n = value.read(&mut *disk, buf).map_err(fail)?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

impl Volume for NtfsVolume {
    fn kind(&self) -> FsKind {
        FsKind::Ntfs
    }

    fn uuid(&self) -> Option<String> {
        self.probe.uuid.clone()
    }

    fn label(&self) -> Option<String> {
        self.label.clone()
    }

    fn journal(&self) -> Journal {
        // VOLUME_IS_DIRTY in $VOLUME_INFORMATION says the log has work to do.
        let dirty =
            self.fs.volume_info(&mut *self.disk.borrow_mut()).is_ok_and(|i| i.flags().bits() & 1 != 0);
        if dirty { Journal::Dirty } else { Journal::Clean }
    }

    fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, path, e);
        let file = self.file(path)?;
        let mut disk = self.disk.borrow_mut();
        let data = file.data(&mut *disk, "").ok_or_else(|| VolumeError::not_found(path))?.map_err(fail)?;
        let attribute = data.to_attribute().map_err(fail)?;
        let mut value = attribute.value(&mut *disk).map_err(fail)?;
        let len = value.len();
        if len > max {
            return Err(VolumeError::TooLarge { path: path.to_string(), max });
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        value.read_exact(&mut *disk, &mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, path, e);
        let file = self.file(path)?;
        if !file.is_directory() {
            return Err(VolumeError::not_found(path));
        }
        let mut disk = self.disk.borrow_mut();
        let index = file.directory_index(&mut *disk).map_err(fail)?;
        let mut iter = index.entries();
        let mut entries = Vec::new();
        while let Some(entry) = iter.next(&mut *disk) {
            let entry = entry.map_err(fail)?;
            let Some(Ok(key)) = entry.key() else { continue };
            // Each long name may have an 8.3 twin that means the same file.
            if key.namespace() == NtfsFileNamespace::Dos {
                continue;
            }
            let kind = if key.is_directory() { EntryKind::Directory } else { EntryKind::File };
            entries.push(Entry { name: key.name().to_string_lossy(), kind });
            if entries.len() >= super::DIR_LIMIT {
                break;
            }
        }
        Ok(entries)
    }

    fn exists(&self, path: &str) -> Result<bool, VolumeError> {
        match self.file(path) {
            Ok(_) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
        let of = |kind, len| Metadata { kind, len, mode: None, owner: None, target: None };
        let file = self.file(path)?;
        if file.is_directory() {
            return Ok(of(EntryKind::Directory, 0));
        }
        let fail = |e: NtfsError| VolumeError::broken(FsKind::Ntfs, path, e);
        let mut disk = self.disk.borrow_mut();
        let len = match file.data(&mut *disk, "") {
            Some(data) => data.and_then(|d| Ok(d.to_attribute()?.value_length())).map_err(fail)?,
            None => 0,
        };
        Ok(of(EntryKind::File, len))
    }

    fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
        let file = self.file(path)?;
        if file.is_directory() {
            return Err(VolumeError::not_found(path));
        }
        Ok(Box::new(Stream { volume: self, file, at: 0, path: path.to_string() }))
    }
}
