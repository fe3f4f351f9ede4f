//! Resets that belong to a good boot: named by whoever starts the machine, or announced by the guest in words of a known class.

/// Announced resets of one boot that count as expected: a guest that announces one each time is in a loop too.
pub const MAX_ANNOUNCED: u32 = 3;

/// QEMU's events of one reset by the firmware come within this time: it pulls several lines at once (SeaBIOS, src/resume.c, `tryReboot`), and no machine
/// gets anywhere meanwhile.
const SAME_MS: u64 = 20;

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
    firmware: u32,
    /// When the firmware's last one was.
    firmware_at: Option<u64>,
}

impl Expected {
    pub fn named(&mut self, count: u32) {
        self.named = count;
    }

    /// The guest said that it will reset itself, and why.
    pub fn announce(&mut self, why: &'static str) {
        self.announced = Some(why);
    }

    /// The firmware said that it resets the machine once more, for a reset of the guest: SeaBIOS that runs again in the same memory does ("Attempting a
    /// hard reboot"; SeaBIOS, src/resume.c).
    pub fn firmware_resets(&mut self) {
        self.firmware = self.firmware.saturating_add(1);
    }

    /// Whether a reset is the firmware's own. The debug port and QEMU's events come by two ways and may be a whole boot apart: only their number is exact.
    pub fn is_firmwares(&mut self, at_ms: u64) -> bool {
        if self.firmware_at.is_some_and(|last| at_ms.saturating_sub(last) <= SAME_MS) {
            return true;
        }
        let is = self.firmware > 0;
        self.firmware = self.firmware.saturating_sub(1);
        self.firmware_at = is.then_some(at_ms);
        is
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

#[cfg(test)]
mod tests {
    use super::{Expected, SAME_MS};

    #[test]
    fn a_reset_of_the_firmware_may_come_as_several_events() {
        let mut expected = Expected::default();
        assert!(!expected.is_firmwares(3_238));
        expected.firmware_resets();
        // Recorded beside other machines.
        let seen = [3_276, 3_279, 3_279 + SAME_MS, 4_059].map(|at_ms| expected.is_firmwares(at_ms));
        assert_eq!(seen, [true, true, false, false]);
    }
}
