//! Changing files on a FAT volume, as sector writes that somebody else may perform.
//!
//! `hadris-fat` works on a copy-on-write view in memory; afterwards the sectors that differ from the disk are the result.

use super::cursor::seek_to;
use super::fat::error;
use super::{FsKind, VolumeError, guard};
use crate::disk::{DiskRef, Write};
use crate::units::ByteOffset;
use hadris_fat::time::EpochTimeProvider;
use hadris_fat::{Error, FatDir, FatVolume, FatVolumeWriteExt};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// One change to a FAT volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FatEdit {
    /// Make the file at `path` hold exactly `bytes`; missing directories on the way are made.
    Put {
        /// Path on the volume, `/`-separated.
        path: String,
        /// Its new content.
        bytes: Vec<u8>,
    },
    /// Remove the file, or the empty directory, at `path`.
    Remove {
        /// Path on the volume, `/`-separated.
        path: String,
    },
}

/// Sectors of 512 bytes, whatever the volume's own sector is: the unit of comparison.
const PAGE: u64 = 512;
/// Most memory that an edit may touch: an ESP's worth.
const DIRTY_MAX: usize = (512 << 20) / PAGE as usize;

/// A clock would make two equal plans differ, so times on the volume are the FAT epoch.
static EPOCH: EpochTimeProvider = EpochTimeProvider;

/// The writes, relative to `disk` (the partition), that perform `edits`. Sorted, disjoint, only what really changes.
///
/// # Errors
/// [`VolumeError::NotFound`] for a file to remove that is not there; [`VolumeError::Edit`] when the volume is full or a name is not
/// legal; a broken file system.
pub fn fat_edit(disk: &DiskRef, edits: &[FatEdit]) -> Result<Vec<Write>, VolumeError> {
    let cow = Cow::over(disk);
    let cow = guard(FsKind::Fat, "editing", move || {
        let fs = FatVolume::builder(cow)
            .time_provider(&EPOCH)
            .open()
            .map_err(|e| VolumeError::broken(FsKind::Fat, "opening", e))?;
        for edit in edits {
            match edit {
                FatEdit::Put { path, bytes } => put(&fs, path, bytes)?,
                FatEdit::Remove { path } => remove(&fs, path)?,
            }
        }
        fs.sync().map_err(|e| VolumeError::broken(FsKind::Fat, "writing the free-space record", e))?;
        Ok(fs.into_inner())
    })?;
    cow.changed()
}

fn refused(path: &str, e: Error) -> VolumeError {
    match error(path, e) {
        VolumeError::Broken { why, .. } => VolumeError::Edit { path: path.to_string(), why },
        other => other,
    }
}

fn put(fs: &FatVolume<Cow>, path: &str, bytes: &[u8]) -> Result<(), VolumeError> {
    let fail = |e| refused(path, e);
    let mut names: Vec<&str> = path.split('/').filter(|n| !n.is_empty()).collect();
    let name = names.pop().ok_or_else(|| VolumeError::not_found(path))?;
    let mut dir: FatDir<'_, Cow> = fs.root_dir();
    for parent in names {
        dir = match dir.find(parent).map_err(fail)? {
            Some(entry) => fs.open_dir_entry(&entry).map_err(fail)?,
            None => fs.create_dir(&dir, parent).map_err(fail)?,
        };
    }
    let mut entry = match dir.find(name).map_err(fail)? {
        Some(entry) => {
            fs.truncate(&entry, 0).map_err(fail)?;
            // The handle remembers the first cluster, which is gone now.
            dir.find(name).map_err(fail)?.ok_or_else(|| VolumeError::not_found(path))?
        }
        None => fs.create_file(&dir, name).map_err(fail)?,
    };
    if !entry.is_file() {
        return Err(VolumeError::Edit {
            path: path.to_string(),
            why: "there is a directory of that name".into(),
        });
    }
    if !bytes.is_empty() {
        let mut writer = fs.write_file(&entry).map_err(fail)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = writer.write(rest).map_err(fail)?;
            if n == 0 {
                return Err(VolumeError::Edit { path: path.to_string(), why: "the volume is full".into() });
            }
            rest = rest.get(n..).unwrap_or_default();
        }
        writer.finish().map_err(fail)?;
        entry = dir.find(name).map_err(fail)?.ok_or_else(|| VolumeError::not_found(path))?;
    }
    if entry.len() != bytes.len() as u64 {
        return Err(VolumeError::Edit {
            path: path.to_string(),
            why: format!("wrote {} of {} bytes", entry.len(), bytes.len()),
        });
    }
    Ok(())
}

fn remove(fs: &FatVolume<Cow>, path: &str) -> Result<(), VolumeError> {
    let entry = fs.open_path(path).map_err(|e| refused(path, e))?;
    fs.delete(&entry).map_err(|e| refused(path, e))
}

/// A partition with changed pages in memory.
pub(super) struct Cow {
    disk: DiskRef,
    len: u64,
    at: u64,
    pages: BTreeMap<u64, [u8; PAGE as usize]>,
}

impl Cow {
    pub(super) fn over(disk: &DiskRef) -> Cow {
        Cow { disk: disk.clone(), len: disk.geometry().len.get(), at: 0, pages: BTreeMap::new() }
    }

    fn page(&self, number: u64) -> io::Result<[u8; PAGE as usize]> {
        if let Some(page) = self.pages.get(&number) {
            return Ok(*page);
        }
        let mut page = [0; PAGE as usize];
        // `number` is a position inside the disk divided by PAGE, so the product is inside it too.
        let start = number * PAGE;
        let n = (self.len - start).min(PAGE) as usize;
        self.disk.read_at(ByteOffset(start), &mut page[..n]).map_err(io::Error::other)?;
        Ok(page)
    }

    /// What of the page at the position belongs to a request of `want` bytes: page number, offset in it, bytes.
    fn part(&self, want: usize) -> (u64, usize, usize) {
        let left = self.len.saturating_sub(self.at);
        let skip = self.at % PAGE;
        let n = left.min(PAGE - skip).min(want as u64);
        (self.at / PAGE, skip as usize, n as usize)
    }

    /// Runs of pages whose bytes differ from the disk's.
    pub(super) fn changed(self) -> Result<Vec<Write>, VolumeError> {
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        for (number, page) in &self.pages {
            let start = number * PAGE;
            let n = (self.len - start).min(PAGE) as usize;
            let mut old = [0; PAGE as usize];
            self.disk.read_at(ByteOffset(start), &mut old[..n])?;
            if old[..n] == page[..n] {
                continue;
            }
            match writes.last_mut() {
                Some((at, bytes)) if *at + bytes.len() as u64 == start => bytes.extend_from_slice(&page[..n]),
                _ => writes.push((start, page[..n].to_vec())),
            }
        }
        Ok(writes.into_iter().map(|(at, bytes)| Write { at: ByteOffset(at), bytes: bytes.into() }).collect())
    }
}

impl Read for Cow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (number, skip, n) = self.part(buf.len());
        if n > 0 {
            let page = self.page(number)?;
            buf[..n].copy_from_slice(&page[skip..skip + n]);
            self.at += n as u64;
        }
        Ok(n)
    }
}

impl io::Write for Cow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (number, skip, n) = self.part(buf.len());
        if n > 0 {
            let mut page = self.page(number)?;
            page[skip..skip + n].copy_from_slice(&buf[..n]);
            if self.pages.len() >= DIRTY_MAX && !self.pages.contains_key(&number) {
                return Err(io::Error::other("the edit touches more than 512 MiB"));
            }
            self.pages.insert(number, page);
            self.at += n as u64;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cow {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = seek_to(self.at, self.len, to)?;
        Ok(self.at)
    }
}
