//! What a qcow2 says about itself in its first cluster: enough for somebody else to read it, without a look at its tables.

use super::header::{Header, read_header};
use super::not_read;
use crate::container::{Format, OpenError, corrupt, damaged, read_file};
use crate::disk::{ReadError, SourceFile};
use crate::units::{ByteLen, SectorSize};

/// Header extensions that are looked at. QEMU knows six.
const EXTENSIONS_MAX: usize = 64;
/// "Backing file format name string". QEMU `docs/interop/qcow2.txt`, "Header extensions".
const BACKING_FORMAT: u32 = 0xE279_2ACA;
/// "External data file name string".
const DATA_FILE_NAME: u32 = 0x4441_5441;
/// Longest name of a format; QEMU's own buffer has 16 bytes.
const FORMAT_NAME_MAX: usize = 15;

/// A qcow2 that QEMU's block layer can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Qcow2Facts {
    /// Version of the format, 2 or 3.
    pub version: u32,
    /// Length of its disk; whole sectors of 512 bytes.
    pub len: ByteLen,
    /// Bytes of a cluster.
    pub cluster_size: u64,
    /// What it lies on.
    pub backing: Option<Backing>,
}

/// A backing file, as the image that lies on it names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backing {
    /// Its name: a file's, a URL or whatever else somebody wrote there. Never to be followed as it is.
    pub name: String,
    /// Its format, if the image records it.
    pub format: Option<String>,
}

/// The facts of a qcow2.
///
/// # Errors
/// [`OpenError::Damaged`] when the first cluster contradicts the format, [`OpenError::Refused`] for encryption, data in another file, the corrupt mark
/// and features that nobody knows.
pub fn facts(source: &SourceFile) -> Result<Qcow2Facts, OpenError> {
    let bad = damaged(source, Format::Qcow2);
    let header = read_header(source).map_err(&bad)?;
    if let Some(feature) = &header.refused_feature {
        return Err(not_read(source, feature));
    }
    if header.len % SectorSize::B512.bytes() != 0 {
        return Err(bad(corrupt("qcow2 header size", 24, "a multiple of the 512-byte sector", header.len)));
    }
    let extensions = read_extensions(source, &header).map_err(&bad)?;
    if extensions.names_data_file {
        return Err(not_read(source, "its data in another file"));
    }
    let backing = match header.backing {
        Some((at, len)) => {
            let name = read_name(source, &header, at, len).map_err(&bad)?;
            Some(Backing { name, format: extensions.backing_format })
        }
        None => None,
    };
    Ok(Qcow2Facts {
        version: header.version,
        len: ByteLen(header.len),
        cluster_size: header.cluster_size(),
        backing,
    })
}

#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    names_data_file: bool,
}

/// "Header extensions": type, length, data padded to 8 bytes; they end at type 0, at the backing file's name or with the first cluster.
fn read_extensions(source: &SourceFile, header: &Header) -> Result<Extensions, ReadError> {
    let end = header.backing.map_or(u64::MAX, |(at, _)| at).min(header.cluster_size()).min(source.len());
    let mut found = Extensions::default();
    let mut at = header.extensions_at;
    for _ in 0..EXTENSIONS_MAX {
        let Some(data_at) = at.checked_add(8).filter(|data_at| *data_at <= end) else {
            return Ok(found);
        };
        let mut head = [0; 8];
        read_file(source, at, &mut head)?;
        let kind = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let len = u64::from(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        if data_at.saturating_add(len) > end {
            let wanted = format!("one that ends before {end:#x}");
            return Err(corrupt("qcow2 header extension", at, wanted, format!("{len} bytes")));
        }
        match kind {
            0 => return Ok(found),
            BACKING_FORMAT => found.backing_format = Some(read_text(source, data_at, len, FORMAT_NAME_MAX)?),
            DATA_FILE_NAME => found.names_data_file = true,
            _ => {}
        }
        at = data_at.saturating_add(len.next_multiple_of(8));
    }
    Err(corrupt("qcow2 header extensions", header.extensions_at, format!("at most {EXTENSIONS_MAX}"), "more"))
}

fn read_name(source: &SourceFile, header: &Header, at: u64, len: usize) -> Result<String, ReadError> {
    if at.saturating_add(len as u64) > header.cluster_size() {
        let found = format!("{len} bytes at {at:#x}");
        return Err(corrupt("qcow2 backing file name", 8, "a name within the first cluster", found));
    }
    read_text(source, at, len as u64, len)
}

fn read_text(source: &SourceFile, at: u64, len: u64, max: usize) -> Result<String, ReadError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max {
        return Err(corrupt("qcow2 name", at, format!("at most {max} bytes"), len));
    }
    let mut bytes = vec![0; len];
    read_file(source, at, &mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(corrupt("qcow2 name", at, "UTF-8 without NUL", "other bytes")),
    }
}
