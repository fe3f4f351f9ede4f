//! What failback needs, carried on the disk itself.
//!
//! ```text
//! 0   8   magic "DRILLCAP"
//! 8   4   version, little-endian
//! 12  4   length of the payload in bytes
//! 16  32  BLAKE3 of the payload
//! 48  …   payload: JSON
//! ```
//! It lies in the gap before the first partition, at the start of a sector, between GRUB's core and its script.

use super::{Bytes, Strategy, Undo};
use crate::disk::{Disk, Geometry, ReadError};
use crate::table::gpt::{Gpt, TYPE_BIOS_BOOT};
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};

/// First bytes of a capsule.
pub const MAGIC: [u8; 8] = *b"DRILLCAP";
/// The layout that this program writes and reads.
const VERSION: u32 = 2;
const HEADER: usize = 48;
/// Most bytes of a capsule, header and all: 1 MiB, as much as fits before the first partition.
pub const CAPSULE_MAX: usize = 1 << 20;
/// Most BIOS boot partitions that are searched.
const PLACES_MAX: usize = 4;
/// Most operations that one may undo.
const UNDO_MAX: usize = 256;

/// The record of a conversion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Capsule {
    /// Program and version that wrote it.
    pub tool: String,
    /// What was converted, in words.
    pub guest: String,
    /// How.
    pub strategy: Strategy,
    /// What was done, a line an operation: place and reason.
    pub plan: Vec<String>,
    /// Shape of the disk before.
    pub from: Geometry,
    /// Shape of the disk after.
    pub to: Geometry,
    /// LBA 0 as it was, whole.
    pub lba0: Bytes,
    /// The primary GPT header as it was.
    pub gpt_header: Bytes,
    /// The primary GPT array as it was.
    pub gpt_entries: Bytes,
    /// The last sector of the disk, the backup GPT header's place, as it was.
    pub backup_header: Bytes,
    /// What lies before it, the backup GPT array's place, as it was.
    pub backup_entries: Bytes,
    /// What undoes the conversion, in this order.
    pub undo: Vec<Undo>,
}

/// Why some bytes are no capsule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapsuleError {
    /// Other bytes.
    #[error("no capsule: it does not begin with DRILLCAP")]
    Magic,
    /// Written by another version.
    #[error("capsule version is {found}, wanted {VERSION}")]
    Version {
        /// Version found.
        found: u32,
    },
    /// Cut short, or absurdly long.
    #[error("capsule payload is {wanted} bytes, {found} are there, at most {CAPSULE_MAX} are allowed")]
    Length {
        /// What the header says.
        wanted: usize,
        /// What follows it.
        found: usize,
    },
    /// Damaged.
    #[error("capsule checksum does not match")]
    Checksum,
    /// The payload has the right checksum and still makes no sense.
    #[error("capsule payload: {why}")]
    Payload {
        /// What the reader said.
        why: String,
    },
}

impl Capsule {
    /// As bytes, for the disk or for a file beside it. Equal capsules give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings, numbers and lists always has a JSON form.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER.saturating_add(payload.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// From bytes that begin with a capsule; what follows it is ignored.
    ///
    /// # Errors
    /// [`CapsuleError`]. Bytes may come from anywhere: everything is bounded and checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Capsule, CapsuleError> {
        let (head, rest) = bytes.split_first_chunk::<HEADER>().ok_or(CapsuleError::Magic)?;
        if !head.starts_with(&MAGIC) {
            return Err(CapsuleError::Magic);
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if word(8) != VERSION {
            return Err(CapsuleError::Version { found: word(8) });
        }
        let wanted = word(12) as usize;
        let payload = rest
            .get(..wanted)
            .filter(|_| wanted <= CAPSULE_MAX)
            .ok_or(CapsuleError::Length { wanted, found: rest.len() })?;
        if blake3::hash(payload).as_bytes()[..] != head[16..HEADER] {
            return Err(CapsuleError::Checksum);
        }
        let capsule: Capsule =
            serde_json::from_slice(payload).map_err(|e| CapsuleError::Payload { why: e.to_string() })?;
        if capsule.undo.len() > UNDO_MAX {
            let why = format!("{} operations to undo, wanted at most {UNDO_MAX}", capsule.undo.len());
            return Err(CapsuleError::Payload { why });
        }
        Ok(capsule)
    }

    /// The capsule on a disk, if there is one: in its first MiB, or in that of a BIOS boot partition. Damaged ones are passed over.
    ///
    /// # Errors
    /// [`ReadError`] when those places cannot be read.
    pub fn find(disk: &dyn Disk) -> Result<Option<Capsule>, ReadError> {
        if let Some(found) = find_behind(disk, 0)? {
            return Ok(Some(found));
        }
        let Ok(Some(gpt)) = Gpt::parse(disk) else { return Ok(None) };
        let places = gpt.partitions.iter().filter(|p| p.type_guid == TYPE_BIOS_BOOT);
        for (at, _) in places.take(PLACES_MAX).filter_map(|p| p.byte_range(gpt.sector)) {
            if let Some(found) = find_behind(disk, at.get())? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A capsule that begins at a whole sector of the MiB behind `at`.
fn find_behind(disk: &dyn Disk, at: u64) -> Result<Option<Capsule>, ReadError> {
    let left = disk.geometry().len.get().saturating_sub(at);
    let len = usize::try_from(left).unwrap_or(CAPSULE_MAX).min(CAPSULE_MAX);
    let mut head = vec![0; len];
    disk.read_at(ByteOffset(at), &mut head)?;
    let starts = (0..len).step_by(512).filter_map(|at| head.get(at..));
    Ok(starts.filter(|b| b.starts_with(&MAGIC)).find_map(|b| Capsule::from_bytes(b).ok()))
}
