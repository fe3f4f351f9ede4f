//! The lab hangs a guest's disk where the guest has a driver, says so, and starts nothing when there is none. The samples are changed by
//! debugfs and cpio only.

mod common;

use common::{consoles, expect, last_run, outside, raw_copy, sample, text, tiny};
use std::path::{Path, PathBuf};

/// Where the recipe of the small sample puts the root.
const ROOT_AT: u64 = 65 << 20;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A raw copy of a sample, changed by a script that has the functions `fs COMMAND` (debugfs on the root, writing) and the variable `ver`, the
/// kernel's version.
#[track_caller]
fn altered(image: &Path, dir: &Path, script: &str) -> PathBuf {
    let raw = raw_copy(image, dir, "altered.raw");
    let script = format!(
        "set -eu; cd '{}'; disk='altered.raw?offset={ROOT_AT}'\n\
         fs() {{ debugfs -w -R \"$1\" \"$disk\" 2>fs.err || {{ cat fs.err >&2; exit 1; }}; ! grep -v '^debugfs ' fs.err >&2; }}\n\
         ver=$(fs 'ls -p /lib/modules' | awk -F/ '$6 !~ /^\\./ && $6 != \"\" {{ print $6 }}')\n[ -n \"$ver\" ]\n{script}",
        dir.display()
    );
    outside("sh", &["-c", &script]);
    raw
}

#[test]
fn a_guest_without_a_driver_for_the_lab_is_not_started_and_not_called_failed() {
    let dir = dir();
    let image = sample("tiny-gen2-nodriver");
    let told = [
        ("gen2", "for virtio-scsi it lacks virtio_scsi and virtio_pci and sd_mod."),
        (
            "gen1",
            "for ide it lacks ata_piix and sd_mod; for virtio-scsi it lacks virtio_scsi and virtio_pci and sd_mod.",
        ),
    ];
    for (generation, lacks) in told {
        let (out, err) = expect(dir.path(), &["boot", &text(&image), "--as", generation], 4);
        let said = format!("{out}{err}");
        assert!(
            said.contains("NOT PERFORMED")
                && said.contains(&format!(
                    "lab mismatch: the guest cannot find a disk here, so it was not started: {lacks}"
                )),
            "{said}"
        );
        assert!(said.contains("no machine was started"), "{said}");
        assert!(consoles(&last_run(dir.path())).is_empty(), "a machine was started:\n{said}");
        let (why, _) = expect(dir.path(), &["why"], 0);
        assert!(why.contains("lab mismatch") && why.contains("ata_piix or virtio_scsi"), "{why}");
    }
    let (json, _) = expect(dir.path(), &["boot", &text(&image), "--as", "gen2", "--json"], 4);
    assert!(json.contains("lab mismatch") && json.contains("not_performed"), "{json}");
}

#[test]
fn a_guest_of_which_it_is_not_known_boots_and_fails_with_its_own_words() {
    let dir = dir();
    // The same guest, but now nothing says what is built into its kernel.
    let image =
        altered(&sample("tiny-gen2-nodriver"), dir.path(), "fs \"rm /lib/modules/$ver/modules.builtin\"");
    let (out, _) =
        expect(dir.path(), &["boot", &text(&image), "--as", "gen2", "--within", "180s", "--json"], 1);
    assert!(out.contains("DRILL-NOROOT cannot find root UUID="), "{out}");
    let (why, _) = expect(dir.path(), &["why"], 0);
    assert!(why.contains("root"), "{why}");
}

#[test]
fn a_copy_without_the_ide_driver_starts_from_virtio_scsi_and_the_report_says_so() {
    let dir = dir();
    let image = altered(
        tiny(),
        dir.path(),
        "fs \"dump /boot/initrd.img-$ver old.gz\"; mkdir tree; cd tree; gzip -dc ../old.gz | cpio --quiet -id\n\
         grep -q ata_piix conf/disks; sed -i /ata_piix/d conf/disks; find . -name 'ata_piix.ko' -delete\n\
         find . | cpio --quiet -o -H newc -R 0:0 | xz --check=crc32 -c > ../new.xz; cd ..\n\
         fs \"rm /boot/initrd.img-$ver\"; fs \"write new.xz /boot/initrd.img-$ver\"",
    );
    let scenario = "drill(\"bus\");\nlet web = machine(arg(\"image\", \"\"));\nlet copy = web.test_failover();\n\
        let vm = copy.start();\nvm.wait_ready(4.minutes);\nvm.stop();\nweb.cleanup();\n";
    std::fs::write(dir.path().join("bus.rhai"), scenario).unwrap();
    let set = format!("image={}", text(&image));
    let (out, _) = expect(dir.path(), &["run", "bus.rhai", "--set", &set], 0);
    assert!(out.contains("disk on virtio-scsi instead of ide: for ide it lacks ata_piix"), "{out}");
    assert!(out.contains("that altered-gen1 finds a disk on ide"), "{out}");
    let said = consoles(&last_run(dir.path()));
    assert!(said.contains("DRILL-READY firmware=bios root=/dev/sda2"), "{said}");
    // The driver was really taken out: one that is loaded greets on the console.
    assert!(!said.contains("ata_piix"), "{said}");
}
