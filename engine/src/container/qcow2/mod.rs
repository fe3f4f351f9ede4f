//! Plain qcow2, read only: what `qemu-img create -f qcow2` makes and QEMU writes. QEMU `docs/interop/qcow2.txt`.
//!
//! The backing disk of a child is handed in by the caller; a backing file *named inside* the image is never opened here. Images with one, with
//! compressed clusters or with extended L2 entries are sound but [foreign](OpenError::Foreign): [`facts`] says what the floor above must know
//! to have them read. Encryption, external data and the corrupt mark are refused. Snapshots are ignored, the active state is read.

mod facts;
mod header;
mod used;
mod walk;
mod write;

pub(super) use write::{BackingName, CLUSTER, Qcow2Writer};

pub use facts::{Backing, Qcow2Facts, facts};

use self::header::{Header, read_header};
use self::used::{CLUSTERS_MAX, Used};
use self::walk::Entry;
use super::mapped::{Map, Mapped, Place};
use super::view::FileView;
use super::{ContainerInfo, Format, Layout, OpenError, Opened, corrupt, damaged, refused};
use crate::disk::file::Stored;
use crate::disk::{DiskRef, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Host offset in an L1 or L2 entry: bits 9..=55.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// "Refcount is exactly one", of no interest to a reader.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Reads as zeros; version 3 only.
const ZERO: u64 = 1;
/// Most entries that are looked at for one answer, beyond the first: a table may have 262,144 of them.
const RUN_MAX: usize = 1023;

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

/// Open a child on the base it names, which the caller has found and opened.
///
/// # Errors
/// As for [`open_child`].
pub fn open_on(source: &Arc<SourceFile>, base: Opened) -> Result<Opened, OpenError> {
    let mut opened = open_with(source, Some(base.disk.clone()), base.info.sector)?;
    opened.info.layout = Layout::Differencing;
    Ok(opened.with_parent(base))
}

/// That the file holds everything its tables point to, whatever its kind: compressed or not, on a backing file or not. To be asked before QEMU's
/// block layer reads it, which takes what a cut file lacks for zeros. The answer is a note where a cut could not be told from what QEMU writes.
///
/// # Errors
/// [`OpenError::Damaged`] with the first entry of a table that leads out of the file.
pub fn check_whole(source: &Arc<SourceFile>) -> Result<Option<String>, OpenError> {
    let bad = damaged(source, Format::Qcow2);
    let header = read_header(source).map_err(&bad)?;
    let lacks = walk::check(source, &FileView::plain(source.clone()), &header).map_err(&bad)?;
    Ok((lacks > 0).then(|| {
        format!(
            "{}: the last sector of compressed data lacks {lacks} bytes at the end of the file: some programs leave it so, and a copy that was cut \
             there looks the same",
            source.path().display()
        )
    }))
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
    /// The L2 table looked at last.
    l2: Mutex<Option<Table>>,
}

/// An L2 table in memory.
#[derive(Debug)]
struct Table {
    /// Its index in the L1 table.
    index: usize,
    /// Nothing for one that is a hole of the file: all of it is zeros.
    entries: Vec<u64>,
}

impl Qcow2Map {
    fn open(source: &Arc<SourceFile>, header: Header, geometry: Geometry) -> Result<Qcow2Map, ReadError> {
        let l1 = walk::read_l1(source, &header)?;
        let view = FileView::plain(source.clone());
        Ok(Qcow2Map { view, header, geometry, l1, l2: Mutex::new(None) })
    }

    /// Look at every entry once. Returns the bytes of the disk that are stored, or nothing at the first compressed cluster.
    fn check(&self, mut used: Used) -> Result<Option<u64>, ReadError> {
        for (i, table_at) in (0u64..).zip(&self.l1).filter(|(_, at)| **at != 0) {
            if !used.take(*table_at) {
                let at = self.header.l1_at + i * 8;
                return Err(corrupt("L1 entry", at, "a table of its own", "one used twice"));
            }
        }
        let (mut stored, mut compressed) = (0u64, false);
        walk::entries(&self.view, &self.header, &self.l1, |entry| {
            if entry.word & COMPRESSED != 0 {
                compressed = true;
                return Ok(ControlFlow::Break(()));
            }
            if let Cluster::Stored(at) = self.decode(entry)? {
                if !used.take(at) {
                    let found = format!("{at:#x}, already taken");
                    return Err(corrupt("L2 entry", entry.at, "a cluster of its own", found));
                }
                stored = stored.saturating_add(self.header.cluster_size());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((!compressed).then(|| stored.min(self.header.len)))
    }

    fn decode(&self, entry: Entry) -> Result<Cluster, ReadError> {
        let word = entry.word;
        if word & COMPRESSED != 0 {
            return Err(corrupt("L2 entry", entry.at, "an uncompressed cluster", "a compressed one"));
        }
        let zero = self.header.zero_flag();
        if word & !(OFFSET_MASK | COPIED | zero) != 0 {
            return Err(corrupt("L2 entry", entry.at, "reserved bits of zero", format!("{word:#x}")));
        }
        if word & zero != 0 {
            return Ok(Cluster::Zero);
        }
        let data = word & OFFSET_MASK;
        if data == 0 {
            return Ok(Cluster::Absent);
        }
        walk::check_cluster(&self.header, self.view.len(), entry, data, self.header.cluster_size())?;
        Ok(Cluster::Stored(data))
    }

    /// What the tables say about the cluster `index` and how many from it on are like it, those stored in one piece of the file: at least 1,
    /// perhaps not all.
    fn run(&self, index: u64) -> Result<(Cluster, u64), ReadError> {
        let per_table = self.header.per_table();
        let (i, j) = ((index / per_table) as usize, index % per_table);
        let left = per_table - j;
        let Some(table_at) = self.l1.get(i).copied().filter(|at| *at != 0) else {
            return Ok((Cluster::Absent, left));
        };
        let mut cached = self.l2.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match &mut *cached {
            Some(table) if table.index == i => table,
            other => other.insert(Table { index: i, entries: self.read_unless_hole(table_at)? }),
        };
        if table.entries.is_empty() {
            return Ok((Cluster::Absent, left));
        }
        let mut clusters = (j..).zip(table.entries.get(j as usize..).unwrap_or_default()).map(|(j, word)| {
            let disk_at = (index - index % per_table + j) * self.header.cluster_size();
            self.decode(Entry { at: table_at + j * 8, disk_at, word: *word, subclusters: None })
        });
        let first = clusters.next().unwrap_or(Ok(Cluster::Absent))?;
        // An entry that is damaged ends the run: the error is for who reads that cluster.
        let like = (1u64..)
            .zip(clusters.take(RUN_MAX))
            .take_while(|(n, next)| match (first, next) {
                (Cluster::Stored(from), Ok(Cluster::Stored(at))) => {
                    n.checked_mul(self.header.cluster_size()).and_then(|len| from.checked_add(len))
                        == Some(*at)
                }
                (first, Ok(next)) => first == *next,
                (_, Err(_)) => false,
            })
            .count();
        Ok((first, 1 + like as u64))
    }

    fn read_unless_hole(&self, table_at: u64) -> Result<Vec<u64>, ReadError> {
        match self.view.stored(table_at)? {
            (Stored::Hole, len) if len >= self.header.cluster_size() => Ok(Vec::new()),
            _ => walk::read_table(&self.view, &self.header, table_at),
        }
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
        let (cluster, count) = self.run(at / size)?;
        let len = count * size - skip; // at most a table's
        Ok(match cluster {
            // The file may end with the disk, within the last cluster.
            Cluster::Stored(data) => {
                let from = data + skip;
                (Place::Stored(from), len.min(self.view.len().saturating_sub(from)).max(1))
            }
            Cluster::Zero => (Place::Zero, len),
            Cluster::Absent => (Place::Absent, len),
        })
    }
}

fn be64(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b))
}
