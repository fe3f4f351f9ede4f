//! One file a command.
pub mod boot;
pub mod check;
pub mod convert;
pub mod doctor;
pub mod fixture;
pub mod inspect;
pub mod replay;
pub mod run;
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
