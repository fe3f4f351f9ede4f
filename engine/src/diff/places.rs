//! Every place of two disks once: partitions, logical volumes, or a disk that is one file system.

use super::files::{self, Part, Walked};
use super::meter::Meter;
use super::model::{BytesDiff, Diff, Field, Region, Remark, Scope, VolumeDiff};
use super::role::VolumeRole;
use super::table::{self, Pair, Tables};
use super::{DiffError, Options, Side, bytes, regions};
use crate::disk::DiskRef;
use crate::guest::{FsPlace, Guest, Partition, TableKind};
use crate::table::gpt;
use crate::table::guid::Guid;
use crate::units::ByteLen;
use crate::volume::{self, FsKind, Journal, Volume};

/// Two disks that were looked at, and what was found so far.
pub(super) struct Work<'a, 'm> {
    pub a: &'a Guest,
    pub b: &'a Guest,
    pub options: &'a Options,
    pub meter: Meter<'m>,
    pub diff: Diff,
}

/// Whether two places are known to hold the same bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SameBytes {
    Yes,
    No,
}

impl<'a> Work<'a, '_> {
    pub(super) fn compare(&mut self) -> Result<(), DiffError> {
        let (a, b) = (&self.a.inspection, &self.b.inspection);
        let tables = (Tables::read(&self.a.disk), Tables::read(&self.b.disk));
        self.diff.table = table::fields((a, b), (&tables.0, &tables.1));
        let pairs = table::pairs(&a.partitions, &b.partitions);
        self.diff.partitions = pairs.iter().filter_map(table::partition).collect();
        if regions::has_mbr(&tables.0) || regions::has_mbr(&tables.1) {
            regions::boot_code(&self.a.disk, &self.b.disk, &mut self.diff)?;
        }
        let bare =
            |g: &Guest| g.inspection.table.kind == TableKind::None && g.inspection.partitions.is_empty();
        if bare(self.a) && bare(self.b) && self.bare_disk()? {
            return Ok(());
        }
        let both = (self.a, self.b);
        regions::outside(both, (&tables.0, &tables.1), &mut self.diff, &mut self.meter)?;
        let mut groups = SameBytes::Yes;
        for pair in &pairs {
            let in_group = [pair.a, pair.b].into_iter().flatten().any(|p| kind(p) == Some(FsKind::Lvm));
            if self.pair(pair)? == SameBytes::No && in_group {
                groups = SameBytes::No;
            }
        }
        self.logical_volumes(groups)
    }

    /// A file system that lies on the disk itself; `false` when there is none on both.
    fn bare_disk(&mut self) -> Result<bool, DiffError> {
        let (Ok(a), Ok(b)) = (volume::open(&self.a.disk), volume::open(&self.b.disk)) else {
            return Ok(false);
        };
        if a.kind() != b.kind() || self.options.scope == Scope::Boot {
            return Ok(false);
        }
        let title = format!("the disk ({})", a.kind());
        let ids = [("file system id", a.uuid(), b.uuid()), ("file system label", a.label(), b.label())];
        self.diff.table.extend(ids.into_iter().filter_map(|(what, a, b)| Field::of(what, a, b)));
        self.meter.begin(self.a.disk.geometry().len.get())?;
        if bytes::differ(self.a.disk.as_ref(), self.b.disk.as_ref(), &mut self.meter)? {
            let place = FsPlace::default();
            self.files((&place, &place), (a.as_ref(), b.as_ref()), title)?;
        }
        self.meter.end();
        Ok(true)
    }

    /// One partition. Answers whether both have the same bytes: where they are LVM's, what is in them is then the same, too.
    fn pair(&mut self, pair: &Pair<'_>) -> Result<SameBytes, DiffError> {
        let (Some(p), Some(q)) = (pair.a, pair.b) else { return Ok(SameBytes::No) };
        let slices = (bytes::slice(&self.a.disk, p.at, p.len), bytes::slice(&self.b.disk, q.at, q.len));
        let (Some(x), Some(y)) = slices else {
            let why = "it reaches beyond the end of the disk";
            self.diff.not_compared.push(Remark::new(table::title(p), why));
            return Ok(SameBytes::No);
        };
        self.meter.begin(p.len.get().max(q.len.get()))?;
        let places = (FsPlace::partition(p.number), FsPlace::partition(q.number));
        let volumes = self.volumes((&places.0, &places.1));
        let same = match (self.options.scope, volumes) {
            (Scope::All, volumes) => {
                if bytes::differ(x.as_ref(), y.as_ref(), &mut self.meter)? {
                    if let Some(both) = volumes {
                        self.files((&places.0, &places.1), both, table::title(p))?;
                    } else {
                        self.bytes((p, q), (x, y))?;
                    }
                    SameBytes::No
                } else {
                    SameBytes::Yes
                }
            }
            (Scope::Boot, Some(both)) => {
                // Not read whole, to learn that its few files of interest are the same.
                let role = self.files((&places.0, &places.1), both, table::title(p))?;
                if role == VolumeRole::Other {
                    self.unknown(p, (&x, &y))?;
                }
                SameBytes::No
            }
            (Scope::Boot, None) => {
                if p.is_esp || q.is_esp || is_bios_boot(p) || is_bios_boot(q) {
                    self.bytes((p, q), (x, y))?;
                } else if is_closed(p) || is_closed(q) {
                    self.unknown(p, (&x, &y))?;
                }
                SameBytes::No
            }
        };
        self.meter.end();
        Ok(same)
    }

    /// A partition without readable files, whose bytes may differ.
    fn bytes(
        &mut self,
        (p, q): (&Partition, &Partition),
        (x, y): (DiskRef, DiskRef),
    ) -> Result<(), DiffError> {
        if kind(p) == Some(FsKind::Lvm) && self.has_logical_volumes() {
            let why =
                "its readable logical volumes are compared by their files; the rest of its bytes is not";
            self.diff.not_compared.push(Remark::new(table::title(p), why));
            return Ok(());
        }
        let (x, y) = bytes::padded(x, y)?;
        let len = x.geometry().len.get();
        let found = bytes::compare(x.as_ref(), y.as_ref(), 0..len, &mut self.meter)?;
        if !found.is_empty() {
            let starts = is_bios_boot(p) || is_bios_boot(q);
            let list = if starts { &mut self.diff.boot_code } else { &mut self.diff.bytes };
            list.push(BytesDiff {
                region: Region::Partition,
                place: table::title(p),
                at: p.at,
                len: ByteLen(len),
                places: found.places,
                bytes: found.bytes,
                ranges: found.ranges,
            });
        }
        Ok(())
    }

    /// With [`Scope::Boot`]: something that may be the root file system, where none is known.
    fn unknown(&mut self, p: &Partition, (x, y): (&DiskRef, &DiskRef)) -> Result<(), DiffError> {
        let known = self.a.root().is_some() && self.b.root().is_some();
        if known || (kind(p) == Some(FsKind::Lvm) && self.has_logical_volumes()) {
            return Ok(());
        }
        if bytes::differ(x.as_ref(), y.as_ref(), &mut self.meter)? {
            let why = "it differs, and no root file system is known: it may hold kernels or fstab";
            self.diff.not_compared.push(Remark::new(table::title(p), why));
        }
        Ok(())
    }

    fn has_logical_volumes(&self) -> bool {
        let any = |g: &Guest| g.mounted.iter().any(|m| m.at.lv.is_some());
        any(self.a) && any(self.b)
    }

    /// The file systems at two places, when both are open and of one kind.
    fn volumes(&self, (a, b): (&FsPlace, &FsPlace)) -> Option<(&'a dyn Volume, &'a dyn Volume)> {
        let both = (self.a.volume(a)?, self.b.volume(b)?);
        (both.0.kind() == both.1.kind()).then_some(both)
    }

    /// File systems in logical volumes, by group and name. `groups` says whether all physical volumes have the same bytes.
    fn logical_volumes(&mut self, groups: SameBytes) -> Result<(), DiffError> {
        let named = |g: &'a Guest| g.mounted.iter().filter(|m| m.at.lv.is_some());
        let of = |lv: &FsPlace| FsPlace { partition: 0, lv: lv.lv.clone() };
        for m in named(self.a) {
            let other = named(self.b).find(|n| of(&n.at) == of(&m.at));
            let title = format!("{} ({})", m.at, m.volume.kind());
            match other {
                Some(n) if groups == SameBytes::No || self.options.scope == Scope::Boot => {
                    if m.volume.kind() == n.volume.kind() {
                        self.files((&m.at, &n.at), (m.volume.as_ref(), n.volume.as_ref()), title)?;
                    } else {
                        let (a, b) = (m.volume.kind().to_string(), n.volume.kind().to_string());
                        self.diff.table.extend(Field::of(
                            &format!("{}, file system", m.at),
                            Some(a),
                            Some(b),
                        ));
                    }
                }
                Some(_) => {}
                None => self.diff.volumes.push(empty(Some(&m.at), None, title)),
            }
        }
        for n in named(self.b) {
            if !named(self.a).any(|m| of(&m.at) == of(&n.at)) {
                let title = format!("{} ({})", n.at, n.volume.kind());
                self.diff.volumes.push(empty(None, Some(&n.at), title));
            }
        }
        Ok(())
    }

    /// Two file systems whose bytes differ, or may. Answers what they are to the boot.
    fn files(
        &mut self,
        (a, b): (&FsPlace, &FsPlace),
        both: (&dyn Volume, &dyn Volume),
        title: String,
    ) -> Result<VolumeRole, DiffError> {
        let role = match VolumeRole::of(self.a, a, both.0) {
            VolumeRole::Other => VolumeRole::of(self.b, b, both.1),
            role => role,
        };
        let part = match (self.options.scope, &role) {
            (Scope::Boot, VolumeRole::Other) => return Ok(role),
            (Scope::Boot, VolumeRole::Root(_)) => Part::BootOfRoot,
            _ => Part::Whole,
        };
        let told = self.diff.not_compared.len();
        for (side, volume) in [(Side::A, both.0), (Side::B, both.1)] {
            if let Journal::Unreadable { why } = volume.journal() {
                let why = format!(
                    "its journal on {side} could not be replayed ({why}): what was compared may be out of date"
                );
                self.diff.not_compared.push(Remark::new(title.clone(), why));
            }
        }
        let found = empty(Some(a), Some(b), title.clone());
        let Walked { diff, not_compared } =
            files::walk(both, &role, part, self.options, found, &mut self.meter)?;
        self.diff.not_compared.extend(not_compared);
        if diff.total() > 0 {
            self.diff.volumes.push(diff);
        } else if self.options.scope == Scope::All && self.diff.not_compared.len() == told {
            let why = "no file differs; the rest is times, journal and free space";
            self.diff.same_meaning.push(Remark::new(title, why));
        }
        Ok(role)
    }
}

fn empty(a: Option<&FsPlace>, b: Option<&FsPlace>, title: String) -> VolumeDiff {
    VolumeDiff { a: a.cloned(), b: b.cloned(), title, added: 0, removed: 0, changed: 0, entries: Vec::new() }
}

fn kind(p: &Partition) -> Option<FsKind> {
    p.fs.as_ref().map(|fs| fs.kind)
}

fn is_bios_boot(p: &Partition) -> bool {
    p.type_id.parse::<Guid>() == Ok(gpt::TYPE_BIOS_BOOT)
}

/// Whether a partition holds something, and nobody can look into it.
fn is_closed(p: &Partition) -> bool {
    let inside = matches!(kind(p), Some(FsKind::Lvm | FsKind::Luks | FsKind::Raid | FsKind::BitLocker));
    inside || p.fs.as_ref().is_some_and(|fs| fs.problem.is_some() && fs.kind != FsKind::Swap)
}
