//! Any layout: what is read through the logical volume is what lies on the physical ones.

use crate::builder::{Physical, group, striped, volume};
use engine::disk::{DiskRef, ExtentKind, Geometry, MemDisk, Overlay, Write, read_vec};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use engine::volume::lvm::{Lvm, look};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use std::sync::Arc;

/// Extents begin here.
const START: u64 = 16 << 10;
/// Bytes of an extent.
const EXTENT: u64 = 8 << 10;
/// Extents of each physical volume.
const COUNT: u64 = 24;

/// A segment: sectors of a chunk, and for each stripe its physical volume and first extent. All stripes have `rows` extents.
#[derive(Clone, Debug)]
struct Segment {
    rows: u64,
    chunk: u64,
    stripes: Vec<(usize, u64)>,
}

/// Disjoint segments of one logical volume on three physical volumes.
fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let free: Vec<(usize, u64)> = (0..3).flat_map(|pv| (0..COUNT / 2).map(move |e| (pv, e * 2))).collect();
    let shape = (1u64..3, prop::sample::select(vec![1u64, 2, 8, 16]), 1usize..4);
    (Just(free).prop_shuffle(), prop::collection::vec(shape, 1..7)).prop_map(|(free, shapes)| {
        let mut free = free.into_iter();
        let one =
            |(rows, chunk, stripes)| Segment { rows, chunk, stripes: free.by_ref().take(stripes).collect() };
        shapes.into_iter().map(one).collect()
    })
}

/// Where each sector of the logical volume is, by the definition: chunk after chunk, stripe after stripe.
fn gather(segments: &[Segment], physical: &[Physical]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        let chunk = if segment.stripes.len() == 1 { segment.rows * EXTENT } else { segment.chunk * 512 };
        for row in 0..segment.rows * EXTENT / chunk {
            for (pv, extent) in &segment.stripes {
                let at = (START + extent * EXTENT + row * chunk) as usize;
                bytes.extend_from_slice(&physical[*pv].bytes[at..at + chunk as usize]);
            }
        }
    }
    bytes
}

fn text(segments: &[Segment]) -> String {
    let mut start = 0;
    let mut written = Vec::new();
    for segment in segments {
        let count = segment.rows * segment.stripes.len() as u64;
        written.push(striped(start, count, segment.chunk, &segment.stripes));
        start += count;
    }
    // The order in the text does not matter.
    written.reverse();
    group(1, EXTENT / 512, &[COUNT; 3], &volume("any", &written))
}

fn content(lvm: &Lvm) -> &DiskRef {
    lvm.groups[0].logical[0].content.as_ref().expect("a sound layout")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_lies_on_the_physical_volumes(
        segments in segments(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let text = text(&segments);
        let len = (START + COUNT * EXTENT) as usize;
        let physical: Vec<Physical> = (0..3).map(|n| Physical::new(n, len, &text)).collect();
        let lvm = look(&physical.iter().map(Physical::disk).collect::<Vec<_>>());
        let wanted = gather(&segments, &physical);
        let disk = content(&lvm);
        prop_assert_eq!(disk.geometry().len.get(), wanted.len() as u64);
        let all = read_vec(disk.as_ref(), ByteOffset(0), wanted.len()).expect("readable");
        prop_assert!(all == wanted);
        for (at, end) in reads {
            let (a, b) = (at.index(wanted.len() + 1), end.index(wanted.len() + 1));
            let (at, end) = (a.min(b), a.max(b));
            let some = read_vec(disk.as_ref(), ByteOffset(at as u64), end - at).expect("readable");
            prop_assert!(some == wanted[at..end], "{}..{}", at, end);
        }
        prop_assert!(disk.read_at(ByteOffset(wanted.len() as u64 - 1), &mut [0; 2]).is_err());
        prop_assert!(disk.next_extent(ByteOffset(wanted.len() as u64)).expect("readable").is_none());
    }

    /// Holes and data of the physical volumes come through, wherever one asks.
    #[test]
    fn holes_of_the_physical_volumes_are_holes_of_the_logical_one(
        segments in segments(),
        data in prop::collection::btree_set((0usize..3, 0..COUNT * 8), 0..40),
        asks in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let text = text(&segments);
        let len = START + COUNT * EXTENT;
        // Data of 1 KiB here and there; the rest is a hole.
        let mut disks: Vec<DiskRef> = Vec::new();
        let mut marks = Vec::new();
        for n in 0..3usize {
            let mut mark = Physical::new(n as u8, len as usize, &text);
            let head: Arc<[u8]> = mark.bytes[..START as usize].into();
            let geometry = Geometry { len: ByteLen(len), sector: SectorSize::B512 };
            let mut writes = vec![Write { at: ByteOffset(0), bytes: head }];
            mark.bytes.fill(0);
            for (_, piece) in data.iter().filter(|(pv, _)| *pv == n) {
                let at = START + piece * 1024;
                writes.push(Write { at: ByteOffset(at), bytes: vec![1; 1024].into() });
                mark.bytes[at as usize..at as usize + 1024].fill(1);
            }
            marks.push(mark);
            let base: DiskRef = Arc::new(MemDisk::empty(geometry));
            disks.push(Arc::new(Overlay::new(base, geometry, writes).expect("an overlay")));
        }
        let lvm = look(&disks);
        let disk = content(&lvm);
        let wanted = gather(&segments, &marks);
        let kind = |at: u64| if wanted[at as usize] == 1 { ExtentKind::Data } else { ExtentKind::Hole };
        let mut at = 0;
        while let Some(extent) = disk.next_extent(ByteOffset(at)).expect("readable") {
            prop_assert_eq!(extent.at.get(), at);
            prop_assert!(extent.len.get() > 0);
            for piece in (at..at + extent.len.get()).step_by(512) {
                prop_assert_eq!(kind(piece), extent.kind, "{:?} at {}", extent, piece);
            }
            at += extent.len.get();
        }
        prop_assert_eq!(at, wanted.len() as u64);
        for ask in asks {
            let at = ask.index(wanted.len()) as u64;
            let extent = disk.next_extent(ByteOffset(at)).expect("readable").expect("within");
            prop_assert_eq!(extent.kind, kind(at));
        }
    }
}

#[test]
fn a_hole_of_a_terabyte_is_one_extent_on_stripes_too() {
    let count = 1 << 15;
    let lv = volume("far", &[striped(0, 2 * count, 128, &[(0, 0), (1, 0)])]);
    let text = group(1, 65_536, &[count; 2], &lv);
    let geometry = Geometry { len: ByteLen(START + (count << 25)), sector: SectorSize::B512 };
    let disks: Vec<DiskRef> = (0..2)
        .map(|n| Arc::new(MemDisk::new(geometry, Physical::new(n, 16 << 10, &text).bytes)) as DiskRef)
        .collect();
    let lvm = look(&disks);
    let extent = content(&lvm).next_extent(ByteOffset(0)).expect("readable").expect("an extent");
    assert_eq!((extent.len.get(), extent.kind), (2 << 40, ExtentKind::Hole));
}
