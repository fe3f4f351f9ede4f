//! The guest's own `grub.cfg`, and the short one on the ESP that leads to it.

use super::loaders::Btrfs;
use super::no;
use super::tree::{TEXT_MAX, Tree};
use crate::convert::plan::Refusal;
use crate::guest::{BootEntry, FsPlace, Inspection};

/// Where GRUB for the BIOS reads it, by distribution: Debian's folder, and that of Fedora and SUSE.
const PLACES: [&str; 2] = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];
/// A command of GRUB for the BIOS only; the configuration of Red Hat's version 7 starts every kernel with it.
const BIOS_ONLY: &str = "linux16";

/// The guest's configuration.
pub(super) struct Config {
    /// By the path that the guest knows it by.
    pub path: String,
    /// Where its file system is.
    pub place: FsPlace,
    /// Identifier of that file system.
    fs: String,
    /// Its folder on it.
    prefix: String,
    /// Its text.
    text: String,
    /// On btrfs, the default subvolume that all paths here begin at, when it is not the whole.
    subvolume: Option<String>,
}

impl Config {
    /// Find it.
    pub fn find(tree: &Tree<'_>) -> Result<Config, Refusal> {
        let mut unreadable = String::new();
        for path in PLACES {
            let Some(spot) = tree.spot(path) else { continue };
            let text = match spot.volume.read(&spot.path, TEXT_MAX) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(e) => {
                    unreadable.push_str(&format!(" {}: {e}.", spot.place));
                    continue;
                }
            };
            let Some(fs) = spot.volume.uuid() else {
                let text = format!(
                    "{path} is on {}, a file system without an identifier: nothing on an EFI system partition could lead to it.",
                    spot.place
                );
                return Err(no(
                    "grub-cfg-no-id",
                    text,
                    "Give the file system an identifier in the guest (tune2fs -U random).",
                ));
            };
            return Ok(Config {
                path: path.to_string(),
                fs,
                prefix: spot.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_string(),
                text,
                subvolume: spot.volume.subvolume(),
                place: spot.place,
            });
        }
        let text = format!(
            "The guest has no configuration of GRUB that UEFI's GRUB could go on with: looked for {}.{unreadable}",
            PLACES.join(" and ")
        );
        Err(no(
            "no-grub-cfg",
            text,
            "Start the guest and run `update-grub`, or `grub2-mkconfig -o /boot/grub2/grub.cfg`.",
        ))
    }

    /// The file on the ESP, as grub-install of Debian and shim-install of SUSE write it.
    pub fn stub(&self, btrfs: Btrfs) -> Result<String, Refusal> {
        let (fs, prefix) = (&self.fs, &self.prefix);
        match (&self.subvolume, btrfs) {
            (None, _) => Ok(format!(
                "search.fs_uuid {fs} root\nset prefix=($root)'{prefix}'\nconfigfile $prefix/grub.cfg\n"
            )),
            (Some(_), Btrfs::CanBeRelative) => Ok(format!(
                "set btrfs_relative_path=\"yes\"\nsearch --fs-uuid --set=root {fs}\nset prefix=($root){prefix}\nsource \"$prefix/grub.cfg\"\n"
            )),
            (Some(subvolume), Btrfs::Whole) => Err(no(
                "btrfs-default-subvolume",
                format!(
                    "{} is in the default subvolume {subvolume} of {}; the GRUB that was found cannot be told to begin there.",
                    self.path, self.place
                ),
                "Make the top level the default again (`btrfs subvolume set-default 5 /`), or leave the machine Generation 1.",
            )),
        }
    }

    /// What in it holds under a BIOS or an MBR only. `entry` is the one that starts if nobody chooses; `i` of the disk as it will be.
    pub fn check(&self, i: &Inspection, entry: &BootEntry, had_mbr: bool, refusal: &mut Refusal) {
        let kernel = entry.kernel.as_ref().map_or("", |k| k.path.as_str());
        // Other entries may use it: memtest86+ does.
        let starts_it = |line: &str| {
            let mut words = line.split_whitespace();
            let is_command = words.next() == Some(BIOS_ONLY);
            is_command && words.next().is_some_and(|w| !kernel.is_empty() && w.ends_with(kernel))
        };
        if self.text.lines().any(starts_it) {
            refusal.add(
                "grub-cfg-bios-only",
                format!("{} starts {kernel} with `{BIOS_ONLY}`, a command of GRUB for the BIOS that GRUB for UEFI has not.", self.path),
                "Let the guest write a configuration with `linux` and `initrd`: install its newer GRUB and run grub2-mkconfig.",
            );
        }
        let menu = i.menu.as_ref();
        let own = menu.and_then(|m| {
            m.entries.iter().find(|e| e.title == entry.title && e.kernel.as_deref() == Some(kernel))
        });
        let root = menu.and_then(|m| m.variables.get("root")).filter(|r| r.contains("msdos"));
        if let (true, Some(root), true) = (had_mbr, root, own.is_some_and(|e| e.search.is_none())) {
            refusal.add(
                "grub-root-by-number",
                format!("{} finds the kernel at {root}, a partition of an MBR, and searches for no file system: with a GPT it is not there.", self.path),
                "Remove GRUB_DISABLE_LINUX_UUID from /etc/default/grub in the guest and run update-grub.",
            );
        }
    }
}
