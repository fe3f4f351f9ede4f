//! Metadata items: size and shape of the disk. \[MS-VHDX\] §2.6.

use super::format::{
    HAS_PARENT, ITEM_DISK_ID, ITEM_FILE_PARAMETERS, ITEM_IS_REQUIRED, ITEM_LOGICAL_SECTOR,
    ITEM_PARENT_LOCATOR, ITEM_PHYSICAL_SECTOR, ITEM_VIRTUAL_LEN, LEAVE_BLOCKS_ALLOCATED, MIB, RawItem,
    RawMetadataTable, TABLE_ENTRIES_MAX, TABLE_LEN, VIRTUAL_LEN_MAX,
};
use super::locator::{LOCATOR_LEN_MAX, Locator, parse_locator};
use super::regions::Region;
use crate::container::view::FileView;
use crate::container::{Layout, corrupt};
use crate::disk::ReadError;
use crate::table::guid::Guid;
use crate::units::SectorSize;
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// What the metadata region says, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Metadata {
    pub virtual_len: u64,
    pub block_size: u64,
    pub sector: SectorSize,
    pub physical_sector: SectorSize,
    pub disk_id: Guid,
    pub layout: Layout,
    /// Where the parent of a differencing disk is, and nothing for any other disk.
    pub parent: Option<Locator>,
}

/// An item's place in the file.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    len: u32,
}

pub(super) fn read_metadata(view: &FileView, region: Region) -> Result<Metadata, ReadError> {
    let items = Items { view, region, places: read_table(view, region)? };
    let (at, parameters) = items.get::<8>(ITEM_FILE_PARAMETERS, "file parameters")?;
    let block_size = u64::from(first_u32(&parameters));
    let flags = u32::from_le_bytes([parameters[4], parameters[5], parameters[6], parameters[7]]);
    if !block_size.is_power_of_two() || !(MIB..=256 * MIB).contains(&block_size) {
        return Err(corrupt("block size", at, "a power of two from 1 MiB to 256 MiB", block_size));
    }
    let (at, bytes) = items.get::<4>(ITEM_LOGICAL_SECTOR, "logical sector size")?;
    let sector = sector_size(at, "logical sector size", first_u32(&bytes))?;
    let (at, bytes) = items.get::<4>(ITEM_PHYSICAL_SECTOR, "physical sector size")?;
    let physical_sector = sector_size(at, "physical sector size", first_u32(&bytes))?;
    let (at, bytes) = items.get::<8>(ITEM_VIRTUAL_LEN, "virtual disk size")?;
    let virtual_len = u64::from_le_bytes(bytes);
    if virtual_len == 0 || virtual_len > VIRTUAL_LEN_MAX || virtual_len % sector.bytes() != 0 {
        let wanted = format!("whole sectors of {} bytes, at most 64 TiB", sector.bytes());
        return Err(corrupt("virtual disk size", at, wanted, virtual_len));
    }
    let (_, id) = items.get::<16>(ITEM_DISK_ID, "virtual disk id")?;
    // A child is neither fixed nor dynamic: the other flag is ignored. §2.6.2.1.
    let (layout, parent) = match (flags & HAS_PARENT != 0, flags & LEAVE_BLOCKS_ALLOCATED != 0) {
        (true, _) => (Layout::Differencing, Some(items.locator()?)),
        (false, true) => (Layout::Fixed, None),
        (false, false) => (Layout::Dynamic, None),
    };
    Ok(Metadata {
        virtual_len,
        block_size,
        sector,
        physical_sector,
        disk_id: Guid::from_disk(id),
        layout,
        parent,
    })
}

fn first_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

fn sector_size(at: u64, what: &str, bytes: u32) -> Result<SectorSize, ReadError> {
    SectorSize::try_from(bytes).map_err(|_| corrupt(what, at, "512 or 4096", bytes))
}

struct Items<'a> {
    view: &'a FileView,
    region: Region,
    places: BTreeMap<Guid, Place>,
}

impl Items<'_> {
    /// Offset in the file and bytes of an item that must be there and `N` bytes long.
    fn get<const N: usize>(&self, id: Guid, what: &str) -> Result<(u64, [u8; N]), ReadError> {
        let place = self.place(id, what)?;
        if place.len as usize != N {
            return Err(corrupt(format!("item {what}"), place.at, format!("{N} bytes"), place.len));
        }
        let mut bytes = [0; N];
        self.view.read(place.at, &mut bytes)?;
        Ok((place.at, bytes))
    }

    fn locator(&self) -> Result<Locator, ReadError> {
        let place = self.place(ITEM_PARENT_LOCATOR, "parent locator")?;
        if place.len > LOCATOR_LEN_MAX {
            let wanted = format!("at most {LOCATOR_LEN_MAX} bytes");
            return Err(corrupt("item parent locator", place.at, wanted, place.len));
        }
        let mut bytes = vec![0; place.len as usize];
        self.view.read(place.at, &mut bytes)?;
        parse_locator(place.at, &bytes)
    }

    fn place(&self, id: Guid, what: &str) -> Result<Place, ReadError> {
        self.places.get(&id).copied().ok_or_else(|| {
            corrupt("metadata table", self.region.at, format!("the item {what} ({id})"), "none")
        })
    }
}

fn read_table(view: &FileView, region: Region) -> Result<BTreeMap<Guid, Place>, ReadError> {
    let at = region.at;
    let mut bytes = vec![0; TABLE_LEN];
    view.read(at, &mut bytes)?;
    let Ok((raw, entries)) = RawMetadataTable::read_from_prefix(&bytes) else {
        return Err(corrupt("metadata table", at, TABLE_LEN, bytes.len()));
    };
    if raw.signature != *b"metadata" {
        return Err(corrupt("metadata table signature", at, "`metadata`", format!("{:02x?}", raw.signature)));
    }
    let count = usize::from(raw.entry_count.get());
    if count > TABLE_ENTRIES_MAX {
        return Err(corrupt("metadata table entry count", at, format!("at most {TABLE_ENTRIES_MAX}"), count));
    }
    let mut places = BTreeMap::new();
    for slot in entries.as_chunks::<32>().0.iter().take(count) {
        let Ok(raw) = RawItem::read_from_bytes(slot.as_slice()) else { continue };
        let id = Guid::from_disk(raw.id);
        let (offset, len) = (u64::from(raw.offset.get()), raw.len.get());
        let known = [
            ITEM_FILE_PARAMETERS,
            ITEM_VIRTUAL_LEN,
            ITEM_DISK_ID,
            ITEM_LOGICAL_SECTOR,
            ITEM_PHYSICAL_SECTOR,
            ITEM_PARENT_LOCATOR,
        ];
        if !known.contains(&id) {
            if raw.flags.get() & ITEM_IS_REQUIRED != 0 {
                return Err(corrupt("metadata table", at, "known required items", id));
            }
            continue;
        }
        // Items lie behind the table and within the region. §2.6.1.2.
        if offset < TABLE_LEN as u64 || offset + u64::from(len) > region.len {
            let wanted = format!("item {id} within the metadata region of {:#x} bytes", region.len);
            return Err(corrupt(
                "metadata table entry",
                at,
                wanted,
                format!("{len:#x} bytes at offset {offset:#x}"),
            ));
        }
        // No overflow: the region was found to end within the file.
        if places.insert(id, Place { at: at + offset, len }).is_some() {
            return Err(corrupt("metadata table", at, format!("one item {id}"), "two"));
        }
    }
    Ok(places)
}
