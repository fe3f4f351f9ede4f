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
use super::gate::Chain;
use super::mapped::{Map, Mapped, Place};
use super::view::FileView;
use super::{ContainerInfo, Format, LogState, OpenError, Opened, damaged, refused};
use crate::disk::{Geometry, ReadError, SourceFile};
use crate::units::ByteLen;
use std::sync::Arc;

pub(super) fn open(source: &Arc<SourceFile>, _chain: &mut Chain<'_>) -> Result<Opened, OpenError> {
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
    let mut info = ContainerInfo::new(Format::Vhdx, metadata.layout, geometry, source.len());
    info.allocated = ByteLen(allocated);
    info.physical_sector = Some(metadata.physical_sector);
    info.block_size = Some(metadata.block_size);
    info.disk_id = Some(metadata.disk_id);
    info.creator = creator;
    info.log = Some(LogState::Clean);
    let map = VhdxMap { source: source.clone(), view: FileView::plain(source.clone()), geometry, bat };
    Ok(Opened { disk: Arc::new(Mapped::new(map, None)), info, sources: vec![source.clone()] })
}

/// A clean VHDX without parent whose tables were checked whole.
#[derive(Debug)]
struct VhdxMap {
    source: Arc<SourceFile>,
    view: FileView,
    geometry: Geometry,
    bat: Bat,
}

impl Map for VhdxMap {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn view(&self) -> &FileView {
        &self.view
    }

    fn place(&self, at: u64) -> Result<(Place, u64), ReadError> {
        let block_size = self.bat.block_size;
        let skip = at % block_size;
        let place = match self.bat.block(&self.source, at / block_size)? {
            Block::Stored(data) => Place::Stored(data + skip),
            Block::Absent => Place::Absent,
            Block::Zero => Place::Zero,
        };
        Ok((place, block_size - skip))
    }
}
