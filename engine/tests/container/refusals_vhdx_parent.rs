//! Every differencing VHDX that is not read: the whole text, and what to do next.

use crate::bench::{Bench, noise, patch};
use crate::refusals_vhdx::{COPY_AGAIN, check, put, small};
use crate::vhdx_builder::{Block, Vhdx, braced, locator};
use engine::units::MIB;

const WHICH_PARENT: &str = "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed";
const WHERE_PARENT: &str = "put the parent into the same folder, or give it with --parent FILE";
const PARENT_ID: [u8; 16] = [0xDA; 16];

fn child() -> Vhdx {
    small().child_of(PARENT_ID, "parent")
}

/// A child, with what else is in its folder.
#[track_caller]
fn orphan(row: &str, child: &Vhdx, prepare: impl Fn(&Bench), text: &str, next: &str) {
    let bench = Bench::new();
    child.write(&bench.path("image"));
    prepare(&bench);
    check(&bench, row, text, next);
}

#[test]
fn parents() {
    let nothing = |_: &Bench| {};
    orphan(
        "missing",
        &child(),
        nothing,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: opening DIR/parent: No such file or directory (os error 2)",
        WHERE_PARENT,
    );
    let shadow = small().child_of(PARENT_ID, "/etc/shadow");
    orphan(
        "/etc/shadow",
        &shadow,
        nothing,
        "FILE: a differencing VHDX that needs a parent named \"/etc/shadow\", which was not found; tried: opening DIR/shadow: No such file or directory (os error 2)",
        WHERE_PARENT,
    );
    let link =
        |bench: &Bench| std::os::unix::fs::symlink("/etc/passwd", bench.path("parent")).expect("a link");
    orphan(
        "a link",
        &child(),
        link,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: DIR/parent: wanted a file or a block device, found a symbolic link; give the path of a disk image",
        WHERE_PARENT,
    );
    let changed = |bench: &Bench| drop(Vhdx { data_id: [0xDB; 16], ..small() }.write(&bench.path("parent")));
    orphan(
        "changed since",
        &child(),
        changed,
        "FILE: a differencing VHDX that needs a parent named \"parent\", which was not found; tried: DIR/parent: its data write GUID is DBDBDBDB-DBDB-DBDB-DBDB-DBDBDBDBDBDB, the child was made from DADADADA-DADA-DADA-DADA-DADADADADADA: it is another disk, or was changed after the child was made",
        WHICH_PARENT,
    );
    let sectors = |bench: &Bench| drop(Vhdx { sector: 4096, ..small() }.write(&bench.path("parent")));
    let next = "the two files do not belong together: take both from the original machine again";
    orphan(
        "other sectors",
        &child(),
        sectors,
        "FILE: a differencing VHDX with sectors of 512 bytes on a parent, DIR/parent, with sectors of 4096",
        next,
    );
    let raw = |bench: &Bench| std::fs::write(bench.path("parent"), [0; 4096]).expect("a file");
    orphan(
        "not a VHDX",
        &child(),
        raw,
        "DIR/parent: VHDX: file identifier at 0x0: wanted `vhdxfile`, found [00, 00, 00, 00, 00, 00, 00, 00]",
        COPY_AGAIN,
    );
    let next =
        "one of the files has another file's name: compare the names with those of the original machine";
    orphan(
        "itself",
        &small().child_of([0xC1; 16], "image"),
        nothing,
        "FILE: is in its own chain of parents: the chain is a loop",
        next,
    );
    let circle = |bench: &Bench| drop(small().child_of([0xC1; 16], "image").write(&bench.path("parent")));
    orphan("a circle", &child(), circle, "FILE: is in its own chain of parents: the chain is a loop", next);
}

#[test]
fn parent_locators() {
    let link = braced(PARENT_ID);
    let row = |row: &str, item: Vec<u8>, text: &str| {
        let child = Vhdx { locator: Some(item), ..child() };
        orphan(row, &child, |_| {}, text, COPY_AGAIN);
    };
    let pairs = |pairs: &[(&str, &str)]| locator(pairs);
    row("empty", vec![], "FILE: VHDX: parent locator at 0x210028: wanted 20 bytes at least, found 0");
    row(
        "type",
        put(pairs(&[("parent_linkage", &link)]), 0, &[0], false),
        "FILE: VHDX: type of the parent locator at 0x210028: wanted B04AEFB7-D19E-4A81-B789-25B8E9445913, found B04AEF00-D19E-4A81-B789-25B8E9445913",
    );
    row(
        "count",
        put(pairs(&[("parent_linkage", &link)]), 18, &[65], false),
        "FILE: VHDX: entry count of the parent locator at 0x210028: wanted at most 9, found 65",
    );
    row(
        "no linkage",
        pairs(&[("relative_path", "parent")]),
        "FILE: VHDX: parent locator at 0x210028: wanted the key parent_linkage, found none",
    );
    row(
        "no GUID",
        pairs(&[("parent_linkage", "parent")]),
        "FILE: VHDX: parent_linkage at 0x210028: wanted a GUID, found \"parent\"",
    );
    row(
        "twice",
        pairs(&[("parent_linkage", &link), ("parent_linkage", &link)]),
        "FILE: VHDX: parent locator at 0x210028: wanted one \"parent_linkage\", found two, \"{dadadada-dada-dada-dada-dadadadadada}\" first",
    );
    row(
        "text outside",
        put(pairs(&[("parent_linkage", &link)]), 24, &[0, 1], false),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted text within the locator's 136 bytes, found 76 bytes at offset 0x100",
    );
    row(
        "half a letter",
        put(pairs(&[("parent_linkage", &link)]), 30, &[75], false),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted UTF-16 of at most 4096 bytes, found 75 bytes at offset 0x3c",
    );
    row(
        "long text",
        pairs(&[("relative_path", &"x".repeat(2049))]),
        "FILE: VHDX: text in the parent locator at 0x210028: wanted UTF-16 of at most 4096 bytes, found 4098 bytes at offset 0x3a",
    );
    row(
        "long locator",
        vec![0; (256 << 10) + 1],
        "FILE: VHDX: item parent locator at 0x210028: wanted at most 262144 bytes, found 262145",
    );
    let orphan_of = Vhdx { locator: Some(pairs(&[("parent_linkage", &link)])), ..child() };
    orphan(
        "no name",
        &orphan_of,
        |_| {},
        "FILE: a differencing VHDX that needs a parent without naming it, which was not found; tried: nothing",
        WHERE_PARENT,
    );
}

#[test]
fn sector_bitmaps() {
    let bitmap = |entry: u64| {
        move |bench: &Bench| {
            let image = bench.path("image");
            patch(&image, child().bitmap_entry_at(0), &entry.to_le_bytes());
            small().write(&bench.path("parent"));
        }
    };
    let partial = Vhdx { blocks: vec![(1, Block::Partial(noise(1, MIB as usize), vec![3]))], ..child() };
    orphan(
        "missing",
        &partial,
        bitmap(0),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 6, because block 1 is partly present, found 0",
        COPY_AGAIN,
    );
    orphan(
        "reserved state",
        &partial,
        bitmap((5 * MIB) | 7),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 0 or 6, found 7",
        COPY_AGAIN,
    );
    orphan(
        "outside",
        &partial,
        bitmap((6 * MIB) | 6),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted 0x100000 bytes within the file's 0x600000, found offset 0x600000: the file is truncated or the entry is damaged",
        COPY_AGAIN,
    );
    orphan(
        "in a block",
        &partial,
        bitmap((4 * MIB) | 6),
        "FILE: VHDX: sector bitmap 0 at 0x308000: wanted a place of its own, found 0x100000 bytes at 0x400000, where something else is at 0x400000",
        COPY_AGAIN,
    );
    orphan(
        "reserved state, not needed",
        &child(),
        bitmap(3),
        "FILE: VHDX: BAT entry of sector bitmap 0 at 0x308000: wanted state 0 or 6, found 3",
        COPY_AGAIN,
    );
}
