//! What must hold of whatever LVM2 makes of two physical volumes, the two halves of an image.
//!
//! - each disk is answered for; what is not sound says why, in words that a terminal can show;
//! - a logical volume is hidden with a reason, or a disk of the length that was said, of which all of `walk` holds.

use super::walk;
use engine::disk::{DiskRef, Slice};
use engine::units::{ByteLen, ByteOffset};
use engine::volume::lvm::{Lvm, Member, look};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Logical volumes that are walked.
const WALKED_MAX: usize = 6;
/// Longest text whose checksum is put right, in bytes.
const TEXT_MAX: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// Look at the halves of `disk` and check what is said. Returns whether a logical volume could be read.
///
/// # Panics
/// When something does not hold.
pub fn visit(disk: &DiskRef, seed: u64) -> bool {
    let len = disk.geometry().len.get();
    let half = half(len);
    let slice = |at: u64, len: u64| -> DiskRef {
        Arc::new(Slice::new(disk.clone(), ByteOffset(at), ByteLen(len)).expect("a half"))
    };
    let halves = [slice(0, half), slice(half, len - half)];
    let found = look(&halves);
    check_words(&found);
    assert_eq!(found.physical.len(), halves.len(), "each disk is answered for");
    let mut walked = 0;
    for group in &found.groups {
        for lv in &group.logical {
            assert!(lv.on.iter().all(|index| *index < halves.len()), "{lv:?}");
            let Ok(content) = &lv.content else { continue };
            assert!(lv.len.get() > 0 && content.geometry().len == lv.len, "{lv:?}");
            assert!(lv.len.get() <= len, "{lv:?} is longer than all there is");
            if walked < WALKED_MAX {
                walk::check_disk(content.as_ref(), seed);
                walked += 1;
            }
        }
    }
    walked > 0
}

fn check_words(found: &Lvm) {
    let shown = |text: &str| assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    for physical in &found.physical {
        physical.damaged.iter().for_each(|e| shown(&e.to_string()));
        match &physical.member {
            Member::Of(group) => assert!(*group < found.groups.len(), "{physical:?}"),
            Member::Unreadable => assert!(!physical.damaged.is_empty(), "{physical:?}"),
            Member::Left(name) => shown(name),
            Member::Free | Member::Elsewhere => {}
        }
    }
    for group in &found.groups {
        shown(&group.name);
        for lv in &group.logical {
            shown(&lv.name);
            lv.content.as_ref().err().iter().for_each(|why| shown(&why.to_string()));
        }
    }
}

fn half(len: u64) -> u64 {
    len / 2 / SECTOR * SECTOR
}

/// Put right the checksums of labels, of the headers of the metadata areas they name, and of the texts these name. lvm2 layout.h.
///
/// # Errors
/// What the system says.
pub fn repair(file: &File, len: u64) -> io::Result<()> {
    let half = half(len);
    for (begin, len) in [(0, half), (half, len - half)] {
        for sector in 0..4 {
            let at = sector * SECTOR;
            let Some(mut label) = read(file, begin, len, at, SECTOR)? else { break };
            if !label.starts_with(b"LABELONE") {
                continue;
            }
            for area in areas(&label) {
                repair_area(file, begin, len, area)?;
            }
            let sum = crc(&label[20..]);
            label[16..20].copy_from_slice(&sum.to_le_bytes());
            file.write_all_at(&label, begin + at)?;
        }
    }
    Ok(())
}

/// Where the metadata areas are: the second list behind the header.
fn areas(label: &[u8]) -> Vec<u64> {
    let header = usize::from(u16::from_le_bytes([label[20], label[21]]));
    let mut lists = label.get(header + 40..).unwrap_or_default().chunks_exact(16).map(|c| number(c, 0));
    lists.by_ref().take_while(|at| *at != 0).for_each(drop);
    lists.take_while(|at| *at != 0).collect()
}

fn repair_area(file: &File, begin: u64, len: u64, at: u64) -> io::Result<()> {
    let Some(mut header) = read(file, begin, len, at, SECTOR)? else { return Ok(()) };
    let (area_len, text_at, text_len) = (number(&header, 32), number(&header, 40), number(&header, 48));
    let first = area_len.saturating_sub(text_at).min(text_len);
    if text_len <= TEXT_MAX
        && let Some(mut text) = read(file, begin, len, at.saturating_add(text_at), first)?
        && let Some(rest) = read(file, begin, len, at + SECTOR, text_len - first)?
    {
        text.extend(rest);
        header[56..60].copy_from_slice(&crc(&text).to_le_bytes());
    }
    let sum = crc(&header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&header, begin + at)
}

/// Bytes of one half, or nothing where it does not have them.
fn read(file: &File, begin: u64, len: u64, at: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    if at.checked_add(size).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize]; // at most TEXT_MAX
    file.read_exact_at(&mut bytes, begin + at).map(|()| Some(bytes))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// lvm2 lib/misc/crc.c: nothing is inverted.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |s, _| (s >> 1) ^ (0xedb8_8320 & (s & 1).wrapping_neg()))
    })
}
