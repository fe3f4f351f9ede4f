//! The TPM of a Generation 2 machine: the guest's own driver finds it, and only where one was asked for; nothing of it is left.

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
