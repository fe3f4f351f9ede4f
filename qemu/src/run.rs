//! A command inside the guest: by its agent, or typed into a shell on the console.

use crate::agent::AgentError;
use crate::time::{Cancel, Deadline};
use crate::vm::{Vm, Waited};
use serde::Serialize;
use std::time::Duration;

/// How long a shell may take to answer the probe.
const PROBE: Duration = Duration::from_secs(5);
/// Twice 6 × 7: the shell must compute it, an echo of what was typed cannot show it.
const ANSWER: u32 = 42;

/// By which way a command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The QEMU guest agent.
    Agent,
    /// A shell on the first serial port.
    Console,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum RunResult {
    /// It ran to its end.
    Ran {
        /// Its exit status; 128 + n when signal n ended it.
        exit: i32,
        /// What it printed.
        output: String,
        /// How.
        via: Via,
    },
    /// It was started and did not end in time: whether it did anything is not known.
    Late {
        /// How.
        via: Via,
    },
    /// There is no way to run a command in this guest.
    NoWay {
        /// Why.
        reason: String,
    },
    /// The wait was called off.
    Cancelled,
}

impl Vm {
    /// Runs `command` in the guest's shell.
    pub fn run(&self, command: &str, deadline: Deadline, cancel: &Cancel) -> RunResult {
        let ping = deadline.at_most(Duration::from_secs(1));
        let no_agent = match self.with_agent(|agent| agent.ping(ping, cancel)) {
            Some(Ok(())) => match self.with_agent(|agent| agent.run(command, deadline, cancel)) {
                Some(Ok(done)) => {
                    return RunResult::Ran { exit: done.exit, output: done.output, via: Via::Agent };
                }
                Some(Err(AgentError::Cancelled)) => return RunResult::Cancelled,
                Some(Err(AgentError::Silent)) => return RunResult::Late { via: Via::Agent },
                Some(Err(AgentError::Refused(text))) => format!("the guest agent refused: {text}"),
                None => "the machine has no agent channel".to_owned(),
            },
            Some(Err(AgentError::Cancelled)) => return RunResult::Cancelled,
            Some(Err(_)) => "the guest agent does not answer".to_owned(),
            None => "the machine has no agent channel".to_owned(),
        };
        match self.run_on_console(command, deadline, cancel) {
            RunResult::NoWay { reason } => RunResult::NoWay { reason: format!("{no_agent}, and {reason}") },
            result => result,
        }
    }

    fn run_on_console(&self, command: &str, deadline: Deadline, cancel: &Cancel) -> RunResult {
        let no_way = |reason: &str| RunResult::NoWay { reason: reason.to_owned() };
        if command.contains(['\n', '\r']) {
            return no_way("the command has more than one line, which a console cannot take");
        }
        // Differs from one command to the next: the log only grows, and a nonce is typed into it.
        let nonce = format!("{:x}", self.console_log_len());
        let from = self.cursor();
        if self.send(&format!("\recho drill-$((6*7))-{nonce}\r")).is_err() {
            return no_way("the console takes nothing");
        }
        match self.wait_for(&format!("drill-{ANSWER}-{nonce}"), from, deadline.at_most(PROBE), cancel) {
            Waited::Found(_) => {}
            Waited::Late => return no_way("no shell answers on the console"),
            Waited::Gone => return no_way("the machine is gone"),
            Waited::Cancelled => return RunResult::Cancelled,
        }
        let from = self.cursor();
        let typed =
            format!("echo drill-$((6*7))-{nonce}-begin; {command} ; echo drill-$((6*7))-{nonce}-end-$?-\r");
        if self.send(&typed).is_err() {
            return no_way("the console takes nothing");
        }
        let (begin, end) = (format!("drill-{ANSWER}-{nonce}-begin"), format!("drill-{ANSWER}-{nonce}-end-"));
        let late = |waited| match waited {
            Waited::Cancelled => RunResult::Cancelled,
            _ => RunResult::Late { via: Via::Console },
        };
        let begun = match self.wait_for(&begin, from, deadline, cancel) {
            Waited::Found(cursor) => cursor,
            other => return late(other),
        };
        let ended = match self.wait_for(&end, begun, deadline, cancel) {
            Waited::Found(cursor) => cursor,
            other => return late(other),
        };
        match self.wait_for("-", ended, deadline, cancel) {
            Waited::Found(_) => {}
            other => return late(other),
        }
        let text = self.text_since(begun);
        let (output, status) = text.split_once(end.as_str()).unwrap_or((text.as_str(), ""));
        let exit = status.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(-1);
        let output = output.strip_prefix('\n').unwrap_or(output).to_owned();
        RunResult::Ran { exit, output, via: Via::Console }
    }
}
