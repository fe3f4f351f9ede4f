//! The `qemu-nbd` that reads a foreign image: what it may open, and how it ends.
//!
//! A thread of its own confines itself with Landlock and then starts the process, which inherits the confinement: it may read the image's files, which it
//! got as descriptors, and its own program and libraries; it may make one socket; it may write nothing and has no network. Should QEMU be
//! talked into following a name, there is nothing at its end. The thread lives as long as the process, because the kernel kills a
//! child when the *thread* that started it ends.

use super::graph::Graph;
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit, Signal};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Time `qemu-nbd` has to open the image and its socket.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time it has to end after it hung up.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How often its socket is tried until it is there.
const CONNECT_TICK: Duration = Duration::from_millis(3);
/// Longest path of a Unix socket, in bytes. unix(7)
const SOCKET_PATH_MAX: usize = 107;
/// What `qemu-nbd` answers when it does not open an image.
const IMAGE_REFUSED: i32 = 1;
/// Most of its complaints that are kept, in bytes.
const WORDS_MAX: usize = 4096;
/// Memory it may map, in bytes. Tables of a large image are cached in a few MiB; a hostile one shall not take the host's memory.
const MEMORY_MAX: u64 = 4 << 30;
/// Where a program finds its libraries, and what the loader and C library look at.
const READABLE: [&str; 9] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/nix/store",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
    "/sys/devices/system",
];
/// The Landlock version whose rights are asked for; an older kernel gives what it has.
const LANDLOCK: ABI = ABI::V6;

/// A running `qemu-nbd`. Dropping it kills it and waits until it is gone.
pub(super) struct Sandbox {
    child: Arc<Mutex<Child>>,
    words: Arc<Mutex<Vec<u8>>>,
    socket: PathBuf,
    confined: bool,
    supervisor: JoinHandle<()>,
}

impl Sandbox {
    /// Start `program` on `graph`. The folder `sockets` must be this user's alone.
    pub(super) fn start(program: &Path, sockets: &Path, graph: &Graph) -> io::Result<Sandbox> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = std::path::absolute(sockets)?.join(format!("{}-image{count}.nbd", std::process::id()));
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            let what = format!("{} is too long a name for a socket", socket.display());
            return Err(io::Error::other(what));
        }
        let named = |e| io::Error::other(format!("{}: {e}", program.display()));
        let program = program.canonicalize().map_err(named)?;
        let mut command = Command::new(&program);
        command
            .args(["--read-only", "--shared=1", "--discard=ignore", "--detect-zeroes=off", "--socket"])
            .arg(&socket)
            .arg(graph.argument())
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        prepare(&mut command, graph.descriptors().map(|fd| fd.as_raw_fd()).collect());
        let folder = socket.parent().unwrap_or(Path::new("/")).to_path_buf();
        let words = Arc::new(Mutex::new(Vec::new()));
        let rules = confinement(&program, &folder, graph)?;
        let (born, birth) = channel();
        let heard = words.clone();
        let body = move || {
            let confined = rules.restrict_self().map(|s| s.ruleset != RulesetStatus::NotEnforced);
            supervise(command, confined, &born, &heard);
        };
        let supervisor = Builder::new().name("qemu-nbd".into()).spawn(body)?;
        // `graph` keeps its descriptors open until here, and the process has been started by then.
        let birth = birth.recv().unwrap_or_else(|_| Err(io::Error::other("the supervisor ended")));
        let (child, confined) = birth?;
        Ok(Sandbox { child, words, socket, confined, supervisor })
    }

    /// Whether the kernel enforces what it may open.
    pub(super) fn confined(&self) -> bool {
        self.confined
    }

    /// Connect to it, as its only client. The socket is gone afterwards: nobody else finds it, and nothing is left of it.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    let _ = std::fs::remove_file(&self.socket);
                    return Ok(stream);
                }
                Err(e) if Instant::now() >= until => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("qemu-nbd did not begin: {e}"),
                    ));
                }
                Err(_) => {}
            }
            if let Some(status) = lock(&self.child).try_wait()? {
                return Err(io::Error::other(format!("qemu-nbd ended: {status}")));
            }
            std::thread::sleep(CONNECT_TICK);
        }
    }

    /// Why it ended by itself, in its own words; nothing when it runs on or said nothing. For a process that hung up: it is given a moment to end.
    pub(super) fn refusal(&self) -> Option<String> {
        let until = Instant::now() + END_TIMEOUT;
        // The supervisor is done when it heard the last word and the process has ended.
        while !self.supervisor.is_finished() && Instant::now() < until {
            std::thread::sleep(CONNECT_TICK);
        }
        let status = lock(&self.child).try_wait().ok().flatten()?;
        let words = String::from_utf8_lossy(&lock(&self.words)).into_owned();
        let words = words.trim().trim_start_matches("qemu-nbd: ");
        let shown: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Killed from outside or by its limits, or not even loaded, is not the image's fault.
        (status.code() == Some(IMAGE_REFUSED) && !shown.is_empty()).then_some(shown)
    }

    /// Process id, for tests.
    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        lock(&self.child).id()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        {
            // A process that was waited for cannot be killed again: `Child` remembers.
            let mut child = lock(&self.child);
            let _ = child.kill();
            let _ = child.wait();
        }
        // The supervisor ends with the last holder of the pipe to it. It is not waited for: a process that was taken over could have left one behind.
        let _ = std::fs::remove_file(&self.socket);
    }
}

type Birth = io::Result<(Arc<Mutex<Child>>, bool)>;

/// Start the process, keep the first of its words, and wait for its end.
fn supervise(
    mut command: Command,
    confined: Result<bool, RulesetError>,
    born: &Sender<Birth>,
    heard: &Mutex<Vec<u8>>,
) {
    let started = confined.map_err(io::Error::other).and_then(|c| Ok((command.spawn()?, c)));
    drop(command);
    let (mut child, confined) = match started {
        Ok(started) => started,
        Err(e) => return drop(born.send(Err(e))),
    };
    let stderr = child.stderr.take();
    let child = Arc::new(Mutex::new(child));
    let _ = born.send(Ok((child.clone(), confined)));
    if let Some(stderr) = stderr {
        listen(stderr, heard);
    }
    // It closed its standard error, so it is about to end; a kill must get through meanwhile.
    while let Ok(None) = lock(&child).try_wait() {
        std::thread::sleep(CONNECT_TICK);
    }
}

fn listen(mut stderr: ChildStderr, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    loop {
        match stderr.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let mut words = lock(heard);
                let room = WORDS_MAX.saturating_sub(words.len()).min(n);
                words.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What the process may do, as Landlock rules.
fn confinement(program: &Path, folder: &Path, graph: &Graph) -> io::Result<landlock::RulesetCreated> {
    let build = || {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(LANDLOCK)))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::WriteFile))?
            .add_rules(path_beneath_rules([program], AccessFs::ReadFile | AccessFs::Execute))?
            .add_rules(path_beneath_rules([folder], AccessFs::MakeSock))?;
        for file in graph.files() {
            rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
        }
        Ok(rules)
    };
    build().map_err(|e: RulesetError| io::Error::other(format!("it could not be confined: {e}")))
}

/// Lets the child keep `fds`, bounds what it takes, and lets it die with the thread that starts it.
#[allow(unsafe_code)]
fn prepare(command: &mut Command, fds: Vec<RawFd>) {
    let parent = rustix::process::getpid();
    let at_most = |n: u64| Rlimit { current: Some(n), maximum: Some(n) };
    let body = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from(rustix::io::Errno::SRCH));
        }
        rustix::process::umask(Mode::from_raw_mode(0o177));
        rustix::process::setrlimit(Resource::As, at_most(MEMORY_MAX))?;
        rustix::process::setrlimit(Resource::Fsize, at_most(0))?;
        rustix::process::setrlimit(Resource::Core, at_most(0))?;
        for fd in &fds {
            // SAFETY: the graph that owns these descriptors is borrowed until `spawn` has returned.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only prctl, getppid, umask, setrlimit and fcntl are called; nothing allocates or locks.
    unsafe {
        command.pre_exec(body);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
