//! The child of a drill: what QEMU wrote on top of a disk.

use crate::bench::{Bench, check_extents, content, opened, patch, run, same, text};
use engine::container::open;
use engine::container::qcow2::open_child;
use engine::units::MIB;

#[track_caller]
fn check(options: &str, size: &str, writes: &[&str]) {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let before = std::fs::read(&raw).expect("the raw disk");
    let child = bench.path("child");
    let mut args =
        vec!["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(&raw), "-o", options, text(&child)];
    args.extend((!size.is_empty()).then_some(size));
    run("qemu-img", args);
    for write in writes {
        run("qemu-io", ["-f", "qcow2", "-c", *write, text(&child)]);
    }
    let flat = bench.path("flat");
    run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", text(&child), text(&flat)]);
    let disk = open_child(&child, opened(&raw).disk).unwrap_or_else(|e| panic!("{e}"));
    same(&content(&*disk), &std::fs::read(&flat).expect("the flat disk"));
    check_extents(&*disk);
    same(&std::fs::read(&raw).expect("the raw disk"), &before);
}

const WRITES: [&str; 5] = [
    "write -q -P 0x11 0 4k",
    "write -q -P 0x22 4194000 200k",
    "write -q -z 8388608 1M",
    "write -q -P 0x33 20000k 513",
    "discard -q 12M 64k",
];

#[test]
fn reads_a_child_as_qemu_does() {
    check("compat=1.1", "", &[]);
    check("compat=1.1", "", &WRITES);
    check("cluster_size=512", "", &WRITES);
    check("cluster_size=2M", "", &WRITES);
    check("compat=1.1,lazy_refcounts=on", "", &WRITES);
    check("compat=0.10", "", &WRITES[..2]);
    check("compat=1.1", "32M", &WRITES);
}

#[test]
fn a_child_without_a_name_for_its_backing_reads_through_to_it() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let child = bench.path("child");
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&child), "24M"]);
    let backing = opened(&raw).disk;
    let disk = open_child(&child, backing.clone()).unwrap_or_else(|e| panic!("{e}"));
    same(&content(&*disk), &content(&*backing));
    assert_eq!(disk.geometry().len.get(), 24 * MIB);
}

#[test]
fn refuses_what_it_would_read_wrongly() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    let image = |name: &str| text(&bench.path(name)).to_owned();
    let base = text(&raw);
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, &image("backed")]);
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "extended_l2=on", &image("extended"), "8M"]);
    let data = format!("data_file={}", image("elsewhere"));
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", &data, &image("external"), "8M"]);
    run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", "-c", base, &image("compressed")]);
    // Bytes 32..36 of the header are the encryption method, 2 is LUKS. `qemu-img` can make a real one, but gives up on a busy
    // host ("Unable to get accurate CPU usage").
    run("qemu-img", ["create", "-q", "-f", "qcow2", &image("encrypted"), "8M"]);
    patch(&bench.path("encrypted"), 32, &2u32.to_be_bytes());
    let cases = [
        ("backed", "backing file"),
        ("extended", "extended L2"),
        ("external", "data in another file"),
        ("compressed", "compressed"),
        ("encrypted", "encryption"),
    ];
    for (name, why) in cases {
        let error =
            open(&bench.path(name), None).err().unwrap_or_else(|| panic!("{name} was read")).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn memory_for_a_file_of_many_clusters_has_a_bound() {
    let bench = Bench::new();
    let path = bench.path("wide.qcow2");
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", text(&path), "64k"]);
    // Where files may be that long: all of it a hole.
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of ours");
    for (len, expect) in [(1u64 << 39, None), ((1 << 39) + 1, Some("more than 1073741824 clusters"))] {
        file.set_len(len).expect("room");
        let found = open(&path, None).err().map(|e| e.to_string());
        assert_eq!(found.is_some(), expect.is_some(), "{len:#x}: {found:?}");
        assert!(found.unwrap_or_default().contains(expect.unwrap_or_default()));
    }
}
