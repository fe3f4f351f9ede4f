//! `drill convert`.

use super::{Ended, print_json};
use crate::cli::{ConvertArgs, Generation, TableArg};
use crate::world::{Problem, kit, open_image, random_id};
use drills::verdict::ExitCode;
use engine::container::{ExportError, ExportOptions, Opened, OutFormat};
use engine::convert::{Capsule, Gen1Options, Plan, Refusal, TableChoice, to_gen1, to_gen2};
use engine::disk::DiskRef;
use qemu::Cancel;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Longest capsule file that is read.
const MAX_CAPSULE: u64 = 4 << 20;

/// Convert an image into a new file, or show the plan.
pub fn convert(args: &ConvertArgs, cancel: &Cancel) -> Ended {
    let format = out_format(args)?;
    if !args.dry_run && args.out.symlink_metadata().is_ok() {
        return Err(Problem::new(ExitCode::Failed, format!("{} exists already", args.out.display()))
            .next("choose another name; nothing is ever overwritten"));
    }
    let opened = open_image(&args.image, None, &args.parents)?;
    let plan = planned(args, &opened, cancel)?;
    if args.dry_run {
        if args.json {
            print_json(&serde_json::json!({"image": args.image, "plan": plan}))?;
        } else {
            print!("{plan}");
        }
        return Ok(ExitCode::Passed);
    }
    if !args.json {
        print!("{plan}");
    }
    let broken = |e: &dyn std::fmt::Display| Problem::new(ExitCode::Broken, e.to_string());
    let result: DiskRef = plan.patch.apply(&opened.disk).map_err(|e| broken(&e))?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let mut options = ExportOptions::new(random_id()?, now);
    options.protect = opened.identities();
    let bar = !args.json && std::io::stderr().is_terminal();
    let mut shown = 101;
    let mut progress = |p: engine::container::Progress| {
        let percent = p.done.saturating_mul(100).checked_div(p.total).unwrap_or(100);
        if bar && percent != shown {
            shown = percent;
            eprint!("\r  writing {:>3} %  {} of {} MiB", percent, p.done >> 20, p.total >> 20);
            let _ = std::io::stderr().flush();
        }
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let exported = engine::container::export(&*result, &args.out, format, &options, &mut progress);
    if bar {
        eprintln!();
    }
    let exported = exported.map_err(|e| match e {
        ExportError::Cancelled => Problem::new(ExitCode::Interrupted, "interrupted; nothing was left behind"),
        ExportError::Exists { .. } | ExportError::Source { .. } | ExportError::Shape { .. } => {
            Problem::new(ExitCode::Failed, e)
        }
        other => Problem::new(ExitCode::Broken, other)
            .next("nothing was left under the final name; make room or choose another folder"),
    })?;
    let capsule = match &plan.capsule {
        Some(capsule) => Some(keep_capsule(&args.out, capsule)?),
        None => None,
    };
    opened.unchanged().map_err(|e| {
        Problem::new(ExitCode::Broken, e)
            .next("somebody changed the source while it was read: do not trust the result, convert again")
    })?;
    if args.json {
        print_json(
            &serde_json::json!({"image": args.image, "plan": plan, "result": exported, "capsule": capsule}),
        )?;
    } else {
        println!("wrote {} ({} MiB of data)", exported.path.display(), exported.written.get() >> 20);
        if let Some(capsule) = capsule {
            println!("      {} (what failback needs; the disk carries a copy)", capsule.display());
        }
    }
    Ok(ExitCode::Passed)
}

fn planned(args: &ConvertArgs, opened: &Opened, cancel: &Cancel) -> Result<Plan, Problem> {
    match args.to {
        Generation::Gen1 => {
            let guest =
                engine::guest::inspect(&opened.disk).map_err(|e| Problem::new(ExitCode::Broken, e))?;
            let table = match args.table {
                TableArg::Auto => TableChoice::Auto,
                TableArg::Gpt => TableChoice::Gpt,
                TableArg::Mbr => TableChoice::Mbr,
            };
            let kit = kit(cancel).map_err(|e| {
                let problem = Problem::new(ExitCode::Broken, &e.message);
                match e.next {
                    Some(next) => problem.next(next),
                    None => problem,
                }
            })?;
            to_gen1(&opened.disk, &guest, &kit, &Gen1Options { table })
        }
        Generation::Gen2 => {
            let capsule = args.capsule.as_deref().map(read_capsule).transpose()?;
            to_gen2(&opened.disk, capsule.as_ref())
        }
    }
    .map_err(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Problem {
    let problem = Problem::new(ExitCode::Failed, refusal);
    match refusal.reasons.iter().find(|r| !r.fix.is_empty()) {
        Some(reason) => problem.next(&reason.fix),
        None => problem,
    }
}

fn out_format(args: &ConvertArgs) -> Result<OutFormat, Problem> {
    let ending = args.out.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("vhd") => Ok(OutFormat::FixedVhd),
        Some("vhdx") => Ok(OutFormat::DynamicVhdx),
        Some("raw" | "img") => Ok(OutFormat::Raw),
        _ => Err(Problem::new(ExitCode::Usage, format!("{}: its ending says no format", args.out.display()))
            .next("name it .vhd (fixed VHD), .vhdx (dynamic VHDX), .raw or .img")),
    }
}

/// Beside the result, under its name; an older capsule of that name is not overwritten.
fn keep_capsule(out: &Path, capsule: &Capsule) -> Result<PathBuf, Problem> {
    let mut path = out.as_os_str().to_os_string();
    path.push(".drill-capsule");
    let path = PathBuf::from(path);
    let partial = path.with_extension(format!("drill-partial-{}", std::process::id()));
    let written = std::fs::write(&partial, capsule.to_bytes())
        .and_then(|()| std::fs::File::open(&partial)?.sync_all())
        .and_then(|()| std::fs::hard_link(&partial, &path));
    let _ = std::fs::remove_file(&partial);
    written.map_err(|e| {
        Problem::new(ExitCode::Broken, format!("{}: {e}", path.display()))
            .next("the disk image is whole and carries the capsule itself; only the side file is missing")
    })?;
    Ok(path)
}

fn read_capsule(path: &Path) -> Result<Capsule, Problem> {
    let bad = |e: &dyn std::fmt::Display| Problem::new(ExitCode::Failed, format!("{}: {e}", path.display()));
    let len = std::fs::metadata(path).map_err(|e| bad(&e))?.len();
    if len > MAX_CAPSULE {
        return Err(bad(&format!("{len} bytes are no capsule; wanted at most {MAX_CAPSULE}")));
    }
    let bytes = std::fs::read(path).map_err(|e| bad(&e))?;
    Capsule::from_bytes(&bytes).map_err(|e| bad(&e))
}
