//! What a guest's own loader would offer, as a list that does not depend on the loader.
//!
//! ```text
//! EFI/BOOT/BOOTX64.EFI ─ which loader? ─┬ GRUB ───────── its grub.cfg; with blscfg, the entries that command would read
//!                                       ├ systemd-boot ─ loader/entries/*.conf (Type 1) and EFI/Linux/*.efi (Type 2)
//!                                       ├ UKI ────────── its sections
//!                                       └ kernel ─────── the command line startup.nsh gives it
//! ```
//! [UAPI.1](https://uapi-group.org/specifications/specs/boot_loader_specification/) says what entries are and how they are ordered; where it
//! is silent, this does as systemd-boot does. What lives in firmware variables only (a default set there, one-shot entries) is not on the disk.

mod bls;
mod discover;
mod efistub;
mod grubcfg;
mod grubenv;
mod sdboot;
mod uki;
pub(super) mod version;
mod words;

pub use discover::kernel_alone;
pub(super) use discover::{menu, starter};
pub use words::{KernelWord, kernel_words};

use super::FsPlace;
use serde::{Deserialize, Serialize};

/// Most entries of a menu; more are left out and said to be.
pub const ENTRIES_MAX: usize = 64;

/// Whose menu it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MenuSource {
    /// The menu entries of a `grub.cfg`.
    GrubCfg,
    /// The entries that GRUB's `blscfg` reads.
    GrubBls,
    /// systemd-boot.
    SystemdBoot,
    /// One unified kernel image and nothing in front of it.
    Uki,
    /// One kernel with an EFI stub and nothing in front of it.
    EfiStub,
}

/// The menu of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootMenu {
    /// Whose.
    pub source: MenuSource,
    /// In the order in which the loader shows them.
    pub entries: Vec<BootEntry>,
    /// The one that starts if nobody chooses.
    pub default: usize,
    /// Why that one.
    pub default_why: String,
    /// What was left out, each with the reason.
    pub left_out: Vec<String>,
    /// Why a plain GRUB cannot use the guest's own configuration, so that the menu must be written out for it; empty when it can.
    pub translate: Vec<String>,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct BootEntry {
    /// What the loader calls it: a file's name, a menu entry's id.
    pub id: String,
    /// What people see.
    pub title: String,
    /// The file that says so.
    pub origin: String,
    /// The file system that its paths are on.
    pub place: FsPlace,
    /// The kernel; `None` for an entry that starts something else.
    pub kernel: Option<BootFile>,
    /// Initramfs images, in order.
    pub initrd: Vec<BootFile>,
    /// The kernel's command line.
    pub options: String,
}

/// A file, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootFile {
    /// Path on the entry's file system.
    pub path: String,
    /// Where in the file, when it is a section of a unified kernel image.
    pub part: Option<Part>,
}

/// A stretch of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Part {
    /// First byte.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
}

impl MenuSource {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            MenuSource::GrubCfg => "GRUB",
            MenuSource::GrubBls => "GRUB with boot loader entries",
            MenuSource::SystemdBoot => "systemd-boot",
            MenuSource::Uki => "a unified kernel image",
            MenuSource::EfiStub => "a kernel with EFI stub",
        }
    }
}

impl BootMenu {
    /// The entry that starts if nobody chooses.
    pub fn default_entry(&self) -> Option<&BootEntry> {
        self.entries.get(self.default)
    }
}

impl BootEntry {
    /// The value of `key=` on the command line; the last one counts.
    pub fn option(&self, key: &str) -> Option<&str> {
        let value = |word: &'_ str| word.strip_prefix(key)?.strip_prefix('=').map(str::len);
        let word = self.options.split_whitespace().rfind(|w| value(w).is_some())?;
        word.get(key.len().checked_add(1)?..)
    }

    /// Whether a console is on the first serial port.
    pub fn has_serial_console(&self) -> bool {
        let consoles = self.options.split_whitespace().filter_map(|w| w.strip_prefix("console="));
        consoles.into_iter().any(|c| c.starts_with("ttyS0"))
    }
}

impl BootFile {
    /// A whole file.
    pub fn whole(path: impl Into<String>) -> BootFile {
        BootFile { path: path.into(), part: None }
    }
}

impl std::fmt::Display for BootFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            Some(part) => write!(f, "{} bytes at {:#x} of {}", part.len, part.at, self.path),
            None => f.write_str(&self.path),
        }
    }
}
