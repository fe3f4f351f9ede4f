//! The reference of the scenario language, written from the table of verbs that also registers them.

use super::api::{Form, Ty, Verb, verbs};
use super::engine;
use std::fmt::Write;

/// `docs/scenario-reference.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Scenario reference\n\n\
         <!-- Written from the table of verbs in drills/src/script/api. Regenerate: UPDATE_DOCS=1 cargo test -p drills reference -->\n\n\
         A scenario is a runbook that runs: a text in [Rhai](https://rhai.rs/book/) with the verbs below. `drill check` looks at it without \
         running it; `drill run` runs it. Read the shipped ones first: `drills/scenarios/`.\n\n\
         ## Contracts\n\n\
         - Plain verbs act. `wait_…` fails the drill at its deadline, `assert_…` fails it now, only `check_…` gives a Bool, and dropping that \
         Bool is an error.\n\
         - A failure of a verb ends the drill; `try` does not catch it. A `throw \"…\"` that nothing catches fails the drill with its words.\n\
         - A drill without a wait, an assertion or an expectation proves nothing and is incomplete.\n\
         - Verbs give back what they were called on, so that calls chain: `web.start().wait_ready(3.minutes).stop();`\n\
         - Durations and sizes carry their unit: `90.seconds`, `4.gib`. A bare number is neither.\n\
         - A scenario reads no files, no clock, no network, no environment and no other scenario.\n\n",
    );
    limits(&mut out);
    for (title, intro, belongs) in groups() {
        let _ = write!(out, "## {title}\n\n{intro}\n\n");
        for verb in verbs().filter(|v| belongs(v)) {
            entry(&mut out, verb);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

type Group = (&'static str, &'static str, fn(&Verb) -> bool);

fn groups() -> [Group; 6] {
    [
        ("Functions", "What a scenario starts from.", |v| v.form == Form::Function),
        ("Machine", "What `machine`, `test_failover`, `failback` and `plant` give.", |v| {
            v.form == Form::Method(Ty::Machine)
        }),
        ("Plan", "A way home that was planned and not gone: what `plan_failback` gives.", |v| {
            v.form == Form::Method(Ty::Plan)
        }),
        ("Vm", "A started machine: what `start` gives.", |v| v.form == Form::Method(Ty::Vm)),
        ("Output", "What a command in the guest answered: what `run` gives.", |v| {
            v.form == Form::Property(Ty::Output)
        }),
        ("Units", "Whole numbers with a unit.", |v| v.form == Form::Property(Ty::Number)),
    ]
}

fn limits(out: &mut String) {
    let _ = write!(
        out,
        "## Limits\n\n\
         | What | At most |\n| --- | --- |\n\
         | text of a scenario | {} KiB |\n| operations | {} |\n| calls inside calls | {} |\n| depth of an expression | {} ({} in a function) |\n\
         | a text value | {} KiB |\n| elements of an array | {} |\n| entries of a map | {} |\n| variables at once | {} |\n| functions | {} |\n\n",
        engine::MAX_SOURCE_BYTES >> 10,
        engine::MAX_OPERATIONS,
        engine::MAX_CALL_LEVELS,
        engine::MAX_EXPR_DEPTH,
        engine::MAX_FUNCTION_EXPR_DEPTH,
        engine::MAX_STRING_BYTES >> 10,
        engine::MAX_ARRAY_LEN,
        engine::MAX_MAP_LEN,
        engine::MAX_VARIABLES,
        engine::MAX_FUNCTIONS,
    );
}

fn entry(out: &mut String, verb: &Verb) {
    let _ = write!(out, "### {}\n\n`{}`\n\n{}\n\n", verb.name, verb.signature(), verb.doc);
    for set in verb.params.iter().filter_map(|p| p.options) {
        out.push_str("| Option | Value | Meaning |\n| --- | --- | --- |\n");
        for opt in set.opts {
            let _ = writeln!(out, "| `{}` | {} | {} |", opt.name, opt.kind.wants(), opt.doc);
        }
        out.push('\n');
    }
    let _ = write!(out, "```rhai\n{}\n```\n\n", verb.example);
}
