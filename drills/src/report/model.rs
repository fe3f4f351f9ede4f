//! A run as a whole, folded from its events: what every view draws.
//!
//! The fold never fails: events that fit nowhere are counted, not trusted.

use crate::event::{
    Event, EventPath, Evidence, Header, How, Kind, Pointer, Proof, Repeated, Rung, Scenario, Severity,
};
use crate::journal::{JournalError, Reader, Step as ReadStep};
use crate::verdict::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Most of each kind (steps, actions, boots, notes, findings, …) that a model keeps; more are counted in `left_out`.
pub const MAX_KEPT: usize = 20_000;

/// A run.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The journal's header.
    pub header: Option<Header>,
    /// What runs.
    pub scenario: Scenario,
    /// Its arguments.
    pub args: BTreeMap<String, String>,
    /// Steps, in order of their start.
    pub steps: Vec<Step>,
    /// Actions, in order of their start.
    pub actions: Vec<Action>,
    /// Machines, in order of their first start.
    pub machines: Vec<Machine>,
    /// Findings about disks.
    pub findings: Vec<Finding>,
    /// What was said outside actions.
    pub notes: Vec<String>,
    /// How sources were proved untouched.
    pub sources: Vec<SourceProof>,
    /// The end.
    pub finished: Option<Finished>,
    /// Time of the last event, milliseconds since the run's start.
    pub last_ms: u64,
    /// Events of kinds that this version does not know.
    pub unknown: u64,
    /// What was not kept because there is too much of it, or because it fits nowhere.
    pub left_out: u64,
    /// Lines of the journal that could not be read: line and why.
    pub damage: Vec<(u64, String)>,
}

/// A heading and what stands under it.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Step {
    /// Where; only plan, group and step.
    #[serde(skip)]
    pub path: EventPath,
    /// Number; 0 for what comes before the first heading.
    pub number: u32,
    /// The heading.
    pub title: String,
    /// When it started, milliseconds since the run's start.
    pub started_ms: u64,
    /// Its actions, by index in [`Model::actions`].
    #[serde(skip)]
    pub actions: Vec<usize>,
    /// Its attempts that ended, when it is repeated.
    pub attempts: Vec<StepAttempt>,
    /// Its own verdict, when it is repeated.
    pub repeated: Option<(Outcome, Repeated)>,
}

impl Step {
    /// One that starts.
    fn new(path: EventPath, number: u32, title: String, started_ms: u64) -> Step {
        Step { path, number, title, started_ms, actions: Vec::new(), attempts: Vec::new(), repeated: None }
    }

    /// How bad an action of this step is for the run: a failed attempt of a step that passed decides nothing.
    fn weight(&self, outcome: Outcome) -> Outcome {
        match &self.repeated {
            Some((verdict, _)) if outcome == Outcome::Failed => outcome.min(*verdict),
            _ => outcome,
        }
    }
}

/// An attempt of a repeated step that ended.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct StepAttempt {
    /// Which, from 1.
    pub attempt: u32,
    /// How.
    pub outcome: Outcome,
    /// Where, wanted, found.
    pub detail: String,
}

/// A verb of the script.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Action {
    /// Number.
    pub id: u32,
    /// Step, by index in [`Model::steps`].
    pub step_index: usize,
    /// The verb.
    pub verb: String,
    /// What it was called with.
    pub args: String,
    /// Line in the scenario; 0 when there is none.
    pub line: u32,
    /// The machine it is about.
    pub machine: Option<String>,
    /// When it started, milliseconds since the run's start.
    pub started_ms: u64,
    /// How it ended.
    pub ended: Option<Ended>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What was said.
    pub notes: Vec<String>,
    /// What was planned: summary and the plan itself.
    pub patch: Option<(String, Option<Pointer>)>,
    /// Findings, by index in [`Model::findings`].
    pub findings: Vec<usize>,
}

impl Action {
    /// For people: `web.wait_ready(3 min)`.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.machine {
            Some(machine) => format!("{machine}.{}({})", self.verb, self.args),
            None => format!("{}({})", self.verb, self.args),
        }
    }
}

/// How an action ended.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Where, wanted, found.
    pub detail: String,
    /// What to do.
    pub next: Option<String>,
    /// Lab time, milliseconds.
    pub took_ms: u64,
}

/// How far an action is.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub what: String,
    /// How much is done.
    pub done: u64,
    /// Of how much.
    pub total: Option<u64>,
    /// Of what.
    pub unit: String,
}

/// A machine and its boots.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Machine {
    /// Name.
    pub name: String,
    /// Boots, in order.
    pub boots: Vec<Boot>,
}

/// One start of a machine.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
pub struct Boot {
    /// Which, from 1.
    pub boot: u32,
    /// 1 or 2; 0 when the journal does not say.
    pub generation: u8,
    /// Firmware.
    pub firmware: String,
    /// Accelerator.
    pub accelerator: String,
    /// Disk bus.
    pub disk_bus: String,
    /// The action that started it.
    pub action: Option<u32>,
    /// When it started, milliseconds since the run's start.
    pub started_ms: u64,
    /// Attempts; a reset begins another.
    pub attempts: Vec<Attempt>,
    /// All of the serial console, as far as is known.
    pub console: Option<Pointer>,
    /// The text screen as last read.
    pub screen_text: Option<String>,
    /// The screen as last kept.
    pub screen: Option<Pointer>,
    /// How it ended.
    pub verdict: Option<Verdict>,
}

/// One attempt of a boot.
#[derive(Serialize, Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// Which, from 1.
    pub attempt: u32,
    /// Rungs, in the order they were reported.
    pub rungs: Vec<Reached>,
    /// The reset that ended it.
    pub reset: Option<Reset>,
}

impl Attempt {
    /// The highest rung.
    #[must_use]
    pub fn highest(&self) -> Option<&Reached> {
        self.rungs.iter().max_by_key(|reached| reached.rung)
    }
}

/// A rung that was reached.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Reached {
    /// Which.
    pub rung: Rung,
    /// How it is known.
    pub how: How,
    /// When, milliseconds since the machine's start.
    pub at_ms: u64,
    /// What showed it.
    pub evidence: Option<Evidence>,
}

/// A reset.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Reset {
    /// Whether it belongs to a good boot.
    pub expected: bool,
    /// Why.
    pub reason: String,
    /// When, milliseconds since the machine's start.
    pub at_ms: u64,
}

/// How a boot ended.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The action in which it was judged.
    pub action: Option<u32>,
    /// How.
    pub outcome: Outcome,
    /// The highest rung of the last attempt.
    pub rung: Option<Rung>,
    /// Why it stopped.
    pub cause: String,
    /// What decided it.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub next: Option<String>,
}

/// A finding about a disk.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub text: String,
    /// What to do.
    pub fix: Option<String>,
}

/// How a source was proved untouched.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct SourceProof {
    /// The source.
    pub file: String,
    /// How thoroughly.
    pub how: Proof,
    /// With what result.
    pub outcome: Outcome,
    /// What was compared.
    pub detail: String,
}

/// The end of a run.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// What the process answered.
    pub exit_code: u8,
    /// What is known now.
    pub proved: Vec<String>,
    /// What is not.
    pub not_proved: Vec<String>,
    /// Lab time, milliseconds.
    pub took_ms: u64,
}

/// Where an action, a step or a run stands.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not ended yet, as far as the journal says.
    Running,
    /// Ended.
    Done(Outcome),
}

/// The action that decided a run that did not pass, and the boot behind it.
#[derive(Clone, Copy, Debug)]
pub struct Decisive<'a> {
    /// Its step.
    pub step: Option<&'a Step>,
    /// The action.
    pub action: &'a Action,
    /// How it ended.
    pub ended: &'a Ended,
    /// The boot that it judged, with the machine's name.
    pub boot: Option<(&'a str, &'a Boot)>,
}

impl Model {
    /// A run of which only the header is known.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header: Some(header), ..Self::default() }
    }

    /// All of a journal (or of a run folder's journal) as it is now.
    ///
    /// # Errors
    /// When it is no journal or cannot be read.
    pub fn load(path: &Path) -> Result<Self, JournalError> {
        let mut reader = Reader::open(path)?;
        let mut model = Self::new(reader.header().clone());
        model
            .catch_up(&mut reader, usize::MAX)
            .map_err(|source| JournalError::Io { path: reader.path().to_owned(), source })?;
        Ok(model)
    }

    /// Take what the journal has more, at most so many lines. Returns whether anything came.
    ///
    /// # Errors
    /// When reading fails.
    pub fn catch_up(&mut self, reader: &mut Reader, most: usize) -> std::io::Result<bool> {
        for taken in 0..most {
            match reader.next_step()? {
                ReadStep::Event(event) => self.apply(&event),
                ReadStep::Damage { line, why } => self.damaged(line, why),
                ReadStep::End { .. } => return Ok(taken > 0),
            }
        }
        Ok(true)
    }

    /// Take note of a damaged line.
    pub fn damaged(&mut self, line: u64, why: String) {
        let full = !keep(&mut self.damage, (line, why));
        self.left_out = self.left_out.saturating_add(u64::from(full));
    }

    /// Take one event.
    pub fn apply(&mut self, event: &Event) {
        self.last_ms = self.last_ms.max(event.t_ms);
        if !self.take(event) {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Returns whether the event was kept.
    fn take(&mut self, event: &Event) -> bool {
        let path = &event.path;
        match &event.kind {
            Kind::RunStarted { scenario, args } => {
                self.scenario = scenario.clone();
                self.args = args.clone();
                true
            }
            Kind::StepStarted { title } => {
                let number = path.step.unwrap_or_else(|| self.next_step_number());
                let path = EventPath { step: Some(number), machine: None, action: None, ..path.clone() };
                keep(&mut self.steps, Step::new(path, number, title.clone(), event.t_ms))
            }
            Kind::AttemptStarted { .. } => true,
            Kind::AttemptFinished { attempt, outcome, detail } => {
                let Some(step) = self.step_of(path, event.t_ms).and_then(|n| self.steps.get_mut(n)) else {
                    return false;
                };
                let ended = StepAttempt { attempt: *attempt, outcome: *outcome, detail: detail.clone() };
                keep(&mut step.attempts, ended)
            }
            Kind::StepFinished { outcome, repeated } => {
                let Some(step) = self.step_of(path, event.t_ms).and_then(|n| self.steps.get_mut(n)) else {
                    return false;
                };
                step.repeated = Some((*outcome, repeated.clone()));
                true
            }
            Kind::ActionStarted { id, verb, args, line } => {
                let Some(step_index) = self.step_of(path, event.t_ms) else { return false };
                let action = Action {
                    id: *id,
                    step_index,
                    verb: verb.clone(),
                    args: args.clone(),
                    line: *line,
                    machine: path.machine.clone(),
                    started_ms: event.t_ms,
                    ended: None,
                    progress: None,
                    notes: Vec::new(),
                    patch: None,
                    findings: Vec::new(),
                };
                let index = self.actions.len();
                let kept = keep(&mut self.actions, action);
                if let Some(step) = self.steps.get_mut(step_index).filter(|_| kept) {
                    step.actions.push(index);
                }
                kept
            }
            Kind::Progress { action, what, done, total, unit } => {
                let progress =
                    Progress { what: what.clone(), done: *done, total: *total, unit: unit.clone() };
                self.action_mut(*action).map(|action| action.progress = Some(progress)).is_some()
            }
            Kind::Finding { id, severity, text, fix } => {
                let index = self.findings.len();
                let finding =
                    Finding { id: id.clone(), severity: *severity, text: text.clone(), fix: fix.clone() };
                let kept = keep(&mut self.findings, finding);
                if let Some(action) = path.action.filter(|_| kept).and_then(|id| self.action_mut(id)) {
                    action.findings.push(index);
                }
                kept
            }
            Kind::PatchPlanned { summary, artifact } => path
                .action
                .and_then(|id| self.action_mut(id))
                .map(|action| action.patch = Some((summary.clone(), artifact.clone())))
                .is_some(),
            Kind::Note { text } => match path.action.and_then(|id| self.action_mut(id)) {
                Some(action) => keep(&mut action.notes, text.clone()),
                None => keep(&mut self.notes, text.clone()),
            },
            Kind::ActionFinished { id, outcome, detail, next, took_ms } => {
                let ended = Ended {
                    outcome: *outcome,
                    detail: detail.clone(),
                    next: next.clone(),
                    took_ms: *took_ms,
                };
                self.action_mut(*id).map(|action| action.ended = Some(ended)).is_some()
            }
            Kind::SourceProof { file, how, outcome, detail } => {
                let proof =
                    SourceProof { file: file.clone(), how: *how, outcome: *outcome, detail: detail.clone() };
                keep(&mut self.sources, proof)
            }
            Kind::RunFinished { outcome, exit_code, proved, not_proved, took_ms } => {
                self.finished = Some(Finished {
                    outcome: *outcome,
                    exit_code: *exit_code,
                    proved: proved.clone(),
                    not_proved: not_proved.clone(),
                    took_ms: *took_ms,
                });
                true
            }
            Kind::Unknown(_) => {
                self.unknown = self.unknown.saturating_add(1);
                true
            }
            _ => self.take_machine(event),
        }
    }

    /// Events about a machine.
    fn take_machine(&mut self, event: &Event) -> bool {
        match &event.kind {
            Kind::MachineStarted { machine, boot, generation, firmware, accelerator, disk_bus } => {
                let Some(place) = self.boot_mut(machine, *boot) else { return false };
                place.generation = *generation;
                place.firmware.clone_from(firmware);
                place.accelerator.clone_from(accelerator);
                place.disk_bus.clone_from(disk_bus);
                place.action = event.path.action;
                place.started_ms = event.t_ms;
                true
            }
            Kind::Rung { machine, boot, attempt, rung, how, at_ms, evidence } => {
                let Some(place) = self.boot_mut(machine, *boot) else { return false };
                let Some(attempt) = attempt_mut(place, *attempt) else { return false };
                attempt.rungs.retain(|reached| reached.rung != *rung);
                attempt.rungs.push(Reached {
                    rung: *rung,
                    how: *how,
                    at_ms: *at_ms,
                    evidence: evidence.clone(),
                });
                true
            }
            Kind::Reset { machine, boot, expected, reason, at_ms } => {
                let Some(place) = self.boot_mut(machine, *boot) else { return false };
                let last = place.attempts.last().map_or(1, |attempt| attempt.attempt);
                let Some(attempt) = attempt_mut(place, last) else { return false };
                attempt.reset = Some(Reset { expected: *expected, reason: reason.clone(), at_ms: *at_ms });
                true
            }
            Kind::Console { machine, at } => {
                let Some(place) = self.last_boot_mut(machine) else { return false };
                let end = at.offset.saturating_add(at.len);
                match &mut place.console {
                    Some(known) if known.artifact == at.artifact => {
                        let start = known.offset.min(at.offset);
                        let end = end.max(known.offset.saturating_add(known.len));
                        *known = Pointer {
                            artifact: at.artifact.clone(),
                            offset: start,
                            len: end.saturating_sub(start),
                        };
                    }
                    known => *known = Some(at.clone()),
                }
                true
            }
            Kind::Screen { machine, text, artifact } => {
                let Some(place) = self.last_boot_mut(machine) else { return false };
                // Of the newest screen only: an older text beside a newer picture would be a lie.
                place.screen_text.clone_from(text);
                if artifact.is_some() {
                    place.screen.clone_from(artifact);
                }
                true
            }
            Kind::BootVerdict { machine, boot, outcome, rung, cause, evidence, next } => {
                let Some(place) = self.boot_mut(machine, *boot) else { return false };
                place.verdict = Some(Verdict {
                    action: event.path.action,
                    outcome: *outcome,
                    rung: *rung,
                    cause: cause.clone(),
                    evidence: evidence.clone(),
                    next: next.clone(),
                });
                true
            }
            _ => false,
        }
    }

    /// The outcome, when the run has ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.finished.as_ref().map(|finished| finished.outcome)
    }

    /// Where an action stands.
    #[must_use]
    pub fn action_status(&self, action: &Action) -> Status {
        action.ended.as_ref().map_or(Status::Running, |ended| Status::Done(ended.outcome))
    }

    /// Where a step stands: the worst of its actions; running while one is, or while it is the last of a running run.
    #[must_use]
    pub fn step_status(&self, step: &Step) -> Status {
        let mut worst = Outcome::Passed;
        for action in self.actions_of(step) {
            match self.action_status(action) {
                Status::Running => return Status::Running,
                Status::Done(outcome) => worst = worst.max(step.weight(outcome)),
            }
        }
        if let Some((verdict, _)) = &step.repeated {
            return Status::Done(worst.max(*verdict));
        }
        let last = self.steps.last().is_some_and(|last| std::ptr::eq(last, step));
        if last && self.finished.is_none() && worst == Outcome::Passed {
            return Status::Running;
        }
        Status::Done(worst)
    }

    /// The actions of a step.
    pub fn actions_of<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = &'a Action> {
        step.actions.iter().filter_map(|index| self.actions.get(*index))
    }

    /// Time from a step's start to the end of its last ended action, milliseconds.
    #[must_use]
    pub fn step_took_ms(&self, step: &Step) -> u64 {
        let ends = self.actions_of(step).filter_map(|action| {
            action.ended.as_ref().map(|ended| action.started_ms.saturating_add(ended.took_ms))
        });
        ends.max().unwrap_or(step.started_ms).saturating_sub(step.started_ms)
    }

    /// What decided that the run did not pass: the first of the worst actions.
    #[must_use]
    pub fn decisive(&self) -> Option<Decisive<'_>> {
        let weight = |action: &Action, ended: &Ended| {
            self.steps.get(action.step_index).map_or(ended.outcome, |step| step.weight(ended.outcome))
        };
        let ended =
            || self.actions.iter().filter_map(|action| action.ended.as_ref().map(|ended| (action, ended)));
        let worst = ended().map(|(action, ended)| weight(action, ended)).max()?;
        if worst == Outcome::Passed {
            return None;
        }
        let (action, ended) = ended().find(|(action, ended)| weight(action, ended) == worst)?;
        Some(Decisive {
            step: self.steps.get(action.step_index),
            action,
            ended,
            boot: self.judged_in(action),
        })
    }

    /// The action in which an unfinished run stands, or stood when it was killed.
    #[must_use]
    pub fn unfinished(&self) -> Option<&Action> {
        self.actions.iter().rev().find(|action| action.ended.is_none())
    }

    /// The boot that was judged in this action, else the last bad one of its machine.
    fn judged_in(&self, action: &Action) -> Option<(&str, &Boot)> {
        let judged = || {
            self.machines.iter().flat_map(|machine| {
                machine.boots.iter().filter_map(move |boot| {
                    boot.verdict.as_ref().map(|verdict| (machine.name.as_str(), boot, verdict))
                })
            })
        };
        let bad = |verdict: &Verdict| verdict.outcome != Outcome::Passed;
        judged()
            .rfind(|(_, _, verdict)| verdict.action == Some(action.id))
            .or_else(|| {
                judged().rfind(|(name, _, verdict)| action.machine.as_deref() == Some(*name) && bad(verdict))
            })
            .map(|(name, boot, _)| (name, boot))
    }

    /// Accelerators that were used, sorted, once each.
    #[must_use]
    pub fn accelerators(&self) -> Vec<String> {
        let boots = self.machines.iter().flat_map(|machine| &machine.boots);
        let mut all: Vec<String> =
            boots.map(|boot| boot.accelerator.clone()).filter(|name| !name.is_empty()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn next_step_number(&self) -> u32 {
        self.steps.last().map_or(1, |step| step.number.saturating_add(1))
    }

    /// The step that an action belongs to; made when the journal never named it.
    fn step_of(&mut self, path: &EventPath, t_ms: u64) -> Option<usize> {
        let key = EventPath { machine: None, action: None, ..path.clone() };
        if let Some(index) = self.steps.iter().rposition(|step| step.path == key) {
            return Some(index);
        }
        let number = path.step.unwrap_or(0);
        let title = if number == 0 { "Before the first step".to_owned() } else { format!("Step {number}") };
        keep(&mut self.steps, Step::new(key, number, title, t_ms)).then(|| self.steps.len().saturating_sub(1))
    }

    fn action_mut(&mut self, id: u32) -> Option<&mut Action> {
        self.actions.iter_mut().rev().find(|action| action.id == id)
    }

    fn machine_mut(&mut self, name: &str) -> Option<&mut Machine> {
        if let Some(index) = self.machines.iter().position(|machine| machine.name == name) {
            return self.machines.get_mut(index);
        }
        keep(&mut self.machines, Machine { name: name.to_owned(), boots: Vec::new() });
        self.machines.iter_mut().find(|machine| machine.name == name)
    }

    fn boot_mut(&mut self, machine: &str, boot: u32) -> Option<&mut Boot> {
        let machine = self.machine_mut(machine)?;
        if let Some(index) = machine.boots.iter().rposition(|known| known.boot == boot) {
            return machine.boots.get_mut(index);
        }
        keep(&mut machine.boots, Boot { boot, ..Boot::default() }).then(|| machine.boots.last_mut()).flatten()
    }

    fn last_boot_mut(&mut self, machine: &str) -> Option<&mut Boot> {
        let boot = self.machine_mut(machine)?.boots.last().map_or(1, |boot| boot.boot);
        self.boot_mut(machine, boot)
    }
}

fn attempt_mut(boot: &mut Boot, number: u32) -> Option<&mut Attempt> {
    if let Some(index) = boot.attempts.iter().position(|known| known.attempt == number) {
        return boot.attempts.get_mut(index);
    }
    keep(&mut boot.attempts, Attempt { attempt: number, ..Attempt::default() })
        .then(|| boot.attempts.last_mut())
        .flatten()
}

/// Keep it unless there are too many. Returns whether it was kept.
fn keep<T>(all: &mut Vec<T>, one: T) -> bool {
    let room = all.len() < MAX_KEPT;
    if room {
        all.push(one);
    }
    room
}
