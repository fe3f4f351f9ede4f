//! What one way to start has at hand before the root file system is there: what is built into its kernel, what its initramfs holds.

use super::modules::{
    builtin_by_config, builtin_list, kernel_version, module_name, modules_of, version_in_name,
};
use super::starts::kernels;
use super::{End, Listing, Piece, Start, list, starts};
use crate::guest::Guest;
use crate::volume::{FileStream, READ_LIMIT, Volume, VolumeError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufReader, Read};

/// Longest list of modules or kernel configuration that is read: a generic kernel's `modules.dep` has about 1 MiB.
const LIST_MAX: u64 = 16 << 20;

/// How much of a kernel is read to find its version: its offset has 16 bits and counts from 0x200.
const KERNEL_HEAD: u64 = 0x10400;
/// How much of a file flows through at once.
const PIECE: usize = 256 << 10;

/// Whether a kernel has a module before the root file system is mounted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Presence {
    /// It is a part of the kernel.
    BuiltIn,
    /// It is in the initramfs.
    Initramfs,
    /// It is in neither.
    Missing,
    /// Not everything that could hold it could be read.
    Unknown {
        /// What, and why not.
        why: String,
    },
}

/// What one start brings along.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Equipment {
    /// The start.
    pub start: Start,
    /// The kernel's version, as the folder of its modules is called.
    pub version: Option<String>,
    built_in: Known,
    initramfs: Known,
    on_root: Known,
}

/// A set of modules, and why it may not be all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    modules: BTreeSet<String>,
    /// Empty when the set is whole.
    gap: Option<String>,
}

/// The equipment of each way to start that [`starts`] finds, the default first; without a menu, of each kernel in the root's `/boot`.
pub fn equipment(guest: &Guest) -> Vec<Equipment> {
    let starts = starts(guest);
    equip(guest, if starts.is_empty() { kernels(guest) } else { starts })
}

/// The same for some of them. A file that several load is read once.
pub(super) fn equip(guest: &Guest, starts: Vec<Start>) -> Vec<Equipment> {
    let mut files = BTreeMap::new();
    let mut built_in = BTreeMap::new();
    let one = |start: Start| {
        let version = version(guest, &start.kernel);
        let (own, on_root) =
            built_in.entry((version.clone(), start.kernel.clone())).or_insert_with_key(|(v, kernel)| match v
                .as_deref()
            {
                Some(v) => (own_modules(guest, v, kernel), root_modules(guest, v)),
                None => {
                    let gap = Known::unread(format!("{kernel} does not say its version"));
                    (gap.clone(), gap)
                }
            });
        let mut initramfs = Known::default();
        for piece in &start.initrd {
            let listing = files.entry(piece.clone()).or_insert_with_key(|piece| contents(guest, piece));
            match listing {
                Ok(listing) => {
                    let names = listing.names.iter().map(String::as_str);
                    initramfs.modules.extend(modules_of(names, version.as_deref()));
                    if let End::Broken { at, why } = &listing.end {
                        initramfs.gap = Some(format!("{piece} is read up to {at:#x} only: {why}"));
                    }
                }
                Err(why) => initramfs.gap = Some(why.clone()),
            }
        }
        Equipment { version, built_in: own.clone(), initramfs, on_root: on_root.clone(), start }
    };
    starts.into_iter().map(one).collect()
}

impl Equipment {
    /// Whether the kernel has `module` (`hv_vmbus`) before it mounts its root.
    pub fn has(&self, module: &str) -> Presence {
        if self.built_in.modules.contains(module) {
            return Presence::BuiltIn;
        }
        if self.initramfs.modules.contains(module) {
            return Presence::Initramfs;
        }
        match self.built_in.gap.as_ref().or(self.initramfs.gap.as_ref()) {
            Some(why) => Presence::Unknown { why: why.clone() },
            None => Presence::Missing,
        }
    }

    /// Whether `module` can be loaded from the root file system later: `None` when that cannot be told.
    pub fn has_on_root(&self, module: &str) -> Option<bool> {
        if self.on_root.modules.contains(module) {
            Some(true)
        } else {
            self.on_root.gap.is_none().then_some(false)
        }
    }
}

impl Known {
    fn unread(why: String) -> Known {
        Known { modules: BTreeSet::new(), gap: Some(why) }
    }
}

fn contents(guest: &Guest, piece: &Piece) -> Result<Listing, String> {
    let volume = volume(guest, piece)?;
    let broken = |e: VolumeError| format!("{}: {e}", piece.place);
    match piece.part {
        Some(part) if part.len > READ_LIMIT => {
            Err(format!("{piece} has {} bytes, more than {READ_LIMIT}", part.len))
        }
        Some(part) => {
            let (bytes, _) = volume.read_part(&piece.path, part.at, part.len).map_err(broken)?;
            Ok(list(&mut bytes.as_slice()))
        }
        // However long the file is: it flows through.
        None => {
            Ok(list(&mut BufReader::with_capacity(PIECE, Bytes(volume.stream(&piece.path).map_err(broken)?))))
        }
    }
}

/// A file of a volume as other code reads files.
struct Bytes<'a>(Box<dyn FileStream + 'a>);

impl Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(io::Error::other)
    }
}

fn volume<'a>(guest: &'a Guest, piece: &Piece) -> Result<&'a dyn Volume, String> {
    if piece.path.contains('$') {
        return Err(format!("the menu names {} by a variable", piece.path));
    }
    guest.volume(&piece.place).ok_or_else(|| format!("{} is not open", piece.place))
}

/// By the image itself; its name is only a habit.
fn version(guest: &Guest, kernel: &Piece) -> Option<String> {
    let at = kernel.part.map_or(0, |part| part.at);
    let (head, _) = volume(guest, kernel).ok()?.read_part(&kernel.path, at, KERNEL_HEAD).ok()?;
    kernel_version(&head).or_else(|| version_in_name(&kernel.path))
}

/// What is built in: by `modules.builtin` among the kernel's modules, else by the configuration that distributions put beside the kernel.
fn own_modules(guest: &Guest, version: &str, kernel: &Piece) -> Known {
    let list = on_root(guest, version, "modules.builtin");
    if let Some(text) = list {
        return Known { modules: builtin_list(&text), gap: None };
    }
    let folder = kernel.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = guest.volume(&kernel.place);
    let config = beside.and_then(|v| v.read(&format!("{folder}/config-{version}"), LIST_MAX).ok());
    let config = config.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let config = config.or_else(|| on_root(guest, version, "config"));
    match config.as_deref().and_then(builtin_by_config) {
        Some(modules) => Known { modules, gap: None },
        None => Known::unread(format!(
            "what is built into the kernel {version} is not known: the root file system has no lib/modules/{version}/modules.builtin, and \
             {folder} no config-{version}"
        )),
    }
}

fn root_modules(guest: &Guest, version: &str) -> Known {
    match on_root(guest, version, "modules.dep") {
        Some(text) => {
            let paths = text.lines().filter_map(|line| line.split(':').next());
            Known { modules: paths.filter_map(module_name).collect(), gap: None }
        }
        None => Known::unread(format!("the root file system has no lib/modules/{version}/modules.dep")),
    }
}

/// A file of a kernel's modules. `lib` is a link to `usr/lib` today, and was a folder.
fn on_root(guest: &Guest, version: &str, file: &str) -> Option<String> {
    let (volume, root) = guest.root()?;
    let read = |lib: &str| volume.read(&format!("{root}/{lib}/modules/{version}/{file}"), LIST_MAX).ok();
    let bytes = ["usr/lib", "lib"].iter().find_map(|lib| read(lib))?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Presence::BuiltIn => f.write_str("built in"),
            Presence::Initramfs => f.write_str("in the initramfs"),
            Presence::Missing => f.write_str("missing"),
            Presence::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}
