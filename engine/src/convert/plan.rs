//! What would be done to a disk, and why; or why nothing can be.

use super::{Capsule, Conflict, Patch};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From UEFI to BIOS: failover.
    ToGen1,
    /// Back: failback.
    ToGen2,
}

/// How it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// GRUB beside an unchanged GPT.
    KeepGpt,
    /// GRUB beside a real MBR; the GPT stays behind it, unused.
    RealMbr,
    /// The disk starts under a BIOS as it is.
    AsItIs,
    /// Undo what the capsule records.
    Undo,
    /// A GPT, an ESP and a loader for a disk that never had them.
    Anew,
}

/// A plan. Nothing has been done yet; [`super::lower`] turns its patch into writes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which way.
    pub direction: Direction,
    /// What is installed.
    pub guest: String,
    /// How.
    pub strategy: Strategy,
    /// Why so.
    pub why: String,
    /// The operations.
    pub patch: Patch,
    /// What failback will put back, and what it will keep.
    pub failback: Vec<String>,
    /// What one should know.
    pub notes: Vec<String>,
    /// What would not be atomic if the disk were changed in place; a child or an export is always whole.
    pub not_atomic: Vec<String>,
    /// What failback needs; also on the disk itself. For a file beside the result.
    pub capsule: Option<Capsule>,
}

/// Why there is no plan: all reasons at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// What was asked for.
    pub direction: Direction,
    /// Each reason, worst first.
    pub reasons: Vec<RefusalReason>,
    /// What the guest has changed where failback would have to.
    pub conflicts: Vec<Conflict>,
    /// Beside conflicts: what could be put back all the same, a line each. It is not put back alone.
    #[serde(default)]
    pub fits: Vec<String>,
}

/// One reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusalReason {
    /// Stable name of the rule.
    pub id: String,
    /// The reason as a sentence.
    pub text: String,
    /// What to do; empty when nothing can be done.
    pub fix: String,
}

/// What to do about a conflict, whichever it is.
const CONFLICT: &str = "nothing was written; undo by hand in the Generation 1 machine what the conflict names, or convert an earlier state of it";

impl Refusal {
    pub(super) fn new(direction: Direction) -> Refusal {
        Refusal { direction, reasons: Vec::new(), conflicts: Vec::new(), fits: Vec::new() }
    }

    pub(super) fn one(
        direction: Direction,
        id: &str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Refusal {
        let mut refusal = Refusal::new(direction);
        refusal.add(id, text, fix);
        refusal
    }

    pub(super) fn add(&mut self, id: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.reasons.push(RefusalReason { id: id.to_string(), text: text.into(), fix: fix.into() });
    }

    /// Take over what `result` refuses, else its value.
    pub(super) fn hold<T>(&mut self, result: Result<T, Refusal>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(other) => {
                self.reasons.extend(other.reasons);
                self.conflicts.extend(other.conflicts);
                self.fits.extend(other.fits);
                None
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reasons.is_empty() && self.conflicts.is_empty()
    }

    pub(super) fn or_ok(self) -> Result<(), Refusal> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// What to do about it, where something can be done.
    pub fn next(&self) -> Option<&str> {
        let fix = self.reasons.iter().map(|r| r.fix.as_str()).find(|fix| !fix.is_empty());
        fix.or_else(|| (!self.conflicts.is_empty()).then_some(CONFLICT))
    }

    /// Whether a reason of this id is among them.
    pub fn has(&self, id: &str) -> bool {
        self.reasons.iter().any(|r| r.id == id)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::ToGen1 => "Generation 2 to Generation 1",
            Direction::ToGen2 => "Generation 1 to Generation 2",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no plan from {}:", self.direction)?;
        for reason in &self.reasons {
            write!(f, "\n  {}: {}", reason.id, reason.text)?;
            if !reason.fix.is_empty() {
                write!(f, "\n    {}", reason.fix)?;
            }
        }
        for Conflict { what, place, rule, found } in &self.conflicts {
            write!(f, "\n  conflict: {what} ({place})\n    rule:   {rule}\n    found:  {found}")?;
        }
        if !self.fits.is_empty() {
            write!(f, "\n  what fits still, but is not put back alone:")?;
        }
        for line in &self.fits {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}
