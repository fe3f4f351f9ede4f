//! The real binary, started as a user starts it. A failing test prints command, status, output and where the evidence lies.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod raw;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub const DRILL: &str = env!("CARGO_BIN_EXE_drill");

/// A command of `drill` in this folder, under TCG: the accelerator whose answers the tests know.
pub fn drill(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(DRILL);
    command.args(args).current_dir(dir).env("DRILL_ACCEL", "tcg").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Run it and compare the exit code.
#[track_caller]
pub fn expect(dir: &Path, args: &[&str], exit: i32) -> (String, String) {
    let output = drill(dir, args).output().expect("drill starts");
    let (out, err) = texts(&output);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "drill {} in {}\n--- stdout\n{out}\n--- stderr\n{err}",
        args.join(" "),
        dir.display()
    );
    (out, err)
}

/// An outside program that must succeed.
#[track_caller]
pub fn outside(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}; ./x setup installs it"));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{program} {}: {}\n{out}\n{err}", args.join(" "), output.status);
    format!("{out}{err}")
}

fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// The sample disk, built once and cached; never written by anybody.
pub fn tiny() -> &'static Path {
    static TINY: OnceLock<PathBuf> = OnceLock::new();
    TINY.get_or_init(|| sample("tiny-gen2"))
}

/// A sample disk by name, out of the same cache that `drill` uses.
pub fn sample(name: &str) -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("DRILL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("drill")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/drill")))
        .expect("HOME is set");
    fixtures::build(name, &cache, &mut |line| eprintln!("  {name}: {line}"), &|| false)
        .expect("the sample builds")
}

/// A raw copy of a sample, for outside tools to change.
pub fn raw_copy(image: &Path, dir: &Path, name: &str) -> PathBuf {
    let raw = dir.join(name);
    outside("qemu-img", &["convert", "-O", "raw", &text(image), &text(&raw)]);
    raw
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// The newest run folder under `.drill/runs` of this folder.
pub fn last_run(dir: &Path) -> PathBuf {
    let mut runs: Vec<PathBuf> =
        std::fs::read_dir(dir.join(".drill/runs")).expect("a run").map(|e| e.unwrap().path()).collect();
    runs.sort();
    runs.pop().expect("a run folder")
}

/// All serial consoles of a run, one after another.
pub fn consoles(run: &Path) -> String {
    let mut all = String::new();
    let mut dirs: Vec<_> = std::fs::read_dir(run).expect("run folder").map(|e| e.unwrap().path()).collect();
    dirs.sort();
    for dir in dirs {
        all.push_str(&String::from_utf8_lossy(&std::fs::read(dir.join("console.log")).unwrap_or_default()));
    }
    all
}

/// Process ids of every QEMU whose command line names this folder.
pub fn qemus_of(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        if cmdline.contains("qemu-system") && cmdline.contains(&text(dir)) {
            found.push(cmdline);
        }
    }
    found
}
