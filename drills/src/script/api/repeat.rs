//! A step that is performed more than once.

use super::{Form, Host, Param, Ty, Verb};
use crate::script::fault::{Ret, done, failure_of, mistake, place};
use crate::script::options::{BadOption, REPEAT, Value};
use crate::script::stage::Policy;
use rhai::{Dynamic, FnPtr, ImmutableString, Map, NativeCallContext};

/// Attempts at most.
const MAX_ATTEMPTS: u32 = 20;

/// The verbs.
pub static VERBS: &[Verb] = &[Verb {
    form: Form::Function,
    name: "repeat",
    params: &[Param::must("title", Ty::Text), Param::must_options(&REPEAT), Param::must("body", Ty::Body)],
    returns: Ty::Nothing,
    proves: false,
    doc: "A step that is performed again until enough attempts passed, or too many failed. Each attempt stays in the journal and in every report, and a step of which some \
          attempts failed is shown as flaky. Only a failure of the drilled system begins another attempt; anything else ends the drill at once. What an attempt started and \
          left running is switched off at its end.",
    example: "repeat(\"It starts, most of the time\", #{ attempts: 3, need: 2 }, || {\n    copy.start().wait_ready(3.minutes).stop();\n});",
    register: |e, h| {
        let host = h.clone();
        e.register_fn(
            "repeat",
            move |c: NativeCallContext<'_>, title: ImmutableString, options: Map, body: FnPtr| {
                repeat(&c, &host, &title, &options, &body)
            },
        );
    },
}];

fn repeat(c: &NativeCallContext<'_>, host: &Host, title: &str, options: &Map, body: &FnPtr) -> Ret<()> {
    let policy = match policy_of(options) {
        Ok(policy) => policy,
        Err(bad) => return mistake(c, bad.message, bad.help),
    };
    done(c, host.stage.begin_repeat(title, place(c)))?;
    let (mut passed, mut failed) = (0u32, 0u32);
    for attempt in 1..=policy.attempts {
        host.stage.begin_attempt(&policy, attempt);
        match body.call_within_context::<Dynamic>(c, ()) {
            Ok(_) => {
                passed = passed.saturating_add(1);
                host.stage.end_attempt(attempt, None);
            }
            Err(error) => {
                let Some(failure) = failure_of(&error) else { return Err(error) };
                failed = failed.saturating_add(1);
                host.stage.end_attempt(attempt, Some(&failure));
            }
        }
        if policy.is_decided(passed, failed) {
            break;
        }
    }
    done(c, host.stage.end_repeat(title, &policy, passed, failed))
}

/// The policy that these options say.
///
/// # Errors
/// When they are unknown, of the wrong kind, or say half of something.
pub fn policy_of(options: &Map) -> Result<Policy, BadOption> {
    let bad = |message: String, help: &str| BadOption { message, help: help.to_owned() };
    let (mut attempts, mut need, mut reason, mut until) = (None, None, None, None);
    for (key, value) in REPEAT.read(options)? {
        match (key, value) {
            ("attempts", Value::Number(n)) => attempts = Some(n),
            ("need", Value::Number(n)) => need = Some(n),
            ("quarantine", Value::Text(text)) => reason = Some(text),
            ("ends", Value::Text(text)) => until = Some(text),
            _ => {}
        }
    }
    let (attempts, need) = match (attempts, need) {
        (None, None) => (1, 1),
        (Some(attempts), Some(need)) => (attempts, need),
        _ => return Err(bad("attempts and need go together".into(), "attempts: 3, need: 2")),
    };
    let counts = u32::try_from(attempts).ok().zip(u32::try_from(need).ok());
    let counts = counts
        .filter(|(attempts, need)| (1..=MAX_ATTEMPTS).contains(attempts) && (1..=*attempts).contains(need));
    let Some((attempts, need)) = counts else {
        return Err(BadOption {
            message: format!("{need} of {attempts} attempts are no policy"),
            help: format!("attempts is 1 to {MAX_ATTEMPTS}, need 1 to attempts"),
        });
    };
    let quarantine = match (reason, until) {
        (None, None) => None,
        (Some(reason), Some(until)) if !reason.trim().is_empty() => match until.parse() {
            Ok(day) => Some((reason, day)),
            Err(_) => {
                return Err(bad(
                    format!("ends is {until:?}, which is no day"),
                    "year, month, day: ends: \"2026-12-31\"",
                ));
            }
        },
        _ => {
            return Err(bad(
                "a quarantine has a reason and an end".into(),
                "quarantine: \"ticket 4711: the mirror is rebuilt\", ends: \"2026-12-31\"",
            ));
        }
    };
    Ok(Policy { attempts, need, quarantine })
}
