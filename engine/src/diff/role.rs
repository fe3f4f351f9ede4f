//! What matters to starting, by where it lies and what it is called.

use crate::guest::{FsPlace, Guest};
use crate::table::gpt;
use crate::table::guid::Guid;
use crate::volume::{EntryKind, Volume};
use serde::{Deserialize, Serialize};

/// What a file is to the boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootRole {
    /// A boot loader, or a part of one.
    Loader,
    /// What a loader reads: menus, entries, environment.
    LoaderConfig,
    /// A kernel, alone or as a unified kernel image.
    Kernel,
    /// An initramfs.
    Initramfs,
    /// `/etc/fstab` or `/etc/crypttab`.
    Mounts,
}

impl BootRole {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            BootRole::Loader => "boot loader",
            BootRole::LoaderConfig => "loader configuration",
            BootRole::Kernel => "kernel",
            BootRole::Initramfs => "initramfs",
            BootRole::Mounts => "mounts",
        }
    }
}

/// What a file system is to the boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum VolumeRole {
    /// The EFI system partition.
    Esp,
    /// A file system of its own for `/boot`.
    Boot,
    /// The root file system; the text is the folder that becomes `/`.
    Root(String),
    /// None of these.
    Other,
}

/// Beginnings of the names that kernels have in `/boot`.
const KERNELS: &[&str] = &["vmlinuz", "vmlinux", "bzimage", "kernel-"];
/// Beginnings of the names of initial file systems.
const INITIALS: &[&str] = &["initrd", "initramfs", "initrams"];
/// Folders that only a `/boot` has at its top.
const BOOT_FOLDERS: &[&str] = &["grub", "grub2", "loader"];
/// What of a root file system matters to starting.
pub(super) const ROOT_PATHS: &[&str] = &["/boot", "/loader", "/etc/fstab", "/etc/crypttab"];

impl VolumeRole {
    /// What the file system at `place` is to the boot of `guest`.
    pub(super) fn of(guest: &Guest, place: &FsPlace, volume: &dyn Volume) -> VolumeRole {
        let partition = guest.inspection.partitions.iter().find(|p| *place == FsPlace::partition(p.number));
        let os = guest.inspection.os.as_ref();
        if partition.is_some_and(|p| p.is_esp) {
            VolumeRole::Esp
        } else if let Some(os) = os.filter(|os| os.place.as_ref() == Some(place)) {
            // A btrfs is compared from its top level, of which a mount shows the default subvolume.
            let default = guest.inspection.file_system(place).and_then(|fs| fs.subvolume.as_deref());
            VolumeRole::Root(format!("{}{}", default.unwrap_or_default(), os.root))
        } else if partition.is_some_and(|p| p.type_id.parse::<Guid>() == Ok(gpt::TYPE_XBOOTLDR))
            || looks_like_boot(volume)
        {
            VolumeRole::Boot
        } else {
            VolumeRole::Other
        }
    }

    /// What the file at `path` is to the boot.
    pub(super) fn of_file(&self, path: &str) -> Option<BootRole> {
        match self {
            VolumeRole::Esp | VolumeRole::Boot => by_name(&path.to_ascii_lowercase()),
            VolumeRole::Root(root) => {
                match path.strip_prefix(root.as_str()).or_else(|| path.strip_prefix(beside(root)?))? {
                    "/etc/fstab" | "/etc/crypttab" => Some(BootRole::Mounts),
                    path => {
                        let inside = ["/boot/", "/loader/", "/efi/"].iter().any(|dir| path.starts_with(dir));
                        inside.then(|| by_name(&path.to_ascii_lowercase())).flatten()
                    }
                }
            }
            VolumeRole::Other => None,
        }
    }
}

/// Beside a snapshot that is the root, snapper leaves parts of `/boot` in subvolumes of their own: the folder that holds these.
pub(super) fn beside(root: &str) -> Option<&str> {
    root.split_once("/.snapshots/").map(|(before, _)| before)
}

fn looks_like_boot(volume: &dyn Volume) -> bool {
    let Ok(entries) = volume.read_dir("/") else { return false };
    entries.iter().any(|e| match e.kind {
        EntryKind::Directory => BOOT_FOLDERS.contains(&e.name.as_str()),
        _ => KERNELS.iter().any(|k| e.name.starts_with(k)),
    })
}

/// `path` in lower case.
fn by_name(path: &str) -> Option<BootRole> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let begins = |all: &[&str]| all.iter().any(|k| name.starts_with(k));
    let ends = |all: &[&str]| all.iter().any(|k| name.ends_with(k));
    let in_grub = path.contains("/grub/") || path.contains("/grub2/");
    if (ends(&[".efi"]) && path.contains("/efi/linux/")) || begins(KERNELS) || name == "linux" {
        Some(BootRole::Kernel)
    } else if begins(INITIALS) {
        Some(BootRole::Initramfs)
    } else if ends(&[".efi"]) || (in_grub && ends(&[".mod", ".img", ".lst"])) {
        Some(BootRole::Loader)
    } else if ends(&[".cfg", ".conf", ".csv", ".nsh"])
        || matches!(name, "grubenv" | "cmdline" | "entries.srel")
    {
        Some(BootRole::LoaderConfig)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{BootRole, VolumeRole};

    #[test]
    fn files_are_known_by_place_and_name() {
        use BootRole::{Initramfs, Kernel, Loader, LoaderConfig, Mounts};
        let root = || VolumeRole::Root(String::new());
        for (volume, path, want) in [
            (VolumeRole::Esp, "/EFI/BOOT/BOOTX64.EFI", Some(Loader)),
            (VolumeRole::Esp, "/EFI/debian/grub.cfg", Some(LoaderConfig)),
            (VolumeRole::Esp, "/EFI/Linux/debian-6.12.efi", Some(Kernel)),
            (VolumeRole::Esp, "/loader/entries/one.conf", Some(LoaderConfig)),
            (VolumeRole::Esp, "/NOTE.TXT", None),
            (VolumeRole::Boot, "/vmlinuz-6.1.0", Some(Kernel)),
            (VolumeRole::Boot, "/initrd.img-6.1.0", Some(Initramfs)),
            (VolumeRole::Boot, "/grub/i386-pc/core.img", Some(Loader)),
            (VolumeRole::Boot, "/grub/grubenv", Some(LoaderConfig)),
            (root(), "/boot/initramfs-6.img", Some(Initramfs)),
            (root(), "/etc/fstab", Some(Mounts)),
            (root(), "/etc/nginx/nginx.conf", None),
            (VolumeRole::Root("/@".into()), "/@/etc/crypttab", Some(Mounts)),
            (VolumeRole::Root("/@".into()), "/@home/etc/crypttab", None),
            (
                VolumeRole::Root("/@/.snapshots/1/snapshot".into()),
                "/@/boot/grub2/grubenv",
                Some(LoaderConfig),
            ),
            (VolumeRole::Other, "/vmlinuz", None),
        ] {
            assert_eq!(volume.of_file(path), want, "{volume:?} {path}");
        }
    }
}
