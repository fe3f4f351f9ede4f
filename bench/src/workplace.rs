//! The folder a case works in: made with enough room, removed with everything in it.

use crate::case::{NotPerformed, Place};
use crate::source::{GIB, run};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Beginning of the folder's name.
const PREFIX: &str = "drill-bench-";
/// Share of the memory that is left alone when a case works in memory.
const MEMORY_LEFT: u64 = 4 * GIB;

/// A folder that is removed at the end, after what is mounted in it.
pub struct Workplace {
    dir: tempfile::TempDir,
    mounted: Option<PathBuf>,
}

impl Workplace {
    /// Make it.
    ///
    /// # Errors
    /// When there is not enough room; [`NotPerformed`] when this machine cannot have such a place.
    pub fn new(place: Place, dir: &Path, memory_dir: &Path, needed: u64) -> Result<Workplace> {
        let parent = if place == Place::Memory { memory_dir } else { dir };
        let stat = rustix::fs::statvfs(parent).with_context(|| parent.display().to_string())?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if place == Place::Memory {
            let available = memory_available().unwrap_or(0);
            if available < needed + MEMORY_LEFT {
                let (have, want) = (available >> 20, (needed + MEMORY_LEFT) >> 20);
                return Err(
                    NotPerformed(format!("{want} MiB of memory are needed, {have} MiB are there")).into()
                );
            }
        }
        anyhow::ensure!(
            free >= needed,
            "{}: {} MiB are free, {} MiB are needed; give another folder with --dir",
            parent.display(),
            free >> 20,
            needed >> 20
        );
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let mut place_made = Workplace { dir, mounted: None };
        if place == Place::Xfs {
            place_made.mount_xfs(needed)?;
        }
        Ok(place_made)
    }

    /// Where to work.
    pub fn path(&self) -> &Path {
        self.mounted.as_deref().unwrap_or(self.dir.path())
    }

    /// Bytes that the file system has left.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.path())?;
        Ok(stat.f_bfree.saturating_mul(stat.f_frsize))
    }

    fn mount_xfs(&mut self, len: u64) -> Result<()> {
        let (image, at) = (self.dir.path().join("xfs.img"), self.dir.path().join("xfs"));
        File::create_new(&image)?.set_len(len)?;
        std::fs::create_dir(&at)?;
        let text = |p: &Path| p.display().to_string();
        let not = |e: anyhow::Error| anyhow::Error::from(NotPerformed(format!("{e:#}")));
        run("mkfs.xfs", &["-q", "-m", "reflink=1", &text(&image)]).map_err(not)?;
        run("mount", &["-o", "loop", &text(&image), &text(&at)]).map_err(not)?;
        self.mounted = Some(at);
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Some(at) = &self.mounted
            && let Err(e) = run("umount", &[&at.display().to_string()])
        {
            eprintln!("{e:#}");
        }
    }
}

fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}
