//! Region tables: where the block allocation table and the metadata are. \[MS-VHDX\] §2.2.3.

use super::format::{
    MIB, REGION_BAT, REGION_METADATA, REGION_TABLES_AT, RawRegion, RawRegionTable, TABLE_ENTRIES_MAX,
    TABLE_LEN, checksum,
};
use super::space::Space;
use crate::container::corrupt;
use crate::container::view::FileView;
use crate::disk::ReadError;
use crate::table::guid::Guid;
use zerocopy::FromBytes;

/// A stretch of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub at: u64,
    pub len: u64,
}

/// Where the two regions every VHDX has are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Regions {
    pub bat: Region,
    pub metadata: Region,
}

/// The regions, from the first of the two tables that is valid. Both must say the same when both are. §2.2.3.
pub(super) fn read_regions(
    view: &FileView,
    space: &mut Space,
    notes: &mut Vec<String>,
) -> Result<Regions, ReadError> {
    let [first_at, second_at] = REGION_TABLES_AT;
    let first = region_table_at(view, first_at);
    let second = region_table_at(view, second_at);
    let (at, entries) = match (first, second) {
        (Ok(a), Ok(b)) if a != b => {
            let wanted = format!("the same as the region table at {first_at:#x}");
            return Err(corrupt("second region table", second_at, wanted, "another valid one"));
        }
        (Ok(entries), Ok(_)) => (first_at, entries),
        (Ok(entries), Err(error)) => (noted(first_at, &error, notes), entries),
        (Err(error), Ok(entries)) => (noted(second_at, &error, notes), entries),
        (Err(ReadError::Corrupt { what, at, wanted, found }), Err(second)) => {
            let found = format!("{found}; the other region table is no better: {second}");
            return Err(ReadError::Corrupt { what, at, wanted, found });
        }
        (Err(first), Err(_)) => return Err(first),
    };
    let (mut bat, mut metadata) = (None, None);
    for (guid, region, required) in entries {
        let slot = match guid {
            REGION_BAT => &mut bat,
            REGION_METADATA => &mut metadata,
            unknown if required => {
                return Err(corrupt("region table", at, "known required regions", format!("{unknown}")));
            }
            _ => continue,
        };
        if slot.replace(region).is_some() {
            return Err(corrupt("region table", at, format!("one region {guid}"), "two"));
        }
        space.take(region.at, region.len, at, || format!("region {guid}"))?;
    }
    match (bat, metadata) {
        (Some(bat), Some(metadata)) => Ok(Regions { bat, metadata }),
        (None, _) => Err(corrupt("region table", at, "a BAT region", "none")),
        (_, None) => Err(corrupt("region table", at, "a metadata region", "none")),
    }
}

/// One table of two is used. Returns where it lies.
fn noted(used: u64, error: &ReadError, notes: &mut Vec<String>) -> u64 {
    notes.push(format!("one of the two region tables is not valid, the one at {used:#x} was used: {error}"));
    used
}

type RegionEntry = (Guid, Region, bool);

fn region_table_at(view: &FileView, at: u64) -> Result<Vec<RegionEntry>, ReadError> {
    let mut bytes = vec![0; TABLE_LEN];
    view.read(at, &mut bytes)?;
    let bad = |what: &str, wanted: String, found: String| {
        Err(corrupt(format!("region table {what}"), at, wanted, found))
    };
    let Ok((raw, entries)) = RawRegionTable::read_from_prefix(&bytes) else {
        return bad("length", TABLE_LEN.to_string(), bytes.len().to_string());
    };
    if raw.signature != *b"regi" {
        return bad("signature", "`regi`".into(), format!("{:02x?}", raw.signature));
    }
    let (stored, computed) = (raw.checksum.get(), checksum(&bytes));
    if stored != computed {
        return bad("CRC-32C", format!("{computed:#010x}"), format!("{stored:#010x}"));
    }
    let count = raw.entry_count.get() as usize;
    if count > TABLE_ENTRIES_MAX {
        return bad("entry count", format!("at most {TABLE_ENTRIES_MAX}"), count.to_string());
    }
    let mut regions = Vec::new();
    for slot in entries.as_chunks::<32>().0.iter().take(count) {
        let Ok(raw) = RawRegion::read_from_bytes(slot.as_slice()) else { continue };
        let region = Region { at: raw.at.get(), len: raw.len.get().into() };
        if region.at < MIB
            || !region.at.is_multiple_of(MIB)
            || region.len == 0
            || !region.len.is_multiple_of(MIB)
        {
            let found = format!("{:#x} bytes at {:#x}", region.len, region.at);
            return bad("entry", "whole MiB, from 1 MiB on".into(), found);
        }
        regions.push((Guid::from_disk(raw.guid), region, raw.required.get() & 1 == 1));
    }
    Ok(regions)
}
