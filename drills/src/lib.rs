//! What a drill is: script host, run, journal, reports.
pub mod script;

pub mod control;
pub mod event;
pub mod journal;
pub mod pointer;
pub mod verdict;
