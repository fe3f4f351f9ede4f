//! Inodes and directory entries of ext4, changed with their checksums: a name taken away, a file cut short, a mode without x.
//!
//! A guest must meet the fault that was meant, and not a checksum that does not fit. Kernel documentation, `filesystems/ext4`: "Super Block", "Block
//! Group Descriptors", "Index Nodes", "Directory Entries", "Checksums".

use super::Misfit;
use super::blocks::difference;
use engine::disk::{DiskRef, Write, read_vec};
use engine::units::ByteOffset;

/// Inode of `/`.
const ROOT: u32 = 2;
/// Features: incompatible meta_bg (0x10), inline data (0x8000); incompatible 64bit (0x80), csum_seed (0x2000); read-only compatible metadata_csum.
const NOT_READ: u32 = 0x10;
const BITS_64: u32 = 0x80;
const CSUM_SEED: u32 = 0x2000;
const METADATA_CSUM: u32 = 0x400;
/// Inode flags: its blocks are named by extents; its content lies in the inode itself.
const EXTENTS: u32 = 0x8_0000;
const INLINE: u32 = 0x1000_0000;
/// Links followed on the way to a file.
const MAX_LINKS: u32 = 8;
/// Blocks of one directory that are looked through, and nodes of one extent tree.
const MAX_BLOCKS: usize = 4096;
/// Mode bits.
const KIND: u16 = 0xf000;
const DIRECTORY: u16 = 0x4000;
const LINK: u16 = 0xa000;

/// An ext4 file system.
pub(super) struct Ext {
    disk: DiskRef,
    block: u64,
    groups_at: u64,
    group_len: u64,
    wide: bool,
    inodes: u32,
    per_group: u32,
    inode_len: u64,
    /// What checksums begin with; `None` when there are none.
    seed: Option<u32>,
}

/// An inode and where it lies.
#[derive(Clone)]
struct Inode {
    number: u32,
    at: u64,
    bytes: Vec<u8>,
}

/// A directory entry: its block, and where in it.
struct Entry {
    folder: Inode,
    block_at: u64,
    slot: usize,
    inode: u32,
}

impl Ext {
    pub(super) fn open(disk: DiskRef) -> Result<Ext, Misfit> {
        let sb = read_vec(disk.as_ref(), ByteOffset(1024), 1024)?;
        let (incompat, ro) = (u32_at(&sb, 0x60)?, u32_at(&sb, 0x64)?);
        if u16_at(&sb, 0x38)? != 0xef53 || incompat & NOT_READ != 0 {
            return Err(Misfit::new("its file system is not an ext4 of the usual kind"));
        }
        let shift = u32_at(&sb, 0x18)?.min(6);
        let block = 1024u64 << shift;
        let wide = incompat & BITS_64 != 0;
        let seed = if ro & METADATA_CSUM == 0 {
            None
        } else if incompat & CSUM_SEED != 0 {
            Some(u32_at(&sb, 0x270)?)
        } else {
            Some(crc32c(!0, sb.get(0x68..0x78).unwrap_or_default()))
        };
        Ok(Ext {
            groups_at: u64::from(u32_at(&sb, 0x14)?).saturating_add(1).saturating_mul(block),
            group_len: if wide { u64::from(u16_at(&sb, 0xfe)?).max(32) } else { 32 },
            inodes: u32_at(&sb, 0)?,
            per_group: u32_at(&sb, 0x28)?.max(1),
            inode_len: u64::from(u16_at(&sb, 0x58)?).clamp(128, 4096),
            disk,
            block,
            wide,
            seed,
        })
    }

    /// Rename the entry: its name begins with another letter, so nobody finds it.
    pub(super) fn hide(&self, path: &str) -> Result<Vec<Write>, Misfit> {
        let entry = self.find(path)?;
        let block = self.block_at(entry.block_at)?;
        let mut new = block.clone();
        // The name begins behind inode, record length, name length and kind.
        let first = new.get_mut(entry.slot.saturating_add(8)).ok_or_else(|| short("directory entry"))?;
        *first = if *first == b'~' { b'_' } else { b'~' };
        self.seal_folder(&entry.folder, &mut new)?;
        Ok(difference(entry.block_at, &block, &new).into_iter().collect())
    }

    /// The length of the file at the end of `path` divided by `parts`; 0 makes it empty.
    pub(super) fn cut(&self, path: &str, parts: u32) -> Result<Vec<Write>, Misfit> {
        let inode = self.inode_of(path)?;
        let mut new = inode.bytes.clone();
        let part = u32_at(&new, 4)?.checked_div(parts).unwrap_or(0);
        put(&mut new, 4, &part.to_le_bytes())?;
        self.seal_inode(inode.number, &mut new)?;
        Ok(difference(inode.at, &inode.bytes, &new).into_iter().collect())
    }

    /// The mode without any x.
    pub(super) fn not_executable(&self, path: &str) -> Result<Vec<Write>, Misfit> {
        let inode = self.inode_of(path)?;
        let mut new = inode.bytes.clone();
        let mode = u16_at(&new, 0)? & !0o111;
        put(&mut new, 0, &mode.to_le_bytes())?;
        self.seal_inode(inode.number, &mut new)?;
        Ok(difference(inode.at, &inode.bytes, &new).into_iter().collect())
    }

    /// Offset in the file system of the first byte of what inode `number` holds.
    pub(super) fn begin_of(&self, number: u32) -> Result<u64, Misfit> {
        let inode = self.inode(number)?;
        self.blocks(&inode)?.first().copied().ok_or_else(|| short("inode without blocks"))
    }

    fn inode_of(&self, path: &str) -> Result<Inode, Misfit> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let entry = self.find(&path)?;
            let inode = self.inode(entry.inode)?;
            if inode.mode()? & KIND != LINK {
                return Ok(inode);
            }
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            path = joined(&folder, &self.target(&inode)?);
        }
        Err(Misfit::new(format!("{path}: too many symbolic links")))
    }

    /// The entry at the end of `path`, which may be a link; links on the way are followed.
    fn find(&self, path: &str) -> Result<Entry, Misfit> {
        let absent = || Misfit::new(format!("{path} does not exist"));
        let mut names: Vec<String> =
            path.split('/').filter(|n| !n.is_empty()).rev().map(str::to_owned).collect();
        let (mut folder, mut links) = (self.inode(ROOT)?, 0);
        let mut way = vec![folder.clone()];
        while let Some(name) = names.pop() {
            if name == ".." {
                way.pop();
                folder = way.last().cloned().map_or_else(|| self.inode(ROOT), Ok)?;
                continue;
            }
            let entry = self.lookup(&folder, &name)?.ok_or_else(absent)?;
            if names.is_empty() {
                return Ok(entry);
            }
            let inode = self.inode(entry.inode)?;
            match inode.mode()? & KIND {
                DIRECTORY => {
                    folder = inode;
                    way.push(folder.clone());
                }
                LINK if links < MAX_LINKS => {
                    links = links.saturating_add(1);
                    let target = self.target(&inode)?;
                    if target.starts_with('/') {
                        folder = self.inode(ROOT)?;
                        way = vec![folder.clone()];
                    }
                    names.extend(
                        target.split('/').filter(|n| !n.is_empty() && *n != ".").rev().map(str::to_owned),
                    );
                }
                _ => return Err(absent()),
            }
        }
        Err(absent())
    }

    fn lookup(&self, folder: &Inode, name: &str) -> Result<Option<Entry>, Misfit> {
        for block_at in self.blocks(folder)? {
            let block = self.block_at(block_at)?;
            let mut slot = 0usize;
            while slot.saturating_add(8) <= block.len() {
                let (inode, len) =
                    (u32_at(&block, slot)?, usize::from(u16_at(&block, slot.saturating_add(4))?));
                if len < 8 {
                    break;
                }
                let from = slot.saturating_add(8);
                let named = block.get(slot.saturating_add(6)).map_or(0, |n| usize::from(*n));
                if inode != 0 && block.get(from..from.saturating_add(named)) == Some(name.as_bytes()) {
                    return Ok(Some(Entry { folder: folder.clone(), block_at, slot, inode }));
                }
                slot = slot.saturating_add(len);
            }
        }
        Ok(None)
    }

    fn target(&self, link: &Inode) -> Result<String, Misfit> {
        let len = usize::try_from(u32_at(&link.bytes, 4)?).unwrap_or(0);
        // Short targets lie where the blocks would be named.
        let bytes = if len < 60 {
            link.bytes.get(0x28..0x28usize.saturating_add(len)).unwrap_or_default().to_vec()
        } else {
            let first = self.blocks(link)?.first().copied().ok_or_else(|| short("symbolic link"))?;
            let mut block = self.block_at(first)?;
            block.truncate(len);
            block
        };
        String::from_utf8(bytes).map_err(|_| Misfit::new("a symbolic link on the way is no text"))
    }

    fn inode(&self, number: u32) -> Result<Inode, Misfit> {
        let index =
            number.checked_sub(1).filter(|_| number <= self.inodes).ok_or_else(|| short("inode number"))?;
        let (group, within) = (u64::from(index / self.per_group), u64::from(index % self.per_group));
        let at = self.groups_at.saturating_add(group.saturating_mul(self.group_len));
        let len = usize::try_from(self.group_len).unwrap_or(32);
        let descriptor = read_vec(self.disk.as_ref(), ByteOffset(at), len)?;
        let high = if self.wide && len >= 64 { u64::from(u32_at(&descriptor, 0x28)?) << 32 } else { 0 };
        let table = (u64::from(u32_at(&descriptor, 8)?) | high).saturating_mul(self.block);
        let at = table.saturating_add(within.saturating_mul(self.inode_len));
        let bytes =
            read_vec(self.disk.as_ref(), ByteOffset(at), usize::try_from(self.inode_len).unwrap_or(128))?;
        Ok(Inode { number, at, bytes })
    }

    /// Offsets of the inode's blocks in bytes, in order.
    fn blocks(&self, inode: &Inode) -> Result<Vec<u64>, Misfit> {
        let flags = u32_at(&inode.bytes, 0x20)?;
        if flags & EXTENTS == 0 || flags & INLINE != 0 {
            return Err(Misfit::new("a file on the way is not stored in extents"));
        }
        let mut found = Vec::new();
        let mut nodes = vec![inode.bytes.get(0x28..0x64).unwrap_or_default().to_vec()];
        let mut seen = 0usize;
        while let Some(node) = nodes.pop() {
            seen = seen.saturating_add(1);
            let depth = u16_at(&node, 6)?;
            if u16_at(&node, 0)? != 0xf30a || seen > MAX_BLOCKS || depth > 5 {
                return Err(Misfit::new("an extent tree on the way contradicts itself"));
            }
            let mut below = Vec::new();
            for n in 0..usize::from(u16_at(&node, 2)?) {
                let at = n.saturating_add(1).saturating_mul(12);
                if depth == 0 {
                    let (len, high) =
                        (u16_at(&node, at.saturating_add(4))?, u16_at(&node, at.saturating_add(6))?);
                    let start = (u64::from(high) << 32) | u64::from(u32_at(&node, at.saturating_add(8))?);
                    // Lengths above 32768 are of extents that were never written.
                    for k in 0..u64::from(if len > 32_768 { 0 } else { len }) {
                        if found.len() >= MAX_BLOCKS {
                            return Ok(found);
                        }
                        found.push(start.saturating_add(k).saturating_mul(self.block));
                    }
                } else {
                    let high = u64::from(u16_at(&node, at.saturating_add(8))?) << 32;
                    let leaf =
                        (high | u64::from(u32_at(&node, at.saturating_add(4))?)).saturating_mul(self.block);
                    below.push(self.block_at(leaf)?);
                }
            }
            nodes.extend(below.into_iter().rev());
        }
        Ok(found)
    }

    fn block_at(&self, at: u64) -> Result<Vec<u8>, Misfit> {
        Ok(read_vec(self.disk.as_ref(), ByteOffset(at), usize::try_from(self.block).unwrap_or(4096))?)
    }

    /// The checksum of an inode covers the file system's seed, its number, its generation and all of it but the checksum.
    fn seal_inode(&self, number: u32, bytes: &mut [u8]) -> Result<(), Misfit> {
        let Some(seed) = self.inode_seed(number, bytes)? else { return Ok(()) };
        let wide = bytes.len() > 128 && u16_at(bytes, 0x80)? >= 4;
        put(bytes, 0x7c, &[0, 0])?;
        if wide {
            put(bytes, 0x82, &[0, 0])?;
        }
        let [a, b, c, d] = crc32c(seed, bytes).to_le_bytes();
        put(bytes, 0x7c, &[a, b])?;
        if wide {
            put(bytes, 0x82, &[c, d])?;
        }
        Ok(())
    }

    /// The checksum of a directory block is in an entry without a name at its end.
    fn seal_folder(&self, folder: &Inode, block: &mut [u8]) -> Result<(), Misfit> {
        let Some(seed) = self.inode_seed(folder.number, &folder.bytes)? else { return Ok(()) };
        let tail = block.len().saturating_sub(12);
        if block.get(tail.saturating_add(7)) != Some(&0xde) {
            return Err(Misfit::new("a directory block on the way has no checksum where it should"));
        }
        let sum = crc32c(seed, block.get(..tail).unwrap_or_default());
        put(block, tail.saturating_add(8), &sum.to_le_bytes())
    }

    fn inode_seed(&self, number: u32, bytes: &[u8]) -> Result<Option<u32>, Misfit> {
        let Some(seed) = self.seed else { return Ok(None) };
        let seed = crc32c(seed, &number.to_le_bytes());
        Ok(Some(crc32c(seed, &u32_at(bytes, 0x64)?.to_le_bytes())))
    }
}

impl Inode {
    fn mode(&self) -> Result<u16, Misfit> {
        u16_at(&self.bytes, 0)
    }
}

fn joined(folder: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("{folder}/{target}") }
}

fn short(what: &str) -> Misfit {
    Misfit::new(format!("ext4: {what} out of range"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Misfit> {
    let four = bytes.get(at..).and_then(|b| b.first_chunk::<4>());
    four.map(|b| u32::from_le_bytes(*b)).ok_or_else(|| short("field"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Misfit> {
    let two = bytes.get(at..).and_then(|b| b.first_chunk::<2>());
    two.map(|b| u16::from_le_bytes(*b)).ok_or_else(|| short("field"))
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) -> Result<(), Misfit> {
    let end = at.saturating_add(new.len());
    bytes.get_mut(at..end).map(|field| field.copy_from_slice(new)).ok_or_else(|| short("field"))
}

/// CRC-32C as ext4 keeps it: neither begun nor ended by a complement.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82f6_3b78 }
            },
        )
    })
}
