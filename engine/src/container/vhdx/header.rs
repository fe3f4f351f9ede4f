//! Headers and region tables: where everything else is. \[MS-VHDX\] §2.2.

use super::format::{
    FILE_LEN_MAX, HEADER_LEN, HEADERS_AT, MIB, REGION_BAT, REGION_METADATA, REGION_TABLES_AT, RawHeader,
    RawRegion, RawRegionTable, SIGNATURE, TABLE_ENTRIES_MAX, TABLE_LEN, checksum,
};
use super::space::Space;
use crate::container::{corrupt, printable, read_file};
use crate::disk::{ReadError, SourceFile};
use crate::table::guid::Guid;
use zerocopy::FromBytes;

/// The current header, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub at: u64,
    pub sequence: u64,
    /// Not nil: the log holds changes that are not in place yet. §2.2.2.
    pub log_guid: Guid,
    pub log_at: u64,
    pub log_len: u64,
}

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

/// Signature, and the name of the program that made the file. §2.2.1.
pub(super) fn read_identifier(source: &SourceFile) -> Result<Option<String>, ReadError> {
    let mut bytes = [0; 8 + 512];
    read_file(source, 0, &mut bytes)?;
    let (signature, creator) = bytes.split_at(8);
    if signature != SIGNATURE {
        return Err(corrupt("file identifier", 0, "`vhdxfile`", format!("{signature:02x?}")));
    }
    if source.len() > FILE_LEN_MAX {
        return Err(corrupt(
            "file length",
            0,
            format!("at most {FILE_LEN_MAX:#x}"),
            format!("{:#x}", source.len()),
        ));
    }
    let units = creator.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    Ok(printable(char::decode_utf16(units).map(|c| c.unwrap_or('?'))))
}

/// The current one of the two headers: valid, with the higher sequence number. One invalid header is no damage, it is how
/// an interrupted update looks. §2.2.2.
pub(super) fn read_header(source: &SourceFile) -> Result<Header, ReadError> {
    let [first_at, second_at] = HEADERS_AT;
    match (header_at(source, first_at), header_at(source, second_at)) {
        (Ok((a, raw_a)), Ok((b, raw_b))) => match a.sequence.cmp(&b.sequence) {
            std::cmp::Ordering::Greater => Ok(a),
            std::cmp::Ordering::Less => Ok(b),
            std::cmp::Ordering::Equal if raw_a == raw_b => Ok(a),
            std::cmp::Ordering::Equal => {
                let wanted = format!("a sequence number other than that of the header at {first_at:#x}");
                Err(corrupt("second header", second_at, wanted, b.sequence))
            }
        },
        (Ok((header, _)), Err(_)) | (Err(_), Ok((header, _))) => Ok(header),
        (Err(ReadError::Corrupt { what, at, wanted, found }), Err(second)) => {
            let found = format!("{found}; the other header is no better: {second}");
            Err(ReadError::Corrupt { what, at, wanted, found })
        }
        (Err(first), Err(_)) => Err(first),
    }
}

fn header_at(source: &SourceFile, at: u64) -> Result<(Header, Vec<u8>), ReadError> {
    let mut bytes = vec![0; HEADER_LEN];
    read_file(source, at, &mut bytes)?;
    let bad =
        |what: &str, wanted: String, found: String| Err(corrupt(format!("header {what}"), at, wanted, found));
    let Ok((raw, _)) = RawHeader::read_from_prefix(&bytes) else {
        return bad("length", HEADER_LEN.to_string(), bytes.len().to_string());
    };
    if raw.signature != *b"head" {
        return bad("signature", "`head`".into(), format!("{:02x?}", raw.signature));
    }
    let (stored, computed) = (raw.checksum.get(), checksum(&bytes));
    if stored != computed {
        return bad("CRC-32C", format!("{computed:#010x}"), format!("{stored:#010x}"));
    }
    if raw.version.get() != 1 {
        return bad("version", "1".into(), raw.version.get().to_string());
    }
    if raw.log_version.get() != 0 {
        return bad("log version", "0".into(), raw.log_version.get().to_string());
    }
    let (log_at, log_len) = (raw.log_at.get(), u64::from(raw.log_len.get()));
    if log_len == 0 || log_len % MIB != 0 || log_at < MIB || log_at % MIB != 0 {
        let found = format!("{log_len:#x} bytes at {log_at:#x}");
        return bad("log", "whole MiB, from 1 MiB on".into(), found);
    }
    let log_guid = Guid::from_disk(raw.log_guid);
    Ok((Header { at, sequence: raw.sequence.get(), log_guid, log_at, log_len }, bytes))
}

/// The regions, from the first of the two tables that is valid. Both must say the same when both are. §2.2.3.
pub(super) fn read_regions(source: &SourceFile, space: &mut Space) -> Result<Regions, ReadError> {
    let [first_at, second_at] = REGION_TABLES_AT;
    let first = region_table_at(source, first_at);
    let second = region_table_at(source, second_at);
    let (at, entries) = match (first, second) {
        (Ok(a), Ok(b)) if a != b => {
            let wanted = format!("the same as the region table at {first_at:#x}");
            return Err(corrupt("second region table", second_at, wanted, "another valid one"));
        }
        (Ok(entries), _) => (first_at, entries),
        (Err(_), Ok(entries)) => (second_at, entries),
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
        space.take(region.at, region.len, &format!("region {guid}"), at)?;
    }
    match (bat, metadata) {
        (Some(bat), Some(metadata)) => Ok(Regions { bat, metadata }),
        (None, _) => Err(corrupt("region table", at, "a BAT region", "none")),
        (_, None) => Err(corrupt("region table", at, "a metadata region", "none")),
    }
}

type RegionEntry = (Guid, Region, bool);

fn region_table_at(source: &SourceFile, at: u64) -> Result<Vec<RegionEntry>, ReadError> {
    let mut bytes = vec![0; TABLE_LEN];
    read_file(source, at, &mut bytes)?;
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
