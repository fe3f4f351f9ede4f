//! Plain qcow2, read only: what `qemu-img create -f qcow2` makes and QEMU writes. QEMU `docs/interop/qcow2.txt`.
//!
//! The backing disk of a child is handed in by the caller; a backing file *named inside* the image is never opened here. Images with one, with
//! compressed clusters or with extended L2 entries are sound but [foreign](OpenError::Foreign): [`facts`] says what the floor above must know
//! to have them read. Encryption, external data and the corrupt mark are refused. Snapshots are ignored, the active state is read.

mod facts;
mod header;
mod used;
mod write;

pub(super) use write::Qcow2Writer;

pub use facts::{Backing, Qcow2Facts, facts};

use self::header::{Header, read_header};
use self::used::{CLUSTERS_MAX, Used};
use super::mapped::{Map, Mapped, Place};
use super::view::FileView;
use super::{ContainerInfo, Format, Layout, OpenError, Opened, corrupt, damaged, read_file, refused};
use crate::disk::{DiskRef, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Host offset in an L1 or L2 entry: bits 9..=55.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// "Refcount is exactly one", of no interest to a reader.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Reads as zeros; version 3 only.
const ZERO: u64 = 1;

/// Open the writable child of a drill on top of the disk it was made for.
///
/// Where the child has no cluster, `backing` shows through; beyond the end of `backing` that is zeros. The sector size is that of
/// `backing`. QEMU must have closed the file.
///
/// # Errors
/// [`OpenError`]: the file is damaged, or uses a feature that is not read.
pub fn open_child(path: &Path, backing: DiskRef) -> Result<DiskRef, OpenError> {
    let source = Arc::new(SourceFile::open(path)?);
    let sector = backing.geometry().sector;
    open_with(&source, Some(backing), sector).map(|opened| opened.disk)
}

/// Make an empty child: a disk of `geometry` of which everything still shows the base. Its base is named by whoever opens it, never in the file.
///
/// # Errors
/// [`ExportError`](super::ExportError): the file exists, or cannot be written.
pub fn create_child(path: &Path, geometry: Geometry) -> Result<(), super::ExportError> {
    // A child lives as long as its run: a power cut ends both.
    let options =
        super::ExportOptions { flush: super::Flush::Never, ..super::ExportOptions::new([0; 16], 0) };
    let nothing = crate::disk::MemDisk::empty(geometry);
    let go = &mut |_| std::ops::ControlFlow::Continue(());
    super::export(&nothing, path, super::OutFormat::Qcow2, &options, go).map(|_| ())
}

/// Open a file of our own, whose sector size the caller knows.
pub(super) fn open_as(path: &Path, sector: SectorSize) -> Result<DiskRef, OpenError> {
    open_with(&Arc::new(SourceFile::open(path)?), None, sector).map(|opened| opened.disk)
}

/// Open an image that was given. One that needs more than this reader is foreign.
pub(super) fn open_alone(source: &Arc<SourceFile>) -> Result<Opened, OpenError> {
    open_with(source, None, SectorSize::B512)
}

fn open_with(
    source: &Arc<SourceFile>,
    backing: Option<DiskRef>,
    sector: SectorSize,
) -> Result<Opened, OpenError> {
    let bad = damaged(source, Format::Qcow2);
    let header = read_header(source).map_err(&bad)?;
    if let Some(feature) = &header.refused_feature {
        return Err(not_read(source, feature));
    }
    // A child that was made for a drill has none of this; one that has is not what the guest wrote.
    let left_to_qemu = |what: String| match &backing {
        None => OpenError::Foreign { path: source.path().to_path_buf(), format: Format::Qcow2, what },
        Some(_) => not_read(source, what.trim_start_matches("a qcow2 with ")),
    };
    if let Some(feature) = &header.foreign_feature {
        return Err(left_to_qemu(format!("a qcow2 with {feature}")));
    }
    if backing.is_none() && header.backing.is_some() {
        return Err(left_to_qemu("a qcow2 on top of a backing file".to_owned()));
    }
    if header.len % sector.bytes() != 0 {
        let wanted = format!("a multiple of the {}-byte sector", sector.bytes());
        return Err(bad(corrupt("qcow2 header size", 24, wanted, header.len)));
    }
    let geometry = Geometry { len: ByteLen(header.len), sector };
    let map = Qcow2Map::open(source, header, geometry).map_err(&bad)?;
    let mut info = ContainerInfo::new(Format::Qcow2, Layout::Dynamic, geometry, source.len());
    let Some(used) = Used::new(source.len(), map.header.cluster_size()) else {
        return Err(left_to_qemu(format!("a qcow2 with a file of more than {CLUSTERS_MAX} clusters")));
    };
    let Some(allocated) = map.check(used).map_err(&bad)? else {
        return Err(left_to_qemu("a qcow2 with compressed clusters".to_owned()));
    };
    info.allocated = ByteLen(allocated);
    info.block_size = Some(map.header.cluster_size());
    Ok(Opened { disk: Arc::new(Mapped::new(map, backing)), info, sources: vec![source.clone()] })
}

fn not_read(source: &SourceFile, feature: &str) -> OpenError {
    let next = "convert it to a plain image: qemu-img convert -O raw IN OUT";
    refused(source, format!("a qcow2 with {feature}, which is not read"), next)
}

/// What the tables say about a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cluster {
    Absent,
    Zero,
    Stored(u64),
}

#[derive(Debug)]
struct Qcow2Map {
    view: FileView,
    header: Header,
    geometry: Geometry,
    /// Offset of each L2 table, 0 for none.
    l1: Vec<u64>,
    /// The L2 table looked at last, by its index in `l1`.
    l2: Mutex<Option<(usize, Vec<u64>)>>,
}

impl Qcow2Map {
    fn open(source: &Arc<SourceFile>, header: Header, geometry: Geometry) -> Result<Qcow2Map, ReadError> {
        let mut bytes = vec![0; header.l1_len * 8]; // bounded by `read_header`
        read_file(source, header.l1_at, &mut bytes)?;
        let mut l1 = Vec::with_capacity(header.l1_len);
        for (i, entry) in (0u64..).zip(be64(&bytes)) {
            let at = header.l1_at + i * 8;
            if entry & !(OFFSET_MASK | COPIED) != 0 || entry & OFFSET_MASK & (header.cluster_size() - 1) != 0
            {
                return Err(corrupt("L1 entry", at, "an offset of whole clusters", format!("{entry:#x}")));
            }
            let table = entry & OFFSET_MASK;
            if table != 0 && table.checked_add(header.cluster_size()).is_none_or(|end| end > source.len()) {
                let wanted = format!("a table within the file's {:#x} bytes", source.len());
                return Err(corrupt("L1 entry", at, wanted, format!("{table:#x}")));
            }
            l1.push(table);
        }
        let view = FileView::plain(source.clone());
        Ok(Qcow2Map { view, header, geometry, l1, l2: Mutex::new(None) })
    }

    /// Look at every entry once. Returns the bytes of the disk that are stored, or nothing at the first compressed cluster.
    fn check(&self, mut used: Used) -> Result<Option<u64>, ReadError> {
        let mut stored = 0u64;
        for (i, table_at) in self.l1.iter().enumerate().filter(|(_, at)| **at != 0) {
            if !used.take(*table_at) {
                return Err(corrupt(
                    "L1 entry",
                    self.header.l1_at + i as u64 * 8,
                    "a table of its own",
                    "one used twice",
                ));
            }
            for (j, entry) in (0u64..).zip(self.read_l2(*table_at)?) {
                if entry & COMPRESSED != 0 {
                    return Ok(None);
                }
                if let Cluster::Stored(at) = self.decode(entry, table_at + j * 8)? {
                    if !used.take(at) {
                        let found = format!("{at:#x}, already taken");
                        return Err(corrupt("L2 entry", table_at + j * 8, "a cluster of its own", found));
                    }
                    stored = stored.saturating_add(self.header.cluster_size());
                }
            }
        }
        Ok(Some(stored.min(self.header.len)))
    }

    fn read_l2(&self, at: u64) -> Result<Vec<u64>, ReadError> {
        let mut bytes = vec![0; self.header.cluster_size() as usize]; // at most 2 MiB
        self.view.read(at, &mut bytes)?;
        Ok(be64(&bytes).collect())
    }

    fn decode(&self, entry: u64, at: u64) -> Result<Cluster, ReadError> {
        if entry & COMPRESSED != 0 {
            return Err(corrupt("L2 entry", at, "an uncompressed cluster", "a compressed one"));
        }
        let flags = if self.header.version >= 3 { ZERO } else { 0 };
        if entry & !(OFFSET_MASK | COPIED | flags) != 0 {
            return Err(corrupt("L2 entry", at, "reserved bits of zero", format!("{entry:#x}")));
        }
        if entry & flags != 0 {
            return Ok(Cluster::Zero);
        }
        let data = entry & OFFSET_MASK;
        if data == 0 {
            return Ok(Cluster::Absent);
        }
        let size = self.header.cluster_size();
        // QEMU ends the file where the last cluster's bytes end, which may be within the cluster; not before its begin.
        if !data.is_multiple_of(size) || data >= self.view.len() {
            let wanted = format!("a cluster within the file's {:#x} bytes", self.view.len());
            return Err(corrupt("L2 entry", at, wanted, format!("{data:#x}")));
        }
        Ok(Cluster::Stored(data))
    }

    fn cluster(&self, index: u64) -> Result<Cluster, ReadError> {
        let per_table = self.header.cluster_size() / 8;
        let (i, j) = ((index / per_table) as usize, index % per_table);
        let Some(table_at) = self.l1.get(i).copied().filter(|at| *at != 0) else {
            return Ok(Cluster::Absent);
        };
        let mut cached = self.l2.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !matches!(&*cached, Some((held, _)) if *held == i) {
            *cached = Some((i, self.read_l2(table_at)?));
        }
        let entry = cached.as_ref().and_then(|(_, table)| table.get(j as usize)).copied().unwrap_or_default();
        self.decode(entry, table_at + j * 8)
    }
}

impl Map for Qcow2Map {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn view(&self) -> &FileView {
        &self.view
    }

    fn place(&self, at: u64) -> Result<(Place, u64), ReadError> {
        let size = self.header.cluster_size();
        let skip = at % size;
        Ok(match self.cluster(at / size)? {
            // What the file lacks of its last cluster reads as zeros.
            Cluster::Stored(data) => match self.view.len().saturating_sub(data).min(size).checked_sub(skip) {
                Some(stored) if stored > 0 => (Place::Stored(data + skip), stored),
                _ => (Place::Zero, size - skip),
            },
            Cluster::Zero => (Place::Zero, size - skip),
            Cluster::Absent => {
                // A missing L2 table stands for all its clusters.
                let per_table = size * (size / 8);
                let absent = self.l1.get((at / per_table) as usize).is_none_or(|table| *table == 0);
                let span = if absent { per_table } else { size };
                (Place::Absent, span - at % span)
            }
        })
    }
}

fn be64(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b))
}
