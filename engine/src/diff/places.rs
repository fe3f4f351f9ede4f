//! Every place of two disks once: partitions, logical volumes, or a disk that is one file system.

use super::files::{self, Part, Walked};
use super::meter::Meter;
use super::model::{BytesDiff, Diff, Field, Region, Remark, Scope, VolumeDiff};
use super::role::VolumeRole;
use super::table::{self, Pair, Tables};
use super::{DiffError, Options, Side, bytes, regions};
use crate::disk::DiskRef;
use crate::guest::{FileSystem, FsPlace, Guest, Partition, TableKind};
use crate::table::gpt;
use crate::table::guid::Guid;
use crate::units::{ByteLen, ByteOffset};
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
pub(super) enum SameBytes {
    Yes,
    No,
}

/// What a place that tells no files is to the boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Matters {
    /// Firmware or a loader reads it.
    Starts,
    /// It may be the root file system, for all that is known.
    Perhaps,
    /// It does not.
    No,
}

/// Something that both disks have: a partition, a logical volume.
pub(super) struct Spot {
    pub title: String,
    pub region: Region,
    pub places: (FsPlace, FsPlace),
    pub disks: (DiskRef, DiskRef),
    /// Where it begins on A.
    pub at: ByteOffset,
    pub matters: Matters,
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
            let in_group = [pair.a, pair.b].into_iter().flatten().any(is_physical_volume);
            if self.pair(pair)? == SameBytes::No && in_group {
                groups = SameBytes::No;
            }
        }
        self.logical_volumes(groups)
    }

    /// A file system that lies on the disk itself; `false` when there is none on both, or nobody asks.
    fn bare_disk(&mut self) -> Result<bool, DiffError> {
        let disks = (self.a.disk.clone(), self.b.disk.clone());
        let open = |disk| volume::open(disk).ok();
        let (Some(x), Some(y)) = (open(&disks.0), open(&disks.1)) else { return Ok(false) };
        if x.kind() != y.kind() || self.options.scope == Scope::Boot {
            return Ok(false);
        }
        let ids = [("file system id", x.uuid(), y.uuid()), ("file system label", x.label(), y.label())];
        self.diff.table.extend(ids.into_iter().filter_map(|(what, a, b)| Field::of(what, a, b)));
        let title = format!("the disk ({})", x.kind());
        let places = (FsPlace::default(), FsPlace::default());
        let at = ByteOffset(0);
        let spot = Spot { title, region: Region::Disk, places, disks, at, matters: Matters::No };
        self.spot(&spot, Some((x.as_ref(), y.as_ref())))?;
        Ok(true)
    }

    /// One partition on both disks.
    fn pair(&mut self, pair: &Pair<'_>) -> Result<SameBytes, DiffError> {
        let (Some(p), Some(q)) = (pair.a, pair.b) else { return Ok(SameBytes::No) };
        let slices = (bytes::slice(&self.a.disk, p.at, p.len), bytes::slice(&self.b.disk, q.at, q.len));
        let (Some(x), Some(y)) = slices else {
            let why = "it reaches beyond the end of the disk";
            self.diff.not_compared.push(Remark::new(table::title(p), why));
            return Ok(SameBytes::No);
        };
        let starts = |p: &Partition| p.is_esp || is_bios_boot(p);
        let group = (is_physical_volume(p) || is_physical_volume(q)) && self.has_logical_volumes();
        let matters = match () {
            _ if starts(p) || starts(q) => Matters::Starts,
            // Its logical volumes tell.
            _ if group => Matters::No,
            _ if is_closed(p.fs.as_ref()) || is_closed(q.fs.as_ref()) => Matters::Perhaps,
            _ => Matters::No,
        };
        if group {
            return match self.options.scope {
                Scope::Boot => Ok(SameBytes::No),
                Scope::All => self.same(&x, &y),
            };
        }
        let places = (FsPlace::partition(p.number), FsPlace::partition(q.number));
        let volumes = self.volumes((&places.0, &places.1));
        let (region, title) = (Region::Partition, table::title(p));
        self.spot(&Spot { title, region, places, disks: (x, y), at: p.at, matters }, volumes)
    }

    /// One place on both disks, with its file systems if both are open.
    pub(super) fn spot(
        &mut self,
        spot: &Spot,
        volumes: Option<(&dyn Volume, &dyn Volume)>,
    ) -> Result<SameBytes, DiffError> {
        let (x, y) = &spot.disks;
        match (self.options.scope, volumes) {
            (Scope::All, volumes) => {
                if self.same(x, y)? == SameBytes::Yes {
                    return Ok(SameBytes::Yes);
                }
                match volumes {
                    Some(both) => self.files(spot, both).map(|_| ())?,
                    None => self.bytes(spot)?,
                }
            }
            // Not read whole, to learn that its few files of interest are the same.
            (Scope::Boot, Some(both)) => {
                self.meter.begin(x.geometry().len.get())?;
                if self.files(spot, both)? == VolumeRole::Other {
                    self.unknown(spot)?;
                }
            }
            (Scope::Boot, None) => match spot.matters {
                Matters::Starts => self.bytes(spot)?,
                Matters::Perhaps => self.unknown(spot)?,
                Matters::No => {}
            },
        }
        Ok(SameBytes::No)
    }

    /// Whether two places hold the same bytes; ends at the first difference.
    pub(super) fn same(&mut self, x: &DiskRef, y: &DiskRef) -> Result<SameBytes, DiffError> {
        self.meter.begin(x.geometry().len.get().max(y.geometry().len.get()))?;
        let differ = bytes::differ(x.as_ref(), y.as_ref(), &mut self.meter)?;
        if !differ {
            self.meter.end();
        }
        Ok(if differ { SameBytes::No } else { SameBytes::Yes })
    }

    /// A place without readable files.
    fn bytes(&mut self, spot: &Spot) -> Result<(), DiffError> {
        let (x, y) = bytes::padded(spot.disks.0.clone(), spot.disks.1.clone())?;
        let len = x.geometry().len.get();
        let found = bytes::compare(x.as_ref(), y.as_ref(), 0..len, &mut self.meter)?;
        self.meter.end();
        if !found.is_empty() {
            // The ESP's bytes stand elsewhere: they are no code, but a file system that cannot be read.
            let code = spot.matters == Matters::Starts && self.esp_at(&spot.places.0).is_none();
            let list = if code { &mut self.diff.boot_code } else { &mut self.diff.bytes };
            list.push(BytesDiff {
                region: spot.region,
                place: spot.title.clone(),
                at: spot.at,
                len: ByteLen(len),
                places: found.places,
                bytes: found.bytes,
                ranges: found.ranges,
            });
        }
        Ok(())
    }

    fn esp_at(&self, place: &FsPlace) -> Option<&Partition> {
        self.a.inspection.esp().filter(|p| FsPlace::partition(p.number) == *place)
    }

    /// With [`Scope::Boot`]: something that may be the root file system, where none is known.
    fn unknown(&mut self, spot: &Spot) -> Result<(), DiffError> {
        let known = self.a.root().is_some() && self.b.root().is_some();
        if !known && self.same(&spot.disks.0, &spot.disks.1)? == SameBytes::No {
            let why = "it differs, and no root file system is known: it may hold kernels or fstab";
            self.diff.not_compared.push(Remark::new(spot.title.clone(), why));
        }
        Ok(())
    }

    /// The file systems at two places, when both are open and of one kind.
    pub(super) fn volumes(&self, (a, b): (&FsPlace, &FsPlace)) -> Option<(&'a dyn Volume, &'a dyn Volume)> {
        let both = (self.a.volume(a)?, self.b.volume(b)?);
        (both.0.kind() == both.1.kind()).then_some(both)
    }

    /// Two file systems whose bytes differ, or may. Answers what they are to the boot.
    fn files(&mut self, spot: &Spot, both: (&dyn Volume, &dyn Volume)) -> Result<VolumeRole, DiffError> {
        let (a, b) = &spot.places;
        let role = match VolumeRole::of(self.a, a, both.0) {
            VolumeRole::Other => VolumeRole::of(self.b, b, both.1),
            role => role,
        };
        let part = match (self.options.scope, &role) {
            (Scope::Boot, VolumeRole::Other) => return Ok(role),
            (Scope::Boot, VolumeRole::Root(_)) => Part::BootOfRoot,
            _ => Part::Whole,
        };
        let title = &spot.title;
        let told = self.diff.not_compared.len();
        for (side, volume) in [(Side::A, both.0), (Side::B, both.1)] {
            if let Journal::Unreadable { why } = volume.journal() {
                let why = format!(
                    "its journal on {side} could not be replayed ({why}): what was compared may be out of date"
                );
                self.diff.not_compared.push(Remark::new(title.clone(), why));
            }
        }
        let empty = VolumeDiff::new(a.clone(), b.clone(), title.clone());
        // What a plain mount of a btrfs shows is not all of it.
        let whole = match both.0.kind() {
            FsKind::Btrfs => {
                let open = |disk| volume::open_whole(disk).ok();
                open(&spot.disks.0).zip(open(&spot.disks.1))
            }
            _ => None,
        };
        let both = whole.as_ref().map_or(both, |(x, y)| (x.as_ref(), y.as_ref()));
        let Walked { diff, not_compared } =
            files::walk(both, &role, part, self.options, empty, &mut self.meter)?;
        self.meter.end();
        self.diff.not_compared.extend(not_compared);
        if diff.total() > 0 {
            self.diff.volumes.push(diff);
        } else if self.options.scope == Scope::All && self.diff.not_compared.len() == told {
            let why = "no file differs; the rest is times, journal and free space";
            self.diff.same_meaning.push(Remark::new(title.clone(), why));
        }
        Ok(role)
    }
}

fn is_bios_boot(p: &Partition) -> bool {
    p.type_id.parse::<Guid>() == Ok(gpt::TYPE_BIOS_BOOT)
}

fn is_physical_volume(p: &Partition) -> bool {
    p.fs.as_ref().is_some_and(|fs| fs.kind == FsKind::Lvm)
}

/// Whether something is there, and nobody can look into it.
pub(super) fn is_closed(fs: Option<&FileSystem>) -> bool {
    let closed = |kind| matches!(kind, FsKind::Lvm | FsKind::Luks | FsKind::Raid | FsKind::BitLocker);
    fs.is_some_and(|fs| closed(fs.kind) || (fs.problem.is_some() && fs.kind != FsKind::Swap))
}
