//! What belongs to the firmware of a Generation 2 machine: its TPM, which the guest's own driver finds where one was asked for and nowhere else,
//! and its variables from one start to the next.

mod common;

use common::{consoles, expect, last_run, text, tiny};
use std::path::Path;

/// What Linux calls a TPM 2.0 with a command-response buffer, found by the firmware's ACPI table.
const FOUND: &str = "tpm_crb MSFT0101:00";

/// Boots the sample and gives what its console said and which files the machine left.
#[track_caller]
fn boot(dir: &Path, more: &[&str]) -> (String, Vec<String>) {
    let image = text(tiny());
    let base = ["boot", &image, "--as", "gen2", "--expect", "DRILL-READY", "--within", "6m"];
    expect(dir, &[&base[..], more].concat(), 0);
    let run = last_run(dir);
    let machine = std::fs::read_dir(&run).expect("the run").flatten().find(|e| e.path().is_dir());
    let files =
        std::fs::read_dir(machine.expect("the machine's folder").path()).expect("its files").flatten();
    let names = files.map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    (consoles(&run), names)
}

#[test]
fn a_guest_finds_the_tpm_that_was_asked_for_and_no_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (said, files) = boot(dir.path(), &["--tpm"]);
    assert!(said.contains(FOUND), "{said}");
    assert!(files.iter().any(|f| f == "tpm.log") && !files.iter().any(|f| f == "tpm-state"), "{files:?}");
    // It works in the machine's folder.
    let here = dir.path().canonicalize().expect("the folder");
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let left: Vec<_> = processes
        .filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&here)))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let (said, files) = boot(dir.path(), &[]);
    assert!(!said.contains(FOUND) && said.contains("DRILL-READY firmware=uefi"), "{said}");
    assert!(!files.iter().any(|f| f.starts_with("tpm")), "{files:?}");
}

#[test]
fn a_generation_1_machine_has_none() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (_, err) = expect(dir.path(), &["boot", &text(tiny()), "--as", "gen1", "--tpm"], 2);
    assert!(err.contains("--tpm needs --as gen2"), "{err}");
}

/// How often OVMF has started with this store of variables: the highest value of its `MTC` (the high half of UEFI's monotonic counter).
#[track_caller]
fn starts_of(store: &Path) -> u32 {
    let bytes = std::fs::read(store).expect("the firmware's variables");
    let name: Vec<u8> = "MTC\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let found = bytes.windows(name.len() + 4).filter(|w| w.starts_with(&name));
    let values = found.map(|w| u32::from_le_bytes(w[name.len()..].try_into().expect("four bytes")));
    values.max().expect("the counter")
}

#[test]
fn variables_are_kept_when_asked_for_and_empty_otherwise() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let image = text(tiny());
    let start = |nvram: &str| {
        format!("web.start(#{{ nvram: \"{nvram}\" }}).wait_text(\"DRILL-READY\", 6.minutes).stop();\n")
    };
    let body = ["empty", "kept", "empty"].map(start).concat();
    let head = "drill(\"variables\");\nlet web = machine(arg(\"image\", \"\"));\n";
    std::fs::write(dir.path().join("kept.rhai"), format!("{head}{body}")).expect("a scenario");
    expect(dir.path(), &["run", "kept.rhai", "--set", &format!("image={image}")], 0);
    let mut stores: Vec<_> = std::fs::read_dir(last_run(dir.path()))
        .expect("the run")
        .flatten()
        .map(|e| e.path().join("uefi-vars.fd"))
        .filter(|p| p.is_file())
        .collect();
    stores.sort();
    let starts: Vec<u32> = stores.iter().map(|s| starts_of(s)).collect();
    assert_eq!(starts, [1, 2, 1]);
    // There is nothing to keep before the first start.
    std::fs::write(dir.path().join("early.rhai"), format!("{head}{}", start("kept"))).expect("a scenario");
    let (out, _) = expect(dir.path(), &["run", "early.rhai", "--set", &format!("image={image}")], 1);
    assert!(out.contains("the machine was not started before in this drill"), "{out}");
}
