//! QEMU's monitor protocol: one JSON object a line, commands with ids, events in between.
//! (`docs/interop/qmp-spec.txt` in QEMU's source.)

#[cfg(test)]
mod tests;

use crate::time::{Cancel, Deadline};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A message longer than this is refused; QEMU's longest answers are some 100 KiB.
const MAX_MESSAGE: u64 = 4 * 1024 * 1024;
/// QEMU reads its monitor at once; a command that cannot be written in this time never will be.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU refused it.
    #[error("QEMU refused {command}: {class}: {text}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error class.
        class: String,
        /// QEMU's words.
        text: String,
    },
    /// No answer before the deadline.
    #[error("QEMU did not answer {0} in time")]
    Late(String),
    /// The wait was called off.
    #[error("called off")]
    Cancelled,
    /// The connection ended.
    #[error("QEMU's monitor is closed")]
    Closed,
    /// The greeting is none.
    #[error("not a QMP greeting: {0}")]
    Greeting(String),
}

/// Something QEMU said without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct QmpEvent {
    /// `RESET`, `SHUTDOWN`, …
    pub name: String,
    /// Its data; null if it has none.
    pub data: Value,
}

struct Pending {
    waiting: HashMap<u64, Sender<Value>>,
    closed: bool,
    next: u64,
}

/// A connected monitor, past its greeting. Usable from several threads.
pub struct Qmp {
    writer: Mutex<UnixStream>,
    pending: Arc<Mutex<Pending>>,
    version: String,
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qmp").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Qmp {
    /// Waits for the greeting, ends the negotiation and gives every event to `on_event`, from a thread of its own.
    /// The thread ends with the connection.
    ///
    /// # Errors
    /// No greeting in time, or not QMP.
    pub fn connect(
        stream: UnixStream,
        mut on_event: impl FnMut(QmpEvent) + Send + 'static,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Self, QmpError> {
        let reader = stream.try_clone().map_err(|_| QmpError::Closed)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(|_| QmpError::Closed)?;
        let pending = Arc::new(Mutex::new(Pending { waiting: HashMap::new(), closed: false, next: 1 }));
        let (greeting, greeted) = bounded(1);
        lock(&pending).waiting.insert(0, greeting);
        let shared = Arc::clone(&pending);
        let read = move || {
            let mut reader = BufReader::new(reader);
            while let Some(message) = read_message(&mut reader) {
                dispatch(message, &shared, &mut on_event);
            }
            let mut pending = lock(&shared);
            pending.closed = true;
            pending.waiting.clear();
        };
        std::thread::Builder::new().name("qmp".into()).spawn(read).map_err(|_| QmpError::Closed)?;
        let greeting = receive(&greeted, "its greeting", deadline, cancel)?;
        let version = &greeting["QMP"]["version"]["qemu"];
        let number = |part: &str| version[part].as_u64();
        let (Some(major), Some(minor), Some(micro)) = (number("major"), number("minor"), number("micro"))
        else {
            return Err(QmpError::Greeting(greeting.to_string()));
        };
        let qmp = Self { writer: Mutex::new(stream), pending, version: format!("{major}.{minor}.{micro}") };
        qmp.execute("qmp_capabilities", Value::Null, deadline, cancel)?;
        Ok(qmp)
    }

    /// QEMU's version from the greeting, `7.2.22`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Sends one command and waits for its answer. `arguments` may be null.
    ///
    /// # Errors
    /// Refused, late, cancelled or closed.
    pub fn execute(
        &self,
        command: &str,
        arguments: Value,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Value, QmpError> {
        let (sender, receiver) = bounded(1);
        let id = {
            let mut pending = lock(&self.pending);
            if pending.closed {
                return Err(QmpError::Closed);
            }
            let id = pending.next;
            pending.next = id.wrapping_add(1);
            pending.waiting.insert(id, sender);
            id
        };
        let mut message = json!({"execute": command, "id": id});
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let written = lock(&self.writer).write_all(format!("{message}\n").as_bytes());
        let answer = match written {
            Ok(()) => receive(&receiver, command, deadline, cancel),
            Err(_) => Err(QmpError::Closed),
        };
        lock(&self.pending).waiting.remove(&id);
        let answer = answer?;
        if let Some(error) = answer.get("error") {
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            return Err(QmpError::Refused {
                command: command.to_owned(),
                class: text("class"),
                text: text("desc"),
            });
        }
        Ok(answer.get("return").cloned().unwrap_or_default())
    }
}

fn dispatch(message: Value, pending: &Mutex<Pending>, on_event: &mut impl FnMut(QmpEvent)) {
    if let Some(name) = message["event"].as_str() {
        return on_event(QmpEvent { name: name.to_owned(), data: message["data"].clone() });
    }
    let id = if message.get("QMP").is_some() { Some(0) } else { message["id"].as_u64() };
    let waiting = id.and_then(|id| lock(pending).waiting.remove(&id));
    if let Some(sender) = waiting {
        // The one who asked may have given up.
        let _ = sender.try_send(message);
    }
}

/// The next JSON object; `None` at the end of the stream. Lines that are not JSON are passed over.
fn read_message(reader: &mut impl BufRead) -> Option<Value> {
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MAX_MESSAGE).read_until(b'\n', &mut line).ok()?;
        if read == 0 || (read as u64 == MAX_MESSAGE && !line.ends_with(b"\n")) {
            return None;
        }
        if let Ok(value) = serde_json::from_slice(&line) {
            return Some(value);
        }
    }
}

fn receive(
    receiver: &Receiver<Value>,
    what: &str,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<Value, QmpError> {
    loop {
        if cancel.is_cancelled() {
            return Err(QmpError::Cancelled);
        }
        match receiver.recv_timeout(deadline.tick()) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Disconnected) => return Err(QmpError::Closed),
            Err(RecvTimeoutError::Timeout) if deadline.passed() => {
                return Err(QmpError::Late(what.to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
