//! The view alone, without the `drill` program: `watch RUNS [RUN]`. Starting a scenario is not possible here.

use drills::report::style::Style;
use std::path::PathBuf;
use tui::{Hooks, Options};

fn main() -> Result<(), tui::TuiError> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let options = Options {
        root: args.next().unwrap_or_else(|| ".drill/runs".into()),
        open: args.next(),
        scenarios: vec!["panic.rhai".into()],
        style: Style { colour: std::env::var_os("NO_COLOR").is_none(), ..Style::PLAIN },
    };
    // The worst that a hook can do; tests/terminal.rs looks at what is left of the terminal then.
    let start = |path: &std::path::Path| panic!("this example cannot start {}", path.display());
    tui::run(options, Hooks { start: Box::new(start) })
}
