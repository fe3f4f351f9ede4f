//! The log's part of the file as a ring. \[MS-VHDX\] §2.3.

use super::super::format::LOG_SECTOR;
use super::super::header::Header;
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use crate::table::guid::Guid;

/// A whole number of MiB of the file. Places in it are offsets from its begin.
pub(super) struct Ring<'a> {
    source: &'a SourceFile,
    at: u64,
    len: u64,
    guid: Guid,
}

impl<'a> Ring<'a> {
    /// The log that `header` names, which must lie in the file.
    pub(super) fn new(source: &'a SourceFile, header: &Header) -> Result<Ring<'a>, ReadError> {
        let (at, len) = (header.log_at, header.log_len);
        if at.checked_add(len).is_none_or(|end| end > source.len()) {
            let wanted = format!("all of it within the file's {:#x} bytes", source.len());
            let found = format!("{len:#x} bytes at {at:#x}: the file is truncated");
            return Err(corrupt("log", header.at, wanted, found));
        }
        Ok(Ring { source, at, len, guid: header.log_guid })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Id that the entries of this log carry.
    pub(super) fn guid(&self) -> Guid {
        self.guid
    }

    /// Places where an entry may begin. §2.3.1.
    pub(super) fn sectors(&self) -> impl Iterator<Item = u64> {
        (0..self.len / LOG_SECTOR).map(|i| i * LOG_SECTOR)
    }

    /// Offset in the file of a place.
    pub(super) fn offset(&self, place: u64) -> u64 {
        self.at.saturating_add(place)
    }

    /// The place `len` bytes behind another one.
    pub(super) fn behind(&self, place: u64, len: u64) -> u64 {
        place.saturating_add(len) % self.len
    }

    /// Whether any of `len` bytes at `at` of the file belong to the log.
    pub(super) fn overlaps(&self, at: u64, len: u64) -> bool {
        at < self.at.saturating_add(self.len) && at.saturating_add(len) > self.at
    }

    /// Fill `buf` from `place` on, and on from the begin of the ring where its end is reached.
    pub(super) fn read(&self, place: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut place = place % self.len;
        let mut rest = buf;
        while !rest.is_empty() {
            let n = (self.len - place).min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(n as usize);
            read_file(self.source, self.offset(place), now)?;
            (place, rest) = (0, later);
        }
        Ok(())
    }
}
