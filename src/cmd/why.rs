//! `drill why`.

use super::{Ended, print_json};
use crate::cli::WhyArgs;
use crate::world::Problem;
use drills::report::style::Style;
use drills::verdict::ExitCode;

/// Explain the last run that did not pass.
pub fn why(args: &WhyArgs) -> Ended {
    let found = match drills::history::why(&args.out) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Problem::new(ExitCode::Broken, format!("{}: {e}", args.out.display()))),
    };
    if args.json {
        print_json(&found)?;
        return Ok(ExitCode::Passed);
    }
    match found {
        Some(why) => tell_part!("{}", why.text(Style::PLAIN)),
        None => tell!("no run under {} ended without passing", args.out.display()),
    }
    Ok(ExitCode::Passed)
}
