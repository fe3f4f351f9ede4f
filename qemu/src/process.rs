//! The QEMU process and the one loop that owns it. A supervisor thread starts QEMU, hears everything it says through one
//! inbox, and outlives it: the parent-death signal fires when the *thread* that started a child ends, so QEMU dies with
//! the supervisor, with this process, and never before.

use crate::console::{Console, Cursor, Line};
use crate::events;
use crate::ladder::{Ladder, Observation, Seen, Source};
use crate::log::Logs;
use crate::qmp::QmpEvent;
use crate::redact::Redactor;
use crate::room::Room;
use crate::sweep;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::io::FdFlags;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages in flight; a full inbox slows QEMU down, it loses nothing.
const INBOX: usize = 256;
/// Lines of QEMU's own complaints kept for an error message.
const MAX_COMPLAINTS: usize = 20;
/// How soon the end of the process is noticed when its sockets do not tell.
const REAP_TICK: Duration = Duration::from_millis(50);

/// Everything that reaches the supervisor.
pub(crate) enum Message {
    Serial(Vec<u8>),
    Serial2(Vec<u8>),
    Debug(Vec<u8>),
    Complaint(Vec<u8>),
    Event(QmpEvent),
    ScreenLines(Vec<String>),
    NoText,
    Shot { file: String, text: Option<String> },
    AgentAnswered,
    HostIo(String),
    Kill,
}

/// What the supervisor knows. It alone changes it; others read under the lock.
pub(crate) struct State {
    pub console: Console,
    /// Bytes that came from any serial port and from the debug port.
    pub said: u64,
    pub ladder: Ladder,
    /// How QEMU ended, once it was reaped.
    pub exited: Option<String>,
    /// The guest powered off (QEMU keeps it, paused).
    pub powered_off: bool,
    /// The virtual processors were stopped by QEMU itself.
    pub stopped: bool,
    pub complaints: VecDeque<String>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub started: Instant,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, at most `span`.
    pub fn wait<'a>(&self, guard: MutexGuard<'a, State>, span: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(guard, span).unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Called with every observation, from the supervisor thread; it must not block for long.
pub type Observer = Box<dyn FnMut(&Observation) + Send>;

pub(crate) struct Spec {
    pub binary: PathBuf,
    pub args: Vec<String>,
    pub marker: String,
    pub run_dir: PathBuf,
    /// Descriptors the child inherits under the same numbers.
    pub inherit: Vec<RawFd>,
    pub serial: UnixStream,
    pub serial2: UnixStream,
    pub debug: UnixStream,
    /// Files that take the guest's writes, and how long each may become, bytes.
    pub children: Vec<PathBuf>,
    pub child_limit: u64,
    pub observer: Observer,
    pub redactor: Redactor,
}

/// A running QEMU.
pub(crate) struct Process {
    pub inbox: Sender<Message>,
    pub shared: Arc<Shared>,
    pub pid: u32,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts QEMU. `keep` holds the child's ends of everything and is dropped as soon as the child has them.
    pub fn start(spec: Spec, keep: impl Send + 'static) -> std::io::Result<Self> {
        let logs = Logs::create(&spec.run_dir, &spec.redactor)?;
        let (inbox, messages) = bounded(INBOX);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                console: Console::default(),
                said: 0,
                ladder: Ladder::default(),
                exited: None,
                powered_off: false,
                stopped: false,
                complaints: VecDeque::new(),
            }),
            changed: Condvar::new(),
            started: Instant::now(),
        });
        let (born, birth) = bounded(1);
        let (sender, state) = (inbox.clone(), Arc::clone(&shared));
        let body = move || {
            let spawned = spawn(&spec);
            drop(keep);
            let mut child = match spawned {
                Ok(child) => child,
                Err(error) => return drop(born.send(Err(error))),
            };
            if let Some(stderr) = child.stderr.take() {
                pump(stderr, sender.clone(), Message::Complaint);
            }
            pump(spec.serial, sender.clone(), Message::Serial);
            pump(spec.serial2, sender.clone(), Message::Serial2);
            pump(spec.debug, sender, Message::Debug);
            let record = sweep::write_record(&spec.run_dir, child.id(), &spec.marker);
            if let Err(error) = record {
                let _ = child.kill();
                let _ = child.wait();
                return drop(born.send(Err(error)));
            }
            let _ = born.send(Ok(child.id()));
            let room = Room::new(spec.children, spec.child_limit);
            let (serial2, debug) = (Console::default(), Console::default());
            Supervisor { shared: state, observer: spec.observer, serial2, debug, logs, room }
                .run(child, &messages);
            sweep::remove_record(&spec.run_dir);
        };
        let thread = std::thread::Builder::new().name("qemu".into()).spawn(body)?;
        let pid = birth.recv().unwrap_or_else(|_| Err(std::io::Error::other("the supervisor ended")))?;
        Ok(Self { inbox, shared, pid, thread: Some(thread) })
    }

    /// Ends QEMU now and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.inbox.send(Message::Kill);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(spec: &Spec) -> std::io::Result<Child> {
    let mut command = Command::new(&spec.binary);
    command
        .args(&spec.args)
        // It needs nothing of the environment, in which secrets may stand.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    inherit(&mut command, spec.inherit.clone());
    command.spawn()
}

/// Lets the child keep `fds` and die with the thread that starts it.
#[allow(unsafe_code)]
fn inherit(command: &mut Command, fds: Vec<RawFd>) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(std::io::Error::from(rustix::io::Errno::SRCH));
        }
        for fd in &fds {
            // SAFETY: the caller keeps these descriptors open until `spawn` has returned.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only prctl, getppid and fcntl are called; nothing allocates or locks.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Carries what a descriptor says into the inbox until it ends.
fn pump(mut from: impl Read + Send + 'static, inbox: Sender<Message>, wrap: fn(Vec<u8>) -> Message) {
    let body = move || {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    if inbox.send(wrap(buffer.get(..read).unwrap_or_default().to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    };
    // Without this thread the guest would be unheard; then the start fails by its deadline.
    let _ = std::thread::Builder::new().name("qemu-pump".into()).spawn(body);
}

struct Supervisor {
    shared: Arc<Shared>,
    observer: Observer,
    serial2: Console,
    debug: Console,
    logs: Logs,
    room: Room,
}

impl Supervisor {
    fn run(mut self, mut child: Child, messages: &Receiver<Message>) {
        let mut reap_at = Instant::now() + REAP_TICK;
        loop {
            match messages.recv_timeout(reap_at.saturating_duration_since(Instant::now())) {
                Ok(Message::Kill) | Err(RecvTimeoutError::Disconnected) => {
                    // Reaped below; a process that is already gone cannot be killed again.
                    let _ = child.kill();
                    let status = child.wait();
                    return self.end(status.map_or_else(|e| e.to_string(), |s| s.to_string()), messages);
                }
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= reap_at {
                reap_at = Instant::now() + REAP_TICK;
                match child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return self.end(status.to_string(), messages),
                    Err(error) => return self.end(error.to_string(), messages),
                }
                if let Some(why) = self.room.outgrown() {
                    self.observe(Source::Qemu, Seen::HostIo(why.clone()));
                    let _ = child.kill();
                    let _ = child.wait();
                    return self.end(why, messages);
                }
            }
        }
    }

    /// QEMU is gone: what it said last is heard, then the end is told.
    fn end(&mut self, how: String, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv_timeout(Duration::from_millis(20)) {
            self.take(message);
        }
        self.logs.finish();
        let mut state = self.shared.lock();
        if self.logs.serial.is_full() {
            // The beginning is in the log; of the rest the end is worth most.
            self.logs.keep_tail(state.console.since(Cursor::default()).as_bytes());
        }
        state.exited = Some(how);
        drop(state);
        self.shared.changed.notify_all();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Serial(bytes) => {
                self.moved(&bytes);
                let (bytes, full) = self.logs.serial.take(&bytes);
                let lines = self.shared.lock().console.push(&bytes);
                self.lines(Source::Serial, lines);
                self.flood(full, Source::Serial);
            }
            Message::Serial2(bytes) => {
                self.moved(&bytes);
                let (bytes, full) = self.logs.serial2.take(&bytes);
                let lines = self.serial2.push(&bytes);
                self.lines(Source::Serial2, lines);
                self.flood(full, Source::Serial2);
            }
            Message::Debug(bytes) => {
                self.moved(&bytes);
                let (bytes, _) = self.logs.debug.take(&bytes);
                let lines = self.debug.push(&bytes);
                self.lines(Source::Debug, lines);
            }
            Message::ScreenLines(lines) => {
                self.lines(Source::Screen, lines.into_iter().map(Line::Whole).collect());
            }
            Message::Complaint(bytes) => {
                let (bytes, _) = self.logs.qemu.take(&bytes);
                let mut state = self.shared.lock();
                for line in String::from_utf8_lossy(&bytes).lines().filter(|l| !l.trim().is_empty()) {
                    if state.complaints.len() >= MAX_COMPLAINTS {
                        state.complaints.pop_front();
                    }
                    state.complaints.push_back(line.trim().to_owned());
                }
            }
            Message::NoText => self.observe(Source::Screen, Seen::NoText),
            Message::Shot { file, text } => self.observe(Source::Screen, Seen::Shot { file, text }),
            Message::AgentAnswered => self.observe(Source::Agent, Seen::AgentAnswered),
            Message::HostIo(how) => self.observe(Source::Qemu, Seen::HostIo(how)),
            Message::Event(event) => self.event(&event),
            Message::Kill => {}
        }
        self.shared.changed.notify_all();
    }

    fn event(&mut self, event: &QmpEvent) {
        match (event.name.as_str(), events::seen(event)) {
            ("STOP", _) => self.shared.lock().stopped = true,
            ("RESUME", _) => self.shared.lock().stopped = false,
            (_, Some(Seen::PowerOff)) => {
                self.shared.lock().powered_off = true;
                self.observe(Source::Qemu, Seen::PowerOff);
            }
            (_, Some(seen)) => self.observe(Source::Qemu, seen),
            (_, None) => {}
        }
    }

    /// Counts what a port said.
    fn moved(&self, bytes: &[u8]) {
        let mut state = self.shared.lock();
        state.said = state.said.saturating_add(bytes.len() as u64);
    }

    fn flood(&mut self, full: bool, source: Source) {
        if full {
            self.observe(source, Seen::Flood);
        }
    }

    fn lines(&mut self, source: Source, lines: Vec<Line>) {
        for line in lines {
            self.observe(
                source,
                match line {
                    Line::Whole(text) => Seen::Line(text),
                    Line::Partial(text) => Seen::Partial(text),
                },
            );
        }
    }

    fn observe(&mut self, source: Source, seen: Seen) {
        let observation = Observation { at_ms: self.shared.now_ms(), source, seen };
        self.shared.lock().ladder.observe(&observation);
        (self.observer)(&observation);
    }
}

/// The log files a run leaves in its folder.
pub(crate) fn console_log(run_dir: &Path) -> PathBuf {
    run_dir.join("console.log")
}
