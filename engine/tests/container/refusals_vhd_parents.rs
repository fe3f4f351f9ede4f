//! Each differencing VHD that is refused for its parent, with the whole text that says so.

use crate::bench::{Bench, noise};
use crate::refusals_vhd::{COPY_AGAIN, LEN, check_path, header};
use crate::vhd_bytes::{Parent, STAMP, Vhd, utf16le};
use engine::container::{Gate, open_through};

/// A child of `base.vhd`, whose id is 1, with one sector of its own.
fn child() -> Vhd {
    Vhd::new(4, LEN, 2).child_of(1, "base.vhd").write(5, noise(5, 512))
}

const GIVE: &str = "put the parent into the same folder, or give it with --parent FILE";
const FIND: &str = "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed";

#[test]
fn parents() {
    let bench = Bench::new();
    let folder = Gate::same_folder();
    let image = child().save(&bench, "child.vhd");
    let refused = |gate: &Gate, expect: &str, next: &str| check_path(&bench, &image, gate, expect, next);
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: opening DIR/base.vhd: No such file or directory (os error 2)"#,
        GIVE,
    );
    refused(
        &Gate::closed(),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: nothing"#,
        GIVE,
    );
    Vhd::new(2, LEN, 9).save(&bench, "base.vhd");
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: DIR/base.vhd: its id is 09090909-0909-0909-0909-090909090909, wanted 01010101-0101-0101-0101-010101010101"#,
        FIND,
    );
    refused(
        &Gate::same_folder().with_given([bench.path("base.vhd")]),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: DIR/base.vhd: its id is 09090909-0909-0909-0909-090909090909, wanted 01010101-0101-0101-0101-010101010101"#,
        FIND,
    );
    // The right file under another name, and a link to it.
    Vhd::new(2, LEN, 1).save(&bench, "renamed.vhd");
    std::fs::remove_file(bench.path("base.vhd")).expect("removed");
    std::os::unix::fs::symlink(bench.path("renamed.vhd"), bench.path("base.vhd")).expect("a link");
    refused(
        &folder,
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: DIR/base.vhd: wanted a file or a block device, found a symbolic link; give the path of a disk image"#,
        GIVE,
    );
    // A parent of another format.
    std::fs::remove_file(bench.path("base.vhd")).expect("removed");
    std::fs::write(bench.path("base.vhd"), [0; 4096]).expect("a file");
    refused(
        &folder,
        "DIR/base.vhd: VHD: VHD footer cookie at 0xe00: wanted `conectix`, found [00, 00, 00, 00, 00, 00, 00, 00]",
        COPY_AGAIN,
    );
}

#[test]
fn a_parent_with_another_time_stamp() {
    let bench = Bench::new();
    let base = Vhd::new(2, LEN, 1).save(&bench, "base.vhd");
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(946_684_800 + 700_000_000);
    std::fs::File::options().write(true).open(base).and_then(|f| f.set_modified(time)).expect("a time");
    let mut vhd = child();
    vhd.parent.as_mut().expect("a parent").stamp = 700_000_001;
    let image = vhd.save(&bench, "child.vhd");
    check_path(
        &bench,
        &image,
        &Gate::same_folder(),
        r#"DIR/child.vhd: a differencing VHD that needs a parent named ".\\base.vhd", "base.vhd", and no file fits; tried: DIR/base.vhd: it was modified at 2022-03-07 20:26:40 UTC and made at 2026-11-24 00:00:00 UTC, wanted 2022-03-07 20:26:41 UTC for one of them: it was written to after the child was made, or is a copy that did not keep file times; if you know that it is a faithful copy, give it with --parent"#,
        FIND,
    );
}

#[test]
fn names_that_lead_elsewhere() {
    for (name, expect) in [
        (
            "/etc/shadow",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "/etc/shadow", and no file fits; tried: opening DIR/shadow: No such file or directory (os error 2)"#,
        ),
        (
            "../../etc/shadow",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "../../etc/shadow", and no file fits; tried: opening DIR/shadow: No such file or directory (os error 2)"#,
        ),
        (
            "..",
            r#"DIR/child.vhd: a differencing VHD that needs a parent named "..", and no file fits; tried: nothing"#,
        ),
        (
            "",
            "DIR/child.vhd: a differencing VHD that needs a parent without naming it, and no file fits; tried: nothing",
        ),
    ] {
        let bench = Bench::new();
        let mut vhd = child();
        let locators = vec![(*b"W2ru", utf16le(name))];
        vhd.parent = Some(Parent { id: [1; 16], stamp: STAMP, unicode_name: "", locators });
        let image = vhd.save(&bench, "child.vhd");
        check_path(&bench, &image, &Gate::same_folder(), expect, GIVE);
    }
}

#[test]
fn locators() {
    let first = 576; // the first locator entry
    for (damage, expect) in [
        (
            header(first + 16, &(1u64 << 40).to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name within the file's 0x10e00 bytes, found 20 bytes at 0x10000000000",
        ),
        (
            header(first + 16, &u64::MAX.to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name within the file's 0x10e00 bytes, found 20 bytes at 0xffffffffffffffff",
        ),
        (
            header(first + 8, &513u32.to_be_bytes()),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name of at most 512 bytes, found 513",
        ),
        (
            header(first + 4, &[0, 0, 1, 0, 0, 0, 0x10, 1]),
            "DIR/child.vhd: VHD: parent locator W2ru of the VHD header at 0x200: wanted a name of at most 4096 bytes, found 4097",
        ),
    ] {
        let bench = Bench::new();
        Vhd::new(2, LEN, 1).save(&bench, "base.vhd");
        let mut bytes = child().bytes();
        damage(&mut bytes);
        let path = bench.path("child.vhd");
        std::fs::write(&path, bytes).expect("a file");
        check_path(&bench, &path, &Gate::same_folder(), expect, COPY_AGAIN);
    }
}

#[test]
fn loops_and_long_chains() {
    let bench = Bench::new();
    let a = Vhd::new(4, LEN, 1).child_of(2, "b.vhd").save(&bench, "a.vhd");
    Vhd::new(4, LEN, 2).child_of(1, "a.vhd").save(&bench, "b.vhd");
    let next =
        "one of the files has another file's name: compare the names with those of the original machine";
    check_path(
        &bench,
        &a,
        &Gate::same_folder(),
        "DIR/a.vhd: is in its own chain of parents: the chain is a loop",
        next,
    );
    let own = Vhd::new(4, LEN, 1).child_of(1, "own.vhd").save(&bench, "own.vhd");
    check_path(
        &bench,
        &own,
        &Gate::same_folder(),
        "DIR/own.vhd: is in its own chain of parents: the chain is a loop",
        next,
    );
    // 64 files are a chain, 65 are too many.
    let names: Vec<&'static str> = (0..65).map(|i| &*format!("{i}.vhd").leak()).collect();
    for i in 0..65u8 {
        let name = names[usize::from(i)];
        if i == 0 {
            Vhd::new(2, LEN, 100).save(&bench, name);
        } else {
            Vhd::new(4, LEN, 100 + i).child_of(99 + i, names[usize::from(i) - 1]).save(&bench, name);
        }
    }
    let found = open_through(&bench.path(names[63]), None, &Gate::same_folder());
    assert_eq!(found.unwrap_or_else(|e| panic!("{e}")).info.chain.len(), 63);
    let next = "merge some of the differencing disks first (Hyper-V: Merge-VHD)";
    check_path(
        &bench,
        &bench.path(names[64]),
        &Gate::same_folder(),
        "DIR/0.vhd: is file 65 of a chain, wanted at most 64",
        next,
    );
}
