//! Copy-on-write in memory: planned writes on top of a disk that nobody writes.

use super::{Disk, DiskRef, Extent, ExtentKind, FileSpan, Geometry, ReadError};
use crate::units::{ByteLen, ByteOffset};
use std::sync::Arc;

/// Bytes that take the place of what the disk below has at `at`.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Where, in bytes from the start of the disk.
    pub at: ByteOffset,
    /// What. Not empty.
    pub bytes: Arc<[u8]>,
}

/// Why a list of writes is no overlay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// A write without bytes.
    #[error("write {index} at {at:#x} is empty")]
    Empty {
        /// Position in the list.
        index: usize,
        /// Its offset.
        at: u64,
    },
    /// Writes must be sorted by offset and must not overlap: their order must never matter.
    #[error(
        "write {index} at {at:#x}: wanted an offset of at least {wanted:#x}, where the write before it ends"
    )]
    Order {
        /// Position in the list.
        index: usize,
        /// Its offset.
        at: u64,
        /// End of the write before.
        wanted: u64,
    },
    /// A write beyond the new end of the disk.
    #[error("write {index} of {len} bytes at {at:#x} goes beyond the end of the disk at {end:#x}")]
    Range {
        /// Position in the list.
        index: usize,
        /// Its offset.
        at: u64,
        /// Its length in bytes.
        len: u64,
        /// Length of the disk.
        end: u64,
    },
    /// The new length is not a whole number of sectors.
    #[error("disk length is {len} bytes, wanted a multiple of the {sector}-byte sector")]
    Length {
        /// Length asked for.
        len: u64,
        /// Sector size asked for.
        sector: u64,
    },
}

/// A disk with writes on top, and possibly another length or sector size. What lies beyond the disk below is a hole;
/// a shorter geometry cuts the tail off.
#[derive(Clone, Debug)]
pub struct Overlay {
    base: DiskRef,
    geometry: Geometry,
    writes: Vec<Write>,
}

impl Overlay {
    /// `writes` on top of `base`, seen through `geometry`.
    ///
    /// # Errors
    /// [`OverlayError`] when the writes are not sorted, disjoint, non-empty and within `geometry`.
    pub fn new(base: DiskRef, geometry: Geometry, writes: Vec<Write>) -> Result<Overlay, OverlayError> {
        let (end, sector) = (geometry.len.get(), geometry.sector.bytes());
        if end % sector != 0 {
            return Err(OverlayError::Length { len: end, sector });
        }
        let mut free_from = 0;
        for (index, write) in writes.iter().enumerate() {
            let (at, len) = (write.at.get(), write.bytes.len() as u64);
            if len == 0 {
                return Err(OverlayError::Empty { index, at });
            }
            if at < free_from {
                return Err(OverlayError::Order { index, at, wanted: free_from });
            }
            free_from = match at.checked_add(len) {
                Some(e) if e <= end => e,
                _ => return Err(OverlayError::Range { index, at, len, end }),
            };
        }
        Ok(Overlay { base, geometry, writes })
    }

    /// The writes, sorted by offset.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The disk below.
    pub fn base(&self) -> &DiskRef {
        &self.base
    }

    /// Writes that end behind `at`, in order.
    fn writes_behind(&self, at: u64) -> &[Write] {
        let first = self.writes.partition_point(|w| w.end() <= at);
        self.writes.get(first..).unwrap_or_default()
    }

    /// Bytes of the disk below that can still be seen.
    fn base_len(&self) -> u64 {
        self.base.geometry().len.get().min(self.geometry.len.get())
    }
}

impl Write {
    /// Offset behind the last byte. `Overlay::new` has checked that the sum fits.
    fn end(&self) -> u64 {
        self.at.get().saturating_add(self.bytes.len() as u64)
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Write({} bytes at {})", self.bytes.len(), self.at)
    }
}

impl Disk for Overlay {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let end = self.geometry.check(at, buf.len() as u64)?;
        let start = at.get();
        // Offsets below are differences of offsets inside `start..end`, and `end - start` is a `usize`.
        let below = (self.base_len().clamp(start, end) - start) as usize;
        let (from_base, beyond) = buf.split_at_mut(below);
        if !from_base.is_empty() {
            self.base.read_at(at, from_base)?;
        }
        beyond.fill(0);
        for write in self.writes_behind(start).iter().take_while(|w| w.at.get() < end) {
            let (a, b) = (write.at.get().max(start), write.end().min(end));
            let skip = (a - write.at.get()) as usize;
            let n = (b - a) as usize;
            let to = (a - start) as usize;
            buf[to..to + n].copy_from_slice(&write.bytes[skip..skip + n]);
        }
        Ok(())
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let (at, end) = (from.get(), self.geometry.len.get());
        if at >= end {
            return Ok(None);
        }
        let next = self.writes_behind(at).first();
        if let Some(write) = next.filter(|w| w.at.get() <= at) {
            return Ok(Some(Extent { at: from, len: ByteLen(write.end() - at), kind: ExtentKind::Data }));
        }
        let limit = next.map_or(end, |w| w.at.get());
        let base_len = self.base_len();
        if at < base_len
            && let Some(e) = self.base.next_extent(from)?
        {
            let stop = at.saturating_add(e.len.get()).min(limit).min(base_len);
            return Ok(Some(Extent { at: from, len: ByteLen(stop - at), kind: e.kind }));
        }
        Ok(Some(Extent { at: from, len: ByteLen(limit - at), kind: ExtentKind::Hole }))
    }

    fn span_at(&self, from: ByteOffset, len: u64) -> Result<Option<FileSpan<'_>>, ReadError> {
        let end = self.geometry.check(from, len)?;
        let next = self.writes_behind(from.get()).first().map_or(end, |w| w.at.get());
        let limit = next.min(end).min(self.base_len());
        match limit.checked_sub(from.get()) {
            Some(len) if len > 0 => self.base.span_at(from, len),
            _ => Ok(None),
        }
    }
}
