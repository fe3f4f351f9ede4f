//! Any image as a disk: what the engine does not read itself is read by QEMU's own block layer, in a `qemu-nbd` that cannot follow names.
//!
//! ```text
//! image ─ engine::container ─┬─ raw, VHD, VHDX, plain qcow2 ────────────────────────────────► DiskRef
//!                            └─ Foreign ─ chain: every name in every file goes through the Gate, each file is opened here
//!                                           │ descriptors, and a node graph that holds nothing but /proc/self/fd/N
//!                                         sandbox: qemu-nbd, Landlock: these files to read, one folder for its socket
//!                                           │ NBD, read-only, one client
//!                                         nbd: every number that comes back is checked ─────► DiskRef
//! ```
//! The process dies with its disk: it ends when its only client hangs up, it is killed when the disk is dropped, and the kernel kills it
//! when this program is killed.
//!
//! Non-goals: writing, encryption, external data files, ESX's own extent kinds, backing files in VHD or VHDX.

mod cache;
mod chain;
mod disk;
mod graph;
mod names;
mod native;
mod nbd;
mod sandbox;
mod vmdk;

#[cfg(test)]
mod tests;

use disk::ForeignDisk;
use engine::container::{ContainerInfo, Format, Gate, OpenError, Opened, detect, open_through};
use engine::disk::{Geometry, SourceFile};
use engine::units::{ByteLen, SectorSize};
use nbd::Client;
use sandbox::Sandbox;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who reads foreign images.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The program, if this host has it.
    pub qemu_nbd: Option<PathBuf>,
    /// Folder for its socket: this user's alone, with a short path.
    pub sockets: PathBuf,
}

/// Why an image was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is the image.
    #[error(transparent)]
    Image(#[from] OpenError),
    /// It is this host: the reader is missing or did not work.
    #[error("{}: QEMU's block layer must read it, but {what}", path.display())]
    Reader {
        /// Which image.
        path: PathBuf,
        /// What went wrong.
        what: String,
    },
}

impl ImageError {
    /// What the user can do about it.
    pub fn next(&self) -> &str {
        match self {
            ImageError::Image(error) => error.next(),
            ImageError::Reader { .. } => {
                "drill doctor says what is missing; or convert the image: qemu-img convert -O raw IN OUT"
            }
        }
    }
}

/// Open an image for reading, whoever must read it; a name inside it must pass the gate.
///
/// # Errors
/// [`ImageError`], as for [`open_through`] and [`open_foreign`].
pub fn open(path: &Path, format: Option<Format>, gate: &Gate, reader: &Reader) -> Result<Opened, ImageError> {
    match open_through(path, format, gate) {
        Err(OpenError::Foreign { .. }) => open_foreign(path, format, gate, reader),
        other => Ok(other?),
    }
}

/// Open a qcow2 or VMDK that the engine does not read alone: through QEMU's block layer, or, on top of a VHD or VHDX, file by file.
///
/// # Errors
/// [`ImageError::Image`] when a name in it is not granted, a file is not what it should be or QEMU refuses it; [`ImageError::Reader`] when there is
/// no `qemu-nbd` or it does not do its work.
pub fn open_foreign(
    path: &Path,
    format: Option<Format>,
    gate: &Gate,
    reader: &Reader,
) -> Result<Opened, ImageError> {
    let source = Arc::new(SourceFile::open(path).map_err(OpenError::from)?);
    let format = match format {
        Some(format) => format,
        None => detect(&source)?,
    };
    if format == Format::Qcow2
        && let Some(opened) = native::open(&source, gate)?
    {
        return Ok(opened);
    }
    let plan = chain::plan(source, format, gate)?;
    let broken = |what: String| ImageError::Reader { path: path.to_path_buf(), what };
    let program = reader.qemu_nbd.as_deref().ok_or_else(|| broken("qemu-nbd is not in PATH".into()))?;
    let sandbox = Sandbox::start(program, &reader.sockets, &plan.graph).map_err(|e| broken(e.to_string()))?;
    let client = match sandbox.connect() {
        Ok(stream) => Client::greet(stream, path.display().to_string()),
        Err(e) => Err(e),
    };
    let client = client.map_err(|e| match sandbox.refusal() {
        Some(words) => ImageError::Image(OpenError::Refused {
            path: path.to_path_buf(),
            what: format!("QEMU's block layer does not read it: {words}"),
            next: "look at it with qemu-img check; if it is damaged, copy it again".into(),
        }),
        None => broken(e.to_string()),
    })?;
    // Also the proof that QEMU put the pieces together as the plan did.
    if client.len() != plan.len {
        return Err(broken(format!("it makes {} bytes of it, wanted {}", client.len(), plan.len)));
    }
    let geometry = Geometry { len: ByteLen(plan.len), sector: SectorSize::B512 };
    let mut info = ContainerInfo::new(format, plan.layout, geometry, plan.file_len);
    info.block_size = plan.block_size;
    info.chain = plan.below;
    info.notes.push(match sandbox.confined() {
        true => "read through QEMU's block layer".into(),
        false => "read through QEMU's block layer, which this kernel cannot confine (no Landlock)".into(),
    });
    info.notes.extend(plan.notes);
    let sources = plan.graph.files().to_vec();
    let disk = ForeignDisk::new(geometry, client, sandbox, plan.graph);
    info.allocated = disk.stored_bytes().map_err(|source| OpenError::Damaged {
        path: path.to_path_buf(),
        format,
        source,
    })?;
    Ok(Opened { disk: Arc::new(disk), info, sources })
}
