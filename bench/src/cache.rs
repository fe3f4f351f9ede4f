//! The page cache before a run.

use crate::case::Cache;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

/// Bring the cache of `source` into a state.
///
/// # Errors
/// What the system says.
pub fn prepare(source: &Path, state: Cache) -> Result<()> {
    let mut file = File::open(source).with_context(|| source.display().to_string())?;
    match state {
        // Only what is clean can be dropped; the source was flushed when it was made.
        Cache::Cold => rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?,
        Cache::Warm => {
            let mut buf = vec![0; 1 << 20];
            while file.read(&mut buf)? > 0 {}
        }
    }
    Ok(())
}

/// Wait until nothing of earlier runs is left to be written, so that nobody pays for another's writeback.
///
/// # Errors
/// What the system says.
pub fn settle(dir: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(dir)?.as_fd()).with_context(|| dir.display().to_string())
}

/// Flush a file and the folder that has its name.
///
/// # Errors
/// What the system says.
pub fn flush(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()?;
    let dir = path.parent().context("a folder")?;
    File::open(dir)?.sync_all().with_context(|| dir.display().to_string())
}
