//! The journal against what can happen to it.

use drills::event::{
    ArtifactName, Event, EventPath, Evidence, FORMAT, Header, HostFacts, How, Kind, Pointer, Proof, Rung,
    Scenario, Severity,
};
use drills::journal::{FILE, JournalError, MAX_LINE, Reader, Recorder, Sink, Step, read, read_header};
use drills::verdict::Outcome;
use proptest::prelude::{Just, any, prop_oneof, proptest};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

fn header() -> Header {
    Header {
        drill_journal: FORMAT,
        run: "20261124-010203-web01".into(),
        started: "2026-11-24T01:02:03Z".parse().unwrap(),
        tool: "drill 0.1.0".into(),
        host: HostFacts { name: "build01".into(), cpus: 2, ..HostFacts::default() },
    }
}

fn pointer() -> Pointer {
    Pointer { artifact: ArtifactName::new("web/console.log").unwrap(), offset: 7, len: u64::MAX }
}

fn evidence(at: Option<Pointer>) -> Evidence {
    Evidence { at, text: "GRUB loading".into() }
}

fn every_kind() -> Vec<Kind> {
    let machine = || "web".to_owned();
    vec![
        Kind::RunStarted {
            scenario: Scenario {
                path: "a.rhai".into(),
                title: "A".into(),
                source: Some(ArtifactName::new("scenario.rhai").unwrap()),
                evidence_level: drills::event::EvidenceLevel::Normal,
            },
            args: BTreeMap::from([("image".into(), "a.vhdx".into())]),
        },
        Kind::StepStarted { title: "The copy starts".into() },
        Kind::ActionStarted { id: 1, verb: "start".into(), args: "copy".into(), line: 12 },
        Kind::Progress { action: 1, what: "w".into(), done: 1, total: None, unit: "bytes".into() },
        Kind::Finding {
            id: "f".into(),
            severity: Severity::Warning,
            text: "t".into(),
            fix: Some("x".into()),
        },
        Kind::PatchPlanned { summary: "s".into(), artifact: Some(pointer()) },
        Kind::MachineStarted {
            machine: machine(),
            boot: 1,
            generation: 1,
            firmware: "SeaBIOS".into(),
            accelerator: "tcg".into(),
            disk_bus: "ide".into(),
        },
        Kind::Rung {
            machine: machine(),
            boot: 1,
            attempt: 1,
            rung: Rung::Loader,
            how: How::Observed,
            at_ms: 9,
            evidence: Some(evidence(Some(pointer()))),
        },
        Kind::Rung {
            machine: machine(),
            boot: 1,
            attempt: 1,
            rung: Rung::Kernel,
            how: How::Implied,
            at_ms: 9,
            evidence: Some(evidence(None)),
        },
        Kind::Reset { machine: machine(), boot: 1, expected: false, reason: "panic".into(), at_ms: 1 },
        Kind::Console { machine: machine(), at: pointer() },
        Kind::Screen { machine: machine(), text: Some("No bootable device.".into()), artifact: None },
        Kind::BootVerdict {
            machine: machine(),
            boot: 1,
            outcome: Outcome::NotPerformed,
            rung: None,
            cause: "nothing was seen".into(),
            evidence: vec![evidence(None), evidence(Some(pointer()))],
            next: Some("add console=ttyS0".into()),
        },
        Kind::Note { text: "n\u{1b}".into() },
        Kind::ActionFinished {
            id: 1,
            outcome: Outcome::Refused,
            detail: "d".into(),
            next: None,
            took_ms: u64::MAX,
        },
        Kind::SourceProof {
            file: "/a.vhdx".into(),
            how: Proof::Full,
            outcome: Outcome::Broken,
            detail: "d".into(),
        },
        Kind::RunFinished {
            outcome: Outcome::Interrupted,
            exit_code: 130,
            proved: vec!["p".into()],
            not_proved: vec!["q".into()],
            took_ms: 3,
        },
        Kind::Unknown(serde_json::json!({"kind": "telepathy", "mood": ["uneasy", 3]})),
    ]
}

#[test]
fn every_event_reads_as_it_was_written() {
    let path = EventPath { plan: Some("p".into()), group: Some("g".into()), ..EventPath::RUN }
        .with_machine("web")
        .with_step(1)
        .with_action(2);
    for (seq, kind) in (0..).zip(every_kind()) {
        for path in [EventPath::RUN, path.clone()] {
            let event = Event { seq, t_ms: 5, path, kind: kind.clone() };
            let line = serde_json::to_string(&event).unwrap();
            let back: Event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(back, event, "{line}");
            assert!(matches!(kind, Kind::Unknown(_)) || !matches!(back.kind, Kind::Unknown(_)), "{line}");
        }
    }
}

#[test]
fn a_pointer_out_of_the_run_folder_never_becomes_a_pointer() {
    let line = r#"{"seq":0,"t_ms":0,"kind":"console","machine":"web","artifact":"../../etc/passwd","offset":0,"len":9}"#;
    let event: Event = serde_json::from_str(line).unwrap();
    assert!(matches!(event.kind, Kind::Unknown(_)), "{event:?}");
    let line = r#"{"seq":0,"t_ms":0,"kind":"rung","machine":"web","boot":1,"attempt":1,"rung":"kernel","how":"observed","at_ms":1,"evidence":{"artifact":"/etc/passwd","offset":0,"len":9,"text":"x"}}"#;
    let event: Event = serde_json::from_str(line).unwrap();
    match event.kind {
        Kind::Unknown(_) => {}
        Kind::Rung { evidence, .. } => assert_eq!(evidence.and_then(|one| one.at), None),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn unknown_kinds_survive(name in "[a-z_]{1,12}x9", n in any::<i64>(), text in any::<String>()) {
        let line = serde_json::json!({"seq": 3, "t_ms": 4, "kind": name, "n": n, "deep": {"text": text}}).to_string();
        let event: Event = serde_json::from_str(&line).unwrap();
        assert!(matches!(event.kind, Kind::Unknown(_)));
        let again: serde_json::Value = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(&line).unwrap());
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        head in prop_oneof![Just(true), Just(false)],
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{')], 0..2000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut all = if head { serde_json::to_vec(&header()).unwrap() } else { Vec::new() };
        all.extend_from_slice(b"\n");
        all.extend_from_slice(&bytes);
        std::fs::write(&path, &all).unwrap();
        let mut seen = 0;
        let result = read(&path, |_| seen += 1);
        assert_eq!(result.is_ok(), head);
        let _ = drills::report::text::replay(&path, drills::report::style::Style::PLAIN);
    }
}

fn steps(path: &Path) -> Vec<Step> {
    let mut all = Vec::new();
    read(path, |step| all.push(step.clone())).unwrap();
    all
}

fn hand_clock() -> (Arc<AtomicU64>, drills::journal::Clock) {
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    (now, Arc::new(move || clock.load(Ordering::SeqCst)))
}

#[test]
fn many_threads_write_one_sequence() {
    struct Seen(Arc<Mutex<Vec<u64>>>);
    impl Sink for Seen {
        fn event(&mut self, event: &Event) {
            self.0.lock().unwrap().push(event.seq);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (_, clock) = hand_clock();
    let recorder =
        Recorder::new(dir.path(), &header(), clock, vec![Box::new(Seen(Arc::clone(&seen)))]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    recorder.emit(&EventPath::RUN, Kind::Note { text: format!("{thread} {n}") });
                }
            });
        }
    });
    assert_eq!(recorder.failure(), None);
    let read: Vec<u64> = steps(dir.path())
        .into_iter()
        .filter_map(|step| match step {
            Step::Event(event) => Some(event.seq),
            Step::Damage { line, why } => panic!("line {line}: {why}"),
            Step::End { torn } => {
                assert!(!torn);
                None
            }
        })
        .collect();
    assert_eq!(read, (0..200).collect::<Vec<_>>());
    assert_eq!(*seen.lock().unwrap(), read);
    let again = Recorder::new(dir.path(), &header(), hand_clock().1, Vec::new());
    assert!(again.is_err(), "a journal is never written over");
}

#[test]
fn progress_that_comes_too_fast_is_dropped_but_never_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let (now, clock) = hand_clock();
    let recorder = Recorder::new(dir.path(), &header(), clock, Vec::new()).unwrap();
    for done in 0..=1000_u64 {
        now.store(done, Ordering::SeqCst);
        let kind = Kind::Progress {
            action: 1,
            what: "writing".into(),
            done,
            total: Some(1000),
            unit: "bytes".into(),
        };
        recorder.emit(&EventPath::RUN, kind);
    }
    let seen: Vec<u64> = steps(dir.path())
        .into_iter()
        .filter_map(|step| match step {
            Step::Event(event) => match event.kind {
                Kind::Progress { done, .. } => Some(done),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(seen, [0, 200, 400, 600, 800, 1000]);
}

#[test]
fn an_over_long_text_is_cut_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::new(dir.path(), &header(), hand_clock().1, Vec::new()).unwrap();
    recorder.emit(&EventPath::RUN, Kind::Note { text: "ä".repeat(MAX_LINE) });
    recorder.emit(&EventPath::RUN, Kind::Note { text: "short".into() });
    assert_eq!(recorder.failure(), None);
    let all = steps(dir.path());
    let Some(Step::Event(first)) = all.first() else { panic!("{all:?}") };
    assert!(matches!(&first.kind, Kind::Note { text } if text.ends_with("bytes more)")));
    assert_eq!(all.len(), 3);
}

#[test]
fn keeps_artifacts_inside_the_folder_and_never_twice() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::new(dir.path(), &header(), hand_clock().1, Vec::new()).unwrap();
    let kept = recorder.keep("a/b.txt", b"text").unwrap();
    assert_eq!(kept.read(dir.path(), 10).unwrap(), b"text");
    assert!(recorder.keep("a/b.txt", b"text").is_err());
    assert!(recorder.keep("../b.txt", b"text").is_err());
}

#[test]
fn follows_a_journal_as_it_grows_and_waits_for_torn_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    assert!(matches!(Reader::open(dir.path()), Err(JournalError::Empty { .. })));
    writeln!(file, "{}", serde_json::to_string(&header()).unwrap()).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.header(), &header());
    assert_eq!(reader.next_step().unwrap(), Step::End { torn: false });
    write!(file, r#"{{"seq":0,"t_ms":1,"kind":"no"#).unwrap();
    assert_eq!(reader.next_step().unwrap(), Step::End { torn: true });
    writeln!(file, r#"te","text":"whole now"}}"#).unwrap();
    let Step::Event(event) = reader.next_step().unwrap() else { panic!("no event") };
    assert_eq!(event.kind, Kind::Note { text: "whole now".into() });
    assert_eq!(reader.next_step().unwrap(), Step::End { torn: false });
}

#[test]
fn damage_is_named_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let note = |seq: u64| format!("{{\"seq\":{seq},\"t_ms\":0,\"kind\":\"note\",\"text\":\"{seq}\"}}\n");
    let long = format!("\"{}\"\n", "x".repeat(MAX_LINE * 2));
    let text = [
        serde_json::to_string(&header()).unwrap() + "\n",
        note(0),
        "garbage\n".into(),
        long,
        note(1),
        note(1),
        note(5),
        note(6),
    ]
    .concat();
    std::fs::write(&path, text).unwrap();
    let seen: Vec<String> = steps(&path)
        .into_iter()
        .map(|step| match step {
            Step::Event(event) => format!("event {}", event.seq),
            Step::Damage { line, why } => {
                format!("line {line}: {}", why.split(" at line").next().unwrap_or_default())
            }
            Step::End { torn } => format!("end, torn {torn}"),
        })
        .collect();
    assert_eq!(
        seen,
        [
            "event 0",
            "line 3: expected value",
            "line 4: longer than 1048576 bytes",
            "event 1",
            "line 6: event 1 again, wanted 2",
            "line 7: events 2 to 4 are missing",
            "event 5",
            "event 6",
            "end, torn false"
        ]
    );
}

#[test]
fn a_newer_format_and_a_foreign_file_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    for (text, want) in [
        ("{\"drill_journal\":2}\n", "has format 2, this drill reads up to 1: use a newer drill"),
        ("{\"drill_journal\":\"x\"}\n", "is not a journal: its first line is not a header"),
        ("#!/bin/sh\n", "is not a journal"),
        ("{\"drill_journal\":1}\n", "missing field `run`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = read_header(&path).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}
