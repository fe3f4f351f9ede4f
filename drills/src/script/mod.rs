//! The scenario language: a runbook that runs.

pub mod source;
pub mod stage;
