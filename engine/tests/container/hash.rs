//! Content hashes.

use crate::bench::{Bench, opened};
use engine::hash;
use std::ops::ControlFlow;

#[test]
fn a_file_has_the_hash_blake3_gives() {
    let bench = Bench::new();
    // From BLAKE3's own test vectors (test_vectors.json): input of 0 bytes, and of 1 byte, 0x00.
    let cases: [(&[u8], &str); 2] = [
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"\0", "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    ];
    for (bytes, expect) in cases {
        let path = bench.path("f");
        std::fs::write(&path, bytes).expect("a file");
        let source = engine::disk::SourceFile::open(&path).expect("a source");
        let found = hash::file(&source, &mut |_| ControlFlow::Continue(())).expect("a hash");
        assert_eq!(found.to_string(), expect);
    }
}

#[test]
fn a_disk_has_one_hash_in_every_container_and_another_after_one_changed_bit() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 41);
    let hash_of = |path: &std::path::Path| {
        let disk = opened(path).disk;
        hash::disk(&*disk, &mut |_| ControlFlow::Continue(())).expect("a hash")
    };
    let expect = hash_of(&raw);
    for (format, options) in [
        ("vhdx", "block_size=1M"),
        ("vhdx", "subformat=fixed"),
        ("vpc", "subformat=fixed,force_size=on"),
        ("vpc", "force_size=on"),
        ("qcow2", ""),
    ] {
        assert_eq!(hash_of(&bench.convert(&raw, "image", format, options)), expect, "{format} {options}");
    }
    crate::bench::patch(&raw, 30 << 20, &[1]);
    assert_ne!(hash_of(&raw), expect);
}

#[test]
fn hashing_can_be_cancelled() {
    let bench = Bench::new();
    let found = opened(&bench.raw("disk.raw", 24));
    let stop = hash::file(&found.sources[0], &mut |p| {
        if p.done > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stop, Err(hash::HashError::Cancelled)), "{stop:?}");
}
