//! `drill diff`: exit codes, what it prints, and the round trip of every sample.

mod common;

use common::raw::Raw;
use common::{expect, outside, raw_copy, sample, text, tiny};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("standard output is one JSON document: {e}\n{text}"))
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What it prints, without the two lines that name the images.
#[track_caller]
fn diff(dir: &Path, a: &Path, b: &Path, more: &[&str], exit: i32) -> String {
    let (a, b) = (text(a), text(b));
    let (out, err) = expect(dir, &[&["diff", &a, &b][..], more].concat(), exit);
    // On a slow host it tells how far it is.
    let said: Vec<&str> = err.lines().filter(|l| !l.starts_with("  comparing ")).collect();
    assert!(said.is_empty(), "{err}");
    out.split_once("\nB           ")
        .and_then(|(_, rest)| rest.split_once('\n'))
        .expect("two names")
        .1
        .to_owned()
}

#[test]
fn the_same_disk_in_another_container_is_the_same() {
    let dir = dir();
    let same = "The disks are the same to the byte.\n";
    assert_eq!(diff(dir.path(), tiny(), tiny(), &[], 0), same);
    for name in ["copy.raw", "copy.qcow2", "copy.vhd"] {
        let copy = dir.path().join(name);
        expect(dir.path(), &["convert", &text(tiny()), name], 0);
        assert_eq!(diff(dir.path(), tiny(), &copy, &[], 0), same, "{name}");
    }
    let boot = diff(dir.path(), tiny(), &dir.path().join("copy.raw"), &["--boot"], 0);
    assert_eq!(boot, "Nothing that matters to starting differs.\n");
}

#[test]
fn no_answer_is_not_a_difference() {
    let dir = dir();
    let tiny = text(tiny());
    expect(dir.path(), &["diff", &tiny], 2);
    let (_, err) = expect(dir.path(), &["diff", &tiny, "missing.raw"], 3);
    assert!(err.contains("missing.raw") && err.contains("next:"), "{err}");
    let (_, err) = expect(dir.path(), &["diff", &tiny, &tiny, "--format", "vhdz"], 2);
    assert!(err.contains("vhdz"), "{err}");
    expect(dir.path(), &["diff", &tiny, &tiny, "--format-b", "qcow2"], 3);
    let (out, _) = expect(dir.path(), &["diff", &tiny, "missing.raw", "--json"], 3);
    assert_eq!(json(&out)["error"]["exit"], 3, "{out}");
    let (help, _) = expect(dir.path(), &["--help"], 0);
    assert!(help.contains("drill diff"), "the table of exit codes names it:\n{help}");
}

#[test]
fn what_could_not_be_compared_has_an_exit_code_of_its_own() {
    let dir = dir();
    let raw = Raw::copy_of(tiny(), dir.path());
    let deep: Vec<String> = (1..=70).map(|n| format!("mkdir {}", "/d".repeat(n))).collect();
    let script = dir.path().join("script");
    std::fs::write(&script, deep.join("\n")).unwrap();
    let root = raw.volume(2, "?offset=");
    outside("debugfs", &["-w", "-f", &text(&script), &root]);
    let one = dir.path().join("one.raw");
    std::fs::copy(&raw.path, &one).unwrap();
    outside("debugfs", &["-w", "-R", &format!("mkdir {}/new", "/d".repeat(70)), &root]);
    let told = diff(dir.path(), &one, &raw.path, &[], 4);
    assert!(told.contains("deeper than 64 folders"), "{told}");
    assert!(told.ends_with("No difference was found, but not everything could be compared.\n"), "{told}");
}

#[test]
fn a_generation_1_copy_differs_in_table_and_boot_code_only() {
    let dir = dir();
    let gen1 = dir.path().join("g1.vhd");
    expect(dir.path(), &["convert", &text(tiny()), "g1.vhd", "--to", "gen1"], 0);
    for more in [&[][..], &["--boot"]] {
        let told = diff(dir.path(), tiny(), &gen1, more, 1);
        for line in [
            "conversion capsule",
            "boot code at LBA 0, where A has none",
            "the gap before the first partition",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        assert!(told.ends_with("The disks differ: table, boot code.\n"), "{told}");
    }
    expect(dir.path(), &["convert", &text(tiny()), "mbr.vhd", "--to", "gen1", "--table", "mbr"], 0);
    let (a, b) = (text(tiny()), text(&dir.path().join("mbr.vhd")));
    let (out, _) = expect(dir.path(), &["diff", &a, &b, "--json"], 1);
    let found = &json(&out)["diff"];
    assert_eq!(found["verdict"], "different");
    let table: Vec<&str> =
        found["table"].as_array().unwrap().iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(table, ["table", "disk id", "conversion capsule"], "{out}");
    assert_eq!(found["volumes"], serde_json::json!([]), "{out}");
}

#[test]
fn what_comes_home_differs_in_what_the_guest_wrote() {
    let dir = dir();
    let (gen1, home) = (dir.path().join("g1.raw"), dir.path().join("home.vhdx"));
    expect(dir.path(), &["convert", &text(tiny()), "g1.raw", "--to", "gen1"], 0);
    let raw = Raw { path: gen1 };
    let note = dir.path().join("note");
    std::fs::write(&note, "written while in Gen1\n").unwrap();
    outside("mcopy", &["-i", &raw.volume(1, "@@"), &text(&note), "::/NOTE.TXT"]);
    raw.debugfs(2, &format!("write {} /var/lib/note", text(&note)));
    raw.debugfs(2, "rm /etc/fstab");
    expect(dir.path(), &["convert", &text(&raw.path), "home.vhdx", "--to", "gen2"], 0);
    let told = diff(dir.path(), tiny(), &home, &["--lines", "0"], 1);
    let signs: Vec<&str> = told.lines().filter(|l| l.starts_with("  ")).collect();
    let starts = ["  + /NOTE.TXT ", "  - /etc/fstab ", "  + /var/lib/note "];
    assert_eq!(signs.len(), starts.len(), "{told}");
    assert!(signs.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{told}");
    assert!(told.ends_with("The disks differ: 2 names added, 1 name removed.\n"), "{told}");
    let told = diff(dir.path(), tiny(), &home, &["--boot"], 1);
    assert!(told.contains("/etc/fstab") && !told.contains("/var/lib/note"), "{told}");
}

#[test]
fn a_drill_asserts_that_what_starts_a_machine_is_the_same() {
    let dir = dir();
    for (asserted, exit, says) in [
        ("home.assert_same_boot_as(web)", 0, "what tiny-gen2-home starts by is what tiny-gen2 starts by"),
        ("copy.assert_same_boot_as(web)", 1, "boot code at LBA 0, where A has none"),
    ] {
        let scenario = format!(
            "drill(\"same boot\");\nlet web = machine(fixture(\"tiny-gen2\"));\nlet copy = web.test_failover();\n\
             let home = copy.failback();\n{asserted};\nweb.cleanup();\n"
        );
        std::fs::write(dir.path().join("boot.rhai"), scenario).unwrap();
        let (out, err) = expect(dir.path(), &["run", "boot.rhai"], exit);
        assert!(out.contains(says), "{asserted}\n{out}\n{err}");
    }
}

#[test]
fn a_guest_that_lived_as_generation_1_still_starts_by_the_same() {
    let dir = dir();
    let scenario = "drill(\"lived\");\nlet web = machine(fixture(\"tiny-gen2\"));\nlet copy = web.test_failover();\n\
        let vm = copy.start();\nvm.wait_ready(5.minutes);\nvm.run(\"echo lived > /var/lib/marker && sync\");\nvm.stop();\n\
        let home = copy.failback();\nhome.assert_file(\"/var/lib/marker\", \"lived\\n\");\nhome.assert_same_boot_as(web);\n\
        web.cleanup();\n";
    std::fs::write(dir.path().join("lived.rhai"), scenario).unwrap();
    expect(dir.path(), &["run", "lived.rhai"], 0);
}

#[test]
fn subvolumes_that_no_mount_shows_are_compared() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: the snapshots of tiny-gen2-suse");
        return;
    }
    let dir = dir();
    let image = sample("tiny-gen2-suse");
    let raw = Raw::copy_of(&image, dir.path());
    // A few bytes of the kernel, which lies in the default snapshot and in the one that was made of it. The file system is compressed, but where
    // nothing is to be gained the compressor leaves bytes as they are.
    let plain = tempfile::tempdir().unwrap();
    let ext4 = Raw::copy_of(tiny(), plain.path());
    let kernel = plain.path().join("kernel");
    let path = format!("/boot/{}", ext4.kernel(2, "/boot").rsplit('/').next().unwrap());
    outside("debugfs", &["-R", &format!("dump {path} {}", text(&kernel)), &ext4.volume(2, "?offset=")]);
    let kernel = std::fs::read(&kernel).unwrap();
    let starts: HashMap<&[u8], &[u8]> =
        kernel[1 << 20..].chunks_exact(4096).map(|page| (&page[..8], &page[..48])).collect();
    let (root, len) = raw.place(2);
    let bytes = std::fs::read(&raw.path).unwrap();
    let part = &bytes[root as usize..(root + len) as usize];
    let is_kept = |at: &usize| {
        let page = part.get(*at..at + 48).unwrap_or_default();
        let varied = || page.iter().collect::<HashSet<_>>().len() > 24;
        starts.get(&page[..8]).is_some_and(|kept| *kept == page) && varied()
    };
    let at = (0..part.len() - 48).find(is_kept).expect("bytes of the kernel as they are");
    let file = File::options().write(true).open(&raw.path).unwrap();
    file.write_all_at(&[!part[at + 20]], root + at as u64 + 20).unwrap();
    let told = diff(dir.path(), &image, &raw.path, &[], 1);
    for snapshot in [1, 2] {
        assert!(told.contains(&format!("  ~ /@/.snapshots/{snapshot}/snapshot/boot/vmlinuz-")), "{told}");
    }
    let told = diff(dir.path(), &image, &raw.path, &["--boot"], 1);
    assert!(told.contains("/@/.snapshots/1/snapshot/boot/vmlinuz-") && !told.contains("/2/"), "{told}");
}

/// Refused by their own tests; a sample of every other name comes home to the byte.
const REFUSED: [&str; 2] = ["tiny-gen2-luks", "tiny-gen2-thinboot"];
/// What the short tier has time for.
const SHORT: [&str; 4] = ["tiny-gen2", "tiny-gen2-bootpart", "tiny-gen2-parts7", "tiny-gen2-hybrid"];

#[test]
fn every_sample_comes_home_to_the_byte() {
    let full = std::env::var_os("DRILL_TEST_FULL").is_some();
    let all = fixtures::list().iter().map(|r| r.name).filter(|n| n.contains("gen2"));
    let (now, later): (Vec<&str>, Vec<&str>) =
        all.filter(|n| !REFUSED.contains(n)).partition(|n| full || SHORT.contains(n));
    assert!(now.len() >= SHORT.len(), "{now:?}");
    if !later.is_empty() {
        println!("left to ./x test --full: the round trip of {}", later.join(", "));
    }
    for name in now {
        let dir = dir();
        let (image, gen1, home) = (sample(name), dir.path().join("g1.vhd"), dir.path().join("home.raw"));
        expect(dir.path(), &["convert", &text(&image), &text(&gen1), "--to", "gen1", "--no-flush"], 0);
        expect(dir.path(), &["convert", &text(&gen1), &text(&home), "--to", "gen2", "--no-flush"], 0);
        let told = diff(dir.path(), &image, &home, &[], 0);
        assert_eq!(told, "The disks are the same to the byte.\n", "{name}");
        // Another program says so, too.
        let original = raw_copy(&image, dir.path(), "original.raw");
        outside("cmp", &[&text(&original), &text(&home)]);
    }
}

#[test]
fn terabytes_of_nothing_cost_nothing() {
    let dir = dir();
    for (name, format) in [("a.raw", "raw"), ("b.qcow2", "qcow2")] {
        outside("qemu-img", &["create", "-q", "-f", format, &text(&dir.path().join(name)), "8T"]);
    }
    let told =
        diff(dir.path(), &dir.path().join("a.raw"), &dir.path().join("b.qcow2"), &["--format-a", "raw"], 0);
    assert_eq!(told, "The disks are the same to the byte.\n");
    // One byte far out is found all the same.
    let file = File::options().write(true).open(dir.path().join("a.raw")).unwrap();
    file.write_all_at(&[1], 7 << 40).unwrap();
    let told =
        diff(dir.path(), &dir.path().join("a.raw"), &dir.path().join("b.qcow2"), &["--format-a", "raw"], 1);
    assert!(
        told.contains("the disk, which has no partitions") && told.contains("512 B at 0x70000000000"),
        "{told}"
    );
}
