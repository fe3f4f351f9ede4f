//! VHDs laid out by hand from the Virtual Hard Disk Image Format Specification 1.0, sector by sector; nothing here comes from the engine.

use crate::bench::Bench;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where every image built here has its dynamic disk header and its block table.
pub const HEADER_AT: usize = 512;
pub const TABLE_AT: usize = 1536;
/// Seconds since 2000 at which every image here was made: 2026-11-24.
pub const STAMP: u32 = 848_793_600;

/// What a child says about its parent.
#[derive(Clone)]
pub struct Parent {
    pub id: [u8; 16],
    pub stamp: u32,
    pub unicode_name: &'static str,
    /// Platform codes and their data.
    pub locators: Vec<([u8; 4], Vec<u8>)>,
}

/// A VHD to be.
#[derive(Clone)]
pub struct Vhd {
    /// 2, 3 or 4.
    pub kind: u32,
    pub len: u64,
    pub block: u64,
    pub id: [u8; 16],
    pub parent: Option<Parent>,
    /// Sectors that are written: the first, and their bytes.
    pub writes: Vec<(u64, Vec<u8>)>,
}

impl Vhd {
    pub fn new(kind: u32, len: u64, id: u8) -> Vhd {
        Vhd { kind, len, block: 64 << 10, id: [id; 16], parent: None, writes: Vec::new() }
    }

    #[must_use]
    pub fn write(mut self, sector: u64, bytes: Vec<u8>) -> Vhd {
        assert_eq!(bytes.len() % 512, 0, "whole sectors");
        self.writes.push((sector, bytes));
        self
    }

    /// A child of the disk with this id, under this name.
    #[must_use]
    pub fn child_of(mut self, id: u8, name: &'static str) -> Vhd {
        let locators = vec![(*b"W2ru", utf16le(&format!(".\\{name}")))];
        self.parent = Some(Parent { id: [id; 16], stamp: STAMP, unicode_name: name, locators });
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        if self.kind == 2 {
            let mut all = vec![0; self.len as usize];
            for (sector, bytes) in &self.writes {
                let at = *sector as usize * 512;
                all[at..at + bytes.len()].copy_from_slice(bytes);
            }
            all.extend(footer(self.kind, u64::MAX, self.len, self.id));
            return all;
        }
        let footer = footer(self.kind, HEADER_AT as u64, self.len, self.id);
        let blocks = self.len.div_ceil(self.block) as usize;
        let mut all = footer.clone();
        all.resize(TABLE_AT + (blocks * 4).next_multiple_of(512), 0xFF);
        let mut header = vec![0; 1024];
        put(&mut header, 0, b"cxsparse\xff\xff\xff\xff\xff\xff\xff\xff");
        put(&mut header, 16, &(TABLE_AT as u64).to_be_bytes());
        put(&mut header, 24, &0x0001_0000u32.to_be_bytes());
        put(&mut header, 28, &(blocks as u32).to_be_bytes());
        put(&mut header, 32, &(self.block as u32).to_be_bytes());
        if let Some(parent) = &self.parent {
            put(&mut header, 40, &parent.id);
            put(&mut header, 56, &parent.stamp.to_be_bytes());
            put(&mut header, 64, &utf16be(parent.unicode_name));
            for (i, (code, data)) in parent.locators.iter().enumerate() {
                let entry = 576 + i * 24;
                put(&mut header, entry, code);
                put(&mut header, entry + 4, &1u32.to_be_bytes());
                put(&mut header, entry + 8, &(data.len() as u32).to_be_bytes());
                put(&mut header, entry + 16, &(all.len() as u64).to_be_bytes());
                all.extend(data);
                all.resize(all.len().next_multiple_of(512), 0);
            }
        }
        put(&mut all, HEADER_AT, &header);
        fix_sum(&mut all, HEADER_AT, 1024, 36);
        let bitmap = (self.block as usize / 512 / 8).next_multiple_of(512);
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for (sector, bytes) in &self.writes {
            for (i, sector_bytes) in (*sector..).zip(bytes.chunks(512)) {
                let (block, inside) = (i * 512 / self.block, (i * 512 % self.block) as usize);
                let at = *places.entry(block).or_insert(all.len());
                if at == all.len() {
                    put(&mut all, TABLE_AT + block as usize * 4, &((at / 512) as u32).to_be_bytes());
                    all.resize(at + bitmap + self.block as usize, 0);
                }
                all[at + inside / 512 / 8] |= 0x80 >> (inside / 512 % 8);
                put(&mut all, at + bitmap + inside, sector_bytes);
            }
        }
        all.extend(footer);
        all
    }

    /// As a file in the bench's folder.
    pub fn save(&self, bench: &Bench, name: &str) -> PathBuf {
        let path = bench.path(name);
        std::fs::write(&path, self.bytes()).expect("a file");
        path
    }
}

fn footer(kind: u32, data_offset: u64, len: u64, id: [u8; 16]) -> Vec<u8> {
    let mut footer = vec![0; 512];
    put(&mut footer, 0, b"conectix\0\0\0\x02\0\x01\0\0");
    put(&mut footer, 16, &data_offset.to_be_bytes());
    put(&mut footer, 24, &STAMP.to_be_bytes());
    put(&mut footer, 28, b"win \0\x06\0\x01Wi2k");
    put(&mut footer, 40, &len.to_be_bytes());
    put(&mut footer, 48, &len.to_be_bytes());
    put(&mut footer, 56, &[0, 1, 4, 17]); // a geometry that says nothing true
    put(&mut footer, 60, &kind.to_be_bytes());
    put(&mut footer, 68, &id);
    fix_sum(&mut footer, 0, 512, 64);
    footer
}

/// One's complement of the sum of the `len` bytes at `at`, into their field at `field`.
pub fn fix_sum(bytes: &mut [u8], at: usize, len: usize, field: usize) {
    put(bytes, at + field, &[0; 4]);
    let sum: u32 = bytes[at..at + len].iter().map(|b| u32::from(*b)).sum();
    put(bytes, at + field, &(!sum).to_be_bytes());
}

pub fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

pub fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub fn utf16be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}
