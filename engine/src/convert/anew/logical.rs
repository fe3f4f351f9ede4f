//! Logical partitions: a chain of boot records inside an extended partition.
//!
//! ```text
//! extended ┬ EBR │ 5 ············│ EBR │ 6 ······│        an EBR is laid out like an MBR:
//!          └──────── entry 2 ─────▲                       entry 1: the partition, from its own EBR on
//!                                                         entry 2: the next EBR, from the beginning of the extended partition on
//! ```
//! No standard says so; Linux `block/partitions/msdos.c`, `parse_extended`, decides what a guest saw: numbers begin at 5 and count what is there.

use crate::disk::{Disk, ReadError};
use crate::table::mbr::{Mbr, MbrEntry};
use crate::units::{ByteOffset, SectorSize};

/// Most records that Linux follows.
const CHAIN_MAX: usize = 100;
/// Number of the first logical partition.
pub(super) const FIRST_NUMBER: u32 = 5;

/// A partition of an MBR disk as Linux numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Old {
    /// `/dev/sdaN`.
    pub number: u32,
    /// MBR type.
    pub kind: u8,
    /// First sector.
    pub first: u64,
    /// Number of sectors.
    pub sectors: u64,
}

/// Why logical partitions cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChainError {
    /// No `55 AA`.
    #[error("the boot record at LBA {0} of the extended partition does not end in 55 aa")]
    Signature(u64),
    /// Back to a record that was read before, or more of them than Linux follows.
    #[error(
        "the boot records of the extended partition lead on from LBA {0}, which is not behind the one before, or they are more than {CHAIN_MAX}"
    )]
    Endless(u64),
    /// A record beyond the end of the disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Whether an entry holds logical partitions.
pub(super) fn is_extended(entry: &MbrEntry) -> bool {
    matches!(entry.kind, 0x05 | 0x0f | 0x85)
}

/// All partitions of the table, the primary ones first; the extended ones themselves are left out.
pub(super) fn partitions(disk: &dyn Disk, mbr: &Mbr) -> Result<Vec<Old>, ChainError> {
    let used = || (1u32..).zip(&mbr.entries).filter(|(_, e)| e.is_used());
    let old = |number, e: &MbrEntry, base: u64| Old {
        number,
        kind: e.kind,
        first: base.saturating_add(e.first.into()),
        sectors: e.sectors.into(),
    };
    let mut found: Vec<Old> =
        used().filter(|(_, e)| !is_extended(e)).map(|(number, e)| old(number, e, 0)).collect();
    let mut number = FIRST_NUMBER;
    let mut records = 0;
    for (_, extended) in used().filter(|(_, e)| is_extended(e)) {
        let base = u64::from(extended.first);
        let mut next = Some(base);
        let mut before = None;
        while let Some(at) = next {
            records += 1;
            if before.is_some_and(|before| at <= before) || records > CHAIN_MAX {
                return Err(ChainError::Endless(at));
            }
            let record = read(disk, at)?;
            for entry in record.entries.iter().filter(|e| e.is_used() && !is_extended(e)) {
                found.push(old(number, entry, at));
                number = number.saturating_add(1);
            }
            let link = record.entries.iter().find(|e| is_extended(e) && e.sectors != 0);
            (before, next) = (Some(at), link.map(|e| base.saturating_add(e.first.into())));
        }
    }
    Ok(found)
}

fn read(disk: &dyn Disk, lba: u64) -> Result<Mbr, ChainError> {
    let mut sector = [0; 512];
    // At most twice 2^32, times 512.
    disk.read_at(ByteOffset(lba.saturating_mul(SectorSize::B512.bytes())), &mut sector)?;
    let record = Mbr::from_bytes(&sector);
    if record.has_signature { Ok(record) } else { Err(ChainError::Signature(lba)) }
}

#[cfg(test)]
mod tests {
    use super::{Old, partitions};
    use crate::disk::{Geometry, MemDisk};
    use crate::table::mbr::{Mbr, MbrEntry};
    use crate::units::{ByteLen, SectorSize};

    /// A record of entries (type, first, sectors), at a sector.
    type Record<'a> = (usize, &'a [(u8, u32, u32)]);

    #[track_caller]
    fn check(records: &[Record<'_>], wanted: Result<&[(u32, u64, u64)], &str>) {
        let mut bytes = vec![0; 4096 * 512];
        for (lba, entries) in records {
            let mut mbr = Mbr::from_bytes(&[0; 512]);
            mbr.has_signature = true;
            for (slot, (kind, first, sectors)) in mbr.entries.iter_mut().zip(*entries) {
                *slot = MbrEntry::new(*kind, false, *first, *sectors);
            }
            bytes[lba * 512..(lba + 1) * 512].copy_from_slice(&mbr.to_bytes());
        }
        let mbr = Mbr::from_bytes(bytes[..512].try_into().expect("a sector"));
        let geometry = Geometry { len: ByteLen(bytes.len() as u64), sector: SectorSize::B512 };
        let found = partitions(&MemDisk::new(geometry, bytes), &mbr);
        let short = |o: &Old| (o.number, o.first, o.sectors);
        match (found, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found.iter().map(short).collect::<Vec<_>>(), wanted),
            (Err(e), Err(wanted)) => assert!(e.to_string().contains(wanted), "{e}"),
            (found, wanted) => panic!("{found:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn counts_as_linux_does() {
        // Primary ones keep the number of their slot; an empty record has none.
        let mbr: Record<'_> = (0, &[(0x83, 64, 100), (0, 0, 0), (0x05, 1000, 3000), (0x82, 200, 8)]);
        let chain: [Record<'_>; 4] = [
            mbr,
            (1000, &[(0x83, 8, 100), (0x05, 500, 200)]),
            (1500, &[(0, 0, 0), (0x05, 900, 200)]),
            (1900, &[(0x82, 1, 50)]),
        ];
        let all = [(1, 64, 100), (4, 200, 8), (5, 1008, 100), (6, 1901, 50)];
        check(&chain, Ok(&all));
        check(&[mbr, (1000, &[])], Ok(&all[..2]));
        check(&[(0, &[(0x83, 64, 100)])], Ok(&all[..1]));
    }

    #[test]
    fn refuses_chains_that_lead_nowhere() {
        let mbr: Record<'_> = (0, &[(0x0f, 1000, 3000)]);
        check(&[mbr], Err("at LBA 1000 of the extended partition does not end in 55 aa"));
        check(&[mbr, (1000, &[(0x05, 0, 10)])], Err("lead on from LBA 1000"));
        check(&[mbr, (1000, &[(0x05, 9000, 10)])], Err("beyond the end of the disk"));
        let links: Vec<[(u8, u32, u32); 1]> = (1..200).map(|n| [(0x05, n, 1)]).collect();
        let mut records = vec![mbr];
        records.extend(links.iter().enumerate().map(|(i, link)| (1000 + i, &link[..])));
        check(&records, Err("more than 100"));
    }
}
