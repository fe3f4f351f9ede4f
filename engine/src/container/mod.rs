//! Disk images: what a file holds becomes a [`Disk`](crate::disk::Disk).
//!
//! The format is found in the content, never in the name. Whatever an image claims about itself is checked before it is
//! used; a name of another file inside an image leads only through a [`Gate`]. [`export`](export::export) is the way back: any disk to a new file.

mod detect;
pub mod export;
pub mod gate;
mod mapped;
pub mod qcow2;
mod raw;
pub mod vhd;
pub mod vhdx;
mod view;
pub mod vmdk;

pub use export::{
    ExportError, ExportOptions, Exported, Flush, OutFormat, Phase, Progress, export, export_if,
};

pub use gate::Gate;

use self::gate::Chain;
use crate::disk::file::{Changed, SourceError};
use crate::disk::{DiskRef, Geometry, ReadError, SourceFile};
use crate::table::guid::Guid;
use crate::units::{ByteLen, SectorSize};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Image formats that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The bytes of the disk and nothing else.
    Raw,
    /// Virtual PC's and Azure's format, fixed, dynamic or differencing.
    Vhd,
    /// Hyper-V's format, fixed, dynamic or differencing.
    Vhdx,
    /// QEMU's format.
    Qcow2,
    /// VMware's format; only its own words are read here, see [`OpenError::Foreign`].
    Vmdk,
}

/// Whether the disk's bytes lie in order in the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// In order and all there.
    Fixed,
    /// In blocks that come to be when they are written.
    Dynamic,
    /// Only what differs from a parent.
    Differencing,
}

/// State of a container's own log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogState {
    /// Nothing in it.
    Clean,
    /// It held changes that were not in place; they are laid over the file in memory, the file is as it was.
    Replayed {
        /// Sequence number of the first entry.
        first: u64,
        /// Sequence number of the last entry.
        last: u64,
    },
}

/// A parent in a chain of differencing disks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ParentInfo {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// How it keeps its bytes.
    pub layout: Layout,
    /// State of its log, if the format has one.
    pub log: Option<LogState>,
}

/// What a container says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Format of the file.
    pub format: Format,
    /// How it keeps the bytes.
    pub layout: Layout,
    /// Length of the disk, bytes.
    pub virtual_len: ByteLen,
    /// Bytes of the disk that the container stores: whole blocks for a dynamic format, what is no hole of the file system otherwise.
    pub allocated: ByteLen,
    /// Logical sector size.
    pub sector: SectorSize,
    /// Physical sector size, if the format records one.
    pub physical_sector: Option<SectorSize>,
    /// Block size of a dynamic format, bytes.
    pub block_size: Option<u64>,
    /// Length of the file, bytes.
    pub file_len: ByteLen,
    /// Id of the disk, if the format records one.
    pub disk_id: Option<Guid>,
    /// Program that made the file, as it calls itself.
    pub creator: Option<String>,
    /// Id of this state of the content, if the format records one: a VHDX's data write GUID.
    pub data_id: Option<Guid>,
    /// When the file was made, in seconds since 2000, if the format records it: a VHD's time stamp.
    pub time_stamp: Option<u32>,
    /// State of the log, if the format has one.
    pub log: Option<LogState>,
    /// The parents of a differencing disk, nearest first.
    pub chain: Vec<ParentInfo>,
    /// Length that programs see which go by another field of the file, where it is another: a VHD's geometry, for some creators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_otherwise: Option<ByteLen>,
    /// What is unusual about the file and was mended in memory, in words.
    pub notes: Vec<String>,
}

impl ContainerInfo {
    /// Only what every format knows.
    pub fn new(format: Format, layout: Layout, geometry: Geometry, file_len: u64) -> ContainerInfo {
        ContainerInfo {
            format,
            layout,
            virtual_len: geometry.len,
            allocated: ByteLen(0),
            sector: geometry.sector,
            physical_sector: None,
            block_size: None,
            file_len: ByteLen(file_len),
            disk_id: None,
            creator: None,
            data_id: None,
            time_stamp: None,
            log: None,
            chain: Vec::new(),
            read_otherwise: None,
            notes: Vec::new(),
        }
    }
}

/// An opened image.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its content.
    pub disk: DiskRef,
    /// What it says about itself.
    pub info: ContainerInfo,
    /// The read-only descriptors behind it: the image, then its parents, nearest first. Never empty.
    pub sources: Vec<Arc<SourceFile>>,
}

impl Opened {
    /// That nobody touched any of the files meanwhile: see [`SourceFile::unchanged`].
    ///
    /// # Errors
    /// [`Changed`] names the first file and property that differs.
    pub fn unchanged(&self) -> Result<(), Changed> {
        self.sources.iter().try_for_each(|s| s.unchanged())
    }

    /// States of all files behind the disk when they were opened.
    pub fn identities(&self) -> Vec<crate::disk::file::Identity> {
        self.sources.iter().map(|s| s.identity()).collect()
    }

    /// Permissions that a copy of the disk may have: those that every file behind it has, without the right to execute.
    pub fn mode(&self) -> u32 {
        self.sources.iter().fold(0o666, |mode, source| mode & source.mode())
    }

    /// A child of `parent`: the files behind it, and what the parent's part of the chain is.
    fn with_parent(mut self, parent: Opened) -> Opened {
        let info = parent.info;
        self.info.chain = vec![ParentInfo {
            path: parent.sources.first().map(|s| s.path().to_path_buf()).unwrap_or_default(),
            format: info.format,
            layout: info.layout,
            log: info.log,
        }];
        self.info.chain.extend(info.chain);
        self.info.notes.extend(info.notes);
        self.sources.extend(parent.sources);
        self
    }
}

/// Why an image was not opened. The text says where, wanted and found; [`OpenError::next`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file itself could not be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nothing in it is an image we know.
    #[error("{}: not a disk image drill knows: wanted a VHDX, VHD, qcow2, VMDK or a raw disk with a partition table, found {found}",
        path.display())]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What its first bytes look like.
        found: String,
    },
    /// A sound image of a kind that is not read.
    #[error("{}: {what}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What the user can do.
        next: String,
    },
    /// A sound image that is not read here but through QEMU's block layer, one floor up.
    #[error("{}: {what}, which is read only through QEMU's block layer", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// What it is.
        what: String,
    },
    /// The image contradicts itself or its format, or could not be read.
    #[error("{}: {format}: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Format it was read as.
        format: Format,
        /// Where, wanted, found.
        source: ReadError,
    },
}

impl OpenError {
    /// What the user can do about it.
    pub fn next(&self) -> &str {
        match self {
            OpenError::Source(SourceError::Open { .. }) => "check the path and that you may read the file",
            OpenError::Source(SourceError::NotAFile { .. }) => "give the path of a disk image",
            OpenError::Unknown { .. } => {
                "convert it with qemu-img to VHDX or raw; if it is a raw disk without a partition table, say so with --format raw"
            }
            OpenError::Refused { next, .. } => next,
            OpenError::Foreign { .. } => "convert it first: qemu-img convert -O raw IN OUT",
            OpenError::Damaged { source: ReadError::Io { .. }, .. } => {
                "check the storage the image lies on, then try again"
            }
            OpenError::Damaged { .. } => {
                "the file is damaged or was not copied whole: copy or replicate it again and compare checksums"
            }
        }
    }
}

/// Open an image for reading, with parents only from its own folder.
///
/// # Errors
/// As for [`open_through`].
pub fn open(path: &Path, format: Option<Format>) -> Result<Opened, OpenError> {
    open_through(path, format, &Gate::same_folder())
}

/// Open an image for reading; a parent named inside it must pass the gate.
///
/// `format` demands a format; without it the content decides, and a file that is only recognisable as raw is refused when
/// its name promises a container (a VHD that lost its footer looks like a raw disk).
///
/// # Errors
/// [`OpenError`]; nothing is ever read as if sound that is not: a torn log, a missing parent and a truncated file are errors here,
/// not later. [`OpenError::Foreign`] when QEMU's block layer must read it.
pub fn open_through(path: &Path, format: Option<Format>, gate: &Gate) -> Result<Opened, OpenError> {
    open_source(Arc::new(SourceFile::open(path)?), format, &mut Chain::new(gate))
}

/// The format of a file, by its content.
///
/// # Errors
/// [`OpenError::Unknown`] when it is none of ours, [`OpenError::Refused`] when it is not safe to say.
pub fn detect(source: &SourceFile) -> Result<Format, OpenError> {
    detect::detect(source)
}

fn open_source(
    source: Arc<SourceFile>,
    format: Option<Format>,
    chain: &mut Chain<'_>,
) -> Result<Opened, OpenError> {
    chain.enter(&source)?;
    if format.is_none() && export::is_partial_name(source.path()) {
        return Err(refused(
            &source,
            "an export that did not come to its end: the file is not whole",
            "run the export again; it removes this file and starts clean",
        ));
    }
    let format = match format {
        Some(format) => format,
        None => detect::detect(&source)?,
    };
    match format {
        Format::Raw => raw::open(&source),
        Format::Vhd => vhd::open(&source, chain),
        Format::Vhdx => vhdx::open(&source, chain),
        Format::Qcow2 => qcow2::open_alone(&source),
        Format::Vmdk => {
            Err(OpenError::Foreign { path: source.path().to_path_buf(), format, what: "a VMDK".into() })
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Raw => "raw",
            Format::Vhd => "VHD",
            Format::Vhdx => "VHDX",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "VMDK",
        })
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Format, String> {
        match text.to_ascii_lowercase().as_str() {
            "raw" => Ok(Format::Raw),
            "vhd" | "vpc" => Ok(Format::Vhd),
            "vhdx" => Ok(Format::Vhdx),
            "qcow2" => Ok(Format::Qcow2),
            "vmdk" => Ok(Format::Vmdk),
            _ => Err(format!("no image format {text:?}, wanted raw, vhd, vhdx, qcow2 or vmdk")),
        }
    }
}

/// A finding as an error: where, wanted, found.
fn corrupt(what: impl Into<String>, at: u64, wanted: impl ToString, found: impl ToString) -> ReadError {
    ReadError::Corrupt { what: what.into(), at, wanted: wanted.to_string(), found: found.to_string() }
}

/// Read from the file of a container, with the file's name and offset in the error.
fn read_file(source: &SourceFile, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
    let end = source.len();
    if at.checked_add(buf.len() as u64).is_none_or(|stop| stop > end) {
        return Err(corrupt("end of file", end, format!("{} bytes at {at:#x}", buf.len()), "a shorter file"));
    }
    source.read_exact_at(at, buf).map_err(|e| io_error(source, at, e))
}

fn io_error(source: &SourceFile, at: u64, error: std::io::Error) -> ReadError {
    ReadError::Io { what: source.path().display().to_string(), at, source: error }
}

fn damaged(source: &SourceFile, format: Format) -> impl Fn(ReadError) -> OpenError + '_ {
    move |error| OpenError::Damaged { path: source.path().to_path_buf(), format, source: error }
}

fn refused(source: &SourceFile, what: impl Into<String>, next: impl Into<String>) -> OpenError {
    OpenError::Refused { path: source.path().to_path_buf(), what: what.into(), next: next.into() }
}

/// Text from an image, fit to be shown: printable ASCII only, blanks at the end removed.
fn printable(text: impl IntoIterator<Item = char>) -> Option<String> {
    let shown: String = text
        .into_iter()
        .take_while(|c| *c != '\0')
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    Some(shown.trim_end().to_owned()).filter(|s| !s.is_empty())
}
