//! What lvm2 made we read, as `lvs` and GRUB do; what we make here pvck and GRUB read too.

use crate::builder::{AREA_LEN, Physical, disk, group, noise, striped, volume};
use engine::disk::{DiskRef, read_vec};
use engine::units::ByteOffset;
use engine::volume::lvm::{Hidden, Lv, LvKind, Lvm, Member, look};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Run a tool and return what it wrote; a failing one ends the test with all it said.
#[track_caller]
fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {}\n{said}", out.status);
    out.stdout
}

/// A physical volume that lvm2 made, its extents filled: they begin at `extents_at`, and a second metadata area may take the last MiB.
pub fn packed(number: u8, name: &str, extents_at: usize) -> Vec<u8> {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/lvm/data/{name}.img.gz"));
    let mut bytes = run("gzip", &["-dc", packed.to_str().expect("utf-8")]);
    let fill = noise(number, bytes.len());
    let end = bytes.len() - extents_at;
    bytes[extents_at..end].copy_from_slice(&fill[extents_at..end]);
    bytes
}

/// What GRUB reads of a logical volume; `name` as device-mapper has it.
fn by_grub(images: &[PathBuf], name: &str, len: u64) -> Vec<u8> {
    let count = images.len().to_string();
    let sectors = format!("(lvm/{name})0+{}", len / 512);
    let mut args = vec!["-c", count.as_str()];
    args.extend(images.iter().map(|i| i.to_str().expect("utf-8")));
    args.extend(["cat", sectors.as_str()]);
    run("grub-fstest", &args)
}

fn save(dir: &TempDir, images: &[Vec<u8>]) -> Vec<PathBuf> {
    let one = |(n, bytes): (usize, &Vec<u8>)| {
        let path = dir.path().join(format!("{n}.img"));
        std::fs::write(&path, bytes).expect("image");
        path
    };
    images.iter().enumerate().map(one).collect()
}

/// Each readable volume of the only group is what GRUB reads. How many they are.
#[track_caller]
fn check_by_grub(images: &[Vec<u8>]) -> usize {
    let dir = tempfile::tempdir().expect("temp dir");
    let files = save(&dir, images);
    let lvm = look(&disks(images));
    let [group] = &lvm.groups[..] else { panic!("{lvm:#?}") };
    let mut checked = 0;
    for lv in &group.logical {
        let Ok(content) = &lv.content else { continue };
        let escaped = |name: &str| name.replace('-', "--");
        let name = format!("{}-{}", escaped(&group.name), escaped(&lv.name));
        let ours = read_vec(content.as_ref(), ByteOffset(0), lv.len.get() as usize).expect("readable");
        let theirs = by_grub(&files, &name, lv.len.get());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs from what GRUB reads");
        checked += 1;
    }
    checked
}

fn disks(images: &[Vec<u8>]) -> Vec<DiskRef> {
    images.iter().cloned().map(disk).collect()
}

fn lv<'a>(lvm: &'a Lvm, name: &str) -> &'a Lv {
    let mut all = lvm.groups.iter().flat_map(|g| &g.logical);
    all.find(|lv| lv.name == name).unwrap_or_else(|| panic!("no {name} in {lvm:#?}"))
}

#[test]
fn a_group_on_two_disks_is_read_as_lvs_and_grub_do() {
    let images = [packed(1, "first", 1 << 20), packed(2, "second", 1 << 20)];
    let lvm = look(&disks(&images));
    assert!(lvm.physical.iter().all(|p| matches!(p.member, Member::Of(0)) && p.damaged.is_empty()));
    let group = &lvm.groups[0];
    assert_eq!((group.name.as_str(), group.seqno, &group.missing[..]), ("vg0", 4, &[][..]));
    let shown: Vec<_> = group.logical.iter().map(|lv| (lv.name.as_str(), lv.kind, lv.len.get())).collect();
    // two.lvs
    assert_eq!(shown, [("root", LvKind::Linear, 7_340_032), ("str-iped", LvKind::Striped, 4_194_304)]);
    assert_eq!((&lv(&lvm, "root").on[..], &lv(&lvm, "str-iped").on[..]), (&[0, 1][..], &[0, 1][..]));
    let root = lv(&lvm, "root").content.as_ref().expect("linear");
    // Extent 0 of the first disk, and 8 extents later extent 4 of the second; extents begin at 1 MiB.
    let extent = 512 << 10;
    assert!(read_vec(root.as_ref(), ByteOffset(0), extent).expect("read") == images[0][1 << 20..][..extent]);
    let later = read_vec(root.as_ref(), ByteOffset(8 * extent as u64), extent).expect("read");
    assert!(later == images[1][(1 << 20) + 4 * extent..][..extent]);
    assert_eq!(check_by_grub(&images), 2);
}

#[test]
fn one_sound_copy_of_the_metadata_is_enough() {
    let images = [packed(1, "first", 1 << 20), packed(2, "second", 1 << 20)];
    // The first text of each disk: only the copy at the end of the second is left.
    let broken = images.clone().map(|mut image| {
        image[4096 + 512..1 << 20].iter_mut().for_each(|b| *b ^= 0x20);
        image
    });
    let lvm = look(&disks(&broken));
    assert!(
        lvm.physical.iter().all(|p| matches!(p.member, Member::Of(0)) && p.damaged.len() == 1),
        "{lvm:#?}"
    );
    let said = lvm.physical[0].damaged[0].to_string();
    assert!(said.starts_with("the CRC of the metadata text at 0x"), "{said}");
    assert!(lvm.groups[0].logical.iter().all(|lv| lv.content.is_ok()));
    let alone = look(&disks(&broken[..1]));
    assert!(alone.groups.is_empty() && matches!(alone.physical[0].member, Member::Unreadable));
}

#[test]
fn a_group_of_which_a_disk_is_missing_says_which() {
    let images = [packed(1, "first", 1 << 20)];
    let lvm = look(&disks(&images));
    assert_eq!(lvm.groups[0].missing.len(), 1);
    for name in ["root", "str-iped"] {
        let hidden = lv(&lvm, name).content.as_ref().expect_err("a part is missing");
        assert_eq!(*hidden, Hidden::Missing { id: lvm.groups[0].missing[0] });
        assert!(hidden.to_string().ends_with("which is not on this disk"), "{hidden}");
    }
    let twice = [packed(1, "first", 1 << 20), packed(2, "second", 1 << 20), packed(2, "second", 1 << 20)];
    let lvm = look(&disks(&twice));
    assert!(matches!(lv(&lvm, "root").content, Err(Hidden::Twice { .. })));
}

#[test]
fn a_text_that_goes_on_at_the_beginning_of_the_ring_is_read() {
    let images = [packed(3, "ring", 64 << 10)];
    let number = |at: usize| u64::from_le_bytes(images[0][at..at + 8].try_into().expect("8 bytes"));
    let (area_len, offset, len) = (number(4096 + 32), number(4096 + 40), number(4096 + 48));
    assert!(offset + len > area_len, "the image is meant to have its text around the end of the ring");
    let lvm = look(&disks(&images));
    assert!(lvm.groups[0].seqno > 50, "{lvm:#?}");
    assert_eq!(lv(&lvm, "root").len.get(), 192 << 10);
    assert_eq!(check_by_grub(&images), 1);
}

#[test]
fn every_kind_is_known_and_what_is_not_read_says_why() {
    let images = [packed(4, "kinds", 1 << 20)];
    let lvm = look(&disks(&images));
    let group = &lvm.groups[0];
    assert_eq!(group.name, "many-kinds");
    let mut shown: Vec<(String, String, u64, String)> = Vec::new();
    for lv in &group.logical {
        let why = lv.content.as_ref().err().map(ToString::to_string).unwrap_or_default();
        shown.push((lv.name.clone(), lv.kind.to_string(), lv.len.get(), why));
    }
    shown.sort();
    let wanted = [
        (
            "away",
            "linear",
            1_048_576,
            "part of it lies on the physical volume azlQQH-stRW-p4Bw-4Eoh-Cud2-pi3q-EWaVBW, which is not on this disk",
        ),
        ("mir", "RAID", 524_288, "RAID LVM (raid1) is not looked into"),
        ("origin", "linear", 524_288, ""),
        ("pool", "thin pool", 2_097_152, "thin pool LVM (thin-pool) is not looked into"),
        ("root", "linear", 5_242_880, ""),
        ("snap", "snapshot", 524_288, "snapshot LVM (snapshot) is not looked into"),
        ("split-er", "striped", 1_572_864, ""),
        ("thin", "thin", 104_857_600, "thin LVM (thin) is not looked into"),
    ];
    let wanted = wanted.map(|(name, kind, len, why)| (name.into(), kind.into(), len, why.into()));
    assert_eq!(shown, wanted);
    // The same names and lengths as lvs has.
    let lvs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lvm/data/kinds.lvs"));
    let mut lines: Vec<(String, u64)> = Vec::new();
    for line in lvs.expect("kinds.lvs").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        lines.push((words[0].into(), words[1].trim_end_matches('B').parse().expect("bytes")));
    }
    lines.dedup();
    assert_eq!(lines, shown.into_iter().map(|(name, _, len, _)| (name, len)).collect::<Vec<_>>());
    assert_eq!(check_by_grub(&images), 3);
}

#[test]
fn what_the_builder_makes_pvck_and_grub_read_too() {
    let volumes = volume("lin", &[striped(0, 3, 0, &[(1, 2)]), striped(3, 2, 0, &[(0, 7)])])
        + &volume("three", &[striped(0, 6, 8, &[(0, 0), (1, 6), (0, 4)])]);
    let text = group(3, 16, &[20, 20], &volumes);
    let mut first = Physical::new(0, 256 << 10, &text);
    first.area(4096, AREA_LEN, AREA_LEN - 700, text.as_bytes());
    let second = Physical::new(1, 256 << 10, &text);
    let images = [first.bytes, second.bytes];
    assert_eq!(check_by_grub(&images), 2);
    let dir = tempfile::tempdir().expect("temp dir");
    for path in save(&dir, &images) {
        let said = run("pvck", &["--dump", "metadata", path.to_str().expect("utf-8")]);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("vgname vg0 seqno 3") && said.contains("stripe_count = 3"), "{said}");
    }
}
