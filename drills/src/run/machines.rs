//! Machines of a run: which disk they have, and what became of it.
//!
//! ```text
//! source image ──► Machine(Source, Gen2)            each start writes into a child that is thrown away
//!                    └─ test_failover ─► Machine(Copy, Gen1)   overlay(patch); its child lives until cleanup
//!                                          └─ failback ─► Machine(Home, Gen2)  overlay(patch) over copy + child
//! ```

use super::Run;
use super::actions::{Action, lock};
use super::boots::Boot;
use crate::event::{EventPath, Kind, Proof, Severity};
use crate::image::ImageError;
use crate::script::stage::Done;
use crate::script::{MachineId, VerbError, VerbOutcome as Outcome, VmId};
use crate::verdict::Outcome as Verdict;
use engine::container::Gate;
use engine::convert::Plan;
use engine::disk::DiskRef;
use engine::guest::{Inspection, Starts};
use engine::units::MIB;
use qemu::Generation;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the quick proof compares.
const QUICK: &str = "same device, inode, size and times; only read-only descriptors were opened";

/// All machines and boots of a run. Nothing is ever removed: an id in a script stays good, or says that it was cleaned up.
#[derive(Default)]
pub(crate) struct Machines {
    pub(crate) list: Vec<Machine>,
    pub(crate) boots: Vec<Arc<Boot>>,
    pub(crate) sources: Vec<Source>,
}

/// A given image.
pub(crate) struct Source {
    pub(crate) opened: Arc<engine::container::Opened>,
    /// BLAKE3 of each of its files before anything else was done, when the proof is `full`.
    pub(crate) hashes: Option<Vec<engine::hash::ContentHash>>,
    pub(crate) named: String,
    /// Whether the report already says that it was not touched.
    pub(crate) proved: bool,
}

/// What a machine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The image that was given.
    Source,
    /// Its failed-over copy.
    Copy,
    /// What came home again.
    Home,
}

/// Where the guest's writes go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Writes {
    /// Into a child of each start, thrown away at its stop.
    Dropped,
    /// Into this child, kept from start to start.
    Kept(PathBuf),
}

/// One machine.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) generation: Generation,
    /// What QEMU's child lies on.
    pub(crate) base: DiskRef,
    pub(crate) writes: Writes,
    pub(crate) boots: u32,
    pub(crate) source: usize,
    pub(crate) inspection: Arc<Inspection>,
    pub(crate) cleaned: bool,
}

impl Machine {
    /// The disk as it is now: the base, and what the guest wrote.
    pub(crate) fn now(&self) -> Done<DiskRef> {
        match &self.writes {
            Writes::Kept(child) if child.exists() => {
                engine::container::qcow2::open_child(child, self.base.clone())
                    .map_err(|e| VerbError::new(Outcome::Broken, format!("{}: {e}", self.name)))
            }
            _ => Ok(self.base.clone()),
        }
    }
}

impl Run {
    pub(crate) fn machine_of(&self, id: MachineId) -> Done<Machine> {
        let machines = lock(&self.machines);
        let machine = usize::try_from(id.0).ok().and_then(|n| machines.list.get(n)).cloned();
        let machine =
            machine.ok_or_else(|| VerbError::new(Outcome::Broken, format!("no machine {}", id.0)))?;
        if machine.cleaned {
            return Err(VerbError::new(Outcome::Refused, format!("{} was cleaned up", machine.name))
                .with_next("move the call before cleanup()"));
        }
        Ok(machine)
    }

    pub(crate) fn name_of(&self, id: MachineId) -> String {
        let machines = lock(&self.machines);
        usize::try_from(id.0)
            .ok()
            .and_then(|n| machines.list.get(n))
            .map_or_else(String::new, |m| m.name.clone())
    }

    fn add(&self, machine: Machine) -> MachineId {
        let mut machines = lock(&self.machines);
        machines.list.push(machine);
        MachineId(u32::try_from(machines.list.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// Open and inspect an image; the machine is called `name`, or as its file is.
    pub(crate) fn open_machine(
        &self,
        action: &Action,
        path: &Path,
        name: Option<&str>,
    ) -> Done<(MachineId, String)> {
        let told = &self.lab.told;
        let gate = Gate::same_folder().with_given(told.parents.iter().cloned());
        // A sample disk has a name, and is what its recipe made it.
        let format = told.format.filter(|_| name.is_none());
        let opened = crate::image::open(path, format, &gate, &self.lab.reader).map_err(|e| {
            let outcome = match e {
                ImageError::Image(_) => Outcome::Refused,
                ImageError::Reader { .. } => Outcome::Broken,
            };
            VerbError::new(outcome, &e).with_next(e.next())
        })?;
        let opened = Arc::new(opened);
        let hashes = match self.lab.proof {
            Proof::Quick => None,
            Proof::Full => Some(self.hash(action, &opened)?),
        };
        let inspection = engine::guest::inspect(&opened.disk)
            .map_err(|e| VerbError::new(Outcome::Broken, format!("{}: {e}", path.display())))?;
        for finding in &inspection.findings {
            self.finding(action, &finding.id, severity_of(finding.severity), &finding.text, &finding.fix);
        }
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.unwrap_or(&stem);
        let info = &opened.info;
        let detail =
            format!("{}, {} MiB, {}", info.format, info.virtual_len.get() / MIB, inspection.guest_name());
        let source = {
            let mut machines = lock(&self.machines);
            machines.sources.push(Source {
                opened: opened.clone(),
                hashes,
                named: path.display().to_string(),
                proved: false,
            });
            machines.sources.len().saturating_sub(1)
        };
        let id = self.add(Machine {
            name: self.free_name(stem),
            role: Role::Source,
            // A disk that starts both ways is a Generation 2 disk that was prepared; one that starts neither way is drilled as one.
            generation: self.generation.unwrap_or(match (&inspection.uefi_start, &inspection.bios_start) {
                (Starts::No { .. } | Starts::Unknown { .. }, Starts::Yes { .. }) => Generation::Gen1,
                _ => Generation::Gen2,
            }),
            base: opened.disk.clone(),
            writes: Writes::Dropped,
            boots: 0,
            source,
            inspection: Arc::new(inspection),
            cleaned: false,
        });
        Ok((id, detail))
    }

    /// Tell what was found about a disk.
    pub(crate) fn finding(&self, action: &Action, id: &str, severity: Severity, text: &str, fix: &str) {
        let fix = Some(fix.to_owned()).filter(|f| !f.is_empty());
        self.recorder.emit(&action.path, Kind::Finding { id: id.into(), severity, text: text.into(), fix });
    }

    fn free_name(&self, wanted: &str) -> String {
        let machines = lock(&self.machines);
        let taken: BTreeMap<&str, ()> = machines.list.iter().map(|m| (m.name.as_str(), ())).collect();
        let first = if wanted.is_empty() { "machine" } else { wanted };
        (1u32..)
            .map(|n| if n == 1 { first.to_owned() } else { format!("{first}-{n}") })
            .find(|name| !taken.contains_key(name.as_str()))
            .unwrap_or_else(|| first.to_owned())
    }

    /// A new machine whose disk is `under` with a plan's writes laid over it, and a child for its guest on top.
    pub(crate) fn planned_machine(
        &self,
        action: &Action,
        from: &Machine,
        role: Role,
        under: DiskRef,
        plan: &Plan,
    ) -> Done<MachineId> {
        let broken =
            |e: &dyn std::fmt::Display| VerbError::new(Outcome::Broken, format!("{}: {e}", from.name));
        let (suffix, generation) = match role {
            Role::Copy => ("gen1", Generation::Gen1),
            Role::Home | Role::Source => ("home", Generation::Gen2),
        };
        let name = self.free_name(&format!("{}-{suffix}", from.name.trim_end_matches("-gen1")));
        let text = plan.to_string();
        let artifact = self.recorder.keep(&format!("{name}.plan.txt"), text.as_bytes()).ok();
        self.recorder.emit(&action.path, Kind::PatchPlanned { summary: plan_line(plan), artifact });
        let base = plan.patch.apply(&under).map_err(|e| broken(&e))?;
        let inspection = engine::guest::inspect(&base).map_err(|e| broken(&e))?;
        let child = self.work.join(format!("{name}.qcow2"));
        Ok(self.add(Machine {
            name,
            role,
            generation,
            base,
            writes: Writes::Kept(child),
            boots: 0,
            source: from.source,
            inspection: Arc::new(inspection),
            cleaned: false,
        }))
    }

    /// The same machine with other bytes under it.
    pub(crate) fn altered_machine(&self, from: &Machine, base: DiskRef, fault: &str) -> Done<MachineId> {
        let name = self.free_name(&format!("{}-{fault}", from.name));
        let inspection = engine::guest::inspect(&base)
            .map_err(|e| VerbError::new(Outcome::Broken, format!("{name}: {e}")))?;
        let child = self.work.join(format!("{name}.qcow2"));
        let writes = Writes::Kept(child);
        let inspection = Arc::new(inspection);
        Ok(self.add(Machine { name, base, writes, boots: 0, inspection, ..from.clone() }))
    }

    /// No boot of this machine may be running: its disk is still changing.
    pub(crate) fn must_be_off(&self, id: MachineId, verb: &str) -> Done {
        let machines = lock(&self.machines);
        let running = machines.boots.iter().any(|b| b.machine == id && b.running());
        if running {
            return Err(VerbError::new(
                Outcome::Refused,
                format!("{verb} needs a machine that is off; this one runs"),
            )
            .with_next("call stop() on what start() returned first"));
        }
        Ok(())
    }

    /// Compare a source with what it was when it was opened.
    pub(crate) fn prove_source(&self, action: &Action, source: usize) -> Done<String> {
        let (opened, hashes, named) = {
            let machines = lock(&self.machines);
            let Some(s) = machines.sources.get(source) else {
                return Err(VerbError::new(Outcome::Broken, "no such source"));
            };
            (s.opened.clone(), s.hashes.clone(), s.named.clone())
        };
        let quick = opened.unchanged().map_err(|e| e.to_string());
        let (how, ended) = match (quick, hashes) {
            (Err(e), _) => (self.lab.proof, Err(e)),
            (Ok(()), None) => (Proof::Quick, Ok(QUICK.to_owned())),
            (Ok(()), Some(before)) => {
                let after = self.hash(action, &opened)?;
                let same = before == after;
                let (before, after) = (listed(&before), listed(&after));
                let said = format!("BLAKE3 {before} before and after");
                (Proof::Full, if same { Ok(said) } else { Err(format!("BLAKE3 was {before}, is {after}")) })
            }
        };
        let (outcome, detail) = match &ended {
            Ok(detail) => (Verdict::Passed, detail.clone()),
            Err(why) => (Verdict::Broken, why.clone()),
        };
        if let Some(source) = lock(&self.machines).sources.get_mut(source) {
            source.proved = true;
        }
        self.recorder.emit(&action.path, Kind::SourceProof { file: named, how, outcome, detail });
        ended.map_err(|why| {
            VerbError::new(Outcome::Broken, format!("the source was changed by somebody else meanwhile: {why}"))
                .with_next("drill never writes to a given image; find who does, and run the drill again on a file at rest")
        })
    }

    /// Hash the image and every parent behind it.
    fn hash(
        &self,
        action: &Action,
        opened: &engine::container::Opened,
    ) -> Done<Vec<engine::hash::ContentHash>> {
        let mut progress = |p: engine::container::Progress| {
            let (what, unit) = ("hashing the source".to_owned(), "bytes".to_owned());
            self.recorder.emit(
                &action.path,
                Kind::Progress { action: action.id, what, done: p.done, total: Some(p.total), unit },
            );
            if self.cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let hashes = opened.sources.iter().map(|source| engine::hash::file(source, &mut progress));
        hashes
            .collect::<Result<_, _>>()
            .map_err(|e| VerbError::new(Outcome::Broken, format!("hashing the source: {e}")))
    }

    /// Stop every boot that still runs and prove every source at the end of the run.
    pub(crate) fn end_machines(&self) {
        let (boots, copies, unproved) = {
            let machines = lock(&self.machines);
            let left: Vec<String> = machines
                .list
                .iter()
                .filter(|m| m.role == Role::Copy && !m.cleaned)
                .map(|m| m.name.clone())
                .collect();
            let unproved: Vec<usize> =
                machines.sources.iter().enumerate().filter(|(_, s)| !s.proved).map(|(n, _)| n).collect();
            (machines.boots.clone(), left, unproved)
        };
        for boot in &boots {
            boot.kill();
        }
        self.prove_the_rest(&unproved);
        if !copies.is_empty() && !self.cancel.is_cancelled() {
            self.not_proved(format!(
                "that the test failover ended: the scenario did not clean up {} (drill removed it)",
                copies.join(", ")
            ));
        }
    }

    /// Sources that the scenario did not ask about: the quick proof, so that every report says how its sources fared.
    fn prove_the_rest(&self, sources: &[usize]) {
        for n in sources {
            let Some((opened, named)) =
                lock(&self.machines).sources.get(*n).map(|s| (s.opened.clone(), s.named.clone()))
            else {
                continue;
            };
            let changed = opened.unchanged().err();
            let outcome = changed.as_ref().map_or(Verdict::Passed, |_| Verdict::Broken);
            let detail = changed.as_ref().map_or_else(|| QUICK.to_owned(), ToString::to_string);
            self.recorder.emit(
                &EventPath::RUN,
                Kind::SourceProof { file: named.clone(), how: Proof::Quick, outcome, detail },
            );
            if let Some(why) = changed {
                self.broken(format!(
                    "that {named} was left alone: somebody else changed it meanwhile: {why}"
                ));
            }
        }
    }

    pub(crate) fn boot_of(&self, vm: VmId) -> Done<Arc<Boot>> {
        let machines = lock(&self.machines);
        usize::try_from(vm.0)
            .ok()
            .and_then(|n| machines.boots.get(n))
            .cloned()
            .ok_or_else(|| VerbError::new(Outcome::Broken, format!("no boot {}", vm.0)))
    }
}

/// The engine's word for it as the journal's.
pub(super) fn severity_of(severity: engine::guest::Severity) -> Severity {
    match severity {
        engine::guest::Severity::Blocker => Severity::Error,
        engine::guest::Severity::Warning => Severity::Warning,
        engine::guest::Severity::Note => Severity::Info,
    }
}

fn listed(hashes: &[engine::hash::ContentHash]) -> String {
    hashes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A plan in one line.
pub(super) fn plan_line(plan: &Plan) -> String {
    format!("{}: {} operations; {}", plan.guest, plan.patch.ops.len(), plan.why)
}
