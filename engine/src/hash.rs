//! Content hashes: of a file, to prove it untouched, and of a disk, to tell whether two containers hold the same.

use crate::container::export::pump::is_zero;
use crate::container::{Phase, Progress};
use crate::disk::{Disk, ExtentKind, ReadError, SourceFile};
use crate::units::ByteOffset;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

/// Bytes of one step between two calls of the progress callback, and the unit in which a disk is hashed.
const STEP: u64 = 4 << 20;
/// Most threads that hash a disk; more only wait for memory.
const WORKERS_MAX: usize = 32;

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
    /// A hashing thread ended before its work was done.
    #[error("a hashing thread panicked: there is no hash; this is a mistake in drill, please report it")]
    Lost,
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
        if progress(Progress { done, total, phase: Phase::Hashing }).is_break() {
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

/// BLAKE3 of what a disk holds, whatever holds it, on all cores: of its length and sector size, then of the offset and the BLAKE3 of each 4 MiB
/// step (aligned to its size) that is not all zero. Zeros count the same whether stored, flagged or absent, so a raw copy, a VHD and a VHDX
/// of one disk have one hash, and empty terabytes cost nothing.
///
/// `progress` counts bytes of the disk and is called on this thread.
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
    hasher.update(b"drill disk 2\0");
    hasher.update(&total.to_le_bytes());
    hasher.update(&geometry.sector.bytes().to_le_bytes());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    std::thread::scope(|scope| {
        let (give, steps) = crossbeam_channel::bounded::<(u64, u64)>(workers);
        let (tell, leaves) = crossbeam_channel::bounded(workers);
        for _ in 0..workers {
            let (steps, tell) = (steps.clone(), tell.clone());
            scope.spawn(move || {
                let mut buf = Vec::new();
                for (at, len) in steps {
                    // A panic must not leave the others waiting for this step.
                    let found = std::panic::catch_unwind(AssertUnwindSafe(|| leaf(disk, at, len, &mut buf)));
                    if tell.send((at, found.unwrap_or(Err(HashError::Lost)))).is_err() {
                        return; // nobody wants to know any more
                    }
                }
            });
        }
        drop((steps, tell));
        // Leaves come back in any order, and count in the order of the disk: `early` holds at most those of steps given out.
        let (mut early, mut next) = (BTreeMap::new(), VecDeque::new());
        let mut take = |at: u64, found: Leaf, next: &mut VecDeque<u64>| -> Result<(), HashError> {
            early.insert(at, found);
            while let Some(found) = next.front().and_then(|at| early.remove(at)) {
                let at = next.pop_front().unwrap_or_default();
                if let Some(hash) = found? {
                    hasher.update(&at.to_le_bytes());
                    hasher.update(hash.as_bytes());
                }
            }
            Ok(())
        };
        let mut at = 0;
        while let Some((step, len)) = next_step(disk, at, total)? {
            if progress(Progress { done: step, total, phase: Phase::Hashing }).is_break() {
                return Err(HashError::Cancelled);
            }
            // Never more steps under way than the two queues and the workers hold: then no one waits for ever.
            while next.len() >= workers * 2 {
                let Ok((at, found)) = leaves.recv() else { break };
                take(at, found, &mut next)?;
            }
            next.push_back(step);
            if give.send((step, len)).is_err() {
                break;
            }
            at = step + len;
        }
        drop(give);
        for (at, found) in &leaves {
            take(at, found, &mut next)?;
        }
        if next.is_empty() { Ok(()) } else { Err(HashError::Lost) }
    })?;
    if progress(Progress { done: total, total, phase: Phase::Hashing }).is_break() {
        return Err(HashError::Cancelled);
    }
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// What a worker found in one step: nothing when it is all zero.
type Leaf = Result<Option<blake3::Hash>, HashError>;

fn leaf(disk: &dyn Disk, at: u64, len: u64, buf: &mut Vec<u8>) -> Leaf {
    buf.resize(len as usize, 0); // at most STEP
    disk.read_at(ByteOffset(at), buf)?;
    Ok((!is_zero(buf)).then(|| blake3::hash(buf)))
}

/// The first step from `from`, a multiple of the step, that holds any data: its offset and length.
fn next_step(disk: &dyn Disk, from: u64, total: u64) -> Result<Option<(u64, u64)>, HashError> {
    let mut at = from;
    while at < total {
        let Some(extent) = disk.next_extent(ByteOffset(at))? else { break };
        if extent.kind == ExtentKind::Data {
            let step = at - at % STEP;
            return Ok(Some((step, (total - step).min(STEP))));
        }
        at = at.saturating_add(extent.len.get());
    }
    Ok(None)
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
