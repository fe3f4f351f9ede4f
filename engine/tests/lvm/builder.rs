//! Physical volumes by hand, from lvm2's layout.h; `real.rs` has pvck and GRUB read them.

use engine::disk::{DiskRef, Geometry, MemDisk};
use engine::units::{ByteLen, SectorSize};
use std::sync::Arc;

pub const AREA_AT: u64 = 4096;
pub const AREA_LEN: u64 = 12 << 10;

/// A physical volume to be made.
#[derive(Clone)]
pub struct Physical {
    pub id: [u8; 32],
    pub bytes: Vec<u8>,
}

impl Physical {
    /// Of `len` bytes, each telling where it is, with a label in sector 1 and one metadata area with `text`.
    pub fn new(number: u8, len: usize, text: &str) -> Physical {
        let mut pv = Physical { id: [b'a' + number; 32], bytes: noise(number, len) };
        pv.bytes[..4096].fill(0);
        pv.label(1, &[(AREA_AT, AREA_LEN)]);
        pv.area(AREA_AT, AREA_LEN, 512, text.as_bytes());
        pv
    }

    /// A label in this sector, which says that the metadata areas are there. lvm2 `struct label_header`, `struct pv_header`.
    pub fn label(&mut self, sector: u64, areas: &[(u64, u64)]) {
        let at = sector as usize * 512;
        let mut label = vec![0; 512];
        label[..8].copy_from_slice(b"LABELONE");
        label[8..16].copy_from_slice(&sector.to_le_bytes());
        label[20..24].copy_from_slice(&32u32.to_le_bytes());
        label[24..32].copy_from_slice(b"LVM2 001");
        let mut header = self.id.to_vec();
        let end = (0, 0);
        let stretches = [(16 << 10, 0), end].into_iter().chain(areas.iter().copied()).chain([end]);
        let numbers = [self.bytes.len() as u64].into_iter().chain(stretches.flat_map(|(at, len)| [at, len]));
        header.extend(numbers.flat_map(u64::to_le_bytes));
        // Extension, version 2: in use.
        header.extend([2, 0, 0, 0, 1, 0, 0, 0]);
        label[32..32 + header.len()].copy_from_slice(&header);
        let sum = crc(&label[20..]);
        label[16..20].copy_from_slice(&sum.to_le_bytes());
        self.bytes[at..at + 512].copy_from_slice(&label);
    }

    /// A metadata area with `text` at `offset`, going on at its beginning where it must. lvm2 `struct mda_header`.
    pub fn area(&mut self, at: u64, len: u64, offset: u64, text: &[u8]) {
        let mut text = text.to_vec();
        text.push(0);
        let mut header = vec![0; 512];
        header[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
        header[20..24].copy_from_slice(&1u32.to_le_bytes());
        for (place, number) in [(24, at), (32, len), (40, offset), (48, text.len() as u64)] {
            header[place..place + 8].copy_from_slice(&number.to_le_bytes());
        }
        header[56..60].copy_from_slice(&crc(&text).to_le_bytes());
        let (at, len, offset) = (at as usize, len as usize, offset as usize);
        self.bytes[at..at + 512].copy_from_slice(&header);
        self.sum_area(at as u64);
        let first = text.len().min(len - offset);
        self.bytes[at + offset..at + offset + first].copy_from_slice(&text[..first]);
        let rest = &text[first..];
        self.bytes[at + 512..at + 512 + rest.len()].copy_from_slice(rest);
    }

    /// Put the checksum of an area's header right.
    pub fn sum_area(&mut self, at: u64) {
        let at = at as usize;
        let sum = crc(&self.bytes[at + 4..at + 512]);
        self.bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }

    /// Put the checksum of the label in sector 1 right.
    pub fn sum_label(&mut self) {
        let sum = crc(&self.bytes[532..1024]);
        self.bytes[528..532].copy_from_slice(&sum.to_le_bytes());
    }

    pub fn disk(&self) -> DiskRef {
        disk(self.bytes.clone())
    }
}

pub fn disk(bytes: Vec<u8>) -> DiskRef {
    let geometry = Geometry { len: ByteLen(bytes.len() as u64), sector: SectorSize::B512 };
    Arc::new(MemDisk::new(geometry, bytes))
}

/// Bytes that hardly repeat, another sequence for each number.
pub fn noise(number: u8, len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ u64::from(number).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// lvm2 lib/misc/crc.c, bit by bit.
pub fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |s, _| (s >> 1) ^ (0xedb8_8320 & (s & 1).wrapping_neg()))
    })
}

/// The text of the group `vg0`: extents of `extent` sectors, physical volumes of so many extents from 16 KiB on, and logical volumes.
pub fn group(seqno: u32, extent: u64, physical: &[u64], logical: &str) -> String {
    let pvs: String = (0u8..)
        .zip(physical)
        .map(|(n, count)| {
            let id = id_text([b'a' + n; 32]);
            format!("pv{n} {{\nid = \"{id}\"\nstatus = [\"ALLOCATABLE\"]\nflags = []\npe_start = 32\npe_count = {count}\n}}\n")
        })
        .collect();
    format!(
        "vg0 {{\nid = \"{}\"\nseqno = {seqno}\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n\
         extent_size = {extent}\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n{pvs}}}\n\n\
         logical_volumes {{\n{logical}}}\n}}\n# Generated by hand\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n",
        id_text([b'V'; 32])
    )
}

/// A visible logical volume of these segments.
pub fn volume(name: &str, segments: &[String]) -> String {
    let segments: String =
        (1..).zip(segments).map(|(n, s)| format!("segment{n} {{\n{s}}}\n")).collect::<String>();
    let count = segments.matches("start_extent").count();
    format!(
        "{name} {{\nid = \"{}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\nsegment_count = {count}\n{segments}}}\n",
        id_text([b'L'; 32])
    )
}

/// A striped segment; each stripe is a physical volume and its first extent there. `chunk` is in sectors.
pub fn striped(start: u64, count: u64, chunk: u64, stripes: &[(usize, u64)]) -> String {
    let areas: Vec<String> = stripes.iter().map(|(pv, at)| format!("\"pv{pv}\", {at}")).collect();
    let chunk = if stripes.len() > 1 { format!("stripe_size = {chunk}\n") } else { String::new() };
    format!(
        "start_extent = {start}\nextent_count = {count}\ntype = \"striped\"\nstripe_count = {}\n{chunk}stripes = [{}]\n",
        stripes.len(),
        areas.join(", ")
    )
}

/// As lvm2 writes an id.
pub fn id_text(id: [u8; 32]) -> String {
    let text = String::from_utf8(id.to_vec()).expect("letters");
    let cuts = [0, 6, 10, 14, 18, 22, 26, 32];
    cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect::<Vec<_>>().join("-")
}
