//! Pointers from events into the files of a run folder.
//!
//! A journal may come from elsewhere, so a pointer is untrusted: its name is checked when it is read, and the file is
//! opened beneath the run folder without following symbolic links.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

/// Longest name of an artifact, bytes.
pub const MAX_NAME: usize = 512;

/// The name of a file in the run folder: relative, no `..`, no control characters.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

/// A name that does not stay inside the run folder.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("artifact name {name:?} is not a plain path inside the run folder: {why}")]
pub struct BadArtifactName {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl ArtifactName {
    /// Check a name.
    ///
    /// # Errors
    /// When it is empty, too long, absolute, holds `..`, `.` or a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, BadArtifactName> {
        let name = name.into();
        let why = if name.is_empty() {
            Some("it is empty")
        } else if name.len() > MAX_NAME {
            Some("it is too long")
        } else if name.chars().any(char::is_control) {
            Some("it holds a control character")
        } else if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            Some("it is absolute or holds `.` or `..`")
        } else {
            None
        };
        match why {
            None => Ok(Self(name)),
            Some(why) => Err(BadArtifactName { name, why }),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Open the file for reading, beneath `run_dir`, following no symbolic link.
    ///
    /// # Errors
    /// When it is not there, not a regular file, or leads out of the folder.
    pub fn open(&self, run_dir: &Path) -> io::Result<File> {
        let folder =
            rustix::fs::open(run_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match rustix::fs::openat2(&folder, self.as_str(), flags, Mode::empty(), beneath) {
            // Old kernels and some containers have no openat2: the last component at least is no link.
            Err(Errno::NOSYS | Errno::PERM) => {
                rustix::fs::openat(&folder, self.as_str(), flags | OFlags::NOFOLLOW, Mode::empty())?
            }
            other => other?,
        };
        let file = File::from(opened);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("artifact {self} is not a regular file")));
        }
        Ok(file)
    }
}

impl TryFrom<String> for ArtifactName {
    type Error = BadArtifactName;
    fn try_from(name: String) -> Result<Self, BadArtifactName> {
        Self::new(name)
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Some bytes of a file in the run folder.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Which file.
    pub artifact: ArtifactName,
    /// From where, bytes.
    #[serde(default)]
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

impl Pointer {
    /// Read what it points at, at most `limit` bytes of it. Shorter when the file is.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn read(&self, run_dir: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let file = self.artifact.open(run_dir)?;
        read_window(&file, self.offset, usize::try_from(self.len).unwrap_or(usize::MAX).min(limit))
    }
}

/// Read up to `len` bytes at `offset`; fewer at the end of the file.
///
/// # Errors
/// When reading fails.
pub fn read_window(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = file.metadata()?.len().saturating_sub(offset);
    let len = len.min(usize::try_from(there).unwrap_or(usize::MAX));
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(n) => filled = filled.saturating_add(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{ArtifactName, Pointer};

    #[test]
    fn names_stay_inside_the_run_folder() {
        for good in ["console.log", "web/boot-1/console.log", "a..b"] {
            assert!(ArtifactName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a\nb", &"x".repeat(600)] {
            assert!(ArtifactName::new(bad).is_err(), "{bad}");
            let json = serde_json::json!({"artifact": bad, "offset": 0, "len": 1}).to_string();
            assert!(serde_json::from_str::<Pointer>(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_a_window_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.log"), "0123456789").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let read = |name: &str, offset, len, limit| {
            Pointer { artifact: ArtifactName::new(name).unwrap(), offset, len }.read(dir.path(), limit)
        };
        assert_eq!(read("a.log", 2, 4, 100).unwrap(), b"2345");
        assert_eq!(read("a.log", 2, 4, 3).unwrap(), b"234");
        assert_eq!(read("a.log", 8, u64::MAX, 100).unwrap(), b"89");
        assert_eq!(read("a.log", u64::MAX, u64::MAX, 100).unwrap(), b"");
        assert!(read("link", 0, 10, 10).is_err());
    }
}
