//! What the logical volumes of a group are to one another.

use super::meta::{Area, Meta, Shape};
use std::collections::{BTreeSet, HashMap};

/// What the snapshots of a group make of its logical volumes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Only ties an origin to a store, or is such a store; nobody sees it.
    Unseen,
    /// Holds what the origin had before; shown as the snapshot.
    Store,
    /// Its bytes are being replaced by those of a snapshot.
    Merging,
}

/// Roles by name; most volumes have none.
pub(super) fn roles(meta: &Meta) -> HashMap<&str, Role> {
    let mut roles = HashMap::new();
    for lv in &meta.logical {
        for segment in &lv.segments {
            if let Shape::Snapshot { origin, store, merging } = &segment.shape {
                roles.insert(lv.name.as_str(), Role::Unseen);
                // lvm2 `lv_is_visible`: a store that is being merged is not shown any more.
                roles.insert(store.as_str(), if *merging { Role::Unseen } else { Role::Store });
                if *merging {
                    roles.insert(origin.as_str(), Role::Merging);
                }
            }
        }
    }
    roles
}

/// Logical volumes that lie on extents which another one, or another segment of it, lies on. lvm2 refuses such a group.
pub(super) fn shared(meta: &Meta) -> BTreeSet<usize> {
    let mut taken = Vec::new();
    for (lv, segment) in (0..).zip(&meta.logical).flat_map(|(i, lv)| lv.segments.iter().map(move |s| (i, s)))
    {
        if let Shape::Stripes { areas, .. } = &segment.shape {
            let count = segment.count / areas.len().max(1) as u64;
            for area in areas {
                if let Area::Physical(physical, from) = area {
                    taken.push((*physical, *from, from.saturating_add(count), lv));
                }
            }
        }
    }
    taken.sort_unstable();
    let mut shared = BTreeSet::new();
    let mut last: Option<(usize, u64, usize)> = None;
    for (physical, from, until, lv) in taken {
        last = match last {
            Some((same, end, other)) if same == physical && from < end => {
                shared.extend([other, lv]);
                Some(if until > end { (same, until, lv) } else { (same, end, other) })
            }
            _ => Some((physical, until, lv)),
        };
    }
    shared
}
