//! Verbs become events: each call is an action under the current step, and what actions end in decides the run.

use super::Run;
use crate::event::{EventPath, Kind};
use crate::script::stage::Done;
use crate::script::{End, Pos, Source, VerbError, VerbOutcome};
use crate::verdict::{ExitCode, Outcome};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// Where the script is.
#[derive(Default)]
pub(crate) struct Place {
    step: Option<u32>,
    steps: u32,
    actions: u32,
}

/// What the run has shown so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) outcomes: Vec<Outcome>,
    /// Assertions, waits and expectations that were performed.
    pub(crate) checks: u32,
    pub(crate) proved: Vec<String>,
    pub(crate) not_proved: Vec<String>,
    usage: bool,
}

/// One action under way.
pub(crate) struct Action {
    pub(crate) id: u32,
    pub(crate) path: EventPath,
}

/// What no run of this version proves, whatever passed.
const NEVER_PROVED: &[&str] = &[
    "anything about the network: the guest has none",
    "a recovery time: all times are lab time of this host and accelerator",
    "behaviour on Hyper-V itself: there is no VMBus here",
];

/// The outcome of an action that ended in this error.
pub fn verdict_outcome(error: &VerbError) -> Outcome {
    match error.outcome {
        VerbOutcome::Failed => Outcome::Failed,
        VerbOutcome::Broken => Outcome::Broken,
        VerbOutcome::NotPerformed => Outcome::NotPerformed,
        VerbOutcome::Interrupted => Outcome::Interrupted,
        VerbOutcome::Refused => Outcome::Refused,
    }
}

/// A lock that a panicking thread left is still good: every critical section here is a few plain assignments.
pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    /// Perform a verb as an action: started, finished, timed, counted.
    pub(crate) fn act<T>(
        &self,
        verb: &str,
        machine: Option<&str>,
        args: String,
        pos: Option<Pos>,
        perform: impl FnOnce(&Action) -> Done<(T, String)>,
    ) -> Done<T> {
        while self.held.load(Ordering::SeqCst) && !self.cancel.is_cancelled() {
            std::thread::sleep(qemu::TICK);
        }
        let action = self.next_action(machine);
        let began = self.recorder.now_ms();
        let line = pos.map_or(0, |p| p.line);
        self.recorder
            .emit(&action.path, Kind::ActionStarted { id: action.id, verb: verb.into(), args, line });
        let ended = if self.cancel.is_cancelled() {
            Err(VerbError::new(VerbOutcome::Interrupted, "the run was cancelled before this"))
        } else {
            perform(&action)
        };
        // A wait that a cancel cut short says so, whatever it says it failed of.
        let ended = match ended {
            Err(_) if self.cancel.is_cancelled() => {
                Err(VerbError::new(VerbOutcome::Interrupted, "the run was cancelled"))
            }
            other => other,
        };
        let (outcome, detail, next) = match &ended {
            Ok((_, detail)) => (Outcome::Passed, detail.clone(), None),
            Err(e) => (verdict_outcome(e), e.message.clone(), e.next.clone()),
        };
        let took_ms = self.recorder.now_ms().saturating_sub(began);
        self.recorder.emit(
            &action.path,
            Kind::ActionFinished { id: action.id, outcome, detail: detail.clone(), next, took_ms },
        );
        let mut tally = lock(&self.tally);
        tally.outcomes.push(outcome);
        if verb.starts_with("assert_") || verb.starts_with("wait_") || verb.starts_with("expect_") {
            tally.checks = tally.checks.saturating_add(1);
        }
        if outcome == Outcome::NotPerformed {
            tally.not_proved.push(format!("{verb} was not performed: {detail}"));
        }
        ended.map(|(value, _)| value)
    }

    fn next_action(&self, machine: Option<&str>) -> Action {
        let mut place = lock(&self.place);
        place.actions = place.actions.saturating_add(1);
        let mut path = EventPath { step: place.step, ..EventPath::RUN }.with_action(place.actions);
        path.machine = machine.map(str::to_owned);
        Action { id: place.actions, path }
    }

    /// A heading.
    pub(crate) fn heading(&self, title: &str) {
        let path = {
            let mut place = lock(&self.place);
            place.steps = place.steps.saturating_add(1);
            place.step = Some(place.steps);
            EventPath::RUN.with_step(place.steps)
        };
        self.recorder.emit(&path, Kind::StepStarted { title: title.into() });
    }

    /// The current step.
    pub(crate) fn step_path(&self) -> EventPath {
        EventPath { step: lock(&self.place).step, ..EventPath::RUN }
    }

    /// A remark under the current step.
    pub(crate) fn say(&self, text: &str) {
        self.recorder.emit(&self.step_path(), Kind::Note { text: text.into() });
    }

    /// A sentence that is known now.
    pub(crate) fn proved(&self, sentence: String) {
        let mut tally = lock(&self.tally);
        if !tally.proved.contains(&sentence) {
            tally.proved.push(sentence);
        }
    }

    /// A sentence that is not known.
    pub(crate) fn not_proved(&self, sentence: String) {
        let mut tally = lock(&self.tally);
        if !tally.not_proved.contains(&sentence) {
            tally.not_proved.push(sentence);
        }
    }

    /// Our side failed outside any action: the run is broken, and this is not known.
    pub(crate) fn broken(&self, sentence: String) {
        lock(&self.tally).outcomes.push(Outcome::Broken);
        self.not_proved(sentence);
    }

    /// Count how the script ended; gives the picture with a caret into the scenario, empty when it completed.
    pub(crate) fn script_end(&self, source: &Source, ended: &End) -> String {
        let drawn = ended.render(source).unwrap_or_default();
        let mut tally = lock(&self.tally);
        match ended {
            End::Completed => {}
            // The action has told it already; the drawing adds the place.
            End::Verb { error, .. } => tally.outcomes.push(verdict_outcome(error)),
            End::Interrupted { .. } => tally.outcomes.push(Outcome::Interrupted),
            End::Script(_) => {
                tally.usage = true;
                drop(tally);
                self.say(&drawn);
            }
        }
        drawn
    }

    /// End of the run: everything stopped, sources proved, the last event written.
    pub(crate) fn finish(&self) -> (Outcome, ExitCode) {
        self.end_machines();
        self.note_withheld();
        let took_ms = self.recorder.now_ms();
        let mut tally = lock(&self.tally);
        if self.cancel.is_cancelled() {
            tally.outcomes.push(Outcome::Interrupted);
        }
        if tally.checks == 0 && !tally.usage && !self.cancel.is_cancelled() {
            tally.outcomes.push(Outcome::NotPerformed);
            tally.not_proved.push("anything: the drill has no assertion, wait or expectation".into());
        }
        if let Some(failure) = self.recorder.failure() {
            tally.outcomes.push(Outcome::Broken);
            tally.not_proved.push(failure);
        }
        let outcome =
            if tally.usage { Outcome::Broken } else { Outcome::worst(tally.outcomes.iter().copied()) };
        let mut exits: Vec<ExitCode> = tally.outcomes.iter().map(|o| ExitCode::from(*o)).collect();
        if tally.usage {
            exits.push(ExitCode::Usage);
        }
        let exit = ExitCode::worst(exits);
        let (proved, not_proved) = (tally.proved.clone(), tally.not_proved.clone());
        drop(tally);
        let exit_code = exit.code();
        let not_proved: Vec<String> =
            not_proved.into_iter().chain(NEVER_PROVED.iter().map(|s| (*s).to_owned())).collect();
        self.recorder
            .emit(&EventPath::RUN, Kind::RunFinished { outcome, exit_code, proved, not_proved, took_ms });
        (outcome, exit)
    }
}
