//! Units: `90.seconds`, `4.gib`; and the parts of a command's answer.

use super::values::{Bytes, Span};
use super::{Form, Ty, Verb};
use crate::script::fault::{Ret, mistake};
use crate::script::stage::RunOutput;
use rhai::{INT, NativeCallContext};
use std::time::Duration;

/// `n` of a unit of `seconds`; `None` when negative or longer than a duration can be.
pub fn span(n: INT, seconds: u64) -> Option<Span> {
    u64::try_from(n).ok()?.checked_mul(seconds).map(|s| Span(Duration::from_secs(s)))
}

/// `n` of a unit of `unit` bytes; `None` when negative or beyond 2^64.
pub fn bytes(n: INT, unit: u64) -> Option<Bytes> {
    u64::try_from(n).ok()?.checked_mul(unit).map(Bytes)
}

/// Seconds of a unit of time by its name in a scenario.
pub fn seconds_of(unit: &str) -> Option<u64> {
    match unit {
        "seconds" => Some(1),
        "minutes" => Some(60),
        "hours" => Some(3_600),
        "days" => Some(86_400),
        _ => None,
    }
}

/// Bytes of a unit of size by its name in a scenario.
pub fn bytes_of(unit: &str) -> Option<u64> {
    match unit {
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    }
}

fn checked<T>(c: &NativeCallContext<'_>, n: INT, unit: &str, value: Option<T>) -> Ret<T> {
    match value {
        Some(v) => Ok(v),
        None => mistake(
            c,
            format!("{n}.{unit} is out of range"),
            "durations and sizes start at 0 and fit 64 bits",
        ),
    }
}

macro_rules! unit {
    ($make:ident, $of:ident, $name:literal, $ty:expr, $doc:literal, $example:literal) => {
        Verb {
            form: Form::Property(Ty::Number),
            name: $name,
            params: &[],
            returns: $ty,
            proves: false,
            doc: $doc,
            example: $example,
            register: |e, _| {
                e.register_get($name, |c: NativeCallContext<'_>, n: &mut INT| {
                    checked(&c, *n, $name, $of($name).and_then(|u| $make(*n, u)))
                });
            },
        }
    };
}

/// The verbs.
pub static VERBS: &[Verb] = &[
    unit!(span, seconds_of, "seconds", Ty::Duration, "That many seconds.", "vm.wait_ready(90.seconds);"),
    unit!(span, seconds_of, "minutes", Ty::Duration, "That many minutes.", "vm.wait_ready(3.minutes);"),
    unit!(
        span,
        seconds_of,
        "hours",
        Ty::Duration,
        "That many hours.",
        "drill(\"web01\", #{ rto: 4.hours });"
    ),
    unit!(
        span,
        seconds_of,
        "days",
        Ty::Duration,
        "That many days.",
        "drill(\"web01\", #{ every: 30.days });"
    ),
    unit!(
        bytes,
        bytes_of,
        "mib",
        Ty::Bytes,
        "That many MiB (2^20 bytes).",
        "web.start(#{ memory: 512.mib });"
    ),
    unit!(bytes, bytes_of, "gib", Ty::Bytes, "That many GiB (2^30 bytes).", "web.start(#{ memory: 4.gib });"),
    Verb {
        form: Form::Property(Ty::Output),
        name: "exit",
        params: &[],
        returns: Ty::Number,
        proves: false,
        doc: "The command's exit code.",
        example: "let code = vm.run(\"true\").exit;",
        register: |e, _| {
            e.register_get("exit", |o: &mut RunOutput| o.exit);
        },
    },
    Verb {
        form: Form::Property(Ty::Output),
        name: "output",
        params: &[],
        returns: Ty::Text,
        proves: false,
        doc: "What the command printed, standard output and error together.",
        example: "print(vm.run(\"uname -r\").output);",
        register: |e, _| {
            e.register_get("output", |o: &mut RunOutput| o.output.clone());
        },
    },
];
