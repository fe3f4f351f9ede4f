//! What is left when this program was killed: the parent-death signal takes QEMU along, and the record of it stays in the
//! run folder. A sweep removes such records, and ends a QEMU that survived, after making sure that it is the same process.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const RECORD: &str = "qemu.pid";
/// Folders below the root that are looked into.
const MAX_DEPTH: usize = 5;

#[derive(Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// Clock ticks since the host's boot; with the pid it names a process once and for all. proc(5), stat field 22.
    started: u64,
    marker: String,
    owner: i32,
    owner_started: u64,
}

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Records whose QEMU and owner were gone, removed.
    pub stale: Vec<PathBuf>,
    /// Machines without an owner, ended.
    pub killed: Vec<PathBuf>,
}

/// Looks through the run folders below `run_root`. Machines whose owner lives are left alone.
pub fn sweep(run_root: &Path) -> Swept {
    let mut swept = Swept::default();
    visit(run_root, 0, &mut swept);
    swept
}

fn visit(dir: &Path, depth: usize, swept: &mut Swept) {
    let record = dir.join(RECORD);
    if let Some(found) = std::fs::read(&record).ok().and_then(|b| serde_json::from_slice::<Record>(&b).ok())
        && started(found.owner) != Some(found.owner_started)
    {
        if is_ours(&found)
            && let Some(pid) = Pid::from_raw(found.pid)
        {
            let _ = kill_process(pid, Signal::KILL);
            swept.killed.push(dir.to_owned());
        } else {
            swept.stale.push(dir.to_owned());
        }
        let _ = std::fs::remove_file(&record);
    }
    if depth >= MAX_DEPTH {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            visit(&entry.path(), depth + 1, swept);
        }
    }
}

fn is_ours(record: &Record) -> bool {
    let marker = format!("guest={}", record.marker);
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", record.pid)).unwrap_or_default();
    started(record.pid) == Some(record.started)
        && cmdline.split(|b| *b == 0).any(|arg| arg == marker.as_bytes())
}

pub(crate) fn write_record(run_dir: &Path, pid: u32, marker: &str) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
    let owner = rustix::process::getpid().as_raw_nonzero().get();
    let record = Record {
        pid,
        started: started(pid).unwrap_or(0),
        marker: marker.to_owned(),
        owner,
        owner_started: started(owner).unwrap_or(0),
    };
    std::fs::write(run_dir.join(RECORD), serde_json::to_vec(&record)?)
}

pub(crate) fn remove_record(run_dir: &Path) {
    // A record that cannot be removed names a dead process and is swept later.
    let _ = std::fs::remove_file(run_dir.join(RECORD));
}

/// When a process started; `None` if there is none. The name in field 2 may hold blanks and parentheses.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
