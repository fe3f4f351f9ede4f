//! Resets that belong to a good boot: named by whoever starts the machine, or announced by the guest in words of a known class.

use super::Rung;

/// Announced resets of one boot that count as expected: a guest that announces one each time is in a loop too.
pub const MAX_ANNOUNCED: u32 = 3;

/// The firmware's own reset comes within some 100 ms.
const FOLD_MS: u64 = 1_000;

/// A reset that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Whether it belongs to a good boot.
    pub expected: bool,
    /// Why it does, or that nobody expected it.
    pub reason: &'static str,
}

/// Which resets are expected, and what the last one was.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    named: u32,
    announced: Option<&'static str>,
    by_class: u32,
    last: Option<Reset>,
    count: usize,
    folded: bool,
}

impl Expected {
    pub fn named(&mut self, count: u32) {
        self.named = count;
    }

    /// The guest said that it will reset itself, and why.
    pub fn announce(&mut self, why: &'static str) {
        self.announced = Some(why);
    }

    /// Whether a reset belongs to the one before it, `after_ms` ago: SeaBIOS that runs again in the same memory resets the machine once more
    /// ("Attempting a hard reboot"; SeaBIOS, src/resume.c). QEMU's events and the debug port come by two ways, so what the firmware said may be here first.
    pub fn folds(&mut self, reached: Option<Rung>, after_ms: u64) -> bool {
        let firmware = reached.is_none_or(|rung| rung <= Rung::Firmware);
        self.folded = self.count > 0 && firmware && after_ms < FOLD_MS && !self.folded;
        self.folded
    }

    /// Takes a reset; the answer is whether it was expected.
    pub fn reset(&mut self) -> bool {
        self.count = self.count.saturating_add(1);
        let reason = match self.announced.take().filter(|_| self.by_class < MAX_ANNOUNCED) {
            Some(why) => {
                self.by_class = self.by_class.saturating_add(1);
                Some(why)
            }
            None if self.named > 0 => {
                self.named = self.named.saturating_sub(1);
                Some("the scenario expects it")
            }
            None => None,
        };
        let (expected, reason) = (reason.is_some(), reason.unwrap_or("the guest reset itself"));
        self.last = Some(Reset { expected, reason });
        expected
    }

    /// Resets so far.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn last(&self) -> Option<&Reset> {
        self.last.as_ref()
    }
}
