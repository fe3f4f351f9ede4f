//! What a drill is: script host, run, journal, reports.
pub mod script;

pub mod control;
pub mod event;
pub mod fault;
pub mod history;
pub mod image;
pub mod journal;
pub mod loader;
pub mod pointer;
pub mod report;
pub mod run;
pub mod selftest;
pub mod serve;
pub mod verdict;
