//! A disk in memory.

use super::{Disk, Extent, ExtentKind, Geometry, ReadError};
use crate::units::{ByteLen, ByteOffset};

/// Bytes in memory as a disk. A geometry longer than the bytes reads as a hole behind them, so a large, nearly empty
/// disk costs nothing; put an [`Overlay`](super::Overlay) on top for bytes further out.
#[derive(Clone, Debug)]
pub struct MemDisk {
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl MemDisk {
    /// A disk that begins with `bytes`. Bytes beyond `geometry.len` are dropped.
    pub fn new(geometry: Geometry, mut bytes: Vec<u8>) -> MemDisk {
        bytes.truncate(usize::try_from(geometry.len.get()).unwrap_or(usize::MAX));
        MemDisk { geometry, bytes }
    }

    /// A disk that is one hole.
    pub fn empty(geometry: Geometry) -> MemDisk {
        MemDisk { geometry, bytes: Vec::new() }
    }
}

impl Disk for MemDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry.check(at, buf.len() as u64)?;
        let from = usize::try_from(at.get()).unwrap_or(usize::MAX).min(self.bytes.len());
        let stored = self.bytes.get(from..).unwrap_or_default();
        let n = stored.len().min(buf.len());
        let (head, tail) = buf.split_at_mut(n);
        head.copy_from_slice(&stored[..n]);
        tail.fill(0);
        Ok(())
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let (at, stored, end) = (from.get(), self.bytes.len() as u64, self.geometry.len.get());
        Ok(if at < stored {
            Some(Extent { at: from, len: ByteLen(stored - at), kind: ExtentKind::Data })
        } else if at < end {
            Some(Extent { at: from, len: ByteLen(end - at), kind: ExtentKind::Hole })
        } else {
            None
        })
    }
}
