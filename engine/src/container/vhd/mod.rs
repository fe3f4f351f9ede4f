//! VHD: a fixed one is the disk's bytes and a 512-byte footer; a dynamic one has a block table.
//! Virtual Hard Disk Image Format Specification 1.0 (Microsoft, 2006).

mod dynamic;
mod footer;

pub use footer::{Chs, DiskType, FOOTER_LEN, Footer, chs_for, fixed_footer};

use super::gate::Chain;
use super::mapped::Mapped;
use super::raw::RawMap;
use super::{
    ContainerInfo, Format, Layout, OpenError, Opened, corrupt, damaged, printable, read_file, refused,
};
use crate::disk::{DiskRef, Geometry, ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};
use std::sync::Arc;

pub(super) fn open(source: &Arc<SourceFile>, _chain: &mut Chain<'_>) -> Result<Opened, OpenError> {
    let bad = damaged(source, Format::Vhd);
    let (footer, footer_at) = find_footer(source).map_err(&bad)?;
    let geometry = Geometry { len: ByteLen(footer.current_size), sector: SectorSize::B512 };
    let mut info = ContainerInfo::new(Format::Vhd, Layout::Fixed, geometry, source.len());
    info.disk_id = Some(footer.unique_id);
    info.creator = printable(footer.creator_app.map(char::from));
    let disk: DiskRef = match footer.disk_type {
        DiskType::Fixed => {
            if footer.current_size > footer_at {
                let wanted = format!("{} bytes of data before the footer", footer.current_size);
                return Err(bad(corrupt("VHD footer current size", footer_at, wanted, footer_at)));
            }
            let disk = Mapped::new(RawMap::new(source.clone(), geometry), None);
            info.allocated = ByteLen(disk.stored_bytes().map_err(&bad)?);
            Arc::new(disk)
        }
        DiskType::Dynamic(header_at) => {
            let disk = dynamic::DynamicVhd::open(source, geometry, header_at).map_err(&bad)?;
            info.layout = Layout::Dynamic;
            info.block_size = Some(disk.block_size());
            info.allocated = disk.allocated();
            Arc::new(Mapped::new(disk, None))
        }
        DiskType::Differencing => {
            return Err(refused(
                source,
                "a differencing VHD: it holds only what differs from a parent file, and a parent named inside an image is not followed",
                "merge it into its parent first (Hyper-V: Merge-VHD), then drill the result",
            ));
        }
    };
    Ok(Opened { disk, info, sources: vec![source.clone()] })
}

/// The footer at the end; for a dynamic VHD also the copy at the beginning, when the one at the end is damaged.
fn find_footer(source: &SourceFile) -> Result<(Footer, u64), ReadError> {
    let mut bytes = [0; FOOTER_LEN];
    let Some(at_end) = source.len().checked_sub(FOOTER_LEN as u64) else {
        return Err(corrupt("VHD footer", 0, "at least 512 bytes", source.len()));
    };
    read_file(source, at_end, &mut bytes)?;
    let wrong = match Footer::parse(&bytes, at_end) {
        Ok(footer) => return Ok((footer, at_end)),
        Err(wrong) => wrong,
    };
    read_file(source, 0, &mut bytes)?;
    match Footer::parse(&bytes, 0) {
        Ok(footer) if footer.disk_type != DiskType::Fixed => Ok((footer, source.len())),
        _ => Err(wrong),
    }
}
