//! A log that cannot fill the disk: what a guest or QEMU says, up to a bound.

use crate::redact::{Lines, Redactor, Stream};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes kept of one log. A full Debian says some 100 KiB while it boots; a real port of 115200 baud would need 24 minutes for this.
pub const MAX_LOG: u64 = 16 * 1024 * 1024;

/// One log file of a start: what may be written of a stream.
pub(crate) struct Log {
    file: File,
    values: Stream,
    lines: Lines,
    left: u64,
}

impl Log {
    pub fn create(path: &Path, redactor: &Redactor) -> std::io::Result<Log> {
        let (values, lines) = (redactor.stream(), redactor.lines());
        Ok(Log { file: File::create(path)?, values, lines, left: MAX_LOG })
    }

    /// Writes what may be written and fits. Gives what may be remembered, and whether this is the first time that something does not fit.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let clean = self.values.push(bytes);
        let text = self.lines.push(&clean);
        let full = self.write(&text);
        (clean, full)
    }

    /// Nothing more will come: what was held back, because a secret might have begun there, is written.
    pub fn finish(&mut self) {
        let clean = self.values.finish();
        let text = self.lines.push(&clean);
        self.write(&text);
        let rest = self.lines.finish();
        self.write(&rest);
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
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
pub(crate) struct Logs {
    pub serial: Log,
    pub serial2: Log,
    pub debug: Log,
    pub qemu: Log,
    /// Where the end of a serial log goes that did not fit.
    tail: PathBuf,
    redactor: Redactor,
}

impl Logs {
    pub fn create(run_dir: &Path, redactor: &Redactor) -> std::io::Result<Self> {
        let log = |name: &str| Log::create(&run_dir.join(name), redactor);
        Ok(Logs {
            serial: log("console.log")?,
            serial2: log("console2.log")?,
            debug: log("firmware.log")?,
            qemu: log("qemu.log")?,
            tail: run_dir.join("console-tail.log"),
            redactor: redactor.clone(),
        })
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        [&mut self.serial, &mut self.serial2, &mut self.debug, &mut self.qemu]
            .into_iter()
            .for_each(Log::finish);
    }

    /// Keeps the end of a serial log that did not fit: what is remembered of the console.
    pub fn keep_tail(&self, console: &[u8]) {
        let mut lines = self.redactor.lines();
        let text = [lines.push(console), lines.finish()].concat();
        let _ = std::fs::write(&self.tail, text);
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, MAX_LOG};
    use crate::redact::Redactor;

    #[test]
    fn a_log_keeps_its_beginning_and_says_once_that_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path, &Redactor::default()).unwrap();
        assert!(!log.take(b"begin\n").1);
        let block = b"xxxxxxx\n".repeat(1 << 17);
        let told = (0..40).filter(|_| log.take(&block).1).count();
        assert_eq!((told, log.is_full()), (1, true));
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(kept.len() as u64, MAX_LOG);
        assert!(kept.starts_with(b"begin\nxxx"));
    }
}
