//! One machine: a handle that starts it, waits, asks, looks and stops. Dropping the handle ends QEMU.

mod asks;
mod inherit;
mod looks;
mod pulse;

pub use asks::{AskError, GuestOs};
use inherit::Inherit;
pub use looks::{Looked, Picture};
pub use pulse::LATE_SECONDS;
use pulse::Pulse;

use crate::accel;
use crate::agent::{Agent, AgentError};
use crate::console::Cursor;
use crate::firmware::{self, FirmwareError};
use crate::host::Host;
use crate::ladder::{Attempt, End, Evidence, Expect, Verdict};
use crate::machine::{Accel, Base, DriveFds, Generation, Machine, MachineError, Wiring, arguments};
use crate::process::{self, Message, Observer, Process, Spec};
use crate::qmp::{Qmp, QmpError};
use crate::redact::Redactor;
use crate::screen::{FontCache, Fonts, Watch};
use crate::time::{Cancel, Deadline, TICK};
use crate::tpm::Tpm;
use serde_json::Value;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// QEMU answers its monitor in milliseconds; a host that needs longer is overloaded or broken.
const MONITOR: Duration = Duration::from_secs(20);
/// Between two questions to the guest agent while waiting.
const ASK: Duration = Duration::from_secs(2);
/// One question to the guest agent while waiting.
const ASK_FOR: Duration = Duration::from_millis(300);
/// From `quit` to the end of the process.
const QUIT: Duration = Duration::from_secs(5);

/// The firmware's variables among a machine's files; Generation 2 alone has them.
pub const VARIABLES: &str = "uefi-vars.fd";

/// Where a machine leaves its files: `console.log`, `firmware.log`, `qemu.log`, `arguments.json`.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// An existing folder, of this start alone.
    pub run_dir: PathBuf,
    /// What no file in it may hold. What the machine says is redacted before it is remembered or written.
    pub redactor: Redactor,
    /// Whether pictures of settled screens are kept.
    pub pictures: Pictures,
}

/// Which pictures of the screen a machine keeps by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pictures {
    /// None.
    None,
    /// One of each settled screen, [`MAX_SHOTS`](crate::screen::MAX_SHOTS) at most.
    #[default]
    Settled,
}

/// Why a machine did not start. None of them says anything about the guest.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine makes no sense.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// No swtpm.
    #[error("a TPM was asked for, and swtpm is not in PATH; on Debian: apt install swtpm")]
    NoTpm,
    /// A file or a socket.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// QEMU ended at once.
    #[error("QEMU did not start: {0}")]
    Qemu(String),
    /// The wait was called off.
    #[error("called off")]
    Cancelled,
}

/// How a machine came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The guest powered itself off when asked.
    Clean,
    /// It did not in time, and the plug was pulled.
    Pulled,
    /// It was off before.
    AlreadyOff,
}

/// What became of a wait for text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// It came; the place behind it.
    Found(Cursor),
    /// The deadline passed.
    Late,
    /// QEMU is gone.
    Gone,
    /// The wait was called off.
    Cancelled,
}

/// A started machine.
pub struct Vm {
    pub(crate) process: Process,
    qmp: Qmp,
    /// Dropped after QEMU: it ends by itself then.
    _tpm: Option<Tpm>,
    serial: Mutex<UnixStream>,
    pub(crate) agent: Option<Mutex<Agent>>,
    run_dir: PathBuf,
    redactor: Redactor,
    pictures: Pictures,
    withheld: AtomicU64,
    frozen: AtomicBool,
    accel: Accel,
    generation: Generation,
    dumps: AtomicU64,
    watch: Mutex<Watch>,
    pulse: Mutex<Pulse>,
    font_cache: FontCache,
    firmware_code: Option<PathBuf>,
    fonts: OnceLock<Arc<Fonts>>,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("pid", &self.process.pid)
            .field("run_dir", &self.run_dir)
            .finish_non_exhaustive()
    }
}

impl Vm {
    /// Starts `machine` and lets it run. Everything seen goes to `observer` too. The accelerator is chosen first, by the
    /// host's choice; from the first instruction on it stays.
    ///
    /// # Errors
    /// [`StartError`]; no process is left then.
    pub fn start(
        host: &Host,
        machine: &Machine,
        paths: &Paths,
        observer: Observer,
        cancel: &Cancel,
    ) -> Result<Self, StartError> {
        machine.check()?;
        let accel = accel::choose(host, machine.generation, paths, cancel);
        if cancel.is_cancelled() {
            return Err(StartError::Cancelled);
        }
        Self::start_with(host, machine, paths, observer, cancel, accel)
    }

    pub(crate) fn start_with(
        host: &Host,
        machine: &Machine,
        paths: &Paths,
        observer: Observer,
        cancel: &Cancel,
        accel: Accel,
    ) -> Result<Self, StartError> {
        machine.check()?;
        let run_dir = &paths.run_dir;
        let firmware = match machine.generation {
            Generation::Gen1 => None,
            Generation::Gen2 => {
                let found = firmware::find(&host.firmware_dirs, machine.secure_boot)?;
                Some(firmware::own_vars(&found, machine.nvram.as_deref(), &run_dir.join(VARIABLES))?)
            }
        };
        let firmware_code = firmware.as_ref().map(|f| f.code.clone());
        let mut inherit = Inherit::default();
        let (qmp, qmp_fd) = inherit.socket()?;
        let (serial, serial_fd) = inherit.socket()?;
        let (serial2, serial2_fd) = inherit.socket()?;
        let (debug, debug_fd) = inherit.socket()?;
        let (agent, agent_fd) = match machine.agent.then(|| inherit.socket()).transpose()? {
            Some((stream, fd)) => (Some(stream), Some(fd)),
            None => (None, None),
        };
        let (tpm, tpm_fd) = match machine.tpm.then(|| inherit.socket()).transpose()? {
            Some((stream, fd)) => {
                let swtpm = host.swtpm.as_deref().ok_or(StartError::NoTpm)?;
                (Some(Tpm::start(swtpm, run_dir, stream).map_err(io("start swtpm"))?), Some(fd))
            }
            None => (None, None),
        };
        let oem_fds = machine.oem_strings.iter().map(|text| inherit.text(text)).collect::<Result<_, _>>()?;
        let mut drives = Vec::new();
        for drive in &machine.disks {
            drives.push(DriveFds {
                base: match &drive.base {
                    Base::Nbd { .. } => None,
                    Base::ReadOnlyFd(fd) => Some(inherit.share(fd)),
                },
                child: drive.child.as_deref().map(|path| inherit.open(path)).transpose()?,
            });
        }
        let marker = marker(run_dir);
        let wiring = Wiring {
            marker: marker.clone(),
            accel,
            qmp_fd,
            serial_fd,
            serial2_fd,
            debug_fd,
            agent_fd,
            tpm_fd,
            oem_fds,
            drives,
            firmware,
        };
        let args = arguments(machine, &wiring);
        let mut kept = serde_json::json!(args);
        paths.redactor.json(&mut kept, &[]);
        let text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        std::fs::write(run_dir.join("arguments.json"), text).map_err(io("write arguments.json"))?;
        let serial_reader = serial.try_clone().map_err(io("share the serial port"))?;
        serial.set_write_timeout(Some(Duration::from_secs(2))).map_err(io("set up the serial port"))?;
        let spec = Spec {
            binary: host.qemu_binary.clone(),
            args,
            marker,
            run_dir: run_dir.clone(),
            inherit: inherit.fds.clone(),
            serial: serial_reader,
            serial2,
            debug,
            children: machine.disks.iter().filter_map(|d| d.child.clone()).collect(),
            child_limit: machine.child_limit,
            observer,
            redactor: paths.redactor.clone(),
        };
        let process = Process::start(spec, inherit).map_err(io("start QEMU"))?;
        let events = process.inbox.clone();
        let on_event = move |event| {
            let _ = events.send(Message::Event(event));
        };
        let deadline = Deadline::after(MONITOR);
        let started = Qmp::connect(qmp, on_event, deadline, cancel)
            .and_then(|qmp| pulse::count_late(&qmp, machine.disks.len(), deadline, cancel).map(|()| qmp))
            .and_then(|qmp| qmp.execute("cont", Value::Null, deadline, cancel).map(|_| qmp));
        let qmp = started.map_err(|error| match error {
            QmpError::Cancelled => StartError::Cancelled,
            error => StartError::Qemu(why_gone(&process, &error.to_string())),
        })?;
        let agent =
            agent.map(Agent::new).transpose().map_err(io("set up the agent's channel"))?.map(Mutex::new);
        Ok(Self {
            process,
            qmp,
            _tpm: tpm,
            serial: Mutex::new(serial),
            agent,
            run_dir: run_dir.clone(),
            redactor: paths.redactor.clone(),
            pictures: paths.pictures,
            withheld: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            accel,
            generation: machine.generation,
            dumps: AtomicU64::new(0),
            watch: Mutex::default(),
            pulse: Mutex::default(),
            font_cache: host.fonts.clone(),
            firmware_code,
            fonts: OnceLock::new(),
        })
    }

    /// What executes the guest.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// QEMU's version.
    pub fn qemu_version(&self) -> &str {
        self.qmp.version()
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The serial port's raw log.
    pub fn console_log(&self) -> PathBuf {
        process::console_log(&self.run_dir)
    }

    /// Bytes in the serial port's log so far: where what comes next will stand.
    pub fn console_log_len(&self) -> u64 {
        self.process.shared.lock().console.raw_len()
    }

    /// The attempts so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.process.shared.lock().ladder.attempts().to_vec()
    }

    /// Says how many resets belong to a good boot of this guest; more are counted towards a loop.
    pub fn expect_resets(&self, count: u32) {
        self.process.shared.lock().ladder.expect_resets(count);
    }

    /// What this host did wrong to the guest's disk so far, if anything.
    pub fn host_trouble(&self) -> Option<String> {
        self.process.shared.lock().ladder.host_trouble().map(str::to_owned)
    }

    /// Waits until the guest is ready, or it is clear that it will not be, or the deadline passes.
    pub fn wait_ready(&self, expect: &Expect, deadline: Deadline, cancel: &Cancel) -> Verdict {
        let shared = &self.process.shared;
        let mut state = shared.lock();
        state.ladder.expect(expect.clone());
        let (mut look_at, mut ask_at) = (Instant::now() + Watch::pause(Duration::ZERO), Instant::now() + ASK);
        let mut last_look = false;
        loop {
            let now = shared.now_ms();
            if cancel.is_cancelled() {
                return state.ladder.judge(End::Cancelled, now);
            }
            if let Some(verdict) = state.ladder.decided(now) {
                if verdict.is_ready() {
                    return verdict;
                }
                // How this host served the disk until now is asked first, and whether it still stands still.
                drop(state);
                self.feel(cancel);
                state = shared.lock();
                match state.ladder.decided(now) {
                    Some(verdict) => return verdict,
                    None => continue,
                }
            }
            if let Some(exited) = &state.exited {
                let words: Vec<_> = state.complaints.iter().cloned().collect();
                let reason = format!("QEMU ended by itself ({exited}): {}", words.join("; "));
                return state.ladder.judge(End::Gone(reason), now);
            }
            if state.stopped && !state.powered_off {
                drop(state);
                let reason = self.why_stopped(cancel);
                state = shared.lock();
                if let Some(reason) = reason {
                    return state.ladder.judge(End::Gone(reason), now);
                }
            }
            if deadline.passed() && last_look {
                return state.ladder.judge(End::Deadline, now);
            }
            if Instant::now() >= look_at || deadline.passed() {
                // What stands on the screen at the deadline is heard too.
                last_look = deadline.passed();
                drop(state);
                let took = self.look(cancel).map_or(Duration::ZERO, |(_, took)| took);
                self.feel(cancel);
                look_at = Instant::now() + Watch::pause(took);
                state = shared.lock();
                if last_look {
                    // Its lines go through the inbox.
                    state = shared.wait(state, TICK);
                }
                continue;
            } else if Instant::now() >= ask_at && *expect == Expect::Ready && self.agent.is_some() {
                drop(state);
                if self.with_agent(|a| a.ping(deadline.at_most(ASK_FOR), cancel)).is_some_and(|r| r.is_ok()) {
                    let _ = self.process.inbox.send(Message::AgentAnswered);
                }
                ask_at = Instant::now() + ASK;
                state = shared.lock();
            }
            state = shared.wait(state, deadline.tick());
        }
    }

    /// The end of the console's text: what comes later is behind it.
    pub fn cursor(&self) -> Cursor {
        self.process.shared.lock().console.end()
    }

    /// The console's text from a place on, escape sequences removed.
    pub fn text_since(&self, from: Cursor) -> String {
        self.process.shared.lock().console.since(from)
    }

    /// Waits for `text` on the console, at or behind `from`.
    pub fn wait_for(&self, text: &str, from: Cursor, deadline: Deadline, cancel: &Cancel) -> Waited {
        let shared = &self.process.shared;
        let mut state = shared.lock();
        loop {
            if let Some(cursor) = state.console.find(text, from) {
                return Waited::Found(cursor);
            }
            if cancel.is_cancelled() {
                return Waited::Cancelled;
            }
            if state.exited.is_some() {
                return Waited::Gone;
            }
            if deadline.passed() {
                return Waited::Late;
            }
            state = shared.wait(state, deadline.tick());
        }
    }

    /// Types on the console.
    ///
    /// # Errors
    /// QEMU is gone, or the guest took nothing for two seconds.
    pub fn send(&self, text: &str) -> std::io::Result<()> {
        lock(&self.serial).write_all(text.as_bytes())
    }

    /// Asks the guest to power off, by its agent or the power button; when the deadline passes, pulls the plug. QEMU is gone
    /// afterwards in every case.
    pub fn stop(&mut self, deadline: Deadline, cancel: &Cancel) -> Stopped {
        let off = {
            let state = self.process.shared.lock();
            state.powered_off || state.exited.is_some()
        };
        let stopped = if off {
            Stopped::AlreadyOff
        } else if self.ask_to_stop(deadline, cancel) {
            Stopped::Clean
        } else {
            Stopped::Pulled
        };
        // QEMU writes out what it holds when asked to quit; a kill comes after that.
        if !cancel.is_cancelled()
            && self.qmp.execute("quit", Value::Null, Deadline::after(QUIT), cancel).is_ok()
        {
            self.wait_state(Deadline::after(QUIT), cancel, |state| state.exited.is_some());
        }
        self.process.kill();
        stopped
    }

    /// Ends QEMU at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Whether QEMU still runs.
    pub fn is_running(&self) -> bool {
        self.process.shared.lock().exited.is_none()
    }

    fn ask_to_stop(&self, deadline: Deadline, cancel: &Cancel) -> bool {
        // A frozen guest can write nothing, so it cannot shut down either.
        if self.frozen.load(Ordering::SeqCst) {
            let _ = self.thaw(deadline.at_most(MONITOR), cancel);
        }
        let ping = deadline.at_most(Duration::from_secs(1));
        let asked =
            self.with_agent(|a| a.ping(ping, cancel).and_then(|()| a.power_off())).is_some_and(|r| r.is_ok());
        if !asked
            && self.qmp.execute("system_powerdown", Value::Null, deadline.at_most(MONITOR), cancel).is_err()
        {
            return false;
        }
        self.wait_state(deadline, cancel, |state| state.powered_off)
    }

    fn wait_state(
        &self,
        deadline: Deadline,
        cancel: &Cancel,
        done: impl Fn(&process::State) -> bool,
    ) -> bool {
        let shared = &self.process.shared;
        let mut state = shared.lock();
        loop {
            if done(&state) {
                return true;
            }
            if cancel.is_cancelled() || deadline.passed() || state.exited.is_some() {
                return false;
            }
            state = shared.wait(state, deadline.tick());
        }
    }

    pub(crate) fn with_agent<T>(
        &self,
        ask: impl FnOnce(&mut Agent) -> Result<T, AgentError>,
    ) -> Option<Result<T, AgentError>> {
        self.agent.as_ref().map(|agent| ask(&mut lock(agent)))
    }

    /// Why QEMU stopped the processors; `None` if it runs or the ladder knows (power-off, panic).
    fn why_stopped(&self, cancel: &Cancel) -> Option<String> {
        let status = self.qmp.execute("query-status", Value::Null, Deadline::after(MONITOR), cancel).ok()?;
        let words: Vec<_> = self.process.shared.lock().complaints.iter().cloned().collect();
        match status["status"].as_str()? {
            status @ ("internal-error" | "io-error") => {
                let accel = format!("{:?}", self.accel).to_lowercase();
                let generation = self.generation;
                Some(format!(
                    "QEMU stopped a {generation:?} machine under {accel}: {status}: {}",
                    words.join("; ")
                ))
            }
            _ => None,
        }
    }
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> StartError + use<> {
    let what = what.to_owned();
    move |source| StartError::Io { what, source }
}

/// What QEMU said before it ended, or `otherwise`.
fn why_gone(process: &Process, otherwise: &str) -> String {
    let patience = Deadline::after(Duration::from_secs(1));
    let mut state = process.shared.lock();
    while state.exited.is_none() && !patience.passed() {
        state = process.shared.wait(state, TICK);
    }
    if state.complaints.is_empty() {
        return otherwise.to_owned();
    }
    state.complaints.iter().cloned().collect::<Vec<_>>().join("; ")
}

/// A name by which this start's QEMU is recognised: FNV-1a of its run folder.
fn marker(run_dir: &Path) -> String {
    let hash = run_dir.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("drill-{hash:016x}")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line a verdict rests on, if it rests on one.
pub fn evidence(verdict: &Verdict) -> Option<&Evidence> {
    match &verdict.outcome {
        crate::ladder::Outcome::Ready { evidence } => Some(evidence),
        crate::ladder::Outcome::Stopped { evidence, .. } => evidence.as_ref(),
        _ => None,
    }
}
