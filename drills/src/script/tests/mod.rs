//! The host against a stage that writes down what it was asked.

mod rehearsal;
mod table;

use super::stage::{VerbError, VerbOutcome};
use super::{End, Source, read_header, run, stock};
use rehearsal::Rehearsal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn play(text: &str) -> (End, Vec<String>) {
    let stage = Arc::new(Rehearsal::default());
    let end = run(&Source::new("test.rhai", text), &BTreeMap::new(), stage.clone());
    (end, stage.calls())
}

#[track_caller]
fn shows(body: &str, snapshot: &str) {
    let source = Source::new("test.rhai", format!("drill(\"t\");\nlet web = machine(\"a.vhdx\");\n{body}"));
    let end = run(&source, &BTreeMap::new(), Arc::new(Rehearsal::default()));
    assert_eq!(end.render(&source).unwrap_or_default().trim_end(), snapshot.trim_matches('\n').trim_end());
}

#[test]
fn the_stock_drill_acts_in_order() {
    let stage = Arc::new(Rehearsal::default());
    let end = run(&stock::source("failover").unwrap(), &BTreeMap::new(), stage.clone());
    assert_eq!(end, End::Completed);
    insta::assert_snapshot!(stage.calls().join("\n"));
}

#[test]
fn the_control_acts_in_order() {
    let stage = Arc::new(Rehearsal::default());
    let end =
        run(&stock::source("kernel-missing").unwrap(), &set(&[("image", "/srv/web01.vhdx")]), stage.clone());
    assert_eq!(end, End::Completed);
    insta::assert_snapshot!(stage.calls().join("\n"));
}

#[test]
fn a_header_is_read_without_running() {
    let header = read_header(&stock::source("failover").unwrap()).unwrap();
    assert_eq!(header.title, "web01: test failover");
    assert_eq!(header.every, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(header.rto, Some(Duration::from_secs(900)));
    assert_eq!(header.owner.as_deref(), Some("platform"));
    assert!(read_header(&Source::new("x", "let t = \"a\"; drill(t);")).is_err());
    assert!(read_header(&Source::new("x", "drill(\"a\", #{ owner: 3 });")).is_err());
    assert!(read_header(&Source::new("x", "print(\"no drill\");")).is_err());
}

#[test]
fn a_verb_that_fails_ends_the_drill_and_cannot_be_caught() {
    let stage = Arc::new(Rehearsal::failing("wait_ready", VerbOutcome::Failed));
    let text = "drill(\"t\");\nlet web = machine(\"a.vhdx\");\ntry { web.start().wait_ready(1.seconds); } catch { print(\"hidden\"); }\nweb.cleanup();";
    let end = run(&Source::new("t", text), &BTreeMap::new(), stage.clone());
    let End::Verb { error, pos } = end else { panic!("{end:?}") };
    assert_eq!(
        error,
        VerbError::new(VerbOutcome::Failed, "wait_ready was told to fail").with_next("look at it")
    );
    assert_eq!(pos.unwrap().line, 3);
    assert!(
        !stage.calls().iter().any(|c| c.contains("cleanup") || c.contains("hidden")),
        "{:?}",
        stage.calls()
    );
}

#[test]
fn a_throw_is_a_failure_with_its_own_words() {
    let (end, _) = play("drill(\"t\");\nfn look() { throw \"the page is empty\"; }\nlook();");
    let End::Verb { error, pos } = end else { panic!("{end:?}") };
    assert_eq!((error.outcome, error.message.as_str()), (VerbOutcome::Failed, "the page is empty"));
    assert_eq!(pos.unwrap().line, 2);
}

#[test]
fn a_cancelled_run_ends_a_script_that_only_computes() {
    let stage = Arc::new(Rehearsal::default());
    stage.cancel_after_calls(2);
    let began = Instant::now();
    let end = run(&Source::new("t", "drill(\"t\"); step(\"s\"); loop {}"), &BTreeMap::new(), stage);
    assert!(matches!(end, End::Interrupted { .. }), "{end:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_verb_that_was_interrupted_is_an_interruption() {
    let stage = Arc::new(Rehearsal::failing("start", VerbOutcome::Interrupted));
    let end = run(&stock::source("failover").unwrap(), &BTreeMap::new(), stage);
    assert!(matches!(end, End::Interrupted { pos: Some(p) } if p.line == 6), "{end:?}");
}

#[test]
fn limits_end_a_scenario_with_an_error() {
    for text in [
        "loop {}",
        "fn f(n) { f(n + 1) } f(0);",
        "let s = \"x\"; loop { s += s; }",
        "let a = []; loop { a.push(1); }",
        "let a = []; a.pad(100000000, 0);",
        &format!("let x = {}1{};", "(".repeat(500), ")".repeat(500)),
        &format!("let x = {};", "[".repeat(100_000)),
        "eval(\"1\");",
        "import \"x\" as y;",
        "sleep(10);",
        "exit();",
        &"fn".repeat(200_000),
    ] {
        let (end, _) = play(&format!("drill(\"t\");\n{text}"));
        assert!(matches!(end, End::Script(_)), "{}: {end:?}", &text[..text.len().min(40)]);
    }
}

#[test]
fn set_values_become_what_the_default_is() {
    let text = "drill(\"t\"); print(`${arg(\"n\", 1) + 1} ${arg(\"b\", false)} ${arg(\"s\", \"x\")}`); \
                machine(arg(\"i\", \"a\")).start(#{ memory: arg(\"m\", 1.gib) }).wait_ready(arg(\"d\", 1.seconds));";
    let stage = Arc::new(Rehearsal::default());
    let given =
        set(&[("n", "41"), ("b", "true"), ("s", "hello"), ("i", "b.raw"), ("m", "512mib"), ("d", "3m")]);
    assert_eq!(run(&Source::new("t", text), &given, stage.clone()), End::Completed);
    insta::assert_snapshot!(stage.calls().join("\n"));
    let end = run(&Source::new("t", text), &set(&[("n", "many")]), Arc::new(Rehearsal::default()));
    let End::Script(d) = end else { panic!("{end:?}") };
    assert_eq!(
        (d.message.as_str(), d.help.as_deref()),
        ("--set n=many does not fit", Some("n wants a whole number"))
    );
}

#[test]
fn mistakes_point_into_the_source() {
    shows(
        "web.start(#{ secureboot: true });",
        r#"
error: start has no option secureboot
 --> test.rhai:3:5
  |
3 | web.start(#{ secureboot: true });
  |     ^^^^^
  |
  = help: did you mean secure_boot? It knows: nvram, secure_boot, tpm, memory, cpus, resets, writes, marker
"#,
    );
    shows(
        "web.start().wait_ready(3);",
        r#"
error: wait_ready does not take (Vm, Number)
 --> test.rhai:3:13
  |
3 | web.start().wait_ready(3);
  |             ^^^^^^^^^^
  |
  = help: it is vm.wait_ready(within: Duration) -> Vm; a duration has a unit: 90.seconds, 3.minutes
"#,
    );
    shows(
        "web.strat();",
        r#"
error: there is no strat(Machine)
 --> test.rhai:3:5
  |
3 | web.strat();
  |     ^^^^^
  |
  = help: did you mean start?
"#,
    );
    shows(
        "web.test_failover(#{ profile: \"azure\" });",
        r#"
error: option profile of test_failover is "azure"
 --> test.rhai:3:5
  |
3 | web.test_failover(#{ profile: "azure" });
  |     ^^^^^^^^^^^^^
  |
  = help: it wants "asr-2015" or "asr-hyperv-2020" or "asr-vmware-2019" or "azure-gen1" or "lab"
"#,
    );
    shows(
        "wbe.start();",
        r#"
error: nothing is called wbe
 --> test.rhai:3:1
  |
3 | wbe.start();
  | ^^^
  |
  = help: did you mean web?
"#,
    );
}
