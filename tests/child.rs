//! A conversion as a child: a small file on top of the image it was made from, for drill and for everybody else.

mod common;

use common::{expect, outside, text, tiny};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a child may cost, whatever the disk's length.
const MOST: u64 = 2 << 20;

fn image(dir: &Path, name: &str, args: &[&str]) {
    let to = text(&dir.join(name));
    outside("qemu-img", &[&["convert"], args, &[&text(tiny()), &to]].concat());
}

#[test]
fn a_child_shows_what_a_whole_copy_shows_and_goes_home_as_a_child() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name));
    for (base, args) in [
        ("base.vhdx", &["-O", "vhdx"][..]),
        ("base.raw", &["-O", "raw"]),
        ("base.vhd", &["-O", "vpc", "-o", "force_size=on"]),
        ("base.qcow2", &["-O", "qcow2"]),
    ] {
        image(dir.path(), base, args);
        let (there, home, whole) = (format!("{base}.1.qcow2"), format!("{base}.2.qcow2"), "whole.raw");
        expect(dir.path(), &["convert", base, &there, "--to", "gen1", "--child"], 0);
        expect(dir.path(), &["convert", base, whole, "--to", "gen1"], 0);
        outside("qemu-img", &["check", "-q", &at(&there)]);
        outside("qemu-img", &["compare", &at(&there), &at(whole)]);
        let (out, _) = expect(dir.path(), &["diff", &there, whole], 0);
        assert!(out.contains("The disks are the same"), "{base}: {out}");
        // Over the gap that the first child filled, the second one's zeros must count.
        expect(dir.path(), &["convert", &there, &home, "--to", "gen2", "--child"], 0);
        outside("qemu-img", &["check", "-q", &at(&home)]);
        outside("qemu-img", &["compare", &at(&home), &at(base)]);
        for child in [&there, &home] {
            let len = std::fs::metadata(at(child)).unwrap().len();
            assert!(len < MOST, "{child}: {len} bytes");
        }
        for made in [whole, "whole.raw.drill-capsule"] {
            std::fs::remove_file(at(made)).unwrap();
        }
    }
}

#[test]
fn a_child_costs_the_same_on_a_terabyte() {
    let dir = tempfile::tempdir().unwrap();
    image(dir.path(), "base.raw", &["-O", "raw"]);
    std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("base.raw"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    outside("sgdisk", &["-e", &text(&dir.path().join("base.raw"))]);
    expect(dir.path(), &["convert", "base.raw", "child.qcow2", "--to", "gen1", "--child"], 0);
    let len = std::fs::metadata(dir.path().join("child.qcow2")).unwrap().len();
    assert!(len < MOST, "{len} bytes");
    outside("qemu-img", &["check", "-q", &text(&dir.path().join("child.qcow2"))]);
}

#[test]
fn an_image_that_qemu_would_read_otherwise_gets_no_child() {
    let dir = tempfile::tempdir().unwrap();
    // A creator that QEMU judges by the geometry, and a geometry of 100 × 16 × 63 sectors.
    image(dir.path(), "odd.vhd", &["-O", "vpc", "-o", "subformat=fixed,force_size=on"]);
    let path = dir.path().join("odd.vhd");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let at = file.metadata().unwrap().len() - 512;
    let mut footer = [0; 512];
    file.read_exact_at(&mut footer, at).unwrap();
    footer[28..32].copy_from_slice(b"vpc ");
    footer[56..60].copy_from_slice(&[0, 100, 16, 63]);
    footer[64..68].fill(0);
    let sum = !footer.iter().fold(0u32, |sum, byte| sum + u32::from(*byte));
    footer[64..68].copy_from_slice(&sum.to_be_bytes());
    file.write_all_at(&footer, at).unwrap();
    let convert = |image: &str, out: &str, exit| {
        expect(dir.path(), &["convert", image, out, "--to", "gen1", "--child"], exit).1
    };
    let said = convert("odd.vhd", "child.qcow2", 1);
    assert!(said.contains("QEMU goes by the geometry in this VHD's footer"), "{said}");
    assert!(said.contains("the same command without --child"), "{said}");
    let said = convert(&text(tiny()), "child.vhd", 2);
    assert!(said.contains("a child is a qcow2"), "{said}");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["odd.vhd"], "nothing is left behind");
}
