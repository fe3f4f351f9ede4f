//! What must hold of every image that was opened, whatever its bytes are.
//!
//! - an image is either refused at once or readable to its end: no read fails later;
//! - the extents cover the disk in order, without gaps, overlaps or empty ones, and from the middle of an extent the kind is the same;
//! - what is no data reads as zeros;
//! - what `span_at` finds in a file is what `read_at` reads;
//! - a read beyond the end is refused;
//! - the file is as it was.

use engine::container::gate::NAME_MAX;
use engine::container::qcow2::{self, Qcow2Facts};
use engine::container::{Format, Gate, Opened, open_through, vmdk};
use engine::disk::{Disk, Extent, ExtentKind, ReadError, SourceFile};
use engine::units::ByteOffset;
use std::path::Path;

/// Extents looked at from the beginning of the disk.
const EXTENTS_MAX: usize = 300;
/// Places looked at anywhere on the disk.
const PLACES: usize = 24;
/// Bytes read at once.
const PIECE: u64 = 8192;

/// Open the image at `path` as `format` and check it. Returns whether it was opened.
///
/// # Panics
/// When something does not hold.
pub fn visit(path: &Path, format: Format, seed: u64) -> bool {
    if format == Format::Vmdk {
        return check_vmdk(path);
    }
    let opened = match open_through(path, Some(format), &Gate::same_folder()) {
        Ok(opened) => opened,
        Err(e) => {
            if format == Format::Qcow2 {
                qcow2_facts(path);
            }
            assert!(!e.to_string().is_empty() && !e.next().is_empty());
            return false;
        }
    };
    check(&opened, seed);
    if let Some(facts) = qcow2_facts(path).filter(|_| format == Format::Qcow2) {
        assert_eq!(facts.len, opened.disk.geometry().len, "both readers see one disk");
        assert!(facts.backing.is_none(), "a disk with a base was opened alone");
    }
    true
}

/// What is said of a qcow2 that QEMU must read. Looked at whether it was opened or not.
fn qcow2_facts(path: &Path) -> Option<Qcow2Facts> {
    let source = SourceFile::open(path).map(std::sync::Arc::new).expect("a file of ours");
    let facts = qcow2::facts(&source).ok()?;
    let _ = qcow2::check_whole(&source);
    let len = facts.len.get();
    assert!(len > 0 && len % 512 == 0 && facts.cluster_size.is_power_of_two());
    assert!(facts.backing.iter().all(|b| !b.name.is_empty() && b.name.len() <= NAME_MAX), "{facts:?}");
    Some(facts)
}

/// A VMDK is never opened here; its words are only read.
fn check_vmdk(path: &Path) -> bool {
    let source = SourceFile::open(path).map(std::sync::Arc::new).expect("a file of ours");
    if let Ok(header) = vmdk::extent_facts(&source) {
        let _ = vmdk::check_whole(&source, &header);
        assert!(header.sectors > 0 && header.grain.is_power_of_two());
    }
    let Ok(facts) = vmdk::facts(&source) else { return false };
    let descriptor = facts.descriptor();
    assert!((1..=vmdk::EXTENTS_MAX).contains(&descriptor.extents.len()));
    assert_eq!(descriptor.extents.iter().map(|e| e.sectors).sum::<u64>(), descriptor.sectors);
    for extent in &descriptor.extents {
        assert!(extent.sectors > 0);
        if let vmdk::ExtentKind::Flat { offset } = extent.kind {
            let Some((at, len)) = extent.flat_bytes(offset) else { continue };
            assert_eq!((at / vmdk::SECTOR, len / vmdk::SECTOR), (offset, extent.sectors));
        }
    }
    true
}

fn check(opened: &Opened, seed: u64) {
    let len = opened.disk.geometry().len.get();
    assert_eq!(opened.info.virtual_len.get(), len, "what was said is what is there");
    assert!(opened.info.allocated.get() <= len, "more is stored than there is");
    check_disk(opened.disk.as_ref(), seed);
    assert!(opened.unchanged().is_ok(), "a given image is never written to");
}

/// What must hold of any disk.
///
/// # Panics
/// When it does not.
pub fn check_disk(disk: &dyn Disk, seed: u64) {
    let geometry = disk.geometry();
    let len = geometry.len.get();
    assert_eq!(len % geometry.sector.bytes(), 0, "a disk is whole sectors");
    refuses_beyond_the_end(disk, len);
    let mut at = 0;
    for _ in 0..EXTENTS_MAX {
        match check_extent(disk, at, len) {
            Some(extent) => at += extent.len.get(),
            None => break,
        }
    }
    let mut random = Random(seed | 1);
    for _ in 0..PLACES {
        // Near ends of what is aligned, mostly: that is where blocks and clusters meet.
        let at = random.below(len.max(1));
        let align = 1u64 << random.below(26);
        let at = (at / align * align).saturating_sub(random.below(3));
        if let Some(extent) = check_extent(disk, at, len) {
            check_extent(disk, at + extent.len.get(), len);
        }
        read(disk, at, (1 + random.below(2 * PIECE)).min(len - at.min(len)));
    }
}

/// The extent at `at`, with all that must hold of it; nothing at the end of the disk.
fn check_extent(disk: &dyn Disk, at: u64, len: u64) -> Option<Extent> {
    let found = disk.next_extent(ByteOffset(at)).expect("an opened image is readable");
    let Some(extent) = found else {
        assert!(at >= len, "the extents end at {at:#x}, the disk at {len:#x}");
        return None;
    };
    assert_eq!(extent.at.get(), at, "an extent begins where it was asked for");
    let end = at.checked_add(extent.len.get()).expect("an end");
    assert!(at < end && end <= len, "{extent:?} on a disk of {len:#x} bytes");
    let piece = PIECE.min(end - at);
    for from in [at, at + (end - at - piece) / 2, end - piece] {
        let bytes = read(disk, from, piece);
        if extent.kind != ExtentKind::Data {
            assert!(
                bytes.iter().all(|b| *b == 0),
                "{extent:?} must read as zeros, and does not at {from:#x}"
            );
        }
        let inner = disk.next_extent(ByteOffset(from)).expect("readable").expect("not the end");
        assert_eq!(inner.kind, extent.kind, "{extent:?} looked at from {from:#x}");
        check_span(disk, from, &bytes);
    }
    Some(extent)
}

/// What lies in a file as it is, is what is read.
fn check_span(disk: &dyn Disk, at: u64, bytes: &[u8]) {
    let Some(span) = disk.span_at(ByteOffset(at), bytes.len() as u64).expect("an opened image is readable")
    else {
        return;
    };
    assert!(span.len > 0 && span.len <= bytes.len() as u64, "a span of {} bytes", span.len);
    let mut stored = vec![0; span.len as usize];
    span.file.read_exact_at(span.at, &mut stored).expect("a span lies in its file");
    assert!(bytes.starts_with(&stored), "the span at {at:#x} is not what is read there");
}

fn read(disk: &dyn Disk, at: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0xA5; len as usize]; // at most 2 * PIECE
    disk.read_at(ByteOffset(at), &mut bytes).expect("an opened image is readable");
    bytes
}

fn refuses_beyond_the_end(disk: &dyn Disk, len: u64) {
    for at in [len, len.saturating_sub(1), u64::MAX] {
        let found = disk.read_at(ByteOffset(at), &mut [0; 2]);
        assert!(
            matches!(found, Err(ReadError::OutOfRange { .. })),
            "2 bytes at {at:#x} of {len:#x}: {found:?}"
        );
        let extent = disk.next_extent(ByteOffset(at)).expect("readable");
        assert!(extent.is_none() || at < len, "an extent behind the end");
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}
