//! A file whose bytes are the disk's bytes: a raw image, and the data of a fixed VHD.

use super::{ContainerInfo, Format, Layout, OpenError, damaged, io_error};
use crate::disk::file::Stored;
use crate::disk::{Disk, DiskRef, Extent, ExtentKind, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use std::sync::Arc;

/// The first `geometry.len` bytes of a file; what the last sector lacks reads as zeros.
#[derive(Debug)]
pub(super) struct RawDisk {
    source: Arc<SourceFile>,
    geometry: Geometry,
}

impl RawDisk {
    pub(super) fn new(source: Arc<SourceFile>, geometry: Geometry) -> RawDisk {
        RawDisk { source, geometry }
    }

    /// Bytes that are no hole of the file system.
    pub(super) fn stored_bytes(&self) -> Result<u64, ReadError> {
        let (mut at, mut sum) = (0u64, 0u64);
        while let Some(e) = self.next_extent(ByteOffset(at))? {
            if e.kind == ExtentKind::Data {
                sum = sum.saturating_add(e.len.get());
            }
            at = at.saturating_add(e.len.get());
        }
        Ok(sum)
    }
}

/// Open a raw image. Its length is rounded up to whole sectors. The sectors are 4096 bytes long when a GPT header lies at that
/// offset and none at 512; a raw image has no other way to say so.
pub(super) fn open(source: &Arc<SourceFile>) -> Result<(DiskRef, ContainerInfo), OpenError> {
    let bad = damaged(source, Format::Raw);
    let sector = sector_size(source).map_err(&bad)?;
    let Some(len) = source.len().checked_next_multiple_of(sector.bytes()).filter(|len| *len > 0) else {
        return Err(OpenError::Unknown { path: source.path().to_path_buf(), found: "an empty file".into() });
    };
    let disk = RawDisk::new(source.clone(), Geometry { len: ByteLen(len), sector });
    let info = ContainerInfo {
        format: Format::Raw,
        layout: Layout::Fixed,
        virtual_len: ByteLen(len),
        allocated: ByteLen(disk.stored_bytes().map_err(&bad)?),
        sector,
        physical_sector: None,
        block_size: None,
        file_len: ByteLen(source.len()),
        disk_id: None,
        creator: None,
    };
    Ok((Arc::new(disk), info))
}

fn sector_size(source: &SourceFile) -> Result<SectorSize, ReadError> {
    let signature_at = |at: u64| {
        let mut found = [0; 8];
        if source.len() < at + 512 {
            return Ok(false);
        }
        super::read_file(source, at, &mut found).map(|()| found == *b"EFI PART")
    };
    Ok(if !signature_at(512)? && signature_at(4096)? { SectorSize::B4096 } else { SectorSize::B512 })
}

impl Disk for RawDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry.check(at, buf.len() as u64)?;
        let stored = self.source.len().saturating_sub(at.get()).min(buf.len() as u64) as usize;
        let (head, tail) = buf.split_at_mut(stored);
        self.source.read_exact_at(at.get(), head).map_err(|e| io_error(&self.source, at.get(), e))?;
        tail.fill(0);
        Ok(())
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let at = from.get();
        let Some(left) = self.geometry.len.get().checked_sub(at).filter(|left| *left > 0) else {
            return Ok(None);
        };
        let found = self.source.next_stored(at).map_err(|e| io_error(&self.source, at, e))?;
        let (len, kind) = match found {
            Some((len, Stored::Data)) => (len.min(left), ExtentKind::Data),
            Some((len, Stored::Hole)) => (len.min(left), ExtentKind::Hole),
            None => (left, ExtentKind::Hole),
        };
        Ok(Some(Extent { at: from, len: ByteLen(len), kind }))
    }
}
