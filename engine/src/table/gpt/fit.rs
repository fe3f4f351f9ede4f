//! The same table for a disk of another shape, with a partition more or less.

use super::{CopyReport, Gpt, GptWriteError, Partition};
use crate::disk::Geometry;
use crate::table::guid::Guid;
use crate::units::{Lba, SectorSize};

impl Gpt {
    /// This table counted in the sectors of `to`: every partition keeps its bytes. The array moves to LBA 2. To be written with
    /// [`Gpt::to_sectors`] for the same shape.
    ///
    /// # Errors
    /// [`GptWriteError::Alignment`] when a partition does not begin and end at whole sectors of the new size; those of
    /// [`Gpt::to_sectors`] when the table has no room.
    pub fn fit(&self, to: Geometry) -> Result<Gpt, GptWriteError> {
        if to.sector == self.sector {
            return Ok(self.clone());
        }
        let array_sectors = (self.entry_bytes.len() as u64).div_ceil(to.sector.bytes());
        let sectors = to.len.get() / to.sector.bytes();
        let too_short = GptWriteError::TooShort { sectors };
        let first_usable = array_sectors.saturating_add(2);
        let last_usable = sectors.checked_sub(array_sectors.saturating_add(2)).ok_or(too_short.clone())?;
        if self.header_bytes.len() as u64 > to.sector.bytes() {
            return Err(too_short);
        }
        let mut gpt = self.clone();
        gpt.sector = to.sector;
        gpt.disk_len = to.len;
        gpt.entries_lba = 2;
        (gpt.first_usable, gpt.last_usable) = (Lba(first_usable), Lba(last_usable));
        // Neither copy lies where these would say.
        gpt.primary = CopyReport { entries_at: None, ..self.primary.clone() };
        gpt.backup = CopyReport { entries_at: None, ..self.backup.clone() };
        for p in &mut gpt.partitions {
            *p = scaled(p, self.sector, to.sector)?;
        }
        Ok(gpt)
    }

    /// With one partition more. Its place must be free; [`Gpt::to_sectors`] checks the number.
    pub fn with(mut self, partition: Partition) -> Gpt {
        self.partitions.push(partition);
        self.partitions.sort_by_key(|p| p.index);
        self
    }

    /// Without the partition of this id.
    pub fn without(mut self, unique: Guid) -> Gpt {
        self.partitions.retain(|p| p.unique_guid != unique);
        self
    }

    /// The lowest number that no partition has.
    pub fn free_number(&self) -> Option<u32> {
        (1..=self.entry_count).find(|n| self.partitions.iter().all(|p| p.index != *n))
    }

    /// Runs of sectors within `first_usable..=last_usable` that belong to no partition, as first and last sector.
    pub fn free_runs(&self) -> Vec<(u64, u64)> {
        let mut used: Vec<(u64, u64)> =
            self.partitions.iter().map(|p| (p.first.get(), p.last.get())).collect();
        used.sort_unstable();
        let (mut free, mut at) = (Vec::new(), self.first_usable.get());
        for (first, last) in used {
            if let Some(end) = first.checked_sub(1).filter(|end| *end >= at) {
                free.push((at, end));
            }
            at = at.max(last.saturating_add(1));
        }
        if at <= self.last_usable.get() {
            free.push((at, self.last_usable.get()));
        }
        free
    }
}

fn scaled(p: &Partition, from: SectorSize, to: SectorSize) -> Result<Partition, GptWriteError> {
    let wrong = || GptWriteError::Alignment { index: p.index, sector: to.bytes() };
    let sector = |lba: u64| -> Option<u64> {
        let bytes = lba.checked_mul(from.bytes())?;
        bytes.is_multiple_of(to.bytes()).then(|| bytes / to.bytes())
    };
    let first = sector(p.first.get()).ok_or_else(wrong)?;
    let end = p.last.get().checked_add(1).and_then(sector).ok_or_else(wrong)?;
    let last = end.checked_sub(1).ok_or_else(wrong)?;
    Ok(Partition { first: Lba(first), last: Lba(last), ..p.clone() })
}
