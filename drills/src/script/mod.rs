//! The scenario language: a runbook that runs.
//!
//! ```text
//! source ─ check ──► diagnostics (names, counts, dropped results; before anything boots)
//!    │
//!    └─ run ──► script thread ──► verbs (api/, one table) ──► trait Stage ──► the run
//! ```
//!
//! One table of verbs ([`api::verbs`]) is read by the host that registers them, by the checker and by the reference under `docs/`, so
//! that the three cannot disagree. Contracts of the verbs: plain verbs act, `wait_…` fails the drill at its deadline, `assert_…` fails
//! it now, only `check_…` returns a bool.
//!
//! **Invariant: a scenario cannot hide a failure.** A verb's error ends the script; Rhai's `try` does not catch it.
//!
//! Non-goals: reading files, the clock, the network, the environment, or other scenarios from a script.

pub mod api;
pub mod check;
pub mod diagnostic;
pub mod docs;
pub mod engine;
pub mod fault;
pub mod header;
pub mod host;
pub mod options;
pub mod source;
pub mod stage;
pub mod stock;

#[cfg(test)]
mod tests;

pub use check::{Checked, Given, check};
pub use diagnostic::{Diagnostic, Severity};
pub use header::read_header;
pub use host::{End, run};
pub use source::{Pos, Source};
pub use stage::{Header, MachineId, Stage, VerbError, VerbOutcome, VmId};
