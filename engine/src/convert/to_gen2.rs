//! Back to UEFI: undo what the capsule records, keep what the guest wrote.

use super::plan::{Direction, Plan, Refusal, Strategy};
use super::{Capsule, Conflict, LowerError, Patch};
use crate::disk::DiskRef;
use crate::table::gpt::Gpt;

/// Plan the way back. `now` is the disk as the guest left it; the capsule is the one given (a file kept beside the disk), else the one on
/// the disk. Without one, a disk that was never Generation 2 becomes it anew, out of what the guest itself has. Only reads.
///
/// # Errors
/// [`Refusal`]: no capsule though there was one, something that a new one lacks, another length, or [`Refusal::conflicts`] where the guest has changed what would have to be undone.
pub fn to_gen2(now: &DiskRef, capsule: Option<&Capsule>) -> Result<Plan, Refusal> {
    let fail = |e: LowerError| Refusal::one(Direction::ToGen2, "unreadable", e.to_string(), "");
    let on_disk = Capsule::find(now.as_ref()).map_err(|e| fail(e.into()))?;
    let mut notes = Vec::new();
    let capsule = match (capsule, on_disk) {
        (Some(given), on_disk) => {
            match on_disk {
                Some(found) if found != *given => {
                    notes.push("the capsule on the disk is another one; the given one is used".into())
                }
                None => notes.push("the capsule on the disk is gone; the given one is used".into()),
                Some(_) => {}
            }
            given.clone()
        }
        (None, Some(found)) => found,
        (None, None) => return super::anew::plan(now),
    };
    if now.geometry() != capsule.to {
        let (is, wanted) = (now.geometry(), capsule.to);
        let text = format!(
            "The disk is {} bytes in sectors of {}, the conversion left {} bytes in sectors of {}.",
            is.len.get(),
            is.sector.bytes(),
            wanted.len.get(),
            wanted.sector.bytes()
        );
        return Err(Refusal::one(
            Direction::ToGen2,
            "other-length",
            text,
            "Bring the disk back to that length first.",
        ));
    }
    let mut ops = Vec::new();
    let mut no = Refusal::new(Direction::ToGen2);
    for undo in &capsule.undo {
        match undo.resolve(now).map_err(fail)? {
            Ok(op) => ops.extend(op),
            Err(conflict) => no.conflicts.push(conflict),
        }
    }
    if !no.is_empty() {
        no.fits = ops.iter().map(super::report::line_of).collect();
        return Err(no);
    }
    // LBA 0 last, for a change in place; a stable sort keeps the rest in order.
    ops.sort_by_key(|op| match op {
        super::Op::Raw { at, .. } => at.get() < 512,
        super::Op::Table { changes, .. } => changes.iter().any(|c| c.at.get() < 512),
        _ => false,
    });
    let patch = Patch { from: capsule.to, to: capsule.from, ops };
    check_result(now, &patch)?;
    let kept = "kept: all that the guest wrote to its partitions".to_string();
    let back =
        format!("put back: {} places, the disk returns to {} bytes", patch.ops.len(), patch.to.len.get());
    Ok(Plan {
        direction: Direction::ToGen2,
        guest: capsule.guest.clone(),
        strategy: Strategy::Undo,
        why: format!(
            "the capsule of {} says what was replaced, and nothing else was written there",
            capsule.tool
        ),
        patch,
        failback: vec![back, kept],
        notes,
        not_atomic: Vec::new(),
        capsule: None,
    })
}

/// The result must have a sound GPT: behind a real MBR it lay unused, and the guest may have written over it.
fn check_result(now: &DiskRef, patch: &Patch) -> Result<(), Refusal> {
    let fail = |e: &dyn std::fmt::Display| Refusal::one(Direction::ToGen2, "unreadable", e.to_string(), "");
    let result = patch.apply(now).map_err(|e| fail(&e))?;
    let found = match Gpt::parse(result.as_ref()) {
        Ok(Some(gpt)) if gpt.is_sound() => return Ok(()),
        Ok(Some(gpt)) => {
            let odd: Vec<String> = gpt.findings.iter().map(ToString::to_string).collect();
            format!("primary: {}; backup: {}; {}", gpt.primary.verdict, gpt.backup.verdict, odd.join("; "))
        }
        Ok(None) => "there is none".to_string(),
        Err(e) => e.to_string(),
    };
    let mut no = Refusal::new(Direction::ToGen2);
    no.conflicts.push(Conflict {
        what: "the GPT".into(),
        place: "both copies".into(),
        rule: "the original table must still be sound when it comes back into force".into(),
        found,
    });
    Err(no)
}
