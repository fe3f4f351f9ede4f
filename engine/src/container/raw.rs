//! A file whose bytes are the disk's bytes: a raw image, and the data of a fixed VHD.

use super::mapped::{Map, Mapped, Place};
use super::view::FileView;
use super::{ContainerInfo, Format, Layout, OpenError, Opened, damaged};
use crate::disk::{Disk, DiskRef, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};
use std::path::Path;
use std::sync::Arc;

/// The first `geometry.len` bytes of a file; what the last sector lacks reads as zeros.
#[derive(Debug)]
pub(super) struct RawMap {
    view: FileView,
    geometry: Geometry,
}

impl RawMap {
    pub(super) fn new(source: Arc<SourceFile>, geometry: Geometry) -> RawMap {
        RawMap { view: FileView::plain(source), geometry }
    }
}

/// Open a raw image. Its length is rounded up to whole sectors. The sectors are 4096 bytes long when a GPT header lies at that
/// offset and none at 512; a raw image has no other way to say so.
pub(super) fn open(source: &Arc<SourceFile>) -> Result<Opened, OpenError> {
    let bad = damaged(source, Format::Raw);
    let sector = sector_size(source).map_err(&bad)?;
    let Some(len) = source.len().checked_next_multiple_of(sector.bytes()).filter(|len| *len > 0) else {
        return Err(OpenError::Unknown { path: source.path().to_path_buf(), found: "an empty file".into() });
    };
    let disk = Mapped::new(RawMap::new(source.clone(), Geometry { len: ByteLen(len), sector }), None);
    let mut info = ContainerInfo::new(Format::Raw, Layout::Fixed, disk.geometry(), source.len());
    info.allocated = ByteLen(disk.stored_bytes().map_err(&bad)?);
    if len != source.len() {
        info.notes.push(format!(
            "the file ends within a sector: the disk is {} bytes longer, which read as zeros",
            len - source.len()
        ));
    }
    Ok(Opened { disk: Arc::new(disk), info, sources: vec![source.clone()] })
}

/// A raw file of which the caller knows the shape.
pub(super) fn open_as(path: &Path, geometry: Geometry) -> Result<DiskRef, OpenError> {
    let source = Arc::new(SourceFile::open(path)?);
    Ok(Arc::new(Mapped::new(RawMap::new(source, geometry), None)))
}

/// 4096 only for a disk that is partitioned in such sectors beyond doubt: a guest can leave a stray `EFI PART` anywhere.
fn sector_size(source: &SourceFile) -> Result<SectorSize, ReadError> {
    let large = !is_gpt_header(source, 512)? && is_protective_mbr(source)? && is_gpt_header(source, 4096)?;
    Ok(if large { SectorSize::B4096 } else { SectorSize::B512 })
}

/// Whether a GPT header with a right CRC-32 that says it is LBA 1 lies at `at`. UEFI 2.10 §5.3.2.
fn is_gpt_header(source: &SourceFile, at: u64) -> Result<bool, ReadError> {
    let mut header = [0; 92];
    if source.len() < at + 512 {
        return Ok(false);
    }
    super::read_file(source, at, &mut header)?;
    let word = |at: usize| {
        header.get(at..at + 4).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
    };
    if header[..8] != *b"EFI PART" || word(12) != 92 || (word(24), word(28)) != (1, 0) {
        return Ok(false);
    }
    let stored = word(16);
    header[16..20].fill(0);
    Ok(crc32fast::hash(&header) == stored)
}

/// Whether the first partition of the MBR is a protective one, as every GPT disk has it. UEFI 2.10 §5.2.3.
fn is_protective_mbr(source: &SourceFile) -> Result<bool, ReadError> {
    let mut mbr = [0; 512];
    if source.len() < 512 {
        return Ok(false);
    }
    super::read_file(source, 0, &mut mbr)?;
    Ok(mbr[450] == 0xEE && mbr[510..] == [0x55, 0xAA])
}

impl Map for RawMap {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn view(&self) -> &FileView {
        &self.view
    }

    fn place(&self, at: u64) -> Result<(Place, u64), ReadError> {
        let stored = self.view.len().min(self.geometry.len.get());
        Ok(match stored.checked_sub(at) {
            Some(len) if len > 0 => (Place::Stored(at), len),
            _ => (Place::Zero, u64::MAX - at),
        })
    }
}
