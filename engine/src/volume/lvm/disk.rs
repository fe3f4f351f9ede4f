//! A logical volume as a disk: its extents, wherever on the physical volumes they are.

use crate::disk::{Disk, DiskRef, Extent, FileSpan, Geometry, ReadError};
use crate::units::{ByteLen, ByteOffset};

/// A logical volume. Built by `assemble` alone, which has checked that each part lies on its physical volume.
#[derive(Debug)]
pub(super) struct Mapped {
    pub geometry: Geometry,
    /// Physical volumes.
    pub disks: Vec<DiskRef>,
    /// Without gaps from 0 to the end.
    pub parts: Vec<Part>,
}

/// A segment.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it begins on the logical volume.
    pub at: u64,
    /// Its length; not 0, a multiple of `chunk` times the number of stripes.
    pub len: u64,
    /// Bytes on one stripe before the next one comes; all of them when there is but one stripe. Not 0.
    pub chunk: u64,
    /// Which of the disks, and where on it. Not empty.
    pub stripes: Vec<(usize, u64)>,
}

/// Where bytes are: on this disk, there, so many of them.
struct Place<'a> {
    disk: &'a DiskRef,
    at: ByteOffset,
    len: u64,
}

/// A part and a place in it.
struct Within<'a> {
    part: &'a Part,
    /// From the beginning of the part.
    at: u64,
}

impl Mapped {
    /// The part that holds `at`, which must lie on the volume.
    fn part(&self, at: u64) -> Result<Within<'_>, ReadError> {
        let index = self.parts.partition_point(|p| p.at <= at);
        let part = index.checked_sub(1).and_then(|index| self.parts.get(index));
        part.and_then(|part| Some(Within { part, at: at.checked_sub(part.at)? }))
            .filter(|within| within.at < within.part.len)
            .ok_or(ReadError::OutOfRange { at, len: 1, end: self.geometry.len.get() })
    }

    fn disk(&self, index: usize) -> Result<&DiskRef, ReadError> {
        self.disks.get(index).ok_or(ReadError::OutOfRange { at: 0, len: 1, end: 0 })
    }

    fn place(&self, at: u64) -> Result<Place<'_>, ReadError> {
        let within = self.part(at)?;
        let (column, below, len) = within.stripe();
        let (index, start) = within.part.stripes.get(column).copied().unwrap_or_default();
        // No overflow: `assemble` has checked that the stripe lies on its disk.
        Ok(Place { disk: self.disk(index)?, at: ByteOffset(start + below), len })
    }
}

impl Within<'_> {
    fn columns(&self) -> u64 {
        self.part.stripes.len() as u64
    }

    /// Which stripe, where on it, and how many bytes there come one after the other.
    fn stripe(&self) -> (usize, u64, u64) {
        let (chunk, columns) = (self.part.chunk, self.columns());
        let (number, inner) = (self.at / chunk, self.at % chunk);
        // Neither is more than the part's length.
        ((number % columns) as usize, number / columns * chunk + inner, chunk - inner)
    }

    /// The first byte of a stripe that is not before this place, as an offset on that stripe.
    fn first_of(&self, column: u64) -> u64 {
        let (chunk, columns) = (self.part.chunk, self.columns());
        let (row, number) = (self.at / chunk / columns, self.at / chunk % columns);
        match column.cmp(&number) {
            std::cmp::Ordering::Less => (row + 1) * chunk,
            std::cmp::Ordering::Equal => row * chunk + self.at % chunk,
            std::cmp::Ordering::Greater => row * chunk,
        }
    }

    /// Where a byte of a stripe is, as an offset on the part.
    fn back(&self, column: u64, below: u64) -> u64 {
        let chunk = self.part.chunk;
        (below / chunk * self.columns() + column) * chunk + below % chunk
    }
}

impl Disk for Mapped {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry.check(at, buf.len() as u64)?;
        let (mut at, mut rest) = (at.get(), buf);
        while !rest.is_empty() {
            let place = self.place(at)?;
            let n = (rest.len() as u64).min(place.len) as usize;
            let (piece, behind) = rest.split_at_mut(n);
            place.disk.read_at(place.at, piece)?;
            at += n as u64;
            rest = behind;
        }
        Ok(())
    }

    /// As far as all stripes are of the kind that the first byte is of: a hole below is not told chunk by chunk.
    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        if from >= ByteOffset(self.geometry.len.get()) {
            return Ok(None);
        }
        let within = self.part(from.get())?;
        let place = self.place(from.get())?;
        let Some(first) = place.disk.next_extent(place.at)? else { return Ok(None) };
        let stripe_len = within.part.len / within.columns();
        let mut end = within.part.len;
        for (column, (index, start)) in (0u64..).zip(&within.part.stripes) {
            let at = within.first_of(column);
            if at >= stripe_len {
                continue;
            }
            let until = match self.disk(*index)?.next_extent(ByteOffset(start + at))? {
                Some(e) if e.kind == first.kind => at.saturating_add(e.len.get()),
                _ => at,
            };
            if until < stripe_len {
                end = end.min(within.back(column, until));
            }
        }
        let len = ByteLen(end.saturating_sub(within.at));
        Ok(Some(Extent { at: from, len, kind: first.kind }))
    }

    fn span_at(&self, from: ByteOffset, len: u64) -> Result<Option<FileSpan<'_>>, ReadError> {
        self.geometry.check(from, len)?;
        let place = self.place(from.get())?;
        place.disk.span_at(place.at, place.len.min(len))
    }
}
