//! Which ways to start a guest has, and which initramfs files each of them loads. The one place that knows.

use crate::guest::{BootEntry, BootFile, FsPlace, Guest, MenuSource, Part};
use crate::volume::{EntryKind, Volume};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most ways to start that are looked at.
pub const STARTS_MAX: usize = 64;

/// A file on one of the guest's file systems.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// The file system.
    pub place: FsPlace,
    /// Path on it.
    pub path: String,
    /// Where in the file, when it is a section of a unified kernel image.
    pub part: Option<Part>,
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
    let Some(menu) = &guest.inspection.boot else { return Vec::new() };
    let others = menu.entries.iter().enumerate().filter(|(i, _)| *i != menu.default).map(|(_, entry)| entry);
    let mut all: Vec<Start> = menu.default_entry().into_iter().chain(others).filter_map(of_entry).collect();
    // What a grub.cfg would compute is not known; entries that are files say it all.
    if menu.source == MenuSource::GrubCfg
        && let Some(first) = all.first()
    {
        for other in beside(guest, &first.kernel.place, folder_of(&first.kernel.path)) {
            if all.iter().all(|start| start.initrd != other.initrd) {
                all.push(other);
            }
        }
    }
    all.truncate(STARTS_MAX);
    all
}

/// `None` for an entry that starts no Linux: nothing at all, or the memory test that Debian puts into the menu as if it were a kernel.
fn of_entry(entry: &BootEntry) -> Option<Start> {
    let kernel = entry.kernel.as_ref()?;
    if kernel.path.rsplit('/').next().is_some_and(|file| file.starts_with("memtest")) {
        return None;
    }
    let piece =
        |file: &BootFile| Piece { place: entry.place.clone(), path: file.path.clone(), part: file.part };
    Some(Start {
        title: entry.title.clone(),
        kernel: piece(kernel),
        initrd: entry.initrd.iter().map(piece).collect(),
        options: Some(entry.options.clone()),
    })
}

/// Kernels in the root's `/boot` where no menu was found: a Generation 1 disk has its loader outside of every file system. Which of them starts is
/// not known.
pub(super) fn kernels(guest: &Guest) -> Vec<Start> {
    let os = guest.inspection.os.as_ref();
    let Some((os, place)) = os.and_then(|os| Some((os, os.place.as_ref()?))) else { return Vec::new() };
    let mut all = beside(guest, place, &format!("{}/boot", os.root));
    all.truncate(STARTS_MAX);
    all
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Kernels in a folder, each with the initramfs of its version: what the guest's tools make menu entries of.
fn beside(guest: &Guest, place: &FsPlace, folder: &str) -> Vec<Start> {
    let Some(volume) = guest.volume(place) else { return Vec::new() };
    let names = files(volume, folder);
    let piece = |name: &str| Piece { place: place.clone(), path: format!("{folder}/{name}"), part: None };
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
