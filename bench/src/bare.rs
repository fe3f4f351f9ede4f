//! QEMU as drill starts it, without drill: what a boot costs when nobody looks.
//!
//! drill's own arguments are taken from the run folder of a boot. What belongs to drill in them (descriptors it hands over, its NBD server) is put in
//! other words: the image is opened by QEMU itself, the console is a pipe, QMP a socket that is used once, to press the power button.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the guest says when it is up.
const MARKER: &str = "DRILL-READY";
/// How drill boots it, behind the image and its folder.
pub const BOOT: [&str; 6] = ["--as", "gen2", "--expect", MARKER, "--accel", "tcg"];
/// Between two pushes of the power button.
const AGAIN: Duration = Duration::from_secs(1);
/// Firmware variables as they come from the package.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Let drill boot `image` once and keep the arguments of its QEMU beside it.
///
/// # Errors
/// When the boot fails, or left no arguments.
pub fn note_arguments(image: &Path, drill: &Path) -> Result<()> {
    let runs = image.with_extension("runs");
    let mut command = Command::new(drill);
    command.arg("boot").arg(image).arg("--out").arg(&runs).args(BOOT);
    let out = command.output().with_context(|| format!("running {command:?}"))?;
    anyhow::ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stdout));
    let found = files(&runs)?.into_iter().find(|f| f.ends_with("arguments.json"));
    let found = found.with_context(|| format!("{}: no arguments.json in it", runs.display()))?;
    std::fs::copy(&found, noted(image)).context("the arguments of QEMU")?;
    std::fs::remove_dir_all(&runs)?;
    Ok(())
}

fn noted(image: &Path) -> PathBuf {
    image.with_extension("arguments.json")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    Ok(found)
}

/// Boot `image` up to the marker and shut it down.
///
/// # Errors
/// When QEMU cannot be started, or ends before the marker.
pub fn boot(image: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(image.parent().context("a folder")?)?;
    let text = std::fs::read_to_string(noted(image)).context("the arguments of QEMU")?;
    let arguments: Vec<String> = serde_json::from_str(&text).context("the arguments of QEMU")?;
    std::fs::copy(VARIABLES, folder.path().join("vars.fd")).context(VARIABLES)?;
    let child = folder.path().join("child.qcow2");
    let len = "1G"; // as long as the image that `Source::booted` makes
    crate::source::run("qemu-img", &["create", "-q", "-f", "qcow2", &child.display().to_string(), len])?;
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(bare(&arguments, image, folder.path())?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("running qemu-system-x86_64")?;
    let console = BufReader::new(qemu.stdout.take().context("the console")?);
    let mut up = false;
    for line in console.split(b'\n') {
        let line = line?;
        if !up && String::from_utf8_lossy(&line).contains(MARKER) {
            up = true;
            let socket = folder.path().join("qmp");
            std::thread::spawn(move || press_power(&socket));
        }
    }
    let status = qemu.wait()?;
    if !up || !status.success() {
        bail!("QEMU ended with {status}, {} the marker", if up { "after" } else { "before" });
    }
    Ok(())
}

/// Until QEMU is gone: the marker comes before the guest listens to the button.
fn press_power(socket: &Path) -> Result<()> {
    let mut qmp = UnixStream::connect(socket).context("QMP")?;
    let mut answers = BufReader::new(qmp.try_clone()?).lines();
    answers.next().context("QMP's greeting")??;
    let mut command = "qmp_capabilities";
    loop {
        writeln!(qmp, "{}", json!({"execute": command}))?;
        answers.next().context("QMP's answer")??;
        command = "system_powerdown";
        std::thread::sleep(AGAIN);
    }
}

/// The arguments without drill.
fn bare(arguments: &[String], image: &Path, folder: &Path) -> Result<Vec<String>> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut bare = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-S" => {}
            "-add-fd" => drop(rest.next()),
            "-action" => {
                let action = rest.next().context("a value of -action")?;
                bare.extend(["-action".to_owned(), action.replace("shutdown=pause", "shutdown=poweroff")]);
            }
            "-chardev" => {
                let device = rest.next().context("a value of -chardev")?;
                let id =
                    device.split(',').find_map(|f| f.strip_prefix("id=")).context("an id of -chardev")?;
                let device = match id {
                    "qmp" => format!("socket,id=qmp,path={},server=on,wait=off", path("qmp")),
                    "serial0" => "stdio,id=serial0,signal=off".to_owned(),
                    _ => format!("null,id={id}"),
                };
                bare.extend(["-chardev".to_owned(), device]);
            }
            "-blockdev" => {
                let mut node: Value = serde_json::from_str(rest.next().context("a value of -blockdev")?)?;
                if node["driver"] == "nbd" {
                    let file = json!({"driver": "file", "filename": image});
                    let name = node["node-name"].clone();
                    node = json!({"driver": "vhdx", "node-name": name, "read-only": true, "file": file});
                }
                match node["node-name"].as_str() {
                    Some("firmware-vars") => node["filename"] = path("vars.fd").into(),
                    Some("disk0-file") => node["filename"] = path("child.qcow2").into(),
                    _ => {}
                }
                bare.extend(["-blockdev".to_owned(), node.to_string()]);
            }
            other => bare.push(other.to_owned()),
        }
    }
    Ok(bare)
}
