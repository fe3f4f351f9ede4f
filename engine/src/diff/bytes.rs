//! Bytes against bytes: what is a hole on both sides, or the same stretch of one file, is not read.

use super::meter::Meter;
use super::model::ByteRange;
use super::{DiffError, Side};
use crate::container::export::pump::is_zero;
use crate::disk::{Disk, DiskRef, ExtentKind, Geometry, Overlay, ReadError, Slice};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Bytes that are read and compared at once.
const CHUNK: u64 = 1 << 20;
/// Differences are counted in pieces of this size.
const GRAIN: usize = 512;
/// Most stretches that are told one by one.
const RANGES_MAX: usize = 16;

/// What differs in a region, relative to its beginning.
#[derive(Default)]
pub(super) struct Found {
    pub places: u64,
    pub bytes: u64,
    pub ranges: Vec<ByteRange>,
    /// End of the last stretch, which the next one may continue.
    end: u64,
}

/// The stretches of `range` in which `a` and `b` differ.
pub(super) fn compare(
    a: &dyn Disk,
    b: &dyn Disk,
    range: Range<u64>,
    meter: &mut Meter<'_>,
) -> Result<Found, DiffError> {
    let mut found = Found::default();
    walk(a, b, range.clone(), meter, &mut |at, x, y| {
        let mut at = at.saturating_sub(range.start);
        for (x, y) in x.chunks(GRAIN).zip(y.chunks(GRAIN)) {
            if x != y {
                found.add(at, x.len() as u64);
            }
            at = at.saturating_add(x.len() as u64);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Whether `a` and `b` differ anywhere; ends at the first difference.
pub(super) fn differ(a: &dyn Disk, b: &dyn Disk, meter: &mut Meter<'_>) -> Result<bool, DiffError> {
    let (a_len, b_len) = (a.geometry().len.get(), b.geometry().len.get());
    if a_len != b_len {
        return Ok(true);
    }
    let mut found = false;
    walk(a, b, 0..a_len, meter, &mut |_, _, _| {
        found = true;
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Both as long as the longer one, a hole behind the shorter one's end.
pub(super) fn padded(a: DiskRef, b: DiskRef) -> Result<(DiskRef, DiskRef), DiffError> {
    let (shape_a, shape_b) = (a.geometry(), b.geometry());
    let long = if shape_a.len >= shape_b.len { shape_a } else { shape_b };
    Ok((pad(a, long, Side::A)?, pad(b, long, Side::B)?))
}

fn pad(disk: DiskRef, long: Geometry, side: Side) -> Result<DiskRef, DiffError> {
    if disk.geometry().len == long.len {
        return Ok(disk);
    }
    let end = disk.geometry().len.get();
    // A partition need not be whole sectors of 4096 bytes; nobody below counts in them.
    let geometry = Geometry { len: long.len, sector: SectorSize::B512 };
    let padded = Overlay::new(disk, geometry, Vec::new()).map_err(|_| DiffError::Read {
        side,
        source: ReadError::OutOfRange { at: end, len: 0, end: long.len.get() },
    })?;
    Ok(Arc::new(padded))
}

/// A partition as a disk of its own; `None` when it does not lie on the disk.
pub(super) fn slice(disk: &DiskRef, at: ByteOffset, len: ByteLen) -> Option<DiskRef> {
    Slice::new(disk.clone(), at, len).ok().map(|s| Arc::new(s) as DiskRef)
}

/// Called with an offset and the bytes of both sides, which differ.
type Visit<'a> = &'a mut dyn FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>;

fn walk(
    a: &dyn Disk,
    b: &dyn Disk,
    range: Range<u64>,
    meter: &mut Meter<'_>,
    visit: Visit<'_>,
) -> Result<(), DiffError> {
    let on_a = |source| DiffError::Read { side: Side::A, source };
    let on_b = |source| DiffError::Read { side: Side::B, source };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut at = range.start;
    while at < range.end {
        let from = ByteOffset(at);
        let (Some(on_left), Some(on_right)) =
            (a.next_extent(from).map_err(on_a)?, b.next_extent(from).map_err(on_b)?)
        else {
            break;
        };
        let len = (range.end - at).min(on_left.len.get()).min(on_right.len.get());
        let (left, right) = (on_left.kind == ExtentKind::Data, on_right.kind == ExtentKind::Data);
        // Nothing is read where both are zero, or both are the same stretch of one file.
        let (len, look) = match (left, right) {
            (false, false) => (len, false),
            (true, true) => match one_stretch(a, b, from, len)? {
                Some(shared) => (shared, false),
                None => (piece(at, len), true),
            },
            _ => (piece(at, len), true),
        };
        if look {
            let size = usize::try_from(len).unwrap_or(0);
            x.resize(size, 0);
            y.resize(size, 0);
            read(a, left, from, &mut x).map_err(on_a)?;
            read(b, right, from, &mut y).map_err(on_b)?;
            let same = match (left, right) {
                (true, false) => is_zero(&x),
                (false, true) => is_zero(&y),
                _ => x == y,
            };
            if !same && visit(at, &x, &y).is_break() {
                return Ok(());
            }
        }
        at = at.saturating_add(len);
        meter.step(len)?;
    }
    Ok(())
}

/// Up to the next multiple of the chunk.
fn piece(at: u64, len: u64) -> u64 {
    len.min(CHUNK - at % CHUNK)
}

fn read(disk: &dyn Disk, stored: bool, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
    if stored {
        disk.read_at(at, buf)
    } else {
        buf.fill(0);
        Ok(())
    }
}

/// How many bytes from `at` on are the same bytes of the same file on both sides.
fn one_stretch(a: &dyn Disk, b: &dyn Disk, at: ByteOffset, len: u64) -> Result<Option<u64>, DiffError> {
    let on_a = a.span_at(at, len).map_err(|source| DiffError::Read { side: Side::A, source })?;
    let Some(on_a) = on_a else { return Ok(None) };
    let on_b = b.span_at(at, len).map_err(|source| DiffError::Read { side: Side::B, source })?;
    let Some(on_b) = on_b else { return Ok(None) };
    let same = on_a.at == on_b.at && on_a.file.identity() == on_b.file.identity();
    Ok(same.then(|| on_a.len.min(on_b.len).min(len)))
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.places == 0
    }

    fn add(&mut self, at: u64, len: u64) {
        self.bytes = self.bytes.saturating_add(len);
        if self.places > 0 && self.end == at {
            if self.places <= RANGES_MAX as u64
                && let Some(last) = self.ranges.last_mut()
            {
                last.len = ByteLen(last.len.get().saturating_add(len));
            }
        } else {
            self.places = self.places.saturating_add(1);
            if self.ranges.len() < RANGES_MAX {
                self.ranges.push(ByteRange { at: ByteOffset(at), len: ByteLen(len) });
            }
        }
        self.end = at.saturating_add(len);
    }
}
