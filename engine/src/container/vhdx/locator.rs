//! Parent locator of a differencing disk: which file its parent is, and where it may be. \[MS-VHDX\] §2.6.2.6.

use super::format::{LOCATOR_VHDX, RawLocator, RawLocatorEntry};
use crate::container::corrupt;
use crate::container::gate::NAME_MAX;
use crate::disk::ReadError;
use crate::table::guid::Guid;
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// Longest locator that is read. Three paths of Windows' 32,767 characters are 192 KiB.
pub(super) const LOCATOR_LEN_MAX: u32 = 256 << 10;
/// Most keys; five are defined. §2.6.2.6.3.
const ENTRIES_MAX: usize = 64;
/// Keys of paths, in the order in which they are to be tried. §2.6.2.6.3.
const PATH_KEYS: [&str; 3] = ["relative_path", "volume_path", "absolute_win32_path"];

/// What the locator says, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Locator {
    /// The data write GUID that the parent must have: `parent_linkage`, and `parent_linkage2` if it is there. Either will do. §2.6.2.6.3.
    pub linkage: Vec<Guid>,
    /// Paths of the parent, to be tried in this order.
    pub names: Vec<String>,
}

/// The locator in `bytes`, which lie at `at` of the file.
pub(super) fn parse_locator(at: u64, bytes: &[u8]) -> Result<Locator, ReadError> {
    let Ok((raw, table)) = RawLocator::read_from_prefix(bytes) else {
        return Err(corrupt("parent locator", at, "20 bytes at least", bytes.len()));
    };
    let kind = Guid::from_disk(raw.locator_type);
    if kind != LOCATOR_VHDX {
        return Err(corrupt("type of the parent locator", at, LOCATOR_VHDX, kind));
    }
    let count = usize::from(raw.entry_count.get());
    let slots = table.as_chunks::<12>().0;
    if count > ENTRIES_MAX || count > slots.len() {
        let wanted = format!("at most {}", ENTRIES_MAX.min(slots.len()));
        return Err(corrupt("entry count of the parent locator", at, wanted, count));
    }
    let mut entries = BTreeMap::new();
    for slot in slots.iter().take(count) {
        let Ok(raw) = RawLocatorEntry::read_from_bytes(slot.as_slice()) else { continue };
        let key = text(at, bytes, raw.key_at.get(), raw.key_len.get())?;
        let value = text(at, bytes, raw.value_at.get(), raw.value_len.get())?;
        if let Some(first) = entries.insert(key.clone(), value) {
            return Err(corrupt(
                "parent locator",
                at,
                format!("one {key:?}"),
                format!("two, {first:?} first"),
            ));
        }
    }
    let mut linkage = Vec::new();
    for key in ["parent_linkage", "parent_linkage2"] {
        if let Some(value) = entries.get(key) {
            let guid = value.parse().map_err(|_| corrupt(key, at, "a GUID", format!("{value:?}")))?;
            linkage.push(guid);
        }
    }
    if !entries.contains_key("parent_linkage") {
        return Err(corrupt("parent locator", at, "the key parent_linkage", "none"));
    }
    let names = PATH_KEYS.iter().filter_map(|key| entries.remove(*key)).collect();
    Ok(Locator { linkage, names })
}

/// Text of `len` bytes at `offset` of the locator. UTF-16 that pairs up nowhere becomes a replacement character: such a name is not found.
fn text(at: u64, bytes: &[u8], offset: u32, len: u16) -> Result<String, ReadError> {
    let (from, len) = (offset as usize, usize::from(len));
    let found = || format!("{len} bytes at offset {from:#x}");
    if len > NAME_MAX || len % 2 != 0 {
        let wanted = format!("UTF-16 of at most {NAME_MAX} bytes");
        return Err(corrupt("text in the parent locator", at, wanted, found()));
    }
    let text = from.checked_add(len).and_then(|end| bytes.get(from..end)).ok_or_else(|| {
        let wanted = format!("text within the locator's {} bytes", bytes.len());
        corrupt("text in the parent locator", at, wanted, found())
    })?;
    let units = text.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    Ok(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}
