//! A disk as `Read + Seek`, for libraries that want files.

use crate::disk::DiskRef;
use crate::units::ByteOffset;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read ahead at once. The FAT and NTFS readers ask for a few bytes at a time.
const WINDOW: u64 = 64 << 10;

/// A position on a disk, with one window of it in memory.
pub struct DiskCursor {
    disk: DiskRef,
    len: u64,
    at: u64,
    window_at: u64,
    window: Vec<u8>,
}

impl DiskCursor {
    /// At the start of `disk`.
    pub fn new(disk: DiskRef) -> DiskCursor {
        let len = disk.geometry().len.get();
        DiskCursor { disk, len, at: 0, window_at: 0, window: Vec::new() }
    }

    /// The bytes of the window from the position on; empty at the end of the disk.
    fn ahead(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.len {
            return Ok(&[]);
        }
        let inside =
            |c: &DiskCursor| c.at.checked_sub(c.window_at).filter(|skip| *skip < c.window.len() as u64);
        let skip = match inside(self) {
            Some(skip) => skip,
            None => {
                let start = self.at - self.at % WINDOW;
                // The window is at most 64 KiB, so it fits a usize.
                let size = WINDOW.min(self.len - start) as usize;
                self.window.resize(size, 0);
                self.window_at = start;
                if let Err(e) = self.disk.read_at(ByteOffset(start), &mut self.window) {
                    self.window.clear();
                    return Err(io::Error::other(e));
                }
                self.at - start
            }
        };
        Ok(self.window.get(skip as usize..).unwrap_or_default())
    }
}

impl Read for DiskCursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ahead = self.ahead()?;
        let n = ahead.len().min(buf.len());
        buf[..n].copy_from_slice(&ahead[..n]);
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

impl Seek for DiskCursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = seek_to(self.at, self.len, to)?;
        Ok(self.at)
    }
}

/// Where `to` leads from `at` in something of `len` bytes. Beyond the end is legal, before the start is not.
pub(super) fn seek_to(at: u64, len: u64, to: SeekFrom) -> io::Result<u64> {
    match to {
        SeekFrom::Start(n) => Some(n),
        SeekFrom::Current(n) => at.checked_add_signed(n),
        SeekFrom::End(n) => len.checked_add_signed(n),
    }
    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start of the disk"))
}
