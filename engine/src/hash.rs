//! Content hashes: of a file, to prove it untouched, and of a disk, to tell whether two containers hold the same.

use crate::container::Progress;
use crate::disk::{Disk, ExtentKind, ReadError, SourceFile};
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::ControlFlow;

/// Bytes of one step between two calls of the progress callback, and the unit in which a disk is hashed.
const STEP: u64 = 4 << 20;

/// A BLAKE3 hash; serialized as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentHash(pub [u8; 32]);

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// BLAKE3 of all bytes of a file, holes as the zeros they read as: the number `b3sum` prints.
///
/// # Errors
/// [`HashError::Read`], also when the file has become shorter; [`HashError::Cancelled`] when `progress` breaks.
pub fn file(
    source: &SourceFile,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ContentHash, HashError> {
    let total = source.len();
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; STEP.min(total.max(1)) as usize];
    let mut done = 0;
    while done < total {
        if progress(Progress { done, total }).is_break() {
            return Err(HashError::Cancelled);
        }
        let n = (total - done).min(STEP) as usize;
        source.read_exact_at(done, &mut buf[..n]).map_err(|e| ReadError::Io {
            what: source.path().display().to_string(),
            at: done,
            source: e,
        })?;
        hasher.update_rayon(&buf[..n]);
        done += n as u64;
    }
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// BLAKE3 of what a disk holds, whatever holds it: of its length and sector size, then of each 4 MiB step (aligned to its size) that is not
/// all zero, its offset before it. Zeros count the same whether stored, flagged or absent, so a raw copy, a VHD and a VHDX of
/// one disk have one hash, and empty terabytes cost nothing.
///
/// # Errors
/// As for [`file()`].
pub fn disk(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ContentHash, HashError> {
    let geometry = disk.geometry();
    let total = geometry.len.get();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"drill disk 1\0");
    hasher.update(&total.to_le_bytes());
    hasher.update(&geometry.sector.bytes().to_le_bytes());
    let mut buf = Vec::new();
    let mut at = 0;
    while at < total {
        if progress(Progress { done: at, total }).is_break() {
            return Err(HashError::Cancelled);
        }
        let Some(extent) = disk.next_extent(ByteOffset(at))? else { break };
        // `at` is always the begin of a step; one that holds any data is read whole.
        let end = at.saturating_add(extent.len.get()).min(total);
        if extent.kind != ExtentKind::Data {
            let whole = end - end % STEP;
            if end == total || whole > at {
                at = if end == total { total } else { whole };
                continue;
            }
        }
        let n = (total - at).min(STEP);
        buf.resize(n as usize, 0);
        disk.read_at(ByteOffset(at), &mut buf)?;
        if buf.iter().any(|b| *b != 0) {
            hasher.update(&at.to_le_bytes());
            hasher.update_rayon(&buf);
        }
        at += n;
    }
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = String;
    fn try_from(text: String) -> Result<ContentHash, String> {
        blake3::Hash::from_hex(&text)
            .map(|h| ContentHash(*h.as_bytes()))
            .map_err(|e| format!("{text:?} is no hash: {e}"))
    }
}
