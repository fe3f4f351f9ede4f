//! Asking a guest by its agent, and pressing its keys.

use super::{MONITOR, Vm};
use crate::agent::AgentError;
use crate::keys::Chord;
use crate::qmp::QmpError;
use crate::time::{Cancel, Deadline};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the keys of a chord are held, milliseconds; a BIOS looks 18 times a second.
const HOLD_MS: u64 = 60;
/// From one chord to the next: QEMU holds the keys by its own clock and does not wait for that.
const NEXT: Duration = Duration::from_millis(90);
/// How long the agent may take to say that it is there.
const PING: Duration = Duration::from_secs(1);
/// Between two questions whether the agent is there.
const ASK: Duration = Duration::from_millis(500);

/// Why the agent gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is none, or it does not answer.
    #[error("the guest agent does not answer")]
    Silent,
    /// It began and did not end in time: whether it did anything is not known.
    #[error("the guest agent did not answer in time")]
    Late,
    /// It refused.
    #[error("the guest agent refused: {0}")]
    Refused(String),
    /// The wait was called off.
    #[error("called off")]
    Cancelled,
}

/// What runs in the guest, in the words of its own `os-release`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GuestOs {
    /// `debian`, `mswindows`.
    pub id: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// `12`.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// `x86_64`.
    pub machine: String,
}

impl Vm {
    /// Presses chords one after another.
    ///
    /// # Errors
    /// QEMU refused or is gone.
    pub fn press(&self, chords: &[Chord], cancel: &Cancel) -> Result<(), QmpError> {
        for chord in chords {
            let keys: Vec<Value> = chord.iter().map(|key| json!({"type": "qcode", "data": key})).collect();
            let arguments = json!({"keys": keys, "hold-time": HOLD_MS});
            self.qmp.execute("send-key", arguments, Deadline::after(MONITOR), cancel)?;
            std::thread::sleep(NEXT);
        }
        Ok(())
    }

    /// Waits until the guest agent answers.
    ///
    /// # Errors
    /// [`AskError::Silent`] at the deadline, or when QEMU is gone.
    pub fn wait_agent(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), AskError> {
        loop {
            let late = deadline.passed();
            match self.with_agent(|agent| agent.ping(Deadline::after(PING), cancel)) {
                Some(Ok(())) => return Ok(()),
                Some(Err(AgentError::Cancelled)) => return Err(AskError::Cancelled),
                None => return Err(AskError::Silent),
                Some(Err(_)) if late || !self.is_running() => return Err(AskError::Silent),
                Some(Err(_)) => std::thread::sleep(ASK.min(deadline.remaining())),
            }
        }
    }

    /// What runs in the guest.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn guest_os(&self, deadline: Deadline, cancel: &Cancel) -> Result<GuestOs, AskError> {
        let told = self.ask("guest-get-osinfo", json!({}), deadline, cancel)?;
        let text = |key: &str| self.redactor.text(told[key].as_str().unwrap_or_default());
        Ok(GuestOs {
            id: text("id"),
            name: text("pretty-name"),
            version: text("version-id"),
            kernel: text("kernel-release"),
            machine: text("machine"),
        })
    }

    /// At most `max` bytes of a file of the running guest, and whether that is all of it.
    ///
    /// # Errors
    /// [`AskError::Refused`] when there is no such file.
    pub fn guest_file(
        &self,
        path: &str,
        max: usize,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Vec<u8>, bool), AskError> {
        self.wait_agent(deadline.at_most(PING), cancel)?;
        let read = self.with_agent(|agent| agent.read_file(path, max, deadline, cancel));
        read.ok_or(AskError::Silent)?.map_err(asked)
    }

    /// Stops all writes to the guest's file systems; gives their number.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn freeze(&self, deadline: Deadline, cancel: &Cancel) -> Result<u64, AskError> {
        // Whatever becomes of it, a stop must try to undo it.
        self.frozen.store(true, Ordering::SeqCst);
        let frozen = self.ask("guest-fsfreeze-freeze", json!({}), deadline, cancel)?;
        Ok(frozen.as_u64().unwrap_or(0))
    }

    /// Lets the guest's file systems be written again; gives their number.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn thaw(&self, deadline: Deadline, cancel: &Cancel) -> Result<u64, AskError> {
        let thawed = self.ask("guest-fsfreeze-thaw", json!({}), deadline, cancel)?;
        self.frozen.store(false, Ordering::SeqCst);
        Ok(thawed.as_u64().unwrap_or(0))
    }

    fn ask(
        &self,
        command: &str,
        arguments: Value,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Value, AskError> {
        self.wait_agent(deadline.at_most(PING), cancel)?;
        let answer = self.with_agent(|agent| agent.execute(command, arguments, deadline, cancel));
        answer.ok_or(AskError::Silent)?.map_err(asked)
    }
}

/// It answered a moment ago: silence now is a late answer.
fn asked(error: AgentError) -> AskError {
    match error {
        AgentError::Silent => AskError::Late,
        AgentError::Cancelled => AskError::Cancelled,
        AgentError::Refused(why) => AskError::Refused(why),
    }
}
