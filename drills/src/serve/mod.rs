//! An engine disk as a read-only NBD export on a Unix socket: how a disk that QEMU cannot or may not open reaches a boot.
//!
//! ```text
//! DiskRef ─ Server ── socket (0600, in the run folder) ── QEMU: nbd node, read-only ── qcow2 child on top, written by the guest
//! ```
//!
//! Fixed newstyle handshake, simple replies. Writes get `EPERM`, requests beyond the end or above 32 MiB get `EINVAL`. A client that
//! does not speak the protocol is hung up on; it can neither panic the server nor make it grow: connections, options and requests are
//! bounded.
//!
//! Non-goals: TLS, TCP, writing, structured replies.

mod handshake;
mod pace;
pub(crate) mod protocol;
mod transmission;

#[cfg(test)]
mod tests;

use engine::disk::{DiskRef, ReadError};
use handshake::Greeting;
pub use pace::Pace;
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Clients served at once; QEMU needs one, a comparing tool a second. More are hung up on.
pub const MAX_CONNECTIONS: usize = 8;
/// Time a client has for each message of its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Called for each read that failed, on a connection's thread. The client sees only `EIO`.
pub type OnError = Arc<dyn Fn(&ReadError) + Send + Sync>;

/// What is served.
#[derive(Clone)]
struct Export {
    disk: DiskRef,
    /// Bytes of the disk, asked once: an export never changes its size.
    len: u64,
    name: String,
    on_error: OnError,
    pace: Arc<Pace>,
}

impl Export {
    /// The empty name is the default export. `doc/proto.md`, "Option types", `NBD_OPT_EXPORT_NAME`.
    fn is_called(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }
}

/// A running server. Dropping it hangs up on every client, joins its threads and removes the socket.
pub struct Server {
    socket: PathBuf,
    /// Closing this end wakes the accepting thread.
    wake: Option<UnixStream>,
    acceptor: Option<JoinHandle<()>>,
    pace: Arc<Pace>,
}

impl Server {
    /// Serves `disk` as `export` on a new socket with mode 0600. The socket's folder should be the owner's alone, because a socket has
    /// its mode only just after it was made.
    ///
    /// # Errors
    /// When the socket exists or cannot be made (Linux takes paths of at most 107 bytes), or when there is no thread to be had.
    pub fn start(disk: DiskRef, socket: &Path, export: &str, on_error: OnError) -> io::Result<Server> {
        if export.len() > protocol::MAX_NAME {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the export's name is longer than NBD allows",
            ));
        }
        let listener = UnixListener::bind(socket)?;
        let (wake, woken) = UnixStream::pair()?;
        let pace = Arc::new(Pace::default());
        let mut server =
            Server { socket: socket.to_owned(), wake: Some(wake), acceptor: None, pace: Arc::clone(&pace) };
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let len = disk.geometry().len.get();
        let export = Export { disk, len, name: export.to_owned(), on_error, pace };
        let acceptor =
            Builder::new().name("nbd-accept".to_owned()).spawn(move || accept(&listener, &woken, &export))?;
        server.acceptor = Some(acceptor);
        Ok(server)
    }

    /// How long its clients waited.
    pub fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// One client: its thread, and a handle to hang up with.
struct Client {
    thread: JoinHandle<()>,
    stream: UnixStream,
}

fn accept(listener: &UnixListener, woken: &UnixStream, export: &Export) {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
        if !fds[1].revents().is_empty() {
            break;
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                reap(&mut clients);
                if clients.len() < MAX_CONNECTIONS {
                    // Without a thread for it the client is hung up on; the others go on.
                    clients.extend(open(stream, export.clone()).ok());
                }
            }
            // The client may be gone already, and a process out of descriptors gets some back as clients leave.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    for client in clients {
        let _ = client.stream.shutdown(Shutdown::Both);
        let _ = client.thread.join();
    }
}

fn reap(clients: &mut Vec<Client>) {
    let (ended, alive) = clients.drain(..).partition(|c| c.thread.is_finished());
    *clients = alive;
    let ended: Vec<Client> = ended;
    for client in ended {
        let _ = client.thread.join();
    }
}

fn open(stream: UnixStream, export: Export) -> io::Result<Client> {
    stream.set_nonblocking(false)?;
    let mut line = stream.try_clone()?;
    let thread = Builder::new().name("nbd-client".to_owned()).spawn(move || {
        // A client that leaves or talks nonsense is its own problem: it sees the line close.
        let _ = talk(&mut line, &export);
        let _ = line.shutdown(Shutdown::Both);
    })?;
    Ok(Client { thread, stream })
}

fn talk(line: &mut UnixStream, export: &Export) -> io::Result<()> {
    line.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    line.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
    if handshake::greet(line, export)? == Greeting::Bye {
        return Ok(());
    }
    line.set_read_timeout(None)?;
    line.set_write_timeout(None)?;
    transmission::serve(line, export)
}
