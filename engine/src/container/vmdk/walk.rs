//! A walk over the tables of a sparse extent: that everything they point to lies in the file. Virtual Disk Format 5.0, "Grain Directory" and
//! "Grain Table".
//!
//! QEMU's driver reads what lies behind the end of the file as zeros and reports no error. QEMU 7.2 itself leaves every grain whole; a grain that
//! reaches beyond the end of the disk is wanted only as far as the disk goes. The redundant directory is nobody's concern here: QEMU does not read
//! grains through it.

use super::SECTOR;
use super::sparse::SparseHeader;
use crate::container::corrupt;
use crate::container::view::FileView;
use crate::disk::ReadError;
use crate::disk::file::Stored;

/// Entries of a grain directory that are looked at, 4 bytes each: a file of 2 TiB, as far as 32-bit sector numbers reach, has no more with grains of a
/// single sector.
const DIRECTORY_MAX: u64 = 8 << 20;
/// What stands before the data of a compressed grain: its place on the disk and its length. "Compressed Grains".
const GRAIN_MARKER: u64 = 12;

/// That the file has all that the tables point to. Of a compressed grain that is its beginning: its data has a checksum of its own, and QEMU
/// reports an error for what was cut. A stream with its directory at the end is left to QEMU, which demands the footer that ends such a file.
pub(super) fn check(view: &FileView, header: &SparseHeader) -> Result<(), ReadError> {
    let Some(directory_at) = header.directory_at else { return Ok(()) };
    let grain_sectors = header.grain / SECTOR;
    let count = header.sectors.div_ceil(header.table_entries * grain_sectors); // at most 2^30: bounded by the parser
    if count > DIRECTORY_MAX {
        let wanted = format!("at most {DIRECTORY_MAX} entries");
        return Err(corrupt("VMDK grain directory", directory_at, wanted, count));
    }
    let within = |at: u64, len: u64| at.checked_add(len).is_some_and(|end| end <= view.len());
    if !within(directory_at, count * 4) {
        let wanted = format!("{count} entries within the file's {:#x} bytes", view.len());
        return Err(corrupt("VMDK grain directory", directory_at, wanted, "a shorter file"));
    }
    let table_len = header.table_entries * 4;
    let mut hole_end = 0;
    for (sector, i) in tables(view, directory_at, count)? {
        let i = u64::from(i);
        let (entry_at, table_at) = (directory_at + i * 4, u64::from(sector) * SECTOR);
        if !within(table_at, table_len) {
            let wanted = format!("a table within the file's {:#x} bytes", view.len());
            return Err(corrupt("VMDK grain directory entry", entry_at, wanted, format!("{table_at:#x}")));
        }
        let end = table_at + table_len;
        if end > hole_end
            && let (Stored::Hole, len) = view.stored(table_at)?
        {
            hole_end = table_at.saturating_add(len);
        }
        // A table that is a hole of the file says that no grain is there.
        if end > hole_end {
            check_table(view, header, table_at, i)?;
        }
    }
    Ok(())
}

/// The grain tables in the order of the file: the sector of each, and its place in the directory.
fn tables(view: &FileView, directory_at: u64, count: u64) -> Result<Vec<(u32, u32)>, ReadError> {
    let mut tables: Vec<(u32, u32)> = read_entries(view, directory_at, count)?
        .into_iter()
        .zip(0..)
        .filter(|(sector, _)| *sector != 0)
        .collect();
    tables.sort_unstable();
    match tables.iter().zip(tables.iter().skip(1)).find(|((a, _), (b, _))| a == b) {
        Some((_, (_, i))) => {
            let at = directory_at + u64::from(*i) * 4;
            Err(corrupt("VMDK grain directory entry", at, "a table of its own", "one used twice"))
        }
        None => Ok(tables),
    }
}

/// The grains of the table at `table_at`, which is the `index`th of the directory.
fn check_table(view: &FileView, header: &SparseHeader, table_at: u64, index: u64) -> Result<(), ReadError> {
    let disk_len = header.sectors * SECTOR; // at most 64 TiB
    for (j, sector) in (0u64..).zip(read_entries(view, table_at, header.table_entries)?) {
        if sector == 0 || Some(sector) == header.zero_entry {
            continue;
        }
        // No grain begins behind the end of the disk; what is said about one is read by nobody.
        let disk_at = (index * header.table_entries + j).saturating_mul(header.grain);
        let Some(left) = disk_len.checked_sub(disk_at).filter(|left| *left > 0) else { return Ok(()) };
        let needed = if header.compressed { GRAIN_MARKER } else { header.grain.min(left) };
        let at = u64::from(sector) * SECTOR;
        if at.checked_add(needed).is_none_or(|end| end > view.len()) {
            let wanted = format!("a grain within the file's {:#x} bytes", view.len());
            return Err(corrupt("VMDK grain table entry", table_at + j * 4, wanted, format!("{at:#x}")));
        }
    }
    Ok(())
}

fn read_entries(view: &FileView, at: u64, count: u64) -> Result<Vec<u32>, ReadError> {
    let mut bytes = vec![0; count as usize * 4]; // at most DIRECTORY_MAX of them
    view.read(at, &mut bytes)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
}
