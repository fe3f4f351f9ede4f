//! Looking into a stopped machine's disk: files by their path in the guest, and the layout.

use crate::script::VerbError;
use crate::script::VerbOutcome as Outcome;
use crate::script::stage::Done;
use engine::diff;
use engine::disk::DiskRef;
use engine::guest::{FsPlace, Guest, Inspection, Partition};
use engine::volume::{Journal, VolumeError};
use std::ops::ControlFlow;

/// Where a guest mounts its ESP; the longest match wins.
const ESP_MOUNTS: &[&str] = &["/boot/efi/", "/efi/"];

/// The bytes of `path` in the guest; `None` when there is no such file.
pub(super) fn read(guest: &Guest, path: &str, max: u64) -> Done<Option<Vec<u8>>> {
    let (place, inner) = place(&guest.inspection, path)?;
    let broken = |e: &dyn std::fmt::Display| VerbError::new(Outcome::Broken, format!("{place}: {e}"));
    let volume = guest.volume(&place).ok_or_else(|| broken(&"its file system cannot be opened"))?;
    // An answer from before the journal would be an old answer.
    if let Journal::Unreadable { why } = volume.journal() {
        return Err(VerbError::new(
            Outcome::NotPerformed,
            format!("{path}: the journal of {place} could not be replayed ({why})"),
        )
        .with_next("stop the guest cleanly before reading its files"));
    }
    match volume.read(&inner, max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(VolumeError::NotFound { .. }) => Ok(None),
        Err(e) => Err(broken(&e)),
    }
}

/// The names in a folder of the guest; `None` when there is no such folder.
pub(super) fn names(guest: &Guest, path: &str) -> Done<Option<Vec<String>>> {
    let (place, inner) = place(&guest.inspection, path)?;
    let Some(volume) = guest.volume(&place) else { return Ok(None) };
    let entries = volume.read_dir(&inner).ok();
    Ok(entries.map(|all| all.into_iter().map(|entry| entry.name).collect()))
}

fn place(guest: &Inspection, path: &str) -> Done<(FsPlace, String)> {
    if !path.starts_with('/') {
        return Err(VerbError::new(Outcome::Refused, format!("{path}: wanted a path that starts with /")));
    }
    let none = |what: &str| {
        VerbError::new(Outcome::NotPerformed, format!("{path}: this disk has no {what} to read it from"))
    };
    if let Some(mount) = ESP_MOUNTS.iter().find(|m| path.starts_with(*m)) {
        let esp = guest.esp().ok_or_else(|| none("EFI system partition"))?;
        return Ok((FsPlace::partition(esp.number), format!("/{}", path.trim_start_matches(mount))));
    }
    let os = guest.os.as_ref().ok_or_else(|| none("known system"))?;
    let place = os.place.clone().ok_or_else(|| none("readable root file system"))?;
    Ok((place, format!("{}{path}", os.root)))
}

/// That nothing which matters to starting differs between two disks, each with the name of its machine.
pub(super) fn same_boot(
    (wanted, was): (&str, &DiskRef),
    (found, is): (&str, &DiskRef),
    go_on: &dyn Fn() -> bool,
) -> Done {
    let options = diff::Options { scope: diff::Scope::Boot, ..diff::Options::default() };
    let mut asked = |_| if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let seen = diff::diff(was, is, &options, &mut asked).map_err(|e| {
        let outcome =
            if matches!(e, diff::DiffError::Cancelled) { Outcome::Interrupted } else { Outcome::Broken };
        VerbError::new(outcome, format!("comparing {wanted} (A) with {found} (B): {e}"))
    })?;
    let outcome = match seen.verdict {
        diff::Verdict::Identical | diff::Verdict::Same => return Ok(()),
        diff::Verdict::Different => Outcome::Failed,
        diff::Verdict::Unknown => Outcome::NotPerformed,
    };
    Err(VerbError::new(outcome, format!("from {wanted} to {found}:\n{seen}")))
}

/// How `found` differs from `wanted` in table, partitions, types, ids, places and sizes; empty when it does not.
pub(super) fn layout_differences(wanted: &Inspection, found: &Inspection) -> Vec<String> {
    let mut all = Vec::new();
    let mut differs = |what: String, wanted: String, found: String| {
        if wanted != found {
            all.push(format!("{what}: wanted {wanted}, found {found}"));
        }
    };
    differs(
        "disk length".into(),
        wanted.geometry.len.get().to_string(),
        found.geometry.len.get().to_string(),
    );
    differs(
        "sector size".into(),
        wanted.geometry.sector.bytes().to_string(),
        found.geometry.sector.bytes().to_string(),
    );
    differs("table".into(), wanted.table.kind.to_string(), found.table.kind.to_string());
    differs("disk id".into(), format!("{:?}", wanted.table.disk_id), format!("{:?}", found.table.disk_id));
    differs(
        "number of partitions".into(),
        wanted.partitions.len().to_string(),
        found.partitions.len().to_string(),
    );
    for (w, f) in wanted.partitions.iter().zip(&found.partitions) {
        let shape = |p: &Partition| {
            let fs = p.fs.as_ref().map(|fs| format!("{} {}", fs.kind, fs.uuid.as_deref().unwrap_or("-")));
            format!(
                "{} {} at {} of {} bytes, {}",
                p.type_id,
                p.part_uuid.as_deref().unwrap_or("-"),
                p.at,
                p.len.get(),
                fs.unwrap_or_else(|| "no file system".into())
            )
        };
        differs(format!("partition {}", w.number), shape(w), shape(f));
    }
    all
}
