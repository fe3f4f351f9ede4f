//! Malicious VHDs: wild numbers behind valid checksums give an error or a disk, never a panic, a hang or unbounded memory.

use crate::bench::{Bench, noise};
use crate::hostile::visit;
use crate::vhd_bytes::{HEADER_AT, TABLE_AT, Vhd, fix_sum, put};
use engine::container::Format;
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};

const LEN: u64 = 448 << 10;

/// Numbers at which checks go wrong.
fn wild() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0u8, 1, 2, 0x10, 0x7F, 0x80, 0xFF]);
    prop::collection::vec(byte, 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_wild_field_of_a_vhd_makes_it_panic(
        kind in 2u32..5,
        footers in prop::collection::vec((8usize..88, wild()), 0..2),
        headers in prop::collection::vec((8usize..64, wild()), 0..2),
        locators in prop::collection::vec((576usize..624, wild()), 0..2),
        entries in prop::collection::vec((0usize..32, any::<u8>()), 0..3),
        bitmap in wild(),
        cut in prop::option::of(0usize..140_000),
    ) {
        let bench = Bench::new();
        Vhd::new(2, LEN, 1).write(0, noise(1, 4096)).save(&bench, "base.vhd");
        let child = Vhd::new(kind, LEN, 2).child_of(1, "base.vhd");
        let mut bytes = child.write(3, noise(2, 512)).write(880, noise(3, 1024)).bytes();
        let end = bytes.len() - 512;
        for (at, new) in &footers {
            put(&mut bytes, end + at, new);
        }
        fix_sum(&mut bytes, end, 512, 64);
        if kind != 2 {
            bytes.copy_within(end.., 0);
            for (at, new) in headers.iter().chain(&locators) {
                put(&mut bytes, HEADER_AT + at, new);
            }
            fix_sum(&mut bytes, HEADER_AT, 1024, 36);
            for (at, byte) in entries {
                bytes[TABLE_AT + at] = byte;
            }
            put(&mut bytes, TABLE_AT + 1024, &bitmap);
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let path = bench.path("wild.vhd");
        std::fs::write(&path, bytes).expect("a file");
        visit(&path, Format::Vhd);
    }
}
