//! The test of the judge: each planted fault changes what it says and nothing else, as outside tools see it; and the command that boots them.

mod common;

use common::raw::Raw;
use common::{drill, expect, outside, text, tiny};
use drills::fault::{Area, Caught, FAULTS, Fault};
use engine::container::{ExportOptions, Flush, OutFormat, export, open};
use engine::disk::{DiskRef, Overlay, Write, read_vec};
use qemu::Generation::{self, Gen1, Gen2};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// The sample's partitions: the EFI system partition and the root, as its recipe makes them.
const ESP: u32 = 1;
const ROOT: u32 = 2;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The sample, and its Generation 1 copy.
fn disks(dir: &Path) -> [(Generation, DiskRef); 2] {
    let copy = dir.join("gen1.raw");
    expect(dir, &["convert", &text(tiny()), &text(&copy), "--to", "gen1", "--no-flush"], 0);
    let disk = |path: &Path| open(path, None).unwrap_or_else(|e| panic!("{e}")).disk;
    [(Gen2, disk(tiny())), (Gen1, disk(&copy))]
}

/// The faults of a disk, with the generation each is planted in.
fn planted() -> impl Iterator<Item = (&'static Fault, Generation)> {
    let of_disks = FAULTS.iter().filter(|f| f.area != Area::Container);
    of_disks.flat_map(|f| f.on.iter().map(move |g| (f, *g)))
}

#[track_caller]
fn writes(fault: &Fault, disk: &DiskRef) -> Vec<Write> {
    fault.writes(disk).unwrap_or_else(|e| panic!("{} does not fit the sample: {e}", fault.name))
}

/// Where a fault may write, in bytes: a partition, or what lies before the first and behind the last.
fn allowed(fault: &Fault, raw: &Raw, at: u64) -> bool {
    let within = |number: u32| {
        let (from, len) = raw.place(number);
        (from..from + len).contains(&at)
    };
    match fault.area {
        Area::Table => !within(ESP) && !within(ROOT),
        Area::BootCode => at < 1 << 20,
        Area::Loader => within(ESP),
        Area::SecureBoot if fault.name == "kernel-forged" => within(ROOT),
        Area::SecureBoot => within(ESP),
        Area::Configuration if fault.name.starts_with("stub") => within(ESP),
        _ => within(ROOT),
    }
}

#[test]
fn every_fault_fits_the_sample_and_changes_only_what_it_says() {
    let dir = dir();
    let raw = Raw::copy_of(tiny(), dir.path());
    let disks = disks(dir.path());
    let mut seen = Vec::new();
    for (fault, generation) in planted() {
        let disk = &disks.iter().find(|(g, _)| *g == generation).expect("both").1;
        let writes = writes(fault, disk);
        for write in &writes {
            let was = read_vec(disk.as_ref(), write.at, write.bytes.len()).expect("within the disk");
            assert_ne!(was, write.bytes.to_vec(), "{}: a write that changes nothing", fault.name);
            assert!(allowed(fault, &raw, write.at.get()), "{}: a write at {}", fault.name, write.at);
        }
        let shape = disk.geometry();
        Overlay::new(disk.clone(), shape, writes.clone()).unwrap_or_else(|e| panic!("{}: {e}", fault.name));
        assert!(
            !seen.iter().any(|(g, w): &(Generation, Vec<Write>)| *g == generation && *w == writes),
            "{} is another fault by another name",
            fault.name
        );
        seen.push((generation, writes));
    }
    // What a BIOS starts is not on the source, so nothing of it can be broken there.
    for fault in FAULTS.iter().filter(|f| f.area == Area::BootCode) {
        assert!(fault.writes(&disks[0].1).is_err(), "{} fits the source", fault.name);
    }
}

/// The sample with one fault in it, as a raw disk for outside tools.
fn twin(name: &str, dir: &Path) -> Raw {
    let disk = open(tiny(), None).expect("the sample opens").disk;
    let fault = Fault::named(name).expect("a fault of this name");
    let writes = writes(fault, &disk);
    let shape = disk.geometry();
    let broken = Overlay::new(disk, shape, writes).expect("an overlay");
    let path = dir.join(format!("{name}.raw"));
    let mut options = ExportOptions::new([7; 16], 0);
    options.flush = Flush::Never;
    export(&broken, &path, OutFormat::Raw, &options, &mut |_| ControlFlow::Continue(())).expect("an export");
    Raw { path }
}

/// What debugfs says, checksums looked at.
#[track_caller]
fn debugfs(raw: &Raw, command: &str) -> String {
    let said = outside("debugfs", &["-R", command, &raw.volume(ROOT, "?offset=")]);
    assert!(!said.contains("does not match"), "{command}: {said}");
    said
}

#[test]
fn outside_tools_see_the_fault_that_was_meant() {
    let dir = dir();
    let whole = Raw::copy_of(tiny(), dir.path());
    let kernel = whole.kernel(ROOT, "/boot");
    let initrd = kernel.replace("vmlinuz-", "initrd.img-");
    let size = |raw: &Raw, path: &str| -> u64 {
        let said = debugfs(raw, &format!("stat {path}"));
        let field = said.split("Size: ").nth(1).and_then(|s| s.split_whitespace().next());
        field.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no size\n{said}"))
    };
    for (name, path) in [
        ("kernel-missing", kernel.as_str()),
        ("initrd-missing", &initrd),
        ("grub-cfg-missing", "/boot/grub/grub.cfg"),
        ("init-missing", "/sbin/init"),
    ] {
        assert!(debugfs(&whole, &format!("stat {path}")).contains("Inode:"), "{path} is there before");
        let said = debugfs(&twin(name, dir.path()), &format!("stat {path}"));
        assert!(said.contains("File not found"), "{name}: {said}");
    }
    assert_eq!(size(&twin("kernel-empty", dir.path()), &kernel), 0);
    assert_eq!(size(&twin("initrd-truncated", dir.path()), &initrd), size(&whole, &initrd) / 2);
    let mode = debugfs(&twin("init-not-executable", dir.path()), "stat /bin/busybox");
    assert!(mode.contains("Mode:  0644"), "{mode}");
    let text_of = |raw: &Raw| debugfs(raw, "cat /boot/grub/grub.cfg");
    let (was, is) = (text_of(&whole), text_of(&twin("root-uuid-changed", dir.path())));
    let root = |text: &str| text.split("root=UUID=").nth(1).map(|t| t[..36].to_owned()).expect("root=");
    assert_ne!(root(&was), root(&is));
    assert_eq!(was.replace(&format!("root=UUID={}", root(&was)), &format!("root=UUID={}", root(&is))), is);
    let fat = |raw: &Raw, path: &str| outside("mdir", &["-b", "-i", &raw.volume(ESP, "@@"), path]);
    assert!(fat(&whole, "::/EFI/BOOT").to_uppercase().contains("BOOTX64.EFI"));
    let broken = twin("loader-missing", dir.path());
    assert!(!fat(&broken, "::/EFI/BOOT").to_uppercase().contains("BOOTX64.EFI"));
    // Believed tables are sound ones; damaged ones are not.
    let sgdisk = |raw: &Raw, args: &[&str]| outside("sgdisk", &[args, &[&text(&raw.path)]].concat());
    let gone = twin("boot-partition-gone", dir.path());
    assert!(sgdisk(&gone, &["--verify"]).contains("No problems found"));
    assert!(!sgdisk(&gone, &["--print"]).contains("root"));
    assert!(sgdisk(&whole, &["--print"]).contains("root"));
    assert!(sgdisk(&twin("partitions-overlap", dir.path()), &["--verify"]).contains("overlap"));
}

fn rows(out: &str) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(out).unwrap_or_else(|e| panic!("{e}\n{out}"));
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = document["rows"].as_array().expect("rows");
    rows.iter().map(|r| (field(r, "name"), field(r, "standing"))).collect()
}

#[test]
fn two_faults_are_caught_and_a_clean_disk_is_not() {
    let dir = dir();
    let before = std::fs::metadata(tiny()).unwrap().modified().unwrap();
    let only = ["selftest", "--only", "vhdx-log-lost,boot-signature-missing", "--clean-boots", "1", "--json"];
    let (out, _) = expect(dir.path(), &only, 0);
    let wanted = [("clean", "quiet"), ("boot-signature-missing", "caught"), ("vhdx-log-lost", "caught")];
    assert_eq!(rows(&out), wanted.map(|(a, b)| (a.to_owned(), b.to_owned())), "{out}");
    assert_eq!(std::fs::metadata(tiny()).unwrap().modified().unwrap(), before, "the sample is only read");
    let run = common::last_run(dir.path());
    let (replayed, _) = expect(dir.path(), &["replay", &text(&run)], 0);
    assert!(replayed.contains("boot-signature-missing") && replayed.contains("PASSED"), "{replayed}");
    assert!(!run.join("work").exists());
}

/// The twin of the test itself: a judge that is given no time catches nothing, and the score says so.
#[test]
fn a_wait_that_ran_out_is_no_catch() {
    let dir = dir();
    let args = ["selftest", "--only", "loader-missing", "--clean-boots", "0", "--within", "2s", "--json"];
    let output = drill(dir.path(), &args).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 3)), "{:?}\n{out}", output.status);
    let [(name, standing)] = &rows(&out)[..] else { panic!("{out}") };
    assert_eq!(name, "loader-missing");
    assert!(["elsewhere", "no-answer"].contains(&standing.as_str()), "{out}");
}

#[test]
fn the_list_names_every_fault_and_an_unknown_name_is_a_usage_error() {
    let dir = dir();
    let (out, _) = expect(dir.path(), &["selftest", "--list"], 0);
    for fault in FAULTS {
        assert!(out.contains(fault.name) && out.contains(fault.what), "{}\n{out}", fault.name);
    }
    let (_, err) = expect(dir.path(), &["selftest", "--only", "no-such-fault"], 2);
    assert!(err.contains("no fault is called that") && err.contains("--list"), "{err}");
}

/// The contract: every fault at its rung for its own reason, and no false alarm in 20 clean boots.
#[test]
fn the_full_score() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        let boots = planted().filter(|(f, _)| matches!(f.caught, Caught::Boot { .. })).count();
        println!(
            "not run: the full score, {boots} boots with a fault and 20 clean ones (DRILL_TEST_FULL, ./x test --full)"
        );
        return;
    }
    let dir = dir();
    let (out, _) = expect(dir.path(), &["selftest"], 0);
    println!("{out}");
    let faults = planted().count() + FAULTS.iter().filter(|f| f.area == Area::Container).count();
    let score = format!(
        "{faults} of {faults} planted faults caught at the right rung for their own reason, 0 elsewhere, 0 missed; 0 false alarms in 20 clean boots"
    );
    assert!(out.contains(&score), "wanted: {score}\n{out}");
}
