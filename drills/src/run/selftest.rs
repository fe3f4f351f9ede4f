//! The test of the judge: every planted fault must be caught at its rung for its own reason, and a clean disk must never be.
//!
//! One run, one journal: each clean boot and each fault is a step, so that `replay` and `why` show what became of it. Each boot begins with the disk
//! as it is: its writes are thrown away.

use super::actions::Action;
use super::boots::Boot;
use super::machines::{Machine, Writes};
use super::{Lab, Request, Run, RunError, Summary, perform};
use crate::fault::{self, Area, Caught, Fault, Judgement, Specimen};
use crate::journal::Sink;
use crate::script::stage::{Done, FailoverOptions, Image, StartOptions};
use crate::script::{End, MachineId, Pos, Stage, VerbError, VerbOutcome as Outcome};
use crate::selftest::{Row, Score, Standing};
use qemu::{Cancel, Generation};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No call of a scenario stands behind these verbs.
const NOWHERE: Pos = Pos { line: 0, col: 0 };
/// How long nothing may come before a boot that is caught is final: GRUB waits 10 s for a key after an error, and then goes on.
const QUIET: Duration = Duration::from_secs(15);
/// The same where the silence itself is the mark.
const SILENCE: Duration = Duration::from_secs(30);
/// Boots of one row: one that gave no answer because the host failed is done again, and the journal says so.
const TRIES: u32 = 3;
/// Between two looks at a boot.
const SLICE: Duration = Duration::from_secs(5);

/// What to test with.
pub struct Plan {
    /// The disk.
    pub image: Image,
    /// The faults, in order.
    pub faults: Vec<&'static Fault>,
    /// Whether the user named them: then one that does not fit the disk leaves the test incomplete.
    pub named: bool,
    /// Clean boots in all, half of them of each generation.
    pub clean: u32,
    /// Longest wait of one boot.
    pub within: Duration,
    /// Memory of each machine in bytes; `None` is the usual.
    pub memory: Option<u64>,
}

/// Test the judge. `told` hears of each boot or refusal when it has ended, with how many there will be in all.
///
/// # Errors
/// [`RunError`] when there is no place to keep the evidence; every later trouble is an outcome of the run.
pub fn selftest(
    lab: &Arc<Lab>,
    request: &Request,
    plan: &Plan,
    out: &Path,
    sinks: Vec<Box<dyn Sink>>,
    told: &mut dyn FnMut(&Row, usize, usize),
    cancel: &Cancel,
) -> Result<(Summary, Score), RunError> {
    let mut score = Score::default();
    let summary = perform(lab, request, out, sinks, cancel, |run, _| {
        let mut bench = Bench { run, plan, score: &mut score, told, total: 0 };
        let ended = bench.all();
        let kept = serde_json::to_vec_pretty(&score).map(|text| run.recorder.keep("selftest.json", &text));
        if !matches!(kept, Ok(Ok(_))) {
            run.broken("the score as a file: selftest.json could not be written".into());
        }
        let sentence = score.to_string();
        if score.is_full() {
            run.proved(sentence)
        } else {
            run.not_proved(format!("a full score: {sentence}"))
        }
        match ended {
            Ok(()) => End::Completed,
            Err(error) => End::Verb { error, pos: None },
        }
    })?;
    Ok((summary, score))
}

/// One test under way.
struct Bench<'a> {
    run: &'a Arc<Run>,
    plan: &'a Plan,
    score: &'a mut Score,
    told: &'a mut dyn FnMut(&Row, usize, usize),
    total: usize,
}

/// The machines that faults are planted in.
struct Machines {
    source: MachineId,
    /// The Generation 1 copy, or why there is none.
    copy: Result<MachineId, String>,
}

impl Machines {
    fn of(&self, generation: Generation) -> Result<MachineId, String> {
        match generation {
            Generation::Gen2 => Ok(self.source),
            Generation::Gen1 => self.copy.clone(),
        }
    }
}

impl Bench<'_> {
    fn all(&mut self) -> Done {
        let planned: usize = self.plan.faults.iter().map(|f| f.on.len().max(1)).sum();
        self.total = planned.saturating_add(usize::try_from(self.plan.clean).unwrap_or(0));
        self.run.heading("The disk, and its Generation 1 copy");
        let source = self.run.machine(&self.plan.image, NOWHERE)?;
        let copies = |f: &&'static Fault| f.on.contains(&Generation::Gen1);
        let needs_copy = self.plan.clean > 0 || self.plan.faults.iter().any(copies);
        let copy = if needs_copy {
            let options = FailoverOptions::default();
            self.run.test_failover(source, &options, NOWHERE).map_err(|e| e.message)
        } else {
            Err("no fault of a Generation 1 copy was asked for".to_owned())
        };
        let machines = Machines { source, copy };
        self.clean(&machines)?;
        for fault in &self.plan.faults {
            self.fault(&machines, fault)?;
        }
        self.run.heading("Clean up");
        self.run.cleanup(source, NOWHERE)?;
        self.run.assert_source_untouched(source, NOWHERE)
    }

    /// Boots of the disk as it is, none of which may be called a failure. Where faults of signatures are tested, every second one of Generation 2
    /// is under Secure Boot.
    fn clean(&mut self, machines: &Machines) -> Done {
        let signatures = self.plan.faults.iter().any(|f| f.area == Area::SecureBoot);
        for n in 0..self.plan.clean {
            let generation = if n % 2 == 0 { Generation::Gen2 } else { Generation::Gen1 };
            let secure_boot = generation == Generation::Gen2 && signatures && n % 4 == 2;
            let name = if secure_boot { "clean, Secure Boot" } else { "clean" };
            self.run.heading(&format!("{name} ({})", number(generation)));
            let row = Row::new(name, "no fault", generation_number(generation), "ready");
            let from = match machines.of(generation) {
                Ok(id) => id,
                Err(why) => {
                    self.tell(row.standing(Standing::DoesNotFit).because(&why))?;
                    continue;
                }
            };
            let seen = RefCell::new(row.clone().standing(Standing::NoAnswer));
            let ended =
                self.run.act("wait_ready", Some(&self.run.name_of(from)), String::new(), None, |action| {
                    let disk = self.run.machine_of(from)?.now()?;
                    let id = self.run.altered_machine(&self.run.machine_of(from)?, disk, "clean")?;
                    let verdict = self.boot(action, id, None, secure_boot)?;
                    let judged = fault::judge("", &verdict);
                    let Some((judgement, found)) = judged else { return Err(no_answer(&verdict)) };
                    let standing = match judgement {
                        // To be ready is to miss the fault that is not there.
                        Judgement::Missed => Standing::Quiet,
                        Judgement::Caught | Judgement::Elsewhere => Standing::FalseAlarm,
                    };
                    *seen.borrow_mut() = row.clone().standing(standing).seen(&found, verdict.took_ms);
                    if standing == Standing::Quiet {
                        return Ok(((), format!("ready (“{}”)", found.words)));
                    }
                    Err(VerbError::new(
                        Outcome::Failed,
                        format!("a false alarm: {} (“{}”)", found.text, found.words),
                    ))
                });
            self.end(seen.into_inner(), ended)?;
        }
        Ok(())
    }

    fn fault(&mut self, machines: &Machines, fault: &'static Fault) -> Done {
        match fault.caught {
            Caught::Opening { says } => self.unopened(machines, fault, says),
            Caught::Failover { says } => self.refused(machines, fault, says),
            Caught::Boot { .. } => {
                for generation in fault.on {
                    self.booted(machines, fault, *generation)?;
                }
                Ok(())
            }
        }
    }

    /// Plant it, boot, compare.
    fn booted(&mut self, machines: &Machines, fault: &'static Fault, generation: Generation) -> Done {
        let Caught::Boot { secure_boot, .. } = fault.caught else { return Ok(()) };
        self.run.heading(&format!("{} ({}): {}", fault.name, number(generation), fault.what));
        let row = Row::of(fault, generation_number(generation));
        let planted = machines.of(generation).and_then(|from| {
            let from = self.run.machine_of(from).map_err(|e| e.message)?;
            let disk = from.now().map_err(|e| e.message)?;
            Ok((from, fault::plant(disk, fault.name).map_err(|e| e.message)?))
        });
        let (from, disk) = match planted {
            Ok(found) => found,
            Err(why) => return self.misfit(row, &why),
        };
        let seen = RefCell::new(row.clone().standing(Standing::NoAnswer));
        let ended = self.run.act("expect_failure_of", Some(&from.name), fault.name.into(), None, |action| {
            let id = self.run.altered_machine(&from, disk, fault.name)?;
            let verdict = self.boot(action, id, Some(fault), secure_boot)?;
            let judged = fault::judge(fault.name, &verdict);
            let Some((judgement, found)) = judged else { return Err(no_answer(&verdict)) };
            let standing = match judgement {
                Judgement::Caught => Standing::Caught,
                Judgement::Elsewhere => Standing::Elsewhere,
                Judgement::Missed => Standing::Missed,
            };
            *seen.borrow_mut() = row.clone().standing(standing).seen(&found, verdict.took_ms);
            if standing == Standing::Caught {
                return Ok(((), found.caught()));
            }
            Err(VerbError::new(Outcome::Failed, found.not_caught(fault.name)))
        });
        self.end(seen.into_inner(), ended)
    }

    /// Plant it; the test failover must refuse the disk.
    fn refused(&mut self, machines: &Machines, fault: &'static Fault, says: &str) -> Done {
        self.run.heading(&format!("{}: {}", fault.name, fault.what));
        let row = Row::of(fault, generation_number(Generation::Gen2));
        let from = self.run.machine_of(machines.source)?;
        let disk = match fault::plant(from.now()?, fault.name) {
            Ok(disk) => disk,
            Err(why) => return self.misfit(row, &why.message),
        };
        let seen = RefCell::new(row.clone().standing(Standing::NoAnswer));
        let ended = self.run.act("expect_failure_of", Some(&from.name), fault.name.into(), None, |action| {
            let began = Instant::now();
            let id = self.run.altered_machine(&from, disk, fault.name)?;
            let refusal = match self.run.plan_failover(action, id, &FailoverOptions::default()) {
                Ok(_) => None,
                Err(e) if e.outcome == Outcome::Refused => Some(e.message),
                Err(e) => return Err(e),
            };
            judged_refusal(&row, &seen, refusal, "test failover", says, began)
        });
        self.end(seen.into_inner(), ended)
    }

    /// Damage a container of its own; it must not open.
    fn unopened(&mut self, machines: &Machines, fault: &'static Fault, says: &str) -> Done {
        self.run.heading(&format!("{}: {}", fault.name, fault.what));
        let row = Row::of(fault, None);
        let from = self.run.machine_of(machines.source)?;
        let Some((format, damage)) = fault.of_file() else { return Ok(()) };
        let now = u64::try_from((self.run.lab.now)().as_second()).unwrap_or(0);
        let specimen = match Specimen::make(&from.now()?, format, &self.run.work, now) {
            Ok(specimen) => specimen,
            Err(why) => return self.misfit(row, &why.to_string()),
        };
        let seen = RefCell::new(row.clone().standing(Standing::NoAnswer));
        let ended = self.run.act("expect_failure_of", Some(&from.name), fault.name.into(), None, |_| {
            let began = Instant::now();
            specimen.damage(damage).map_err(|e| VerbError::new(Outcome::Broken, e))?;
            judged_refusal(&row, &seen, specimen.refusal(), "opening", says, began)
        });
        self.end(seen.into_inner(), ended)
    }

    /// Start it, wait, pull the plug, throw away what it wrote.
    fn boot(
        &self,
        action: &Action,
        id: MachineId,
        fault: Option<&'static Fault>,
        secure_boot: bool,
    ) -> Done<qemu::Verdict> {
        let within = self.plan.within;
        let machine = self.run.machine_of(id)?;
        let options = StartOptions {
            secure_boot: Some(secure_boot),
            memory_bytes: self.plan.memory,
            ..StartOptions::default()
        };
        let mut tries = 1u32;
        loop {
            let (vm, _) = self.run.start_machine(action, id, &options)?;
            let boot = self.run.boot_of(vm)?;
            let verdict = self.watch(&boot, fault, within);
            if !verdict.is_ready() && !self.run.cancel.is_cancelled() {
                self.run.keep_screen(action, &boot);
            }
            boot.kill();
            drop_child(&machine);
            match &verdict.outcome {
                qemu::ladder::Outcome::Broken { reason } if tries < TRIES => {
                    self.run.say(&format!("no answer, so the boot is done again: {reason}"));
                    tries = tries.saturating_add(1);
                }
                _ => return Ok(verdict),
            }
        }
    }

    /// Wait until the ladder decides, or until the boot is caught and nothing more has come for a while: a guest that has said why it stops and
    /// then waits for somebody is not waited for to the end.
    fn watch(&self, boot: &Boot, fault: Option<&'static Fault>, within: Duration) -> qemu::Verdict {
        let began = Instant::now();
        let quiet = match fault.map(|f| f.caught) {
            Some(Caught::Boot { silent: true, .. }) => SILENCE,
            _ => QUIET,
        };
        loop {
            let left = within.saturating_sub(began.elapsed());
            let (slice, asked) = (left.min(SLICE), Instant::now());
            let verdict = self.run.verdict_of(boot, slice);
            // Who answers before the time is over has decided.
            if slice == left || asked.elapsed() < slice {
                return verdict;
            }
            let caught = fault.and_then(|f| fault::judge(f.name, &verdict));
            let last = verdict.attempts.last().and_then(|a| a.lines().last()).map_or(0, |l| l.at_ms);
            let still =
                verdict.took_ms.saturating_sub(last) >= u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
            if still && caught.is_some_and(|(judgement, _)| judgement == Judgement::Caught) {
                return verdict;
            }
        }
    }

    fn misfit(&mut self, row: Row, why: &str) -> Done {
        if self.plan.named {
            let text = format!("{}: {why}", row.name);
            self.run.not_proved(text.clone());
            let missing: Done = self.run.act("expect_failure_of", None, row.name.clone(), None, |_| {
                Err(VerbError::new(Outcome::NotPerformed, why))
            });
            drop(missing);
        } else {
            self.run.say(why);
        }
        self.tell(row.standing(Standing::DoesNotFit).because(why))
    }

    /// Count a row; only a cancel ends the test.
    fn end(&mut self, row: Row, ended: Done) -> Done {
        match ended {
            Err(e) if e.outcome == Outcome::Interrupted => Err(e),
            Err(e) if row.standing == Standing::NoAnswer => self.tell(row.because(&e.message)),
            _ => self.tell(row),
        }
    }

    fn tell(&mut self, row: Row) -> Done {
        let done = self.score.rows.len().saturating_add(1);
        (self.told)(&row, done, self.total);
        self.score.rows.push(row);
        Ok(())
    }
}

/// A refusal in the right words is a catch, in other words elsewhere, none is a miss.
fn judged_refusal(
    row: &Row,
    seen: &RefCell<Row>,
    refusal: Option<String>,
    by: &str,
    says: &str,
    began: Instant,
) -> Done<((), String)> {
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let standing = match &refusal {
        Some(words) if words.contains(says) => Standing::Caught,
        Some(_) => Standing::Elsewhere,
        None => Standing::Missed,
    };
    let words = refusal.unwrap_or_default();
    *seen.borrow_mut() = row.clone().standing(standing).refused(by, &words, took_ms);
    match standing {
        Standing::Caught => Ok(((), format!("refused by {by}: {words}"))),
        Standing::Missed => {
            Err(VerbError::new(Outcome::Failed, format!("{by} did not refuse it, wanted: “{says}”")))
        }
        _ => Err(VerbError::new(Outcome::Failed, format!("{by} refused it: {words}; wanted: “{says}”"))),
    }
}

fn no_answer(verdict: &qemu::Verdict) -> VerbError {
    match &verdict.outcome {
        qemu::ladder::Outcome::Cancelled => VerbError::new(Outcome::Interrupted, "the run was cancelled"),
        qemu::ladder::Outcome::Broken { reason } => VerbError::new(Outcome::Broken, reason),
        _ => VerbError::new(Outcome::Broken, "no answer"),
    }
}

fn drop_child(machine: &Machine) {
    if let Writes::Kept(child) = &machine.writes {
        let _ = std::fs::remove_file(child);
    }
}

fn number(generation: Generation) -> &'static str {
    match generation {
        Generation::Gen1 => "Generation 1",
        Generation::Gen2 => "Generation 2",
    }
}

const fn generation_number(generation: Generation) -> Option<u8> {
    match generation {
        Generation::Gen1 => Some(1),
        Generation::Gen2 => Some(2),
    }
}
