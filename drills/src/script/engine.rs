//! The Rhai engine of scenarios: which parts of the language exist and how much of it a scenario may use.
//! The limits are the same in debug and release builds (Rhai's own defaults differ).

use super::fault::{Ret, mistake};
use rhai::packages::{
    BasicArrayPackage, BasicMapPackage, BasicMathPackage, CorePackage, LogicPackage, MoreStringPackage,
    Package,
};
use rhai::{Dynamic, Engine, FLOAT, INT, NativeCallContext, OptimizationLevel};

/// Operations of one scenario. A runbook needs some hundreds; a runaway loop ends after about a second.
pub const MAX_OPERATIONS: u64 = 2_000_000;
/// Calls inside calls.
pub const MAX_CALL_LEVELS: usize = 32;
/// Depth of an expression.
pub const MAX_EXPR_DEPTH: usize = 64;
/// Depth of an expression inside a function.
pub const MAX_FUNCTION_EXPR_DEPTH: usize = 32;
/// Bytes of a text.
pub const MAX_STRING_BYTES: usize = 1 << 20;
/// Elements of an array.
pub const MAX_ARRAY_LEN: usize = 10_000;
/// Entries of a map.
pub const MAX_MAP_LEN: usize = 1_000;
/// Variables alive at once.
pub const MAX_VARIABLES: usize = 500;
/// Functions of one scenario.
pub const MAX_FUNCTIONS: usize = 200;
/// Bytes of a scenario's text.
pub const MAX_SOURCE_BYTES: usize = 256 << 10;

/// Keywords a scenario does not have: each would read code that nobody checked.
const WITHOUT_KEYWORDS: [&str; 3] = ["eval", "import", "export"];

/// Functions of Rhai's core that a scenario does not have: `sleep` blocks without watching the cancel token, `exit` ends a drill early
/// as if it had passed.
pub const WITHOUT_FUNCTIONS: [(&str, &str); 2] = [
    ("sleep", "a scenario waits for something: wait_ready, wait_text"),
    ("exit", "a scenario ends at its last line, with fail(\"…\") or with skip(\"…\")"),
];

/// An engine with the limits and without any verb.
pub fn bare() -> Engine {
    // `new_raw` has no module resolver at all, and no clock package.
    let mut e = Engine::new_raw();
    CorePackage::new().register_into_engine(&mut e);
    LogicPackage::new().register_into_engine(&mut e);
    BasicMathPackage::new().register_into_engine(&mut e);
    BasicArrayPackage::new().register_into_engine(&mut e);
    BasicMapPackage::new().register_into_engine(&mut e);
    MoreStringPackage::new().register_into_engine(&mut e);
    for symbol in WITHOUT_KEYWORDS {
        e.disable_symbol(symbol);
    }
    for (name, instead) in WITHOUT_FUNCTIONS {
        e.register_fn(name, move |c: NativeCallContext<'_>| refuse(&c, name, instead));
        e.register_fn(name, move |c: NativeCallContext<'_>, _: Dynamic| refuse(&c, name, instead));
        // Rhai prefers an exact type to `Dynamic`, so its own two have to be named.
        e.register_fn(name, move |c: NativeCallContext<'_>, _: INT| refuse(&c, name, instead));
        e.register_fn(name, move |c: NativeCallContext<'_>, _: FLOAT| refuse(&c, name, instead));
    }
    // The checker reads the tree as it was written.
    e.set_optimization_level(OptimizationLevel::None);
    e.set_strict_variables(true);
    e.set_fail_on_invalid_map_property(true);
    e.set_max_operations(MAX_OPERATIONS);
    e.set_max_call_levels(MAX_CALL_LEVELS);
    e.set_max_expr_depths(MAX_EXPR_DEPTH, MAX_FUNCTION_EXPR_DEPTH);
    e.set_max_string_size(MAX_STRING_BYTES);
    e.set_max_array_size(MAX_ARRAY_LEN);
    e.set_max_map_size(MAX_MAP_LEN);
    e.set_max_variables(MAX_VARIABLES);
    e.set_max_functions(MAX_FUNCTIONS);
    e.set_max_modules(0);
    e
}

fn refuse(c: &NativeCallContext<'_>, name: &str, instead: &str) -> Ret<()> {
    mistake(c, format!("{name} is not part of the scenario language"), instead)
}
