//! The loader with the host's GRUB, and started by a BIOS.

use super::{GrubPaths, LoaderError, SCRIPT_SECTORS, kit};
use engine::units::Lba;
use std::path::Path;
use std::process::Command;

/// Where the script lies on a disk whose first partition begins at LBA 2048.
const SCRIPT_LBA: u64 = 1984;

fn entries(cache: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(cache).unwrap().map(|e| e.unwrap().path()).collect()
}

#[test]
fn a_core_is_made_once_and_a_damaged_one_again() {
    let cache = tempfile::tempdir().unwrap();
    let first = kit(&GrubPaths::debian(), SCRIPT_LBA, cache.path()).unwrap();
    first.check().unwrap();
    let room = SCRIPT_LBA - 34;
    assert!(first.core_sectors().get() < room, "{} sectors", first.core_sectors().get());
    let [entry] = &entries(cache.path())[..] else { panic!("{:?}", entries(cache.path())) };
    let made = entry.metadata().unwrap().modified().unwrap();
    assert_eq!(kit(&GrubPaths::debian(), SCRIPT_LBA, cache.path()).unwrap(), first);
    assert_eq!(entry.metadata().unwrap().modified().unwrap(), made, "it was made again");
    let whole = std::fs::read(entry).unwrap();
    for damaged in [&whole[..whole.len() / 2], &[0; 40][..], &[][..]] {
        std::fs::write(entry, damaged).unwrap();
        assert_eq!(kit(&GrubPaths::debian(), SCRIPT_LBA, cache.path()).unwrap(), first);
        assert!(std::fs::read(entry).unwrap() == whole);
    }
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    let cache = tempfile::tempdir().unwrap();
    let nowhere = cache.path().join("nowhere");
    let no_modules = GrubPaths { modules: nowhere.clone(), ..GrubPaths::debian() };
    let no_program = GrubPaths { mkimage: nowhere.clone(), ..GrubPaths::debian() };
    for (grub, package) in [(no_modules, "grub-pc-bin"), (no_program, "grub-common")] {
        match kit(&grub, SCRIPT_LBA, cache.path()) {
            Err(e @ LoaderError::Missing { .. }) => assert!(e.to_string().contains(package), "{e}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(entries(cache.path()).is_empty());
}

#[test]
fn a_program_that_fails_is_quoted_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let grub = GrubPaths { mkimage: "/bin/false".into(), ..GrubPaths::debian() };
    let error = kit(&grub, SCRIPT_LBA, cache.path()).unwrap_err();
    assert!(matches!(error, LoaderError::Mkimage { .. }), "{error}");
    assert!(entries(cache.path()).is_empty());
}

#[test]
fn a_bios_starts_it_and_it_runs_the_script_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let kit = kit(&GrubPaths::debian(), SCRIPT_LBA, dir.path()).unwrap();
    let mut disk = vec![0; 4 << 20];
    let mut put = |lba: u64, bytes: &[u8]| {
        let at = (lba * 512) as usize;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &kit.boot_code(Lba(34)));
    put(34, &kit.core_at(Lba(34)));
    // `if` shows that it is the whole script language that reads it, not the rescue parser.
    let mut script = b"serial --unit=0 --speed=115200\nterminal_output serial\n\
        if true; then echo \"script of the disk, root=$root\"; fi\nhalt\n"
        .to_vec();
    script.resize((SCRIPT_SECTORS * 512) as usize, b'\n');
    put(SCRIPT_LBA, &script);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let (image, log) = (dir.path().join("disk.raw"), dir.path().join("serial.log"));
    std::fs::write(&image, disk).unwrap();
    let status = Command::new("timeout")
        .args([
            "60",
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-machine",
            "pc",
            "-m",
            "128",
            "-nodefaults",
            "-display",
            "none",
        ])
        .arg("-drive")
        .arg(format!("file={},format=raw,if=ide", image.display()))
        .arg("-serial")
        .arg(format!("file:{}", log.display()))
        .arg("-no-reboot")
        .status()
        .expect("QEMU is installed");
    let said = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(status.success() && said.contains("script of the disk, root=hd0"), "{status}: {said}");
}
