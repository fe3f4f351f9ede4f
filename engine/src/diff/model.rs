//! The answer as data: what differs, where, and what was not looked at.

use super::role::BootRole;
use crate::guest::FsPlace;
use crate::units::{ByteLen, ByteOffset};
use crate::volume::{EntryKind, Owner};
use serde::{Deserialize, Serialize};

/// How much of two disks is compared.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything.
    #[default]
    All,
    /// What matters to starting: table, ids, boot code, ESP, kernels, initramfs, loader configuration, fstab, crypttab.
    Boot,
}

/// What it comes down to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every byte is the same. Only [`Scope::All`] can tell.
    Identical,
    /// What differs means nothing: times, journals, free space; or, with [`Scope::Boot`], was not asked for.
    Same,
    /// At least one difference.
    Different,
    /// No difference was found, but something could not be compared.
    Unknown,
}

/// Two disks compared. A is what there was, B what there is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Diff {
    /// How much was compared.
    pub scope: Scope,
    /// What it comes down to.
    pub verdict: Verdict,
    /// The disk and its partition table.
    pub table: Vec<Field>,
    /// Partitions and logical volumes that came, went or changed.
    pub partitions: Vec<PartitionDiff>,
    /// Code at LBA 0, the gap before the first partition, BIOS boot partitions.
    pub boot_code: Vec<BytesDiff>,
    /// Files, by file system.
    pub volumes: Vec<VolumeDiff>,
    /// Bytes elsewhere: unpartitioned space, partitions that are no readable file system.
    pub bytes: Vec<BytesDiff>,
    /// Places whose bytes differ, but nothing that is compared.
    pub same_meaning: Vec<Remark>,
    /// What could not be compared, or not to its end.
    pub not_compared: Vec<Remark>,
}

/// A property that differs. `None` is "there is none".
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Which property.
    pub what: String,
    /// On A.
    pub a: Option<String>,
    /// On B.
    pub b: Option<String>,
}

/// Whether something came, went, or is another now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Only on B.
    Added,
    /// Only on A.
    Removed,
    /// On both, and different.
    Changed,
}

/// A partition or a logical volume that differs in more than its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionDiff {
    /// Whether it came, went or changed.
    pub mark: Mark,
    /// Where it is on A; `None` when only B has it.
    pub a: Option<FsPlace>,
    /// Where it is on B; `None` when only A has it.
    pub b: Option<FsPlace>,
    /// The partition or logical volume in words.
    pub title: String,
    /// What of it changed; empty for one that came or went.
    pub fields: Vec<Field>,
}

/// What a stretch of bytes is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// The first 440 bytes.
    BootCode,
    /// Between the table and the first partition.
    Gap,
    /// A partition.
    Partition,
    /// A logical volume.
    LogicalVolume,
    /// A disk without a table.
    Disk,
    /// Space that no partition has.
    Unpartitioned,
}

/// Bytes that differ in one region.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BytesDiff {
    /// What kind of region.
    pub region: Region,
    /// The region in words.
    pub place: String,
    /// Where the region begins on A; 0 for a logical volume, which may lie in pieces.
    pub at: ByteOffset,
    /// Its length.
    pub len: ByteLen,
    /// How many separate stretches differ.
    pub places: u64,
    /// How many bytes they are, in whole sectors of 512 bytes but at LBA 0.
    pub bytes: u64,
    /// The first of them, relative to the beginning of the region.
    pub ranges: Vec<ByteRange>,
}

/// A stretch of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ByteRange {
    /// Where.
    pub at: ByteOffset,
    /// How long.
    pub len: ByteLen,
}

/// The files that differ on one file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeDiff {
    /// Where it is on A; partition 0 is a disk without partitions.
    pub a: FsPlace,
    /// Where it is on B.
    pub b: FsPlace,
    /// The file system in words.
    pub title: String,
    /// Names that only B has.
    pub added: u64,
    /// Names that only A has.
    pub removed: u64,
    /// Names on both with another content, kind, mode, owner or target.
    pub changed: u64,
    /// Each of them, by path; at most [`super::ENTRIES_MAX`], the counts tell whether there are more.
    pub entries: Vec<EntryDiff>,
}

/// One name that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntryDiff {
    /// Path on its file system.
    pub path: String,
    /// Whether it came, went or changed.
    pub mark: Mark,
    /// What it is to the boot.
    pub role: Option<BootRole>,
    /// As on A.
    pub a: Option<Node>,
    /// As on B.
    pub b: Option<Node>,
    /// How the content differs, when both are files and it does, or of a small text file that came or went.
    pub content: Option<ContentDiff>,
}

/// What is compared of a name beside its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: EntryKind,
    /// Length of a regular file.
    pub len: u64,
    /// Permission bits, where there are any.
    pub mode: Option<u16>,
    /// Owner, where it is told.
    pub owner: Option<Owner>,
    /// Where a symbolic link leads.
    pub target: Option<String>,
}

/// How the content of a file differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContentDiff {
    /// The first byte that differs, unless the files have different lengths and are no small texts: then nobody looked.
    pub first: Option<ByteOffset>,
    /// A unified diff of small text files, cut to the lines that were asked for.
    pub lines: Vec<String>,
    /// Lines of it that were cut.
    pub more: u64,
    /// Whether the text was left out because not everybody in the guest may read the file.
    pub withheld: bool,
}

/// Something to know about a place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remark {
    /// Which place.
    pub place: String,
    /// What about it.
    pub why: String,
}

impl Field {
    /// `what` when the two differ.
    pub(super) fn of(what: &str, a: Option<String>, b: Option<String>) -> Option<Field> {
        (a != b).then(|| Field { what: what.to_string(), a, b })
    }
}

impl Remark {
    pub(super) fn new(place: impl Into<String>, why: impl Into<String>) -> Remark {
        Remark { place: place.into(), why: why.into() }
    }
}

impl VolumeDiff {
    pub(super) fn new(a: FsPlace, b: FsPlace, title: String) -> VolumeDiff {
        VolumeDiff { a, b, title, added: 0, removed: 0, changed: 0, entries: Vec::new() }
    }

    /// How many names differ.
    pub fn total(&self) -> u64 {
        self.added.saturating_add(self.removed).saturating_add(self.changed)
    }
}

impl Diff {
    /// Whether any difference was found.
    pub fn is_different(&self) -> bool {
        self.verdict == Verdict::Different
    }

    /// All names that differ, with their mark, as `partition 2:/etc/fstab`: for a look at everything at once.
    pub fn names(&self) -> impl Iterator<Item = (Mark, String)> {
        self.volumes.iter().flat_map(|v| {
            let place = v.b.to_string();
            v.entries.iter().map(move |e| (e.mark, format!("{place}:{}", e.path)))
        })
    }

    pub(super) fn new(scope: Scope) -> Diff {
        Diff {
            scope,
            verdict: Verdict::Unknown,
            table: Vec::new(),
            partitions: Vec::new(),
            boot_code: Vec::new(),
            volumes: Vec::new(),
            bytes: Vec::new(),
            same_meaning: Vec::new(),
            not_compared: Vec::new(),
        }
    }

    /// The verdict that the lists come down to.
    pub(super) fn judge(&mut self) {
        let nothing = self.table.is_empty()
            && self.partitions.is_empty()
            && self.boot_code.is_empty()
            && self.volumes.is_empty()
            && self.bytes.is_empty();
        self.verdict = match (nothing, self.scope) {
            (false, _) => Verdict::Different,
            (true, _) if !self.not_compared.is_empty() => Verdict::Unknown,
            (true, Scope::All) if self.same_meaning.is_empty() => Verdict::Identical,
            (true, _) => Verdict::Same,
        };
    }
}
