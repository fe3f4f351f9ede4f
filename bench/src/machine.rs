//! One line about the machine.

use crate::contender::Tools;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// What everything was measured on, and with.
///
/// # Errors
/// When a program is missing.
pub fn describe(dir: &Path, tools: &Tools) -> Result<Vec<String>> {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism()?;
    let memory = field("/proc/meminfo", "MemTotal").and_then(|t| t.split(' ').next()?.parse::<u64>().ok());
    let kernel = rustix::system::uname();
    let file_system = first_line("findmnt", &["-n", "-o", "FSTYPE", "-T", &dir.display().to_string()])?;
    Ok(vec![
        format!(
            "{cpu}, {cores} processors, {} GiB of memory, Linux {}, {file_system}",
            memory.unwrap_or(0) >> 20,
            kernel.release().to_string_lossy()
        ),
        format!(
            "{}; {}; {}",
            first_line(&tools.drill.display().to_string(), &["--version"])?,
            first_line("qemu-img", &["--version"])?,
            first_line("cp", &["--version"])?
        ),
    ])
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(tool: &str, args: &[&str]) -> Result<String> {
    let out = Command::new(tool).args(args).output().with_context(|| format!("running {tool}"))?;
    Ok(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned())
}
