//! How much a guest may write to its disks.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a child's length is looked at: a guest under TCG writes some 100 MiB in this time.
const ROOM_TICK: Duration = Duration::from_millis(500);

/// What the guest may write.
pub(crate) struct Room {
    children: Vec<PathBuf>,
    limit: u64,
    look_at: Instant,
}

impl Room {
    pub fn new(children: Vec<PathBuf>, limit: u64) -> Self {
        Room { children, limit, look_at: Instant::now() }
    }

    /// The first child that has become longer than it may, looked for now and then.
    pub fn outgrown(&mut self) -> Option<String> {
        if Instant::now() < self.look_at {
            return None;
        }
        self.look_at = Instant::now() + ROOM_TICK;
        // What lies on the disk counts: a sparse file may be long.
        let used = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.blocks().saturating_mul(512));
        let child = self.children.iter().find(|path| used(path) > self.limit)?;
        let (limit, name) = (self.limit / (1024 * 1024), child.display());
        Some(format!(
            "the guest wrote more than {limit} MiB to its disk ({name}), which is more than the lab allows, and was stopped"
        ))
    }
}
