//! Two file systems of the same machine, name by name.
//!
//! Directories are listed on both sides and merged by name; links are read, never followed, so there is no loop. A file is opened only
//! when it is on both sides with the same length, and read only up to the first byte that differs.

use super::content::{self, Buffers, Found, Quote};
use super::hint::TEXT_MAX;
use super::meter::Meter;
use super::model::{ContentDiff, EntryDiff, Mark, Node, Remark, VolumeDiff};
use super::role::{self, ROOT_PATHS, VolumeRole};
use super::{DiffError, Options};
use crate::volume::{DIR_LIMIT, EntryKind, FsKind, Volume, VolumeError};
use std::collections::BTreeMap;

/// Most names that are looked at on one file system.
pub const NAMES_MAX: u64 = 2_000_000;
/// Most names that are listed of one file system; further ones are only counted.
pub const ENTRIES_MAX: usize = 5_000;
/// Deepest folder that is looked into.
pub const DEPTH_MAX: usize = 64;
/// Most names of one file system that are told one by one as not compared.
const REMARKS_MAX: usize = 50;

/// NTFS keeps its own tables as files of the root folder; they change with every write. Microsoft, "Master File Table".
const NTFS_OWN: &[&str] = &[
    "$MFT", "$MFTMirr", "$LogFile", "$Volume", "$AttrDef", "$Bitmap", "$Boot", "$BadClus", "$Secure",
    "$UpCase", "$Extend",
];

/// A walk over both.
struct Walk<'a, 'm> {
    a: &'a dyn Volume,
    b: &'a dyn Volume,
    role: &'a VolumeRole,
    options: &'a Options,
    meter: &'a mut Meter<'m>,
    names: u64,
    diff: VolumeDiff,
    remarks: Vec<Remark>,
    unread: u64,
    buffers: Buffers,
}

/// Which part of a file system is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// What of a root file system matters to starting.
    BootOfRoot,
}

/// What a walk found.
pub(super) struct Walked {
    pub diff: VolumeDiff,
    pub not_compared: Vec<Remark>,
}

/// Whether everybody in the guest may come here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everybody,
    Some,
}

/// Whether a folder named it, so that it must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
}

/// Compare the files of `a` and `b`; `diff` comes with title and places, and empty.
pub(super) fn walk(
    (a, b): (&dyn Volume, &dyn Volume),
    role: &VolumeRole,
    part: Part,
    options: &Options,
    diff: VolumeDiff,
    meter: &mut Meter<'_>,
) -> Result<Walked, DiffError> {
    let buffers = Buffers::default();
    let mut walk =
        Walk { a, b, role, options, meter, names: 0, diff, remarks: Vec::new(), unread: 0, buffers };
    match (part, role) {
        (Part::BootOfRoot, VolumeRole::Root(root)) => {
            for root in std::iter::once(root.as_str()).chain(role::beside(root)) {
                for path in ROOT_PATHS {
                    walk.name(&format!("{root}{path}"), 0, Reach::Everybody, Listed::No)?;
                }
            }
        }
        _ => walk.folder("", 0, Reach::Everybody)?,
    }
    if walk.unread > walk.remarks.len() as u64 {
        let more = walk.unread - walk.remarks.len() as u64;
        walk.remarks
            .push(Remark::new(walk.diff.title.clone(), format!("{more} more names could not be compared")));
    }
    Ok(Walked { diff: walk.diff, not_compared: walk.remarks })
}

impl<'a> Walk<'a, '_> {
    /// The folder at `path` (empty for the root) on both sides.
    fn folder(&mut self, path: &str, depth: usize, reach: Reach) -> Result<(), DiffError> {
        let at = if path.is_empty() { "/" } else { path };
        if depth > DEPTH_MAX {
            self.unread(at, format!("it lies deeper than {DEPTH_MAX} folders"));
            return Ok(());
        }
        let listed = self.a.read_dir(at).and_then(|a| Ok((a, self.b.read_dir(at)?)));
        let (a, b) = match listed {
            Ok(both) => both,
            Err(e) => {
                self.unread(at, e.to_string());
                return Ok(());
            }
        };
        // `.` and `..` may be among those that a reader counted.
        if a.len().max(b.len()) + 2 >= DIR_LIMIT {
            self.unread(at, format!("it has more than {} names", DIR_LIMIT - 2));
            return Ok(());
        }
        let own = path.is_empty() && self.a.kind() == FsKind::Ntfs;
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for entry in a.into_iter().chain(b).filter(|e| !(own && NTFS_OWN.contains(&e.name.as_str()))) {
            names.insert(self.key(&entry.name), entry.name);
        }
        for name in names.into_values() {
            if !self.name(&format!("{path}/{name}"), depth, reach, Listed::Yes)? {
                break;
            }
        }
        Ok(())
    }

    /// What makes two names the same name.
    fn key(&self, name: &str) -> String {
        match self.a.kind() {
            FsKind::Fat | FsKind::Ntfs => name.to_lowercase(),
            _ => name.to_string(),
        }
    }

    /// One name, on either side or both; `false` when enough was looked at.
    fn name(&mut self, path: &str, depth: usize, reach: Reach, listed: Listed) -> Result<bool, DiffError> {
        if !self.count(path)? {
            return Ok(false);
        }
        if path.contains('\u{fffd}') {
            self.unread(path, "its name is no UTF-8".to_string());
            return Ok(true);
        }
        match (node(self.a, path), node(self.b, path)) {
            (Ok(None), Ok(None)) if listed == Listed::No => {}
            (Ok(None), Ok(None)) => self.unread(path, "it is listed, but cannot be found".to_string()),
            (Ok(Some(a)), Ok(None)) => self.one_side(path, a, Mark::Removed, depth, reach)?,
            (Ok(None), Ok(Some(b))) => self.one_side(path, b, Mark::Added, depth, reach)?,
            (Ok(Some(a)), Ok(Some(b))) => self.both(path, a, b, depth, reach)?,
            (Err(e), _) | (_, Err(e)) => self.unread(path, e.to_string()),
        }
        Ok(true)
    }

    /// One more name; `false` when enough was looked at.
    fn count(&mut self, path: &str) -> Result<bool, DiffError> {
        self.names = self.names.saturating_add(1);
        self.meter.name()?;
        if self.names == NAMES_MAX + 1 {
            self.unread(path, format!("here the look ended: {NAMES_MAX} names were compared"));
        }
        Ok(self.names <= NAMES_MAX)
    }

    /// A name that only one side has, and all below it.
    fn one_side(
        &mut self,
        path: &str,
        node: Node,
        mark: Mark,
        depth: usize,
        reach: Reach,
    ) -> Result<(), DiffError> {
        let is_folder = node.kind == EntryKind::Directory;
        let below = within(reach, &node);
        let short = node.kind == EntryKind::File && node.len <= TEXT_MAX;
        let text = if short { self.side(mark).read(path, TEXT_MAX).ok() } else { None };
        let quote = self.quote(reach, &[&node]);
        let content = text.and_then(|text| content::alone(&text, mark == Mark::Removed, quote));
        let (a, b) = if mark == Mark::Removed { (Some(node), None) } else { (None, Some(node)) };
        self.add(path, mark, a, b, content);
        if is_folder { self.below(path, mark, depth, below) } else { Ok(()) }
    }

    /// What lies in a folder that only one side has as a folder. The other side is not asked: there the path may lead through a link.
    fn below(&mut self, path: &str, mark: Mark, depth: usize, reach: Reach) -> Result<(), DiffError> {
        if depth >= DEPTH_MAX {
            self.unread(path, format!("it lies deeper than {DEPTH_MAX} folders"));
            return Ok(());
        }
        let volume = self.side(mark);
        let mut entries = match volume.read_dir(path) {
            Ok(entries) => entries,
            Err(e) => {
                self.unread(path, e.to_string());
                return Ok(());
            }
        };
        entries.sort_by(|x, y| x.name.cmp(&y.name));
        for entry in entries {
            let path = format!("{path}/{}", entry.name);
            if !self.count(&path)? {
                break;
            }
            match node(volume, &path) {
                Ok(Some(node)) => self.one_side(&path, node, mark, depth + 1, reach)?,
                Ok(None) => self.unread(&path, "it is listed, but cannot be found".to_string()),
                Err(e) => self.unread(&path, e.to_string()),
            }
        }
        Ok(())
    }

    fn both(&mut self, path: &str, a: Node, b: Node, depth: usize, reach: Reach) -> Result<(), DiffError> {
        let folders = a.kind == EntryKind::Directory && b.kind == EntryKind::Directory;
        let files = a.kind == EntryKind::File && b.kind == EntryKind::File;
        let below = if within(reach, &a) == Reach::Everybody { within(reach, &b) } else { Reach::Some };
        let mut content = None;
        if files {
            let quote = self.quote(reach, &[&a, &b]);
            let both = (self.a, self.b);
            match content::compare(both, path, (a.len, b.len), quote, &mut self.buffers, self.meter)? {
                Found::Same => {}
                Found::Differs(how) => content = Some(how),
                Found::Unread(why) => self.unread(path, why),
            }
        }
        if a != b || content.is_some() {
            self.add(path, Mark::Changed, Some(a.clone()), Some(b.clone()), content);
        }
        match (a.kind, b.kind) {
            _ if folders => self.folder(path, depth + 1, below),
            // A folder that became something else, or came from it: what was in it came or went.
            (EntryKind::Directory, _) => self.below(path, Mark::Removed, depth, below),
            (_, EntryKind::Directory) => self.below(path, Mark::Added, depth, below),
            _ => Ok(()),
        }
    }

    /// What may be shown of files: only what everybody in the guest may read.
    fn quote(&self, reach: Reach, files: &[&Node]) -> Quote {
        let readable = |file: &&Node| file.mode.is_none_or(|mode| mode & 0o004 != 0);
        if reach == Reach::Everybody && files.iter().all(readable) {
            Quote::Lines(self.options.hint_lines)
        } else {
            Quote::Withheld
        }
    }

    /// The side that has what came or went.
    fn side(&self, mark: Mark) -> &'a dyn Volume {
        if mark == Mark::Removed { self.a } else { self.b }
    }

    fn add(
        &mut self,
        path: &str,
        mark: Mark,
        a: Option<Node>,
        b: Option<Node>,
        content: Option<ContentDiff>,
    ) {
        let count = match mark {
            Mark::Added => &mut self.diff.added,
            Mark::Removed => &mut self.diff.removed,
            Mark::Changed => &mut self.diff.changed,
        };
        *count = count.saturating_add(1);
        if self.diff.entries.len() < ENTRIES_MAX {
            let role = self.role.of_file(path);
            self.diff.entries.push(EntryDiff { path: path.to_string(), mark, role, a, b, content });
        }
    }

    fn unread(&mut self, path: &str, why: String) {
        self.unread = self.unread.saturating_add(1);
        if self.remarks.len() < REMARKS_MAX {
            let place = format!("{}, {path}", self.diff.title);
            self.remarks.push(Remark::new(place, why));
        }
    }
}

/// What is at `path`, if anything.
fn node(volume: &dyn Volume, path: &str) -> Result<Option<Node>, VolumeError> {
    match volume.metadata(path) {
        Ok(m) => Ok(Some(Node { kind: m.kind, len: m.len, mode: m.mode, owner: m.owner, target: m.target })),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Who may come into a folder.
fn within(reach: Reach, folder: &Node) -> Reach {
    if folder.mode.is_none_or(|mode| mode & 0o001 != 0) { reach } else { Reach::Some }
}
