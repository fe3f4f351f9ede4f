//! A disk as `Read + Seek`, for libraries that want files.

use crate::disk::DiskRef;
use crate::units::ByteOffset;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read ahead at once. The FAT and NTFS readers ask for a few bytes at a time.
const WINDOW: u64 = 64 << 10;

/// Windows that are kept. A FAT reader goes to and fro between the table, the folder and the file; one window would be read anew for every cluster.
const WINDOWS: usize = 8;

/// A position on a disk, with some windows of it in memory.
pub struct DiskCursor {
    disk: DiskRef,
    len: u64,
    at: u64,
    /// The one used last is the first.
    windows: Vec<Window>,
}

/// Bytes of the disk from `at` on.
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl DiskCursor {
    /// At the start of `disk`.
    pub fn new(disk: DiskRef) -> DiskCursor {
        let len = disk.geometry().len.get();
        DiskCursor { disk, len, at: 0, windows: Vec::new() }
    }

    /// The bytes of a window from the position on; empty at the end of the disk.
    fn ahead(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.len {
            return Ok(&[]);
        }
        let start = self.at - self.at % WINDOW;
        let skip = (self.at - start) as usize; // less than a window
        match self.windows.iter().position(|w| w.at == start) {
            Some(n) => self.windows.get_mut(..=n).unwrap_or_default().rotate_right(1),
            None => {
                let spare = if self.windows.len() < WINDOWS { None } else { self.windows.pop() };
                let mut bytes = spare.map_or_else(Vec::new, |w| w.bytes);
                bytes.resize(WINDOW.min(self.len - start) as usize, 0);
                self.disk.read_at(ByteOffset(start), &mut bytes).map_err(io::Error::other)?;
                self.windows.insert(0, Window { at: start, bytes });
            }
        }
        Ok(self.windows.first().and_then(|w| w.bytes.get(skip..)).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::{DiskCursor, WINDOW};
    use crate::disk::{Geometry, MemDisk};
    use crate::units::{ByteLen, SectorSize};
    use std::io::{Read, Seek, SeekFrom};
    use std::sync::Arc;

    #[test]
    fn reads_here_and_there_are_what_the_disk_holds() {
        let len = 20 * WINDOW as usize + 512;
        let bytes: Vec<u8> = (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let geometry = Geometry { len: ByteLen(len as u64), sector: SectorSize::B512 };
        let mut cursor = DiskCursor::new(Arc::new(MemDisk::new(geometry, bytes.clone())));
        let mut at = 1usize;
        for _ in 0..2000 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let from = (at >> 17) % len;
            let mut buf = vec![0; ((at >> 40) % 200_000).min(len - from)];
            cursor.seek(SeekFrom::Start(from as u64)).unwrap();
            cursor.read_exact(&mut buf).unwrap();
            assert!(buf == bytes[from..from + buf.len()], "at {from}");
        }
        cursor.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(cursor.read(&mut [0; 8]).unwrap(), 0);
    }
}
