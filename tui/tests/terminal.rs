//! The view in a real pseudo-terminal: what the keys do, and that the terminal is given back however it ends.

use drills::control::{Command, Inbox};
use rexpect::session::{PtySession, spawn_command};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a text may take to appear.
const PATIENCE_MS: u64 = 20_000;

const RUNS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../drills/tests/data/runs");
const KILLED: &str = "20261124-015000-db01";

/// The example that shows the view, built beside this test.
fn watch() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/watch");
    assert!(path.is_file(), "{} is missing; `cargo test -p tui` builds it", path.display());
    path
}

struct Watched {
    session: PtySession,
    /// The terminal as a person sees it: what is drawn depends on what stood there before.
    terminal: vt100::Parser,
    dir: tempfile::TempDir,
}

/// Start the view in a shell that writes down the terminal's settings before and after.
fn start(runs: &Path, open: Option<&str>) -> Watched {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "cd '{here}'; stty rows 24 cols 80; stty -a >before; sh -c 'echo $$ >pid; exec \"{watch}\" \"{runs}\" {open}'; echo code=$?; stty -a >after; echo THE-END",
        here = dir.path().display(),
        watch = watch().display(),
        runs = runs.display(),
        open = open.map(|name| format!("\"{}\"", runs.join(name).display())).unwrap_or_default(),
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let session = spawn_command(shell, Some(PATIENCE_MS)).unwrap();
    Watched { session, terminal: vt100::Parser::new(24, 80, 0), dir }
}

impl Watched {
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let start = Instant::now();
        while !self.terminal.screen().contents().contains(text) {
            if start.elapsed() > Duration::from_millis(PATIENCE_MS) {
                panic!("{text:?} is not on the screen:\n{}", self.terminal.screen().contents());
            }
            match self.session.try_read() {
                // The session gives bytes, each as a char.
                Some(byte) => self.terminal.process(&[u8::try_from(byte).unwrap()]),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.session.send(keys).unwrap();
        self.session.flush().unwrap();
    }

    /// The alternate screen was left, the settings are as before.
    #[track_caller]
    fn gave_the_terminal_back(mut self, code: &str) {
        self.sees(&format!("code={code}"));
        self.sees("THE-END");
        assert!(!self.terminal.screen().alternate_screen());
        assert!(!self.terminal.screen().hide_cursor());
        let settings = |name| std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        assert_eq!(settings("before"), settings("after"));
    }
}

#[test]
fn q_leaves_and_gives_the_terminal_back() {
    let mut view = start(Path::new(RUNS), None);
    view.sees("1 scenarios, 5 runs");
    view.press("q");
    view.gave_the_terminal_back("0");
}

#[test]
fn sigterm_gives_the_terminal_back() {
    let mut view = start(Path::new(RUNS), Some(KILLED));
    view.sees("Kernel panic");
    let pid = std::fs::read_to_string(view.dir.path().join("pid")).unwrap();
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().unwrap().success());
    view.gave_the_terminal_back("0");
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let mut view = start(Path::new(RUNS), None);
    view.sees("panic.rhai");
    view.press("\r");
    view.sees("Question");
    view.press("y");
    view.gave_the_terminal_back("101");
}

#[test]
fn cancel_reaches_the_run_and_leaving_does_not() {
    let runs = tempfile::tempdir().unwrap();
    let run = runs.path().join(KILLED);
    std::fs::create_dir(&run).unwrap();
    std::fs::copy(Path::new(RUNS).join(KILLED).join("journal.jsonl"), run.join("journal.jsonl")).unwrap();
    let inbox = Inbox::new();
    let _listener = inbox.listen(&run).unwrap();
    let mut view = start(runs.path(), Some(KILLED));
    view.sees("running");
    view.sees("cancel");
    view.press("c");
    view.sees("Question");
    view.press("y");
    view.sees("told");
    assert_eq!(inbox.receiver().recv_timeout(Duration::from_secs(5)), Ok(Command::Cancel));
    view.press("q");
    view.sees("Leave?");
    view.press("y");
    view.gave_the_terminal_back("0");
    assert!(inbox.receiver().is_empty(), "leaving sends nothing");
}
