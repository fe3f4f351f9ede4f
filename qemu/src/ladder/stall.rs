//! When a boot has come to a standstill. Silence alone says little: a sound guest may think for minutes. So a standstill is called only when nothing at
//! all moved (no byte on a serial or debug port, the screen stands, no request to a disk) for as long as what runs there is allowed to think.
//!
//! | what the processors run | what is known | allowed |
//! |---|---|---|
//! | nothing, for ever | | [`DEAD_MS`] |
//! | firmware or a loader | it waits for a key or a word | what the row of [`PATTERNS`](super::PATTERNS) says |
//! | firmware or a loader | a cause | [`LOADER_CAUSE_MS`] |
//! | firmware or a loader | nothing | [`LOADER_MS`] |
//! | a system | it waits for a word | what the row says |
//! | a system | a cause | [`SYSTEM_CAUSE_MS`] |
//! | a system | nothing | [`SYSTEM_MS`] |

use super::verdict::{Cause, screen_alone, silent, worst};
use super::{Attempt, Evidence, Expect, Ladder, Outcome};
use crate::cpus::Running;

/// Every processor has halted with interrupts off: only our next looks are waited for.
pub const DEAD_MS: u64 = 6_000;
/// GRUB waits 10 s for a key after an error and then goes on to something that shows; a hidden menu may hide for 30 s.
pub const LOADER_CAUSE_MS: u64 = 45_000;
/// A loader that has no complaint may sleep or derive a key.
pub const LOADER_MS: u64 = 90_000;
/// systemd gives a unit 90 s, and what comes after it another while.
pub const SYSTEM_CAUSE_MS: u64 = 180_000;
/// The longest silence of a sound system that we know of: five minutes for a network that does not come.
pub const SYSTEM_MS: u64 = 600_000;
/// Looks that must agree: a QEMU that gets no time of the host, or does not answer, is not looked at.
pub const LOOKS: u32 = 4;

/// Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Still {
    /// Since when, milliseconds since the machine's start.
    pub since_ms: u64,
    /// Looks that found it so.
    pub looks: u32,
    /// What the processors ran at the last of them.
    pub running: Running,
}

impl Ladder {
    /// Says that nothing has moved, or (`None`) that something has.
    pub fn still(&mut self, still: Option<Still>) {
        self.still = still;
    }

    /// What a standstill ends in, once it has lasted long enough.
    pub(super) fn stalled(&self, attempt: &Attempt, now_ms: u64) -> Option<Outcome> {
        let still = self.still.filter(|s| s.looks >= LOOKS)?;
        let at = attempt.highest()?;
        let for_ms = now_ms.saturating_sub(still.since_ms);
        if for_ms < self.allowance(attempt, still.running)? {
            return None;
        }
        let last = attempt.lines().last().cloned();
        let stopped =
            |why: &Cause, evidence: Option<Evidence>| Outcome::Stopped { at, why: why.clone(), evidence };
        if let Some((why, evidence)) = worst(attempt) {
            return Some(stopped(why, Some(evidence.clone())));
        }
        if let Some(evidence) = silent(attempt) {
            return Some(stopped(&Cause::boot_code_silent(at), Some(evidence.clone())));
        }
        if let Some(unseen) = screen_alone(attempt).filter(|_| still.running == Running::System) {
            return Some(unseen);
        }
        let seconds = for_ms / 1_000;
        Some(match still.running {
            Running::Dead => {
                let text = "every processor has halted and takes no interrupt: nothing can wake the guest";
                stopped(&Cause::made("halted", text.to_owned(), "the last lines, and the screen", at), last)
            }
            running => {
                let what =
                    if running == Running::System { "a system runs" } else { "firmware or a loader runs" };
                let text = format!(
                    "nothing moved for {seconds} s: no byte on a serial port, no change of the screen, no request to a disk; {what}"
                );
                stopped(&Cause::made("stalled", text, "the screen: what does it wait for?", at), last)
            }
        })
    }

    fn allowance(&self, attempt: &Attempt, running: Running) -> Option<u64> {
        let waits = attempt.causes.iter().filter_map(|(cause, _)| cause.patience_ms).max();
        let known = worst(attempt).is_some() || silent(attempt).is_some();
        match running {
            Running::Unknown => None,
            Running::Dead => Some(DEAD_MS),
            Running::BeforeSystem if known => Some(waits.unwrap_or(LOADER_CAUSE_MS)),
            Running::BeforeSystem => Some(LOADER_MS),
            Running::System if known => Some(waits.unwrap_or(SYSTEM_CAUSE_MS)),
            // Who waits for a text of his own knows how long it may take.
            Running::System => (self.expect == Expect::Ready).then_some(SYSTEM_MS),
        }
    }
}
