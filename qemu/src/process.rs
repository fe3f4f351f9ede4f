//! The QEMU process and the one loop that owns it. A supervisor thread starts QEMU, hears everything it says through one
//! inbox, and outlives it: the parent-death signal fires when the *thread* that started a child ends, so QEMU dies with
//! the supervisor, with this process, and never before.

use crate::console::{Console, Line};
use crate::ladder::{Ladder, Observation, Seen, Source};
use crate::qmp::QmpEvent;
use crate::redact::{Lines, Redactor, Stream};
use crate::sweep;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::io::FdFlags;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
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
    Debug(Vec<u8>),
    Complaint(Vec<u8>),
    Event(QmpEvent),
    ScreenLines(Vec<String>),
    NoText,
    Shot { file: String, text: Option<String> },
    AgentAnswered,
    Kill,
}

/// What the supervisor knows. It alone changes it; others read under the lock.
pub(crate) struct State {
    pub console: Console,
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
    pub debug: UnixStream,
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
        let log = |name: &str| Log::create(&spec.run_dir.join(name), &spec.redactor);
        let logs = Logs { serial: log("console.log")?, debug: log("firmware.log")?, qemu: log("qemu.log")? };
        let (inbox, messages) = bounded(INBOX);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                console: Console::default(),
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
            pump(spec.debug, sender, Message::Debug);
            let record = sweep::write_record(&spec.run_dir, child.id(), &spec.marker);
            if let Err(error) = record {
                let _ = child.kill();
                let _ = child.wait();
                return drop(born.send(Err(error)));
            }
            let _ = born.send(Ok(child.id()));
            Supervisor { shared: state, observer: spec.observer, debug: Console::default(), logs }
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

struct Logs {
    serial: Log,
    debug: Log,
    qemu: Log,
}

/// A file that takes what may be written of a stream.
struct Log {
    file: File,
    values: Stream,
    lines: Lines,
}

impl Log {
    fn create(path: &Path, redactor: &Redactor) -> std::io::Result<Log> {
        Ok(Log { file: File::create(path)?, values: redactor.stream(), lines: redactor.lines() })
    }

    /// Writes what may be written; gives what may be remembered.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let clean = self.values.push(bytes);
        let _ = self.file.write_all(&self.lines.push(&clean));
        clean
    }

    fn finish(&mut self) {
        let clean = self.values.finish();
        let _ = self.file.write_all(&self.lines.push(&clean));
        let _ = self.file.write_all(&self.lines.finish());
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    observer: Observer,
    debug: Console,
    logs: Logs,
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
            }
        }
    }

    /// QEMU is gone: what it said last is heard, then the end is told.
    fn end(&mut self, how: String, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv_timeout(Duration::from_millis(20)) {
            self.take(message);
        }
        for log in [&mut self.logs.serial, &mut self.logs.debug, &mut self.logs.qemu] {
            log.finish();
        }
        self.shared.lock().exited = Some(how);
        self.shared.changed.notify_all();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Serial(bytes) => {
                let bytes = self.logs.serial.take(&bytes);
                let lines = self.shared.lock().console.push(&bytes);
                self.lines(Source::Serial, lines);
            }
            Message::Debug(bytes) => {
                let bytes = self.logs.debug.take(&bytes);
                let lines = self.debug.push(&bytes);
                self.lines(Source::Debug, lines);
            }
            Message::ScreenLines(lines) => {
                self.lines(Source::Screen, lines.into_iter().map(Line::Whole).collect());
            }
            Message::Complaint(bytes) => {
                let bytes = self.logs.qemu.take(&bytes);
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
            Message::Event(event) => self.event(&event),
            Message::Kill => {}
        }
        self.shared.changed.notify_all();
    }

    fn event(&mut self, event: &QmpEvent) {
        match event.name.as_str() {
            "RESET" => self.observe(Source::Qemu, Seen::Reset),
            "SHUTDOWN" if event.data["guest"] == true => {
                self.shared.lock().powered_off = true;
                self.observe(Source::Qemu, Seen::PowerOff);
            }
            "GUEST_PANICKED" => self.observe(Source::Qemu, Seen::Panicked),
            "STOP" => self.shared.lock().stopped = true,
            "RESUME" => self.shared.lock().stopped = false,
            _ => {}
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
