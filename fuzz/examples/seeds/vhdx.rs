//! What `qemu-img` does not make: VHDX files with a dirty log (\[MS-VHDX\] §2.3), and differencing ones (§2.5.1.1, §2.6.2.6).

use crate::{Bench, Images};

const HEADERS_AT: [usize; 2] = [0x1_0000, 0x2_0000];
const REGIONS_AT: [usize; 2] = [0x3_0000, 0x4_0000];
const MIB: usize = 1 << 20;
/// Data write GUID of the parent, as it lies in the file, and as text.
const PARENT_GUID: [u8; 16] = *b"parent of child!";
const PARENT_TEXT: &str = "{65726170-746e-6f20-6620-6368696c6421}";

/// A clean VHDX of 3 MiB in blocks of `block`.
fn clean(bench: &Bench, block: &str) -> Vec<u8> {
    bench.raw("disk.raw", 3 << 20);
    bench.run(&format!("qemu-img convert -f raw -O vhdx -o block_size={block} disk.raw image"));
    bench.read("image")
}

/// The parent of every differencing disk here.
pub fn parent(bench: &Bench) -> Vec<u8> {
    let mut image = clean(bench, "1M");
    for at in HEADERS_AT {
        put(&mut image, at + 32, &PARENT_GUID);
        fix(&mut image, at, 4096);
    }
    image
}

pub fn logs(bench: &Bench) -> Images {
    let clean = clean(bench, "1M");
    let bat = region(&clean, 0x66);
    let restore = || Change::Data(bat, clean[bat..bat + 4096].to_vec());
    let lose = || Change::Zero(bat, 4096);
    let log_len =
        u64::from_le_bytes(clean[HEADERS_AT[0] + 68..][..8].try_into().expect("8 bytes")) as u32 as usize;
    let len = clean.len();
    let dirty = |entries: &[(usize, Entry)]| {
        let mut image = clean.clone();
        image[bat..bat + 4096].fill(0);
        lay(&mut image, entries);
        image
    };
    let entry = |sequence, tail, changes| Entry { sequence, tail, changes, flushed: len, last: len };
    let block = u64::from_le_bytes(clean[bat..bat + 8].try_into().expect("8 bytes")) as usize & !(MIB - 1);
    let payload = || vec![restore(), Change::Zero(block, 4096), Change::Data(block + 8192, vec![b'l'; 4096])];
    let two = || vec![restore(), Change::Zero(2 * MIB, 8192), Change::Data(bat + 4096, vec![0; 4096])];
    let mut torn = dirty(&[(0, entry(7, 0, vec![restore()])), (8192, entry(8, 0, vec![lose()]))]);
    torn[MIB + 8192 + 20] ^= 0xFF;
    let longer = dirty(&[(0, Entry { last: len + MIB, ..entry(7, 0, vec![restore()]) })]);
    [
        ("log-one", dirty(&[(0, entry(7, 0, vec![restore()]))])),
        ("log-payload", dirty(&[(0, entry(7, 0, payload()))])),
        ("log-many", dirty(&[(0, entry(7, 0, two()))])),
        (
            "log-three",
            dirty(&[
                (0, entry(7, 0, vec![restore()])),
                (8192, entry(8, 0, vec![lose()])),
                (12288, entry(9, 0, vec![restore()])),
            ]),
        ),
        (
            "log-wrap",
            dirty(&[
                (log_len - 4096, entry(7, log_len - 4096, vec![lose()])),
                (0, entry(8, log_len - 4096, vec![restore()])),
            ]),
        ),
        ("log-split", dirty(&[(log_len - 4096, entry(7, log_len - 4096, vec![restore()]))])),
        ("log-torn", torn),
        ("log-longer", longer),
        ("log-empty", dirty(&[(0, entry(7, 0, Vec::new()))])),
        ("log-none", dirty(&[])),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// One change that a log entry describes.
enum Change {
    Data(usize, Vec<u8>),
    Zero(usize, usize),
}

struct Entry {
    sequence: u64,
    tail: usize,
    changes: Vec<Change>,
    /// File lengths that the entry tells: what was flushed, and what it asks for.
    flushed: usize,
    last: usize,
}

/// Lay entries into the log, and let the older header, made the newer one, name it.
fn lay(image: &mut [u8], entries: &[(usize, Entry)]) {
    let sequence = |at: usize| u64::from_le_bytes(image[at + 8..at + 16].try_into().expect("8 bytes"));
    let (a, b) = (sequence(HEADERS_AT[0]), sequence(HEADERS_AT[1]));
    let (current, other, newest) =
        if a > b { (HEADERS_AT[0], HEADERS_AT[1], a) } else { (HEADERS_AT[1], HEADERS_AT[0], b) };
    let guid = *b"the guid of logs";
    let mut header = image[current..current + 4096].to_vec();
    let log_len = u32::from_le_bytes(header[68..72].try_into().expect("4 bytes")) as usize;
    let log_at = u64::from_le_bytes(header[72..80].try_into().expect("8 bytes")) as usize;
    put(&mut header, 8, &(newest + 1).to_le_bytes());
    put(&mut header, 48, &guid);
    put(image, other, &header);
    fix(image, other, 4096);
    for (at, entry) in entries {
        for (i, sector) in entry.bytes(&guid).chunks(4096).enumerate() {
            put(image, log_at + (at + i * 4096) % log_len, sector);
        }
    }
}

impl Entry {
    /// Entry header, descriptors, data sectors. \[MS-VHDX\] §2.3.1.
    fn bytes(&self, guid: &[u8; 16]) -> Vec<u8> {
        let mut all = vec![0; (64 + 32 * self.changes.len()).next_multiple_of(4096)];
        for (i, change) in self.changes.iter().enumerate() {
            let at = 64 + i * 32;
            put(&mut all, at + 24, &self.sequence.to_le_bytes());
            match change {
                Change::Zero(to, len) => {
                    put(&mut all, at, b"zero");
                    put(&mut all, at + 8, &(*len as u64).to_le_bytes());
                    put(&mut all, at + 16, &(*to as u64).to_le_bytes());
                }
                Change::Data(to, bytes) => {
                    put(&mut all, at, b"desc");
                    put(&mut all, at + 4, &bytes[4092..]);
                    put(&mut all, at + 8, &bytes[..8]);
                    put(&mut all, at + 16, &(*to as u64).to_le_bytes());
                    all.extend(b"data");
                    all.extend(((self.sequence >> 32) as u32).to_le_bytes());
                    all.extend(&bytes[8..4092]);
                    all.extend((self.sequence as u32).to_le_bytes());
                }
            }
        }
        put(&mut all, 0, b"loge");
        let len = all.len() as u32;
        put(&mut all, 8, &len.to_le_bytes());
        put(&mut all, 12, &(self.tail as u32).to_le_bytes());
        put(&mut all, 16, &self.sequence.to_le_bytes());
        put(&mut all, 24, &(self.changes.len() as u32).to_le_bytes());
        put(&mut all, 32, guid);
        put(&mut all, 48, &(self.flushed as u64).to_le_bytes());
        put(&mut all, 56, &(self.last as u64).to_le_bytes());
        fix(&mut all, 0, len as usize);
        all
    }
}

pub fn differencing(bench: &Bench) -> Images {
    let names: [&[(&str, &str)]; 3] = [
        &[("parent_linkage", PARENT_TEXT), ("relative_path", r".\parent.vhdx")],
        &[
            ("parent_linkage", PARENT_TEXT),
            ("parent_linkage2", PARENT_TEXT),
            ("volume_path", r"\\?\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\VMs\parent.vhdx"),
            ("absolute_win32_path", r"C:\VMs\parent.vhdx"),
        ],
        &[("parent_linkage", PARENT_TEXT), ("relative_path", r".\input.img")],
    ];
    let child = |block: &str, states: [u64; 3], names| child(clean(bench, block), states, names);
    let mut dirty = child("1M", [0, 7, 6], names[0]);
    let (bat, len) = (region(&dirty, 0x66), dirty.len());
    let change = Change::Data(bat, dirty[bat..bat + 4096].to_vec());
    lay(&mut dirty, &[(0, Entry { sequence: 3, tail: 0, changes: vec![change], flushed: len, last: len })]);
    [
        ("child-partial", child("1M", [7, 0, 6], names[0])),
        ("child-states", child("1M", [2, 3, 7], names[1])),
        ("child-whole", child("8M", [6, 0, 0], names[1])),
        ("child-256m", child("256M", [7, 0, 0], names[0])),
        ("child-of-itself", child("1M", [0, 6, 7], names[2])),
        ("child-dirty", dirty),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// Make a plain image a child: its first blocks in these states (0 not present, 2 zero, 3 unmapped, 6 whole, 7 partial).
fn child(mut image: Vec<u8>, states: [u64; 3], names: &[(&str, &str)]) -> Vec<u8> {
    let (metadata, bat) = (region(&image, 0x06), region(&image, 0x66));
    let params = item(&image, metadata, 0x37);
    image[params + 4] |= 2;
    let block = u32::from_le_bytes(image[params..params + 4].try_into().expect("4 bytes")) as usize;
    let chunk = (1usize << 23) * 512 / block;
    let mut locator = vec![0; 20 + 12 * names.len()];
    put(&mut locator, 0, &0x1359_44E9_B825_89B7_4A81_D19E_B04A_EFB7u128.to_le_bytes());
    put(&mut locator, 18, &(names.len() as u16).to_le_bytes());
    for (i, (key, value)) in names.iter().enumerate() {
        for (field, text) in [(0, key), (1, value)] {
            let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let at = (locator.len() as u32).to_le_bytes();
            put(&mut locator, 20 + i * 12 + field * 4, &at);
            put(&mut locator, 20 + i * 12 + 8 + field * 2, &(text.len() as u16).to_le_bytes());
            locator.extend(text);
        }
    }
    put(&mut image, metadata + 0x1_1000, &locator);
    let count = u16::from_le_bytes(image[metadata + 10..][..2].try_into().expect("2 bytes"));
    let entry = metadata + 32 + usize::from(count) * 32;
    put(&mut image, metadata + 10, &(count + 1).to_le_bytes());
    put(&mut image, entry, &0x0CAB_3448_D8D3_F7AB_454D_B30B_A8D3_5F2Du128.to_le_bytes());
    put(&mut image, entry + 16, &0x1_1000u32.to_le_bytes());
    put(&mut image, entry + 20, &(locator.len() as u32).to_le_bytes());
    put(&mut image, entry + 24, &4u32.to_le_bytes());
    let mut end = image.len().next_multiple_of(MIB);
    let blocks = (3 * MIB).div_ceil(block);
    for (i, state) in states.into_iter().enumerate().take(blocks) {
        let entry = bat + i * 8;
        let mut at = u64::from_le_bytes(image[entry..entry + 8].try_into().expect("8 bytes")) & !0xF_FFFF;
        if state >= 6 && at == 0 {
            at = end as u64;
            end += block;
        }
        put(&mut image, entry, &(if state >= 6 { at | state } else { state }).to_le_bytes());
    }
    if states.contains(&7) {
        put(&mut image, bat + chunk * 8, &(end as u64 | 6).to_le_bytes());
        image.resize(end + MIB, 0);
        for (at, bits) in [(0, 0x81), (17, 0xF0), (255, 0x0F), (256, 0x01), (600, 0xFF), (767, 0x80)] {
            image[end + at] = bits;
        }
    }
    image
}

/// Where the region is whose GUID begins with this byte.
fn region(image: &[u8], first: u8) -> usize {
    (0..2)
        .map(|i| REGIONS_AT[0] + 16 + i * 32)
        .find(|at| image[*at] == first)
        .map(|at| u64::from_le_bytes(image[at + 16..at + 24].try_into().expect("8 bytes")) as usize)
        .expect("a region")
}

/// Where the metadata item is whose GUID begins with this byte.
fn item(image: &[u8], metadata: usize, first: u8) -> usize {
    (0..5)
        .map(|i| metadata + 32 + i * 32)
        .find(|at| image[*at] == first)
        .map(|at| {
            metadata + u32::from_le_bytes(image[at + 16..at + 20].try_into().expect("4 bytes")) as usize
        })
        .expect("an item")
}

/// Put the CRC-32C of a structure right.
fn fix(bytes: &mut [u8], at: usize, len: usize) {
    bytes[at + 4..at + 8].fill(0);
    let sum = crc32c::crc32c(&bytes[at..at + len]);
    put(bytes, at + 4, &sum.to_le_bytes());
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}
