use super::{Qmp, QmpError};
use crate::time::{Cancel, Deadline};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#;

/// A monitor that plays a transcript: each `<` line is sent, each `>` line is what must be asked next.
fn mock(transcript: &'static [&'static str]) -> UnixStream {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("qmp")).unwrap();
    let client = UnixStream::connect(dir.path().join("qmp")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for step in transcript {
            match step.split_at(1) {
                ("<", line) => writeln!(stream, "{line}").unwrap(),
                (_, command) => {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let asked: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!(asked["execute"], command);
                }
            }
        }
    });
    client
}

fn connect(
    transcript: &'static [&'static str],
) -> (Result<Qmp, QmpError>, crossbeam_channel::Receiver<String>) {
    let (sender, events) = crossbeam_channel::unbounded();
    let soon = Deadline::after(Duration::from_secs(5));
    let on_event = move |event: super::QmpEvent| sender.send(event.name).unwrap();
    (Qmp::connect(mock(transcript), on_event, soon, &Cancel::new()), events)
}

#[test]
fn answers_find_their_command_and_events_pass_between() {
    let leaked: &'static str = Box::leak(format!("<{GREETING}").into_boxed_str());
    let transcript: &'static [&'static str] = Box::leak(Box::new([
        leaked,
        ">qmp_capabilities",
        r#"<{"return": {}, "id": 1}"#,
        ">query-status",
        r#"<{"event": "RESET", "data": {"guest": true}, "timestamp": {}}"#,
        r#"<{"return": {"status": "running"}, "id": 2}"#,
        ">nonsense",
        r#"<{"error": {"class": "CommandNotFound", "desc": "no such command"}, "id": 3}"#,
    ]));
    let (qmp, events) = connect(transcript);
    let qmp = qmp.unwrap();
    let soon = Deadline::after(Duration::from_secs(5));
    assert_eq!(qmp.version(), "7.2.22");
    assert_eq!(
        qmp.execute("query-status", Value::Null, soon, &Cancel::new()).unwrap(),
        json!({"status": "running"})
    );
    assert_eq!(events.recv_timeout(Duration::from_secs(5)).unwrap(), "RESET");
    let refused = qmp.execute("nonsense", Value::Null, soon, &Cancel::new()).unwrap_err();
    assert_eq!(refused.to_string(), "QEMU refused nonsense: CommandNotFound: no such command");
    assert!(matches!(qmp.execute("quit", Value::Null, soon, &Cancel::new()), Err(QmpError::Closed)));
}

#[test]
fn what_is_not_qmp_is_refused() {
    let (qmp, _) = connect(&[r#"<{"QMP": {"version": {}}}"#]);
    assert!(matches!(qmp, Err(QmpError::Greeting(_))));
    let (qmp, _) = connect(&["<SSH-2.0-OpenSSH_9.2"]);
    assert!(matches!(qmp, Err(QmpError::Closed)));
}

#[test]
fn a_silent_monitor_ends_with_the_deadline_and_with_the_token() {
    let (near, _far) = UnixStream::pair().unwrap();
    let soon = Deadline::after(Duration::from_millis(100));
    assert!(matches!(Qmp::connect(near, |_| (), soon, &Cancel::new()), Err(QmpError::Late(_))));
    let (near, _far) = UnixStream::pair().unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let late = Deadline::after(Duration::from_secs(60));
    assert!(matches!(Qmp::connect(near, |_| (), late, &cancel), Err(QmpError::Cancelled)));
}
