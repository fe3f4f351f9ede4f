//! VMDK, as far as its own words go: which files make up the disk and what each holds. Never data: QEMU's block layer reads that, one floor up.
//!
//! ```text
//! descriptor file ── extents: RW 4192256 SPARSE "disk-s001.vmdk" …   split disks, and flat ones
//! sparse file ────── header `KDMV`, descriptor inside                monolithicSparse, streamOptimized
//! ```
//! "VMware Virtual Disks, Virtual Disk Format 5.0" is the specification.

mod descriptor;
mod sparse;
mod walk;

pub use descriptor::{Access, Descriptor, EXTENTS_MAX, Extent, ExtentKind, MAGIC as DESCRIPTOR_MAGIC};
pub use sparse::{MAGIC as SPARSE_MAGIC, SparseHeader};

use super::view::FileView;
use super::{Format, OpenError, corrupt, damaged, read_file, refused};
use crate::disk::{ReadError, SourceFile};
use std::sync::Arc;

/// Longest descriptor that is read, in bytes; QEMU reads no more either (`vmdk_read_desc` in `block/vmdk.c`).
const DESCRIPTOR_BYTES_MAX: u64 = 1 << 20;
/// Largest disk we take, in sectors: 64 TiB, as for VHDX.
const SECTORS_MAX: u64 = (64 << 40) / SECTOR;
/// Bytes of a sector. All sizes in a VMDK count these.
pub const SECTOR: u64 = 512;

/// What a VMDK is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VmdkFacts {
    /// A descriptor alone; the data lies in the extents it names.
    Descriptor(Descriptor),
    /// One sparse file with its descriptor inside.
    Sparse(SparseHeader, Descriptor),
}

impl VmdkFacts {
    /// What the descriptor says, wherever it lies.
    pub fn descriptor(&self) -> &Descriptor {
        match self {
            VmdkFacts::Descriptor(descriptor) | VmdkFacts::Sparse(_, descriptor) => descriptor,
        }
    }
}

/// The facts of the VMDK that `source` begins.
///
/// # Errors
/// [`OpenError::Damaged`] when it contradicts itself or the format, [`OpenError::Refused`] for a file that is only a part of a disk.
pub fn facts(source: &SourceFile) -> Result<VmdkFacts, OpenError> {
    let bad = damaged(source, Format::Vmdk);
    let mut magic = [0; 4];
    read_file(source, 0, &mut magic).map_err(&bad)?;
    if magic != *SPARSE_MAGIC {
        let text = read_text(source, 0, source.len()).map_err(&bad)?;
        return Descriptor::parse(&text).map(VmdkFacts::Descriptor).map_err(&bad);
    }
    let header = SparseHeader::read(source).map_err(&bad)?;
    // Some programs set room aside for a descriptor in every extent, and leave it empty.
    let text = match header.descriptor {
        Some((at, len)) => read_text(source, at, len).map_err(&bad)?,
        None => String::new(),
    };
    if text.trim().is_empty() {
        return Err(refused(
            source,
            "one extent of a split VMDK: it holds only a part of the disk",
            "give the small descriptor file that names all the extents",
        ));
    }
    let at = header.descriptor.map_or(0, |(at, _)| at);
    let descriptor = Descriptor::parse(&text).map_err(&bad)?;
    if !matches!(descriptor.create_type.as_str(), "monolithicSparse" | "streamOptimized") {
        let what = format!("a sparse VMDK of the kind {:?}, which is not read", descriptor.create_type);
        return Err(refused(source, what, "convert it: qemu-img convert -O raw IN OUT"));
    }
    if descriptor.sectors != header.sectors {
        let wanted = format!("the header's {} sectors", header.sectors);
        return Err(bad(corrupt("VMDK descriptor's extents", at, wanted, descriptor.sectors)));
    }
    Ok(VmdkFacts::Sparse(header, descriptor))
}

/// The header of a sparse extent that a descriptor names.
///
/// # Errors
/// [`OpenError::Damaged`] when it is none.
pub fn extent_facts(source: &SourceFile) -> Result<SparseHeader, OpenError> {
    SparseHeader::read(source).map_err(damaged(source, Format::Vmdk))
}

/// That a sparse extent holds every grain that its tables point to. To be asked before QEMU's block layer reads it, which takes what a cut file
/// lacks for zeros.
///
/// # Errors
/// [`OpenError::Damaged`] with the first entry of a table that leads out of the file.
pub fn check_whole(source: &Arc<SourceFile>, header: &SparseHeader) -> Result<(), OpenError> {
    walk::check(&FileView::plain(source.clone()), header).map_err(damaged(source, Format::Vmdk))
}

/// A descriptor's text: what stands before the first NUL.
fn read_text(source: &SourceFile, at: u64, len: u64) -> Result<String, ReadError> {
    if len > DESCRIPTOR_BYTES_MAX {
        let wanted = format!("at most {DESCRIPTOR_BYTES_MAX} bytes");
        return Err(corrupt("VMDK descriptor", at, wanted, len));
    }
    let mut bytes = vec![0; len as usize]; // at most DESCRIPTOR_BYTES_MAX
    read_file(source, at, &mut bytes)?;
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec();
    String::from_utf8(text).map_err(|e| {
        let at = at.saturating_add(e.utf8_error().valid_up_to() as u64);
        corrupt("VMDK descriptor", at, "UTF-8 text", "other bytes")
    })
}
