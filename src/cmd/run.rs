//! `drill run`.

use super::{Ended, print_json};
use crate::cli::{AccelArg, Proof, RunArgs};
use crate::hidden::{Hidden, hidden};
use crate::world::{Problem, lab};
use drills::journal::{Sink, since_now};
use drills::report::model::Model;
use drills::report::style::Style;
use drills::report::{json, junit, text::Live};
use drills::run::{Lab, Request, Told, run as run_one, sweep};
use drills::script::check::{self, Given};
use drills::script::{Severity, Source};
use drills::verdict::ExitCode;
use qemu::Cancel;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Scenarios looked for below one folder.
const MAX_DEPTH: usize = 8;
/// Most bytes of a scenario file that are read.
const MAX_SCENARIO: u64 = 1 << 20;

/// Run everything that was named, one after another; the worst exit code wins.
pub fn run(args: &RunArgs, cancel: &Cancel) -> Ended {
    let set = settings(&args.set)?;
    let requests = requests(&args.paths, &set)?;
    let hidden = hidden()?;
    for request in &requests {
        checked(request, &hidden)?;
    }
    let proof = match args.proof {
        Proof::Quick => drills::event::Proof::Quick,
        Proof::Full => drills::event::Proof::Full,
    };
    let format = super::format_named(args.format.as_deref(), "--format")?;
    let lab = lab(args.accel, proof, Told { parents: args.parents.clone(), format }, hidden)?;
    warn_swept(&args.out);
    let shown = Shown { json: args.json, ascii: args.ascii };
    let mut exits = Vec::new();
    let mut models = Vec::new();
    for request in &requests {
        if cancel.is_cancelled() {
            exits.push(ExitCode::Interrupted);
            break;
        }
        let (exit, dir, model) = perform(&lab, request, &args.out, shown, cancel)?;
        exits.push(exit);
        models.push((dir, model));
    }
    if let Some(path) = &args.junit {
        let document = junit::document(&models).map_err(|e| Problem::new(ExitCode::Broken, e))?;
        write_whole(path, document.as_bytes())?;
    }
    if args.json {
        print_json(&json::document(&models))?;
    }
    Ok(ExitCode::worst(exits))
}

/// Run one request of drill's own making.
pub fn one(
    request: &Request,
    accel: AccelArg,
    told: Told,
    out: &Path,
    json_wanted: bool,
    cancel: &Cancel,
) -> Ended {
    let lab = lab(accel, drills::event::Proof::Quick, told, hidden()?)?;
    warn_swept(out);
    let shown = Shown { json: json_wanted, ascii: false };
    let (exit, dir, model) = perform(&lab, request, out, shown, cancel)?;
    if json_wanted {
        print_json(&json::document(&[(dir, model)]))?;
    }
    Ok(exit)
}

/// Remove what killed runs left in this folder, and say so.
pub fn warn_swept(out: &Path) {
    for gone in sweep(out) {
        warn_line!("removed what a killed run left: {}", gone.display());
    }
}

/// What goes to standard output.
#[derive(Clone, Copy)]
struct Shown {
    json: bool,
    ascii: bool,
}

fn perform(
    lab: &Arc<Lab>,
    request: &Request,
    out: &Path,
    shown: Shown,
    cancel: &Cancel,
) -> Result<(ExitCode, PathBuf, Model), Problem> {
    let sinks: Vec<Box<dyn Sink>> = if shown.json {
        Vec::new()
    } else {
        let terminal = std::io::stdout();
        let moving = terminal.is_terminal();
        vec![Box::new(Live::new(Box::new(terminal), style(shown.ascii), moving, since_now()))]
    };
    let summary = run_one(lab, request, out, sinks, cancel)
        .map_err(|e| Problem::new(ExitCode::Broken, e).next("choose another folder with --out"))?;
    if !summary.script_error.is_empty() && !cancel.is_cancelled() {
        warn_line!("{}", summary.script_error);
    }
    let model =
        Model::load(&summary.dir.join("journal.jsonl")).map_err(|e| Problem::new(ExitCode::Broken, e))?;
    keep_reports(&summary.dir, &model)?;
    Ok((summary.exit, summary.dir, model))
}

/// Colours and characters for this terminal.
pub fn style(ascii: bool) -> Style {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stdout().is_terminal();
    Style { ascii, colour, ..Style::PLAIN }
}

/// The reports of a run, beside its journal.
pub fn keep_reports(dir: &Path, model: &Model) -> Result<(), Problem> {
    let models = [(dir.to_path_buf(), model.clone())];
    let document =
        serde_json::to_vec_pretty(&json::document(&models)).map_err(|e| Problem::new(ExitCode::Broken, e))?;
    write_whole(&dir.join("report.json"), &document)?;
    let document = junit::document(&models).map_err(|e| Problem::new(ExitCode::Broken, e))?;
    write_whole(&dir.join("junit.xml"), document.as_bytes())
}

/// Write a report under a name of its own and rename it: a reader never sees half of one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = path.with_file_name(name);
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|e| Problem::new(ExitCode::Broken, format!("{}: {e}", path.display())))
}

fn settings(given: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    given
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Problem::new(ExitCode::Usage, format!("--set {pair}: wanted NAME=VALUE"))),
        })
        .collect()
}

fn requests(paths: &[PathBuf], set: &BTreeMap<String, String>) -> Result<Vec<Request>, Problem> {
    let mut all = Vec::new();
    for path in paths {
        let meta = std::fs::metadata(path).map_err(|e| {
            Problem::new(ExitCode::Usage, format!("{}: {e}", path.display()))
                .next("name a scenario, an image or a folder")
        })?;
        if meta.is_dir() || is_scenario(path) {
            for path in scenarios_in(std::slice::from_ref(path))? {
                all.push(Request::scenario(&path, read(&path)?, set.clone()));
            }
        } else {
            all.push(Request::image(path, set.clone()));
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String, Problem> {
    let usage = |e: &dyn std::fmt::Display| Problem::new(ExitCode::Usage, format!("{}: {e}", path.display()));
    let len = std::fs::metadata(path).map_err(|e| usage(&e))?.len();
    if len > MAX_SCENARIO {
        return Err(usage(&format!("{len} bytes; a scenario has at most {MAX_SCENARIO}")));
    }
    std::fs::read_to_string(path).map_err(|e| usage(&e))
}

/// What check finds ends the command before anything boots.
fn checked(request: &Request, hidden: &Hidden) -> Result<(), Problem> {
    let source = Source::new(request.source_name.clone(), request.text.clone());
    let names: Vec<&str> = fixtures::list().iter().map(|r| r.name).collect();
    let set: Vec<&str> = request.args.keys().map(String::as_str).collect();
    let secrets: Vec<&str> = hidden.secrets.keys().map(String::as_str).collect();
    let given = Given { set: &set, fixtures: Some(&names), secrets: Some(&secrets) };
    let found = check::check(&source, given).diagnostics;
    let errors: Vec<String> =
        found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.render(&source)).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::new(ExitCode::Usage, errors.join("\n\n"))) }
}

fn is_scenario(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "rhai")
}

/// The scenarios among these files and below these folders, sorted.
pub fn scenarios_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let before = all.len();
        let walk = walkdir::WalkDir::new(path).max_depth(MAX_DEPTH).sort_by_file_name();
        for entry in walk
            .into_iter()
            .filter_entry(|e| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.'))
        {
            let entry = entry.map_err(|e| Problem::new(ExitCode::Usage, e))?;
            if entry.file_type().is_file() && is_scenario(entry.path()) {
                all.push(entry.into_path());
            }
        }
        if all.len() == before {
            return Err(Problem::new(
                ExitCode::Usage,
                format!("no scenario (*.rhai) below {}", path.display()),
            ));
        }
    }
    Ok(all)
}
