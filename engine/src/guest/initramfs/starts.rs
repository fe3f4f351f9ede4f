//! Which ways to start a guest has, and which initramfs files each of them loads. The one place that knows.

use crate::guest::{FsPlace, Guest, MenuEntry};
use crate::volume::{EntryKind, Volume};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most ways to start that are looked at.
pub const STARTS_MAX: usize = 64;
/// Longest kernel or initramfs file that is read, as far as [`crate::volume::READ_LIMIT`] allows.
pub(super) const FILE_MAX: u64 = 256 << 20;

/// A file on one of the guest's file systems.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The file system.
    pub place: FsPlace,
    /// Path on it.
    pub path: String,
}

/// One way to start: a kernel and what is loaded beside it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// What people see, or the file that it was concluded from.
    pub title: String,
    /// The kernel.
    pub kernel: Piece,
    /// The initramfs files, which the loader puts one behind another.
    pub initrd: Vec<Piece>,
    /// The kernel's command line; `None` where only the files are known.
    pub options: Option<String>,
}

/// The ways to start, the default first; empty when none was found.
pub fn starts(guest: &Guest) -> Vec<Start> {
    let Some(menu) = &guest.inspection.menu else { return Vec::new() };
    let Some(first) = menu.default.as_ref().and_then(|entry| of_entry(guest, entry, &menu.place)) else {
        return Vec::new();
    };
    let mut all = vec![first];
    let others = beside(guest, &all[0].kernel);
    for other in others {
        if all.iter().all(|start| start.initrd != other.initrd) && all.len() < STARTS_MAX {
            all.push(other);
        }
    }
    all
}

fn of_entry(guest: &Guest, entry: &MenuEntry, menu: &FsPlace) -> Option<Start> {
    let place = entry.search.as_deref().and_then(|id| guest.inspection.by_fs_uuid(id));
    let place = place.unwrap_or_else(|| menu.clone());
    let piece = |path: &String| Piece { place: place.clone(), path: path.clone() };
    Some(Start {
        title: entry.title.clone(),
        kernel: piece(entry.kernel.as_ref()?),
        initrd: entry.initrd.iter().map(piece).collect(),
        options: Some(entry.options.clone()),
    })
}

/// Kernels in the folder of one, each with the initramfs of its version: what the guest's tools make menu entries of.
fn beside(guest: &Guest, kernel: &Piece) -> Vec<Start> {
    let Some(volume) = guest.volume(&kernel.place) else { return Vec::new() };
    let Some((folder, _)) = kernel.path.rsplit_once('/') else { return Vec::new() };
    let names = files(volume, folder);
    let piece = |name: &str| Piece { place: kernel.place.clone(), path: format!("{folder}/{name}") };
    let start = |name: &String| {
        let version = name.strip_prefix("vmlinuz-")?;
        let spellings = [
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}"),
            format!("initrd-{version}.img"),
        ];
        let initrd = spellings.iter().find(|s| names.contains(s))?;
        Some(Start {
            title: format!("{folder}/{initrd}"),
            kernel: piece(name),
            initrd: vec![piece(initrd)],
            options: None,
        })
    };
    names.iter().filter_map(start).collect()
}

fn files(volume: &dyn Volume, folder: &str) -> Vec<String> {
    let Ok(entries) = volume.read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.into_iter().filter(|e| e.kind == EntryKind::File).map(|e| e.name).collect();
    names.sort();
    names
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.path, self.place)
    }
}
