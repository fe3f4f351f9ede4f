//! Scenarios as files, their findings as snapshots: a case is added by adding a file.

use crate::script::{Given, Source, check, stock};

const FIXTURES: &[&str] = &["tiny-gen2", "debian-12-gen2"];

#[track_caller]
fn findings(name: &str, text: &str, set: &[&str]) -> String {
    let source = Source::new(name, text);
    let checked = check(&source, Given { set, fixtures: Some(FIXTURES), secrets: Some(&["ROOT_PASSWORD"]) });
    let pictures: Vec<String> =
        checked.diagnostics.iter().map(|d| d.render(&source).trim_end().to_owned()).collect();
    pictures.join("\n\n")
}

#[test]
fn the_stock_drills_are_clean() {
    for (name, text) in stock::ALL {
        assert_eq!(findings(name, text, &["image"]), "");
    }
    let checked = check(&stock::source("failover").unwrap(), Given::default());
    assert!(checked.proves && checked.may_run());
    assert_eq!(checked.args.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["image"]);
    assert_eq!(checked.header.unwrap().title, "web01: test failover");
}

#[test]
fn every_file_has_its_findings() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/check/tests/data");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "rhai"));
    files.sort();
    assert!(files.len() >= 8, "the cases are gone: {files:?}");
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        insta::assert_snapshot!(name, findings(name, &text, &[]));
    }
}

#[test]
fn a_set_that_sets_nothing_is_an_error() {
    let text = findings("failover", stock::FAILOVER, &["imgae"]);
    assert!(text.contains("--set imgae=… sets nothing") && text.contains("did you mean image?"), "{text}");
}

#[test]
fn hostile_text_is_an_error_and_never_a_crash() {
    for text in [
        "(".repeat(100_000),
        "-".repeat(100_000),
        "a.".repeat(50_000),
        "\u{0}\u{1b}[31m".repeat(10),
        "x".repeat(300_000),
    ] {
        let worker =
            std::thread::Builder::new().stack_size(8 << 20).spawn(move || findings("t", &text, &[])).unwrap();
        assert!(worker.join().unwrap().contains("error"));
    }
}
