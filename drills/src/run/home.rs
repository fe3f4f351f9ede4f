//! The way home, planned without going it: what fits, what is a conflict, and by which rule.

use super::Run;
use crate::script::stage::{Done, FailbackPlan, VerbError};
use crate::script::{MachineId, VerbOutcome as Outcome};
use engine::convert::{Plan, Refusal};

/// What to do about a conflict, whichever it is.
const CONFLICT: &str = "undo by hand in the Generation 1 machine what it names, or go home from an earlier state of that machine; the copy itself is whole and stays as it is";

impl Run {
    /// Plan the failback of a machine that is off. A way home that is refused is a plan too: one that says why.
    pub(crate) fn plan_home(&self, machine: MachineId) -> Done<(FailbackPlan, String)> {
        self.must_be_off(machine, "plan_failback")?;
        let from = self.machine_of(machine)?;
        let now = from.now()?;
        let name = from.name;
        Ok(match engine::convert::to_gen2(&now, None) {
            Ok(plan) => {
                let line = super::machines::plan_line(&plan);
                (
                    FailbackPlan {
                        machine: name,
                        text: Plan::to_string(&plan),
                        conflicts: vec![],
                        reasons: vec![],
                    },
                    line,
                )
            }
            Err(no) => {
                let line = match (no.conflicts.len(), no.reasons.len()) {
                    (0, n) => format!("refused: {}", counted(n, "reason")),
                    (n, 0) => {
                        format!(
                            "{}; {} would fit",
                            counted(n, "conflict"),
                            counted(no.fits.len(), "operation")
                        )
                    }
                    (n, m) => {
                        format!("{}, and {} against it", counted(n, "conflict"), counted(m, "reason"))
                    }
                };
                let reasons = no.reasons.iter().map(|r| format!("{}: {}", r.id, r.text)).collect();
                let conflicts = no.conflicts.iter().map(ToString::to_string).collect();
                (FailbackPlan { machine: name, text: no.to_string(), conflicts, reasons }, line)
            }
        })
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Judge a plan: conflicts are the drilled system's, other reasons a refusal.
pub(super) fn no_conflicts(plan: &FailbackPlan) -> Done {
    if !plan.conflicts.is_empty() {
        let text = format!("{} cannot go home as it is: {}", plan.machine, plan.conflicts.join("; "));
        return Err(VerbError::new(Outcome::Failed, text).with_next(CONFLICT));
    }
    if !plan.reasons.is_empty() {
        let text = format!("{} cannot go home: {}", plan.machine, plan.reasons.join("; "));
        return Err(VerbError::new(Outcome::Refused, text));
    }
    Ok(())
}

/// A refusal as the end of a verb, with what to do about it.
pub(super) fn refused(refusal: &Refusal) -> VerbError {
    let error = VerbError::new(Outcome::Refused, refusal);
    match refusal.reasons.iter().find(|r| !r.fix.is_empty()) {
        Some(reason) => error.with_next(&reason.fix),
        None if !refusal.conflicts.is_empty() => error.with_next(CONFLICT),
        None => error,
    }
}
