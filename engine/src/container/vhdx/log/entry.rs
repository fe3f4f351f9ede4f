//! One entry of a log: a head, descriptors of what changes, and the sectors of data that belong to them. \[MS-VHDX\] §2.3.1.

use super::super::format::{
    FILE_LEN_MAX, LOG_SECTOR, REGION_TABLES_AT, RawDataSector, RawDescriptor, RawLogEntry,
};
use super::patches::Patches;
use super::ring::Ring;
use crate::container::corrupt;
use crate::disk::ReadError;
use crate::table::guid::Guid;
use std::sync::Arc;
use zerocopy::FromBytes;

/// Bytes of an entry that are looked at in one step of its checksum.
const STEP: u64 = 64 << 10;
/// Bytes of an entry's head, and of a descriptor. §2.3.1.1, §2.3.1.2.
const HEAD_LEN: u64 = size_of::<RawLogEntry>() as u64;
const DESCRIPTOR_LEN: u64 = size_of::<RawDescriptor>() as u64;

/// What begins at a sector of the ring.
pub(super) enum Slot {
    /// No entry.
    Nothing,
    /// An entry of another log.
    Foreign,
    /// The head of an entry of this log, but not all of what it promises.
    Torn { sequence: u64, why: String },
    /// An entry as it was written.
    Whole(Entry),
}

/// An entry whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Place in the ring.
    pub at: u64,
    pub len: u64,
    /// Place of the first entry that must be replayed if this is the last one. §2.3.1.1.
    pub tail: u64,
    pub sequence: u64,
    pub flushed_file_offset: u64,
    pub last_file_offset: u64,
    descriptor_count: u64,
}

/// Look at the sector at `at` of the ring. `budget` is for the bytes that checksums are computed of.
pub(super) fn read_slot(ring: &Ring<'_>, at: u64, budget: &mut u64) -> Result<Slot, ReadError> {
    let mut head = [0; HEAD_LEN as usize];
    ring.read(at, &mut head)?;
    let Ok(raw) = RawLogEntry::read_from_bytes(&head) else { return Ok(Slot::Nothing) };
    if raw.signature != *b"loge" {
        return Ok(Slot::Nothing);
    }
    if Guid::from_disk(raw.log_guid) != ring.guid() {
        return Ok(Slot::Foreign);
    }
    let (len, sequence) = (u64::from(raw.len.get()), raw.sequence.get());
    if len == 0 || len % LOG_SECTOR != 0 || len > ring.len() {
        let why = format!(
            "its length is {len:#x}, wanted a multiple of 4096 within the log's {:#x} bytes",
            ring.len()
        );
        return Ok(Slot::Torn { sequence, why });
    }
    *budget = budget.checked_sub(len).ok_or_else(|| {
        corrupt("log", ring.offset(at), "entries one after another", "entries that lie in one another")
    })?;
    let (stored, computed) = (raw.checksum.get(), checksum(ring, at, len)?);
    if stored != computed {
        let why = format!("its CRC-32C is {stored:#010x}, computed {computed:#010x}");
        return Ok(Slot::Torn { sequence, why });
    }
    let entry = Entry {
        at,
        len,
        tail: raw.tail.get().into(),
        sequence,
        flushed_file_offset: raw.flushed_file_offset.get(),
        last_file_offset: raw.last_file_offset.get(),
        descriptor_count: raw.descriptor_count.get().into(),
    };
    entry.check(ring)?;
    Ok(Slot::Whole(entry))
}

/// CRC-32C of the whole entry with its checksum taken as zero. §2.3.1.1.
fn checksum(ring: &Ring<'_>, at: u64, len: u64) -> Result<u32, ReadError> {
    let mut buf = vec![0; len.min(STEP) as usize];
    let (mut crc, mut done) = (0, 0);
    while done < len {
        let n = (len - done).min(STEP) as usize;
        let piece = buf.get_mut(..n).unwrap_or_default();
        ring.read(ring.behind(at, done), piece)?;
        if done == 0 {
            piece.get_mut(4..8).unwrap_or_default().fill(0);
        }
        crc = crc32c::crc32c_append(crc, piece);
        done += n as u64;
    }
    Ok(crc)
}

impl Entry {
    /// What to call it in a message.
    pub(super) fn name(&self) -> String {
        format!("log entry {}", self.sequence)
    }

    /// The fields of the head. The checksum holds, so whoever wrote it meant them.
    fn check(&self, ring: &Ring<'_>) -> Result<(), ReadError> {
        let bad = |what: &str, wanted: String, found: u64| {
            Err(corrupt(
                format!("{} of {}", what, self.name()),
                ring.offset(self.at),
                wanted,
                format!("{found:#x}"),
            ))
        };
        if self.sequence == 0 {
            return bad("sequence number", "more than 0".into(), 0);
        }
        if !self.tail.is_multiple_of(LOG_SECTOR) || self.tail >= ring.len() {
            return bad("tail", format!("a multiple of 4096 below {:#x}", ring.len()), self.tail);
        }
        if self.descriptors_len() > self.len {
            let wanted = format!("as many as fit into {:#x} bytes", self.len);
            return bad("descriptor count", wanted, self.descriptor_count);
        }
        if self.last_file_offset > FILE_LEN_MAX {
            return bad("last file offset", format!("at most {FILE_LEN_MAX:#x}"), self.last_file_offset);
        }
        Ok(())
    }

    /// Bytes of head and descriptors, in whole sectors. No overflow: the count is 32 bits wide.
    fn descriptors_len(&self) -> u64 {
        (HEAD_LEN + DESCRIPTOR_LEN * self.descriptor_count).next_multiple_of(LOG_SECTOR)
    }

    /// Lay the changes of this entry over those of the ones before it. §2.3.3.
    pub(super) fn apply(&self, ring: &Ring<'_>, patches: &mut Patches) -> Result<(), ReadError> {
        let mut sector = [0; LOG_SECTOR as usize];
        let mut data_at = self.descriptors_len();
        for i in 0..self.descriptor_count {
            let place = HEAD_LEN + DESCRIPTOR_LEN * i;
            if i == 0 || place.is_multiple_of(LOG_SECTOR) {
                ring.read(ring.behind(self.at, place - place % LOG_SECTOR), &mut sector)?;
            }
            let within = (place % LOG_SECTOR) as usize;
            let Some(Ok(raw)) = sector.get(within..).map(|bytes| RawDescriptor::read_from_prefix(bytes))
            else {
                continue; // never: a sector holds whole descriptors
            };
            let raw = raw.0;
            let at = ring.offset(ring.behind(self.at, place));
            let bad = |what: &str, wanted: String, found: String| {
                Err(corrupt(format!("{what} of descriptor {i} of {}", self.name()), at, wanted, found))
            };
            if raw.sequence.get() != self.sequence {
                return bad("sequence number", self.sequence.to_string(), raw.sequence.get().to_string());
            }
            match &raw.signature {
                b"zero" => {
                    let len = u64::from_le_bytes(raw.leading);
                    self.check_target(ring, at, raw.at.get(), len)?;
                    patches.zero(raw.at.get(), len)
                }
                b"desc" => {
                    self.check_target(ring, at, raw.at.get(), LOG_SECTOR)?;
                    if data_at >= self.len {
                        return bad("data", "a sector within the entry".into(), "none left".into());
                    }
                    let bytes = self.data_sector(ring, data_at, &raw)?;
                    data_at += LOG_SECTOR;
                    patches.data(raw.at.get(), bytes)
                }
                other => return bad("signature", "`zero` or `desc`".into(), format!("{other:02x?}")),
            }
            .or_else(|pieces| {
                bad("place", "room for its change".into(), format!("{pieces} changes already"))
            })?;
        }
        Ok(())
    }

    /// That `len` bytes at `target` are what a log may change: whole sectors of the file, but neither the headers nor the log itself.
    /// §2.3: headers are never logged.
    fn check_target(&self, ring: &Ring<'_>, at: u64, target: u64, len: u64) -> Result<(), ReadError> {
        let bad = |wanted: String| {
            let found = format!("{len:#x} bytes at {target:#x}");
            Err(corrupt(format!("target of a descriptor of {}", self.name()), at, wanted, found))
        };
        let [tables_at, _] = REGION_TABLES_AT;
        if len == 0 || !len.is_multiple_of(LOG_SECTOR) || !target.is_multiple_of(LOG_SECTOR) {
            return bad("whole sectors of 4096 bytes".into());
        }
        if target.checked_add(len).is_none_or(|end| end > self.last_file_offset) {
            return bad(format!(
                "a place within the {:#x} bytes the entry says the file has",
                self.last_file_offset
            ));
        }
        if target < tables_at {
            return bad(format!("a place behind the headers, from {tables_at:#x} on"));
        }
        if ring.overlaps(target, len) {
            return bad("a place outside the log itself".into());
        }
        Ok(())
    }

    /// The sector of data at `place` of this entry, its first and last bytes put back. §2.3.1.4.
    fn data_sector(&self, ring: &Ring<'_>, place: u64, raw: &RawDescriptor) -> Result<Arc<[u8]>, ReadError> {
        let mut bytes = [0; LOG_SECTOR as usize];
        let place = ring.behind(self.at, place);
        ring.read(place, &mut bytes)?;
        let Ok(sector) = RawDataSector::read_from_bytes(&bytes) else {
            return Err(corrupt("data sector", ring.offset(place), LOG_SECTOR, bytes.len()));
        };
        let sequence = u64::from(sector.sequence_high.get()) << 32 | u64::from(sector.sequence_low.get());
        if sector.signature != *b"data" || sequence != self.sequence {
            let wanted = format!("`data` and sequence number {}", self.sequence);
            let found = format!("{:02x?} and {sequence}", sector.signature);
            return Err(corrupt(
                format!("data sector of {}", self.name()),
                ring.offset(place),
                wanted,
                found,
            ));
        }
        Ok([&raw.leading[..], &sector.data[..], &raw.trailing[..]].concat().into())
    }
}
