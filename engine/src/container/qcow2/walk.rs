//! A walk over the tables of a qcow2: that everything they point to lies in the file.
//!
//! QEMU's driver reads what lies behind the end of the file as zeros and reports no error, so a copy that was cut would be a disk of zeros with
//! success. What QEMU itself leaves at the end of a file (7.2, tried with `qemu-img` and `qemu-io`):
//!
//! - The file holds every standard cluster whole; older versions end with the disk, within the last cluster.
//! - With extended L2 entries it ends where the last subcluster does that is allocated.
//! - `qemu-img convert -c` fills the last sector of compressed data; who writes compressed clusters otherwise ends within it.
//!
//! So what the *disk* needs must be there, and only the last sector of compressed data may be partial, with a note: how many of its bytes the data
//! takes is written nowhere.

use super::header::Header;
use super::{COMPRESSED, COPIED, OFFSET_MASK, be64};
use crate::container::view::FileView;
use crate::container::{corrupt, read_file};
use crate::disk::file::Stored;
use crate::disk::{ReadError, SourceFile};
use std::ops::ControlFlow;

/// Compressed data is counted in these, whatever the sectors of the disk. `docs/interop/qcow2.txt`, "Compressed Clusters Descriptor".
const SECTOR: u64 = 512;
/// Subclusters of a cluster. "Extended L2 Entries".
const SUBCLUSTERS: u64 = 32;

/// An entry of an L2 table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Where it lies in the file.
    pub at: u64,
    /// Where its cluster lies on the disk.
    pub disk_at: u64,
    /// Its first 8 bytes.
    pub word: u64,
    /// The second 8 bytes of an extended one: which subclusters are allocated, which read as zeros.
    pub subclusters: Option<u64>,
}

/// The L1 table: the offset of each L2 table, 0 for none. Each of them lies in the file.
pub(super) fn read_l1(source: &SourceFile, header: &Header) -> Result<Vec<u64>, ReadError> {
    let mut bytes = vec![0; header.l1_len * 8]; // bounded by `read_header`
    read_file(source, header.l1_at, &mut bytes)?;
    let mut l1 = Vec::with_capacity(header.l1_len);
    for (i, entry) in (0u64..).zip(be64(&bytes)) {
        let at = header.l1_at + i * 8;
        if entry & !(OFFSET_MASK | COPIED) != 0 || entry & OFFSET_MASK & (header.cluster_size() - 1) != 0 {
            return Err(corrupt("L1 entry", at, "an offset of whole clusters", format!("{entry:#x}")));
        }
        let table = entry & OFFSET_MASK;
        if table != 0 && table.checked_add(header.cluster_size()).is_none_or(|end| end > source.len()) {
            let wanted = format!("a table within the file's {:#x} bytes", source.len());
            return Err(corrupt("L1 entry", at, wanted, format!("{table:#x}")));
        }
        l1.push(table);
    }
    Ok(l1)
}

/// Show every entry that is not zero, in the order of the tables in the file, until `see` has enough. A table that is a hole of the file is not
/// read: all it says is that nothing is there. One table is in memory at a time.
pub(super) fn entries(
    view: &FileView,
    header: &Header,
    l1: &[u64],
    mut see: impl FnMut(Entry) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let mut tables: Vec<(u64, u64)> = l1.iter().copied().zip(0u64..).filter(|(at, _)| *at != 0).collect();
    tables.sort_unstable();
    let pairs = tables.iter().zip(tables.iter().skip(1));
    if let Some((_, (_, i))) = pairs.into_iter().find(|((a, _), (b, _))| a == b) {
        return Err(corrupt("L1 entry", header.l1_at + i * 8, "a table of its own", "one used twice"));
    }
    let words = (header.entry_size() / 8) as usize; // 1 or 2
    let mut hole_end = 0;
    for (table_at, i) in tables {
        let end = table_at.saturating_add(header.cluster_size());
        if end <= hole_end {
            continue;
        }
        if let (Stored::Hole, len) = view.stored(table_at)? {
            hole_end = table_at.saturating_add(len);
            if end <= hole_end {
                continue;
            }
        }
        let first = i * header.per_table();
        for (j, entry) in (0u64..).zip(read_table(view, header, table_at)?.chunks_exact(words)) {
            let Some(word) = entry.first().copied().filter(|_| entry.iter().any(|w| *w != 0)) else {
                continue;
            };
            let entry = Entry {
                at: table_at + j * header.entry_size(),
                disk_at: (first + j) * header.cluster_size(), // below 128 TiB: `read_header`
                word,
                subclusters: entry.get(1).copied(),
            };
            if see(entry)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The words of an L2 table.
pub(super) fn read_table(view: &FileView, header: &Header, at: u64) -> Result<Vec<u64>, ReadError> {
    let mut bytes = vec![0; header.cluster_size() as usize]; // at most 2 MiB
    view.read(at, &mut bytes)?;
    Ok(be64(&bytes).collect())
}

/// That the file has the first `needed` bytes of the cluster at `data`, and at least one.
pub(super) fn check_cluster(
    header: &Header,
    file_len: u64,
    entry: Entry,
    data: u64,
    needed: u64,
) -> Result<(), ReadError> {
    // What lies behind the end of the disk is nobody's.
    let needed = needed.min(header.len.saturating_sub(entry.disk_at)).max(1);
    if data.is_multiple_of(header.cluster_size())
        && data.checked_add(needed).is_some_and(|end| end <= file_len)
    {
        return Ok(());
    }
    let wanted = format!("a cluster within the file's {file_len:#x} bytes");
    Err(corrupt("L2 entry", entry.at, wanted, format!("{data:#x}")))
}

/// That the file has all that the tables point to. The bytes that the last sector of compressed data lacks, 0 if none.
pub(super) fn check(source: &SourceFile, view: &FileView, header: &Header) -> Result<u64, ReadError> {
    let l1 = read_l1(source, header)?;
    let mut lacks = 0;
    entries(view, header, &l1, |entry| {
        if entry.word & COMPRESSED != 0 {
            lacks = check_compressed(header, view.len(), entry)?.max(lacks);
            return Ok(ControlFlow::Continue(()));
        }
        let data = entry.word & OFFSET_MASK;
        let needed = match entry.subclusters {
            // The lower half says which are allocated.
            Some(bits) => {
                let used = SUBCLUSTERS - u64::from((bits as u32).leading_zeros());
                used * (header.cluster_size() / SUBCLUSTERS)
            }
            // Reads as zeros: room that was set aside.
            None if entry.word & header.zero_flag() != 0 => 0,
            None => header.cluster_size(),
        };
        if data != 0 && needed > 0 {
            check_cluster(header, view.len(), entry, data, needed)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(lacks)
}

/// "Compressed Clusters Descriptor": bits 0 to x - 1 are the offset, x = 62 - (cluster_bits - 8); those above, to 61, the sectors beyond the one
/// in which the data begins. The bytes that the last sector lacks.
fn check_compressed(header: &Header, file_len: u64, entry: Entry) -> Result<u64, ReadError> {
    let offset_bits = 70 - header.cluster_bits; // 49 to 61
    let data = entry.word & ((1 << offset_bits) - 1);
    let sectors = ((entry.word & (COMPRESSED - 1)) >> offset_bits) + 1; // at most 2^13
    let end = (data - data % SECTOR).saturating_add(sectors * SECTOR);
    let lacks = end.saturating_sub(file_len);
    // At least the byte it begins with.
    if lacks >= SECTOR || data >= file_len {
        let wanted = format!("compressed data within the file's {file_len:#x} bytes");
        return Err(corrupt("L2 entry", entry.at, wanted, format!("{data:#x} to {end:#x}")));
    }
    Ok(lacks)
}
