//! What a case is: a source, who works on it, and what is demanded.

use crate::contender::Contender;
use crate::demand::Demand;
use crate::source::Source;

/// One comparison.
pub struct Case {
    /// Name, for `--case`.
    pub name: String,
    /// One line about it.
    pub what: String,
    /// Where it happens.
    pub place: Place,
    /// Free bytes that it needs there.
    pub room_needed: u64,
    /// What is worked on.
    pub source: Source,
    /// State of the source's cache before each run.
    pub cache: Cache,
    /// Who works; drill is the first.
    pub contenders: Vec<Contender>,
    /// What must come out.
    pub demands: Vec<Demand>,
}

/// Where a case happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the folder the user gave.
    Dir,
    /// In memory: no device is the limit.
    Memory,
    /// On an XFS made in a file of the folder, which can share blocks between files.
    Xfs,
}

/// State of the source's page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Read once before.
    Warm,
    /// Written back and dropped (`POSIX_FADV_DONTNEED`).
    Cold,
}

/// A case that cannot be performed here. It is no failure, and no success.
#[derive(Debug)]
pub struct NotPerformed(pub String);

impl std::fmt::Display for NotPerformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not performed: {}", self.0)
    }
}

impl std::error::Error for NotPerformed {}

impl Cache {
    /// As it is called in names and tables.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Warm => "warm",
            Cache::Cold => "cold",
        }
    }
}
