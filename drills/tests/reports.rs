//! The reports of recorded runs, for reading.

use drills::history::{self, State};
use drills::report::model::Model;
use drills::report::style::Style;
use drills::report::{json, junit, text};
use drills::verdict::Outcome;
use std::path::{Path, PathBuf};

/// Relative to the package, so that snapshots hold no path of this machine.
fn run(name: &str) -> PathBuf {
    Path::new("tests/data/runs").join(name)
}

const PASSED: &str = "20261124-010203-web01";
const FAILED: &str = "20261124-021000-web01";
const KILLED: &str = "20261124-015000-db01";
const DAMAGED: &str = "20261123-000000-damaged";

fn loaded(name: &str) -> Vec<(PathBuf, Model)> {
    vec![(run(name), Model::load(&run(name)).unwrap())]
}

#[test]
fn text_of_a_passing_run() {
    insta::assert_snapshot!(text::replay(&run(PASSED), Style::PLAIN).unwrap());
}

#[test]
fn text_of_a_failing_run() {
    insta::assert_snapshot!(text::replay(&run(FAILED), Style::PLAIN).unwrap());
}

#[test]
fn text_of_a_killed_run_in_ascii() {
    let ascii = text::replay(&run(KILLED), Style { ascii: true, ..Style::PLAIN }).unwrap();
    assert!(ascii.is_ascii());
    insta::assert_snapshot!(ascii);
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = text::replay(&run(FAILED), Style { colour: true, ..Style::PLAIN }).unwrap();
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, text::replay(&run(FAILED), Style::PLAIN).unwrap());
}

#[test]
fn json_of_a_failing_run() {
    insta::assert_json_snapshot!(json::document(&loaded(FAILED)));
}

#[test]
fn junit_of_each_kind_of_run() {
    let all: Vec<_> = [PASSED, FAILED, KILLED].into_iter().flat_map(loaded).collect();
    insta::assert_snapshot!(junit::document(&all).unwrap());
}

#[test]
fn exit_codes_of_several_runs_are_the_worst() {
    let code = |names: &[&str]| {
        let all: Vec<_> = names.iter().copied().flat_map(loaded).collect();
        json::document(&all)["exit_code"].as_u64().unwrap()
    };
    assert_eq!(code(&[PASSED]), 0);
    assert_eq!(code(&[PASSED, FAILED]), 1);
    assert_eq!(code(&[PASSED, FAILED, KILLED]), 3);
}

#[test]
fn lists_runs_newest_first_and_says_what_each_is() {
    let runs = history::runs(Path::new("tests/data/runs")).unwrap();
    let seen: Vec<_> = runs.iter().map(|run| (run.name.as_str(), run.state.outcome())).collect();
    assert_eq!(
        seen,
        [
            (FAILED, Some(Outcome::Failed)),
            ("20261124-020000-web01", Some(Outcome::Failed)),
            (KILLED, Some(Outcome::Broken)),
            (PASSED, Some(Outcome::Passed)),
            (DAMAGED, Some(Outcome::Broken)),
        ]
    );
    assert!(matches!(runs[2].state, State::Died));
    assert!(matches!(runs[4].state, State::Unreadable { .. }));
    assert_eq!(history::runs(Path::new("tests/data/none")).unwrap(), []);
}

#[test]
fn why_names_place_evidence_and_since_when() {
    let why = history::why(Path::new("tests/data/runs")).unwrap().unwrap();
    assert_eq!(why.since.runs, 2);
    insta::assert_snapshot!(why.text(Style::PLAIN));
}

/// A folder of runs with only these of ours.
fn only(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::copy(run(name).join("journal.jsonl"), dir.path().join(name).join("journal.jsonl")).unwrap();
    }
    dir
}

#[test]
fn why_explains_killed_and_damaged_runs_too() {
    let killed = only(&[KILLED]);
    let why = history::why(killed.path()).unwrap().unwrap();
    assert_eq!(why.place, "The copy starts: copy.wait_ready(3 min), line 13");
    assert!(why.seen[0].contains("killed"), "{why:?}");
    let damaged = only(&[DAMAGED]);
    let why = history::why(damaged.path()).unwrap().unwrap();
    assert!(why.seen[0].contains("cannot be read"), "{why:?}");
    assert_eq!(history::why(only(&[PASSED]).path()).unwrap(), None);
}

#[test]
fn a_live_run_writes_what_its_replay_shows() {
    use drills::journal::{Reader, Sink, Step};
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for moving in [false, true] {
        let out = Shared::default();
        let mut live = text::Live::new(Box::new(out.clone()), Style::PLAIN, moving, Arc::new(|| 0));
        let mut reader = Reader::open(&run(PASSED)).unwrap();
        live.header(reader.header(), &run(PASSED));
        while let Step::Event(event) = reader.next_step().unwrap() {
            live.event(&event);
        }
        drop(live);
        let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        // What a terminal keeps: the moving line is erased before anything else is written.
        let kept: String = written
            .split('\n')
            .map(|line| line.rsplit("\r\x1b[K").next().unwrap())
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(kept, text::replay(&run(PASSED), Style::PLAIN).unwrap());
    }
}
