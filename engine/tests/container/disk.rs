//! Views stacked on disks.

use crate::bench::{check_extents, content, noise, same};
use engine::disk::{Disk, Geometry, MemDisk, Overlay, OverlayError, ReadError, Slice, Write};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use std::sync::Arc;

fn geometry(len: u64) -> Geometry {
    Geometry { len: ByteLen(len), sector: SectorSize::B512 }
}

fn write(at: u64, bytes: &[u8]) -> Write {
    Write { at: ByteOffset(at), bytes: Arc::from(bytes) }
}

#[test]
fn a_slice_is_a_window() {
    let base = Arc::new(MemDisk::new(geometry(8192), noise(1, 3000)));
    let slice = Slice::new(base.clone(), ByteOffset(1000), ByteLen(4000)).expect("a slice");
    same(&content(&slice), &content(&*base)[1000..5000]);
    assert_eq!(check_extents(&slice), 2000);
    let beyond = Slice::new(base, ByteOffset(8000), ByteLen(193));
    assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
    assert!(matches!(slice.read_at(ByteOffset(3999), &mut [0; 2]), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(slice.read_at(ByteOffset(u64::MAX), &mut [0; 2]), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn an_overlay_refuses_writes_whose_order_would_matter() {
    let base = Arc::new(MemDisk::empty(geometry(4096)));
    let overlay = |writes| Overlay::new(base.clone(), geometry(4096), writes).map(|_| ());
    assert_eq!(overlay(vec![write(0, b"ab"), write(2, b"c"), write(4095, b"d")]), Ok(()));
    assert_eq!(overlay(vec![write(0, b"")]), Err(OverlayError::Empty { index: 0, at: 0 }));
    let order = Err(OverlayError::Order { index: 1, at: 1, wanted: 2 });
    assert_eq!(overlay(vec![write(0, b"ab"), write(1, b"c")]), order);
    let range = Err(OverlayError::Range { index: 0, at: 4095, len: 2, end: 4096 });
    assert_eq!(overlay(vec![write(4095, b"ab")]), range);
    let far = Err(OverlayError::Range { index: 0, at: u64::MAX, len: 2, end: 4096 });
    assert_eq!(overlay(vec![write(u64::MAX, b"ab")]), far);
    let odd = Overlay::new(base, geometry(1000), vec![]).map(|_| ());
    assert_eq!(odd, Err(OverlayError::Length { len: 1000, sector: 512 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// An overlay reads like a flat copy of the disk below, cut or grown, with the writes laid over it.
    #[test]
    fn an_overlay_reads_like_a_patched_copy(
        stored in 0usize..6000,
        base_sectors in 1u64..12,
        sectors in 1u64..12,
        gaps in proptest::collection::vec((0u64..900, 1usize..700), 0..8),
        at in 0u64..6000,
    ) {
        let base = Arc::new(MemDisk::new(geometry(base_sectors * 512), noise(3, stored)));
        let mut flat = content(&*base);
        flat.resize(sectors as usize * 512, 0);
        let (mut writes, mut end) = (Vec::new(), 0);
        for (i, (gap, len)) in gaps.into_iter().enumerate() {
            let start = end + gap;
            end = start + len as u64;
            if end <= flat.len() as u64 {
                let bytes = noise(100 + i as u64, len);
                flat[start as usize..end as usize].copy_from_slice(&bytes);
                writes.push(write(start, &bytes));
            }
        }
        let overlay = Overlay::new(base, geometry(sectors * 512), writes).expect("sorted writes");
        same(&content(&overlay), &flat);
        check_extents(&overlay);
        let at = at.min(flat.len() as u64 - 1) as usize;
        let mut tail = vec![0; flat.len() - at];
        overlay.read_at(ByteOffset(at as u64), &mut tail).expect("a read");
        prop_assert_eq!(&tail[..], &flat[at..]);
    }
}
