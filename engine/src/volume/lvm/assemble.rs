//! From what a text says to logical volumes that can be read, or the reason why not.

use super::disk::{Mapped, Part};
use super::meta::{Area, Meta, MetaLogical, Shape};
use super::relations::{Role, roles, shared};
use super::{Group, Hidden, Id, Lv, LvKind};
use crate::disk::{DiskRef, Geometry};
use crate::units::{ByteLen, ByteOffset, SectorSize};
use std::collections::HashMap;
use std::sync::Arc;

/// Most stripes of a segment. lvm2 `MAX_STRIPES`.
const STRIPES_MAX: usize = 128;

/// Where a physical volume of a group is.
#[derive(Clone, Copy)]
enum Found {
    /// The disk of this index.
    On(usize),
    Missing,
    /// More than one disk says it is this one.
    Twice,
    /// Wherever it is, the group has gone on without its extents.
    GivenUp,
}

/// The group with its logical volumes, as far as `lvs` lists them. `places` tells which of `disks` each id was found on.
pub(super) fn group(meta: Meta, disks: &[DiskRef], places: &HashMap<Id, Vec<usize>>) -> Group {
    let found = |id: &Id| match places.get(id).map(Vec::as_slice) {
        Some([index]) => Found::On(*index),
        Some([_, _, ..]) => Found::Twice,
        _ => Found::Missing,
    };
    let found: Vec<Found> =
        meta.physical.iter().map(|p| if p.given_up { Found::GivenUp } else { found(&p.id) }).collect();
    let missing = meta.physical.iter().zip(&found).filter(|(_, f)| !matches!(f, Found::On(_)));
    let missing = missing.map(|(p, _)| p.id).collect();
    let shared = shared(&meta);
    let roles = roles(&meta);
    let assembler = Assembler { meta: &meta, disks, found: &found };
    let mut logical = Vec::new();
    for (index, lv) in meta.logical.iter().enumerate() {
        let role = roles.get(lv.name.as_str()).copied();
        match role {
            Some(Role::Unseen) => continue,
            Some(Role::Store) => {}
            _ if !lv.visible => continue,
            _ => {}
        }
        let (len, content) = match assembler.content(lv, role) {
            (len, Ok(_)) if shared.contains(&index) => {
                (len, Err(Hidden::contradiction("shares extents with another one")))
            }
            other => other,
        };
        let content = content.map(|mapped| Arc::new(mapped) as DiskRef);
        let on = assembler.disks_of(lv);
        logical.push(Lv { name: lv.name.clone(), id: lv.id, kind: kind(lv, role), len, on, content });
    }
    Group { name: meta.name, id: meta.id, seqno: meta.seqno, missing, logical }
}

/// By the first segment that is not striped, if there is one.
fn kind(lv: &MetaLogical, role: Option<Role>) -> LvKind {
    let mut kind = LvKind::Linear;
    for segment in &lv.segments {
        match &segment.shape {
            Shape::Stripes { areas, .. } if areas.len() == 1 => {}
            Shape::Stripes { .. } => kind = LvKind::Striped,
            Shape::Snapshot { .. } | Shape::Other => return LvKind::of(&segment.kind),
        }
    }
    if role == Some(Role::Store) { LvKind::Snapshot } else { kind }
}

struct Assembler<'a> {
    meta: &'a Meta,
    disks: &'a [DiskRef],
    /// For each physical volume of the group.
    found: &'a [Found],
}

impl Assembler<'_> {
    /// Length and content.
    fn content(&self, lv: &MetaLogical, role: Option<Role>) -> (ByteLen, Result<Mapped, Hidden>) {
        let mut extents = 0u64;
        for segment in &lv.segments {
            let next = extents.checked_add(segment.count).filter(|_| segment.start == extents);
            extents = match next.filter(|_| segment.count > 0) {
                Some(next) => next,
                None => {
                    let why = format!(
                        "has a segment of {} extents at {}, wanted the next one at {extents}",
                        segment.count, segment.start
                    );
                    return (ByteLen(0), Err(Hidden::contradiction(why)));
                }
            };
        }
        let Some(len) = extents.checked_mul(self.meta.extent).filter(|len| *len > 0) else {
            let why = format!("is {extents} extents of {} bytes long", self.meta.extent);
            return (ByteLen(0), Err(Hidden::contradiction(why)));
        };
        let content = match role {
            Some(Role::Store) => Err(Hidden::Kind { kind: LvKind::Snapshot, named: "snapshot".into() }),
            Some(Role::Merging) => Err(Hidden::Merging),
            _ => self.map(lv, len),
        };
        (ByteLen(len), content)
    }

    fn map(&self, lv: &MetaLogical, len: u64) -> Result<Mapped, Hidden> {
        // What it is comes before what it lacks.
        for segment in &lv.segments {
            if !matches!(segment.shape, Shape::Stripes { .. }) {
                let (kind, named) = (LvKind::of(&segment.kind), segment.kind.clone());
                return Err(Hidden::Kind { kind, named });
            }
        }
        let mut mapped = Mapped {
            geometry: Geometry { len: ByteLen(len), sector: SectorSize::B512 },
            disks: Vec::new(),
            parts: Vec::new(),
        };
        let mut at = 0;
        let mut indexes = HashMap::new();
        for segment in &lv.segments {
            let Shape::Stripes { areas, chunk } = &segment.shape else { continue };
            let columns = areas.len() as u64;
            // The sum of all segments was checked to fit.
            let part_len = segment.count.saturating_mul(self.meta.extent);
            let stripe_len = part_len / columns.max(1);
            let chunk = if columns == 1 { part_len } else { *chunk };
            if areas.len() > STRIPES_MAX
                || !segment.count.is_multiple_of(columns)
                || !stripe_len.is_multiple_of(chunk)
            {
                let why =
                    format!("has {} extents on {columns} stripes, {chunk} bytes at a time", segment.count);
                return Err(Hidden::contradiction(why));
            }
            let mut stripes = Vec::new();
            for area in areas {
                let (disk, start) = self.area(area, segment.count / columns, stripe_len)?;
                let sector = self.disks.get(disk).map_or(SectorSize::B512, |d| d.geometry().sector);
                mapped.geometry.sector = mapped.geometry.sector.max(sector);
                let index = *indexes.entry(disk).or_insert_with(|| {
                    mapped.disks.extend(self.disks.get(disk).cloned());
                    mapped.disks.len() - 1
                });
                stripes.push((index, start));
            }
            mapped.parts.push(Part { at, len: part_len, chunk, stripes });
            at = at.saturating_add(part_len);
        }
        if !len.is_multiple_of(mapped.geometry.sector.bytes()) {
            let sector = mapped.geometry.sector.bytes();
            return Err(Hidden::contradiction(format!("is {len} bytes long, in sectors of {sector}")));
        }
        Ok(mapped)
    }

    /// The disk on which a stripe of `count` extents lies, and where on it.
    fn area(&self, area: &Area, count: u64, len: u64) -> Result<(usize, u64), Hidden> {
        let (physical, extent) = match area {
            Area::Physical(physical, extent) => (*physical, *extent),
            Area::Logical(name) => return Err(Hidden::OnVolume { name: name.clone() }),
        };
        let (Some(meta), Some(found)) = (self.meta.physical.get(physical), self.found.get(physical)) else {
            return Err(Hidden::contradiction("lies on a physical volume that is none of the group's"));
        };
        let disk = match found {
            Found::On(disk) => *disk,
            Found::Missing => return Err(Hidden::Missing { id: meta.id }),
            Found::Twice => return Err(Hidden::Twice { id: meta.id }),
            Found::GivenUp => return Err(Hidden::GivenUp { id: meta.id }),
        };
        let end = extent.checked_add(count).filter(|end| *end <= meta.extents);
        let start = extent.checked_mul(self.meta.extent).and_then(|at| at.checked_add(meta.start));
        let Some((_, start)) = end.zip(start) else {
            let why = format!("lies on extents {extent} + {count} of {} on {}", meta.extents, meta.id);
            return Err(Hidden::contradiction(why));
        };
        let geometry = self.disks.get(disk).map(|d| d.geometry());
        match geometry.map(|g| g.check(ByteOffset(start), len)) {
            Some(Ok(_)) => Ok((disk, start)),
            _ => {
                let why = format!("lies on {len} bytes at {start:#x} of {}, which ends before that", meta.id);
                Err(Hidden::contradiction(why))
            }
        }
    }

    /// The disks on which it lies, in the order of its bytes.
    fn disks_of(&self, lv: &MetaLogical) -> Vec<usize> {
        let mut on = Vec::new();
        for segment in &lv.segments {
            let Shape::Stripes { areas, .. } = &segment.shape else { continue };
            for area in areas {
                if let Area::Physical(physical, _) = area
                    && let Some(Found::On(disk)) = self.found.get(*physical)
                    && !on.contains(disk)
                {
                    on.push(*disk);
                }
            }
        }
        on
    }
}
