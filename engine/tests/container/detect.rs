//! Which format a file is: by its content, and by nothing a guest could have written.

use crate::bench::{Bench, patch, run, text};
use engine::container::{Format, detect, open};
use engine::disk::SourceFile;
use engine::units::MIB;
use std::path::Path;

/// The format that is found, or the refusal with the file's name taken out.
fn found(path: &Path) -> Result<Format, String> {
    let source = SourceFile::open(path).expect("a file");
    detect(&source).map_err(|e| format!("{e} | {}", e.next()).replace(text(path), "FILE"))
}

#[test]
fn a_name_means_nothing_and_the_content_all() {
    let bench = Bench::new();
    let raw = bench.raw("disk.raw", 24);
    for (format, options, expect) in [
        ("raw", "", Format::Raw),
        ("vhdx", "", Format::Vhdx),
        ("vpc", "subformat=fixed,force_size=on", Format::Vhd),
        ("vpc", "subformat=dynamic,force_size=on", Format::Vhd),
        ("qcow2", "", Format::Qcow2),
        ("vmdk", "", Format::Vmdk),
        ("vmdk", "subformat=monolithicFlat", Format::Vmdk),
    ] {
        for name in ["image", "image.img", "image.bin"] {
            let image = bench.convert(&raw, name, format, options);
            assert_eq!(found(&image), Ok(expect), "{format} {options} as {name}");
        }
    }
}

#[test]
fn what_a_guest_wrote_onto_a_raw_disk_makes_it_no_container() {
    let guest_can = "a guest can write anything onto a raw disk";
    let table = "it also has the mark of a partition table, which no such container has there";
    for (magic, name, option) in [
        (&b"QFI\xfb"[..], "qcow2", "qcow2"),
        (b"vhdxfile", "VHDX", "vhdx"),
        (b"KDMV", "VMDK", "vmdk"),
        (b"# Disk DescriptorFile", "VMDK", "vmdk"),
        (b"conectix", "VHD", "vhd"),
    ] {
        let bench = Bench::new();
        let raw = bench.raw("disk.img", 24);
        patch(&raw, 0, magic);
        let expect = format!(
            "FILE: looks like a {name}, yet {table}; {guest_can} | say which it is: --format raw or --format {option}"
        );
        assert_eq!(found(&raw), Err(expect));
        assert_eq!(open(&raw, Some(Format::Raw)).expect("told so").info.format, Format::Raw);
    }
}

#[test]
fn a_whole_container_within_a_raw_disk_is_not_opened_either() {
    // A guest wrote a complete, sound qcow2 onto its raw disk, over its partition table, and the disk is named as one.
    let bench = Bench::new();
    let image = bench.path("web01.raw");
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&image), "1G"]);
    let expect = "FILE: looks like a qcow2, yet its name says that it is a raw disk; a guest can write anything onto a raw disk | say which it is: --format raw or --format qcow2";
    assert_eq!(found(&image), Err(expect.into()));
    assert_eq!(open(&image, Some(Format::Qcow2)).expect("told so").info.format, Format::Qcow2);
}

#[test]
fn a_footer_in_the_last_sector_of_a_raw_disk_makes_it_no_vhd() {
    let bench = Bench::new();
    let raw = bench.raw("disk.img", 24);
    let footer = engine::container::vhd::fixed_footer(
        24 * MIB - 512,
        engine::table::guid::Guid::from_disk([7; 16]),
        1_800_000_000,
    );
    patch(&raw, 24 * MIB - 512, &footer);
    let expect = "FILE: looks like a VHD, yet it is a whole number of MiB long, as raw disks are and fixed VHDs are not; a guest can write anything onto a raw disk | say which it is: --format raw or --format vhd";
    assert_eq!(found(&raw), Err(expect.into()));
    // The same behind the disk is a VHD's only mark.
    let raw = bench.raw("disk2.img", 24);
    let footer = engine::container::vhd::fixed_footer(
        24 * MIB,
        engine::table::guid::Guid::from_disk([7; 16]),
        1_800_000_000,
    );
    patch(&raw, 24 * MIB, &footer);
    assert_eq!(found(&raw), Ok(Format::Vhd));
}
