//! `drill diff`.

use super::{Ended, format_named, print_json};
use crate::cli::DiffArgs;
use crate::progress::Meter;
use crate::world::{Problem, open_image};
use drills::verdict::ExitCode;
use engine::container::Opened;
use engine::diff::{Diff, DiffError, Options, Scope, Verdict};
use qemu::Cancel;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Compare two disks. As with `diff`, "they differ" and "there is no answer" are two exit codes.
pub fn diff(args: &DiffArgs, cancel: &Cancel) -> Ended {
    let a = open(&args.a, args.format_a.as_deref().or(args.format.as_deref()), &args.parents)?;
    let b = open(&args.b, args.format_b.as_deref().or(args.format.as_deref()), &args.parents)?;
    let scope = if args.boot { Scope::Boot } else { Scope::All };
    let options = Options { scope, hint_lines: args.lines };
    let mut meter = Meter::new(args.json);
    let found = engine::diff::diff(&a.disk, &b.disk, &options, &mut |p| {
        meter.show("comparing", p.done, p.total);
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    meter.end();
    let found = found.map_err(|e| match e {
        DiffError::Cancelled => Problem::new(ExitCode::Interrupted, "interrupted"),
        e => Problem::new(ExitCode::Broken, e).next("check the storage the image lies on"),
    })?;
    for opened in [&a, &b] {
        opened.unchanged().map_err(|e| {
            Problem::new(ExitCode::Broken, e)
                .next("an image changed while it was read; compare again when both are at rest")
        })?;
    }
    if args.json {
        print_json(&serde_json::json!({"a": args.a, "b": args.b, "diff": found}))?;
    } else {
        tell!("A           {}", args.a.display());
        tell!("B           {}", args.b.display());
        tell_part!("{found}");
    }
    Ok(exit(&found))
}

fn exit(found: &Diff) -> ExitCode {
    match found.verdict {
        Verdict::Identical | Verdict::Same => ExitCode::Passed,
        Verdict::Different => ExitCode::Failed,
        Verdict::Unknown => ExitCode::Incomplete,
    }
}

/// An image that cannot be opened gives no answer, which is not "they differ".
fn open(path: &Path, format: Option<&str>, parents: &[PathBuf]) -> Result<Opened, Problem> {
    let format = format_named(format, "--format")?;
    open_image(path, format, parents).map_err(|mut problem| {
        if problem.exit == ExitCode::Failed {
            problem.exit = ExitCode::Broken;
        }
        problem
    })
}
