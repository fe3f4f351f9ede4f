//! Writes past the page cache (`O_DIRECT`): the device takes the bytes out of our buffer. That saves the processor one copy of everything and the
//! memory all of it, and a flush at the end finds nothing left to write (docs/performance.md).
//!
//! It fits only what must reach the device anyway. Each such write covers whole pages, so none shares a page with a write through the cache.

use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What such a write is aligned to: in the file, in memory, and in length. Storage that wants more refuses it.
const PAGE: usize = 4096;
/// The least bytes worth a write of its own.
const LEAST: usize = 64 << 10;

/// A file opened for such writes.
pub(super) struct Direct {
    file: File,
    works: AtomicBool,
}

impl Direct {
    /// The file behind `file`, which lies at `path`, once more. Nothing where the file system has no such writes.
    pub(super) fn open(path: &Path, file: &File) -> Option<Direct> {
        let flags = (OFlags::DIRECT | OFlags::NOFOLLOW).bits().cast_signed();
        let direct = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        let (new, old) = (direct.metadata().ok()?, file.metadata().ok()?);
        let same = (new.dev(), new.ino()) == (old.dev(), old.ino());
        same.then_some(Direct { file: direct, works: AtomicBool::new(true) })
    }

    /// Write all of `bytes`, or nothing and say `false`: they do not fit such a write, or the storage refuses it.
    ///
    /// # Errors
    /// What the system says of the write itself.
    pub(super) fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<bool> {
        let whole = at.is_multiple_of(PAGE as u64) && bytes.len().is_multiple_of(PAGE);
        let aligned = bytes.as_ptr().addr().is_multiple_of(PAGE);
        if !whole || !aligned || bytes.len() < LEAST || !self.works.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.file.write_all_at(bytes, at) {
            Ok(()) => Ok(true),
            // Storage whose blocks are larger than a page; bytes written before it said so are written again.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.works.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }
}

/// A buffer whose bytes lie as such a write wants them.
#[derive(Default)]
pub(super) struct Buffer {
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// The first `len` bytes, whatever they hold.
    pub(super) fn sized(&mut self, len: usize) -> &mut [u8] {
        let needed = len + PAGE - 1;
        if self.room.len() < needed {
            self.room = vec![0; needed];
            // A pointer that cannot be aligned only means a write through the page cache.
            self.start = self.room.as_ptr().align_offset(PAGE).min(PAGE - 1);
        }
        self.len = len;
        &mut self.room[self.start..self.start + len]
    }

    /// What was sized last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, Direct, PAGE};
    use std::fs::File;

    #[test]
    fn a_buffer_is_aligned_whatever_its_size_was() {
        let mut buffer = Buffer::default();
        for len in [1, PAGE, 3 * PAGE + 1, 64 << 10, 512] {
            let bytes = buffer.sized(len);
            assert_eq!((bytes.len(), bytes.as_ptr().addr() % PAGE), (len, 0));
            bytes.fill(7);
            assert!(buffer.bytes().len() == len && buffer.bytes().iter().all(|b| *b == 7));
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_page_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = File::create(&path).expect("a file");
        let Some(direct) = Direct::open(&path, &file) else {
            return eprintln!("not performed: {} has no writes past the page cache", folder.path().display());
        };
        let mut buffer = Buffer::default();
        let bytes = buffer.sized(128 << 10);
        bytes.fill(0xA5);
        for (at, bytes) in
            [(512, &bytes[..]), (0, &bytes[1..]), (0, &bytes[..4096]), (0, &bytes[..(64 << 10) + 512])]
        {
            assert!(!direct.write_at(at, bytes).expect("no write"));
        }
        assert_eq!(file.metadata().expect("a file").len(), 0);
        assert!(direct.write_at(4096, bytes).expect("a write"));
        let written = std::fs::read(&path).expect("the file");
        assert!(written[..4096].iter().all(|b| *b == 0) && written[4096..] == *bytes);
    }
}
