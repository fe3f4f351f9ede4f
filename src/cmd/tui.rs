//! `drill tui`.

use super::Ended;
use crate::cli::TuiArgs;
use crate::cmd::run::{scenarios_in, style};
use crate::world::Problem;
use drills::verdict::ExitCode;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a started run may take to make its folder.
const FOLDER_WITHIN: Duration = Duration::from_secs(10);

/// Open the screen.
pub fn tui(args: &TuiArgs) -> Ended {
    let scenarios = scenarios_in(&[PathBuf::from(".")]).unwrap_or_default();
    let options =
        tui::Options { root: args.out.clone(), open: args.run.clone(), scenarios, style: style(false) };
    let out = args.out.clone();
    let hooks = tui::Hooks { start: Box::new(move |scenario: &Path| start(scenario, &out)) };
    tui::run(options, hooks).map_err(|e| {
        Problem::new(ExitCode::Usage, e)
            .next("drill tui needs a terminal; drill run and drill replay work without one")
    })?;
    Ok(ExitCode::Passed)
}

/// Start a drill as a process of its own, so that leaving the screen never ends it; gives its run folder.
fn start(scenario: &Path, out: &Path) -> io::Result<PathBuf> {
    use std::os::unix::process::CommandExt;
    let before = names(out);
    let mut child = Command::new(std::env::current_exe()?)
        .arg("run")
        .arg(scenario)
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let end = Instant::now() + FOLDER_WITHIN;
    loop {
        let new = names(out).into_iter().find(|n| !before.contains(n) && n.join("journal.jsonl").exists());
        if let Some(dir) = new {
            // Collected when it ends, so that no dead process stays behind.
            let _ = std::thread::Builder::new().name("drill-child".into()).spawn(move || child.wait());
            return Ok(dir);
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!(
                "drill run {} ended with {status} before it began; type it in a shell to see why",
                scenario.display()
            )));
        }
        if Instant::now() > end {
            return Err(io::Error::other("the drill started, but its run folder did not appear"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn names(out: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(out).into_iter().flatten().flatten().map(|e| e.path()).collect()
}
