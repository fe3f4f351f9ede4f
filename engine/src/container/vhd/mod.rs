//! VHD: a fixed one is the disk's bytes and a 512-byte footer; a dynamic one has a block table; a differencing one has besides a bitmap
//! for each block and a parent. Virtual Hard Disk Image Format Specification 1.0 (Microsoft, 2006).

mod bitmap;
mod dynamic;
mod find;
mod footer;
mod header;
mod parent;
mod write;

pub use footer::{Chs, DiskType, FOOTER_LEN, Footer, chs_for, fixed_footer};
pub(in crate::container) use write::DynamicVhdSink;

use self::bitmap::Bitmaps;
use self::dynamic::{BlockMap, Sectors};
use self::find::Found;
use self::header::Header;
use self::parent::Wanted;
use super::gate::Chain;
use super::mapped::Mapped;
use super::raw::RawMap;
use super::{ContainerInfo, Format, Layout, OpenError, Opened, corrupt, damaged, printable};
use crate::disk::{DiskRef, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};
use std::cell::RefCell;
use std::sync::Arc;

pub(super) fn open(source: &Arc<SourceFile>, chain: &mut Chain<'_>) -> Result<Opened, OpenError> {
    let bad = damaged(source, Format::Vhd);
    let found = find::find(source).map_err(&bad)?;
    let footer = &found.footer;
    let geometry = Geometry { len: ByteLen(footer.current_size), sector: SectorSize::B512 };
    let mut info = ContainerInfo::new(Format::Vhd, Layout::Fixed, geometry, source.len());
    info.disk_id = Some(footer.unique_id);
    info.creator = printable(footer.creator_app.map(char::from));
    info.time_stamp = Some(footer.time_stamp);
    info.read_otherwise = found.by_geometry.map(ByteLen);
    info.notes.clone_from(&found.notes);
    if chain.is_at_a_parent() {
        let shown = source.path().display();
        info.notes.iter_mut().for_each(|note| *note = format!("{shown}: {note}"));
    }
    let (header_at, layout) = match footer.disk_type {
        DiskType::Fixed => {
            let disk = open_fixed(source, geometry, found.data_end).map_err(&bad)?;
            info.allocated = ByteLen(disk.stored_bytes().map_err(&bad)?);
            return Ok(Opened { disk: Arc::new(disk), info, sources: vec![source.clone()] });
        }
        DiskType::Dynamic(at) => (at, Layout::Dynamic),
        DiskType::Differencing(at) => (at, Layout::Differencing),
    };
    info.layout = layout;
    let (header, map) = open_blocks(source, geometry, header_at, layout, &found).map_err(&bad)?;
    info.block_size = Some(header.block_size);
    info.allocated = map.allocated();
    if layout == Layout::Dynamic {
        let disk: DiskRef = Arc::new(Mapped::new(map, None));
        return Ok(Opened { disk, info, sources: vec![source.clone()] });
    }
    let wanted = Wanted::read(source, &header).map_err(&bad)?;
    let notes = RefCell::new(Vec::new());
    let prove = |found: &Opened, given: bool| wanted.prove(found, given, &notes);
    let parent = chain.parent(source, Format::Vhd, wanted.names(), &prove)?;
    info.notes.extend(notes.into_inner());
    let disk: DiskRef = Arc::new(Mapped::new(map, Some(parent.disk.clone())));
    Ok(Opened { disk, info, sources: vec![source.clone()] }.with_parent(parent))
}

fn open_fixed(
    source: &Arc<SourceFile>,
    geometry: Geometry,
    data_end: u64,
) -> Result<Mapped<RawMap>, ReadError> {
    if geometry.len.get() > data_end {
        let wanted = format!("{} bytes of data before the footer", geometry.len.get());
        return Err(corrupt("VHD footer current size", data_end, wanted, data_end));
    }
    Ok(Mapped::new(RawMap::new(source.clone(), geometry), None))
}

fn open_blocks(
    source: &Arc<SourceFile>,
    geometry: Geometry,
    header_at: u64,
    layout: Layout,
    found: &Found,
) -> Result<(Header, BlockMap), ReadError> {
    let header = Header::read(source, header_at, geometry.len.get())?;
    let sectors = match layout {
        Layout::Differencing => Sectors::Marked(Bitmaps::default()),
        Layout::Fixed | Layout::Dynamic => Sectors::AllHere,
    };
    let map = BlockMap::open(source, geometry, &header, found.data_end, sectors)?;
    Ok((header, map))
}
