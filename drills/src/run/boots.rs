//! Boots of machines: serve the disk, put a child on top, start QEMU, tell the ladder's climb as events.

use super::Run;
use super::actions::{Action, lock};
use super::climb::Climb;
use super::machines::{Machine, Writes};
use crate::event::{self, EventPath, Evidence, EvidenceLevel, Kind, Pointer};
use crate::fault::Judgement;
use crate::script::stage::{Done, ExitPolicy, Nvram, RunOutput, StartOptions, Words};
use crate::script::{MachineId, VerbError, VerbOutcome as Outcome, VmId};
use crate::serve::{Pace, Server};
use crate::verdict;
use qemu::ladder::{self, Attempt};
use qemu::{
    Accel, Base, Cancel, Deadline, Drive, Expect, Generation, Observation, RunResult, Stopped, Verdict, Vm,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a guest may take to shut down before its plug is pulled.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// How long a command in the guest may take.
const RUN_WITHIN: Duration = Duration::from_secs(120);
/// Longest piece of a command's output that a message quotes.
const QUOTED: usize = 400;
/// Memory of a machine that does not say.
const MEMORY_MIB: u32 = 1024;
/// Reads of one disk that failed and are told: a guest tries again and again.
const MAX_READ_ERRORS_TOLD: u32 = 5;
/// Least time between two events about a growing console.
const CONSOLE_EVERY: Duration = Duration::from_millis(250);

/// One start of a machine.
pub(crate) struct Boot {
    pub(crate) machine: MachineId,
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(super) secure_boot: bool,
    vm: RwLock<Vm>,
    server: Mutex<Option<Server>>,
    pace: Arc<Pace>,
    stopped: AtomicBool,
    dropped_child: Option<PathBuf>,
}

impl Boot {
    pub(crate) fn running(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst)
    }

    /// Pull the plug, if it is in. Ends within a second.
    pub(crate) fn kill(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Ok(mut vm) = self.vm.try_write() {
            vm.kill();
            self.drop_disk();
            return;
        }
        // Somebody waits for this machine, and its end wakes him; the run's own end comes here again and drops the disk. A stop
        // that is under way (no reader is let in) ends the machine itself.
        if let Ok(vm) = self.vm.try_read()
            && vm.is_running()
            && let Some(pid) = i32::try_from(vm.pid()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    pub(super) fn vm(&self) -> std::sync::RwLockReadGuard<'_, Vm> {
        self.vm.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a wait ends in. A guest that was let down by this host's disk gives no answer.
    fn wait(&self, expect: &Expect, within: Duration, cancel: &Cancel) -> Verdict {
        let mut verdict = self.vm().wait_ready(expect, Deadline::after(within), cancel);
        let longest = self.pace.longest();
        if longest >= Duration::from_secs(qemu::LATE_SECONDS)
            && matches!(verdict.outcome, ladder::Outcome::Stopped { .. } | ladder::Outcome::Unseen { .. })
        {
            let reason = format!(
                "this host let the guest wait {} s for a read of its disk, longer than a guest waits; what the guest did then is no answer about it",
                longest.as_secs()
            );
            verdict.outcome = ladder::Outcome::Broken { reason };
        }
        verdict
    }

    fn drop_disk(&self) {
        // QEMU is gone: its NBD server goes, and with it the descriptors of everything below.
        drop(lock(&self.server).take());
        if let Some(child) = &self.dropped_child {
            let _ = std::fs::remove_file(child);
        }
    }
}

impl Run {
    /// A disk that cannot be read under a running guest is our trouble, and is said at once.
    fn on_read_error(&self, machine: &str) -> crate::serve::OnError {
        let (recorder, machine) = (self.recorder.clone(), machine.to_owned());
        let told = AtomicU32::new(0);
        Arc::new(move |e| {
            let number = told.fetch_add(1, Ordering::SeqCst);
            if number < MAX_READ_ERRORS_TOLD {
                let text = format!("reading the disk of {machine} failed: {e}");
                recorder.emit(&EventPath::RUN, Kind::Note { text });
            } else if number == MAX_READ_ERRORS_TOLD {
                let text =
                    format!("reading the disk of {machine} goes on failing, which is not told each time");
                recorder.emit(&EventPath::RUN, Kind::Note { text });
            }
        })
    }

    pub(crate) fn start_machine(
        &self,
        action: &Action,
        id: MachineId,
        options: &StartOptions,
    ) -> Done<(VmId, String)> {
        self.must_be_off(id, "start")?;
        let machine = self.machine_of(id)?;
        let number = self.count_boot(id);
        let broken = |what: &str, e: &dyn std::fmt::Display| {
            VerbError::new(Outcome::Broken, format!("{}: {what}: {e}", machine.name))
        };
        let tag = format!("{}-{number}", machine.name);
        let sector = u32::from(machine.base.geometry().sector);
        if machine.generation == Generation::Gen1 && sector != 512 {
            return Err(VerbError::new(
                Outcome::Refused,
                format!(
                    "{} has sectors of {sector} bytes: a Generation 1 machine starts from IDE, which has 512",
                    machine.name
                ),
            )
            .with_next("boot it as Generation 2, or convert it first (`drill convert --to gen1`): that copy has sectors of 512 bytes"));
        }
        let choice = self.disk_bus(&machine)?;
        let (child, dropped_child) = match &machine.writes {
            Writes::Kept(child) => (child.clone(), None),
            Writes::Dropped => {
                let child = self.work.join(format!("{tag}.qcow2"));
                (child.clone(), Some(child))
            }
        };
        if !child.exists() {
            engine::container::qcow2::create_child(&child, machine.base.geometry())
                .map_err(|e| broken("making its child", &e))?;
        }
        let socket = self.lab.sockets.join(format!("{}-{}.nbd", std::process::id(), action.id));
        let server = Server::start(machine.base.clone(), &socket, "disk", self.on_read_error(&machine.name))
            .map_err(|e| broken("serving its disk", &e))?;
        let secure_boot = options.secure_boot.unwrap_or(false);
        let wanted = qemu::Machine {
            generation: machine.generation,
            bus: choice.bus,
            memory_mib: options
                .memory_bytes
                .and_then(|b| u32::try_from(b / engine::units::MIB).ok())
                .unwrap_or(MEMORY_MIB),
            cpus: options.cpus.unwrap_or(2),
            secure_boot,
            nvram: match options.nvram {
                Some(Nvram::Kept) if machine.generation == Generation::Gen2 => {
                    Some(self.kept_nvram(id, secure_boot)?)
                }
                _ => None, // a BIOS has none
            },
            tpm: options.tpm,
            disks: vec![Drive {
                base: Base::Nbd { socket, export: "disk".into() },
                child: Some(child),
                sector,
            }],
            agent: true,
            child_limit: options.writes_bytes.unwrap_or(qemu::CHILD_LIMIT),
            oem_strings: self.marker(options)?.into_iter().collect(),
        };
        let resets = options.resets.unwrap_or(0);
        let observer = self.observer(&machine, number, &action.path, &tag, resets);
        let paths = qemu::Paths {
            run_dir: self.recorder.run_dir().join(&tag),
            redactor: self.recorder.redactor().clone(),
            pictures: match self.evidence {
                EvidenceLevel::Minimal => qemu::Pictures::None,
                EvidenceLevel::Normal | EvidenceLevel::Full => qemu::Pictures::Settled,
            },
        };
        std::fs::create_dir(&paths.run_dir).map_err(|e| broken("making its folder", &e))?;
        let vm = Vm::start(&self.lab.host, &wanted, &paths, observer, &self.cancel)
            .map_err(|e| broken("starting it", &e))?;
        vm.expect_resets(resets);
        let (generation, firmware) = match (machine.generation, secure_boot) {
            (Generation::Gen1, _) => (1, "SeaBIOS"),
            (Generation::Gen2, true) => (2, "OVMF, Secure Boot enforced"),
            (Generation::Gen2, false) => (2, "OVMF, Secure Boot off"),
        };
        let firmware = if options.tpm { format!("{firmware}, TPM 2.0") } else { firmware.to_owned() };
        let disk_bus = choice.bus.name();
        let accelerator = match vm.accel() {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        };
        self.recorder.emit(
            &action.path,
            Kind::MachineStarted {
                machine: machine.name.clone(),
                boot: number,
                generation,
                firmware: firmware.clone(),
                accelerator: accelerator.into(),
                disk_bus: disk_bus.into(),
            },
        );
        let mut detail = format!("{firmware}, {accelerator}, disk on {disk_bus}");
        if let Some(why) = choice.instead_of {
            let usual = machine.generation.disk_bus().name();
            detail.push_str(&format!(" instead of {usual}: {why}"));
            self.not_proved(format!(
                "that {} finds a disk on {usual}: {why}, so it was started from {disk_bus}",
                machine.name
            ));
        }
        let boot = Boot {
            machine: id,
            name: machine.name,
            number,
            secure_boot,
            vm: RwLock::new(vm),
            pace: Arc::clone(server.pace()),
            server: Mutex::new(Some(server)),
            stopped: AtomicBool::new(false),
            dropped_child,
        };
        let mut machines = lock(&self.machines);
        machines.boots.push(Arc::new(boot));
        Ok((VmId(u32::try_from(machines.boots.len().saturating_sub(1)).unwrap_or(u32::MAX)), detail))
    }

    /// Where the disk hangs: on a bus for which the guest, as it is now, has a driver. Nothing was started when there is none.
    fn disk_bus(&self, machine: &Machine) -> Done<super::bus::Choice> {
        // A disk that cannot be looked at is one of which nothing is known.
        let drivers =
            engine::guest::look(&machine.now()?).map(|guest| engine::guest::initramfs::drivers(&guest));
        let drivers = drivers.unwrap_or_else(|e| engine::guest::initramfs::Drivers::unknown(&e.to_string()));
        super::bus::choose(machine.generation, &drivers).map_err(|why| {
            VerbError::new(Outcome::NotPerformed, format!("{}: {why}", machine.name)).with_next(
                "add a driver that the lab has to the guest's initramfs (ata_piix or virtio_scsi), or start it on the platform it was made for",
            )
        })
    }

    fn count_boot(&self, id: MachineId) -> u32 {
        let mut machines = lock(&self.machines);
        let Some(machine) = usize::try_from(id.0).ok().and_then(|n| machines.list.get_mut(n)) else {
            return 1;
        };
        machine.boots = machine.boots.saturating_add(1);
        machine.boots
    }

    fn observer(
        &self,
        machine: &Machine,
        boot: u32,
        path: &EventPath,
        tag: &str,
        resets: u32,
    ) -> qemu::Observer {
        let (recorder, path, name) = (self.recorder.clone(), path.clone(), machine.name.clone());
        let (tag, console) = (tag.to_owned(), event::ArtifactName::new(format!("{tag}/console.log")).ok());
        let mut climb = Climb::new(resets, self.recorder.redactor().clone());
        let (mut told_len, mut told_at) = (0u64, None::<Instant>);
        Box::new(move |seen: &Observation| {
            let mut news = climb.news(&name, boot, seen);
            let due = !news.is_empty() || told_at.is_none_or(|at| at.elapsed() >= CONSOLE_EVERY);
            if let Some(artifact) = console.as_ref().filter(|_| due) {
                let file = recorder.run_dir().join(artifact.as_str());
                let len = std::fs::metadata(file).map_or(0, |m| m.len());
                if len > told_len {
                    let new = Pointer {
                        artifact: artifact.clone(),
                        offset: told_len,
                        len: len.saturating_sub(told_len),
                    };
                    (told_len, told_at) = (len, Some(Instant::now()));
                    recorder.emit(&path, Kind::Console { machine: name.clone(), at: new });
                }
            }
            news.extend(super::screens::kept(&recorder, &name, &tag, seen));
            for kind in news {
                recorder.emit(&path, kind);
            }
        })
    }

    pub(crate) fn await_ready(
        &self,
        action: &Action,
        vm: VmId,
        expect: &Expect,
        within: Duration,
    ) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let verdict = boot.wait(expect, within, &self.cancel);
        let ended = self.tell_verdict(action, &boot, &verdict);
        match &ended {
            Ok(_) if self.evidence == EvidenceLevel::Full => {
                self.keep_screen_as(action, &boot, &format!("screen-action-{}.png", action.id));
            }
            Err(_) if !self.cancel.is_cancelled() => self.keep_screen(action, &boot),
            _ => {}
        }
        ended.map(|text| ((), text))
    }

    /// Emit what a wait ended in, and turn it into the verb's end.
    fn tell_verdict(&self, action: &Action, boot: &Boot, found: &Verdict) -> Done<String> {
        let shown = |evidence: &ladder::Evidence| event_evidence(self.recorder.redactor(), evidence);
        let rung = found.attempts.last().and_then(Attempt::highest).map(event::Rung::from);
        let (outcome, cause, evidence, next) = match &found.outcome {
            ladder::Outcome::Ready { evidence } => {
                (verdict::Outcome::Passed, "ready".to_owned(), vec![shown(evidence)], None)
            }
            ladder::Outcome::Stopped { at, why, evidence } => {
                let cause = format!("stopped at {}: {}", event::Rung::from(*at), why.text);
                let evidence = evidence.iter().map(shown).collect();
                (verdict::Outcome::Failed, cause, evidence, Some(why.next.clone()))
            }
            ladder::Outcome::Unseen { what, hint } => {
                (verdict::Outcome::NotPerformed, what.clone(), Vec::new(), Some(hint.clone()))
            }
            ladder::Outcome::Broken { reason } => {
                (verdict::Outcome::Broken, reason.clone(), Vec::new(), None)
            }
            ladder::Outcome::Cancelled => {
                (verdict::Outcome::Interrupted, "the run was cancelled".to_owned(), Vec::new(), None)
            }
        };
        self.recorder.emit(
            &action.path,
            Kind::BootVerdict {
                machine: boot.name.clone(),
                boot: boot.number,
                outcome,
                rung,
                cause: cause.clone(),
                evidence: evidence.clone(),
                next: next.clone(),
            },
        );
        let words = evidence.first().map(|e| format!(": “{}”", e.text)).unwrap_or_default();
        let failed = |outcome| Err(VerbError { outcome, message: format!("{cause}{words}"), next });
        match outcome {
            verdict::Outcome::Passed => {
                Ok(format!("ready after {} s lab time{words}", tenths(found.took_ms)))
            }
            verdict::Outcome::Failed => failed(Outcome::Failed),
            verdict::Outcome::NotPerformed => failed(Outcome::NotPerformed),
            verdict::Outcome::Interrupted => failed(Outcome::Interrupted),
            _ => failed(Outcome::Broken),
        }
    }

    pub(crate) fn run_in_guest(
        &self,
        action: &Action,
        vm: VmId,
        command: &Words,
        policy: ExitPolicy,
    ) -> Done<(RunOutput, String)> {
        let boot = self.boot_of(vm)?;
        match boot.vm().run(command.sent(), Deadline::after(RUN_WITHIN), &self.cancel) {
            RunResult::Ran { exit, output, via } => {
                // Before it is cut: a part of a secret is no longer known as one.
                let output = self.recorder.redactor().text(&output);
                if self.evidence == EvidenceLevel::Full {
                    let file = format!("{}-{}/run-{}.txt", boot.name, boot.number, action.id);
                    let kept = self.recorder.keep(&file, output.as_bytes());
                    self.note_under(
                        action,
                        &kept
                            .map_or_else(|e| format!("{file}: {e}"), |at| format!("output: {}", at.artifact)),
                    );
                }
                let exit = i64::from(exit);
                let by = match via {
                    qemu::Via::Agent => "the guest agent",
                    qemu::Via::Console => "the console's shell",
                };
                let detail = format!("exit {exit}, by {by}");
                if exit != 0 && policy == ExitPolicy::MustBeZero {
                    let said: String = output.trim().chars().take(QUOTED).collect();
                    return Err(VerbError::new(
                        Outcome::Failed,
                        format!("`{command}` ended with exit code {exit}, wanted 0: {said}"),
                    ));
                }
                Ok((RunOutput { exit, output }, detail))
            }
            RunResult::Late { .. } | RunResult::NoWay { .. } if boot.vm().host_trouble().is_some() => {
                let host = boot.vm().host_trouble().unwrap_or_default();
                Err(VerbError::new(Outcome::Broken, format!("`{command}` in the guest: {host}")))
            }
            RunResult::NoWay { reason } => Err(VerbError::new(
                Outcome::NotPerformed,
                format!("`{command}` could not be run in the guest: {reason}"),
            )
            .with_next("install qemu-guest-agent in the guest, or give it a shell on ttyS0")),
            RunResult::Late { .. } => Err(VerbError::new(
                Outcome::Failed,
                format!(
                    "`{command}` did not end within {} s; whether it did anything is not known",
                    RUN_WITHIN.as_secs()
                ),
            )),
            RunResult::Cancelled => Err(VerbError::new(Outcome::Interrupted, "the run was cancelled")),
        }
    }

    pub(crate) fn stop_boot(&self, vm: VmId) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        if boot.stopped.swap(true, Ordering::SeqCst) {
            return Ok(((), "was off already".into()));
        }
        let how = boot
            .vm
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .stop(Deadline::after(STOP_WITHIN), &self.cancel);
        boot.drop_disk();
        match how {
            Stopped::Clean => Ok(((), "clean: the guest shut down".into())),
            Stopped::AlreadyOff => Ok(((), "the guest was off already".into())),
            Stopped::Pulled => Ok(((), "pulled: the guest did not answer the power button in time; its file systems may hold a journal".into())),
        }
    }

    pub(crate) fn expect_failure(
        &self,
        action: &Action,
        vm: VmId,
        cause: &str,
        within: Duration,
    ) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let verdict = self.verdict_of(&boot, within);
        // A control ends well when the guest fails: what it showed then is its evidence too.
        if !verdict.is_ready() && !self.cancel.is_cancelled() {
            self.keep_screen(action, &boot);
        }
        let found = match crate::fault::judge(cause, &verdict) {
            Some((Judgement::Caught, seen)) => Ok(seen.caught()),
            Some((_, seen)) => Err(VerbError::new(Outcome::Failed, seen.not_caught(cause))),
            None => self.tell_verdict(action, &boot, &verdict),
        };
        found.map(|text| ((), text))
    }

    /// What waiting for `ready` ends in.
    pub(crate) fn verdict_of(&self, boot: &Boot, within: Duration) -> Verdict {
        boot.wait(&Expect::Ready, within, &self.cancel)
    }

    pub(crate) fn send_to(&self, machine: &str, text: &str) {
        let boot =
            lock(&self.machines).boots.iter().rev().find(|b| b.name == machine && b.running()).cloned();
        match boot {
            Some(boot) => {
                if let Err(e) = boot.vm().send(text) {
                    self.say(&format!("typing on {machine}: {e}"));
                }
            }
            None => self.say(&format!("no machine named {machine} runs")),
        }
    }

    pub(crate) fn stop_by_name(&self, machine: &str) {
        let boot =
            lock(&self.machines).boots.iter().rev().find(|b| b.name == machine && b.running()).cloned();
        match boot {
            Some(boot) => {
                boot.kill();
                self.say(&format!("{machine} was switched off on request"));
            }
            None => self.say(&format!("no machine named {machine} runs")),
        }
    }

    pub(crate) fn type_on(&self, vm: VmId, text: &Words) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        boot.vm().send(text.sent()).map_err(|e| VerbError::new(Outcome::Broken, e.to_string()))?;
        Ok(((), String::new()))
    }

    pub(crate) fn text_seen(&self, vm: VmId, text: &str) -> Done<(bool, String)> {
        let boot = self.boot_of(vm)?;
        let seen = boot.vm().text_since(qemu::Cursor::default()).contains(text);
        Ok((seen, if seen { "seen".into() } else { "not seen".into() }))
    }
}

impl From<qemu::Rung> for event::Rung {
    fn from(rung: qemu::Rung) -> event::Rung {
        match rung {
            qemu::Rung::Firmware => event::Rung::Firmware,
            qemu::Rung::Loader => event::Rung::Loader,
            qemu::Rung::Kernel => event::Rung::Kernel,
            qemu::Rung::Init => event::Rung::Init,
            qemu::Rung::Ready => event::Rung::Ready,
        }
    }
}

/// Redacted before it is cut: a part is no longer known as one.
pub(super) fn event_evidence(redactor: &qemu::Redactor, evidence: &ladder::Evidence) -> Evidence {
    Evidence { at: None, text: redactor.text(&evidence.line).chars().take(QUOTED).collect() }
}

/// Milliseconds as seconds with one decimal.
fn tenths(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}
