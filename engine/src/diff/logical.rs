//! Logical volumes, by group and name: what LVM says of them, and what is in them.

use super::DiffError;
use super::model::{Field, Mark, PartitionDiff, Region, Remark, Scope};
use super::places::{Matters, SameBytes, Spot, Work, is_closed};
use super::table;
use crate::disk::{DiskRef, Slice};
use crate::guest::{Guest, LogicalVolume, size};
use crate::units::ByteOffset;
use crate::volume::{FsKind, lvm};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of each logical volume that can be looked into, by its full name.
type Contents = BTreeMap<String, DiskRef>;

impl Work<'_, '_> {
    pub(super) fn has_logical_volumes(&self) -> bool {
        !self.a.inspection.logical_volumes.is_empty() || !self.b.inspection.logical_volumes.is_empty()
    }

    /// `groups` says whether all physical volumes have the same bytes: then so has what is on them.
    pub(super) fn logical_volumes(&mut self, groups: SameBytes) -> Result<(), DiffError> {
        if groups == SameBytes::Yes || !self.has_logical_volumes() {
            return Ok(());
        }
        let told = self.told();
        let contents = (contents(self.a), contents(self.b));
        let (on_a, on_b) = (&self.a.inspection.logical_volumes, &self.b.inspection.logical_volumes);
        for x in on_a {
            match on_b.iter().find(|y| y.full_name() == x.full_name()) {
                Some(y) => self.logical_volume((x, y), (&contents.0, &contents.1))?,
                None => self.diff.partitions.push(alone(x, Mark::Removed)),
            }
        }
        let came = on_b.iter().filter(|y| !on_a.iter().any(|x| x.full_name() == y.full_name()));
        self.diff.partitions.extend(came.map(|y| alone(y, Mark::Added)));
        if self.options.scope == Scope::All && self.told() == told {
            let why = "no logical volume differs; the rest is LVM's own records and free extents";
            self.diff.same_meaning.push(Remark::new("physical volumes", why));
        }
        Ok(())
    }

    /// How much there is to tell so far.
    fn told(&self) -> usize {
        let d = &self.diff;
        d.partitions.len() + d.volumes.len() + d.bytes.len() + d.same_meaning.len() + d.not_compared.len()
    }

    fn logical_volume(
        &mut self,
        (x, y): (&LogicalVolume, &LogicalVolume),
        contents: (&Contents, &Contents),
    ) -> Result<(), DiffError> {
        let title = title(x);
        let places = (x.place(), y.place());
        let fields = fields(x, y);
        if !fields.is_empty() {
            let (a, b) = (Some(places.0.clone()), Some(places.1.clone()));
            self.diff.partitions.push(PartitionDiff {
                mark: Mark::Changed,
                a,
                b,
                title: title.clone(),
                fields,
            });
        }
        let disks = (contents.0.get(&x.full_name()), contents.1.get(&y.full_name()));
        let (Some(a), Some(b)) = disks else {
            // A closed volume matters to starting only where no root was found; elsewhere it is one that nobody asked for.
            let asked =
                self.options.scope == Scope::All || self.a.root().is_none() || self.b.root().is_none();
            if asked {
                let why = x
                    .problem
                    .clone()
                    .or_else(|| y.problem.clone())
                    .unwrap_or_else(|| "it cannot be read".into());
                self.diff.not_compared.push(Remark::new(title, why));
            }
            return Ok(());
        };
        let volumes = self.volumes((&places.0, &places.1));
        let closed = is_closed(x.fs.as_ref()) || is_closed(y.fs.as_ref());
        let matters = if closed { Matters::Perhaps } else { Matters::No };
        let (region, disks) = (Region::LogicalVolume, (a.clone(), b.clone()));
        self.spot(&Spot { title, region, places, disks, at: ByteOffset(0), matters }, volumes)?;
        Ok(())
    }
}

fn contents(guest: &Guest) -> Contents {
    let is_lvm = |fs: &crate::guest::FileSystem| fs.kind == FsKind::Lvm;
    let physical = guest.inspection.partitions.iter().filter(|p| p.fs.as_ref().is_some_and(is_lvm));
    let slices: Vec<DiskRef> = physical
        .filter_map(|p| Slice::new(guest.disk.clone(), p.at, p.len).ok())
        .map(|slice| Arc::new(slice) as DiskRef)
        .collect();
    let mut contents = Contents::new();
    for group in lvm::look(&slices).groups {
        for lv in group.logical {
            let name = format!("{}/{}", group.name, lv.name);
            // Of two with one name the inspection looks into the first as well.
            if let Ok(disk) = lv.content {
                contents.entry(name).or_insert(disk);
            }
        }
    }
    contents
}

fn fields(x: &LogicalVolume, y: &LogicalVolume) -> Vec<Field> {
    let of = |what, tell: fn(&LogicalVolume) -> String| Field::of(what, Some(tell(x)), Some(tell(y)));
    let own = [
        of("group id", |lv| lv.group_id.clone()),
        of("id", |lv| lv.id.clone()),
        of("kind", |lv| lv.kind.to_string()),
        of("length", |lv| table::exact(lv.len.get())),
    ];
    own.into_iter().flatten().chain(table::file_system(x.fs.as_ref(), y.fs.as_ref())).collect()
}

fn alone(lv: &LogicalVolume, mark: Mark) -> PartitionDiff {
    let place = Some(lv.place());
    let (a, b) = if mark == Mark::Removed { (place, None) } else { (None, place) };
    PartitionDiff { mark, a, b, title: format!("{}, {}", title(lv), size(lv.len.get())), fields: Vec::new() }
}

fn title(lv: &LogicalVolume) -> String {
    let inside = lv.fs.as_ref().map_or_else(|| lv.kind.to_string(), table::held);
    format!("logical volume {} ({inside})", lv.full_name())
}
