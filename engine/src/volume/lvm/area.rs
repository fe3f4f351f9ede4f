//! A metadata area: a header, and behind it a ring in which each new text is written behind the one before.
//!
//! ```text
//!   header 512 │ … old texts … │ text in force, first part ┐
//!              │ its last part ◄───────────────────────────┘ the ring goes on behind the header
//! ```
//! lvm2 lib/format_text/format-text.c `_vg_read_raw_area`.

use super::LvmError;
use super::format::{
    AREA_HEADER_LEN, AREA_MAGIC, AREA_SUMMED_FROM, AREA_VERSION, IGNORED, RawArea, check_crc, crc,
};
use crate::disk::{Disk, read_vec};
use crate::units::ByteOffset;
use zerocopy::FromBytes;

/// Longest text, in bytes: a group of ten thousand logical volumes. An area is usually 1 MiB.
pub(super) const TEXT_MAX: u64 = 4 << 20;

/// The text in force in the area at `at`; `None` when there is none, or the area is marked to be passed over.
pub(super) fn read(disk: &dyn Disk, at: u64) -> Result<Option<Vec<u8>>, LvmError> {
    const WHAT: &str = "header of the metadata area";
    let bytes = read_vec(disk, ByteOffset(at), AREA_HEADER_LEN)?;
    let Ok((raw, _)) = RawArea::read_from_prefix(&bytes) else { return Ok(None) };
    let summed = bytes.get(AREA_SUMMED_FROM..).unwrap_or_default();
    check_crc(WHAT, at, raw.crc.get(), crc(&[summed]))?;
    let wrong = |wanted: String, found: String| LvmError::Field { what: WHAT, at, wanted, found };
    if raw.magic != *AREA_MAGIC {
        return Err(wrong("lvm2's magic bytes".into(), raw.magic.escape_ascii().to_string()));
    }
    if raw.version.get() != AREA_VERSION {
        return Err(wrong(format!("version {AREA_VERSION}"), raw.version.to_string()));
    }
    if raw.at.get() != at {
        return Err(wrong("its own place in it".into(), format!("{:#x}", raw.at)));
    }
    if raw.text_at.get() == 0 || raw.text_flags.get() & IGNORED != 0 {
        return Ok(None);
    }
    text(disk, &raw).map(Some)
}

fn text(disk: &dyn Disk, raw: &RawArea) -> Result<Vec<u8>, LvmError> {
    const WHAT: &str = "metadata text";
    let (area, header) = (raw.at.get(), AREA_HEADER_LEN as u64);
    let (area_len, text_at, len) = (raw.len.get(), raw.text_at.get(), raw.text_len.get());
    let at = area.saturating_add(text_at);
    let wrong = |wanted: String| {
        let found = format!("{len} bytes at offset {text_at} of {area_len}");
        LvmError::Field { what: WHAT, at, wanted, found }
    };
    if len == 0 || len > TEXT_MAX {
        return Err(wrong(format!("1 to {TEXT_MAX} bytes")));
    }
    let first = area_len.checked_sub(text_at).filter(|_| text_at >= header).map(|room| room.min(len));
    let Some(first) = first.filter(|first| *first > 0) else {
        return Err(wrong("a place within the area".into()));
    };
    // What went on at the beginning of the ring ends before the text begins.
    let second = len - first;
    if second > text_at - header {
        return Err(wrong("a text that fits the ring".into()));
    }
    let begin = area.checked_add(header).ok_or_else(|| wrong("a place on the disk".into()))?;
    // Both are at most TEXT_MAX.
    let mut text = read_vec(disk, ByteOffset(at), first as usize)?;
    text.extend(read_vec(disk, ByteOffset(begin), second as usize)?);
    check_crc(WHAT, at, raw.text_crc.get(), crc(&[&text]))?;
    Ok(text)
}
