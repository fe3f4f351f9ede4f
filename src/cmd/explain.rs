//! `drill explain`.

use super::{Ended, print_json};
use crate::cli::ExplainArgs;
use crate::world::Problem;
use drills::verdict::ExitCode;
use engine::preflight::{PROFILES, rule};

/// Tell a profile or a rule, or all of them.
pub fn explain(args: &ExplainArgs) -> Ended {
    let Some(name) = args.name.as_deref() else {
        if args.json {
            print_json(&serde_json::json!({"profiles": PROFILES}))?;
            return Ok(ExitCode::Passed);
        }
        for profile in &PROFILES {
            tell_part!("{profile}");
            tell!("");
        }
        tell!("drill explain NAME tells one of them with its source and what to do");
        return Ok(ExitCode::Passed);
    };
    if let Some(profile) = PROFILES.iter().find(|p| p.id.name() == name) {
        if args.json {
            print_json(profile)?;
        } else {
            tell_part!("{profile}");
        }
        return Ok(ExitCode::Passed);
    }
    match rule(name) {
        Some(rule) if args.json => print_json(rule)?,
        Some(rule) => tell_part!("{rule}"),
        None => {
            return Err(Problem::new(ExitCode::Usage, format!("no profile and no rule is called {name:?}"))
                .next("`drill explain` lists them all"));
        }
    }
    Ok(ExitCode::Passed)
}
