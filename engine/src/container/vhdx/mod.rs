//! VHDX, Hyper-V's format. \[MS-VHDX\] (Microsoft Open Specifications, v20240423).
//!
//! ```text
//! 0          64 KiB    128 KiB   192 KiB        256 KiB        1 MiB …
//! identifier header 1  header 2  region table 1 region table 2 log, BAT, metadata, payload blocks in any order, each at whole MiB
//! ```
//! Read: fixed, dynamic and differencing, 512- and 4096-byte sectors. A log with changes that are not in place yet is replayed in memory, never
//! in the file; one that is torn or has holes is refused. A parent is opened only through the gate, and only if it is still in the state the
//! child was made from.

mod bat;
mod bitmap;
mod format;
mod header;
mod locator;
mod log;
mod metadata;
mod regions;
mod space;
mod window;
mod write;

pub(super) use write::{DynamicVhdxWriter, FixedVhdxWriter};

use self::bat::{Bat, Block};
use self::bitmap::Bitmaps;
use self::header::{Header, read_header, read_identifier};
use self::locator::Locator;
use self::log::{LOG_MAX, replay};
use self::metadata::{Metadata, read_metadata};
use self::regions::read_regions;
use self::space::Space;
use super::gate::{Chain, Match};
use super::mapped::{Map, Mapped, Place};
use super::view::FileView;
use super::{ContainerInfo, Format, Layout, OpenError, Opened, damaged, refused};
use crate::disk::{Geometry, ReadError, SourceFile};
use crate::units::ByteLen;
use std::sync::Arc;

pub(super) fn open(source: &Arc<SourceFile>, chain: &mut Chain<'_>) -> Result<Opened, OpenError> {
    let bad = damaged(source, Format::Vhdx);
    let mut notes = Vec::new();
    let creator = read_identifier(source).map_err(&bad)?;
    let header = read_header(source, &mut notes).map_err(&bad)?;
    check_log_len(source, &header)?;
    let replayed = replay(source, &header, &mut notes).map_err(&bad)?;
    // From here on the file is what its log makes of it.
    let view = replayed.view;
    let mut space = Space::new(view.len());
    space.take(header.log_at, header.log_len, header.at, || "log".into()).map_err(&bad)?;
    let regions = read_regions(&view, &mut space, &mut notes).map_err(&bad)?;
    let metadata = read_metadata(&view, regions.metadata).map_err(&bad)?;
    let bat = Bat::new(regions.bat, &metadata, view.len()).map_err(&bad)?;
    let blocks_len = bat.check(&view, &mut space).map_err(&bad)?;
    drop(space); // up to 16 MiB, and parents have theirs
    let parent = match &metadata.parent {
        Some(locator) => Some(open_parent(source, &metadata, locator, chain)?),
        None => None,
    };
    let geometry = Geometry { len: ByteLen(metadata.virtual_len), sector: metadata.sector };
    let map = VhdxMap { view, geometry, bat, bitmaps: Bitmaps::default() };
    let disk = Mapped::new(map, parent.as_ref().map(|p| p.disk.clone()));
    let mut info = ContainerInfo::new(Format::Vhdx, metadata.layout, geometry, source.len());
    info.allocated = ByteLen(match metadata.layout {
        Layout::Fixed => disk.stored_bytes().map_err(&bad)?,
        Layout::Dynamic | Layout::Differencing => blocks_len,
    });
    info.physical_sector = Some(metadata.physical_sector);
    info.block_size = Some(metadata.block_size);
    info.disk_id = Some(metadata.disk_id);
    info.creator = creator;
    info.data_id = Some(header.data_write_guid);
    info.log = Some(replayed.state);
    info.notes = notes;
    let opened = Opened { disk: Arc::new(disk), info, sources: vec![source.clone()] };
    Ok(match parent {
        Some(parent) => opened.with_parent(parent),
        None => opened,
    })
}

/// That the log is short enough to be replayed in memory, if there is anything to replay.
fn check_log_len(source: &SourceFile, header: &Header) -> Result<(), OpenError> {
    if header.log_guid.is_nil() || header.log_len <= LOG_MAX {
        return Ok(());
    }
    let len = header.log_len;
    Err(refused(
        source,
        format!("a VHDX with changes in a log of {len:#x} bytes, wanted at most {LOG_MAX:#x}"),
        "replay the log on a copy: attach and detach it once in Hyper-V (Mount-VHD, Dismount-VHD), or run `qemu-img check -r all`",
    ))
}

/// The parent that `locator` in `child` means, in the state it had when the child was made. §2.6.2.6.3.
fn open_parent(
    child: &SourceFile,
    metadata: &Metadata,
    locator: &Locator,
    chain: &mut Chain<'_>,
) -> Result<Opened, OpenError> {
    let parent =
        chain.parent(child, Format::Vhdx, &locator.names, &|parent, _given| prove(locator, parent))?;
    let (wanted, found) = (metadata.sector.bytes(), parent.info.sector.bytes());
    if wanted != found {
        let name = parent.sources.first().map(|s| s.path().display().to_string()).unwrap_or_default();
        return Err(refused(
            child,
            format!(
                "a differencing VHDX with sectors of {wanted} bytes on a parent, {name}, with sectors of {found}"
            ),
            "the two files do not belong together: take both from the original machine again",
        ));
    }
    Ok(parent)
}

/// Whether a file is the parent. The path is only a wish; the id of its content is the proof, for a file that the user gave too.
fn prove(locator: &Locator, parent: &Opened) -> Match {
    let found = parent.info.data_id.unwrap_or_default();
    // A nil id proves nothing: it is what a program leaves that keeps none.
    if !found.is_nil() && locator.linkage.contains(&found) {
        return Match::Yes;
    }
    let wanted: Vec<String> = locator.linkage.iter().map(ToString::to_string).collect();
    Match::No(format!(
        "its data write GUID is {found}, the child was made from {}: it is another disk, or was changed after the child was made",
        wanted.join(" or ")
    ))
}

/// A VHDX whose log is replayed and whose tables were checked whole.
#[derive(Debug)]
struct VhdxMap {
    view: FileView,
    geometry: Geometry,
    bat: Bat,
    bitmaps: Bitmaps,
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
        let (block, skip) = (at / block_size, at % block_size);
        let (kind, count) = self.bat.run(&self.view, block)?;
        let len = count.saturating_mul(block_size).saturating_sub(skip);
        match kind {
            Block::Stored(data) => Ok((Place::Stored(data + skip), len)),
            Block::Absent => Ok((Place::Absent, len)),
            Block::Zero => Ok((Place::Zero, len)),
            Block::Partial(data) => {
                let sector = self.geometry.sector.bytes();
                let (here, sectors) = self.bitmaps.run(&self.view, &self.bat, block, at / sector)?;
                let len = sectors.saturating_mul(sector).saturating_sub(at % sector).min(len);
                Ok((if here { Place::Stored(data + skip) } else { Place::Absent }, len))
            }
        }
    }
}
