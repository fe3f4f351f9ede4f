//! Every format, subformat, cluster and block size that `qemu-img` makes: inspected, converted, and (in the full tier, for each of them) booted.

mod common;

use common::{expect, outside, text, tiny};
use std::path::Path;

/// What `qemu-img convert` is told: format, options, and `-c` for compressed clusters.
type Variant = (&'static str, &'static str, bool);

/// One of each kind: what the short tier has time for.
const KINDS: [Variant; 13] = [
    ("raw", "", false),
    ("vpc", "subformat=fixed,force_size=on", false),
    ("vpc", "subformat=dynamic,force_size=on", false),
    ("vhdx", "subformat=fixed", false),
    ("vhdx", "subformat=dynamic", false),
    ("qcow2", "", false),
    ("qcow2", "compat=0.10", false),
    ("qcow2", "compression_type=zstd", true),
    ("vmdk", "subformat=monolithicSparse", false),
    ("vmdk", "subformat=monolithicFlat", false),
    ("vmdk", "subformat=twoGbMaxExtentSparse", false),
    ("vmdk", "subformat=twoGbMaxExtentFlat", false),
    ("vmdk", "subformat=streamOptimized", false),
];

/// The others, for the full tier.
const OTHERS: [(&str, &[&str], bool); 4] = [
    (
        "vhdx",
        &[
            "subformat=fixed,block_size=1M",
            "subformat=fixed,block_size=256M",
            "block_size=1M",
            "block_size=2M",
            "block_size=4M",
            "block_size=8M",
            "block_size=16M",
            "block_size=32M",
            "block_size=64M",
            "block_size=128M",
            "block_size=256M",
            "block_state_zero=off",
            "log_size=8M",
        ],
        false,
    ),
    (
        "qcow2",
        &[
            "cluster_size=512",
            "cluster_size=1k",
            "cluster_size=2k",
            "cluster_size=4k",
            "cluster_size=8k",
            "cluster_size=16k",
            "cluster_size=32k",
            "cluster_size=128k",
            "cluster_size=256k",
            "cluster_size=512k",
            "cluster_size=1M",
            "cluster_size=2M",
            "compat=0.10,cluster_size=512",
            "lazy_refcounts=on",
            "extended_l2=on",
            "preallocation=metadata",
            "refcount_bits=1",
            "refcount_bits=64",
        ],
        false,
    ),
    ("qcow2", &["cluster_size=512", "cluster_size=64k", "cluster_size=2M"], true),
    ("vmdk", &["subformat=monolithicSparse,zeroed_grain=on", "compat6=on"], false),
];

/// Make the variant of a disk, and check that drill inspects it and converts it to the very same disk. Returns its path.
#[track_caller]
fn check(dir: &Path, source: &Path, (format, options, compressed): Variant, hash: &str) -> String {
    for left in std::fs::read_dir(dir).expect("the folder").flatten() {
        if left.file_name().to_string_lossy().starts_with("image") {
            std::fs::remove_file(left.path()).expect("removed");
        }
    }
    let image = text(&dir.join("image.disk"));
    let source = text(source);
    let mut args = vec!["convert", "-f", "vpc", "-O", format];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    if compressed {
        args.push("-c");
    }
    args.extend([source.as_str(), image.as_str()]);
    outside("qemu-img", &args);
    let (out, _) = expect(dir, &["inspect", &image], 0);
    assert!(out.contains("Drill Tiny Linux 1"), "{format} {options}: {out}");
    assert_eq!(converted(dir, &image), hash, "{format} {options}: another disk than the source's");
    image
}

/// The hash of the disk, after a conversion to a raw file that is thrown away.
#[track_caller]
fn converted(dir: &Path, image: &str) -> String {
    let (out, _) = expect(dir, &["convert", image, "copy.raw", "--hash", "--no-flush", "--json"], 0);
    std::fs::remove_file(dir.join("copy.raw")).expect("removed");
    let out: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    out["result"]["hash"].as_str().expect("a hash").to_owned()
}

#[test]
fn every_kind_of_image_that_qemu_img_makes_is_inspected_and_converted() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("gen1.vhd");
    expect(dir.path(), &["convert", &text(tiny()), &text(&source), "--to", "gen1"], 0);
    let hash = converted(dir.path(), &text(&source));
    for variant in KINDS {
        check(dir.path(), &source, variant, &hash);
    }
}

#[test]
fn every_image_that_qemu_img_makes_boots() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: a boot of each format, subformat, cluster and block size");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("gen1.vhd");
    expect(dir.path(), &["convert", &text(tiny()), &text(&source), "--to", "gen1"], 0);
    let hash = converted(dir.path(), &text(&source));
    let others = OTHERS.iter().flat_map(|(f, options, c)| options.iter().map(|o| (*f, *o, *c)));
    for variant in KINDS.into_iter().chain(others) {
        let image = check(dir.path(), &source, variant, &hash);
        let (out, _) = expect(dir.path(), &["boot", &image, "--as", "gen1"], 0);
        assert!(out.contains("DRILL-READY firmware=bios"), "{variant:?}: {out}");
        println!("boots: {variant:?}");
    }
}
