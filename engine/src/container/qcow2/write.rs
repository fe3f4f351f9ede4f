//! A new qcow2, written front to back. QEMU `docs/interop/qcow2.txt`.
//!
//! ```text
//! header | refcount table | L1 table | L2 tables and data clusters as they come … | refcount blocks
//! ```
//! Every cluster of the file is used once, so its reference counts are known at the end and never change.

use crate::container::export::{Sink, Storage};
use std::io;

/// QEMU's own default.
const CLUSTER_BITS: u32 = 16;
pub(in crate::container) const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of an L2 table.
const PER_L2: u64 = CLUSTER / 8;
/// 16-bit reference counts in one block ("refcount_order" 4).
const PER_REFCOUNT_BLOCK: u64 = CLUSTER / 2;
/// Largest disk, as for reading.
const LEN_MAX: u64 = 64 << 40;
/// "Refcount is exactly one" in L1 and L2 entries.
const COPIED: u64 = 1 << 63;
/// "Backing file format name string", a header extension.
const BACKING_FORMAT: u32 = 0xE279_2ACA;
/// Length of a version 3 header.
const HEADER_LEN: u32 = 104;
const REFCOUNT_TABLE_AT: u64 = CLUSTER;

/// What a child says of its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::container) struct BackingName {
    /// Name of the file, at most 1023 bytes.
    pub name: Vec<u8>,
    /// Its format, as QEMU calls it; at most 15 bytes.
    pub format: &'static str,
}

/// Writes clusters in ascending order of their place on the disk.
pub(in crate::container) struct Qcow2Writer {
    len: u64,
    backing: Option<BackingName>,
    refcount_table_clusters: u64,
    /// Offset of each L2 table, 0 for none; at most 1 MiB of them.
    l1: Vec<u64>,
    /// Index of the L2 table that is being filled, and its entries.
    l2: Option<(usize, Vec<u64>)>,
    /// Where the next new cluster goes.
    end: u64,
    /// The cluster placed last, and where it is.
    current: Option<(u64, u64)>,
}

impl Qcow2Writer {
    /// A writer for a disk of `len` bytes; `None` when the format cannot hold it.
    pub(in crate::container) fn new(len: u64) -> Option<Qcow2Writer> {
        if len == 0 || len > LEN_MAX || !len.is_multiple_of(512) {
            return None;
        }
        let tables = len.div_ceil(CLUSTER * PER_L2);
        let l1_clusters = (tables * 8).div_ceil(CLUSTER);
        // As if all were stored; the blocks that count the blocks themselves fit into the one more.
        let clusters = len.div_ceil(CLUSTER) + tables + l1_clusters + 2;
        let blocks = clusters.div_ceil(PER_REFCOUNT_BLOCK - 1) + 1;
        let refcount_table_clusters = (blocks * 8).div_ceil(CLUSTER);
        Some(Qcow2Writer {
            len,
            backing: None,
            refcount_table_clusters,
            l1: vec![0; tables as usize], // at most 131,072
            l2: None,
            end: REFCOUNT_TABLE_AT + (refcount_table_clusters + l1_clusters) * CLUSTER,
            current: None,
        })
    }

    /// The same, as a child: what is never placed shows this file.
    pub(in crate::container) fn on(self, backing: BackingName) -> Qcow2Writer {
        Qcow2Writer { backing: Some(backing), ..self }
    }

    fn l1_at(&self) -> u64 {
        REFCOUNT_TABLE_AT + self.refcount_table_clusters * CLUSTER
    }

    fn allocate(&mut self) -> u64 {
        let place = self.end;
        self.end += CLUSTER;
        place
    }

    /// A place for a cluster that was not placed yet.
    fn add(&mut self, out: &dyn Storage, cluster: u64) -> io::Result<u64> {
        let (table, entry) = ((cluster / PER_L2) as usize, (cluster % PER_L2) as usize);
        if self.l2.as_ref().is_none_or(|(current, _)| *current != table) {
            self.write_l2(out)?;
            let at = self.allocate();
            if let Some(slot) = self.l1.get_mut(table) {
                *slot = at;
            }
            self.l2 = Some((table, vec![0; PER_L2 as usize]));
        }
        let place = self.allocate();
        if let Some(slot) = self.l2.as_mut().and_then(|(_, entries)| entries.get_mut(entry)) {
            *slot = place | COPIED;
        }
        self.current = Some((cluster, place));
        Ok(place)
    }

    fn write_l2(&mut self, out: &dyn Storage) -> io::Result<()> {
        let Some((table, entries)) = self.l2.take() else { return Ok(()) };
        let at = self.l1.get(table).copied().unwrap_or_default();
        out.write_at(at, &be64(entries))
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_LEN as usize);
        header.extend(b"QFI\xfb");
        header.extend(3u32.to_be_bytes()); // version
        // Without a backing file whoever opens a child names its base himself.
        let extensions = self.backing.as_ref().map(extension_of).unwrap_or_default();
        let name = self.backing.as_ref().map(|b| b.name.as_slice()).unwrap_or_default();
        let name_at = if name.is_empty() { 0 } else { u64::from(HEADER_LEN) + extensions.len() as u64 + 8 };
        header.extend(name_at.to_be_bytes());
        header.extend((name.len() as u32).to_be_bytes());
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.len.to_be_bytes());
        header.extend([0; 4]); // no encryption
        header.extend((self.l1.len() as u32).to_be_bytes());
        header.extend(self.l1_at().to_be_bytes());
        header.extend(REFCOUNT_TABLE_AT.to_be_bytes());
        header.extend((self.refcount_table_clusters as u32).to_be_bytes());
        header.extend([0; 12]); // no snapshots
        header.extend([0; 24]); // no incompatible, compatible or autoclear features
        header.extend(4u32.to_be_bytes()); // refcount order: 16 bits
        header.extend(HEADER_LEN.to_be_bytes());
        header.extend(extensions);
        header.extend([0; 8]); // end of the header extensions
        header.extend(name);
        header
    }

    /// Count every cluster once, the blocks that count them too. Returns the end of the file.
    fn write_refcounts(&self, out: &dyn Storage) -> io::Result<u64> {
        let used = self.end / CLUSTER;
        let mut blocks = used.div_ceil(PER_REFCOUNT_BLOCK);
        while blocks * PER_REFCOUNT_BLOCK < used + blocks {
            blocks += 1;
        }
        let total = used + blocks;
        for block in 0..blocks {
            let counted = total.saturating_sub(block * PER_REFCOUNT_BLOCK).min(PER_REFCOUNT_BLOCK);
            let mut bytes = 1u16.to_be_bytes().repeat(counted as usize);
            bytes.resize(CLUSTER as usize, 0);
            out.write_at(self.end + block * CLUSTER, &bytes)?;
        }
        out.write_at(REFCOUNT_TABLE_AT, &be64((0..blocks).map(|b| self.end + b * CLUSTER)))?;
        Ok(self.end + blocks * CLUSTER)
    }
}

/// The extension that names the base's format: type, length, data padded to 8 bytes.
fn extension_of(backing: &BackingName) -> Vec<u8> {
    let format = backing.format.as_bytes();
    let mut bytes = BACKING_FORMAT.to_be_bytes().to_vec();
    bytes.extend((format.len() as u32).to_be_bytes());
    bytes.extend(format);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

impl Sink for Qcow2Writer {
    fn overhead(&self) -> u64 {
        // The tables that are there from the begin; those that come with the data are small beside it.
        self.end + 16 * CLUSTER
    }

    fn place(&mut self, out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)> {
        let (cluster, skip) = (at / CLUSTER, at % CLUSTER);
        let place = match self.current {
            Some((current, place)) if current == cluster => place,
            _ => self.add(out, cluster)?,
        };
        // Clusters that follow each other on the disk follow each other in the file, too: but for an L2 table between them.
        let mut held = CLUSTER - skip;
        while held < len {
            let next = (at + held) / CLUSTER;
            if next.is_multiple_of(PER_L2) {
                break;
            }
            self.add(out, next)?;
            held += CLUSTER;
        }
        Ok((place + skip, held.min(len)))
    }

    fn finish(mut self: Box<Self>, out: &dyn Storage) -> io::Result<u64> {
        self.write_l2(out)?;
        let end = self.write_refcounts(out)?;
        let entries = self.l1.iter().map(|at| if *at == 0 { 0 } else { *at | COPIED });
        out.write_at(self.l1_at(), &be64(entries))?;
        out.write_at(0, &self.header())?;
        out.set_len(end)?;
        Ok(end)
    }
}

fn be64(values: impl IntoIterator<Item = u64>) -> Vec<u8> {
    values.into_iter().flat_map(u64::to_be_bytes).collect()
}
