//! Repeated steps with real boots: flaky is said and never averaged away, and a quarantine has an end.

mod common;

use common::{expect, last_run, text, tiny};
use serde_json::Value;
use std::path::Path;

/// Boots these copies one after another, an attempt each: `bad` has no kernel.
fn scenario(options: &str, order: &str) -> String {
    // A boot that fails is waited for to the end: where none is good, that is soon.
    let within = if order == "bad" { "20.seconds" } else { "2.minutes" };
    format!(
        "drill(\"repeat\");\nlet web = machine(arg(\"image\", \"x\"));\nlet good = web.test_failover();\n\
         let bad = good.plant(\"kernel-missing\");\nlet order = [{order}];\nlet n = 0;\n\
         repeat(\"It starts\", {options}, || {{\n    n += 1;\n    order[n - 1].start().wait_ready({within}).stop();\n}});\n\
         web.cleanup();\n"
    )
}

/// Runs it; gives what was printed, and the step in the JSON and in the JUnit report.
#[track_caller]
fn run(dir: &Path, scenario: &str, exit: i32) -> (String, Value, String) {
    std::fs::write(dir.join("r.rhai"), scenario).unwrap();
    let set = format!("image={}", text(tiny()));
    let (out, _) = expect(dir, &["run", "r.rhai", "--set", &set], exit);
    let run = last_run(dir);
    let report: Value = serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
    let steps = report["runs"][0]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["title"] == "It starts").expect("the step").clone();
    (out, step, std::fs::read_to_string(run.join("junit.xml")).unwrap())
}

#[test]
fn two_of_three_pass_and_the_one_that_failed_stays_in_every_report() {
    let dir = tempfile::tempdir().unwrap();
    let (out, step, junit) = run(dir.path(), &scenario("#{ attempts: 3, need: 2 }", "good, bad, good"), 0);
    assert!(out.contains("FLAKY, 2 of 3 attempts passed, wanted 2 of 3"), "{out}");
    assert!(out.contains("that “It starts” holds every time: it is flaky"), "{out}");
    assert_eq!((&step["outcome"], &step["flaky"]), (&Value::from("passed"), &Value::from(true)), "{step:#}");
    let outcomes: Vec<&Value> =
        step["attempts"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["passed", "failed", "passed"], "{step:#}");
    assert!(step["attempts"][1]["detail"].as_str().unwrap().contains("not found"), "{step:#}");
    assert!(junit.contains("<flakyFailure") && junit.contains("failures=\"0\""), "{junit}");
}

#[test]
fn the_twin_that_fails_twice_fails_and_its_third_attempt_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let (out, step, junit) = run(dir.path(), &scenario("#{ attempts: 3, need: 2 }", "bad, bad, good"), 1);
    assert!(out.contains("0 of 2 attempts passed, wanted 2 of 3"), "{out}");
    assert_eq!((&step["outcome"], &step["flaky"]), (&Value::from("failed"), &Value::from(false)), "{step:#}");
    assert!(junit.contains("<rerunFailure") && junit.contains("failures=\"1\""), "{junit}");
}

#[test]
fn a_failure_in_quarantine_is_not_performed_until_its_last_day_and_then_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let options = |until: &str| format!("#{{ quarantine: \"ticket 4711\", ends: \"{until}\" }}");
    let (out, step, junit) = run(dir.path(), &scenario(&options("9999-12-31"), "bad"), 4);
    assert!(out.contains("in quarantine until 9999-12-31: ticket 4711"), "{out}");
    assert_eq!(step["outcome"], "not_performed", "{step:#}");
    assert!(junit.contains("skipped=\"1\"") && junit.contains("until 9999-12-31: ticket 4711"), "{junit}");
    let (out, step, _) = run(dir.path(), &scenario(&options("2001-01-01"), "bad"), 1);
    assert!(out.contains("its quarantine ended on 2001-01-01: ticket 4711"), "{out}");
    assert_eq!(step["outcome"], "failed", "{step:#}");
}

#[test]
fn half_a_policy_is_found_before_anything_boots() {
    let dir = tempfile::tempdir().unwrap();
    for (options, said) in [
        ("#{ attempts: 3 }", "attempts and need go together"),
        ("#{ attempts: 2, need: 3 }", "3 of 2 attempts are no policy"),
        ("#{ quarantine: \"because\" }", "a quarantine has a reason and an end"),
        ("#{ quarantine: \"because\", ends: \"soon\" }", "which is no day"),
        ("#{ retries: 3 }", "repeat has no option retries"),
    ] {
        std::fs::write(dir.path().join("r.rhai"), scenario(options, "good")).unwrap();
        let (_, err) = expect(dir.path(), &["run", "r.rhai"], 2);
        assert!(err.contains(said), "{options}: {err}");
    }
}
