//! `drill replay`.

use super::{Ended, print_json};
use crate::cli::ReplayArgs;
use crate::world::Problem;
use drills::report::model::Model;
use drills::report::{json, junit, style::Style, text};
use drills::verdict::ExitCode;
use std::io::Write;

/// Show a recorded run through the same folds as a live one. The exit code is the run's own.
pub fn replay(args: &ReplayArgs) -> Ended {
    let path = if args.journal.is_dir() { args.journal.join("journal.jsonl") } else { args.journal.clone() };
    let bad = |e: &dyn std::fmt::Display| {
        Problem::new(ExitCode::Usage, e.to_string())
            .next("name a journal.jsonl or the run folder that holds one")
    };
    let model = Model::load(&path).map_err(|e| bad(&e))?;
    let dir = path.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let exit = model
        .finished
        .as_ref()
        .and_then(|f| ExitCode::from_code(f.exit_code))
        .unwrap_or(ExitCode::Incomplete);
    if args.json {
        print_json(&json::document(&[(dir, model)]))?;
    } else if args.junit {
        let document = junit::document(&[(dir, model)]).map_err(|e| bad(&e))?;
        let _ = write!(std::io::stdout().lock(), "{document}");
    } else {
        let shown = text::replay(&path, Style { ascii: args.ascii, ..Style::PLAIN }).map_err(|e| bad(&e))?;
        let _ = write!(std::io::stdout().lock(), "{shown}");
    }
    Ok(exit)
}
