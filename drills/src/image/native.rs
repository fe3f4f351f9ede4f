//! A qcow2 on top of a VHD or VHDX: what `drill convert --child` makes of Hyper-V's disks, and children of those. The engine reads all the files itself, so a
//! base that QEMU refuses or misreads is read all the same.

use super::{chain, names};
use engine::container::qcow2::{check_whole, facts, open_on};
use engine::container::{Format, Gate, OpenError, Opened, open_through};
use engine::disk::SourceFile;
use std::sync::Arc;

/// Most qcow2 files one upon another. What is deeper is left to the other reader, which knows loops and its own bound.
const DEPTH_MAX: usize = 16;

/// Open this qcow2; `None` when no VHD or VHDX is under it.
///
/// # Errors
/// [`OpenError`]: its name for the base is not granted, the base is not what it should be, or one of them is damaged.
pub(super) fn open(source: &Arc<SourceFile>, gate: &Gate) -> Result<Option<Opened>, OpenError> {
    open_at(source, gate, DEPTH_MAX)
}

fn open_at(source: &Arc<SourceFile>, gate: &Gate, depth: usize) -> Result<Option<Opened>, OpenError> {
    let Some(backing) = facts(source)?.backing else { return Ok(None) };
    match backing.format.as_deref() {
        Some("vpc" | "vhdx") => {}
        Some("qcow2") if depth > 0 => {}
        _ => return Ok(None),
    }
    let found = names::open(gate, source, "backing file", &backing.name)?;
    let base = match chain::backing_format(source, &backing, &found)? {
        Format::Qcow2 => open_at(&found, gate, depth.saturating_sub(1))?,
        format => Some(hyper_v(&found, format, gate)?),
    };
    let Some(base) = base else { return Ok(None) };
    check_whole(source)?;
    open_on(source, base).map(Some)
}

/// Opened a second time by its name, for its own parents: it must be the file that was granted.
fn hyper_v(found: &SourceFile, format: Format, gate: &Gate) -> Result<Opened, OpenError> {
    let base = open_through(found.path(), Some(format), gate)?;
    let id = |file: &SourceFile| (file.identity().dev, file.identity().inode);
    if base.sources.first().is_none_or(|s| id(s) != id(found)) {
        let next = "try again when nobody moves files there";
        return Err(chain::refused(found, "was replaced by another file while it was opened", next));
    }
    Ok(base)
}
