//! Guests whose volumes only a kernel can make: roots on LVM and in subvolumes of btrfs. Each boots as Generation 2; each has a twin in which just what makes it special is
//! broken, and which must not come up.

mod common;

use common::{consoles, expect, last_run, outside, raw_copy, sample, text};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How long a boot may take here, under TCG on a busy machine.
const WITHIN: &str = "5m";

/// One sample, what it says when it is up, and its twin.
struct Guest {
    name: &'static str,
    /// The ready line behind the firmware.
    ready: &'static str,
    /// Breaks a raw copy.
    spoil: fn(&Path),
    /// What the twin says instead, on its console or in drill's words.
    caught: &'static str,
}

const LVM: Guest = Guest {
    name: "tiny-gen2-lvm",
    ready: "root=/dev/mapper/vg0-root--a marker=tiny-7f3a entry=partition",
    spoil: without_its_lvm_label,
    caught: "DRILL-NOROOT cannot find root /dev/mapper/vg0-root--a",
};

/// The others, for the full tier.
const OTHERS: [Guest; 4] = [
    Guest {
        name: "tiny-gen2-lvmboot",
        ready: "root=/dev/mapper/vg0-root--a marker=tiny-7f3a entry=inside",
        spoil: without_its_lvm_label,
        caught: "grub>",
    },
    Guest {
        name: "tiny-gen2-btrfs",
        ready: "root=/dev/sda2 marker=tiny-7f3a entry=btrfs",
        spoil: |raw| stub(raw, "::/EFI/debian/grub.cfg", "'/@/boot/grub'", "'/boot/grub'"),
        caught: "grub>",
    },
    Guest {
        name: "tiny-gen2-thin",
        ready: "root=/dev/mapper/vg0-root--a marker=tiny-7f3a entry=thin",
        spoil: without_its_lvm_label,
        caught: "DRILL-NOROOT cannot find root /dev/mapper/vg0-root--a",
    },
    // Snapshot 2 and the top level hold other markers, or none.
    Guest {
        name: "tiny-gen2-suse",
        ready: "root=/dev/sda2 marker=tiny-7f3a entry=suse",
        spoil: |raw| stub(raw, "::/EFI/opensuse/grub.cfg", "btrfs_relative_path=\"yes\"", ""),
        caught: "grub>",
    },
];

/// Samples that are there to be refused, and how they end when they are booted all the same.
const REFUSED: [(&str, &str); 2] = [
    ("tiny-gen2-luks", "DRILL-NOROOT cannot find root /dev/mapper/luks-21111111-2222-4333-8444-0000000000c5"),
    ("tiny-gen2-thinboot", "error: no such device: 21111111-2222-4333-8444-555555555555"),
];

/// The label that makes a partition a physical volume (LVM2: `LABELONE` in one of its first four sectors) is gone.
fn without_its_lvm_label(raw: &Path) {
    let bytes = std::fs::read(raw).expect("the raw copy");
    let sectors = bytes.chunks(512).enumerate();
    let labels: Vec<u64> =
        sectors.filter(|(_, s)| s.starts_with(b"LABELONE")).map(|(n, _)| n as u64 * 512).collect();
    let [label] = labels.as_slice() else { panic!("labels of physical volumes at {labels:?}") };
    let file = OpenOptions::new().write(true).open(raw).expect("the raw copy");
    // The whole sector: lvm 2.03.16 takes a label with another first word, as long as `LVM2 001` stands at 24.
    file.write_all_at(&[0; 512], *label).expect("written");
}

/// Puts `new` for `old` into GRUB's first file on the ESP, which begins at 1 MiB.
#[track_caller]
fn stub(raw: &Path, file: &str, old: &str, new: &str) {
    let esp = format!("{}@@1M", text(raw));
    let words = outside("mtype", &["-i", &esp, file]);
    assert!(words.contains(old), "{file} has no {old}:\n{words}");
    let edited = raw.with_extension("cfg");
    std::fs::write(&edited, words.replace(old, new)).expect("written");
    outside("mcopy", &["-o", "-i", &esp, &text(&edited), file]);
}

#[track_caller]
fn check(guest: &Guest) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let image = sample(guest.name);
    boots(dir.path(), guest, &image);
    let twin = raw_copy(&image, dir.path(), "twin.raw");
    (guest.spoil)(&twin);
    let said = fails(dir.path(), &twin);
    assert!(said.contains(guest.caught), "{}: wanted {:?} in:\n{said}", guest.name, guest.caught);
}

#[track_caller]
fn boots(dir: &Path, guest: &Guest, image: &Path) {
    let (out, err) = expect(
        dir,
        &["boot", &text(image), "--as", "gen2", "--expect", "DRILL-READY", "--within", WITHIN],
        0,
    );
    let said = consoles(&last_run(dir));
    let ready: Vec<&str> = said.lines().map(str::trim).filter(|l| l.starts_with("DRILL-READY ")).collect();
    let wanted = format!("DRILL-READY firmware=uefi {}", guest.ready);
    assert_eq!(ready, [wanted], "{}\n{out}\n{err}\n--- console\n{said}", guest.name);
}

/// Everything that was seen of a boot that must fail.
#[track_caller]
fn fails(dir: &Path, image: &Path) -> String {
    let (out, err) = expect(
        dir,
        &["boot", &text(image), "--as", "gen2", "--expect", "DRILL-READY", "--within", WITHIN],
        1,
    );
    let said = consoles(&last_run(dir));
    assert!(!said.contains("DRILL-READY"), "the twin came up:\n{said}");
    format!("{out}{err}\n--- console\n{said}")
}

#[test]
fn a_root_on_lvm_boots_and_its_twin_without_a_physical_volume_does_not() {
    check(&LVM);
}

#[test]
fn the_encrypted_root_is_luks2_with_a_token_for_a_tpm() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: what cryptsetup says about tiny-gen2-luks");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let raw = raw_copy(&sample("tiny-gen2-luks"), dir.path(), "disk.raw");
    let part = dir.path().join("luks.img");
    // Behind 1 MiB, the ESP and /boot of 64 MiB each.
    outside("dd", &[&format!("if={}", text(&raw)), &format!("of={}", text(&part)), "bs=1M", "skip=129"]);
    let said = outside("cryptsetup", &["luksDump", &text(&part)]);
    for wanted in
        ["Version:       \t2", "21111111-2222-4333-8444-0000000000c5", "0: systemd-tpm2", "Keyslot:    1"]
    {
        assert!(said.contains(wanted), "wanted {wanted:?} in:\n{said}");
    }
}

#[test]
fn what_is_to_be_refused_does_not_boot_as_it_is() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: a boot of each sample that is to be refused");
        return;
    }
    for (name, caught) in REFUSED {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let said = fails(dir.path(), &sample(name));
        assert!(said.contains(caught), "{name}: wanted {caught:?} in:\n{said}");
    }
}

#[test]
fn every_guest_of_the_build_vm_boots_and_no_twin_does() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: a boot of each guest of the build VM, and of its twin");
        return;
    }
    for guest in &OTHERS {
        check(guest);
        println!("boots: {}", guest.name);
    }
}
