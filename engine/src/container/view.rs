//! A container's file as it would read once its log was replayed. The file itself is left alone.

use super::{corrupt, io_error};
use crate::disk::file::Stored;
use crate::disk::{FileSpan, ReadError, SourceFile};
use std::sync::Arc;

/// Bytes that take the place of what the file has at `at`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Patch {
    pub at: u64,
    pub len: u64,
    pub bytes: PatchBytes,
}

/// What a patch holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum PatchBytes {
    /// Zeros, however many.
    Zeros,
    /// As many bytes as the patch is long.
    Data(Arc<[u8]>),
}

/// A file, and what a log lays over it.
#[derive(Debug)]
pub(super) struct FileView {
    source: Arc<SourceFile>,
    len: u64,
    /// Sorted, disjoint, none of them empty.
    patches: Vec<Patch>,
}

impl FileView {
    /// The file as it is.
    pub(super) fn plain(source: Arc<SourceFile>) -> FileView {
        FileView { len: source.len(), source, patches: Vec::new() }
    }

    /// The file made `len` bytes long (what it lacks reads as zeros) with `patches` laid over it, which must be sorted by offset, disjoint,
    /// not empty and within `len`.
    pub(super) fn patched(source: Arc<SourceFile>, len: u64, patches: Vec<Patch>) -> FileView {
        debug_assert!(patches.windows(2).all(|p| p[0].end() <= p[1].at));
        FileView { source, len, patches }
    }

    /// Length in bytes, as the log leaves it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fill `buf` from `at`.
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let Some(end) = at.checked_add(buf.len() as u64).filter(|end| *end <= self.len) else {
            let wanted = format!("{} bytes at {at:#x}", buf.len());
            return Err(corrupt("end of file", self.len, wanted, "a shorter file"));
        };
        let stored = self.source.len().clamp(at, end) - at;
        let (head, tail) = buf.split_at_mut(stored as usize); // at most `buf.len()`
        if !head.is_empty() {
            self.source.read_exact_at(at, head).map_err(|e| io_error(&self.source, at, e))?;
        }
        tail.fill(0);
        for patch in self.patches_behind(at).iter().take_while(|p| p.at < end) {
            let (from, to) = (patch.at.max(at), patch.end().min(end));
            let target = &mut buf[(from - at) as usize..(to - at) as usize];
            match &patch.bytes {
                PatchBytes::Zeros => target.fill(0),
                PatchBytes::Data(bytes) => {
                    let skip = (from - patch.at) as usize;
                    target.copy_from_slice(&bytes[skip..skip + target.len()]);
                }
            }
        }
        Ok(())
    }

    /// Whether the bytes from `at` on are stored or read as zeros without being read, and how many until that changes: never 0.
    pub(super) fn stored(&self, at: u64) -> Result<(Stored, u64), ReadError> {
        let next = self.patches_behind(at).first();
        if let Some(patch) = next.filter(|p| p.at <= at) {
            let kind = if patch.bytes == PatchBytes::Zeros { Stored::Hole } else { Stored::Data };
            return Ok((kind, patch.end() - at));
        }
        let limit = next.map_or(u64::MAX, |p| p.at) - at;
        let found = self.source.next_stored(at).map_err(|e| io_error(&self.source, at, e))?;
        Ok(found.map_or((Stored::Hole, limit), |(len, kind)| (kind, len.min(limit))))
    }

    /// The bytes from `at` on as they lie in the file, at most `len` of them; `None` where a patch lies over them.
    pub(super) fn span(&self, at: u64, len: u64) -> Option<FileSpan<'_>> {
        let next = self.patches_behind(at).first().map_or(u64::MAX, |p| p.at);
        let end = at.saturating_add(len).min(next).min(self.source.len());
        let len = end.checked_sub(at).filter(|len| *len > 0)?;
        Some(FileSpan { file: &self.source, at, len })
    }

    fn patches_behind(&self, at: u64) -> &[Patch] {
        let first = self.patches.partition_point(|p| p.end() <= at);
        self.patches.get(first..).unwrap_or_default()
    }
}

impl Patch {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}
