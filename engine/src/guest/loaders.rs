//! Boot loaders on an EFI system partition.

use crate::volume::{EntryKind, Volume};
use serde::{Deserialize, Serialize};

/// Which boot loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoaderKind {
    /// The first stage that Microsoft signs for Linux distributions.
    Shim,
    /// GRUB.
    Grub,
    /// systemd-boot.
    SystemdBoot,
    /// A kernel, initramfs and command line in one EFI program.
    Uki,
    /// A Linux kernel with an EFI stub.
    Kernel,
    /// Windows Boot Manager.
    Windows,
    /// Something else.
    Other,
}

/// One EFI program on the ESP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Loader {
    /// What it is.
    pub kind: LoaderKind,
    /// Path on the ESP, `/`-separated, in the case that is on disk.
    pub path: String,
    /// Whether firmware starts it without being told: `EFI/BOOT/BOOTX64.EFI`. UEFI 2.10 §3.5.1.1.
    pub is_fallback: bool,
    /// Its length in bytes.
    pub len: u64,
}

/// How much of an EFI program is searched for the words loaders leave in themselves. All loaders are smaller; a unified kernel image is not, but
/// its sections are named at its start.
const LOADER_MAX: u64 = 8 << 20;
/// Most folders below `EFI/` and most files in one that are looked at.
const LIST_MAX: usize = 64;

impl LoaderKind {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            LoaderKind::Shim => "shim",
            LoaderKind::Grub => "GRUB",
            LoaderKind::SystemdBoot => "systemd-boot",
            LoaderKind::Uki => "unified kernel image",
            LoaderKind::Kernel => "Linux kernel with EFI stub",
            LoaderKind::Windows => "Windows Boot Manager",
            LoaderKind::Other => "EFI program",
        }
    }
}

/// All EFI programs below `EFI/`, two levels deep: `EFI/BOOT/BOOTX64.EFI`, `EFI/debian/shimx64.efi`, `EFI/Microsoft/Boot/bootmgfw.efi`.
pub(super) fn find(esp: &dyn Volume) -> Vec<Loader> {
    let mut found = Vec::new();
    for vendor in folders(esp, "/EFI") {
        collect(esp, &vendor, &mut found);
        for inner in folders(esp, &vendor) {
            collect(esp, &inner, &mut found);
        }
    }
    found.sort_by_key(|l: &Loader| (!l.is_fallback, l.path.clone()));
    found
}

/// Folders in `path`, with their full path.
pub(super) fn folders(esp: &dyn Volume, path: &str) -> Vec<String> {
    let Ok(entries) = esp.read_dir(path) else { return Vec::new() };
    entries
        .into_iter()
        .filter(|e| e.kind == EntryKind::Directory)
        .take(LIST_MAX)
        .map(|e| format!("{path}/{}", e.name))
        .collect()
}

fn collect(esp: &dyn Volume, folder: &str, found: &mut Vec<Loader>) {
    let Ok(entries) = esp.read_dir(folder) else { return };
    let programs = entries
        .into_iter()
        .filter(|e| e.kind == EntryKind::File && e.name.to_ascii_lowercase().ends_with(".efi"));
    for entry in programs.take(LIST_MAX) {
        let path = format!("{folder}/{}", entry.name);
        let Ok((start, len)) = esp.read_part(&path, 0, LOADER_MAX) else { continue };
        let is_fallback = path.eq_ignore_ascii_case("/EFI/BOOT/BOOTX64.EFI");
        found.push(Loader { kind: kind(&path, &start), path, is_fallback, len });
    }
}

/// By content where it says so, by name otherwise: the fallback file carries no name of its own.
fn kind(path: &str, start: &[u8]) -> LoaderKind {
    let has = |text: &[u8]| memchr::memmem::find(start, text).is_some();
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    if name == "bootmgfw.efi" {
        return LoaderKind::Windows;
    }
    if section(start, b".linux") {
        return LoaderKind::Uki;
    }
    if start.get(0x202..0x206) == Some(b"HdrS") {
        return LoaderKind::Kernel;
    }
    if has(b"#### LoaderInfo: systemd-boot") {
        return LoaderKind::SystemdBoot;
    }
    if has(b"UEFI SHIM\n$Version") || name.starts_with("shim") {
        return LoaderKind::Shim;
    }
    // A build of its own has neither name nor SBAT, but says this.
    if name.starts_with("grub") || has(b"\ngrub,") || has(b"Welcome to GRUB!") {
        return LoaderKind::Grub;
    }
    if has(b"b\0o\0o\0t\0m\0g\0f\0w\0.\0p\0d\0b") || has(b"bootmgfw.pdb") {
        return LoaderKind::Windows;
    }
    LoaderKind::Other
}

/// Whether a PE image has a section of this name. PE/COFF specification, "Section Table".
fn section(bytes: &[u8], name: &[u8]) -> bool {
    let look = || {
        let pe = u32::from_le_bytes(*bytes.get(0x3c..)?.first_chunk()?) as usize;
        let head = bytes.get(pe..)?;
        if !head.starts_with(b"PE\0\0") {
            return None;
        }
        let count = u16::from_le_bytes(*head.get(6..)?.first_chunk()?);
        let optional = u16::from_le_bytes(*head.get(20..)?.first_chunk()?);
        let table = head.get(24 + usize::from(optional)..)?;
        let mut names = table.chunks_exact(40).take(usize::from(count)).filter_map(|s| s.get(..8));
        Some(names.any(|n| n.starts_with(name) && n.get(name.len()).is_none_or(|b| *b == 0)))
    };
    look().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::{LoaderKind, find};
    use crate::volume::{
        Entry, EntryKind, FileStream, FsKind, Journal, Metadata, READ_LIMIT, Volume, VolumeError,
    };

    fn missing(path: &str) -> VolumeError {
        VolumeError::NotFound { path: path.into() }
    }

    /// An ESP with one program, of which only the start is not zero.
    struct Esp {
        program: &'static str,
        start: Vec<u8>,
        len: u64,
    }

    impl Volume for Esp {
        fn kind(&self) -> FsKind {
            FsKind::Fat
        }
        fn uuid(&self) -> Option<String> {
            None
        }
        fn label(&self) -> Option<String> {
            None
        }
        fn journal(&self) -> Journal {
            Journal::Clean
        }
        fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
            if self.len > max {
                Err(VolumeError::TooLarge { path: path.into(), max })
            } else {
                self.read_part(path, 0, max).map(|r| r.0)
            }
        }
        fn read_part(&self, _: &str, at: u64, len: u64) -> Result<(Vec<u8>, u64), VolumeError> {
            let mut bytes = self.start.clone();
            bytes.resize((at + len).min(self.len) as usize, 0);
            Ok((bytes.split_off(at as usize), self.len))
        }
        fn read_dir(&self, path: &str) -> Result<Vec<Entry>, VolumeError> {
            let rest = self.program.strip_prefix(path).and_then(|r| r.strip_prefix('/'));
            let rest = rest.ok_or_else(|| missing(path))?;
            let (name, kind) = match rest.split_once('/') {
                Some((folder, _)) => (folder, EntryKind::Directory),
                None => (rest, EntryKind::File),
            };
            Ok(vec![Entry { name: name.into(), kind }])
        }
        fn exists(&self, _: &str) -> Result<bool, VolumeError> {
            Ok(true)
        }
        fn metadata(&self, path: &str) -> Result<Metadata, VolumeError> {
            Err(missing(path))
        }
        fn stream<'a>(&'a self, path: &str) -> Result<Box<dyn FileStream + 'a>, VolumeError> {
            Err(missing(path))
        }
    }

    /// A PE header at 0x80 with one section of that name.
    fn program(section: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x86] = 1;
        bytes[0x98..0x98 + section.len()].copy_from_slice(section);
        bytes
    }

    #[test]
    fn a_program_is_known_by_its_start_however_long_it_is() {
        let cases: &[(&[u8], LoaderKind)] = &[(b".linux", LoaderKind::Uki), (b".text", LoaderKind::Other)];
        for len in [0x200, READ_LIMIT + 1, 600 << 20] {
            for (section, kind) in cases {
                let esp = Esp { program: "/EFI/BOOT/BOOTX64.EFI", start: program(section), len };
                let found = find(&esp);
                let found: Vec<_> =
                    found.iter().map(|l| (l.kind, l.path.as_str(), l.is_fallback, l.len)).collect();
                assert_eq!(found, [(*kind, "/EFI/BOOT/BOOTX64.EFI", true, len)]);
            }
        }
    }
}
