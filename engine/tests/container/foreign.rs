//! What images that QEMU's block layer must read say about themselves.

use crate::bench::{Bench, patch, run, text};
use engine::container::qcow2::{self, Backing};
use engine::container::vmdk::{self, ExtentKind, VmdkFacts};
use engine::container::{Format, OpenError, detect, open};
use engine::disk::SourceFile;
use engine::units::MIB;
use std::path::Path;

fn source(path: &Path) -> SourceFile {
    SourceFile::open(path).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn is_foreign(path: &Path, expect: Format, why: &str) {
    match open(path, None) {
        Err(OpenError::Foreign { format, what, .. }) => {
            assert_eq!(format, expect, "{what}");
            assert!(what.contains(why), "{what}");
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn every_vmdk_is_foreign_and_is_known_by_its_content() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 20);
    for kind in [
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized",
    ] {
        let image = bench.convert(&raw, &format!("{kind}.vhdx"), "vmdk", &format!("subformat={kind}"));
        is_foreign(&image, Format::Vmdk, "a VMDK");
        let facts = vmdk::facts(&source(&image)).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let descriptor = facts.descriptor();
        assert_eq!((descriptor.create_type.as_str(), descriptor.sectors), (kind, 20 * MIB / 512));
        assert_eq!(descriptor.parent_cid, None);
        let flat = matches!(descriptor.extents[0].kind, ExtentKind::Flat { offset: 0 });
        assert_eq!(flat, kind.ends_with("Flat"));
        let name = descriptor.extents[0].name.clone().expect("an extent has a name");
        match facts {
            VmdkFacts::Sparse(header, _) => {
                assert_eq!((header.grain, header.compressed), (65536, kind == "streamOptimized"));
            }
            VmdkFacts::Descriptor(_) if !flat => {
                let extent = source(&bench.path(&name));
                assert_eq!(vmdk::extent_facts(&extent).expect("an extent").sectors, 20 * MIB / 512);
                let error = vmdk::facts(&extent).expect_err("only a part").to_string();
                assert!(
                    error.ends_with("one extent of a split VMDK: it holds only a part of the disk"),
                    "{error}"
                );
            }
            VmdkFacts::Descriptor(_) => {}
        }
    }
}

#[test]
fn a_qcow2_beyond_the_plain_kind_is_foreign() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 20);
    for (name, options, why) in [
        ("zlib", vec!["-c"], "compressed clusters"),
        ("zstd", vec!["-c", "-o", "compression_type=zstd"], "another compression type"),
        ("extended", vec!["-o", "extended_l2=on"], "extended L2 entries"),
    ] {
        let image = bench.path(name);
        let args = ["convert", "-f", "raw", "-O", "qcow2"].into_iter().chain(options);
        run("qemu-img", args.chain([text(&raw), text(&image)]));
        is_foreign(&image, Format::Qcow2, why);
        let facts = qcow2::facts(&source(&image)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((facts.version, facts.len.get(), facts.cluster_size), (3, 20 * MIB, 65536));
        assert_eq!(facts.backing, None);
    }
}

#[test]
fn a_backing_file_is_named_with_and_without_its_format() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 20);
    for compat in ["0.10", "1.1"] {
        let image = bench.path(&format!("on-{compat}"));
        let options = format!("compat={compat}");
        let args =
            ["create", "-q", "-f", "qcow2", "-o", &options, "-F", "raw", "-b", text(&raw), text(&image)];
        run("qemu-img", args);
        is_foreign(&image, Format::Qcow2, "a qcow2 on top of a backing file");
        let named = |format: Option<&str>| {
            Some(Backing { name: text(&raw).to_owned(), format: format.map(str::to_owned) })
        };
        assert_eq!(qcow2::facts(&source(&image)).expect("facts").backing, named(Some("raw")));
        let other = ["rebase", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", text(&raw), text(&image)];
        run("qemu-img", other);
        assert_eq!(qcow2::facts(&source(&image)).expect("facts").backing, named(Some("qcow2")));
        // The first extension is the backing format; another type makes it one that nobody knows.
        patch(&image, if compat == "0.10" { 72 } else { 112 }, &[1, 2, 3, 4]);
        assert_eq!(qcow2::facts(&source(&image)).expect("facts").backing, named(None));
    }
}

#[test]
fn lies_in_the_first_cluster_are_found() {
    for (at, bytes, expect) in [
        (
            8,
            vec![0, 0, 0, 0, 0, 1, 0, 0],
            "qcow2 backing file name at 0x8: wanted a name within the first cluster",
        ),
        (
            16,
            vec![0, 0, 4, 0],
            "qcow2 header backing file name length at 0x10: wanted at most 1023 bytes, found 1024",
        ),
        (116, vec![0, 0xff, 0, 0], "qcow2 header extension at 0x70: wanted one that ends before"),
        (116, vec![0, 0, 0, 16], "qcow2 name at 0x78: wanted at most 15 bytes, found 16"),
        (112, vec![0x44, 0x41, 0x54, 0x41], "a qcow2 with its data in another file, which is not read"),
        (79, vec![4], "a qcow2 with its data in another file, which is not read"),
        (79, vec![2], "a qcow2 with the mark that it is corrupt"),
        (79, vec![64], "a qcow2 with unknown incompatible features 0x40"),
        (32, vec![0, 0, 0, 2], "a qcow2 with encryption, which is not read"),
    ] {
        let bench = Bench::new();
        let raw = bench.raw("disk.raw", 20);
        let image = bench.path("image");
        run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(&raw), text(&image)]);
        patch(&image, at, &bytes);
        let error = qcow2::facts(&source(&image)).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
    }
}

#[test]
fn lies_in_a_sparse_header_are_found() {
    for (at, bytes, expect) in [
        (4, vec![9], "VMDK sparse header version at 0x4: wanted 1 to 3, found 9"),
        (
            12,
            vec![0; 8],
            "VMDK sparse header capacity at 0xc: wanted at most 64 TiB and not 0, found 0 sectors",
        ),
        (20, vec![3], "VMDK sparse header grain at 0x14: wanted a power of two up to 1 GiB, found 3 sectors"),
        (28, vec![0xff; 8], "VMDK sparse header descriptor at 0x1c"),
        (
            44,
            vec![0, 0, 1, 0],
            "VMDK sparse header grain table entries at 0x2c: wanted 1 to 512, found 65536",
        ),
        (77, vec![2], "VMDK sparse header compression at 0x4d: wanted none or deflate, found 2"),
        (
            12,
            vec![1, 0, 0, 0],
            "VMDK descriptor's extents at 0x200: wanted the header's 1 sectors, found 40960",
        ),
    ] {
        let bench = Bench::new();
        let raw = bench.raw("disk.raw", 20);
        let image = bench.convert(&raw, "image", "vmdk", "subformat=monolithicSparse");
        patch(&image, at, &bytes);
        let error = vmdk::facts(&source(&image)).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(detect(&source(&image)).ok(), Some(Format::Vmdk));
    }
}
