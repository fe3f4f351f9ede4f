//! Both copies as writes for a disk of a given shape.

use super::header::{RawEntry, RawHeader, header_crc, name_from_bytes};
use super::{Gpt, Partition};
use crate::disk::{Geometry, Write};
use crate::units::{ByteOffset, Lba, SectorSize};
use std::sync::Arc;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Why a table cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GptWriteError {
    /// The table was read with another sector size; its LBAs mean other bytes.
    #[error("the table counts in sectors of {was} bytes, the disk in sectors of {is}")]
    Sector {
        /// Sector size of the table, bytes.
        was: u64,
        /// Sector size of the disk, bytes.
        is: u64,
    },
    /// A partition that does not begin and end at whole sectors of another size.
    #[error("partition {index} does not begin and end at whole sectors of {sector} bytes")]
    Alignment {
        /// Its number.
        index: u32,
        /// The other sector size, bytes.
        sector: u64,
    },
    /// The disk is too short for the table itself.
    #[error("a disk of {sectors} sectors has no room for two copies of the GPT")]
    TooShort {
        /// Sectors of the disk.
        sectors: u64,
    },
    /// A partition does not fit.
    #[error("partition {index} spans LBA {first}..={last}, wanted within {low}..={high}")]
    Partition {
        /// Its number.
        index: u32,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
        /// First usable sector.
        low: u64,
        /// Last usable sector.
        high: u64,
    },
    /// A slot number that the table does not have, or one used twice.
    #[error("partition number {index}: wanted each of 1..={count} at most once")]
    Slot {
        /// The number.
        index: u32,
        /// Slots of the table.
        count: u32,
    },
    /// A name longer than 36 UTF-16 units.
    #[error("name of partition {index} has {units} UTF-16 units, wanted at most 36")]
    Name {
        /// Its number.
        index: u32,
        /// Its length.
        units: usize,
    },
}

impl Gpt {
    /// Both copies of this table as four writes (primary header, primary array, backup array, backup header) for a disk
    /// of shape `geometry`, sorted by offset. The backup moves to the new end; the last usable sector follows it when the
    /// length changed. Bytes no field of [`Gpt`] covers stay as they were read, so a sound table on an unchanged disk comes
    /// out identical. The MBR is not part of it; nor is an old backup that a grown disk leaves behind in its middle.
    ///
    /// # Errors
    /// [`GptWriteError`] when the table does not fit the disk.
    pub fn to_sectors(&self, geometry: Geometry) -> Result<Vec<Write>, GptWriteError> {
        if geometry.sector != self.sector {
            let (was, is) = (self.sector.bytes(), geometry.sector.bytes());
            return Err(GptWriteError::Sector { was, is });
        }
        let sectors = geometry.len.get() / self.sector.bytes();
        let too_short = GptWriteError::TooShort { sectors };
        let array = self.array()?;
        let array_sectors = (array.len() as u64).div_ceil(self.sector.bytes());
        let last = sectors.checked_sub(1).ok_or(too_short.clone())?;
        let backup_array = match self.backup.entries_at.filter(|_| geometry.len == self.disk_len) {
            Some(lba) if self.backup.header_at.get() == last => lba.get(),
            _ => last.checked_sub(array_sectors).ok_or(too_short.clone())?,
        };
        let last_usable = if geometry.len == self.disk_len {
            self.last_usable.get()
        } else {
            backup_array.checked_sub(1).ok_or(too_short.clone())?
        };
        if self.primary_end().get() > backup_array || self.first_usable.get() > last_usable {
            return Err(too_short);
        }
        self.check_ranges(last_usable)?;
        let crc = crc32fast::hash(&array);
        let at_start = Place { my: 1, other: last, entries: self.entries_lba, last_usable, crc };
        let at_end = Place { my: last, other: 1, entries: backup_array, last_usable, crc };
        let mut writes = vec![
            self.sector_write(1, self.header(&at_start)),
            self.sector_write(self.entries_lba, array.clone()),
            self.sector_write(backup_array, array),
            self.sector_write(last, self.header(&at_end)),
        ];
        writes.sort_by_key(|w| w.at);
        Ok(writes)
    }

    fn check_ranges(&self, last_usable: u64) -> Result<(), GptWriteError> {
        let low = self.first_usable.get();
        for p in &self.partitions {
            let (first, last) = (p.first.get(), p.last.get());
            if first > last || first < low || last > last_usable {
                return Err(GptWriteError::Partition { index: p.index, first, last, low, high: last_usable });
            }
        }
        Ok(())
    }

    /// The array: slots as found, changed only where [`Gpt::partitions`] says otherwise.
    fn array(&self) -> Result<Vec<u8>, GptWriteError> {
        let mut array = self.entry_bytes.clone();
        let mut seen = vec![false; self.entry_count as usize];
        for p in &self.partitions {
            let wrong = GptWriteError::Slot { index: p.index, count: self.entry_count };
            let slot = p.index.checked_sub(1).and_then(|i| seen.get_mut(i as usize)).ok_or(wrong.clone())?;
            if std::mem::replace(slot, true) {
                return Err(wrong);
            }
        }
        for (index, slot) in (1..).zip(array.chunks_exact_mut(self.entry_size as usize)) {
            match self.partitions.iter().find(|p| p.index == index) {
                Some(p) => put_entry(p, slot)?,
                None => {
                    // A removed partition; slots that were unused keep whatever they hold.
                    if super::entry_from_bytes(index, slot).is_some() {
                        slot.fill(0);
                    }
                }
            }
        }
        Ok(array)
    }

    fn header(&self, place: &Place) -> Vec<u8> {
        let mut bytes = self.header_bytes.clone();
        if let Ok((raw, _)) = RawHeader::mut_from_prefix(&mut bytes) {
            raw.my_lba = U64::new(place.my);
            raw.alternate_lba = U64::new(place.other);
            raw.first_usable = U64::new(self.first_usable.get());
            raw.last_usable = U64::new(place.last_usable);
            raw.disk_guid = self.disk_guid.to_disk();
            raw.entries_lba = U64::new(place.entries);
            raw.entries_crc = U32::new(place.crc);
        }
        let crc = header_crc(&bytes);
        if let Ok((raw, _)) = RawHeader::mut_from_prefix(&mut bytes) {
            raw.header_crc = U32::new(crc);
        }
        bytes
    }

    /// `bytes`, padded with zeros to whole sectors, at `lba`. Only called with sectors known to lie on the disk.
    fn sector_write(&self, lba: u64, mut bytes: Vec<u8>) -> Write {
        bytes.resize(bytes.len().next_multiple_of(self.sector.bytes() as usize), 0);
        Write { at: lba_offset(lba, self.sector), bytes: Arc::from(bytes) }
    }
}

struct Place {
    my: u64,
    other: u64,
    entries: u64,
    last_usable: u64,
    crc: u32,
}

fn lba_offset(lba: u64, sector: SectorSize) -> ByteOffset {
    Lba(lba).to_bytes(sector).unwrap_or(ByteOffset(u64::MAX))
}

fn put_entry(p: &Partition, slot: &mut [u8]) -> Result<(), GptWriteError> {
    let mut name = [0; 72];
    let units: Vec<u16> = p.name.encode_utf16().collect();
    if units.len() > 36 {
        return Err(GptWriteError::Name { index: p.index, units: units.len() });
    }
    for (unit, pair) in units.iter().zip(name.chunks_exact_mut(2)) {
        pair.copy_from_slice(&unit.to_le_bytes());
    }
    if let Ok((raw, _)) = RawEntry::mut_from_prefix(slot) {
        // Text behind the terminating zero, or a name that is no UTF-16, stays when the name was not changed.
        if name_from_bytes(&raw.name) == p.name {
            name = raw.name;
        }
        *raw = RawEntry {
            type_guid: p.type_guid.to_disk(),
            unique_guid: p.unique_guid.to_disk(),
            first: U64::new(p.first.get()),
            last: U64::new(p.last.get()),
            attrs: U64::new(p.attrs),
            name,
        };
        debug_assert_eq!(raw.as_bytes().len(), 128);
    }
    Ok(())
}
