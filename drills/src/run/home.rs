//! The way home, planned without going it: what fits, what is a conflict, and by which rule.

use super::Run;
use crate::script::stage::{Done, FailbackPlan, VerbError};
use crate::script::{MachineId, VerbOutcome as Outcome};
use engine::convert::Refusal;

impl Run {
    /// Plan the failback of a machine that is off. A way home that is refused is a plan too: one that says why.
    pub(crate) fn plan_home(&self, machine: MachineId) -> Done<(FailbackPlan, String)> {
        self.must_be_off(machine, "plan_failback")?;
        let from = self.machine_of(machine)?;
        let now = from.now()?;
        let (text, line, refusal) = match engine::convert::to_gen2(&now, None) {
            Ok(plan) => (plan.to_string(), super::machines::plan_line(&plan), None),
            Err(refusal) => (refusal.to_string(), summary(&refusal), Some(refusal)),
        };
        Ok((FailbackPlan { machine: from.name, text, refusal }, line))
    }
}

fn summary(no: &Refusal) -> String {
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (conflicts, reasons) = (no.conflicts.len(), no.reasons.len());
    match (counted(conflicts, "conflict"), counted(reasons, "reason")) {
        (_, reasons) if conflicts == 0 => format!("refused: {reasons}"),
        (conflicts, _) if reasons == 0 => {
            format!("{conflicts}; {} would fit", counted(no.fits.len(), "operation"))
        }
        (conflicts, reasons) => format!("{conflicts}, and {reasons} against it"),
    }
}

/// Judge a plan: conflicts are the drilled system's, other reasons a refusal.
pub(super) fn no_conflicts(plan: &FailbackPlan) -> Done {
    let (Some(no), name) = (&plan.refusal, &plan.machine) else { return Ok(()) };
    let (outcome, text) = if no.conflicts.is_empty() {
        let reasons: Vec<String> = no.reasons.iter().map(|r| format!("{}: {}", r.id, r.text)).collect();
        (Outcome::Refused, format!("{name} cannot go home: {}", reasons.join("; ")))
    } else {
        let conflicts: Vec<String> = no.conflicts.iter().map(ToString::to_string).collect();
        (Outcome::Failed, format!("{name} cannot go home as it is: {}", conflicts.join("; ")))
    };
    Err(with_next(VerbError::new(outcome, text), no))
}

/// A refusal as the end of a verb, with what to do about it.
pub(super) fn refused(refusal: &Refusal) -> VerbError {
    with_next(VerbError::new(Outcome::Refused, refusal), refusal)
}

fn with_next(error: VerbError, refusal: &Refusal) -> VerbError {
    match refusal.next() {
        Some(next) => error.with_next(next),
        None => error,
    }
}
