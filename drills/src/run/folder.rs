//! Names of run folders: time first, so that sorting by name sorts by time.

use std::io;
use std::path::{Path, PathBuf};

/// Longest part of a scenario's name that goes into a folder's name.
const MAX_NAME: usize = 40;
/// Runs of one name that may start in one second.
const MAX_SAME_SECOND: u32 = 1000;

/// Make `out/YYYYMMDD-HHMMSS-name`, and `out` if it is missing.
pub(super) fn make(out: &Path, started: jiff::Timestamp, name: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(out)?;
    // Whatever a scenario is called, the folder's name is harmless in a shell.
    let slug: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .take(MAX_NAME)
        .collect();
    let base = format!("{}-{slug}", started.strftime("%Y%m%d-%H%M%S"));
    for n in 1..=MAX_SAME_SECOND {
        let path = out.join(if n == 1 { base.clone() } else { format!("{base}-{n}") });
        match std::fs::create_dir(&path) {
            Ok(()) => return path.canonicalize(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other(format!("{MAX_SAME_SECOND} runs named {base} exist already")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_runs_in_one_second_get_two_folders_with_harmless_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = jiff::Timestamp::from_second(0).unwrap();
        let a = super::make(dir.path(), at, "web 01; rm -rf $HOME").unwrap();
        let b = super::make(dir.path(), at, "web 01; rm -rf $HOME").unwrap();
        assert!(a.ends_with("19700101-000000-web-01--rm--rf--HOME"), "{a:?}");
        assert!(b.ends_with("19700101-000000-web-01--rm--rf--HOME-2"), "{b:?}");
    }
}
