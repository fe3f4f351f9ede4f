//! Which operating system a volume holds.

use super::FsPlace;
use crate::volume::Volume;
use serde::{Deserialize, Serialize};

/// Family of an operating system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OsKind {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// An installed operating system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Os {
    /// Family.
    pub kind: OsKind,
    /// `PRETTY_NAME` of `/etc/os-release`, or the family's name.
    pub pretty: String,
    /// `ID` of `/etc/os-release`.
    pub id: Option<String>,
    /// Where its root file system is, when one could be read.
    pub place: Option<FsPlace>,
    /// Folder of that file system that becomes `/`; not empty for a btrfs subvolume.
    pub root: String,
}

/// Longest file of configuration that is read: 1 MiB.
pub(super) const TEXT_MAX: u64 = 1 << 20;

/// The system whose root file system `volume` is.
pub(super) fn on_volume(volume: &dyn Volume, place: &FsPlace) -> Option<Os> {
    // Debian and Ubuntu put a btrfs root into the subvolume `@`, Fedora and SUSE into `root` and `@`.
    for root in ["", "/@", "/root", "/@rootfs"] {
        for file in ["/etc/os-release", "/usr/lib/os-release"] {
            if let Ok(bytes) = volume.read(&format!("{root}{file}"), TEXT_MAX) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let pretty = value(&text, "PRETTY_NAME")
                    .or_else(|| value(&text, "NAME"))
                    .unwrap_or_else(|| "Linux".into());
                return Some(Os {
                    kind: OsKind::Linux,
                    pretty,
                    id: value(&text, "ID"),
                    place: Some(place.clone()),
                    root: root.into(),
                });
            }
        }
    }
    let windows = ["/Windows/System32/config/SYSTEM", "/Windows/System32/winload.efi"];
    if windows.iter().any(|path| volume.exists(path).unwrap_or(false)) {
        return Some(windows_on(Some(place.clone())));
    }
    None
}

pub(super) fn windows_on(place: Option<FsPlace>) -> Os {
    Os { kind: OsKind::Windows, pretty: "Windows".into(), id: None, place, root: String::new() }
}

/// The value of `key` in the shell-like text of os-release(5).
pub(super) fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix(key)?.strip_prefix('=')?;
        let value = value.trim().trim_matches(|c| c == '"' || c == '\'');
        (!value.is_empty()).then(|| value.chars().filter(|c| !c.is_control()).take(200).collect())
    })
}
