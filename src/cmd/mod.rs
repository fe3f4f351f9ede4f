//! One file a command.

/// A line on standard output. A reader that has gone, as `head` does, is no reason to panic as `println!` would.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout().lock(), $($text)*);
    }};
}

/// A line on standard error, which may be closed or full: no reason to panic as `eprintln!` would.
macro_rules! warn_line {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($text)*);
    }};
}

/// The same without the end of the line.
macro_rules! tell_part {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout().lock(), $($text)*);
    }};
}

pub mod boot;
pub mod check;
pub mod convert;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod fixture;
pub mod inspect;
pub mod replay;
pub mod run;
pub mod selftest;
pub mod tui;
pub mod why;

/// How a command ends.
pub type Ended = Result<drills::verdict::ExitCode, crate::world::Problem>;

/// Print a document on standard output; a closed pipe is not our trouble.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), crate::world::Problem> {
    use std::io::Write;
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| crate::world::Problem::new(drills::verdict::ExitCode::Broken, e))?;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    Ok(())
}

/// An image format that the user named with `option`.
pub fn format_named(
    name: Option<&str>,
    option: &str,
) -> Result<Option<engine::container::Format>, crate::world::Problem> {
    name.map(str::parse)
        .transpose()
        .map_err(|e| crate::world::Problem::new(drills::verdict::ExitCode::Usage, format!("{option}: {e}")))
}
