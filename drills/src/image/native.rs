//! A qcow2 on top of a VHD or VHDX: what `drill convert --child` makes of Hyper-V's disks, and children of those. The engine reads all the files itself, so a
//! base that QEMU refuses or misreads is read all the same.

use super::{chain, names};
use engine::container::qcow2::{check_whole, facts, open_on};
use engine::container::{Format, Gate, OpenError, Opened, detect, open_through};
use engine::disk::SourceFile;
use std::path::Path;
use std::sync::Arc;

/// Most qcow2 files one upon another. What is deeper is left to the other reader, which knows loops and its own bound.
const DEPTH_MAX: usize = 16;

/// Open it; `None` when it is something else.
///
/// # Errors
/// [`OpenError`]: its name for the base is not granted, the base is not what it should be, or one of them is damaged.
pub(super) fn open(path: &Path, format: Option<Format>, gate: &Gate) -> Result<Option<Opened>, OpenError> {
    let source = Arc::new(SourceFile::open(path)?);
    let format = format.map_or_else(|| detect(&source), Ok)?;
    if format == Format::Qcow2 { qcow2(&source, gate, DEPTH_MAX) } else { Ok(None) }
}

fn qcow2(source: &Arc<SourceFile>, gate: &Gate, depth: usize) -> Result<Option<Opened>, OpenError> {
    let Some(backing) = facts(source)?.backing else { return Ok(None) };
    let format = match backing.format.as_deref() {
        Some("vpc" | "vhdx") => None,
        Some("qcow2") if depth > 0 => Some(Format::Qcow2),
        _ => return Ok(None),
    };
    let found = names::open(gate, source, "backing file", &backing.name)?;
    let recorded = chain::backing_format(source, &backing, &found)?;
    let base = match format {
        Some(_) => match qcow2(&found, gate, depth.saturating_sub(1))? {
            Some(base) => base,
            None => return Ok(None),
        },
        None => hyper_v(&found, recorded, gate)?,
    };
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
