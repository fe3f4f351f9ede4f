//! Command line of `drill`.
fn main() {}
