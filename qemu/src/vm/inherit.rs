//! What QEMU is given open.

use super::{StartError, io};
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// Descriptors on their way into QEMU.
#[derive(Default)]
pub(super) struct Inherit {
    pub fds: Vec<i32>,
    sockets: Vec<UnixStream>,
    files: Vec<File>,
    shared: Vec<Arc<OwnedFd>>,
}

impl Inherit {
    /// Our end of a new pair, and the number of QEMU's.
    pub fn socket(&mut self) -> Result<(UnixStream, i32), StartError> {
        let (near, far) = UnixStream::pair().map_err(io("make a socket pair"))?;
        let fd = far.as_raw_fd();
        self.fds.push(fd);
        self.sockets.push(far);
        Ok((near, fd))
    }

    pub fn open(&mut self, path: &Path) -> Result<i32, StartError> {
        let open = OpenOptions::new().read(true).write(true).open(path);
        let file = open.map_err(io(&format!("open {}", path.display())))?;
        let fd = file.as_raw_fd();
        self.fds.push(fd);
        self.files.push(file);
        Ok(fd)
    }

    /// A text that QEMU reads from memory, so that it stands neither in a file nor on a command line.
    pub fn text(&mut self, text: &str) -> Result<i32, StartError> {
        let failed = io("hand a text to QEMU");
        let fd = match rustix::fs::memfd_create("drill", rustix::fs::MemfdFlags::CLOEXEC) {
            Ok(fd) => fd,
            Err(error) => return Err(failed(error.into())),
        };
        let mut file = File::from(fd);
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).map_err(failed)?;
        let fd = file.as_raw_fd();
        self.fds.push(fd);
        self.files.push(file);
        Ok(fd)
    }

    pub fn share(&mut self, fd: &Arc<OwnedFd>) -> i32 {
        self.shared.push(Arc::clone(fd));
        self.fds.push(fd.as_raw_fd());
        fd.as_raw_fd()
    }
}
