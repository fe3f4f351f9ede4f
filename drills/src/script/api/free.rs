//! Functions: what a scenario starts from.

use super::number::{bytes, bytes_of, seconds_of, span};
use super::values::{Bytes, Machine, Secret, Span};
use super::{Form, Host, Param, Ty, Verb};
use crate::script::fault::{Ret, done, mistake, place};
use crate::script::header;
use crate::script::stage::{Image, VerbError, VerbOutcome};
use rhai::{Dynamic, INT, ImmutableString, Map, NativeCallContext};
use std::path::PathBuf;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Function,
        name: "drill",
        params: &[Param::must("title", Ty::Text), Param::options(&crate::script::options::HEADER)],
        returns: Ty::Nothing,
        proves: false,
        doc: "Names the drill. Literals only: dashboards read it without running the scenario. It is the first line of a scenario.",
        example: "drill(\"web01: test failover\", #{ every: 30.days, rto: 15.minutes, owner: \"platform\" });",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("drill", move |c: NativeCallContext<'_>, title: ImmutableString| {
                drill(&c, &host, &title, &Map::new())
            });
            let host = h.clone();
            e.register_fn("drill", move |c: NativeCallContext<'_>, title: ImmutableString, o: Map| {
                drill(&c, &host, &title, &o)
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "step",
        params: &[Param::must("title", Ty::Text)],
        returns: Ty::Nothing,
        proves: false,
        doc: "Starts a step: a heading up to the next one. Each call below it is an action of that step.",
        example: "step(\"The copy starts\");",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("step", move |c: NativeCallContext<'_>, title: ImmutableString| {
                done(&c, host.stage.step(&title, place(&c)))
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "arg",
        params: &[Param::must("name", Ty::Text), Param::must("default", Ty::Any)],
        returns: Ty::Any,
        proves: false,
        doc: "The value of `--set name=value`, or the default. The value is read as what the default is: text, an image, a number, a bool, \
              a duration (`90s`, `3m`, `2h`, `30d`) or a size (`512mib`, `4gib`).",
        example: "let web = machine(arg(\"image\", fixture(\"tiny-gen2\")));",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("arg", move |c: NativeCallContext<'_>, name: ImmutableString, default: Dynamic| {
                arg(&c, &host, &name, default)
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "secret",
        params: &[Param::must("name", Ty::Text)],
        returns: Ty::Secret,
        proves: false,
        doc: "A secret by its name: the environment variable `DRILL_SECRET_name`, or the file that `DRILL_SECRET_name_FILE` names (without the newline at its end). It is at \
              least 4 characters long. It can be joined with text, and handed to `run`, `send` and `type_text`. Every secret that is given to drill, used or not, is \
              replaced by its name before anything is written: journal, consoles, screens, messages, reports. Of a screen that shows one, or that cannot be read whole, no \
              picture is kept.",
        example: "vm.send(secret(\"ROOT_PASSWORD\") + \"\\n\");",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("secret", move |c: NativeCallContext<'_>, name: ImmutableString| {
                match host.stage.secret(&name) {
                    Some(words) => Ok(Secret(words)),
                    None => mistake(&c, format!("no secret named {name} was given"), give_secret(&name)),
                }
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "redact",
        params: &[Param::must("pattern", Ty::Text)],
        returns: Ty::Nothing,
        proves: false,
        doc: "From here on what this [regular expression](https://docs.rs/regex/latest/regex/#syntax) matches within one line is replaced by `[redacted]` before anything is \
              written. It stands at the top: what was written earlier stays. Patterns of a whole project stand in the file `.drill/redact` of the folder that drill is started \
              in, one a line. With any pattern a console's log is written line by line.",
        example: "redact(`session=[0-9a-f]{32}`);",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("redact", move |c: NativeCallContext<'_>, pattern: ImmutableString| -> Ret<()> {
                match host.stage.redact(&pattern) {
                    Ok(()) => Ok(()),
                    Err(why) => mistake(
                        &c,
                        format!("{pattern:?} is not a pattern to redact by: {why}"),
                        "it is a regular expression that matches one character at least: redact(`token=\\S+`)",
                    ),
                }
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "fixture",
        params: &[Param::must("name", Ty::Text)],
        returns: Ty::Image,
        proves: false,
        doc: "A sample disk by its name; `drill fixture list` names them. It is made when a machine is first made from it.",
        example: "let web = machine(fixture(\"tiny-gen2\"));",
        register: |e, _| {
            e.register_fn("fixture", |name: ImmutableString| Image::Fixture(name.to_string()));
        },
    },
    Verb {
        form: Form::Function,
        name: "machine",
        params: &[Param::must("image", Ty::Image)],
        returns: Ty::Machine,
        proves: false,
        doc: "A machine from a disk image: a path, or a fixture. The image is opened read-only once and inspected; nothing ever writes to it.",
        example: "let web = machine(\"web01.vhdx\");",
        register: |e, h| {
            let host = h.clone();
            e.register_fn("machine", move |c: NativeCallContext<'_>, image: Image| {
                machine(&c, &host, &image)
            });
            let host = h.clone();
            e.register_fn("machine", move |c: NativeCallContext<'_>, path: ImmutableString| {
                machine(&c, &host, &Image::Path(PathBuf::from(path.as_str())))
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "fail",
        params: &[Param::must("reason", Ty::Text)],
        returns: Ty::Nothing,
        proves: true,
        doc: "Fails the drill now, with this reason: what the scenario saw is not what it must be.",
        example: "if !vm.check_text(\"nginx: started\") { fail(\"nginx did not start\"); }",
        register: |e, _| {
            e.register_fn("fail", |c: NativeCallContext<'_>, why: ImmutableString| -> Ret<()> {
                done(&c, Err(VerbError::new(VerbOutcome::Failed, why)))
            });
        },
    },
    Verb {
        form: Form::Function,
        name: "skip",
        params: &[Param::must("reason", Ty::Text)],
        returns: Ty::Nothing,
        proves: false,
        doc: "Ends the drill as not performed, with this reason. That is never a pass.",
        example: "skip(\"the licence server is not part of this drill\");",
        register: |e, _| {
            e.register_fn("skip", |c: NativeCallContext<'_>, why: ImmutableString| -> Ret<()> {
                done(&c, Err(VerbError::new(VerbOutcome::NotPerformed, why)))
            });
        },
    },
];

/// How a secret is given.
pub fn give_secret(name: &str) -> String {
    format!("set DRILL_SECRET_{name}, or DRILL_SECRET_{name}_FILE to a file that holds it")
}

fn drill(c: &NativeCallContext<'_>, host: &Host, title: &str, options: &Map) -> Ret<()> {
    match header::from_map(title, options) {
        Ok(header) => done(c, host.stage.drill(&header, place(c))),
        Err(bad) => mistake(c, bad.message, bad.help),
    }
}

fn machine(c: &NativeCallContext<'_>, host: &Host, image: &Image) -> Ret<Machine> {
    let id = done(c, host.stage.machine(image, place(c)))?;
    Ok(Machine { stage: host.stage.clone(), id })
}

fn arg(c: &NativeCallContext<'_>, host: &Host, name: &str, default: Dynamic) -> Ret<Dynamic> {
    let Some(given) = host.set.get(name) else { return Ok(default) };
    let (value, wanted) = if default.is_string() {
        (Some(Dynamic::from(given.clone())), "text")
    } else if default.is::<Image>() {
        (Some(Dynamic::from(Image::Path(PathBuf::from(given)))), "a path")
    } else if default.is_int() {
        (given.parse::<INT>().ok().map(Dynamic::from), "a whole number")
    } else if default.is_bool() {
        (given.parse::<bool>().ok().map(Dynamic::from), "true or false")
    } else if default.is::<Span>() {
        (parse_span(given).map(Dynamic::from), "a duration: 90s, 3m, 2h, 30d")
    } else if default.is::<Bytes>() {
        (parse_bytes(given).map(Dynamic::from), "a size: 512mib, 4gib")
    } else {
        return mistake(
            c,
            format!("the default of arg(\"{name}\", …) is of a kind that --set cannot give"),
            "defaults are text, an image, a number, a bool, a duration or a size",
        );
    };
    match value {
        Some(v) => Ok(v),
        None => mistake(c, format!("--set {name}={given} does not fit"), format!("{name} wants {wanted}")),
    }
}

fn parse_span(text: &str) -> Option<Span> {
    let at = text.find(|ch: char| !ch.is_ascii_digit())?;
    let (n, unit) = text.split_at(at);
    let unit = match unit.trim_start_matches('.') {
        "s" => "seconds",
        "m" => "minutes",
        "h" => "hours",
        "d" => "days",
        other => other,
    };
    span(n.parse().ok()?, seconds_of(unit)?)
}

fn parse_bytes(text: &str) -> Option<Bytes> {
    let at = text.find(|ch: char| !ch.is_ascii_digit())?;
    let (n, unit) = text.split_at(at);
    bytes(n.parse().ok()?, bytes_of(&unit.trim_start_matches('.').to_ascii_lowercase())?)
}
