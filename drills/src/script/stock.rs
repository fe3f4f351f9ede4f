//! The shipped drills: read these first.

use super::source::Source;

/// Failover and failback of one machine; what `drill run web01.vhdx` runs.
pub const FAILOVER: &str = include_str!("../../scenarios/failover.rhai");

/// A control: the same without a kernel, which must fail.
pub const KERNEL_MISSING: &str = include_str!("../../scenarios/kernel-missing.rhai");

/// Every stock drill by name.
pub const ALL: [(&str, &str); 2] = [("failover", FAILOVER), ("kernel-missing", KERNEL_MISSING)];

/// The stock drill of this name, as `stock:<name>`.
pub fn source(name: &str) -> Option<Source> {
    ALL.iter().find(|(n, _)| *n == name).map(|(n, text)| Source::new(format!("stock:{n}"), *text))
}
