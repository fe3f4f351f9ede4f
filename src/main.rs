//! Command line of `drill`: wiring and exit codes, no logic.

mod cli;
#[macro_use]
mod cmd;
mod hidden;
mod progress;
mod world;

use clap::Parser;
use cli::{Cli, Command};
use drills::verdict::ExitCode;

fn main() -> std::process::ExitCode {
    // clap ends usage errors with exit code 2 itself, which is ours too.
    let cli = Cli::parse();
    // One JSON document was asked for: an error is one, too.
    let json = std::env::args_os().any(|a| a == "--json");
    let cancel = world::watch_signals();
    let ended = match cli.command {
        Command::Run(args) => cmd::run::run(&args, &cancel),
        Command::Check(args) => cmd::check::check(&args),
        Command::Inspect(args) => cmd::inspect::inspect(&args),
        Command::Convert(args) => cmd::convert::convert(&args, &cancel),
        Command::Diff(args) => cmd::diff::diff(&args, &cancel),
        Command::Explain(args) => cmd::explain::explain(&args),
        Command::Boot(args) => cmd::boot::boot(&args, &cancel),
        Command::Selftest(args) => cmd::selftest::selftest(&args, &cancel),
        Command::Fixture(args) => cmd::fixture::fixture(&args, &cancel),
        Command::Doctor(args) => cmd::doctor::doctor(&args, &cancel),
        Command::Why(args) => cmd::why::why(&args),
        Command::Replay(args) => cmd::replay::replay(&args),
        Command::Tui(args) => cmd::tui::tui(&args),
    };
    let exit = match ended {
        Ok(exit) => exit,
        Err(problem) => {
            let exit = if cancel.is_cancelled() { ExitCode::Interrupted } else { problem.exit };
            warn_line!("drill: {}", shown(&problem.message));
            if let Some(next) = &problem.next {
                warn_line!("  next: {}", shown(next));
            }
            if json {
                let error = serde_json::json!({"message": problem.message, "next": problem.next, "exit": exit.code(),
                    "details": problem.details});
                let _ = cmd::print_json(&serde_json::json!({"error": error}));
            }
            exit
        }
    };
    exit.into()
}

/// Text that may hold names out of an image, without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect()
}
