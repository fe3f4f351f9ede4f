//! The journal itself. All numbers in it are big-endian. Linux `include/linux/jbd2.h`, `fs/jbd2/recovery.c`.

use super::{REPLAY_MAX, chksum, fail};
use crate::disk::{DiskRef, read_vec};
use crate::units::ByteOffset;
use std::collections::BTreeMap;

/// `JBD2_MAGIC_NUMBER`, first word of every block of the journal's own.
const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// All flags that this file understands: revoke, 64-bit, asynchronous commit, both checksums, fast commit.
const INCOMPAT_KNOWN: u32 = 0x3f;

/// The block began with [`MAGIC`] by chance, and the journal holds zeros in its place.
const TAG_ESCAPE: u32 = 1;
/// No UUID follows the tag.
const TAG_SAME_UUID: u32 = 2;
/// Last tag of its descriptor.
const TAG_LAST: u32 = 8;

/// What a journal wants put back.
pub(super) struct Found {
    /// Content by block of the partition.
    pub blocks: BTreeMap<u64, Vec<u8>>,
    /// Set when something had to be left out.
    pub incomplete: Option<String>,
}

/// One block that a transaction holds.
struct Tag {
    sequence: u32,
    block: u64,
    /// Logical block of the journal with the content.
    at: u32,
    escaped: bool,
    checksum: u32,
}

struct Log<'a> {
    disk: &'a DiskRef,
    map: &'a [u64],
    block_size: u64,
    first: u32,
    /// One behind the last block of the ring; fast commits lie behind it.
    end: u32,
    incompat: u32,
    seed: u32,
}

/// Read the journal whose file lies in the blocks `map`.
pub(super) fn read(disk: &DiskRef, map: &[u64], block_size: u64) -> Result<Found, String> {
    let mut log = Log { disk, map, block_size, first: 0, end: 0, incompat: 0, seed: 0 };
    let sb = log.block(0)?;
    let kind = be32(&sb, 4);
    if be32(&sb, 0) != MAGIC || !(kind == SUPERBLOCK_V1 || kind == SUPERBLOCK_V2) {
        return Err("the journal has no superblock".into());
    }
    if u64::from(be32(&sb, 0xc)) != block_size {
        return Err(format!("the journal's blocks are {} bytes, wanted {block_size}", be32(&sb, 0xc)));
    }
    if kind == SUPERBLOCK_V2 {
        log.incompat = be32(&sb, 0x28);
        log.seed = chksum(!0, sb.get(0x30..0x40).unwrap_or_default());
    }
    if log.incompat & !INCOMPAT_KNOWN != 0 {
        return Err(format!("the journal has unknown features {:#x}", log.incompat & !INCOMPAT_KNOWN));
    }
    let fast = if log.incompat & INCOMPAT_FAST_COMMIT == 0 {
        0
    } else {
        // `JBD2_DEFAULT_FAST_COMMIT_BLOCKS` when the field is 0.
        match be32(&sb, 0x54) {
            0 => 256,
            n => n,
        }
    };
    let len = be32(&sb, 0x10);
    log.first = be32(&sb, 0x14);
    log.end = len.checked_sub(fast).ok_or("the journal is shorter than its fast-commit area")?;
    if len as usize > map.len() || log.first == 0 || log.first >= log.end {
        return Err(format!(
            "the journal says it has {len} blocks from {} on, its file has {}",
            log.first,
            map.len()
        ));
    }
    let (sequence, start) = (be32(&sb, 0x18), be32(&sb, 0x1c));
    let mut found = Found { blocks: BTreeMap::new(), incomplete: None };
    if start != 0 {
        if start < log.first || start >= log.end {
            return Err(format!(
                "the journal begins at its block {start}, wanted {}..{}",
                log.first, log.end
            ));
        }
        found = log.replay(sequence, start)?;
    }
    // `EXT4_FC_TAG_HEAD` is 9, little-endian like everything in ext4 but the journal.
    if fast > 0 && found.incomplete.is_none() && log.block(log.end)?.starts_with(&[9, 0]) {
        found.incomplete = Some("fast commits were not replayed".into());
    }
    Ok(found)
}

impl Log<'_> {
    fn block(&self, logical: u32) -> Result<Vec<u8>, String> {
        let block = self.map.get(logical as usize).ok_or("beyond the end of the journal")?;
        let at = block.checked_mul(self.block_size).ok_or("block number beyond 2^64")?;
        read_vec(self.disk.as_ref(), ByteOffset(at), self.block_size as usize).map_err(fail)
    }

    /// The block behind `logical`; the journal is a ring.
    fn next(&self, logical: u32) -> u32 {
        match logical.saturating_add(1) {
            next if next >= self.end => self.first,
            next => next,
        }
    }

    fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Walk the complete transactions; what they hold, less what later ones revoked.
    fn replay(&self, mut sequence: u32, start: u32) -> Result<Found, String> {
        let (mut tags, mut revoked): (Vec<Tag>, BTreeMap<u64, u32>) = (Vec::new(), BTreeMap::new());
        // Of the transaction that is not committed yet.
        let (mut open_tags, mut open_revokes): (Vec<Tag>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut at = start;
        // The ring is gone round at most once.
        let mut left = self.end - self.first;
        while left > 0 {
            let block = self.block(at)?;
            if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
                break;
            }
            left -= 1;
            at = self.next(at);
            match be32(&block, 4) {
                DESCRIPTOR => {
                    if self.has_checksums() && !self.tail_is_valid(&block) {
                        break;
                    }
                    let list = self.tags(&block, sequence);
                    for mut tag in list {
                        tag.at = at;
                        at = self.next(at);
                        left = left.saturating_sub(1);
                        open_tags.push(tag);
                    }
                }
                COMMIT => {
                    if self.has_checksums() && !self.commit_is_valid(&block) {
                        break;
                    }
                    tags.append(&mut open_tags);
                    for block in open_revokes.drain(..) {
                        revoked.insert(block, sequence);
                    }
                    sequence = sequence.wrapping_add(1);
                }
                REVOKE => {
                    if self.has_checksums() && !self.tail_is_valid(&block) {
                        break;
                    }
                    open_revokes.extend(self.revokes(&block));
                }
                _ => break,
            }
        }
        self.collect(&tags, &revoked)
    }

    fn collect(&self, tags: &[Tag], revoked: &BTreeMap<u64, u32>) -> Result<Found, String> {
        let mut found = Found { blocks: BTreeMap::new(), incomplete: None };
        for tag in tags {
            // Sequence numbers wrap, so they are compared by their distance.
            let is_revoked = |by: &u32| (by.wrapping_sub(tag.sequence) as i32) >= 0;
            if revoked.get(&tag.block).is_some_and(is_revoked) {
                continue;
            }
            let mut bytes = self.block(tag.at)?;
            if !self.content_is_valid(tag, &bytes) {
                found.incomplete = Some(format!("the journal's copy of block {} is damaged", tag.block));
                continue;
            }
            if tag.escaped
                && let Some(magic) = bytes.get_mut(..4)
            {
                magic.copy_from_slice(&MAGIC.to_be_bytes());
            }
            found.blocks.insert(tag.block, bytes);
            if (found.blocks.len() as u64).saturating_mul(self.block_size) > REPLAY_MAX {
                return Err(format!("the journal puts back more than {REPLAY_MAX} bytes"));
            }
        }
        Ok(found)
    }

    /// The tags of a descriptor block; `at` is filled in by the caller. `journal_block_tag_t` comes in four sizes.
    fn tags(&self, block: &[u8], sequence: u32) -> Vec<Tag> {
        let v3 = self.incompat & INCOMPAT_CSUM_V3 != 0;
        let wide = self.incompat & INCOMPAT_64BIT != 0;
        let size = match (v3, self.incompat & INCOMPAT_CSUM_V2 != 0, wide) {
            (true, _, _) => 16,
            (_, true, true) => 14,
            (_, true, false) => 10,
            (_, false, true) => 12,
            (_, false, false) => 8,
        };
        let tail = if self.has_checksums() { 4 } else { 0 };
        let end = block.len().saturating_sub(tail);
        let mut tags = Vec::new();
        let mut offset = 12usize;
        while let Some(raw) =
            offset.checked_add(size).filter(|e| *e <= end).and_then(|e| block.get(offset..e))
        {
            let (flags, checksum) =
                if v3 { (be32(raw, 4), be32(raw, 12)) } else { (be16(raw, 6), be16(raw, 4)) };
            let high = if wide { u64::from(be32(raw, 8)) } else { 0 };
            let block = (high << 32) | u64::from(be32(raw, 0));
            tags.push(Tag { sequence, block, at: 0, escaped: flags & TAG_ESCAPE != 0, checksum });
            offset = offset.saturating_add(size);
            if flags & TAG_SAME_UUID == 0 {
                offset = offset.saturating_add(16);
            }
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    /// The blocks that a revoke block names. `jbd2_journal_revoke_header_t`: bytes in use at 12.
    fn revokes(&self, block: &[u8]) -> Vec<u64> {
        let used = block.get(16..be32(block, 12) as usize).unwrap_or_default();
        if self.incompat & INCOMPAT_64BIT != 0 {
            used.chunks_exact(8).map(|b| (u64::from(be32(b, 0)) << 32) | u64::from(be32(b, 4))).collect()
        } else {
            used.chunks_exact(4).map(|b| u64::from(be32(b, 0))).collect()
        }
    }

    /// `struct jbd2_journal_block_tail`: the last four bytes.
    fn tail_is_valid(&self, block: &[u8]) -> bool {
        let at = block.len().saturating_sub(4);
        self.sum_without(block, at) == be32(block, at)
    }

    /// `struct commit_header`: `h_chksum[0]` at 16.
    fn commit_is_valid(&self, block: &[u8]) -> bool {
        self.sum_without(block, 16) == be32(block, 16)
    }

    /// The block's checksum with the field at `at` taken as zero.
    fn sum_without(&self, block: &[u8], at: usize) -> u32 {
        let (head, rest) = block.split_at(at.min(block.len()));
        let sum = chksum(chksum(self.seed, head), &[0; 4]);
        chksum(sum, rest.get(4..).unwrap_or_default())
    }

    fn content_is_valid(&self, tag: &Tag, bytes: &[u8]) -> bool {
        let sum = chksum(chksum(self.seed, &tag.sequence.to_be_bytes()), bytes);
        if self.incompat & INCOMPAT_CSUM_V3 != 0 {
            sum == tag.checksum
        } else {
            self.incompat & INCOMPAT_CSUM_V2 == 0 || sum & 0xffff == tag.checksum
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from(u16::from_be_bytes(*b)))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
}
