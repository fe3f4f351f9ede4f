//! `drill check`.

use super::{Ended, print_json};
use crate::cli::CheckArgs;
use crate::cmd::run::scenarios_in;
use crate::world::Problem;
use drills::script::check::{self, Given};
use drills::script::{Severity, Source};
use drills::verdict::ExitCode;

/// Check scenarios; exit code 2 when one has an error.
pub fn check(args: &CheckArgs) -> Ended {
    let mut errors = 0usize;
    let mut documents = Vec::new();
    for path in scenarios_in(&args.paths)? {
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Problem::new(ExitCode::Usage, format!("{}: {e}", path.display())))?;
        let source = Source::new(path.display().to_string(), text);
        let names: Vec<&str> = fixtures::list().iter().map(|r| r.name).collect();
        let found =
            check::check(&source, Given { set: &[], fixtures: Some(&names), secrets: None }).diagnostics;
        errors += found.iter().filter(|d| d.severity == Severity::Error).count();
        if args.json {
            documents.push(serde_json::json!({"path": path, "diagnostics": found}));
            continue;
        }
        for diagnostic in &found {
            warn_line!("{}\n", diagnostic.render(&source));
        }
        if found.is_empty() {
            tell!("{}: nothing found", path.display());
        }
    }
    if args.json {
        print_json(&documents)?;
    }
    Ok(if errors > 0 { ExitCode::Usage } else { ExitCode::Passed })
}
