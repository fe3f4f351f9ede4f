//! Which blocks of the partition the journal's file lies in: its inode, by extents (ext4) or indirect blocks (ext3).

use super::{JOURNAL_MAX, Super, fail};
use crate::disk::{DiskRef, read_vec};
use crate::units::ByteOffset;

/// `EXT4_FEATURE_INCOMPAT_64BIT`: group descriptors are larger and block numbers have 48 bits.
const INCOMPAT_64BIT: u32 = 0x80;
/// `EXT4_EXTENTS_FL` of an inode.
const FLAG_EXTENTS: u32 = 0x8_0000;
/// `EXT4_EXT_MAGIC`.
const EXTENT_MAGIC: u16 = 0xf30a;
/// Deepest extent tree that Linux makes.
const DEPTH_MAX: u16 = 5;

/// Block numbers of the journal's file, by logical block.
pub(super) fn block_map(disk: &DiskRef, sb: &Super, inode: u32) -> Result<Vec<u64>, String> {
    let per_group = sb.u32(0x28);
    let index = inode.checked_sub(1).ok_or("journal inode is 0")?;
    let group = index.checked_div(per_group).ok_or("inodes per group is 0")?;
    let wide = sb.u32(0x60) & INCOMPAT_64BIT != 0;
    let desc_size = if wide { u64::from(sb.u16(0xfe)).max(64) } else { 32 };
    let table = u64::from(sb.u32(0x14))
        .checked_add(1)
        .and_then(|block| block.checked_mul(sb.block_size))
        .and_then(|at| at.checked_add(u64::from(group).checked_mul(desc_size)?))
        .ok_or("group descriptor lies beyond 2^64")?;
    let desc = read_vec(disk.as_ref(), ByteOffset(table), desc_size as usize).map_err(fail)?;
    let high = if wide { u64::from(u32_at(&desc, 0x28)) } else { 0 };
    let inode_table = (high << 32) | u64::from(u32_at(&desc, 8));
    let inode_size = match sb.u32(0x4c) {
        0 => 128,
        _ => u64::from(sb.u16(0x58)),
    };
    let at = inode_table
        .checked_mul(sb.block_size)
        .and_then(|at| at.checked_add(u64::from(index % per_group).checked_mul(inode_size)?))
        .ok_or("journal inode lies beyond 2^64")?;
    let raw = read_vec(disk.as_ref(), ByteOffset(at), 128).map_err(fail)?;
    let size = (u64::from(u32_at(&raw, 0x6c)) << 32) | u64::from(u32_at(&raw, 4));
    let blocks = size / sb.block_size;
    if blocks == 0 || blocks > u64::from(JOURNAL_MAX) {
        return Err(format!("the journal is {blocks} blocks, wanted 1 to {JOURNAL_MAX}"));
    }
    let mut map =
        Map { disk, block_size: sb.block_size, blocks: vec![0; blocks as usize], budget: JOURNAL_MAX };
    let root = raw.get(0x28..0x64).ok_or("inode is too short")?;
    if u32_at(&raw, 0x20) & FLAG_EXTENTS != 0 {
        map.extents(root, DEPTH_MAX)?;
    } else {
        let mut next = 0;
        for i in 0..12 {
            map.indirect(u32_at(root, i * 4), 0, &mut next)?;
        }
        for (i, level) in [(12, 1), (13, 2), (14, 3)] {
            map.indirect(u32_at(root, i * 4), level, &mut next)?;
        }
    }
    if map.blocks.contains(&0) {
        return Err("the journal's file has holes".into());
    }
    Ok(map.blocks)
}

struct Map<'a> {
    disk: &'a DiskRef,
    block_size: u64,
    blocks: Vec<u64>,
    /// Blocks of tree that may still be read: a hostile tree can point back at itself.
    budget: u32,
}

impl Map<'_> {
    fn read(&mut self, block: u64) -> Result<Vec<u8>, String> {
        self.budget = self.budget.checked_sub(1).ok_or("the journal's block tree does not end")?;
        let at = block.checked_mul(self.block_size).ok_or("block number beyond 2^64")?;
        read_vec(self.disk.as_ref(), ByteOffset(at), self.block_size as usize).map_err(fail)
    }

    /// `struct ext4_extent_header` and what follows it.
    fn extents(&mut self, node: &[u8], depth_left: u16) -> Result<(), String> {
        let (entries, depth) = (u16_at(node, 2), u16_at(node, 6));
        if u16_at(node, 0) != EXTENT_MAGIC || depth > depth_left {
            return Err("the journal's extent tree is damaged".into());
        }
        for entry in node.get(12..).unwrap_or_default().chunks_exact(12).take(usize::from(entries)) {
            if depth > 0 {
                let child = (u64::from(u16_at(entry, 8)) << 32) | u64::from(u32_at(entry, 4));
                let child = self.read(child)?;
                self.extents(&child, depth - 1)?;
                continue;
            }
            let start = (u64::from(u16_at(entry, 6)) << 32) | u64::from(u32_at(entry, 8));
            // Above 32768 the extent is unwritten, which a journal never is.
            let len = u16_at(entry, 4);
            if len == 0 || len > 32768 {
                return Err(format!("an extent of the journal has length {len}"));
            }
            let first = u32_at(entry, 0) as usize;
            let slots = self.blocks.get_mut(first..).unwrap_or_default().iter_mut().take(usize::from(len));
            for (slot, block) in slots.zip(start..) {
                *slot = block;
            }
        }
        Ok(())
    }

    /// A block number of the old scheme: `level` 0 is data, above that a block of numbers.
    fn indirect(&mut self, block: u32, level: u8, next: &mut usize) -> Result<(), String> {
        if *next >= self.blocks.len() {
            return Ok(());
        }
        if level == 0 {
            if let Some(slot) = self.blocks.get_mut(*next) {
                *slot = u64::from(block);
            }
            *next += 1;
            return Ok(());
        }
        if block == 0 {
            return Err("the journal's file has holes".into());
        }
        let node = self.read(u64::from(block))?;
        for entry in node.chunks_exact(4) {
            self.indirect(u32_at(entry, 0), level - 1, next)?;
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}
