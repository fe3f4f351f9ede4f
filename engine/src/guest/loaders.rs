//! Boot loaders on an EFI system partition.

use crate::volume::{EntryKind, Volume, VolumeError};
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
    /// Its length in bytes; 0 when it is too large to be looked into.
    pub len: u64,
}

/// Longest EFI program that is looked into; a larger one is known by its path only.
const PROGRAM_MAX: u64 = 64 << 20;
/// How much of one is searched for the words loaders leave in themselves.
const LOADER_MAX: usize = 8 << 20;
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
        let bytes = match esp.read(&path, PROGRAM_MAX) {
            Ok(bytes) => bytes,
            Err(VolumeError::TooLarge { .. }) => Vec::new(),
            Err(_) => continue,
        };
        let is_fallback = path.eq_ignore_ascii_case("/EFI/BOOT/BOOTX64.EFI");
        found.push(Loader { kind: kind(&path, &bytes), path, is_fallback, len: bytes.len() as u64 });
    }
}

/// By content where it says so, by name otherwise: the fallback file carries no name of its own.
fn kind(path: &str, bytes: &[u8]) -> LoaderKind {
    // All loaders are smaller than this; a UKI is not, but its sections are named at its start.
    let start = bytes.get(..LOADER_MAX).unwrap_or(bytes);
    let has = |text: &[u8]| memchr::memmem::find(start, text).is_some();
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    if name == "bootmgfw.efi" {
        return LoaderKind::Windows;
    }
    if section(bytes, b".linux") || (bytes.is_empty() && path.to_ascii_lowercase().contains("/linux/")) {
        return LoaderKind::Uki;
    }
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
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
