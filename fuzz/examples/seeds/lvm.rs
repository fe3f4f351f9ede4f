//! Physical volumes, two in an image: those that lvm2 made for the engine's tests, and small ones by hand.

#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../../../engine/tests/lvm/builder.rs"]
mod builder;

use crate::Images;
use builder::{AREA_AT, AREA_LEN, Physical, group, striped, volume};
use std::path::Path;
use std::process::Command;

pub fn made_by_lvm2() -> Images {
    let (first, second) = (packed("first"), packed("second"));
    let (ring, kinds) = (packed("ring"), packed("kinds"));
    let one = |name: &str, halves: [&[u8]; 2]| (name.to_string(), halves.concat());
    vec![
        one("two", [&first, &second]),
        one("two-swapped", [&second, &first]),
        one("half", [&first, &vec![0; first.len()]]),
        one("ring", [&ring, &vec![0; ring.len()]]),
        one("ring-twice", [&ring, &ring]),
        one("kinds", [&kinds, &vec![0; kinds.len()]]),
    ]
}

/// An image without the texts that are no longer in force, and with a byte here and there in its extents.
fn packed(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../engine/tests/lvm/data/{name}.img.gz"));
    let out = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip runs");
    let mut bytes = out.stdout;
    let start = if name == "ring" { 64 << 10 } else { 1 << 20 };
    only_in_force(&mut bytes, 4096);
    if name == "second" {
        let last = bytes.len() - start;
        only_in_force(&mut bytes, last);
    }
    mark(&mut bytes, start, 1 << 20);
    bytes
}

fn only_in_force(bytes: &mut [u8], area: usize) {
    let number =
        |at: usize| u64::from_le_bytes(bytes[area + at..area + at + 8].try_into().expect("8 bytes")) as usize;
    let (area_len, text_at, len) = (number(32), number(40), number(48));
    let in_ring = |at: usize| (at + area_len - 512 - text_at) % (area_len - 512) < len;
    (512..area_len).filter(|at| !in_ring(*at)).for_each(|at| bytes[area + at] = 0);
}

fn mark(bytes: &mut [u8], from: usize, step: usize) {
    let end = bytes.len() - from.min(bytes.len());
    (from..end).step_by(step).for_each(|at| bytes[at] = b'0' + (at / step % 10) as u8);
}

pub fn by_hand() -> Images {
    let snapshot =
        "start_extent = 0\nextent_count = 1\ntype = \"snapshot\"\norigin = \"o\"\ncow_store = \"s\"\n";
    let thin = "start_extent = 0\nextent_count = 90\ntype = \"thin\"\nthin_pool = \"p\"\n";
    let layouts = [
        ("linear", volume("a", &[striped(0, 3, 0, &[(0, 1)])])),
        ("both", volume("a", &[striped(0, 2, 0, &[(1, 3)]), striped(2, 1, 0, &[(0, 0)])])),
        ("striped", volume("a", &[striped(0, 4, 8, &[(0, 0), (1, 2)])])),
        ("mixed", volume("a", &[striped(0, 3, 2, &[(0, 0), (1, 2), (0, 5)]), striped(3, 4, 0, &[(1, 4)])])),
        (
            "shared",
            volume("a", &[striped(0, 3, 0, &[(0, 1)])]) + &volume("b", &[striped(0, 3, 0, &[(0, 2)])]),
        ),
        (
            "snapshot",
            volume("o", &[striped(0, 1, 0, &[(0, 0)])])
                + &volume("s", &[striped(0, 1, 0, &[(0, 1)])])
                + &volume("t", &[snapshot.to_string()]),
        ),
        ("thin", volume("t", &[thin.to_string()])),
    ];
    let one = |(name, volumes): &(&str, String)| {
        let text = group(2, 16, &[10, 10], volumes);
        let halves = [0, 1].map(|n| {
            let mut pv = Physical::new(n, 128 << 10, &text);
            pv.bytes[(AREA_AT + AREA_LEN) as usize..].fill(0);
            pv.bytes[AREA_AT as usize + 512 + text.len() + 1..].fill(0);
            mark(&mut pv.bytes, 16 << 10, 5000);
            pv.bytes
        });
        (format!("hand-{name}"), halves.concat())
    };
    layouts.iter().map(one).collect()
}
