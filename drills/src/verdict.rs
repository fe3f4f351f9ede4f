//! How a drill, a step or an action ended, and what the process says about it.
//!
//! **Invariant: the kinds of answer never merge.** "The copy does not start" (failed), "we could not look" (broken) and
//! "we did not look" (not performed) are three answers. This file is the one place that orders them and maps them to
//! exit codes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How something ended. Ordered from best to worst, so that `max` is "the worst wins".
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it must.
    Passed,
    /// A snapshot differs from the accepted one and waits for review.
    Changed,
    /// It was not tried, or could not be seen; the reason stands beside it. Never a failure, never a success.
    NotPerformed,
    /// `drill` refused to do it, with a reason: what was asked would not be safe or would not start.
    Refused,
    /// The drilled system did not do what it must.
    Failed,
    /// Our host, our harness or the script failed: there is no answer about the drilled system.
    Broken,
    /// Somebody stopped it.
    Interrupted,
}

impl Outcome {
    /// The worst of several; `Passed` of none.
    #[must_use]
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Passed)
    }

    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Changed => "changed",
            Self::NotPerformed => "not performed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::Interrupted => "interrupted",
        }
    }

    /// What the word means, in one line.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "every assertion, wait and expectation held",
            Self::Changed => "a snapshot waits for review",
            Self::NotPerformed => "something required was not performed, so nothing is known about it",
            Self::Refused => "refused with a reason; nothing was changed",
            Self::Failed => "the drilled system did not do what it must",
            Self::Broken => {
                "this host, drill itself or the script failed; this says nothing about the drilled system"
            }
            Self::Interrupted => "stopped before its end",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What the process answers. The only place where numbers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// 0
    Passed = 0,
    /// 1
    Failed = 1,
    /// 2
    Usage = 2,
    /// 3
    Broken = 3,
    /// 4
    Incomplete = 4,
    /// 5
    Changed = 5,
    /// 130
    Interrupted = 130,
}

impl ExitCode {
    /// All, in the order of the help text.
    pub const ALL: [Self; 7] = [
        Self::Passed,
        Self::Failed,
        Self::Usage,
        Self::Broken,
        Self::Incomplete,
        Self::Changed,
        Self::Interrupted,
    ];

    /// Worst first. `Usage` is found before anything runs, so it seldom meets the others; when it does (one of several
    /// scenarios has a mistake) it ranks with "no answer", below `Broken` and above `Failed`.
    const WORST_FIRST: [Self; 7] = [
        Self::Interrupted,
        Self::Broken,
        Self::Usage,
        Self::Failed,
        Self::Incomplete,
        Self::Changed,
        Self::Passed,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit code with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    /// The worst of several; `Passed` of none.
    #[must_use]
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<Self> = all.into_iter().collect();
        Self::WORST_FIRST.into_iter().find(|one| all.contains(one)).unwrap_or(Self::Passed)
    }

    /// One line for `--help`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => {
                "failed (the drilled system did not do what it must), or refused with a reason; drill diff: the disks differ"
            }
            Self::Usage => "usage or script error, found before anything boots or while the script ran",
            Self::Broken => "broken: this host or drill itself failed; no answer about the drilled system",
            Self::Incomplete => {
                "incomplete: something required was not performed, or the drill asserts nothing; drill diff: not all could be compared"
            }
            Self::Changed => "changed: a snapshot waits for review",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Passed => Self::Passed,
            Outcome::Changed => Self::Changed,
            Outcome::NotPerformed => Self::Incomplete,
            Outcome::Refused | Outcome::Failed => Self::Failed,
            Outcome::Broken => Self::Broken,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

/// The table of exit codes for `--help`.
#[must_use]
pub fn exit_code_table() -> String {
    let mut text = String::from("Exit codes:\n");
    for one in ExitCode::ALL {
        text.push_str(&format!("  {:>3}  {}\n", one.code(), one.meaning()));
    }
    text.push_str("The worst wins: 130, 3, 2, 1, 4, 5.");
    text
}

#[cfg(test)]
mod tests {
    use super::{ExitCode, Outcome, exit_code_table};

    #[test]
    fn the_worst_wins() {
        let order = [130, 3, 2, 1, 4, 5, 0].map(|code| ExitCode::from_code(code).unwrap());
        for (place, worse) in order.iter().enumerate() {
            for better in order.iter().skip(place) {
                assert_eq!(ExitCode::worst([*better, *worse]), *worse);
            }
        }
        assert_eq!(ExitCode::worst([]), ExitCode::Passed);
    }

    #[test]
    fn outcomes_and_exit_codes_agree_on_what_is_worse() {
        use Outcome::{Broken, Changed, Failed, Interrupted, NotPerformed, Passed, Refused};
        let all = [Passed, Changed, NotPerformed, Refused, Failed, Broken, Interrupted];
        for a in all {
            for b in all {
                assert_eq!(
                    ExitCode::from(Outcome::worst([a, b])),
                    ExitCode::worst([a.into(), b.into()]),
                    "{a} and {b}"
                );
            }
        }
    }

    #[test]
    fn the_table_names_every_code() {
        insta::assert_snapshot!(exit_code_table(), @r"
        Exit codes:
            0  passed
            1  failed (the drilled system did not do what it must), or refused with a reason; drill diff: the disks differ
            2  usage or script error, found before anything boots or while the script ran
            3  broken: this host or drill itself failed; no answer about the drilled system
            4  incomplete: something required was not performed, or the drill asserts nothing; drill diff: not all could be compared
            5  changed: a snapshot waits for review
          130  interrupted
        The worst wins: 130, 3, 2, 1, 4, 5.
        ");
    }
}
