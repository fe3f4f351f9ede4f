//! VHDX files byte by byte as \[MS-VHDX\] describes them, independent of the code that is tested: differencing disks, disks with 4096-byte
//! sectors, and dirty logs, which no tool here makes.

use crate::bench::{bytes_at, fix_crc, patch};
use engine::units::MIB;
use std::path::{Path, PathBuf};

/// What a block of the disk is.
#[derive(Clone)]
pub enum Block {
    /// A state without data: 0 not present, 1 undefined, 2 zero, 3 unmapped. §2.5.1.1.
    Empty(u64),
    /// State 6.
    Full(Vec<u8>),
    /// State 7: these bytes, and the sectors of the block that are in the file.
    Partial(Vec<u8>, Vec<u64>),
}

/// A VHDX to be built.
#[derive(Clone)]
pub struct Vhdx {
    pub virtual_len: u64,
    pub block_size: u64,
    pub sector: u64,
    /// Bit 0: fixed, bit 1: has a parent. §2.6.2.1.
    pub flags: u32,
    pub data_id: [u8; 16],
    /// The parent locator item.
    pub locator: Option<Vec<u8>>,
    /// By number; those that are not here are not present.
    pub blocks: Vec<(u64, Block)>,
}

pub const METADATA_AT: u64 = 2 * MIB;
pub const BAT_AT: u64 = 3 * MIB;

impl Vhdx {
    pub fn new(virtual_len: u64, block_size: u64, sector: u64) -> Vhdx {
        Vhdx {
            virtual_len,
            block_size,
            sector,
            flags: 0,
            data_id: [0xDA; 16],
            locator: None,
            blocks: Vec::new(),
        }
    }

    /// A child of a file whose data write GUID is `parent`, in the bytes on disk.
    pub fn child_of(mut self, parent: [u8; 16], name: &str) -> Vhdx {
        self.flags = 2;
        self.data_id = [0xC1; 16];
        self.locator = Some(locator(&[("parent_linkage", &braced(parent)), ("relative_path", name)]));
        self
    }

    pub fn block(mut self, number: u64, block: Block) -> Vhdx {
        self.blocks.push((number, block));
        self
    }

    /// Long enough for payload blocks and sector bitmaps. §2.5.
    fn bat_len(&self) -> u64 {
        let chunks = self.virtual_len.div_ceil(self.block_size).div_ceil(self.ratio());
        (chunks * (self.ratio() + 1) * 8).next_multiple_of(MIB)
    }

    /// Where the first stored block is.
    pub fn data_at(&self) -> u64 {
        BAT_AT + self.bat_len()
    }

    /// Sectors of 2^23 · sector bytes have one sector bitmap. §2.5.
    fn ratio(&self) -> u64 {
        (self.sector << 23) / self.block_size
    }

    /// Offset in the file of the BAT entry of a payload block.
    pub fn entry_at(&self, block: u64) -> u64 {
        BAT_AT + (block + block / self.ratio()) * 8
    }

    /// Offset in the file of the BAT entry of the sector bitmap of `chunk`.
    pub fn bitmap_entry_at(&self, chunk: u64) -> u64 {
        BAT_AT + ((chunk + 1) * self.ratio() + chunk) * 8
    }

    /// Write the file.
    pub fn write(&self, path: &Path) -> PathBuf {
        let mut end = self.data_at();
        let mut bitmaps = std::collections::BTreeMap::<u64, Vec<u8>>::new();
        std::fs::File::create(path).expect("a new file");
        for (number, block) in &self.blocks {
            let (state, bytes) = match block {
                Block::Empty(state) => (*state, None),
                Block::Full(bytes) => (6, Some(bytes)),
                Block::Partial(bytes, sectors) => {
                    let bitmap =
                        bitmaps.entry(number / self.ratio()).or_insert_with(|| vec![0; MIB as usize]);
                    for sector in sectors {
                        // The first sector of the chunk is the least significant bit of the first byte. §2.4.2.
                        let bit = number % self.ratio() * (self.block_size / self.sector) + sector;
                        bitmap[bit as usize / 8] |= 1 << (bit % 8);
                    }
                    (7, Some(bytes))
                }
            };
            let at = bytes.map_or(0, |_| end);
            patch(path, self.entry_at(*number), &(at | state).to_le_bytes());
            if let Some(bytes) = bytes {
                patch(path, at, bytes);
                end += self.block_size;
            }
        }
        for (chunk, bitmap) in bitmaps {
            patch(path, self.bitmap_entry_at(chunk), &(end | 6).to_le_bytes());
            patch(path, end, &bitmap);
            end += MIB;
        }
        let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file of ours");
        file.set_len(end).expect("room");
        self.write_metadata(path);
        write_head(path, self.data_id, self.bat_len());
        path.to_path_buf()
    }

    /// §2.6.
    fn write_metadata(&self, path: &Path) {
        let parameters = [(self.block_size as u32).to_le_bytes(), self.flags.to_le_bytes()].concat();
        let sector = (self.sector as u32).to_le_bytes().to_vec();
        let mut items = vec![
            ("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", 4u32, parameters),
            ("2FA54224-CD1B-4876-B211-5DBED83BF4B8", 6, self.virtual_len.to_le_bytes().to_vec()),
            ("BECA12AB-B2E6-4523-93EF-C309E000C746", 6, vec![0x1D; 16]),
            ("8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 6, sector),
            ("CDA348C7-445D-4471-9CC9-E9885251C556", 6, 4096u32.to_le_bytes().to_vec()),
        ];
        if let Some(locator) = &self.locator {
            items.push(("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", 4, locator.clone()));
        }
        let mut table = b"metadata\0\0".to_vec();
        table.extend((items.len() as u16).to_le_bytes());
        table.resize(32, 0);
        let mut offset = 65536u32;
        for (id, flags, value) in items {
            table.extend(guid(id));
            for field in [offset, value.len() as u32, flags, 0] {
                table.extend(field.to_le_bytes());
            }
            patch(path, METADATA_AT + u64::from(offset), &value);
            offset += value.len() as u32;
        }
        patch(path, METADATA_AT, &table);
    }
}

/// Identifier, two headers, two region tables. §2.2.
fn write_head(path: &Path, data_id: [u8; 16], bat_len: u64) {
    patch(path, 0, b"vhdxfile");
    for (at, sequence) in [(0x10000, 1u64), (0x20000, 2)] {
        let mut header = b"head\0\0\0\0".to_vec();
        header.extend(sequence.to_le_bytes());
        header.extend([0xF1; 16]);
        header.extend(data_id);
        header.extend([0; 16]);
        header.extend([0, 0, 1, 0]); // log version 0, version 1
        header.extend((MIB as u32).to_le_bytes());
        header.extend(MIB.to_le_bytes());
        header.resize(4096, 0);
        patch(path, at, &header);
        fix_crc(path, at, 4096);
    }
    for at in [0x30000, 0x40000] {
        let mut table = b"regi\0\0\0\0\x02\0\0\0\0\0\0\0".to_vec();
        for (id, at, len) in [
            ("2DC27766-F623-4200-9D64-115E9BFD4A08", BAT_AT, bat_len),
            ("8B7CA206-4790-4B9A-B8FE-575F050F886E", METADATA_AT, MIB),
        ] {
            table.extend(guid(id));
            table.extend(at.to_le_bytes());
            table.extend((len as u32).to_le_bytes());
            table.extend(1u32.to_le_bytes());
        }
        table.resize(65536, 0);
        patch(path, at, &table);
        fix_crc(path, at, 65536);
    }
}

/// A parent locator with these keys and values. §2.6.2.6.
pub fn locator(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut head = guid("B04AEFB7-D19E-4A81-B789-25B8E9445913").to_vec();
    head.extend([0, 0]);
    head.extend((pairs.len() as u16).to_le_bytes());
    let mut texts = Vec::new();
    for (key, value) in pairs {
        let [key, value] =
            [key, value].map(|t| t.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        let at = (20 + pairs.len() * 12 + texts.len()) as u32;
        head.extend(at.to_le_bytes());
        head.extend((at + key.len() as u32).to_le_bytes());
        head.extend((key.len() as u16).to_le_bytes());
        head.extend((value.len() as u16).to_le_bytes());
        texts.extend([key, value].concat());
    }
    [head, texts].concat()
}

/// The bytes on disk of a GUID as people write it: the first three fields little-endian.
pub fn guid(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let mut bytes = u128::from_str_radix(&digits, 16).expect("32 digits").to_be_bytes();
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// The same the other way round, in braces and lower case, as a parent locator has it.
pub fn braced(mut bytes: [u8; 16]) -> String {
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let field = |from: usize, to: usize| digits[from..to].to_owned();
    format!("{{{}-{}-{}-{}-{}}}", field(0, 8), field(8, 12), field(12, 16), field(16, 20), field(20, 32))
}

/// One change in a log entry.
#[derive(Clone)]
pub enum Change {
    /// A sector of 4096 bytes.
    Data(u64, Vec<u8>),
    /// Offset and length.
    Zero(u64, u64),
}

/// A log entry to be built. §2.3.1.
#[derive(Clone)]
pub struct LogEntry {
    pub sequence: u64,
    pub tail: u32,
    pub log_id: [u8; 16],
    pub flushed: u64,
    pub last: u64,
    pub changes: Vec<Change>,
}

impl LogEntry {
    /// The entry with its CRC.
    pub fn bytes(&self) -> Vec<u8> {
        let (mut descriptors, mut sectors) = (Vec::new(), Vec::new());
        for change in &self.changes {
            match change {
                Change::Data(at, data) => {
                    descriptors.extend(*b"desc");
                    descriptors.extend(&data[4092..]);
                    descriptors.extend(&data[..8]);
                    descriptors.extend(at.to_le_bytes());
                    sectors.extend(*b"data");
                    sectors.extend(((self.sequence >> 32) as u32).to_le_bytes());
                    sectors.extend(&data[8..4092]);
                    sectors.extend((self.sequence as u32).to_le_bytes());
                }
                Change::Zero(at, len) => {
                    descriptors.extend(*b"zero\0\0\0\0");
                    descriptors.extend(len.to_le_bytes());
                    descriptors.extend(at.to_le_bytes());
                }
            }
            descriptors.extend(self.sequence.to_le_bytes());
        }
        let front = (64 + descriptors.len()).next_multiple_of(4096);
        let mut bytes = b"loge\0\0\0\0".to_vec();
        bytes.extend(((front + sectors.len()) as u32).to_le_bytes());
        bytes.extend(self.tail.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend((self.changes.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.log_id);
        bytes.extend(self.flushed.to_le_bytes());
        bytes.extend(self.last.to_le_bytes());
        bytes.extend(descriptors);
        bytes.resize(front, 0);
        bytes.extend(sectors);
        with_crc(bytes)
    }
}

/// A log entry whose bytes were changed, with the right CRC again.
pub fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[4..8].fill(0);
    let crc = crate::bench::crc32c(&bytes);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Where a VHDX of 1 MiB of log has what matters for its log.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub header: u64,
    pub log_at: u64,
    pub log_len: u64,
    pub bat_at: u64,
    pub file_len: u64,
}

/// Find them as §2.2 says: the header with the higher sequence number, the first region table.
pub fn parts(path: &Path) -> Parts {
    let u64_at = |at: u64| u64::from_le_bytes(bytes_at(path, at, 8).try_into().expect("8 bytes"));
    let header = if u64_at(0x10008) > u64_at(0x20008) { 0x10000 } else { 0x20000 };
    let bat = guid("2DC27766-F623-4200-9D64-115E9BFD4A08");
    let entry =
        (0..2).map(|i| 0x30010 + i * 32).find(|at| bytes_at(path, *at, 16) == bat).expect("a BAT region");
    Parts {
        header,
        log_at: u64_at(header + 72),
        log_len: u64_at(header + 68) & 0xFFFF_FFFF,
        bat_at: u64_at(entry + 16),
        file_len: std::fs::metadata(path).expect("its length").len(),
    }
}

pub const LOG_ID: [u8; 16] = *b"log of the tests";

/// Clear the log, put `entries` at their places in it, wrapping at its end, and make the header that is not current the current one, with the
/// id of the log in it: as a program does before it writes its first entry. §2.2.2.1.
pub fn make_dirty(path: &Path, parts: Parts, entries: &[(u64, Vec<u8>)]) {
    let mut log = vec![0; parts.log_len as usize];
    for (place, bytes) in entries {
        for (i, byte) in bytes.iter().enumerate() {
            let at = (*place as usize + i) % log.len();
            log[at] = *byte;
        }
    }
    patch(path, parts.log_at, &log);
    let mut header = bytes_at(path, parts.header, 4096);
    let sequence = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
    header[8..16].copy_from_slice(&(sequence + 1).to_le_bytes());
    header[48..64].copy_from_slice(&LOG_ID);
    let other = 0x30000 - parts.header;
    patch(path, other, &header);
    fix_crc(path, other, 4096);
}
