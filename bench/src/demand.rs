//! What must come out of a case.

use crate::rounds::Outcome;
use crate::stats::Spread;

/// One demand; numbers name a contender.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Demand {
    /// Drill is so many times faster than another, by the median of the rounds' ratios.
    Faster {
        /// Whom.
        than: usize,
        /// How many times.
        times: f64,
    },
    /// Drill uses less CPU time than another, by medians.
    LessCpu {
        /// Whom.
        than: usize,
    },
    /// Drill uses at most so many times the CPU time of another, by the median of the rounds' ratios.
    CpuWithin {
        /// Whose.
        than: usize,
        /// How many times.
        times: f64,
    },
    /// Drill's median is below this.
    Wall {
        /// Milliseconds.
        below_ms: f64,
    },
    /// Drill's largest memory is below this.
    Memory {
        /// Bytes.
        below: u64,
    },
    /// Drill's result is shorter than this.
    Result {
        /// Bytes.
        below: u64,
    },
    /// Drill's result takes no more than a tenth of its length from the file system.
    Shared,
}

impl Demand {
    /// In words, and whether it is met.
    pub fn judge(self, outcome: &Outcome) -> (String, bool) {
        let name = |i: usize| outcome.sides.get(i).map_or("?", |s| s.name.as_str());
        let Some(drill) = outcome.sides.first() else { return ("nobody ran".into(), false) };
        match self {
            Demand::Faster { than, times } => {
                let ratio = outcome.ratios(than).median;
                (format!("at least {times} × {}: {ratio:.2} ×", name(than)), ratio >= times)
            }
            Demand::LessCpu { than } => {
                let (own, other) = (drill.cpu.median, outcome.sides.get(than).map_or(0.0, |s| s.cpu.median));
                (format!("less CPU time than {}: {own:.2} s, {other:.2} s", name(than)), own < other)
            }
            Demand::CpuWithin { than, times } => {
                let Spread { low, median, high } = outcome.cpu_shares(than);
                let found = format!("{median:.3} × [{low:.3}, {high:.3}]");
                (format!("at most {times} × the CPU time of {}: {found}", name(than)), median <= times)
            }
            Demand::Wall { below_ms } => {
                let ms = drill.wall.median * 1000.0;
                (format!("under {below_ms} ms: {ms:.1} ms"), ms < below_ms)
            }
            Demand::Memory { below } => {
                let (mib, limit) = (drill.memory >> 20, below >> 20);
                (format!("under {limit} MiB of memory: {mib} MiB"), drill.memory < below)
            }
            Demand::Result { below } => {
                let (kib, limit) = (drill.result_len >> 10, below >> 10);
                (
                    format!("a result under {limit} KiB: {kib} KiB"),
                    drill.result_len > 0 && drill.result_len < below,
                )
            }
            Demand::Shared => {
                let (taken, len) = (drill.taken, drill.result_len);
                let (mib, of) = (taken >> 20, len >> 20);
                (
                    format!("blocks are shared: {mib} MiB taken for a file of {of} MiB"),
                    len > 0 && taken < len / 10,
                )
            }
        }
    }
}
