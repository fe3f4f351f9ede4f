//! Steps that are repeated: what each attempt ended in stays as it was, and the step has a verdict of its own.

use super::Run;
use super::actions::lock;
use crate::event::{Kind, Quarantine, Repeated};
use crate::script::stage::{Done, Policy};
use crate::script::{VerbError, VerbOutcome};
use crate::verdict::Outcome;
use jiff::tz::TimeZone;

/// Where a repeated step began: what came before is not its own.
#[derive(Default)]
pub(crate) struct Repeating {
    outcomes: usize,
    boots: usize,
}

impl Run {
    pub(crate) fn repeat_begins(&self) {
        let outcomes = lock(&self.tally).outcomes.len();
        lock(&self.repeating).outcomes = outcomes;
    }

    pub(crate) fn attempt_begins(&self, policy: &Policy, attempt: u32) {
        let boots = lock(&self.machines).boots.len();
        lock(&self.repeating).boots = boots;
        let kind = Kind::AttemptStarted { attempt, of: policy.attempts, need: policy.need };
        self.recorder.emit(&self.step_path(), kind);
    }

    pub(crate) fn attempt_ends(&self, attempt: u32, failure: Option<&VerbError>) {
        let from = lock(&self.repeating).boots;
        let left: Vec<_> = lock(&self.machines).boots.iter().skip(from).cloned().collect();
        for boot in left.iter().filter(|boot| boot.running()) {
            boot.kill();
        }
        let outcome = if failure.is_some() { Outcome::Failed } else { Outcome::Passed };
        let detail = failure.map_or_else(String::new, |e| e.message.clone());
        self.recorder.emit(&self.step_path(), Kind::AttemptFinished { attempt, outcome, detail });
    }

    /// The step's own outcome takes the place of its failed attempts'. Nothing else an action ended in is touched.
    pub(crate) fn repeat_ends(&self, title: &str, policy: &Policy, passed: u32, failed: u32) -> Done {
        let today = TimeZone::UTC.to_datetime((self.lab.now)()).date();
        let quarantine = policy.quarantine.as_ref().map(|(reason, until)| Quarantine {
            reason: reason.clone(),
            until: until.to_string(),
            in_force: today <= *until,
        });
        let excused = quarantine.as_ref().filter(|q| q.in_force);
        let outcome = match (passed >= policy.need, excused) {
            (true, _) => Outcome::Passed,
            (false, Some(_)) => Outcome::NotPerformed,
            (false, None) => Outcome::Failed,
        };
        let repeated = Repeated {
            passed,
            failed,
            need: policy.need,
            of: policy.attempts,
            quarantine: quarantine.clone(),
        };
        let from = lock(&self.repeating).outcomes;
        {
            let mut tally = lock(&self.tally);
            let from = from.min(tally.outcomes.len());
            let own = tally.outcomes.split_off(from);
            tally.outcomes.extend(own.into_iter().filter(|one| *one != Outcome::Failed));
            tally.outcomes.push(outcome);
        }
        if repeated.is_flaky() {
            self.not_proved(format!("that “{title}” holds every time: it is flaky, {repeated}"));
        }
        if let Some(q) = excused.filter(|_| outcome != Outcome::Passed) {
            self.not_proved(format!("“{title}”: {repeated}; in quarantine until {}: {}", q.until, q.reason));
        }
        let message = format!("“{title}”: {repeated}");
        self.recorder.emit(&self.step_path(), Kind::StepFinished { outcome, repeated });
        if outcome != Outcome::Failed {
            return Ok(());
        }
        let error = VerbError::new(VerbOutcome::Failed, message);
        Err(match quarantine {
            Some(q) => error.with_next(format!("its quarantine ended on {}: {}", q.until, q.reason)),
            None => error,
        })
    }
}
