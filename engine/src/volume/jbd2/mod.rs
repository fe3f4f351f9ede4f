//! Replaying an ext3/ext4 journal in memory, as the kernel does when it mounts after a power cut.
//!
//! Guests are pulled in drills, so this is the normal case, not the odd one. Reading without it would silently show old files. Three
//! passes, as in Linux's `fs/jbd2/recovery.c`: find the last complete transaction, collect revoked blocks, collect blocks to put back.
//! The result goes on top of the partition as an [`Overlay`]; nothing is written.

mod inode;
mod log;

use crate::disk::{DiskRef, Overlay, ReadError, Write, read_vec};
use crate::units::ByteOffset;
use std::sync::Arc;

/// Most bytes that a replay may put back: 256 MiB.
const REPLAY_MAX: u64 = 256 << 20;
/// Most blocks of a journal: 4 GiB of the smallest blocks; mke2fs makes at most 1 GiB.
const JOURNAL_MAX: u32 = 4 << 20;

/// `EXT4_FEATURE_COMPAT_HAS_JOURNAL`.
const COMPAT_HAS_JOURNAL: u32 = 0x4;
/// `EXT4_FEATURE_INCOMPAT_RECOVER`: the journal has something to replay.
const INCOMPAT_RECOVER: u32 = 0x4;
/// `EXT4_FEATURE_RO_COMPAT_METADATA_CSUM`.
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// What came of a journal.
pub(super) enum Replay {
    /// There was nothing to do.
    Clean,
    /// The partition with the journal applied.
    Done {
        disk: DiskRef,
        blocks: u64,
        /// Set when something was left out that may have mattered.
        incomplete: Option<String>,
    },
    /// The journal cannot be replayed.
    Failed(String),
}

/// The parts of an ext4 superblock that a replay needs. Linux `fs/ext4/ext4.h`, `struct ext4_super_block`.
pub(super) struct Super {
    raw: Vec<u8>,
    block_size: u64,
}

impl Super {
    fn u16(&self, at: usize) -> u16 {
        self.raw.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
    }

    fn u32(&self, at: usize) -> u32 {
        self.raw.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
    }

    fn read(disk: &DiskRef) -> Result<Super, String> {
        let raw = read_vec(disk.as_ref(), ByteOffset(1024), 1024).map_err(|e| e.to_string())?;
        let mut sb = Super { raw, block_size: 0 };
        sb.block_size = match sb.u32(0x18) {
            shift @ 0..=6 => 1024 << shift,
            shift => return Err(format!("block size is 2^(10+{shift}), wanted at most 64 KiB")),
        };
        Ok(sb)
    }
}

/// Replay the journal of the ext file system on `disk`, if it needs that.
pub(super) fn replay(disk: &DiskRef) -> Replay {
    match try_replay(disk) {
        Ok(replay) => replay,
        Err(why) => Replay::Failed(why),
    }
}

/// The partition with its journal left aside, for a look at what is in place.
pub(super) fn without_journal(disk: &DiskRef) -> DiskRef {
    let look = || overlay(disk, with_superblock(Vec::new(), &Super::read(disk)?));
    look().unwrap_or_else(|_| disk.clone())
}

fn try_replay(disk: &DiskRef) -> Result<Replay, String> {
    let sb = Super::read(disk)?;
    if sb.u32(0x5c) & COMPAT_HAS_JOURNAL == 0 || sb.u32(0x60) & INCOMPAT_RECOVER == 0 {
        return Ok(Replay::Clean);
    }
    let inode = sb.u32(0xe0);
    if inode == 0 {
        return Err("the journal is on another device".into());
    }
    let map = inode::block_map(disk, &sb, inode)?;
    let found = log::read(disk, &map, sb.block_size)?;
    let blocks = found.blocks.len() as u64;
    let mut writes = Vec::new();
    let end = disk.geometry().len.get();
    for (block, bytes) in found.blocks {
        let at = block.checked_mul(sb.block_size).filter(|at| at.saturating_add(sb.block_size) <= end);
        let at =
            at.ok_or_else(|| format!("the journal names block {block}, beyond the end of the partition"))?;
        writes.push(Write { at: ByteOffset(at), bytes: bytes.into() });
    }
    let replayed = overlay(disk, writes.clone())?;
    // The superblock as the replay leaves it, marked as recovered: the reader above must not replay a second time.
    let sb = Super::read(&replayed)?;
    let writes = with_superblock(writes, &sb);
    Ok(Replay::Done { disk: overlay(disk, writes)?, blocks, incomplete: found.incomplete })
}

fn overlay(disk: &DiskRef, writes: Vec<Write>) -> Result<DiskRef, String> {
    Ok(Arc::new(Overlay::new(disk.clone(), disk.geometry(), writes).map_err(|e| e.to_string())?))
}

/// `writes` with the superblock's "needs recovery" flag cleared, its checksum made anew.
fn with_superblock(mut writes: Vec<Write>, sb: &Super) -> Vec<Write> {
    let mut raw = sb.raw.clone();
    put(&mut raw, 0x60, sb.u32(0x60) & !INCOMPAT_RECOVER);
    if sb.u32(0x64) & RO_COMPAT_METADATA_CSUM != 0 {
        let sum = chksum(!0, raw.get(..0x3fc).unwrap_or_default());
        put(&mut raw, 0x3fc, sum);
    }
    // The block that holds bytes 1024..2048 may be among those put back.
    let holds = |w: &Write| w.at.get() <= 1024 && w.at.get().saturating_add(w.bytes.len() as u64) >= 2048;
    match writes.iter_mut().find(|w| holds(w)) {
        Some(write) => {
            let mut bytes = write.bytes.to_vec();
            let skip = 1024usize.saturating_sub(write.at.get() as usize);
            if let Some(to) = bytes.get_mut(skip..skip + 1024) {
                to.copy_from_slice(&raw);
            }
            write.bytes = bytes.into();
        }
        None => {
            writes.push(Write { at: ByteOffset(1024), bytes: raw.into() });
            writes.sort_by_key(|w| w.at);
        }
    }
    writes
}

fn put(raw: &mut [u8], at: usize, value: u32) {
    if let Some(to) = raw.get_mut(at..at + 4) {
        to.copy_from_slice(&value.to_le_bytes());
    }
}

/// CRC-32C as Linux's `crc32c(seed, data)`: neither the seed nor the result is inverted.
fn chksum(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

fn fail(e: ReadError) -> String {
    e.to_string()
}
