//! From what was seen to an answer.

use super::pattern::{LAB_TIMER, Means, Pattern};
use super::{Attempt, Evidence, Ladder, MAX_ATTEMPTS, READY_HOLD_MS, Reached, Rung, SETTLE_MS, Source};
use crate::log::MAX_LOG;
use serde::Serialize;

/// Why a boot stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable name: the row of [`PATTERNS`](super::PATTERNS), or `power-off`, `reset-loop`, `no-progress`, `serial-flood`,
    /// `boot-code-silent`, `guest-panicked`, `crash-kernel`, `watchdog`, `halted`, `stalled`.
    pub id: String,
    /// In a reader's words.
    pub text: String,
    /// What to look at next.
    pub next: String,
    #[serde(skip)]
    pub(super) at: Rung,
    #[serde(skip)]
    pub(super) terminal: bool,
    #[serde(skip)]
    pub(super) weight: u8,
    /// It waits for somebody: this long without a move, and nobody comes.
    #[serde(skip)]
    pub(super) patience_ms: Option<u64>,
}

impl Cause {
    pub(super) fn of(row: &Pattern) -> Self {
        let (at, terminal, weight, patience_ms) = match row.means {
            Means::Cause { at, terminal, weight } => (at, terminal, weight, None),
            Means::Waits { at, patience_ms } => (at, false, 1, Some(patience_ms)),
            Means::Reached(at) | Means::WillReset(at) => (at, false, 0, None),
            Means::FirmwareResets => (Rung::Firmware, false, 0, None),
        };
        let (id, text, next) = (row.id.into(), row.text.into(), row.next.into());
        Self { id, text, next, at, terminal, weight, patience_ms }
    }

    pub(super) fn made(id: &str, text: String, next: &str, at: Rung) -> Self {
        Self { id: id.into(), text, next: next.into(), at, terminal: true, weight: 1, patience_ms: None }
    }

    pub(super) fn boot_code_silent(at: Rung) -> Self {
        let text = "the boot code was started and showed nothing, on the screen or on the serial port";
        let next = "does LBA 0 hold boot code, and not only a partition table?";
        Self::made("boot-code-silent", text.to_owned(), next, at)
    }
}

/// What a wait ended in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// What was expected was seen and held.
    Ready {
        /// What showed it.
        evidence: Evidence,
    },
    /// The guest did not get there.
    Stopped {
        /// The last rung.
        at: Rung,
        /// Why.
        why: Cause,
        /// The line that says so; of a wait that ran out, the last line.
        evidence: Option<Evidence>,
    },
    /// The loader was started, and what would show more of the guest cannot be seen: no answer, not a failure of the guest.
    Unseen {
        /// What was seen, and what not.
        what: String,
        /// What would make it visible.
        hint: String,
    },
    /// QEMU or the host failed: no answer.
    Broken {
        /// How.
        reason: String,
    },
    /// The wait was called off.
    Cancelled,
}

/// How far a boot came, and by what that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What the wait ended in.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Each start and reset, oldest first; of a machine in a loop the first and the last ones.
    pub attempts: Vec<Attempt>,
    /// Milliseconds from the machine's start to this verdict.
    pub took_ms: u64,
}

impl Verdict {
    /// Whether the guest got ready.
    pub fn is_ready(&self) -> bool {
        matches!(self.outcome, Outcome::Ready { .. })
    }
}

/// Why a wait ends without the ladder having decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The deadline passed.
    Deadline,
    /// It was called off.
    Cancelled,
    /// QEMU ended or stopped executing by itself.
    Gone(String),
}

impl Ladder {
    /// The verdict, if waiting longer would not change it.
    pub fn decided(&self, now_ms: u64) -> Option<Verdict> {
        let attempt = self.last()?;
        let found = worst(attempt);
        let ready = attempt.reached.iter().find(|r| r.rung == Rung::Ready);
        let terminal = found.is_some_and(|_| attempt.causes.iter().any(|(c, _)| c.terminal));
        if let Some(ready) = ready
            && !terminal
            && self.powered_off.is_none()
        {
            let held = now_ms.saturating_sub(ready.evidence.at_ms) >= READY_HOLD_MS;
            return held.then(|| self.verdict(Outcome::Ready { evidence: ready.evidence.clone() }, now_ms));
        }
        if let Some(evidence) = &self.powered_off {
            let at = attempt.highest().unwrap_or(Rung::Firmware);
            let (why, evidence) = match found {
                Some((cause, evidence)) => (cause.clone(), evidence.clone()),
                None => {
                    let text = "the guest powered off before it was ready".to_owned();
                    (Cause::made("power-off", text, "the last lines of the console", at), evidence.clone())
                }
            };
            return Some(self.verdict(Outcome::Stopped { at, why, evidence: Some(evidence) }, now_ms));
        }
        if let (true, Some((why, evidence))) = (terminal, found) {
            let last = attempt.causes.iter().map(|(_, e)| e.at_ms).max().unwrap_or(0).max(self.progress_ms);
            let at = attempt.highest().unwrap_or(why.at);
            let outcome = Outcome::Stopped { at, why: why.clone(), evidence: Some(evidence.clone()) };
            return (now_ms.saturating_sub(last) >= SETTLE_MS).then(|| self.verdict(outcome, now_ms));
        }
        if let Some(outcome) = self.stalled(attempt, now_ms) {
            return Some(self.verdict(outcome, now_ms));
        }
        (self.resets >= MAX_ATTEMPTS).then(|| {
            let (highest, found) = self
                .attempts
                .iter()
                .map(|a| (a.highest(), worst(a)))
                .max_by_key(|(highest, _)| *highest)
                .unwrap_or((None, None));
            let at = highest.unwrap_or(Rung::Firmware);
            let text = format!("the guest reset itself {} times without getting ready", self.resets);
            let evidence = found.map(|(_, e)| e.clone());
            let why = Cause::made("reset-loop", text, "the last lines before the first reset", at);
            self.verdict(Outcome::Stopped { at, why, evidence }, now_ms)
        })
    }

    /// The verdict of a wait that ends now because of `end`.
    pub fn judge(&self, end: End, now_ms: u64) -> Verdict {
        if let Some(verdict) = self.decided(now_ms) {
            return verdict;
        }
        let outcome = match end {
            End::Cancelled => Outcome::Cancelled,
            End::Gone(reason) => Outcome::Broken { reason: self.host.clone().unwrap_or(reason) },
            End::Deadline => self.ran_out(now_ms),
        };
        self.verdict(outcome, now_ms)
    }

    fn ran_out(&self, now_ms: u64) -> Outcome {
        let Some((attempt, at)) = self.last().and_then(|a| Some((a, a.highest()?))) else {
            return Outcome::Broken {
                reason: "not even the firmware was heard before the deadline".to_owned(),
            };
        };
        if let Some((why, evidence)) = worst(attempt) {
            return Outcome::Stopped { at, why: why.clone(), evidence: Some(evidence.clone()) };
        }
        if self.flood {
            let text = format!("the guest flooded a serial port: more than {} MiB", MAX_LOG / (1 << 20));
            let why = Cause::made("serial-flood", text, "what it says again and again", at);
            return Outcome::Stopped { at, why, evidence: attempt.lines().last().cloned() };
        }
        if at == Rung::Loader
            && let Some(evidence) = silent(attempt)
        {
            return Outcome::Stopped {
                at,
                why: Cause::boot_code_silent(at),
                evidence: Some(evidence.clone()),
            };
        }
        if at == Rung::Loader {
            let hint = "the loader was started and nothing was seen after it: add console=ttyS0 to the kernel \
                        command line, or look at the screenshot";
            let what = "nothing could be seen after the loader".to_owned();
            return Outcome::Unseen { what, hint: hint.to_owned() };
        }
        if let Some(unseen) = screen_alone(attempt) {
            return unseen;
        }
        let last = attempt.lines().last().cloned();
        let quiet = now_ms.saturating_sub(last.as_ref().map_or(self.progress_ms, |l| l.at_ms)) / 1_000;
        let text = format!("the deadline passed; the last line came {quiet} s before it");
        let why = Cause::made("no-progress", text, "the last lines of the console, or a longer deadline", at);
        Outcome::Stopped { at, why, evidence: last }
    }

    fn verdict(&self, outcome: Outcome, took_ms: u64) -> Verdict {
        // What the host did to the guest is no answer about the guest.
        let outcome = match outcome {
            Outcome::Stopped { why, .. } if why.id == LAB_TIMER => Outcome::Broken { reason: why.text },
            Outcome::Stopped { at, why, .. } if self.host.is_some() => {
                let host = self.host.as_deref().unwrap_or_default();
                let reason =
                    format!("{host}; what the guest did ({at:?}: {}) is no answer about it", why.text);
                Outcome::Broken { reason }
            }
            Outcome::Unseen { hint, .. } if self.host.is_some() => {
                let host = self.host.as_deref().unwrap_or_default();
                Outcome::Broken { reason: format!("{host}; and {hint}") }
            }
            other => other,
        };
        Verdict { outcome, attempts: self.attempts().to_vec(), took_ms }
    }
}

/// The BIOS's last words, if the screen is text that was read and still ends with them, and nothing came by wire.
pub(super) fn silent(attempt: &Attempt) -> Option<&Evidence> {
    let heard = attempt.lines().any(|l| matches!(l.source, Source::Serial | Source::Serial2));
    let last = attempt.lines().filter(|l| l.source == Source::Screen).last()?;
    (attempt.text_screen && !heard && last.line.starts_with("Booting from ")).then_some(last)
}

/// A system that is known by its screen, and no serial port said a word since: it may be ready where nobody sees it.
pub(super) fn screen_alone(attempt: &Attempt) -> Option<Outcome> {
    let known = |r: &&Reached| r.rung >= Rung::Kernel && r.evidence.source == Source::Screen;
    let first = attempt.reached.iter().find(known)?;
    let mut since = attempt.lines().filter(|l| l.at_ms >= first.evidence.at_ms);
    if since.any(|l| matches!(l.source, Source::Serial | Source::Serial2)) {
        return None;
    }
    let what = "the system's messages stand on the screen alone, and nothing there shows that it is ready";
    let hint = "add console=ttyS0 to the kernel command line, let the guest show a login prompt on its screen, or wait for what it \
                does show there (wait_screen); the last screen is kept";
    Some(Outcome::Unseen { what: what.to_owned(), hint: hint.to_owned() })
}

/// The cause that explains the others: the heaviest, of equals the first.
pub(super) fn worst(attempt: &Attempt) -> Option<&(Cause, Evidence)> {
    attempt.causes.iter().rev().max_by_key(|(cause, _)| cause.weight)
}
