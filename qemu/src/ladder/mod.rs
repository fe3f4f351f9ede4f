//! How far a boot came. Observations go in, rungs and causes are kept for each attempt, a verdict comes out. Pure: time
//! is a number of milliseconds since the machine's start that the caller gives.

mod pattern;
mod resets;
pub mod stall;
#[cfg(test)]
mod tests;
mod verdict;
mod wrapped;

pub use pattern::{Means, Needle, PATTERNS, Pattern};
pub use resets::Reset;
pub use stall::Still;
pub use verdict::{Cause, End, Outcome, Verdict};

use serde::Serialize;
use std::collections::VecDeque;

/// `ready` counts when nothing contradicted it for this long, ms.
pub const READY_HOLD_MS: u64 = 1_000;
/// A terminal cause ends the wait after this long without progress, ms.
pub const SETTLE_MS: u64 = 3_000;
/// A machine that resets this often without getting ready is in a loop.
pub const MAX_ATTEMPTS: usize = 5;
/// Lines kept of one attempt.
pub const MAX_LINES: usize = 400;
/// Causes kept of one attempt.
const MAX_CAUSES: usize = 16;

/// The rungs of a boot, from the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// The firmware runs.
    Firmware,
    /// Something from the disk runs.
    Loader,
    /// The kernel runs.
    Kernel,
    /// The first program runs.
    Init,
    /// The system is up.
    Ready,
}

/// How a rung is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It was seen itself.
    Observed,
    /// A higher one was seen.
    Implied,
}

/// Where an observation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The first serial port.
    Serial,
    /// The second serial port.
    Serial2,
    /// The firmware's debug port.
    Debug,
    /// Text read off the screen.
    Screen,
    /// QEMU itself.
    Qemu,
    /// The guest agent.
    Agent,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// A whole line.
    Line(String),
    /// The beginning of a line: a prompt, or half of it.
    Partial(String),
    /// The screen can no longer be read as text: a graphics mode, or unknown.
    NoText,
    /// The screen changed and stands still: a picture of it was kept.
    Shot {
        /// A PNG in the start's own folder.
        file: String,
        /// The rows it shows, as far as they can be read.
        text: Option<String>,
    },
    /// The guest reset itself.
    Reset,
    /// The guest powered off.
    PowerOff,
    /// The guest told QEMU that it panicked.
    Panicked,
    /// The guest told QEMU that it panicked and goes on to its crash kernel.
    CrashLoaded,
    /// A watchdog that the guest had started ran out.
    Watchdog,
    /// This host did not serve the guest's disk as a disk does: how.
    HostIo(String),
    /// A serial port said more than its log keeps.
    Flood,
    /// The guest agent answered.
    AgentAnswered,
}

/// One thing seen, with the time since the machine's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// Milliseconds since the machine started.
    pub at_ms: u64,
    /// Where.
    pub source: Source,
    /// What.
    pub seen: Seen,
}

/// The line or event that decided something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Milliseconds since the machine started.
    pub at_ms: u64,
    /// Where it was seen.
    pub source: Source,
    /// The line itself.
    pub line: String,
}

/// A rung that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Which.
    pub rung: Rung,
    /// How it is known.
    pub certainty: Certainty,
    /// By what, and when.
    pub evidence: Evidence,
}

/// From one start or reset to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Milliseconds since the machine started.
    pub started_ms: u64,
    /// The rungs reached, lowest first.
    pub reached: Vec<Reached>,
    /// Problems seen and not overcome, in order.
    pub causes: Vec<(Cause, Evidence)>,
    /// The screen was text when it was looked at last.
    #[serde(skip)]
    text_screen: bool,
    /// Its last lines.
    #[serde(skip)]
    lines: VecDeque<Evidence>,
}

impl Attempt {
    /// The highest rung.
    pub fn highest(&self) -> Option<Rung> {
        self.reached.last().map(|r| r.rung)
    }

    /// The last lines seen, oldest first, at most [`MAX_LINES`].
    pub fn lines(&self) -> impl Iterator<Item = &Evidence> {
        self.lines.iter()
    }
}

/// What counts as ready.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Expect {
    /// A login prompt, `DRILL-READY`, or an answer of the guest agent.
    #[default]
    Ready,
    /// This text on the serial port or the screen, and nothing else.
    Text(String),
}

/// The state of one machine's boot.
#[derive(Debug, Clone)]
pub struct Ladder {
    expect: Expect,
    attempts: Vec<Attempt>,
    resets: usize,
    expected: resets::Expected,
    progress_ms: u64,
    powered_off: Option<Evidence>,
    wrapped: wrapped::Wrapped,
    still: Option<Still>,
    /// What the host did to the guest's disk, first of all.
    host: Option<String>,
    flood: bool,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            expect: Expect::Ready,
            attempts: vec![Attempt::default()],
            resets: 0,
            expected: resets::Expected::default(),
            progress_ms: 0,
            powered_off: None,
            wrapped: wrapped::Wrapped::default(),
            still: None,
            host: None,
            flood: false,
        }
    }
}

impl Ladder {
    /// Says what counts as ready, from now on and for the lines of the current attempt that are remembered.
    pub fn expect(&mut self, expect: Expect) {
        if self.expect == expect {
            return;
        }
        self.expect = expect;
        let attempt = self.current();
        attempt.reached.retain(|r| r.rung != Rung::Ready);
        let lines: Vec<_> = attempt.lines.drain(..).collect();
        // What those lines said of resets was counted when they came.
        let counted = self.expected.clone();
        for Evidence { at_ms, source, line } in lines {
            self.observe(&Observation { at_ms, source, seen: Seen::Line(line) });
        }
        self.expected = counted;
    }

    /// Takes one observation.
    pub fn observe(&mut self, observation: &Observation) {
        let Observation { at_ms, source, seen } = observation;
        let evidence = |line: &str| Evidence { at_ms: *at_ms, source: *source, line: line.trim().to_owned() };
        match seen {
            Seen::Line(line) => {
                let attempt = self.current();
                attempt.text_screen |= *source == Source::Screen;
                if attempt.lines.len() >= MAX_LINES {
                    attempt.lines.pop_front();
                }
                attempt.lines.push_back(evidence(line));
                self.line(&evidence(line), false);
            }
            Seen::Partial(line) => self.line(&evidence(line), true),
            Seen::NoText => self.current().text_screen = false,
            Seen::Shot { .. } => {}
            Seen::Reset => {
                if self.expected.is_firmwares(*at_ms) {
                    return;
                }
                self.resets += usize::from(!self.expected.reset());
                self.still = None;
                self.progress_ms = *at_ms;
                self.wrapped = wrapped::Wrapped::default();
                // Of a machine in a loop the first attempt and the last ones are kept.
                if self.attempts.len() > MAX_ATTEMPTS {
                    self.attempts.remove(1);
                }
                self.attempts.push(Attempt { started_ms: *at_ms, ..Attempt::default() });
            }
            Seen::PowerOff => self.powered_off = Some(evidence("the guest powered off")),
            Seen::Panicked => {
                let text = "the guest reported a panic".to_owned();
                let cause = Cause::made("guest-panicked", text, "the last lines before it", Rung::Kernel);
                self.trouble(Cause { weight: 2, ..cause }, evidence("GUEST_PANICKED"));
            }
            Seen::CrashLoaded => {
                let text = "the guest reported a panic, and went on to its crash kernel".to_owned();
                let cause = Cause::made("crash-kernel", text, "the last lines before it", Rung::Kernel);
                self.trouble(Cause { terminal: false, weight: 3, ..cause }, evidence("GUEST_CRASHLOADED"));
            }
            Seen::Watchdog => {
                let at = self.last().and_then(Attempt::highest).unwrap_or(Rung::Firmware);
                let text = "the guest's own watchdog ran out: it hung".to_owned();
                let cause = Cause::made("watchdog", text, "the last lines before it", at);
                self.trouble(Cause { terminal: false, ..cause }, evidence("WATCHDOG"));
            }
            Seen::HostIo(how) => drop(self.host.get_or_insert_with(|| how.clone())),
            Seen::Flood => self.flood = true,
            Seen::AgentAnswered if self.expect == Expect::Ready => {
                self.reach(Rung::Ready, evidence("the guest agent answered"));
            }
            Seen::AgentAnswered => self.reach(Rung::Init, evidence("the guest agent answered")),
        }
    }

    /// Says that the guest may reset itself so often in a good boot. Those that came before it was said count among them.
    pub fn expect_resets(&mut self, count: u32) {
        let before = self.resets.min(usize::try_from(count).unwrap_or(usize::MAX));
        self.resets -= before;
        self.expected.named(count.saturating_sub(u32::try_from(before).unwrap_or(u32::MAX)));
    }

    /// What the host did wrong to the guest's disk, first of all.
    pub fn host_trouble(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Resets so far; one that firmware needs for another is none of its own.
    pub fn resets(&self) -> usize {
        self.expected.count()
    }

    /// The last reset, if there was one.
    pub fn last_reset(&self) -> Option<&Reset> {
        self.expected.last()
    }

    /// All attempts, the first first; never empty.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    fn current(&mut self) -> &mut Attempt {
        if self.attempts.is_empty() {
            self.attempts.push(Attempt::default());
        }
        let last = self.attempts.len() - 1;
        &mut self.attempts[last]
    }

    fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    fn line(&mut self, evidence: &Evidence, partial: bool) {
        if let Some(whole) = Some(evidence).filter(|_| !partial).and_then(|e| self.wrapped.join(e)) {
            self.line(&whole, false);
        }
        if let Expect::Text(text) = &self.expect
            && matches!(evidence.source, Source::Serial | Source::Serial2 | Source::Screen)
            && evidence.line.contains(text.as_str())
        {
            self.reach(Rung::Ready, evidence.clone());
        }
        for row in PATTERNS.into_iter().flatten().filter(|row| row.matches(evidence.source, &evidence.line)) {
            // A prompt is one only while the guest waits behind it; a whole line that ends like one is a message. All
            // else is read from whole lines, so that evidence is never half of one.
            let prompt = matches!(row.needle, Needle::Ends(_));
            let waits = matches!(row.means, Means::Waits { .. });
            if prompt != partial && !waits && evidence.source != Source::Screen {
                continue;
            }
            match row.means {
                Means::Reached(Rung::Ready) if self.expect != Expect::Ready => {
                    self.reach(Rung::Init, evidence.clone());
                }
                Means::Reached(rung) => self.reach(rung, evidence.clone()),
                Means::FirmwareResets => self.expected.firmware_resets(),
                Means::WillReset(at) => {
                    self.reach_at_least(at, evidence);
                    self.expected.announce(row.text);
                }
                Means::Cause { .. } | Means::Waits { .. } => self.trouble(Cause::of(row), evidence.clone()),
            }
        }
    }

    fn reach(&mut self, rung: Rung, evidence: Evidence) {
        let at_ms = evidence.at_ms;
        let attempt = self.current();
        if let Some(known) = attempt.reached.iter_mut().find(|r| r.rung == rung) {
            if known.certainty == Certainty::Implied {
                *known = Reached { rung, certainty: Certainty::Observed, evidence };
            }
            return;
        }
        let progress = attempt.highest().is_none_or(|h| rung > h);
        for lower in
            [Rung::Firmware, Rung::Loader, Rung::Kernel, Rung::Init].into_iter().filter(|l| *l < rung)
        {
            if !attempt.reached.iter().any(|r| r.rung == lower) {
                let evidence = evidence.clone();
                attempt.reached.push(Reached { rung: lower, certainty: Certainty::Implied, evidence });
            }
        }
        attempt.reached.push(Reached { rung, certainty: Certainty::Observed, evidence });
        attempt.reached.sort_by_key(|r| r.rung);
        // What lies below a rung reached later was overcome: the second boot option worked where the first did not.
        attempt.causes.retain(|(cause, _)| cause.at >= rung);
        if progress {
            self.progress_ms = at_ms;
        }
    }

    fn trouble(&mut self, cause: Cause, evidence: Evidence) {
        if cause.id.starts_with("uefi-setup") && self.last().and_then(Attempt::highest) > Some(Rung::Firmware)
        {
            return;
        }
        // What stands on a screen may be older than what came by wire: a rung above it was reached there, so it was overcome.
        let by_wire =
            |a: &Attempt| a.reached.iter().any(|r| r.rung > cause.at && r.evidence.source != Source::Screen);
        if evidence.source == Source::Screen && self.last().is_some_and(by_wire) {
            return;
        }
        self.reach_at_least(cause.at, &evidence);
        let attempt = self.current();
        if attempt.causes.len() < MAX_CAUSES && !attempt.causes.iter().any(|(known, _)| known.id == cause.id)
        {
            attempt.causes.push((cause, evidence));
        }
    }

    /// A message of a rung shows that the rung was reached.
    fn reach_at_least(&mut self, rung: Rung, evidence: &Evidence) {
        if self.last().and_then(Attempt::highest).is_none_or(|h| h < rung) {
            self.reach(rung, evidence.clone());
        }
    }
}
