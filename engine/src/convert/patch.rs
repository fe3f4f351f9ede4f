//! A list of operations, and the plain writes it comes down to.

use super::{Bytes, Op, Place};
use crate::disk::{DiskRef, Geometry, Overlay, OverlayError, ReadError, Slice, Write, read_vec};
use crate::table::gpt::{GptError, GptWriteError};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use crate::volume::{FatEdit, VolumeError, fat_edit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Operations that turn a disk of shape `from` into one of shape `to`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Patch {
    /// Shape before.
    pub from: Geometry,
    /// Shape afterwards.
    pub to: Geometry,
    /// In order; later ones see what earlier ones did.
    pub ops: Vec<Op>,
}

/// When a write may happen, if the disk is changed in place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the switch: nothing refers to these sectors yet.
    Prepare,
    /// The switch: LBA 0. Last, behind a flush.
    Switch,
}

/// One write, with what it replaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedWrite {
    /// First byte.
    pub at: ByteOffset,
    /// What is there before; zeros beyond the old end of the disk.
    pub old: Bytes,
    /// What is there afterwards; as long as `old`.
    pub new: Bytes,
    /// When.
    pub phase: Phase,
}

/// What a patch comes down to on one disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lowered {
    /// Shape afterwards.
    pub to: Geometry,
    /// Sorted by offset, disjoint, none empty, none that changes nothing.
    pub writes: Vec<PlannedWrite>,
}

/// Most bytes that a patch may write: 1 GiB.
pub const WRITE_MAX: u64 = 1 << 30;

/// Why a patch does not fit a disk.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The disk has another shape than the patch was made for.
    #[error("the disk is {found:?}, the patch is for {wanted:?}")]
    Geometry {
        /// What the patch was made for.
        wanted: Geometry,
        /// What the disk is.
        found: Geometry,
    },
    /// The bytes to be replaced are not what the plan saw.
    #[error("{place} is not what the plan saw; make a new plan")]
    Changed {
        /// Where.
        place: String,
    },
    /// `old` and `new` of one operation differ in length.
    #[error("{place}: {old} bytes cannot be replaced by {new}")]
    Length {
        /// Where.
        place: String,
        /// Length before.
        old: u64,
        /// Length afterwards.
        new: u64,
    },
    /// More than a patch may write.
    #[error("the patch writes {found} bytes, wanted at most {WRITE_MAX}")]
    TooMuch {
        /// How much.
        found: u64,
    },
    /// A GPT operation on a disk without one.
    #[error("there is no GPT to fit to the new length")]
    NoTable,
    /// The GPT could not be read.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// The GPT does not fit the new length.
    #[error(transparent)]
    GptWrite(#[from] GptWriteError),
    /// A file operation failed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The writes do not fit the disk.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The disk could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The writes that perform `patch` on `disk`.
///
/// Each operation sees the result of those before it. Bytes that would be replaced are compared with what the plan saw, so a patch
/// never lands on a disk it was not made for.
///
/// # Errors
/// [`LowerError`]; nothing has been written anywhere then.
pub fn lower(patch: &Patch, disk: &DiskRef) -> Result<Lowered, LowerError> {
    let found = disk.geometry();
    if found != patch.from {
        return Err(LowerError::Geometry { wanted: patch.from, found });
    }
    let mut changes = Changes::default();
    for op in &patch.ops {
        let view: DiskRef = changes.view(disk, patch)?;
        match op {
            Op::Raw { at, old, new, .. } => {
                if old.len() != new.len() {
                    return Err(LowerError::Length { place: op.place(), old: old.len(), new: new.len() });
                }
                let is = read_vec(view.as_ref(), *at, old.as_slice().len())?;
                if is != old.as_slice() {
                    return Err(LowerError::Changed { place: op.place() });
                }
                changes.put(*at, new.as_slice());
            }
            Op::Mbr { old, new, .. } => {
                if read_vec(view.as_ref(), ByteOffset(0), old.as_slice().len())? != old.as_slice() {
                    return Err(LowerError::Changed { place: op.place() });
                }
                changes.put(ByteOffset(0), new.as_slice());
            }
            Op::Table { changes: table, .. } => {
                for change in table {
                    if change.old.len() != change.new.len() {
                        let (old, new) = (change.old.len(), change.new.len());
                        return Err(LowerError::Length { place: op.place(), old, new });
                    }
                    let is = read_vec(view.as_ref(), change.at, change.old.as_slice().len())?;
                    if is != change.old.as_slice() {
                        return Err(LowerError::Changed { place: op.place() });
                    }
                    changes.put(change.at, change.new.as_slice());
                }
            }
            Op::FatPut { partition, path, old, new, .. } => {
                let slice = slice(&view, *partition)?;
                if file(&slice, path)? != *old {
                    return Err(LowerError::Changed { place: op.place() });
                }
                let edit = FatEdit::Put { path: path.clone(), bytes: new.as_slice().to_vec() };
                changes.put_all(*partition, fat_edit(&slice, &[edit])?);
            }
            Op::FatRemove { partition, path, old, .. } => {
                let slice = slice(&view, *partition)?;
                if file(&slice, path)?.as_ref() != Some(old) {
                    return Err(LowerError::Changed { place: op.place() });
                }
                changes.put_all(*partition, fat_edit(&slice, &[FatEdit::Remove { path: path.clone() }])?);
            }
        }
        if changes.bytes() > WRITE_MAX {
            return Err(LowerError::TooMuch { found: changes.bytes() });
        }
    }
    changes.finish(disk, patch)
}

pub(super) fn slice(disk: &DiskRef, place: Place) -> Result<DiskRef, ReadError> {
    Ok(Arc::new(Slice::new(disk.clone(), place.at, place.len)?))
}

/// What the file at `path` on a FAT partition holds; `None` without one.
pub(super) fn file(partition: &DiskRef, path: &str) -> Result<Option<Bytes>, VolumeError> {
    match crate::volume::open(partition)?.read(path, crate::volume::READ_LIMIT) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The unit a disk writes, bytes.
const PAGE: u64 = 512;

/// Changed stretches so far, by their first byte, disjoint; later operations overwrite earlier ones byte by byte.
#[derive(Default)]
struct Changes(BTreeMap<u64, Vec<u8>>);

impl Changes {
    fn put(&mut self, at: ByteOffset, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = at.get();
        let end = at.saturating_add(bytes.len() as u64);
        // What begins before and reaches in is cut; what of it reaches beyond stays.
        if let Some((start, run)) = self.0.range_mut(..at).next_back()
            && start.saturating_add(run.len() as u64) > at
        {
            // Less than the run is long.
            let tail = run.split_off((at - start) as usize);
            self.keep_behind(at, &tail, end);
        }
        while let Some(start) = self.0.range(at..end).next().map(|(start, _)| *start) {
            let run = self.0.remove(&start).unwrap_or_default();
            self.keep_behind(start, &run, end);
        }
        self.0.insert(at, bytes.to_vec());
    }

    /// Keep what a run from `start` on has at `end` and behind.
    fn keep_behind(&mut self, start: u64, run: &[u8], end: u64) {
        let inside = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        if let Some(rest) = run.get(inside..).filter(|rest| !rest.is_empty()) {
            self.0.insert(end, rest.to_vec());
        }
    }

    fn put_all(&mut self, place: Place, writes: Vec<Write>) {
        for write in writes {
            // Within the partition, and the partition lies on the disk.
            self.put(ByteOffset(place.at.get().saturating_add(write.at.get())), &write.bytes);
        }
    }

    fn bytes(&self) -> u64 {
        self.0.values().map(|run| run.len() as u64).sum()
    }

    /// As writes, neighbours in one piece.
    fn writes(&self) -> Vec<Write> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, bytes) in &self.0 {
            match runs.last_mut() {
                Some((start, run)) if start.saturating_add(run.len() as u64) == *at => run.extend(bytes),
                _ => runs.push((*at, bytes.clone())),
            }
        }
        runs.into_iter().map(|(at, bytes)| Write { at: ByteOffset(at), bytes: bytes.into() }).collect()
    }

    /// The disk as the operations so far leave it: as long as the longer of both shapes, because a table moves from one end to the other.
    fn view(&self, disk: &DiskRef, patch: &Patch) -> Result<DiskRef, OverlayError> {
        let len = patch.from.len.max(patch.to.len);
        // Operations work on bytes, and those of a disk with larger sectors are whole small ones.
        let shape = Geometry { len, sector: SectorSize::B512 };
        Ok(Arc::new(Overlay::new(disk.clone(), shape, self.writes())?))
    }

    fn finish(self, disk: &DiskRef, patch: &Patch) -> Result<Lowered, LowerError> {
        let before = Overlay::new(disk.clone(), patch.to, Vec::new())?;
        let end = patch.to.len.get();
        let mut writes = Vec::new();
        for write in self.writes() {
            let old = read_vec(&before, write.at, write.bytes.len()).map_err(|_| OverlayError::Range {
                index: writes.len(),
                at: write.at.get(),
                len: write.bytes.len() as u64,
                end,
            })?;
            for (at, old, new) in differing(write.at.get(), &old, &write.bytes) {
                let phase = if at < PAGE { Phase::Switch } else { Phase::Prepare };
                writes.push(PlannedWrite { at: ByteOffset(at), old: old.into(), new: new.into(), phase });
            }
        }
        Ok(Lowered { to: patch.to, writes })
    }
}

/// The parts of a write that change something, in whole pages where the write covers them: the page is the unit a disk writes.
/// LBA 0 is cut off from what follows, since it has a phase of its own.
fn differing<'a>(at: u64, old: &'a [u8], new: &'a [u8]) -> Vec<(u64, &'a [u8], &'a [u8])> {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    while from < new.len() {
        let room = (PAGE - at.saturating_add(from as u64) % PAGE) as usize;
        let to = from.saturating_add(room).min(new.len());
        if old.get(from..to) != new.get(from..to) {
            match parts.last_mut() {
                Some((_, end)) if *end == from && at.saturating_add(from as u64) != PAGE => *end = to,
                _ => parts.push((from, to)),
            }
        }
        from = to;
    }
    parts
        .into_iter()
        .filter_map(|(a, b)| Some((at.saturating_add(a as u64), old.get(a..b)?, new.get(a..b)?)))
        .collect()
}

impl Lowered {
    /// As writes for an overlay: sorted by offset.
    pub fn overlay_writes(&self) -> Vec<Write> {
        self.writes.iter().map(|w| Write { at: w.at, bytes: w.new.share() }).collect()
    }

    /// The disk as it will be, without writing anything.
    ///
    /// # Errors
    /// [`OverlayError`] when `disk` is not the one this was lowered on.
    pub fn apply(&self, disk: &DiskRef) -> Result<DiskRef, OverlayError> {
        Ok(Arc::new(Overlay::new(disk.clone(), self.to, self.overlay_writes())?))
    }

    /// In the order of an in-place change: unreferenced space first, LBA 0 last.
    pub fn in_write_order(&self) -> Vec<&PlannedWrite> {
        let mut writes: Vec<&PlannedWrite> = self.writes.iter().collect();
        writes.sort_by_key(|w| (w.phase, w.at));
        writes
    }

    /// Bytes written.
    pub fn bytes(&self) -> ByteLen {
        ByteLen(self.writes.iter().map(|w| w.new.len()).sum())
    }
}

impl Patch {
    /// The disk after this patch, in memory.
    ///
    /// # Errors
    /// As for [`lower`].
    pub fn apply(&self, disk: &DiskRef) -> Result<DiskRef, LowerError> {
        Ok(lower(self, disk)?.apply(disk)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteOffset, Changes};

    #[test]
    fn the_last_one_to_write_a_byte_wins() {
        let mut seed = 7u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let (mut changes, mut flat) = (Changes::default(), [None; 96]);
            for n in 0..next(12) {
                let (at, len) = (next(64), next(32));
                let bytes = vec![n as u8; len as usize];
                changes.put(ByteOffset(at), &bytes);
                for slot in &mut flat[at as usize..(at + len) as usize] {
                    *slot = Some(n as u8);
                }
            }
            let mut shown = [None; 96];
            let mut end = None;
            for write in changes.writes() {
                let at = write.at.get() as usize;
                assert!(end.is_none_or(|e| e < at), "neighbours are one piece");
                for (slot, byte) in shown[at..].iter_mut().zip(write.bytes.iter()) {
                    *slot = Some(*byte);
                }
                end = Some(at + write.bytes.len());
            }
            assert_eq!(shown, flat);
            assert_eq!(changes.bytes(), flat.iter().flatten().count() as u64);
        }
    }
}
