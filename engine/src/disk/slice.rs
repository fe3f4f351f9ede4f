//! A window on a disk, such as a partition.

use super::{Disk, DiskRef, Extent, FileSpan, Geometry, ReadError};
use crate::units::{ByteLen, ByteOffset};

/// Part of a disk as a disk of its own; offset 0 of the slice is `start` of the disk below.
#[derive(Clone, Debug)]
pub struct Slice {
    base: DiskRef,
    start: u64,
    len: u64,
}

impl Slice {
    /// The `len` bytes of `base` that begin at `start`. Neither needs to be aligned to sectors.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] when the slice would reach beyond the end of `base`.
    pub fn new(base: DiskRef, start: ByteOffset, len: ByteLen) -> Result<Slice, ReadError> {
        base.geometry().check(start, len.get())?;
        Ok(Slice { base, start: start.get(), len: len.get() })
    }

    /// Where the slice begins on the disk below.
    pub fn start(&self) -> ByteOffset {
        ByteOffset(self.start)
    }
}

impl Disk for Slice {
    fn geometry(&self) -> Geometry {
        Geometry { len: ByteLen(self.len), sector: self.base.geometry().sector }
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry().check(at, buf.len() as u64)?;
        // No overflow: `at <= len`, and `start + len` was checked against the disk below.
        self.base.read_at(ByteOffset(self.start + at.get()), buf)
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let Some(left) = self.len.checked_sub(from.get()).filter(|left| *left > 0) else {
            return Ok(None);
        };
        let below = self.base.next_extent(ByteOffset(self.start + from.get()))?;
        Ok(below.map(|e| Extent { at: from, len: ByteLen(e.len.get().min(left)), kind: e.kind }))
    }

    fn span_at(&self, from: ByteOffset, len: u64) -> Result<Option<FileSpan<'_>>, ReadError> {
        self.geometry().check(from, len)?;
        self.base.span_at(ByteOffset(self.start + from.get()), len)
    }
}
