//! What a killed run leaves: its `work/` folder. Each names its owner; a later start removes those whose owner is gone.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const WORK: &str = "work";
const OWNER: &str = "owner.json";
/// Longest owner record that is read.
const MAX_RECORD: u64 = 4096;

/// Process id and start time name a process once and for all. proc(5), stat field 22.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
struct Owner {
    pid: u32,
    started: u64,
}

/// Make the run's `work/` folder and say whose it is.
pub(super) fn claim(dir: &Path) -> io::Result<PathBuf> {
    let work = dir.join(WORK);
    std::fs::create_dir(&work)?;
    let pid = std::process::id();
    let owner = Owner { pid, started: started(pid).unwrap_or(0) };
    std::fs::write(work.join(OWNER), serde_json::to_vec(&owner)?)?;
    Ok(work)
}

/// End what killed runs under `out` left: virtual machines without an owner, and their work folders. Gives what was removed.
pub fn sweep(out: &Path) -> Vec<PathBuf> {
    let swept = qemu::sweep(out);
    let mut gone = swept.killed;
    for run in std::fs::read_dir(out).into_iter().flatten().flatten() {
        let work = run.path().join(WORK);
        // A link is not a folder of ours.
        if std::fs::symlink_metadata(&work).is_ok_and(|m| m.is_dir())
            && orphaned(&work)
            && std::fs::remove_dir_all(&work).is_ok()
        {
            gone.push(work);
        }
    }
    gone
}

fn orphaned(work: &Path) -> bool {
    let record = work.join(OWNER);
    let owner = std::fs::metadata(&record)
        .ok()
        .filter(|m| m.len() <= MAX_RECORD)
        .and_then(|_| std::fs::read(&record).ok())
        .and_then(|bytes| serde_json::from_slice::<Owner>(&bytes).ok());
    // Without a readable record nothing says that this is ours to remove.
    owner.is_some_and(|owner| started(owner.pid) != Some(owner.started))
}

/// When a living process started, in clock ticks since the host's boot.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses; fields are counted behind the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{OWNER, Owner, claim, sweep};

    #[test]
    fn a_dead_owners_work_is_removed_and_a_living_ones_is_not() {
        let out = tempfile::tempdir().unwrap();
        let (dead, alive, foreign) = (out.path().join("a"), out.path().join("b"), out.path().join("c"));
        for dir in [&dead, &alive, &foreign] {
            std::fs::create_dir(dir).unwrap();
        }
        let work = claim(&dead).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let owner = Owner { pid: child.id(), started: 1 };
        child.wait().unwrap();
        std::fs::write(work.join(OWNER), serde_json::to_vec(&owner).unwrap()).unwrap();
        let living = claim(&alive).unwrap();
        std::fs::create_dir(foreign.join("work")).unwrap();
        assert_eq!(sweep(out.path()), vec![work.clone()]);
        assert!(!work.exists() && living.exists() && foreign.join("work").exists());
    }
}
