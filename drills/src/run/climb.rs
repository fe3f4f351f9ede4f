//! What a boot's observations are worth as events: each rung and reset once, and a bounded number of them.

use super::boots::event_evidence;
use crate::event::{How, Kind};
use qemu::ladder::{Certainty, Ladder};
use qemu::{Observation, Redactor};

/// Resets of one start that are told; a guest that resets for ever must not fill the journal.
const MAX_RESETS_TOLD: usize = 20;

/// Emits a rung when it is first reached, from the same observations that the machine's own ladder sees.
pub(super) struct Climb {
    redactor: Redactor,
    ladder: Ladder,
    told: Vec<(usize, qemu::Rung)>,
    resets: usize,
}

impl Climb {
    /// Before the first observation of a start in which so many resets are expected.
    pub(super) fn new(resets: u32, redactor: Redactor) -> Self {
        let mut ladder = Ladder::default();
        ladder.expect_resets(resets);
        Climb { redactor, ladder, told: Vec::new(), resets: 0 }
    }

    /// The events that this observation is worth.
    pub(super) fn news(&mut self, machine: &str, boot: u32, seen: &Observation) -> Vec<Kind> {
        let mut news = Vec::new();
        let served = self.ladder.host_trouble().is_none();
        self.ladder.observe(seen);
        if let (true, Some(how)) = (served, self.ladder.host_trouble()) {
            news.push(Kind::Note { text: format!("{machine}: {how}") });
        }
        if self.ladder.resets() > self.resets {
            self.resets = self.ladder.resets();
            self.told.clear();
            if self.resets > MAX_RESETS_TOLD {
                return news;
            }
            let (expected, reason) = self.ladder.last_reset().map_or((false, ""), |r| (r.expected, r.reason));
            let reason = reason.to_owned();
            news.push(Kind::Reset { machine: machine.into(), boot, expected, reason, at_ms: seen.at_ms });
            if self.resets == MAX_RESETS_TOLD {
                let text = format!(
                    "{machine} has reset itself {MAX_RESETS_TOLD} times; what it does from here on is not told reset by reset"
                );
                news.push(Kind::Note { text });
            }
        }
        if self.resets >= MAX_RESETS_TOLD {
            return news;
        }
        let Some(attempt) = self.ladder.attempts().last() else { return news };
        for reached in &attempt.reached {
            let key = (self.resets, reached.rung);
            if self.told.contains(&key) {
                continue;
            }
            self.told.push(key);
            news.push(Kind::Rung {
                machine: machine.into(),
                boot,
                attempt: u32::try_from(self.resets).unwrap_or(u32::MAX).saturating_add(1),
                rung: reached.rung.into(),
                how: match reached.certainty {
                    Certainty::Observed => How::Observed,
                    Certainty::Implied => How::Implied,
                },
                at_ms: reached.evidence.at_ms,
                evidence: Some(event_evidence(&self.redactor, &reached.evidence)),
            });
        }
        news
    }
}
