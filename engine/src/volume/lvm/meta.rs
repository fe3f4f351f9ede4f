//! What a metadata text says of a volume group. lvm2 lib/format_text/import_vsn1.c.

use super::Id;

/// One copy of a group's metadata.
#[derive(Debug)]
pub(super) struct Meta {
    pub name: String,
    pub id: Id,
    /// Grows with each change.
    pub seqno: u64,
    /// Bytes of an extent; not 0.
    pub extent: u64,
    pub physical: Vec<MetaPhysical>,
    pub logical: Vec<MetaLogical>,
}

#[derive(Debug)]
pub(super) struct MetaPhysical {
    pub id: Id,
    /// Where its extents begin, in bytes.
    pub start: u64,
    /// How many they are.
    pub extents: u64,
    /// Its extents count as lost, even should it be here again. lvm2 `MISSING_PV`.
    pub given_up: bool,
}

#[derive(Debug)]
pub(super) struct MetaLogical {
    pub name: String,
    pub id: Id,
    /// Whether `lvs` lists it. lvm2 `VISIBLE_LV`.
    pub visible: bool,
    /// Sorted by `start`.
    pub segments: Vec<MetaSegment>,
}

#[derive(Debug)]
pub(super) struct MetaSegment {
    /// First extent of the logical volume.
    pub start: u64,
    /// Extents.
    pub count: u64,
    /// `striped`, `thin`, `raid1`, …; flags behind a plus sign.
    pub kind: String,
    pub shape: Shape,
}

/// Where a segment's bytes are.
#[derive(Debug)]
pub(super) enum Shape {
    /// In turn on each of these, `chunk` bytes at a time.
    Stripes { areas: Vec<Area>, chunk: u64 },
    /// A snapshot of `origin`, whose old bytes `store` keeps.
    Snapshot { origin: String, store: String, merging: bool },
    /// Not told here.
    Other,
}

/// One stripe.
#[derive(Debug)]
pub(super) enum Area {
    /// On a physical volume (its index), from this extent on.
    Physical(usize, u64),
    /// On another logical volume.
    Logical(String),
}
