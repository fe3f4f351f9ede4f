//! The QEMU guest agent: JSON lines over a virtio port. (`docs/interop/qemu-ga-ref` in QEMU's source.)

use crate::base64;
use crate::time::{Cancel, Deadline};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// An answer longer than this is refused; captured output is 16 MiB of base64 at most.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How long the agent may take to say that it is there.
const PING: Duration = Duration::from_secs(3);
/// Bytes of a file that are asked for at once.
const FILE_PIECE: u64 = 256 * 1024;
/// Between two questions whether a command has ended.
const POLL: Duration = Duration::from_millis(100);

/// Why the agent did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentError {
    Silent,
    Cancelled,
    Refused(String),
}

/// The end of a command.
pub(crate) struct Executed {
    pub exit: i32,
    pub output: String,
}

pub(crate) struct Agent {
    stream: UnixStream,
    buffer: Vec<u8>,
    next: u64,
}

impl Agent {
    pub fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
        Ok(Self { stream, buffer: Vec::new(), next: 1 })
    }

    /// Whether the agent answers, after everything said earlier was put aside.
    pub fn ping(&mut self, deadline: Deadline, cancel: &Cancel) -> Result<(), AgentError> {
        let deadline = deadline.at_most(PING);
        self.next += 1;
        let id = self.next;
        self.buffer.clear();
        // 0xFF makes the agent's parser forget half a command; it puts one before its answer too.
        let sync = json!({"execute": "guest-sync-delimited", "arguments": {"id": id}});
        self.send(&[b"\xff".as_slice(), format!("{sync}\n").as_bytes()].concat())?;
        loop {
            let line = self.line(deadline, cancel)?;
            let after = line.rsplit(|b| *b == 0xff).next().unwrap_or_default();
            if serde_json::from_slice::<Value>(after).is_ok_and(|v| v["return"] == id) {
                return Ok(());
            }
        }
    }

    pub fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Value, AgentError> {
        self.send(format!("{}\n", json!({"execute": command, "arguments": arguments})).as_bytes())?;
        let line = self.line(deadline, cancel)?;
        let answer: Value = serde_json::from_slice(&line)
            .map_err(|_| AgentError::Refused("the answer is not JSON".into()))?;
        match answer["error"]["desc"].as_str() {
            Some(text) => Err(AgentError::Refused(text.to_owned())),
            None => Ok(answer["return"].clone()),
        }
    }

    /// Asks for a power-off; the agent does not answer to that.
    pub fn power_off(&mut self) -> Result<(), AgentError> {
        let command = json!({"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}});
        self.send(format!("{command}\n").as_bytes())
    }

    /// Runs `command` in the guest's shell; standard output, then standard error.
    pub fn run(
        &mut self,
        command: &str,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Executed, AgentError> {
        let arguments = json!({"path": "/bin/sh", "arg": ["-c", command], "capture-output": true});
        let pid = self.execute("guest-exec", arguments, deadline, cancel)?["pid"].clone();
        loop {
            let status = self.execute("guest-exec-status", json!({"pid": pid}), deadline, cancel)?;
            if status["exited"] == true {
                let part = |name: &str| base64::decode(status[name].as_str().unwrap_or_default());
                let output = [part("out-data"), part("err-data")].concat();
                let signal = status["signal"].as_i64().map(|s| s + 128);
                let exit = status["exitcode"].as_i64().or(signal).and_then(|e| i32::try_from(e).ok());
                let output = String::from_utf8_lossy(&output).into_owned();
                return Ok(Executed { exit: exit.unwrap_or(-1), output });
            }
            if cancel.is_cancelled() {
                return Err(AgentError::Cancelled);
            }
            if deadline.passed() {
                return Err(AgentError::Silent);
            }
            std::thread::sleep(POLL.min(deadline.remaining()));
        }
    }

    /// At most `max` bytes of a file of the guest, and whether that is all of it.
    pub fn read_file(
        &mut self,
        path: &str,
        max: usize,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Vec<u8>, bool), AgentError> {
        let handle = self.execute("guest-file-open", json!({"path": path, "mode": "r"}), deadline, cancel)?;
        let read = self.read_open(&handle, max, deadline, cancel);
        let _ = self.execute("guest-file-close", json!({"handle": handle}), deadline, cancel);
        read
    }

    fn read_open(
        &mut self,
        handle: &Value,
        max: usize,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Vec<u8>, bool), AgentError> {
        let mut bytes = Vec::new();
        // The agent gives 48 MB at once; a smaller piece keeps an answer short.
        while bytes.len() <= max {
            let wanted = json!({"handle": handle, "count": FILE_PIECE});
            let piece = self.execute("guest-file-read", wanted, deadline, cancel)?;
            let read = base64::decode(piece["buf-b64"].as_str().unwrap_or_default());
            if read.is_empty() {
                return Ok((bytes, true));
            }
            bytes.extend(read);
        }
        bytes.truncate(max);
        Ok((bytes, false))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), AgentError> {
        self.stream.write_all(bytes).map_err(|_| AgentError::Silent)
    }

    fn line(&mut self, deadline: Deadline, cancel: &Cancel) -> Result<Vec<u8>, AgentError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Ok(line.trim_ascii().to_vec());
            }
            if cancel.is_cancelled() {
                return Err(AgentError::Cancelled);
            }
            if deadline.passed() || self.buffer.len() > MAX_ANSWER {
                return Err(AgentError::Silent);
            }
            self.stream.set_read_timeout(Some(deadline.tick())).map_err(|_| AgentError::Silent)?;
            let mut chunk = [0; 8192];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(AgentError::Silent),
                Ok(read) => self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(_) => return Err(AgentError::Silent),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Agent, AgentError};
    use crate::time::{Cancel, Deadline};
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    /// An agent that first lets out what it still had from before, then answers each command from the list.
    fn mock(answers: Vec<Value>) -> Agent {
        let (near, mut far) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(far.try_clone().unwrap()).split(b'\n');
            let sync = lines.next().unwrap().unwrap();
            let asked: Value = serde_json::from_slice(sync.strip_prefix(b"\xff").unwrap()).unwrap();
            let id = &asked["arguments"]["id"];
            far.write_all(b"{\"return\": 99}\nhalf an ans\xff").unwrap();
            writeln!(far, "{}", json!({"return": id})).unwrap();
            for answer in answers {
                lines.next().unwrap().unwrap();
                writeln!(far, "{answer}").unwrap();
            }
        });
        Agent::new(near).unwrap()
    }

    #[test]
    fn a_command_runs_after_old_answers_were_put_aside() {
        let mut agent = mock(vec![
            json!({"return": {"pid": 7}}),
            json!({"return": {"exited": false}}),
            json!({"return": {"exited": true, "exitcode": 3, "out-data": "Zm9v", "err-data": "YmFy"}}),
        ]);
        agent.ping(soon(), &Cancel::new()).unwrap();
        let done = agent.run("echo", soon(), &Cancel::new()).unwrap();
        assert_eq!((done.exit, done.output.as_str()), (3, "foobar"));
    }

    #[test]
    fn what_the_agent_forbids_is_a_refusal() {
        let mut agent =
            mock(vec![json!({"error": {"class": "CommandNotFound", "desc": "guest-exec is disabled"}})]);
        agent.ping(soon(), &Cancel::new()).unwrap();
        let refused = agent.run("echo", soon(), &Cancel::new()).err();
        assert_eq!(refused, Some(AgentError::Refused("guest-exec is disabled".into())));
    }

    #[test]
    fn silence_ends_with_the_deadline() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut agent = Agent::new(near).unwrap();
        let short = Deadline::after(Duration::from_millis(60));
        assert_eq!(agent.ping(short, &Cancel::new()), Err(AgentError::Silent));
    }
}
