//! A child: a qcow2 that holds the changed clusters alone and shows its base, the image the disk was read from, for all the rest.
//!
//! What it costs follows the change, not the disk. The base is named inside the file, so that every program that reads qcow2 can follow; a base that
//! QEMU would read otherwise than we do is refused. Whoever writes to the base afterwards damages the child.

use super::{ExportError, ExportOptions, Exported, NewFile, OutFormat, Sink, Storage, partial};
use crate::container::qcow2::{BackingName, CLUSTER, Qcow2Writer};
use crate::container::{ContainerInfo, Format, Layout, LogState, Opened};
use crate::disk::file::Changed;
use crate::disk::{Disk, read_vec};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest name of a backing file. QEMU `docs/interop/qcow2.txt`, "Header".
const NAME_MAX: usize = 1023;

/// Why an image cannot be the base of a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be the base of a child: {why}")]
pub struct NoBase {
    /// The image.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// An image that a child can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(BackingName);

impl Base {
    /// The base of a child at `out`: its file name when it lies in the same folder, its whole path otherwise.
    ///
    /// # Errors
    /// [`NoBase`] when QEMU's block layer would refuse the image or read another disk in it, or its path cannot be recorded.
    pub fn of(opened: &Opened, out: &Path) -> Result<Base, NoBase> {
        let image = opened.sources.first().map_or(Path::new(""), |s| s.path());
        let no = |why: &str| NoBase { path: image.display().to_string(), why: why.to_owned() };
        if let Some(why) = misread(&opened.info) {
            return Err(no(why));
        }
        let real = image.canonicalize().map_err(|e| no(&e.to_string()))?;
        let folder = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let beside =
            folder.canonicalize().is_ok_and(|f| real.parent() == Some(&f)) && !opened.sources.is_empty();
        let name = match real.file_name() {
            // QEMU takes what stands before a colon for a protocol.
            Some(name) if beside && !name.as_bytes().contains(&b':') => name.as_bytes().to_vec(),
            _ => real.as_os_str().as_bytes().to_vec(),
        };
        if name.len() > NAME_MAX {
            return Err(no("its path is longer than the 1023 bytes a qcow2 can record"));
        }
        let format = match opened.info.format {
            Format::Raw => "raw",
            Format::Vhd => "vpc",
            Format::Vhdx => "vhdx",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
        };
        Ok(Base(BackingName { name, format }))
    }
}

/// What QEMU's block layer would make of an image, where that is not what it is.
fn misread(info: &ContainerInfo) -> Option<&'static str> {
    let ours = matches!(info.format, Format::Vhd | Format::Vhdx);
    if info.sector != SectorSize::B512 {
        return Some("its sectors are not of 512 bytes, which a qcow2 cannot say");
    }
    if ours && info.layout == Layout::Differencing {
        return Some("QEMU does not read differencing VHD and VHDX");
    }
    if matches!(info.log, Some(LogState::Replayed { .. })) {
        return Some("its log was never replayed, and QEMU reads no such VHDX without writing to it");
    }
    if info.read_otherwise.is_some() {
        return Some("QEMU goes by the geometry in this VHD's footer, and would see another length");
    }
    None
}

/// Write a child that shows `disk`: `changed` (offset and length, bytes) is what differs from the base, everything else is the base's own, and what lies
/// beyond its end is zeros. The file gets its name only if `still` says that the base is what it was.
///
/// # Errors
/// As for [`export_if`](super::export_if).
pub fn export_child(
    disk: &dyn Disk,
    changed: &[(ByteOffset, u64)],
    base: &Base,
    out: &Path,
    options: &ExportOptions,
    still: &dyn Fn() -> Result<(), Changed>,
) -> Result<Exported, ExportError> {
    let geometry = disk.geometry();
    let (len, sector) = (geometry.len.get(), geometry.sector.bytes());
    let wanted = "512-byte sectors, at most 64 TiB";
    let shape = || ExportError::Shape { len, sector, format: OutFormat::Qcow2, wanted };
    if geometry.sector != SectorSize::B512 {
        return Err(shape());
    }
    let mut sink = Box::new(Qcow2Writer::new(len).ok_or_else(shape)?.on(base.0.clone()));
    let clusters = clusters(changed);
    partial::check_target(out, options)?;
    let data = CLUSTER.saturating_mul(clusters.len() as u64);
    let new = NewFile::begin(out, options, data, sink.overhead())?;
    let partial = &new.partial;
    let failed = |source: io::Error| partial.failed("writing", source);
    let mut written = 0;
    for cluster in clusters {
        let at = cluster.saturating_mul(CLUSTER);
        let Some(left) = len.checked_sub(at) else { continue };
        // At most a cluster, so it fits a usize. Zeros are written, too: what is not written shows the base.
        let bytes = read_vec(disk, ByteOffset(at), left.min(CLUSTER) as usize)?;
        let (place, holds) = sink.place(partial, at, bytes.len() as u64).map_err(failed)?;
        debug_assert_eq!(holds, bytes.len() as u64, "a cluster lies in one piece");
        partial.write_at(place, &bytes).map_err(failed)?;
        written += bytes.len() as u64;
    }
    let file_len = sink.finish(partial).map_err(failed)?;
    let (path, cleared) = new.end(still)?;
    let (virtual_len, file_len, written) = (geometry.len, ByteLen(file_len), ByteLen(written));
    Ok(Exported { path, format: OutFormat::Qcow2, virtual_len, file_len, written, hash: None, cleared })
}

/// The clusters that these stretches touch.
fn clusters(changed: &[(ByteOffset, u64)]) -> BTreeSet<u64> {
    let touched = |(at, len): &(ByteOffset, u64)| match len {
        0 => 0..0,
        _ => at.get() / CLUSTER..at.get().saturating_add(*len).div_ceil(CLUSTER),
    };
    changed.iter().flat_map(touched).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        ByteLen, ByteOffset, CLUSTER, ContainerInfo, Format, Layout, LogState, SectorSize, clusters, misread,
    };
    use crate::disk::Geometry;

    #[test]
    fn what_qemu_reads_otherwise_is_no_base() {
        let info = |format, layout, sector| {
            ContainerInfo::new(format, layout, Geometry { len: ByteLen(1 << 20), sector }, 1 << 20)
        };
        let plain = |format| info(format, Layout::Dynamic, SectorSize::B512);
        for format in [Format::Raw, Format::Vhd, Format::Vhdx, Format::Qcow2, Format::Vmdk] {
            assert_eq!(misread(&plain(format)), None, "{format}");
        }
        let clean = ContainerInfo { log: Some(LogState::Clean), ..plain(Format::Vhdx) };
        assert_eq!(misread(&clean), None);
        let dirty =
            ContainerInfo { log: Some(LogState::Replayed { first: 1, last: 2 }), ..plain(Format::Vhdx) };
        let by_geometry = ContainerInfo { read_otherwise: Some(ByteLen(1)), ..plain(Format::Vhd) };
        for (bad, says) in [
            (dirty, "its log was never replayed"),
            (by_geometry, "QEMU goes by the geometry"),
            (info(Format::Vhdx, Layout::Differencing, SectorSize::B512), "differencing"),
            (info(Format::Vhd, Layout::Differencing, SectorSize::B512), "differencing"),
            (info(Format::Vhdx, Layout::Dynamic, SectorSize::B4096), "not of 512 bytes"),
            (info(Format::Raw, Layout::Fixed, SectorSize::B4096), "not of 512 bytes"),
        ] {
            assert!(misread(&bad).is_some_and(|why| why.contains(says)), "{says}");
        }
    }

    #[test]
    fn a_stretch_touches_each_cluster_it_has_a_byte_in() {
        let of = |at, len| clusters(&[(ByteOffset(at), len)]).into_iter().collect::<Vec<_>>();
        assert_eq!(of(0, 1), [0]);
        assert_eq!(of(CLUSTER - 1, 2), [0, 1]);
        assert_eq!(of(CLUSTER, CLUSTER), [1]);
        assert!(of(5, 0).is_empty());
    }
}
