//! The child of a drill: what QEMU wrote on top of a disk.

use crate::bench::{Bench, check_extents, content, opened, patch, run, same, text};
use engine::container::open;
use engine::container::qcow2::open_child;
use engine::disk::{Disk, Extent, ExtentKind};
use engine::units::{ByteOffset, MIB};

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

/// The extents of a whole disk.
fn extents(disk: &dyn Disk) -> Vec<Extent> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(extent) = disk.next_extent(ByteOffset(at)).expect("an extent") {
        at += extent.len.get();
        all.push(extent);
    }
    assert_eq!(at, disk.geometry().len.get());
    all
}

#[test]
fn clusters_in_one_piece_are_one_answer() {
    let bench = Bench::new();
    let path = bench.path("room.qcow2");
    // 65,536 clusters in 8 tables; each table takes a cluster between them.
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", text(&path), "4G"]);
    let found = extents(&*opened(&path).disk);
    assert!(found.len() <= 8 * 8 + 8 && found.iter().all(|e| e.kind != ExtentKind::Data), "{}", found.len());
    // Stored, zeros that were written, stored elsewhere, absent.
    let path = bench.path("runs.qcow2");
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&path), "8M"]);
    for write in ["write -P 1 0 1M", "write -P 3 3M 64k", "write -z 1M 1M", "write -P 2 2M 1M"] {
        run("qemu-io", ["-f", "qcow2", "-c", write, text(&path)]);
    }
    let found = opened(&path).disk;
    let spans: Vec<Option<u64>> = [0, MIB, 2 * MIB, 3 * MIB, 4 * MIB]
        .map(|at| found.span_at(ByteOffset(at), 4 * MIB).expect("a span").map(|s| s.len))
        .into();
    assert_eq!(spans, [Some(MIB), None, Some(MIB), Some(65536), None]);
}

#[test]
fn tables_that_are_holes_of_the_file_are_not_read() {
    const TABLES: u64 = 131_072;
    const CLUSTER: u64 = 65536;
    let bench = Bench::new();
    let path = bench.path("holes.qcow2");
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&path), "1M"]);
    let l1_at = 0x10_0000u64;
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of ours");
    file.set_len(l1_at + MIB + TABLES * CLUSTER).expect("room");
    patch(&path, 24, &(64u64 << 40).to_be_bytes());
    patch(&path, 36, &(TABLES as u32).to_be_bytes());
    patch(&path, 40, &l1_at.to_be_bytes());
    let l1: Vec<u8> = (0..TABLES).flat_map(|i| (l1_at + MIB + i * CLUSTER).to_be_bytes()).collect();
    patch(&path, l1_at, &l1);
    let found = opened(&path);
    let all = extents(&*found.disk);
    assert_eq!((all.len(), all[0].kind), (1, ExtentKind::Hole));
    assert_eq!(found.info.allocated.get(), 0);
}

#[test]
fn a_cut_file_is_refused_wherever_the_disk_needs_it() {
    let bench = Bench::new();
    let path = bench.path("cut.qcow2");
    // The last cluster of the disk has 512 bytes of it.
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&path), "66048"]);
    run("qemu-io", ["-f", "qcow2", "-c", "write -P 1 0 66048", text(&path)]);
    let len = std::fs::metadata(&path).expect("a file").len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of ours");
    // The cluster as far as the disk goes, then a byte less.
    file.set_len(len - 65536 + 512).expect("a cut");
    same(&content(&*opened(&path).disk), &[1; 66048]);
    file.set_len(len - 65536 + 511).expect("a cut");
    let error = open(&path, None).expect_err("a byte is missing").to_string();
    let expect = format!(
        "qcow2: L2 entry at 0x40008: wanted a cluster within the file's {:#x} bytes, found {:#x}",
        len - 65536 + 511,
        len - 65536
    );
    assert!(error.ends_with(&expect), "{error}");
}
