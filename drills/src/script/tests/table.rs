//! The table of verbs against what is really registered, what the checker thinks of its examples, and the written reference.

use super::rehearsal::Rehearsal;
use crate::script::api::{Form, Host, register, verbs};
use crate::script::{End, Given, Source, check, docs, engine, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn registered(with_verbs: bool) -> BTreeSet<(String, usize)> {
    let mut e = engine::bare();
    if with_verbs {
        register(&mut e, &Host { stage: Arc::new(Rehearsal::default()), set: Arc::default() });
    }
    e.collect_fn_metadata(None, |f| Some((f.metadata.name.to_string(), f.metadata.num_params)), true)
        .into_iter()
        .collect()
}

#[test]
fn the_table_says_what_is_registered_and_nothing_else() {
    let bare = registered(false);
    let real: BTreeSet<_> = registered(true).difference(&bare).cloned().collect();
    let mut told = BTreeSet::new();
    for verb in verbs() {
        let (least, most) = verb.arity();
        match verb.form {
            Form::Property(_) => {
                told.insert((format!("get${}", verb.name), 1));
            }
            Form::Function => told.extend((least..=most).map(|n| (verb.name.to_owned(), n))),
            Form::Method(_) => told.extend((least..=most).map(|n| (verb.name.to_owned(), n + 1))),
        }
    }
    told.retain(|f| !bare.contains(f));
    assert_eq!(real, told);
}

#[test]
fn every_example_is_checked_and_runs() {
    for verb in verbs() {
        let header =
            if verb.name == "drill" || verb.example.starts_with("drill(") { "" } else { "drill(\"t\");\n" };
        let text = format!(
            "{header}{}let copy = machine(\"a\").test_failover();\nlet home = copy.failback();\nlet broken = copy.plant(\"kernel-missing\");\n\
             let vm = copy.start();\nvm.wait_ready(1.minutes);\n{}\n",
            if verb.example.starts_with("let web") { "" } else { "let web = machine(\"a\");\n" },
            verb.example
        );
        let source = Source::new(verb.name, text);
        let checked = check(&source, Given::default());
        assert!(checked.diagnostics.is_empty(), "{}", checked.diagnostics[0].render(&source));
        let end = run(&source, &BTreeMap::new(), Arc::new(Rehearsal::default()));
        match verb.name {
            "fail" | "skip" => assert!(matches!(end, End::Verb { .. }), "{end:?}"),
            _ => assert_eq!(end, End::Completed, "{}", end.render(&source).unwrap_or_default()),
        }
    }
}

#[test]
fn the_reference_under_docs_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario-reference.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, docs::reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == docs::reference(),
        "docs/scenario-reference.md is not what the verbs say; regenerate it: UPDATE_DOCS=1 cargo test -p drills reference"
    );
}
