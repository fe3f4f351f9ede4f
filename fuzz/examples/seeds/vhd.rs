//! VHDs by hand, after the Virtual Hard Disk Image Format Specification 1.0: blocks smaller than QEMU makes them, and differencing disks.

use crate::Images;

const HEADER_AT: usize = 512;
const TABLE_AT: usize = 1536;
const STAMP: u32 = 848_793_600;
const PARENT_ID: u8 = 0x50;

/// Names of a parent: the Unicode name, and locators by platform code.
type Names<'a> = (&'a str, &'a [(&'a [u8; 4], Vec<u8>)]);

/// A VHD to be.
struct Vhd<'a> {
    kind: u32,
    len: usize,
    block: usize,
    id: u8,
    parent: Option<Names<'a>>,
    /// Sectors that are written.
    written: &'a [usize],
}

/// The parent of every differencing disk here.
pub fn parent() -> Vec<u8> {
    dynamic(3, 256 << 10, 32 << 10, PARENT_ID, &[0, 1, 100, 101, 200, 511]).bytes()
}

pub fn by_hand() -> Images {
    let w2ru = [(b"W2ru", utf16le(r".\parent.vhd"))];
    let w2ku = [(b"W2ku", utf16le(r"C:\VMs\parent.vhd")), (b"W2ru", utf16le(r".\parent.vhd"))];
    let mac = [(b"MacX", b"file://localhost/VMs/parent.vhd".to_vec())];
    let child =
        |parent, len, block, written| Vhd { kind: 4, len, block, id: 7, parent: Some(parent), written };
    let mut odd = dynamic(3, 256 << 10, 32 << 10, 1, &[3]).bytes();
    odd.pop();
    let mut cut = dynamic(3, 256 << 10, 32 << 10, 1, &[3]).bytes();
    cut.truncate(cut.len() - 512);
    [
        ("fixed", Vhd { kind: 2, ..dynamic(2, 64 << 10, 0, 1, &[0, 127]) }.bytes()),
        ("blocks-4k", dynamic(3, 64 << 10, 4096, 1, &[0, 9, 17, 127]).bytes()),
        ("blocks-64k", dynamic(3, 200 << 10, 64 << 10, 1, &[0, 3, 399]).bytes()),
        ("blocks-512k", dynamic(3, 3 << 20, 512 << 10, 1, &[0, 2000, 5000]).bytes()),
        ("footer-511", odd),
        ("footer-cut", cut),
        ("child-relative", child(("parent.vhd", &w2ru), 256 << 10, 32 << 10, &[1, 2, 3, 130]).bytes()),
        ("child-absolute", child(("parent.vhd", &w2ku), 256 << 10, 64 << 10, &[0, 5, 6, 511]).bytes()),
        ("child-mac", child(("", &mac), 256 << 10, 4096, &[8, 9]).bytes()),
        ("child-longer", child(("parent.vhd", &w2ru), 512 << 10, 32 << 10, &[600, 1023]).bytes()),
        ("child-shorter", child(("parent.vhd", &w2ru), 100 << 10, 32 << 10, &[199]).bytes()),
        ("child-of-itself", child(("input.img", &[]), 100 << 10, 32 << 10, &[7]).bytes()),
        ("child-of-nobody", child(("", &[]), 100 << 10, 32 << 10, &[7]).bytes()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn dynamic(kind: u32, len: usize, block: usize, id: u8, written: &[usize]) -> Vhd<'_> {
    Vhd { kind, len, block, id, parent: None, written }
}

impl Vhd<'_> {
    fn bytes(&self) -> Vec<u8> {
        if self.kind == 2 {
            let mut all = vec![0; self.len];
            self.written.iter().for_each(|s| put(&mut all, s * 512, b"fixed"));
            all.extend(self.footer(u64::MAX));
            return all;
        }
        let footer = self.footer(HEADER_AT as u64);
        let blocks = self.len.div_ceil(self.block);
        let mut all = footer.clone();
        all.resize(HEADER_AT + 1024, 0);
        all.resize(TABLE_AT + (blocks * 4).next_multiple_of(512), 0xFF);
        let header = self.header(blocks, &mut all);
        put(&mut all, HEADER_AT, &header);
        let bitmap = (self.block / 512 / 8).next_multiple_of(512);
        for sector in self.written {
            let (block, inside) = (sector * 512 / self.block, sector * 512 % self.block);
            let entry = TABLE_AT + block * 4;
            if all[entry..entry + 4] == [0xFF; 4] {
                let at = (all.len() / 512) as u32;
                put(&mut all, entry, &at.to_be_bytes());
                all.resize(all.len() + bitmap + self.block, 0);
            }
            let at = u32::from_be_bytes(all[entry..entry + 4].try_into().expect("4 bytes")) as usize * 512;
            all[at + inside / 512 / 8] |= 0x80 >> (inside / 512 % 8);
            put(&mut all, at + bitmap + inside, b"here");
        }
        all.extend(footer);
        all
    }

    /// "Dynamic Disk Header Format"; the locators' data is put behind what is there.
    fn header(&self, blocks: usize, all: &mut Vec<u8>) -> Vec<u8> {
        let mut header = vec![0; 1024];
        put(&mut header, 0, b"cxsparse\xff\xff\xff\xff\xff\xff\xff\xff");
        put(&mut header, 16, &(TABLE_AT as u64).to_be_bytes());
        put(&mut header, 24, &0x0001_0000u32.to_be_bytes());
        put(&mut header, 28, &(blocks as u32).to_be_bytes());
        put(&mut header, 32, &(self.block as u32).to_be_bytes());
        if let Some((name, locators)) = self.parent {
            put(&mut header, 40, &[PARENT_ID; 16]);
            put(&mut header, 56, &STAMP.to_be_bytes());
            put(&mut header, 64, &name.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
            for (i, (code, data)) in locators.iter().enumerate() {
                let entry = 576 + i * 24;
                put(&mut header, entry, *code);
                put(&mut header, entry + 4, &512u32.to_be_bytes());
                put(&mut header, entry + 8, &(data.len() as u32).to_be_bytes());
                put(&mut header, entry + 16, &(all.len() as u64).to_be_bytes());
                all.extend(data);
                all.resize(all.len().next_multiple_of(512), 0);
            }
        }
        sum(&mut header, 36);
        header
    }

    /// "Hard Disk Footer Format".
    fn footer(&self, header_at: u64) -> Vec<u8> {
        let mut footer = vec![0; 512];
        put(&mut footer, 0, b"conectix\0\0\0\x02\0\x01\0\0");
        put(&mut footer, 16, &header_at.to_be_bytes());
        put(&mut footer, 24, &STAMP.to_be_bytes());
        put(&mut footer, 28, b"win \0\x0a\0\0Wi2k");
        put(&mut footer, 40, &(self.len as u64).to_be_bytes());
        put(&mut footer, 48, &(self.len as u64).to_be_bytes());
        put(&mut footer, 56, b"\xff\xff\x10\xff");
        put(&mut footer, 60, &self.kind.to_be_bytes());
        put(&mut footer, 68, &[self.id; 16]);
        sum(&mut footer, 64);
        footer
    }
}

fn sum(bytes: &mut [u8], field: usize) {
    let sum = !bytes.iter().fold(0u32, |sum, b| sum.wrapping_add(u32::from(*b)));
    put(bytes, field, &sum.to_be_bytes());
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
