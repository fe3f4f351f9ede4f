//! Kinds of logical volumes. lvm2 lib/metadata/segtype.h.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a logical volume is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are lvm2's")]
pub enum LvKind {
    Linear,
    Striped,
    Thin,
    ThinPool,
    Snapshot,
    Cache,
    WriteCache,
    Raid,
    Mirror,
    Vdo,
    Other,
}

impl LvKind {
    /// By lvm2's name of a segment type. What stands behind a plus sign says that it holds something else than it seems to.
    pub(super) fn of(name: &str) -> LvKind {
        let (base, flagged) = name.split_once('+').map_or((name, false), |(base, _)| (base, true));
        match base {
            "linear" | "striped" if !flagged => LvKind::Linear,
            "thin" => LvKind::Thin,
            "thin-pool" => LvKind::ThinPool,
            "snapshot" => LvKind::Snapshot,
            "cache" | "cache-pool" => LvKind::Cache,
            "writecache" => LvKind::WriteCache,
            "mirror" => LvKind::Mirror,
            "vdo" | "vdo-pool" => LvKind::Vdo,
            _ if base.starts_with("raid") => LvKind::Raid,
            _ => LvKind::Other,
        }
    }
}

impl fmt::Display for LvKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            LvKind::Linear => "linear",
            LvKind::Striped => "striped",
            LvKind::Thin => "thin",
            LvKind::ThinPool => "thin pool",
            LvKind::Snapshot => "snapshot",
            LvKind::Cache => "cached",
            LvKind::WriteCache => "write-cached",
            LvKind::Raid => "RAID",
            LvKind::Mirror => "mirrored",
            LvKind::Vdo => "VDO",
            LvKind::Other => "other",
        })
    }
}
