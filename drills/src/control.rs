//! Commands to a running drill: from ctrl-C, from the dashboard, from another terminal.
//!
//! A run owns one [`Inbox`]. Whoever sits in the same process sends through a [`Sender`]; everybody else connects to the
//! socket `control.sock` in the run folder and writes one JSON object a line:
//!
//! ```text
//! {"command":"cancel"}                                → {"ok":true}
//! {"command":"send","machine":"web","text":"ls\n"}     → {"ok":true}
//! ```
//!
//! Only the user who started the run can connect (mode 0600). A socket's path may be 107 bytes long at most; ours is
//! reached through `/proc/self/fd/N`, so a run folder may lie as deep as it likes.

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the socket in the run folder.
pub const SOCKET: &str = "control.sock";
/// Longest line on the socket, bytes.
pub const MAX_LINE: u64 = 64 * 1024;
/// Most commands that wait to be looked at; further ones are refused with a reason.
pub const MAX_WAITING: usize = 64;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the listening thread notices that the run is over.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What can be asked of a running drill.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// End the run; its outcome is `Interrupted`.
    Cancel,
    /// When something fails, keep the machines running until `Release`.
    Hold,
    /// Type into a machine's serial console.
    Send {
        /// Which machine.
        machine: String,
        /// What; a line ends with `\n`.
        text: String,
    },
    /// Go on after `Hold`.
    Release,
    /// Stop one machine.
    Stop {
        /// Which machine.
        machine: String,
    },
}

/// Where commands arrive: one per run.
#[derive(Debug)]
pub struct Inbox {
    sender: Sender<Command>,
    receiver: Receiver<Command>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty inbox for [`MAX_WAITING`] commands.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(MAX_WAITING);
        Self { sender, receiver }
    }

    /// For senders in this process. Use `try_send`: a full inbox must not block a signal handler's thread.
    #[must_use]
    pub fn sender(&self) -> Sender<Command> {
        self.sender.clone()
    }

    /// For the run's loop.
    #[must_use]
    pub fn receiver(&self) -> Receiver<Command> {
        self.receiver.clone()
    }

    /// Also take commands from the socket in the run folder, as long as the returned value lives.
    ///
    /// # Errors
    /// When the socket cannot be made, or another process listens on it.
    pub fn listen(&self, run_dir: &Path) -> Result<Listener, ControlError> {
        Listener::start(run_dir, self.sender())
    }
}

/// The socket in the run folder; dropping it removes the socket.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(run_dir: &Path, sender: Sender<Command>) -> Result<Self, ControlError> {
        let path = run_dir.join(SOCKET);
        let at = |source: io::Error| ControlError::Listen { path: path.clone(), source };
        let listener = bind(run_dir).map_err(at)?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &sender, &seen))
            .map_err(at)?;
        Ok(Self { path, over, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A name for the socket that is short however deep the folder lies; the descriptor must live as long as the name.
fn short_name(run_dir: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let folder =
        rustix::fs::open(run_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    Ok((folder, name))
}

fn bind(run_dir: &Path) -> io::Result<UnixListener> {
    let (_folder, name) = short_name(run_dir)?;
    if UnixStream::connect_addr(&unix_addr(&name)?).is_err() {
        // Nobody listens: what lies there was left by a run that was killed.
        match std::fs::remove_file(run_dir.join(SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Linux gives the socket file the mode of the unbound socket, less the umask: no moment in which others may connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &name)?;
    rustix::net::listen(&socket, 8)?;
    Ok(UnixListener::from(socket))
}

fn unix_addr(name: &SocketAddrUnix) -> io::Result<std::os::unix::net::SocketAddr> {
    let path = name.path_bytes().unwrap_or_default();
    std::os::unix::net::SocketAddr::from_pathname(String::from_utf8_lossy(path).as_ref())
}

/// Serve one connection after the other until the run is over.
fn accept(listener: &UnixListener, sender: &Sender<Command>, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&TICK));
        if !matches!(ready, Ok(n) if n > 0) {
            continue;
        }
        if let Ok((stream, _)) = listener.accept() {
            // A client that misbehaves is its own loss.
            let _ = serve(&stream, sender);
        }
    }
}

fn serve(stream: &UnixStream, sender: &Sender<Command>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(()); // somebody asks whether we are alive
    }
    let reply = match serde_json::from_slice::<Command>(&line) {
        Err(_) if !line.ends_with(b"\n") => Reply::no("the line is too long or has no end"),
        Err(error) => Reply::no(format!("not a command: {error}")),
        Ok(command) => match sender.try_send(command) {
            Ok(()) => Reply { ok: true, error: None },
            Err(TrySendError::Full(_)) => Reply::no("too many commands wait; try again"),
            Err(TrySendError::Disconnected(_)) => Reply::no("the run is over"),
        },
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    let mut stream = stream;
    stream.write_all(&answer)
}

#[derive(Serialize, Deserialize, Debug)]
struct Reply {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Reply {
    fn no(why: impl Into<String>) -> Self {
        Self { ok: false, error: Some(why.into()) }
    }
}

/// Send a command to the run that works in this folder. Returns when the run has accepted it, not when it is done.
///
/// # Errors
/// When nobody listens there, or the run refuses.
pub fn send(run_dir: &Path, command: &Command) -> Result<(), ControlError> {
    let at = |source: io::Error| ControlError::Send { run_dir: run_dir.to_owned(), source };
    let mut stream = connect(run_dir).map_err(at)?;
    let mut line = serde_json::to_vec(command).map_err(|error| at(error.into()))?;
    line.push(b'\n');
    if line.len() as u64 > MAX_LINE {
        return Err(ControlError::Refused { why: format!("a command may be {MAX_LINE} bytes long at most") });
    }
    stream.write_all(&line).map_err(at)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut answer).map_err(at)?;
    let reply: Reply = serde_json::from_slice(&answer).map_err(|error| at(error.into()))?;
    match reply {
        Reply { ok: true, .. } => Ok(()),
        Reply { error, .. } => Err(ControlError::Refused { why: error.unwrap_or_default() }),
    }
}

/// Whether a run works in this folder now.
#[must_use]
pub fn is_alive(run_dir: &Path) -> bool {
    connect(run_dir).is_ok()
}

fn connect(run_dir: &Path) -> io::Result<UnixStream> {
    let (_folder, name) = short_name(run_dir)?;
    let stream = UnixStream::connect_addr(&unix_addr(&name)?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Why a command could not be taken or sent.
#[derive(thiserror::Error, Debug)]
pub enum ControlError {
    /// The socket could not be made.
    #[error("cannot listen for commands on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answered.
    #[error("no run answers in {}", run_dir.display())]
    Send {
        /// The run folder.
        run_dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The run said no.
    #[error("the run refuses: {why}")]
    Refused {
        /// Its reason.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::{Command, ControlError, Inbox, MAX_LINE, MAX_WAITING, SOCKET, connect, is_alive, send};
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_command_travels_and_the_socket_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::new();
        let listener = inbox.listen(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(is_alive(dir.path()));
        let typed = Command::Send { machine: "web".into(), text: "ls\n".into() };
        send(dir.path(), &typed).unwrap();
        assert_eq!(inbox.receiver().recv().unwrap(), typed);
        drop(listener);
        assert!(!is_alive(dir.path()));
        assert!(!dir.path().join(SOCKET).exists());
        assert!(matches!(send(dir.path(), &Command::Cancel), Err(ControlError::Send { .. })));
    }

    #[test]
    fn a_deep_run_folder_and_a_stale_socket_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120)).join("y".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join(SOCKET), "left by a killed run").unwrap();
        let inbox = Inbox::new();
        let _listener = inbox.listen(&deep).unwrap();
        send(&deep, &Command::Cancel).unwrap();
        assert_eq!(inbox.receiver().recv().unwrap(), Command::Cancel);
        assert!(inbox.listen(&deep).is_err(), "a second listener would take the first one's commands");
    }

    #[test]
    fn nonsense_and_floods_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::new();
        let _listener = inbox.listen(dir.path()).unwrap();
        let say = |bytes: &[u8]| {
            let mut stream = connect(dir.path()).unwrap();
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        assert!(say(b"{\"command\":\"explode\"}\n").contains("not a command"));
        assert!(say(b"{\"command\":\"cancel\"").contains("too long or has no end"));
        say(&vec![b'x'; usize::try_from(MAX_LINE).unwrap() + 1]);
        for _ in 0..MAX_WAITING {
            send(dir.path(), &Command::Hold).unwrap();
        }
        let full = send(dir.path(), &Command::Hold).unwrap_err();
        assert!(full.to_string().contains("too many commands wait"), "{full}");
    }
}
