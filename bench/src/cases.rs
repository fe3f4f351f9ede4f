//! All cases, with the demands of docs/performance.md.

use crate::case::{Cache, Case, Place};
use crate::contender::Contender;
use crate::demand::Demand;
use crate::source::{GIB, MIB, Source, TIB};

/// Whether a result must be on the storage when the time is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Copied,
    Durable,
}

/// Every case; smaller disks for a quick run.
pub fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for cache in [Cache::Warm, Cache::Cold] {
        cases.push(sparse(quick, Figure::Copied, cache));
        cases.push(sparse(quick, Figure::Durable, cache));
    }
    for cache in [Cache::Warm, Cache::Cold] {
        cases.push(dense(quick, Figure::Copied, cache, Place::Dir));
        cases.push(dense(quick, Figure::Durable, cache, Place::Dir));
    }
    cases.push(dense(quick, Figure::Copied, Cache::Warm, Place::Memory));
    cases.push(inspect("inspect-1t", Source::sparse(TIB, 12, None), Place::Dir));
    // No file on ext4 is that long, and the disk's partition table must be made in a raw one.
    cases.push(inspect("inspect-64t", Source::sparse(64 * TIB, 12, Some(32 * MIB)), Place::Memory));
    cases.extend([child("child-1t", TIB), child("child-1g", GIB)]);
    cases.push(share(quick));
    cases.push(hash(quick));
    cases.push(boot());
    cases
}

fn name(begin: &str, figure: Figure, cache: Cache) -> String {
    let figure = if figure == Figure::Copied { "copied" } else { "durable" };
    format!("{begin}-{figure}-{}", cache.name())
}

/// A large disk that holds little.
fn sparse(quick: bool, figure: Figure, cache: Cache) -> Case {
    let len = if quick { 64 * GIB } else { TIB };
    let source = Source::sparse(len, 12, None);
    let (drill, qemu) = (Contender::drill("vhd"), Contender::qemu("vpc", &[]));
    let (contenders, least) = match figure {
        Figure::Copied => (vec![drill.no_flush(), qemu], 60.0),
        Figure::Durable => (vec![drill, qemu.flushed()], 10.0),
    };
    Case {
        name: name("sparse", figure, cache),
        what: format!("{} dynamic VHDX that holds 0.4 GB → fixed VHD", size(len)),
        place: Place::Dir,
        room_needed: 4 * GIB,
        source,
        cache,
        contenders,
        demands: vec![Demand::Faster { than: 1, times: least }],
    }
}

/// A disk full of random data.
fn dense(quick: bool, figure: Figure, cache: Cache, place: Place) -> Case {
    let len = if quick { GIB } else { 4 * GIB };
    let (drill, qemu, cp) =
        (Contender::drill("vhd"), Contender::qemu("vpc", &["-W", "-m", "16"]), Contender::cp());
    let contenders = match figure {
        Figure::Copied => vec![drill.no_flush(), qemu, cp],
        Figure::Durable => vec![drill, qemu.flushed(), cp.flushed()],
    };
    let mut demands = vec![
        Demand::Faster { than: 1, times: 1.0 },
        Demand::Faster { than: 2, times: 1.0 },
        Demand::LessCpu { than: 1 },
        Demand::LessCpu { than: 2 },
    ];
    let mut name = name("dense", figure, cache);
    if place == Place::Memory {
        demands.insert(0, Demand::Faster { than: 1, times: 1.5 });
        name = "memory-dense-copied".into();
    }
    Case {
        name,
        what: format!("{} of random data, VHDX → fixed VHD", size(len)),
        place,
        room_needed: 3 * len,
        source: Source::dense(len, "vhdx"),
        cache,
        contenders,
        demands,
    }
}

/// Only a look at an image.
fn inspect(name: &str, source: Source, place: Place) -> Case {
    Case {
        name: name.into(),
        what: format!("drill inspect of a dynamic VHDX, {}", source.describe()),
        place,
        room_needed: 2 * GIB,
        source,
        cache: Cache::Warm,
        contenders: vec![Contender::inspect(), Contender::qemu_info()],
        demands: vec![Demand::Wall { below_ms: 50.0 }, Demand::Memory { below: 32 * MIB }],
    }
}

/// A conversion that writes only what changes.
fn child(name: &str, len: u64) -> Case {
    Case {
        name: name.into(),
        what: format!("Generation 2 → Generation 1 as a child of a dynamic VHDX of {}, durable", size(len)),
        place: Place::Dir,
        room_needed: 2 * GIB,
        source: Source::guest(len),
        cache: Cache::Warm,
        contenders: vec![Contender::child(), Contender::qemu_create()],
        demands: vec![Demand::Wall { below_ms: 100.0 }, Demand::Result { below: 2 * MIB }],
    }
}

/// Where the file system can let two files share their blocks.
fn share(quick: bool) -> Case {
    let len = if quick { GIB } else { 4 * GIB };
    Case {
        name: "share-xfs".into(),
        what: format!(
            "{} of random data, VHDX → fixed VHD on XFS, durable: drill shares the blocks",
            size(len)
        ),
        place: Place::Xfs,
        room_needed: 4 * len,
        source: Source::dense(len, "vhdx"),
        cache: Cache::Warm,
        contenders: vec![
            Contender::drill("vhd"),
            Contender::qemu("vpc", &["-W", "-m", "16"]).flushed(),
            Contender::cp_shared().flushed(),
        ],
        demands: vec![Demand::Faster { than: 1, times: 1.0 }, Demand::Shared],
    }
}

/// The disk's hash with the conversion, against a hash of the result on one thread.
fn hash(quick: bool) -> Case {
    let len = if quick { GIB } else { 4 * GIB };
    Case {
        name: "hash".into(),
        what: format!(
            "{} of random data, VHDX → raw with its BLAKE3, against the same and a hash on one thread",
            size(len)
        ),
        place: Place::Dir,
        room_needed: 3 * len,
        source: Source::dense(len, "vhdx"),
        cache: Cache::Warm,
        contenders: vec![
            Contender::drill("raw").no_flush().hashing(),
            Contender::drill("raw").no_flush().then_hash(),
        ],
        demands: vec![Demand::Faster { than: 1, times: 1.0 }],
    }
}

/// What looking at a boot costs.
fn boot() -> Case {
    Case {
        name: "boot".into(),
        what: "the sample guest up to its marker and down again, Generation 2 under TCG: drill against the same QEMU command line, bare".into(),
        place: Place::Dir,
        room_needed: 2 * GIB,
        source: Source::booted(GIB),
        cache: Cache::Warm,
        contenders: vec![Contender::boot(), Contender::bare_boot()],
        demands: vec![Demand::CpuWithin { than: 1, times: 1.02 }],
    }
}

fn size(len: u64) -> String {
    if len >= TIB { format!("{} TiB", len / TIB) } else { format!("{} GiB", len / GIB) }
}
