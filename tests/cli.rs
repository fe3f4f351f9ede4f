//! Commands that boot nothing: bad input, exit codes, what is written and what is not.

mod common;

use common::{expect, outside, raw_copy, text, tiny};
use serde_json::Value;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("standard output is one JSON document: {e}\n{text}"))
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Nothing but these names is in the folder: no half-written file, no temporary one.
#[track_caller]
fn holds_only(dir: &Path, names: &[&str]) {
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn help_names_every_exit_code_and_a_bad_option_is_a_usage_error() {
    let dir = dir();
    let (help, _) = expect(dir.path(), &["--help"], 0);
    for code in
        ["0  passed", "1  failed", "2  usage", "3  broken", "4  incomplete", "5  changed", "130  interrupted"]
    {
        assert!(help.contains(code), "{code} is not in:\n{help}");
    }
    expect(dir.path(), &["run"], 2);
    expect(dir.path(), &["frobnicate"], 2);
}

#[test]
fn inspect_tells_what_the_sample_is() {
    let dir = dir();
    let (out, err) = expect(dir.path(), &["inspect", &text(tiny()), "--json"], 0);
    assert_eq!(err, "");
    let found = json(&out);
    assert_eq!(found["container"]["format"], "vhdx");
    assert_eq!(found["guest"]["table"]["kind"], "gpt");
    assert_eq!(found["guest"]["uefi_start"]["starts"], "yes");
    assert_eq!(found["guest"]["bios_start"]["starts"], "no");
    let (shown, _) = expect(dir.path(), &["inspect", &text(tiny())], 0);
    assert!(shown.contains("UEFI        starts:"), "{shown}");
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let dir = dir();
    let path = dir.path().join("letter.vhdx");
    std::fs::write(&path, "Dear operator, this is not a disk.\n".repeat(100)).unwrap();
    let (_, err) = expect(dir.path(), &["inspect", &text(&path)], 1);
    assert!(err.contains("letter.vhdx") && err.contains("next:"), "{err}");
    expect(dir.path(), &["inspect", "missing.vhdx"], 1);
    expect(dir.path(), &["inspect", &text(dir.path())], 1);
    expect(dir.path(), &["run", "missing.rhai"], 2);
}

#[test]
fn a_truncated_vhdx_is_refused_and_never_read_as_if_whole() {
    let dir = dir();
    let bytes = std::fs::read(tiny()).unwrap();
    let path = dir.path().join("cut.vhdx");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (_, err) = expect(dir.path(), &["inspect", &text(&path)], 1);
    assert!(err.contains("cut.vhdx"), "{err}");
    expect(dir.path(), &["convert", &text(&path), "out.vhd", "--to", "gen1"], 1);
    holds_only(dir.path(), &["cut.vhdx"]);
}

#[test]
fn the_round_trip_is_the_original_to_the_byte_and_others_can_read_each_stage() {
    let dir = dir();
    let (gen1, home) = (dir.path().join("g1.vhd"), dir.path().join("home.vhdx"));
    let before = std::fs::metadata(tiny()).unwrap().modified().unwrap();
    expect(dir.path(), &["convert", &text(tiny()), &text(&gen1), "--to", "gen1"], 0);
    let info = outside("qemu-img", &["info", "-f", "vpc", "--output=json", &text(&gen1)]);
    assert!(info.contains("\"format\": \"vpc\""), "{info}");
    // Azure's rule: whole MiB and a footer of 512 bytes.
    assert_eq!(std::fs::metadata(&gen1).unwrap().len() % (1 << 20), 512);
    let raw = dir.path().join("g1.raw");
    outside("qemu-img", &["convert", "-f", "vpc", "-O", "raw", &text(&gen1), &text(&raw)]);
    let verified = outside("sgdisk", &["-v", &text(&raw)]);
    assert!(verified.contains("No problems found"), "{verified}");
    expect(dir.path(), &["convert", &text(&gen1), &text(&home), "--to", "gen2"], 0);
    outside("qemu-img", &["check", &text(&home)]);
    outside("qemu-img", &["compare", &text(tiny()), &text(&home)]);
    assert_eq!(std::fs::metadata(tiny()).unwrap().modified().unwrap(), before);
}

#[test]
fn exactly_the_guests_changes_survive_the_way_home() {
    let dir = dir();
    let (gen1, home) = (dir.path().join("g1.raw"), dir.path().join("home.raw"));
    let original = raw_copy(tiny(), dir.path(), "original.raw");
    expect(dir.path(), &["convert", &text(tiny()), &text(&gen1), "--to", "gen1"], 0);
    // An outside program writes what a guest would: a file on the ESP, on the Gen1 copy and on the original alike.
    let note = dir.path().join("note");
    std::fs::write(&note, "written while in Gen1\n").unwrap();
    for disk in [&gen1, &original] {
        outside("mcopy", &["-i", &format!("{}@@1M", text(disk)), "-p", "-m", &text(&note), "::/NOTE.TXT"]);
    }
    expect(dir.path(), &["convert", &text(&gen1), &text(&home), "--to", "gen2"], 0);
    outside("qemu-img", &["compare", "-f", "raw", "-F", "raw", &text(&original), &text(&home)]);
}

#[test]
fn a_real_mbr_is_made_where_asked_and_goes_home_again() {
    let dir = dir();
    let (gen1, home) = (dir.path().join("g1.vhd"), dir.path().join("home.vhdx"));
    expect(dir.path(), &["convert", &text(tiny()), &text(&gen1), "--to", "gen1", "--table", "mbr"], 0);
    let (out, _) = expect(dir.path(), &["inspect", &text(&gen1), "--json"], 0);
    assert_eq!(json(&out)["guest"]["table"]["kind"], "mbr");
    expect(dir.path(), &["convert", &text(&gen1), &text(&home), "--to", "gen2"], 0);
    outside("qemu-img", &["compare", &text(tiny()), &text(&home)]);
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let dir = dir();
    let (out, _) = expect(dir.path(), &["convert", &text(tiny()), "g1.vhd", "--to", "gen1", "--dry-run"], 0);
    assert!(out.contains("LBA 0"), "{out}");
    let (out, _) =
        expect(dir.path(), &["convert", &text(tiny()), "g1.vhd", "--to", "gen1", "--dry-run", "--json"], 0);
    assert!(json(&out)["plan"]["patch"]["ops"].as_array().is_some_and(|ops| !ops.is_empty()), "{out}");
    holds_only(dir.path(), &[]);
}

#[test]
fn an_output_that_exists_is_never_overwritten() {
    let dir = dir();
    std::fs::write(dir.path().join("g1.vhd"), "precious").unwrap();
    let (_, err) = expect(dir.path(), &["convert", &text(tiny()), "g1.vhd", "--to", "gen1"], 1);
    assert!(err.contains("exists"), "{err}");
    assert_eq!(std::fs::read(dir.path().join("g1.vhd")).unwrap(), b"precious");
}

#[test]
fn a_write_that_fails_midway_leaves_nothing_behind() {
    let dir = dir();
    // 8 MiB is the largest file this process may write: the export meets a full disk in its middle.
    let script = format!(
        "trap '' XFSZ; ulimit -f 16384; exec {} convert {} g1.vhd --to gen1",
        common::DRILL,
        text(tiny())
    );
    let output =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("g1.vhd") || err.contains("writing"), "{err}");
    holds_only(dir.path(), &[]);
}

#[test]
fn disks_that_cannot_be_converted_are_refused_with_the_reason() {
    let dir = dir();
    // GPT's primary header, broken.
    let raw = raw_copy(tiny(), dir.path(), "crc.raw");
    flip(&raw, 512 + 40);
    let (_, err) = expect(dir.path(), &["convert", &text(&raw), "o.vhd", "--to", "gen1"], 1);
    assert!(err.to_lowercase().contains("gpt"), "{err}");
    // The ESP is no ESP any more.
    let raw = raw_copy(tiny(), dir.path(), "noesp.raw");
    outside("sgdisk", &["-t", "1:8300", &text(&raw)]);
    let (_, err) = expect(dir.path(), &["convert", &text(&raw), "o.vhd", "--to", "gen1"], 1);
    assert!(err.contains("EFI") || err.contains("ESP"), "{err}");
    // The ESP's grub.cfg is missing.
    let raw = raw_copy(tiny(), dir.path(), "nocfg.raw");
    outside("mdel", &["-i", &format!("{}@@1M", text(&raw)), "::/EFI/debian/grub.cfg"]);
    let (_, err) = expect(dir.path(), &["convert", &text(&raw), "o.vhd", "--to", "gen1"], 1);
    assert!(err.contains("grub.cfg"), "{err}");
    assert!(!dir.path().join("o.vhd").exists());
}

fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], at).unwrap();
}

#[test]
fn mistakes_in_a_scenario_are_found_before_anything_boots() {
    let dir = dir();
    let path = dir.path().join("bad.rhai");
    std::fs::write(&path, "drill(\"bad\");\nlet web = machine(\"x.vhdx\");\nweb.strat();\n").unwrap();
    let (_, err) = expect(dir.path(), &["check", "bad.rhai"], 2);
    assert!(err.contains("bad.rhai:3") && err.contains("strat") && err.contains("start"), "{err}");
    let (_, err) = expect(dir.path(), &["run", "bad.rhai"], 2);
    assert!(err.contains("strat"), "{err}");
    assert!(!dir.path().join(".drill").exists(), "a run that cannot be leaves no run folder");
    expect(dir.path(), &["check", concat!(env!("CARGO_MANIFEST_DIR"), "/drills/scenarios")], 0);
}

#[test]
fn a_drill_that_asserts_nothing_is_incomplete() {
    let dir = dir();
    let path = dir.path().join("nothing.rhai");
    std::fs::write(
        &path,
        "drill(\"nothing\");\nstep(\"look\");\nlet web = machine(arg(\"image\", \"x\"));\n",
    )
    .unwrap();
    let image = format!("image={}", text(tiny()));
    let (out, _) = expect(dir.path(), &["run", "nothing.rhai", "--set", &image, "--json"], 4);
    json(&out);
    let (why, _) = expect(dir.path(), &["why"], 0);
    assert!(why.contains("nothing"), "{why}");
}

/// What `drill inspect` says to somebody who is not root: root reads everything.
fn inspect_as_nobody(dir: &std::path::Path, image: &std::path::Path) -> std::process::Output {
    if !rustix::process::geteuid().is_root() {
        return common::drill(dir, &["inspect", &text(image)]).output().unwrap();
    }
    outside("chmod", &["755", &text(dir)]);
    let copy = dir.join("drill");
    std::fs::copy(common::DRILL, &copy).unwrap();
    std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", &text(&copy), "inspect", &text(image)])
        .env("HOME", dir)
        .output()
        .unwrap()
}

#[test]
fn a_device_that_may_not_be_read_is_an_error_that_names_it() {
    let dir = dir();
    // A disk of this machine; a node of our own where it shows none and we may make one.
    let found = std::fs::read_dir("/dev").unwrap().flatten().find(|e| {
        use std::os::unix::fs::FileTypeExt;
        e.file_type().is_ok_and(|t| t.is_block_device())
    });
    let device = found.map_or_else(|| dir.path().join("disk"), |e| e.path());
    if !device.exists() {
        outside("mknod", &["-m", "600", &text(&device), "b", "7", "0"]);
    }
    let output = inspect_as_nobody(dir.path(), &device);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    let expect = format!(
        "drill: opening {}: Permission denied (os error 13)\n  next: check the path and that you may read the file\n",
        device.display()
    );
    assert_eq!(err, expect);
}

#[test]
fn a_file_that_may_not_be_read_is_an_error_that_names_it() {
    let dir = dir();
    let path = dir.path().join("secret.vhdx");
    std::fs::copy(tiny(), &path).unwrap();
    outside("chmod", &["000", &text(&path)]);
    let output = inspect_as_nobody(dir.path(), &path);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("secret.vhdx") && err.to_lowercase().contains("permission denied"), "{err}");
}

#[test]
fn errors_are_json_when_json_was_asked_for_and_survive_a_full_or_closed_terminal() {
    let dir = dir();
    let (out, err) = expect(dir.path(), &["inspect", "missing.vhdx", "--json"], 1);
    assert!(json(&out)["error"]["message"].as_str().unwrap().contains("missing.vhdx"), "{out}");
    assert_eq!(json(&out)["error"]["exit"], 1, "{out}");
    assert!(err.contains("missing.vhdx"), "people read standard error as before: {err}");
    for redirected in ["2>/dev/full", "2>&-"] {
        let script = format!("exec {} inspect missing.vhdx {redirected}", common::DRILL);
        let ended = std::process::Command::new("sh").args(["-c", &script]).current_dir(dir.path()).status();
        assert_eq!(ended.unwrap().code(), Some(1), "{redirected}");
    }
}

#[test]
fn a_capsule_that_is_there_already_is_found_before_the_work_begins() {
    let dir = dir();
    std::fs::write(dir.path().join("g1.vhd.drill-capsule"), b"precious").unwrap();
    let (_, err) = expect(dir.path(), &["convert", &text(tiny()), "g1.vhd", "--to", "gen1"], 1);
    assert!(err.contains("g1.vhd.drill-capsule exists already"), "{err}");
    assert!(!dir.path().join("g1.vhd").exists());
    assert_eq!(std::fs::read(dir.path().join("g1.vhd.drill-capsule")).unwrap(), b"precious");
}
