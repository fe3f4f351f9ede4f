//! A virtual TPM 2.0: one swtpm beside one QEMU, joined by a socket pair. It is new at every start, as that of a machine restored to other hardware is.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Folder of its state, in the machine's own: keys that nobody needs afterwards, so it is removed.
const STATE: &str = "tpm-state";
/// From the end of QEMU to its own.
const END: Duration = Duration::from_secs(2);

/// A running swtpm. It ends by itself when QEMU does: then nobody has the other end of its socket.
pub(crate) struct Tpm {
    child: Child,
    state: PathBuf,
}

impl Tpm {
    /// Start it at this end of a pair; the other one is QEMU's. What it says goes to `tpm.log` in `run_dir`.
    pub(crate) fn start(swtpm: &Path, run_dir: &Path, socket: UnixStream) -> io::Result<Tpm> {
        let state = run_dir.join(STATE);
        std::fs::create_dir(&state)?;
        let log = File::create(run_dir.join("tpm.log"))?;
        // Its own folder is the current one, so that no comma in a path ends an option; its socket is standard input.
        let child = Command::new(swtpm)
            .args(["socket", "--tpm2", "--terminate", "--ctrl", "type=unixio,clientfd=0"])
            .args(["--tpmstate", &format!("dir={STATE}")])
            .current_dir(run_dir)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Tpm { child, state })
    }

    /// Whether it came to its end within the time.
    fn ended(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Ok(None) | Err(_) => return false,
                Ok(Some(_)) => return true,
            }
        }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        if !self.ended(END) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.state);
    }
}
