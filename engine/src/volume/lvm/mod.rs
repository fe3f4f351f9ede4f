//! LVM2: physical volumes become groups, groups become logical volumes, and those that are plain runs of extents become disks.
//!
//! ```text
//!   physical volume:   label ─ metadata area (a ring of texts) ─ extents 0, 1, 2, … ─ (metadata area)
//!                                       │                            ▲
//!   newest sound text of the group ◄────┘      segment: "pv0", 2 ────┘
//! ```
//! There is no specification; lvm2's own sources are cited (release 2.03). Linear and striped volumes are read. Everything else (thin, cache, RAID, mirror,
//! snapshot, writecache, VDO) is known by name and kind, with the [reason](Hidden) why it is not looked into.
//!
//! **Invariant: no bound is a number from disk.** Texts, nesting, names, segments, stripes each have a named constant. A volume never lies on
//! another volume here, so there are no cycles to follow.

mod area;
mod assemble;
mod disk;
mod error;
mod format;
mod id;
mod import;
mod kind;
mod label;
mod meta;
mod relations;
mod text;
mod tokens;

pub use error::{Hidden, LvmError};
pub use id::Id;
pub use kind::LvKind;

use crate::disk::DiskRef;
use crate::units::ByteLen;
use label::{Label, Use};
use meta::Meta;
use std::collections::HashMap;

/// Most groups of one disk.
const GROUPS_MAX: usize = 32;

/// What LVM2 makes of the disks (usually partitions) that were given.
#[derive(Debug)]
pub struct Lvm {
    /// For each given disk, in their order.
    pub physical: Vec<Physical>,
    /// The volume groups, in the order of their first physical volume.
    pub groups: Vec<Group>,
}

/// A disk that was taken for a physical volume.
#[derive(Debug)]
pub struct Physical {
    /// Its id, as `blkid` shows it.
    pub id: Option<Id>,
    /// Which group it is part of.
    pub member: Member,
    /// Copies of the metadata on it that are not sound.
    pub damaged: Vec<LvmError>,
}

/// Whether a physical volume is part of a group.
#[derive(Debug)]
pub enum Member {
    /// Of this one of [`Lvm::groups`].
    Of(usize),
    /// Of none: nothing is on it.
    Free,
    /// The group whose metadata it carries has gone on without it.
    Left(String),
    /// Of one whose metadata is on another disk.
    Elsewhere,
    /// Neither its label nor any metadata on it says of which.
    Unreadable,
}

/// A volume group.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Id,
    /// How often it was changed.
    pub seqno: u64,
    /// Physical volumes that are not here, not for certain, or given up.
    pub missing: Vec<Id>,
    /// The logical volumes that `lvs` lists.
    pub logical: Vec<Lv>,
}

/// A logical volume.
#[derive(Debug)]
pub struct Lv {
    /// Its name in the group.
    pub name: String,
    /// Its id.
    pub id: Id,
    /// What it is made of.
    pub kind: LvKind,
    /// Its length; 0 when the metadata contradicts itself.
    pub len: ByteLen,
    /// Which of the given disks it lies on, in the order of its bytes. Empty for what lies on other volumes.
    pub on: Vec<usize>,
    /// Its bytes, or why they are not looked into.
    pub content: Result<DiskRef, Hidden>,
}

/// Look at `disks`, which are physical volumes by their first sectors ([`crate::volume::FsKind::Lvm`]). Whatever is damaged or missing
/// is told beside what was found.
pub fn look(disks: &[DiskRef]) -> Lvm {
    let mut places: HashMap<Id, Vec<usize>> = HashMap::new();
    let mut newest: Vec<Meta> = Vec::new();
    let mut looked = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let one = Looked::at(disk, &mut newest);
        if let Some(label) = &one.label {
            places.entry(label.id).or_default().push(index);
        }
        looked.push(one);
    }
    let mut physical = Vec::new();
    for one in looked {
        let id = one.label.as_ref().map(|label| label.id);
        let of = newest.iter().position(|m| m.physical.iter().any(|p| Some(p.id) == id));
        let left = newest.iter().find(|m| one.groups.contains(&m.id)).map(|m| m.name.clone());
        let member = match (of, one.label, left) {
            (Some(group), _, _) => Member::Of(group),
            (_, _, Some(group)) => Member::Left(group),
            (_, None, _) => Member::Unreadable,
            _ if !one.damaged.is_empty() => Member::Unreadable,
            (_, Some(Label { use_: Use::Used, .. }), _) => Member::Elsewhere,
            _ => Member::Free,
        };
        physical.push(Physical { id, member, damaged: one.damaged });
    }
    let groups = newest.into_iter().map(|meta| assemble::group(meta, disks, &places)).collect();
    Lvm { physical, groups }
}

/// What one disk says.
struct Looked {
    label: Option<Label>,
    /// Groups of which it carries metadata.
    groups: Vec<Id>,
    damaged: Vec<LvmError>,
}

impl Looked {
    /// Read label and metadata; of each group the newest text goes to `newest`.
    fn at(disk: &DiskRef, newest: &mut Vec<Meta>) -> Looked {
        let (mut groups, mut damaged) = (Vec::new(), Vec::new());
        let label = match Label::read(disk.as_ref()) {
            Ok(label) => label,
            Err(e) => return Looked { label: None, groups, damaged: vec![e] },
        };
        for at in &label.areas {
            let copy = area::read(disk.as_ref(), *at);
            let meta = copy.and_then(|text| text.map(|text| Meta::parse(&text, *at)).transpose());
            match meta {
                Ok(None) => {}
                Ok(Some(meta)) => {
                    groups.push(meta.id);
                    damaged.extend(keep(newest, meta, *at).err());
                }
                Err(e) => damaged.push(e),
            }
        }
        Looked { label: Some(label), groups, damaged }
    }
}

/// Keep what is newer, or new.
fn keep(newest: &mut Vec<Meta>, meta: Meta, at: u64) -> Result<(), LvmError> {
    let full = newest.len() >= GROUPS_MAX;
    match newest.iter_mut().find(|m| m.id == meta.id) {
        Some(known) if known.seqno >= meta.seqno => {}
        Some(known) => *known = meta,
        None if !full => newest.push(meta),
        None => {
            let wanted = format!("a text of one of the first {GROUPS_MAX} groups");
            let found = format!("one of {}", meta.name);
            return Err(LvmError::Field { what: "metadata text", at, wanted, found });
        }
    }
    Ok(())
}
