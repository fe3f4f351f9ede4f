//! What of a disk is no partition: LBA 0, the table's own sectors, the gap behind it, free space.

use super::bytes::{self, padded};
use super::meter::Meter;
use super::model::{ByteRange, BytesDiff, Diff, Region, Remark, Scope};
use super::table::Tables;
use super::{DiffError, Side};
use crate::disk::{DiskRef, read_vec};
use crate::guest::Guest;
use crate::table::mbr::{BOOT_CODE_LEN, MbrKind};
use crate::units::{ByteLen, ByteOffset};
use std::iter;
use std::ops::Range;

/// Bytes of the first sector of an MBR, whatever the disk's own sectors are.
const SECTOR0: u64 = 512;

/// Compare the code at LBA 0.
pub(super) fn boot_code(a: &DiskRef, b: &DiskRef, diff: &mut Diff) -> Result<(), DiffError> {
    let head = |disk: &DiskRef, side| {
        let len = usize::try_from(disk.geometry().len.get()).unwrap_or(BOOT_CODE_LEN).min(BOOT_CODE_LEN);
        let mut code =
            read_vec(disk.as_ref(), ByteOffset(0), len).map_err(|source| DiffError::Read { side, source })?;
        code.resize(BOOT_CODE_LEN, 0);
        Ok::<_, DiffError>(code)
    };
    let (x, y) = (head(a, Side::A)?, head(b, Side::B)?);
    let at: Vec<u64> = (0..).zip(x.iter().zip(&y)).filter(|(_, (x, y))| x != y).map(|(at, _)| at).collect();
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return Ok(()) };
    let none = |code: &[u8]| code.iter().all(|b| *b == 0);
    let place = match (none(&x), none(&y)) {
        (true, _) => "boot code at LBA 0, where A has none",
        (_, true) => "boot code at LBA 0, where B has none",
        _ => "boot code at LBA 0",
    };
    diff.boot_code.push(BytesDiff {
        region: Region::BootCode,
        place: place.to_string(),
        at: ByteOffset(0),
        len: ByteLen(BOOT_CODE_LEN as u64),
        places: 1,
        bytes: at.len() as u64,
        ranges: vec![ByteRange { at: ByteOffset(*first), len: ByteLen(last - first + 1) }],
    });
    Ok(())
}

/// Compare all space that is no partition on either disk, behind the first sector.
pub(super) fn outside(
    (a, b): (&Guest, &Guest),
    (on_a, on_b): (&Tables, &Tables),
    diff: &mut Diff,
    meter: &mut Meter<'_>,
) -> Result<(), DiffError> {
    let (x, y) = padded(a.disk.clone(), b.disk.clone())?;
    let end = x.geometry().len.get();
    let partitions = |g: &Guest| {
        let range = |p: &crate::guest::Partition| p.at.get()..p.at.get().saturating_add(p.len.get());
        g.inspection.partitions.iter().map(range).collect::<Vec<_>>()
    };
    let taken = [partitions(a), partitions(b)].concat();
    let first = taken.iter().map(|r| r.start).min().unwrap_or(0);
    let sector = a.disk.geometry().sector.bytes();
    let own = [table_sectors(a, on_a), table_sectors(b, on_b)].concat();
    // The first sector was told field by field, if it is an MBR at all.
    let head = if has_mbr(on_a) || has_mbr(on_b) { SECTOR0.min(end) } else { 0 };
    let taken: Vec<Range<u64>> =
        taken.into_iter().chain(own.iter().cloned()).chain(iter::once(0..head)).collect();
    for range in gaps(&taken, end) {
        let region = if range.end <= first { Region::Gap } else { Region::Unpartitioned };
        if diff.scope == Scope::Boot && region != Region::Gap {
            continue;
        }
        let len = range.end - range.start;
        meter.begin(len)?;
        let found = bytes::compare(x.as_ref(), y.as_ref(), range.clone(), meter)?;
        meter.end();
        if found.is_empty() {
            continue;
        }
        let what = match region {
            Region::Gap => "the gap before the first partition",
            _ if first == 0 => "the disk, which has no partitions",
            _ => "unpartitioned space",
        };
        let place = format!("{what}, {}", lbas(&range, sector));
        let (at, len) = (ByteOffset(range.start), ByteLen(len));
        let all = BytesDiff {
            region,
            place,
            at,
            len,
            places: found.places,
            bytes: found.bytes,
            ranges: found.ranges,
        };
        if region == Region::Gap { diff.boot_code.push(all) } else { diff.bytes.push(all) }
    }
    if diff.scope == Scope::All && diff.table.is_empty() && diff.partitions.is_empty() {
        table_bytes((&x, &y), &own, sector, diff, meter)?;
    }
    Ok(())
}

fn lbas(range: &Range<u64>, sector: u64) -> String {
    format!("LBA {}..={}", range.start / sector, range.end.saturating_sub(1) / sector)
}

/// Whether the first sector is one that a table editor made.
pub(super) fn has_mbr(tables: &Tables) -> bool {
    tables.mbr.as_ref().is_some_and(|m| m.kind != MbrKind::None)
}

/// With nothing to tell of the tables, their sectors should be the same.
fn table_bytes(
    (x, y): (&DiskRef, &DiskRef),
    own: &[Range<u64>],
    sector: u64,
    diff: &mut Diff,
    meter: &mut Meter<'_>,
) -> Result<(), DiffError> {
    for range in own {
        if !bytes::compare(x.as_ref(), y.as_ref(), range.clone(), meter)?.is_empty() {
            let place = format!("the GPT, {}", lbas(range, sector));
            let why = "both tables say the same; what differs is reserved or unused";
            diff.same_meaning.push(Remark::new(place, why));
            return Ok(());
        }
    }
    Ok(())
}

/// Where a disk keeps its GPT, both copies; nothing where it has none.
fn table_sectors(guest: &Guest, tables: &Tables) -> Vec<Range<u64>> {
    let Some(gpt) = &tables.gpt else { return Vec::new() };
    let (sector, end) = (gpt.sector.bytes(), guest.disk.geometry().len.get());
    let primary_end = gpt.primary_end().get().saturating_mul(sector).min(end);
    // The backup's array lies before its header; an array is at most 4 MiB, see `table::gpt`.
    let array = u64::from(gpt.entry_count).saturating_mul(gpt.entry_size.into()).next_multiple_of(sector);
    let header = gpt.backup.header_at.get().saturating_mul(sector).min(end);
    let backup = header.saturating_sub(array)..header.saturating_add(sector).min(end);
    vec![SECTOR0.min(end)..primary_end, backup]
}

/// What `taken` leaves of `0..end`.
fn gaps(taken: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<&Range<u64>> = taken.iter().filter(|r| r.start < r.end).collect();
    sorted.sort_by_key(|r| (r.start, r.end));
    let (mut free, mut at) = (Vec::new(), 0);
    for range in sorted {
        if range.start > at && at < end {
            free.push(at..range.start.min(end));
        }
        at = at.max(range.end);
    }
    if at < end {
        free.push(at..end);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn free_space_is_what_nobody_takes() {
        for (taken, want) in [
            (&[][..], &[(0, 100)][..]),
            (&[(0, 100)], &[]),
            (&[(10, 20), (15, 30), (90, 200)], &[(0, 10), (30, 90)]),
            (&[(40, 50), (0, 10), (10, 20), (45, 46)], &[(20, 40), (50, 100)]),
            (&[(120, 130)], &[(0, 100)]),
        ] {
            let ranges: Vec<_> = taken.iter().map(|(from, to)| *from..*to).collect();
            let free: Vec<(u64, u64)> = gaps(&ranges, 100).iter().map(|r| (r.start, r.end)).collect();
            assert_eq!(free, want, "{taken:?}");
        }
    }
}
