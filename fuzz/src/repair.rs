//! Checksums put right, so that a mutation is not stopped by the first of them. Written from the specifications, not from the engine.

use engine::container::Format;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Longest log entry that is put right, in bytes.
const ENTRY_MAX: u64 = 1 << 20;
/// Most log entries that are put right.
const ENTRIES_MAX: usize = 64;

/// Put the checksums of an image right, as far as they can be found.
///
/// # Errors
/// What the system says.
pub fn repair(file: &File, len: u64, format: Format) -> io::Result<()> {
    match format {
        Format::Vhd => vhd(file, len),
        Format::Vhdx => vhdx(file, len),
        Format::Raw | Format::Qcow2 | Format::Vmdk => Ok(()),
    }
}

/// Footer and its copy, and the dynamic disk header each of them leads to. VHD 1.0.
fn vhd(file: &File, len: u64) -> io::Result<()> {
    for at in [len.saturating_sub(512), len.saturating_sub(511), 0] {
        let Some(footer) = read(file, len, at, 512.min(len.saturating_sub(at)))? else { continue };
        if footer.get(..8) != Some(b"conectix") {
            continue;
        }
        let header_at = be64(&footer, 16);
        if let Some(mut header) = read(file, len, header_at, 1024)?.filter(|h| h.starts_with(b"cxsparse")) {
            file.write_all_at(&complement(&mut header, 36), header_at + 36)?;
        }
        let mut footer = footer;
        file.write_all_at(&complement(&mut footer, 64), at + 64)?;
    }
    Ok(())
}

/// One's complement of the sum of all bytes but the four at `field`.
fn complement(bytes: &mut [u8], field: usize) -> [u8; 4] {
    if let Some(sum) = bytes.get_mut(field..field + 4) {
        sum.fill(0);
    }
    (!bytes.iter().fold(0u32, |sum, b| sum.wrapping_add(u32::from(*b)))).to_be_bytes()
}

/// Headers, region tables, and the entries of the log that either header names. \[MS-VHDX\] §2.2, §2.3.
fn vhdx(file: &File, len: u64) -> io::Result<()> {
    for (at, size, signature) in [
        (0x1_0000, 4096, b"head"),
        (0x2_0000, 4096, b"head"),
        (0x3_0000, 65536, b"regi"),
        (0x4_0000, 65536, b"regi"),
    ] {
        let Some(mut bytes) = read(file, len, at, size)?.filter(|b| b.starts_with(signature)) else {
            continue;
        };
        if signature == b"head" && bytes[48..64] != [0; 16] {
            log(file, len, le64(&bytes, 72), u64::from(le32(&bytes, 68)))?;
        }
        bytes[4..8].fill(0);
        file.write_all_at(&crc32c::crc32c(&bytes).to_le_bytes(), at + 4)?;
    }
    Ok(())
}

/// The log is a ring of sectors; an entry may go on at its beginning.
fn log(file: &File, len: u64, log_at: u64, log_len: u64) -> io::Result<()> {
    if log_len == 0
        || !log_len.is_multiple_of(4096)
        || log_at.checked_add(log_len).is_none_or(|end| end > len)
    {
        return Ok(());
    }
    // Looking at the first sectors is enough: an input has room for few entries.
    let sectors = (log_len / 4096).min(4096);
    let mut found = 0;
    for sector in (0..sectors.min(64)).chain(sectors.saturating_sub(64).max(64)..sectors) {
        let at = sector * 4096;
        let Some(head) = read(file, len, log_at + at, 64)? else { continue };
        let size = u64::from(le32(&head, 8));
        if !head.starts_with(b"loge")
            || size < 64
            || !size.is_multiple_of(4096)
            || size > log_len.min(ENTRY_MAX)
        {
            continue;
        }
        let first = size.min(log_len - at);
        let (Some(mut entry), Some(rest)) =
            (read(file, len, log_at + at, first)?, read(file, len, log_at, size - first)?)
        else {
            continue;
        };
        entry.extend(rest);
        entry[4..8].fill(0);
        file.write_all_at(&crc32c::crc32c(&entry).to_le_bytes(), log_at + at + 4)?;
        found += 1;
        if found == ENTRIES_MAX {
            break;
        }
    }
    Ok(())
}

/// `size` bytes at `at`, or nothing where the file does not have them.
fn read(file: &File, len: u64, at: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    if at.checked_add(size).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize]; // at most ENTRY_MAX
    file.read_exact_at(&mut bytes, at).map(|()| Some(bytes))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
}
