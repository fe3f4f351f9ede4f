//! The plan of each sample disk, as people review it before anything is written: what the guest is, how it is converted and why, each
//! operation with its place and size. What depends on this host's GRUB (how long its core is) is replaced by `#`.

mod common;

use common::{expect, sample, text};

/// Samples that are converted, each with a way of its own.
const SAMPLES: [&str; 23] = [
    "tiny-gen2",
    "tiny-gen2-sdboot",
    "tiny-gen2-nogap",
    "tiny-gen2-partuuid",
    "tiny-gen2-bootpart",
    "tiny-gen2-xfs",
    "tiny-gen2-parts7",
    "tiny-gen2-hybrid",
    "tiny-gen2-hybrid-empty",
    "tiny-gen2-4kn",
    "tiny-gen2-noconsole",
    "tiny-gen2-dps",
    "tiny-gen2-uki",
    "tiny-gen2-uki-sdboot",
    "tiny-gen2-efistub",
    "tiny-gen2-fedora",
    "tiny-gen2-lvm",
    "tiny-gen2-lvmboot",
    "tiny-gen2-btrfs",
    "tiny-gen2-suse",
    "tiny-gen2-thin",
    "debian-13-gen2-uki",
    "debian-13-gen2-sdboot",
];
/// Samples that are there to be refused.
const REFUSED: [&str; 2] = ["tiny-gen2-luks", "tiny-gen2-thinboot"];
/// How many of them the short tier has time for.
const SHORT: usize = 3;

/// `DRILL_TEST_ONLY` names samples, whatever the tier.
fn tier(all: &'static [&'static str], short: usize) -> Vec<&'static str> {
    if let Ok(only) = std::env::var("DRILL_TEST_ONLY") {
        return all.iter().filter(|name| only.split(',').any(|o| o == **name)).copied().collect();
    }
    if std::env::var_os("DRILL_TEST_FULL").is_some() {
        return all.to_vec();
    }
    let (now, later) = all.split_at(short);
    println!("left to ./x test --full: the plans of {}", later.join(", "));
    now.to_vec()
}

fn shown(name: &str, exit: i32) -> String {
    let dir = tempfile::tempdir().unwrap();
    let image = text(&sample(name));
    let (out, err) = expect(dir.path(), &["convert", &image, "out.vhd", "--to", "gen1", "--dry-run"], exit);
    let said = if exit == 0 { out } else { err };
    redacted(&said.replace(&image, "IMAGE"))
}

/// The core's length decides where the capsule begins, and their sizes; kernels come with a version in their name.
fn redacted(said: &str) -> String {
    let names =
        ["GRUB's core", "the capsule: what failback needs", "put back what was there before the capsule"];
    let core = |line: &str| names.iter().any(|name| line.contains(name));
    let sum = |line: &str| line.contains(" operations, ");
    let one = |line: &str| -> String {
        let ours = core(line) || sum(line);
        let digits = |c: char| if c.is_ascii_digit() && ours { '#' } else { c };
        line.chars().map(digits).collect()
    };
    let lines: Vec<String> = said.lines().map(one).collect();
    kernels(&lines.join("\n"))
}

/// `6.1.0-56-cloud-amd64` and `6.12.117+deb13-amd64` are kernels that Debian had when a sample was built.
fn kernels(said: &str) -> String {
    ["-cloud-amd64", "+deb13-amd64"]
        .iter()
        .fold(said.to_owned(), |said, ending| numbers_before(&said, ending))
}

fn numbers_before(said: &str, ending: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some((before, behind)) = rest.split_once(ending) {
        let begin = before.rfind(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').map_or(0, |i| i + 1);
        let (text, version) = before.split_at(begin);
        out.push_str(text);
        out.extend(version.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }));
        out.push_str(ending);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[test]
fn each_sample_has_a_plan_that_people_have_reviewed() {
    for name in tier(&SAMPLES, SHORT) {
        insta::assert_snapshot!(name, shown(name, 0));
    }
}

#[test]
fn what_cannot_be_converted_is_refused_with_every_reason() {
    for name in tier(&REFUSED, 0) {
        insta::assert_snapshot!(name, shown(name, 1));
    }
}

#[test]
fn a_drill_sees_the_conflict_before_it_goes_home() {
    let cases = [
        ("copy", 0, "put back what was there before the capsule", "what would be put back still fits"),
        (
            // The guest has installed another loader meanwhile.
            "copy.plant(\"core-truncated\")",
            1,
            "conflict: GRUB's core",
            "cannot go home as it is: GRUB's core",
        ),
        ("web", 1, "no plan from Generation 1 to Generation 2", "cannot go home: "),
    ];
    for (machine, exit, shows, says) in cases {
        let dir = tempfile::tempdir().unwrap();
        let scenario = format!(
            "drill(\"the way home\");\nlet web = machine(fixture(\"tiny-gen2\"));\nlet copy = web.test_failover();\n\
             let plan = {machine}.plan_failback().show();\nplan.assert_no_conflicts();\nweb.cleanup();\n"
        );
        std::fs::write(dir.path().join("home.rhai"), scenario).unwrap();
        let (out, err) = expect(dir.path(), &["run", "home.rhai"], exit);
        for text in [shows, says] {
            assert!(out.contains(text), "{machine}: wanted {text:?}\n{out}\n{err}");
        }
    }
}

#[test]
fn a_conflict_is_shown_with_its_rule_and_with_what_fits_still() {
    let dir = tempfile::tempdir().unwrap();
    let image = text(&sample("tiny-gen2"));
    expect(dir.path(), &["convert", &image, "gen1.raw", "--to", "gen1"], 0);
    let raw = common::raw::Raw { path: dir.path().join("gen1.raw") };
    // What a guest does that installs its own GRUB again.
    raw.begin_with(&[0x90; 440]);
    let args = ["convert", "gen1.raw", "home.raw", "--to", "gen2", "--dry-run"];
    let (_, err) = expect(dir.path(), &args, 1);
    insta::assert_snapshot!("conflict", redacted(&err));
}
