//! A disk that remembers where it was read: how the place of a file's bytes is learnt from any reader of any file system.

use engine::disk::{Disk, DiskRef, Extent, Geometry, ReadError};
use engine::units::ByteOffset;
use std::sync::{Mutex, PoisonError};

/// Most reads that are remembered between two looks: a file of 64 MiB in blocks of 512 bytes, and as many of its file system.
const MAX_READS: usize = 1 << 18;

/// The disk below, and the reads since the last look.
pub(super) struct Trace {
    below: DiskRef,
    reads: Mutex<Vec<(u64, usize)>>,
}

impl Trace {
    pub(super) fn over(below: DiskRef) -> Trace {
        Trace { below, reads: Mutex::default() }
    }

    /// Offset and length of each read since the last look, in bytes, in order.
    pub(super) fn take(&self) -> Vec<(u64, usize)> {
        std::mem::take(&mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Disk for Trace {
    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() < MAX_READS {
            reads.push((at.get(), buf.len()));
        }
        drop(reads);
        self.below.read_at(at, buf)
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        self.below.next_extent(from)
    }
}
