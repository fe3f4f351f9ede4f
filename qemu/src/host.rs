//! What this host offers, gathered once and passed down.

use crate::machine::Accel;
use crate::screen::FontCache;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How the accelerator is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccelChoice {
    /// KVM if a tiny boot proved it on this host, else TCG. The proof is remembered in this JSON file.
    Measured {
        /// Where.
        memory: PathBuf,
    },
    /// This one.
    Forced(Accel),
}

/// The programs and files of this host.
#[derive(Debug, Clone)]
pub struct Host {
    /// `qemu-system-x86_64`.
    pub qemu_binary: PathBuf,
    /// `qemu-img`.
    pub qemu_img: PathBuf,
    /// `swtpm`, if it is there.
    pub swtpm: Option<PathBuf>,
    /// Folders of firmware descriptors; a file in an earlier one hides one of the same name in a later one.
    pub firmware_dirs: Vec<PathBuf>,
    /// KVM or TCG.
    pub accel: AccelChoice,
    /// Differs from one boot of the host to the next (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The fonts a screen is read with.
    pub fonts: FontCache,
}

/// Where Debian's grub-common has GRUB's font, and other distributions too.
const GRUB_FONT: &str = "/usr/share/grub/unicode.pf2";

/// Why this host cannot run a machine.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A program is missing.
    #[error("{0} is not in PATH; on Debian: apt install qemu-system-x86 qemu-utils")]
    Missing(&'static str),
}

impl Host {
    /// Looks for the programs in `path_var` (the value of `PATH`) and for descriptors where QEMU's own convention puts
    /// them: `config_home`/qemu/firmware (the value of `XDG_CONFIG_HOME`), /etc/qemu/firmware, /usr/share/qemu/firmware.
    ///
    /// # Errors
    /// The first program that is missing.
    pub fn discover(
        path_var: &OsStr,
        config_home: Option<&Path>,
        accel: AccelChoice,
    ) -> Result<Self, HostError> {
        let find = |name: &'static str| {
            std::env::split_paths(path_var)
                .map(|dir| dir.join(name))
                .find(|path| path.is_absolute() && path.is_file())
                .ok_or(HostError::Missing(name))
        };
        let mut firmware_dirs: Vec<_> = config_home.map(|c| c.join("qemu/firmware")).into_iter().collect();
        firmware_dirs.push("/etc/qemu/firmware".into());
        firmware_dirs.push("/usr/share/qemu/firmware".into());
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let qemu_binary = find("qemu-system-x86_64")?;
        Ok(Self {
            fonts: FontCache::new(qemu_binary.clone(), GRUB_FONT.into()),
            qemu_binary,
            qemu_img: find("qemu-img")?,
            swtpm: find("swtpm").ok(),
            firmware_dirs,
            accel,
            boot_id: boot_id.trim().to_owned(),
        })
    }
}

/// Makes the writable file that goes on top of a read-only base: `size` bytes of nothing, no backing file named in it.
///
/// # Errors
/// `qemu-img` could not be run or failed; its words are in the error. An existing file is refused.
pub fn create_child(qemu_img: &Path, path: &Path, size: u64) -> std::io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            format!("{} exists", path.display()),
        ));
    }
    // `./` keeps a relative name with a colon from being read as a protocol.
    let name = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let output = std::process::Command::new(qemu_img)
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&name)
        .arg(size.to_string())
        .stdin(std::process::Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(std::io::Error::other(format!("qemu-img create {}: {words}", path.display())))
}
