//! VHDX, Hyper-V's format. \[MS-VHDX\] (Microsoft Open Specifications, v20240423).
//!
//! ```text
//! 0          64 KiB    128 KiB   192 KiB        256 KiB        1 MiB …
//! identifier header 1  header 2  region table 1 region table 2 log, BAT, metadata, payload blocks in any order, each at whole MiB
//! ```
//! Read: fixed and dynamic, 512- and 4096-byte sectors. Refused by name: a log with changes not yet in place (what is in the
//! file is then not what the guest wrote) and a disk that needs a parent.

mod bat;
mod format;
mod header;
mod metadata;
mod space;
mod write;

pub(super) use write::VhdxWriter;

use self::bat::{Bat, Block};
use self::header::{read_header, read_identifier, read_regions};
use self::metadata::read_metadata;
use self::space::Space;
use super::{ContainerInfo, Format, OpenError, damaged, io_error, refused};
use crate::disk::file::Stored;
use crate::disk::{Disk, DiskRef, Extent, ExtentKind, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, ByteOffset};
use std::sync::Arc;

pub(super) fn open(source: &Arc<SourceFile>) -> Result<(DiskRef, ContainerInfo), OpenError> {
    let bad = damaged(source, Format::Vhdx);
    let creator = read_identifier(source).map_err(&bad)?;
    let header = read_header(source).map_err(&bad)?;
    if !header.log_guid.is_nil() {
        return Err(refused(
            source,
            format!(
                "a VHDX with a dirty log ({} in the header at {:#x}): its last changes are not in place yet",
                header.log_guid, header.at
            ),
            "replay the log: attach and detach it once in Hyper-V (Mount-VHD, Dismount-VHD), or run `qemu-img check -r all` on a copy",
        ));
    }
    let mut space = Space::new(source.len());
    space.take(header.log_at, header.log_len, "log", header.at).map_err(&bad)?;
    let regions = read_regions(source, &mut space).map_err(&bad)?;
    let metadata = read_metadata(source, regions.metadata).map_err(&bad)?;
    if metadata.has_parent {
        return Err(refused(
            source,
            "a differencing VHDX: it holds only what differs from a parent file, and a parent named inside an image is not followed",
            "merge it into its parent first (Hyper-V: Merge-VHD), then drill the result",
        ));
    }
    let bat = Bat::new(regions.bat, &metadata, source.len()).map_err(&bad)?;
    let allocated = bat.check(source, &mut space).map_err(&bad)?;
    let geometry = Geometry { len: ByteLen(metadata.virtual_len), sector: metadata.sector };
    let info = ContainerInfo {
        format: Format::Vhdx,
        layout: metadata.layout,
        virtual_len: geometry.len,
        allocated: ByteLen(allocated),
        sector: metadata.sector,
        physical_sector: Some(metadata.physical_sector),
        block_size: Some(metadata.block_size),
        file_len: ByteLen(source.len()),
        disk_id: Some(metadata.disk_id),
        creator,
    };
    Ok((Arc::new(VhdxDisk { source: source.clone(), geometry, bat }), info))
}

/// A clean VHDX without parent whose tables were checked whole.
#[derive(Debug)]
struct VhdxDisk {
    source: Arc<SourceFile>,
    geometry: Geometry,
    bat: Bat,
}

impl Disk for VhdxDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry.check(at, buf.len() as u64)?;
        let block_size = self.bat.block_size;
        let (mut at, mut rest) = (at.get(), buf);
        while !rest.is_empty() {
            let skip = at % block_size;
            let n = rest.len().min((block_size - skip) as usize);
            let (piece, behind) = rest.split_at_mut(n);
            match self.bat.block(&self.source, at / block_size)? {
                Block::Stored(data) => {
                    // `block` has checked that the block ends within the file.
                    let from = data + skip;
                    self.source.read_exact_at(from, piece).map_err(|e| io_error(&self.source, from, e))?;
                }
                Block::Absent | Block::Zero => piece.fill(0),
            }
            at += n as u64;
            rest = behind;
        }
        Ok(())
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let (at, end) = (from.get(), self.geometry.len.get());
        if at >= end {
            return Ok(None);
        }
        let block_size = self.bat.block_size;
        let mut window = self.bat.lock();
        let mut block = at / block_size;
        let first = self.bat.block_in(&self.source, block, &mut window)?;
        if let Block::Stored(data) = first {
            drop(window);
            return self.stored_extent(at, block, data).map(Some);
        }
        let mut stop = at;
        while block < self.bat.blocks && self.bat.block_in(&self.source, block, &mut window)? == first {
            block += 1;
            stop = block.saturating_mul(block_size).min(end);
        }
        let kind = if first == Block::Zero { ExtentKind::Zero } else { ExtentKind::Hole };
        Ok(Some(Extent { at: from, len: ByteLen(stop - at), kind }))
    }
}

impl VhdxDisk {
    /// A stored block, or a part of it: where the file has a hole the block reads as zeros without being read.
    fn stored_extent(&self, at: u64, block: u64, data: u64) -> Result<Extent, ReadError> {
        let skip = at - block * self.bat.block_size;
        let left = self.bat.bytes_in(block) - skip;
        let from = data + skip;
        let found = self.source.next_stored(from).map_err(|e| io_error(&self.source, from, e))?;
        let (len, kind) = match found {
            Some((len, Stored::Hole)) => (len.min(left), ExtentKind::Zero),
            Some((len, Stored::Data)) => (len.min(left), ExtentKind::Data),
            None => (left, ExtentKind::Data),
        };
        Ok(Extent { at: ByteOffset(at), len: ByteLen(len), kind })
    }
}
