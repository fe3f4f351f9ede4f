//! A log that cannot fill the disk: what a guest or QEMU says, up to a bound.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes kept of one log. A full Debian says some 100 KiB while it boots; a real port of 115200 baud would need 24 minutes for this.
pub const MAX_LOG: u64 = 16 * 1024 * 1024;

/// One log file of a start.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    left: u64,
}

impl Log {
    pub fn create(path: &Path) -> std::io::Result<Log> {
        Ok(Log { file: File::create(path)?, left: MAX_LOG })
    }

    /// Writes what fits; true when this is the first time that something does not.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len() as u64;
        if self.left == 0 {
            return false;
        }
        let fits = usize::try_from(self.left.min(len)).unwrap_or(bytes.len());
        // A log that cannot be written is missed by its reader; the guest is watched all the same.
        let _ = self.file.write_all(bytes.get(..fits).unwrap_or_default());
        let full = len >= self.left;
        self.left = self.left.saturating_sub(len);
        full
    }

    /// Whether not all of it was kept.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }
}

/// All logs of a start.
#[derive(Debug)]
pub(crate) struct Logs {
    pub serial: Log,
    pub serial2: Log,
    pub debug: Log,
    pub qemu: Log,
    /// Where the end of a serial log goes that did not fit.
    pub tail: PathBuf,
}

impl Logs {
    pub fn create(run_dir: &Path) -> std::io::Result<Self> {
        let log = |name: &str| Log::create(&run_dir.join(name));
        Ok(Logs {
            serial: log("console.log")?,
            serial2: log("console2.log")?,
            debug: log("firmware.log")?,
            qemu: log("qemu.log")?,
            tail: run_dir.join("console-tail.log"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, MAX_LOG};

    #[test]
    fn a_log_keeps_its_beginning_and_says_once_that_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path).unwrap();
        assert!(!log.write(b"begin"));
        let block = vec![b'x'; 1 << 20];
        let told = (0..40).filter(|_| log.write(&block)).count();
        assert_eq!((told, log.is_full()), (1, true));
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(kept.len() as u64, MAX_LOG);
        assert!(kept.starts_with(b"beginx"));
    }
}
