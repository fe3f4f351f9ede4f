//! A disk whose container says for each stretch where it is: in the file, nowhere because it is zeros, or in the parent.

use super::view::FileView;
use crate::disk::file::Stored;
use crate::disk::{Disk, DiskRef, Extent, ExtentKind, FileSpan, Geometry, ReadError};
use crate::units::{ByteLen, ByteOffset};
use std::fmt;

/// Where a stretch of a disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the container's file, from this offset on.
    Stored(u64),
    /// Nowhere: it reads as zeros, whatever a parent has.
    Zero,
    /// Not here: the parent's bytes, or zeros without one.
    Absent,
}

/// What a container knows about its disk. Every answer is checked against the file: a stored stretch lies within it.
pub(super) trait Map: Send + Sync + fmt::Debug {
    /// Shape of the disk.
    fn geometry(&self) -> Geometry;

    /// The file.
    fn view(&self) -> &FileView;

    /// Where the stretch is that begins at `at`, an offset on the disk, and how long it is: never 0; it may reach beyond the end of the disk.
    fn place(&self, at: u64) -> Result<(Place, u64), ReadError>;
}

/// A map as a disk, with the parent that shows through where the map has nothing.
#[derive(Debug)]
pub(super) struct Mapped<M> {
    map: M,
    parent: Option<DiskRef>,
}

impl<M: Map> Mapped<M> {
    pub(super) fn new(map: M, parent: Option<DiskRef>) -> Mapped<M> {
        Mapped { map, parent }
    }

    /// Bytes of data in extents of this disk.
    pub(super) fn stored_bytes(&self) -> Result<u64, ReadError> {
        let (mut at, mut sum) = (0u64, 0u64);
        while let Some(e) = self.next_extent(ByteOffset(at))? {
            if e.kind == ExtentKind::Data {
                sum = sum.saturating_add(e.len.get());
            }
            at = at.saturating_add(e.len.get());
        }
        Ok(sum)
    }

    fn parent_len(&self) -> u64 {
        self.parent.as_ref().map_or(0, |p| p.geometry().len.get())
    }

    /// Bytes of the parent; zeros behind its end.
    fn read_parent(&self, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let below = self.parent_len().saturating_sub(at).min(buf.len() as u64) as usize;
        let (head, tail) = buf.split_at_mut(below);
        if let Some(parent) = self.parent.as_ref().filter(|_| !head.is_empty()) {
            parent.read_at(ByteOffset(at), head)?;
        }
        tail.fill(0);
        Ok(())
    }

    /// The run of pieces of one kind from `at` on, no longer than `limit`.
    fn run(&self, at: u64, kind: Place, first: u64, limit: u64) -> Result<u64, ReadError> {
        let mut len = first.min(limit);
        while len < limit {
            match self.map.place(at + len)? {
                (same, more) if same == kind => len = len.saturating_add(more).min(limit),
                _ => break,
            }
        }
        Ok(len)
    }
}

impl<M: Map> Disk for Mapped<M> {
    fn geometry(&self) -> Geometry {
        self.map.geometry()
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry().check(at, buf.len() as u64)?;
        let (mut at, mut rest) = (at.get(), buf);
        while !rest.is_empty() {
            let (place, len) = self.map.place(at)?;
            let n = (rest.len() as u64).min(len) as usize;
            let (piece, behind) = rest.split_at_mut(n);
            match place {
                Place::Stored(from) => self.map.view().read(from, piece)?,
                Place::Zero => piece.fill(0),
                Place::Absent => self.read_parent(at, piece)?,
            }
            at += n as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let at = from.get();
        let Some(left) = self.geometry().len.get().checked_sub(at).filter(|left| *left > 0) else {
            return Ok(None);
        };
        let (place, len) = self.map.place(at)?;
        let (len, kind) = match place {
            Place::Stored(offset) => {
                let (stored, until) = self.map.view().stored(offset)?;
                let kind = if stored == Stored::Data { ExtentKind::Data } else { ExtentKind::Zero };
                (len.min(until), kind)
            }
            Place::Zero => (self.run(at, place, len, left)?, ExtentKind::Zero),
            Place::Absent => {
                let below = match &self.parent {
                    Some(parent) => parent.next_extent(from)?,
                    None => None,
                };
                // No further than the parent's extent: a long absent run is looked at once, not once for each extent below.
                let limit = below.map_or(left, |e| e.len.get().min(left));
                (self.run(at, place, len, limit)?, below.map_or(ExtentKind::Hole, |e| e.kind))
            }
        };
        Ok(Some(Extent { at: from, len: ByteLen(len.min(left)), kind }))
    }

    fn span_at(&self, from: ByteOffset, len: u64) -> Result<Option<FileSpan<'_>>, ReadError> {
        let at = from.get();
        self.geometry().check(from, len)?;
        let (place, piece) = self.map.place(at)?;
        match (place, &self.parent) {
            (Place::Stored(offset), _) => Ok(self.map.view().span(offset, piece.min(len))),
            (Place::Absent, Some(parent)) => {
                let len = piece.min(len).min(self.parent_len().saturating_sub(at));
                if len == 0 { Ok(None) } else { parent.span_at(from, len) }
            }
            _ => Ok(None),
        }
    }
}
