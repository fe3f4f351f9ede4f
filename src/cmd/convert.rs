//! `drill convert`.

use super::{Ended, print_json};
use crate::cli::{ConvertArgs, FormatArg, Generation, TableArg};
use crate::progress::Meter;
use crate::world::{Problem, kit, open_image, random_id};
use drills::verdict::ExitCode;
use engine::container::export::{Base, export_child};
use engine::container::{ExportError, ExportOptions, Exported, Flush, Opened, OutFormat, Phase};
use engine::convert::{Capsule, Gen1Options, Plan, Refusal, TableChoice, lower, to_gen1, to_gen2};
use engine::disk::{DiskRef, Geometry, Overlay};
use engine::preflight::{Asked, AzureReady, Facts, Subject, ask, azure_ready};
use engine::units::{ByteLen, ByteOffset, MIB};
use qemu::Cancel;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Longest capsule file that is read.
const MAX_CAPSULE: u64 = 4 << 20;

/// Convert an image into a new file, or show the plan.
pub fn convert(args: &ConvertArgs, cancel: &Cancel) -> Ended {
    if args.profile.is_some() && args.to == Some(Generation::Gen2) {
        return Err(Problem::new(
            ExitCode::Usage,
            "--profile needs --to gen1: its rules are about the way there",
        ));
    }
    let format = out_format(args)?;
    if args.child && format != OutFormat::Qcow2 {
        return Err(Problem::new(ExitCode::Usage, format!("{}: a child is a qcow2", args.out.display()))
            .next("name it .qcow2"));
    }
    let from = super::format_named(args.from.as_deref(), "--from")?;
    if !args.dry_run && args.out.symlink_metadata().is_ok() {
        return Err(Problem::new(ExitCode::Failed, format!("{} exists already", args.out.display()))
            .next("choose another name; nothing is ever overwritten"));
    }
    if !args.dry_run
        && args.to == Some(Generation::Gen1)
        && capsule_path(&args.out).symlink_metadata().is_ok()
    {
        let message = format!("{} exists already", capsule_path(&args.out).display());
        return Err(Problem::new(ExitCode::Failed, message)
            .next("it is the capsule of an earlier result: move it away, or choose another name"));
    }
    let opened = open_image(&args.image, from, &args.parents)?;
    let work = work(args, &opened, format, cancel)?;
    if args.dry_run || !args.json {
        show(args, &work, &opened)?;
    }
    if args.dry_run {
        return Ok(ExitCode::Passed);
    }
    let exported = write(args, &work, &opened, format, cancel)?;
    let capsule = match work.plan.as_ref().and_then(|p| p.capsule.as_ref()) {
        Some(capsule) => Some(keep_capsule(&args.out, capsule)?),
        None => None,
    };
    if args.json {
        print_json(&serde_json::json!({"image": args.image, "plan": outlined(&work)?, "note": work.note,
            "preflight": work.asked.as_ref().map(|a| &a.preflight), "result": exported, "capsule": capsule}))?;
    } else {
        let size = |n: u64| humansize::format_size(n, humansize::BINARY.decimal_places(1));
        tell!("wrote {} ({} of data)", exported.path.display(), size(exported.written.get()));
        if args.child {
            tell!("      on top of {}: keep that where it is, and as it is", args.image.display());
        }
        if let Some(hash) = exported.hash {
            tell!("      blake3 {hash} (of the disk, read back from the new file)");
        }
        if let Some(capsule) = capsule {
            tell!("      {} (what failback needs; the disk carries a copy)", capsule.display());
        }
    }
    Ok(ExitCode::Passed)
}

/// What is to be written.
struct Work {
    /// Only with a change of generation.
    plan: Option<Plan>,
    /// What the rules said on the way to Generation 1, and, for a dry run, whether the guest is ready for Azure.
    asked: Option<Asked>,
    azure: Option<AzureReady>,
    disk: DiskRef,
    /// What the plan writes: offset and length in bytes.
    changed: Vec<(ByteOffset, u64)>,
    /// What the reader should know about a disk that is not quite the source's.
    note: Option<String>,
}

fn work(args: &ConvertArgs, opened: &Opened, format: OutFormat, cancel: &Cancel) -> Result<Work, Problem> {
    if let Some(to) = args.to {
        let (plan, asked, azure) = match to {
            Generation::Gen1 => to_first(args, opened, format, cancel)?,
            Generation::Gen2 => (to_second(args, opened)?, None, None),
        };
        let lowered = lower(&plan.patch, &opened.disk).map_err(|e| Problem::new(ExitCode::Broken, e))?;
        let disk = lowered.apply(&opened.disk).map_err(|e| Problem::new(ExitCode::Broken, e))?;
        let changed = lowered.writes.iter().map(|w| (w.at, w.new.len())).collect();
        return Ok(Work { plan: Some(plan), asked, azure, disk, changed, note: None });
    }
    let plain = |disk, note| Work { plan: None, asked: None, azure: None, disk, changed: Vec::new(), note };
    let shape = opened.disk.geometry();
    let odd = shape.len.get() % MIB;
    if format != OutFormat::FixedVhd || odd == 0 {
        return Ok(plain(opened.disk.clone(), None));
    }
    let geometry = Geometry { len: ByteLen(shape.len.get() + (MIB - odd)), ..shape };
    let disk = Overlay::new(opened.disk.clone(), geometry, Vec::new())
        .map_err(|e| Problem::new(ExitCode::Broken, e))?;
    let note = format!(
        "the disk is {} bytes longer than its source, so that it is whole MiB as Azure demands: zeros at its end, behind the backup of a GPT",
        MIB - odd
    );
    Ok(plain(std::sync::Arc::new(disk), Some(note)))
}

fn outlined(work: &Work) -> Result<Option<serde_json::Value>, Problem> {
    let outlined = work.plan.as_ref().map(engine::convert::outline).transpose();
    outlined.map_err(|e| Problem::new(ExitCode::Broken, e))
}

/// What will be done, before it is done.
fn show(args: &ConvertArgs, work: &Work, opened: &Opened) -> Result<(), Problem> {
    if args.json {
        return print_json(
            &serde_json::json!({"image": args.image, "plan": outlined(work)?, "note": work.note,
            "preflight": work.asked.as_ref().map(|a| &a.preflight), "azure_ready": work.azure}),
        );
    }
    match &work.plan {
        Some(plan) => tell_part!("{plan}"),
        None => {
            tell!("{} → {}: the same disk in another container", opened.info.format, args.out.display())
        }
    }
    for note in opened.info.notes.iter().chain(&work.note) {
        tell!("note: {note}");
    }
    if let Some(asked) = &work.asked {
        tell!("");
        tell_part!("{}", asked.preflight);
    }
    if let Some(azure) = &work.azure {
        tell_part!("{azure}");
    }
    Ok(())
}

fn write(
    args: &ConvertArgs,
    work: &Work,
    opened: &Opened,
    format: OutFormat,
    cancel: &Cancel,
) -> Result<Exported, Problem> {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let mut options = ExportOptions::new(random_id()?, now);
    options.protect = opened.identities();
    options.hash = args.hash;
    options.mode = opened.mode();
    options.flush = if args.no_flush { Flush::Never } else { Flush::Durable };
    for left in engine::container::export::left_overs(&args.out) {
        warn_line!(
            "  {} is left from an export that was interrupted; it goes, and this one starts clean",
            left.display()
        );
    }
    let still = || opened.unchanged();
    if args.child {
        return child(args, work, opened, &options, &still);
    }
    let mut meter = Meter::new(args.json);
    let mut progress = |p: engine::container::Progress| {
        meter.show(
            match p.phase {
                Phase::Copying => "copying",
                Phase::Hashing => "reading back",
            },
            p.done,
            p.total,
        );
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let exported =
        engine::container::export_if(&*work.disk, &args.out, format, &options, &mut progress, &still);
    meter.end();
    exported.map_err(not_written)
}

/// Only what the plan changes, on top of the image.
fn child(
    args: &ConvertArgs,
    work: &Work,
    opened: &Opened,
    options: &ExportOptions,
    still: &dyn Fn() -> Result<(), engine::disk::file::Changed>,
) -> Result<Exported, Problem> {
    let base = Base::of(opened, &args.out).map_err(|e| {
        Problem::new(ExitCode::Failed, e).next("make a whole copy instead: the same command without --child")
    })?;
    export_child(&*work.disk, &work.changed, &base, &args.out, options, still).map_err(not_written)
}

fn not_written(e: ExportError) -> Problem {
    match e {
        ExportError::Cancelled => Problem::new(ExitCode::Interrupted, "interrupted; nothing was left behind"),
        ExportError::Shape { .. } => Problem::new(ExitCode::Failed, e)
            .next("choose a format that can hold it: --format vhdx or --format raw hold any disk"),
        ExportError::Changed(e) => Problem::new(ExitCode::Broken, e)
            .next("nothing was kept: it would be the copy of a state the disk never had; convert again when the source is at rest"),
        ExportError::Read(e) => Problem::new(ExitCode::Broken, format!("reading the disk: {e}"))
            .next("check the storage the image lies on, and that nobody changes the image; nothing was kept"),
        ExportError::Path { .. } => {
            Problem::new(ExitCode::Failed, e).next("give the name of a new file in a folder that is there")
        }
        ExportError::Exists { .. } | ExportError::Source { .. } => Problem::new(ExitCode::Failed, e),
        other => Problem::new(ExitCode::Broken, other)
            .next("nothing was left under the final name; make room or choose another folder"),
    }
}

/// Everything that speaks against it is told at once: the profile, what drill itself needs, and what its planner says.
fn to_first(
    args: &ConvertArgs,
    opened: &Opened,
    format: OutFormat,
    cancel: &Cancel,
) -> Result<(Plan, Option<Asked>, Option<AzureReady>), Problem> {
    let guest = engine::guest::look(&opened.disk).map_err(|e| Problem::new(ExitCode::Broken, e))?;
    let facts = Facts::of(Subject { guest: &guest, container: Some(&opened.info), result: Some(format) });
    let asked = ask(args.profile.unwrap_or_default(), &facts);
    let table = match args.table {
        TableArg::Auto => TableChoice::Auto,
        TableArg::Gpt => TableChoice::Gpt,
        TableArg::Mbr => TableChoice::Mbr,
    };
    // What GRUB's maker says is the host's fault, not a reason of the disk's.
    let fault = std::cell::RefCell::new(None);
    let kits = |lba| {
        kit(lba, cancel).map_err(|e| {
            let text = e.message.clone();
            *fault.borrow_mut() = Some(e);
            text
        })
    };
    let plan = to_gen1(
        &opened.disk,
        &guest.inspection,
        &kits,
        &Gen1Options { table, cmdline: args.cmdline.clone() },
    );
    let fault = fault.take();
    let planner = plan.as_ref().err().filter(|_| fault.is_none());
    if let Some(refused) = asked.refused(planner) {
        let problem = Problem::new(ExitCode::Failed, &refused).details(&refused);
        return Err(match refused.next() {
            Some(next) => problem.next(next),
            None => problem,
        });
    }
    if let Some(e) = fault {
        let problem = Problem::new(ExitCode::Broken, &e.message);
        return Err(match e.next {
            Some(next) => problem.next(next),
            None => problem,
        });
    }
    // Nothing refuses it, so a plan that is none has no reason but those that were told.
    let plan = plan.map_err(|refusal| refused(&refusal))?;
    let azure = args.dry_run.then(|| azure_ready(&facts));
    Ok((plan, Some(asked), azure))
}

fn to_second(args: &ConvertArgs, opened: &Opened) -> Result<Plan, Problem> {
    let capsule = args.capsule.as_deref().map(read_capsule).transpose()?;
    to_gen2(&opened.disk, capsule.as_ref()).map_err(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Problem {
    let problem = Problem::new(ExitCode::Failed, refusal);
    match refusal.next() {
        Some(next) => problem.next(next),
        None => problem,
    }
}

fn out_format(args: &ConvertArgs) -> Result<OutFormat, Problem> {
    if let Some(format) = args.format {
        return Ok(match format {
            FormatArg::Vhd => OutFormat::FixedVhd,
            FormatArg::VhdDynamic => OutFormat::DynamicVhd,
            FormatArg::Vhdx => OutFormat::DynamicVhdx,
            FormatArg::VhdxFixed => OutFormat::FixedVhdx,
            FormatArg::Raw => OutFormat::Raw,
            FormatArg::Qcow2 => OutFormat::Qcow2,
        });
    }
    let ending = args.out.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("vhd") => Ok(OutFormat::FixedVhd),
        Some("vhdx") => Ok(OutFormat::DynamicVhdx),
        Some("qcow2") => Ok(OutFormat::Qcow2),
        Some("raw" | "img") => Ok(OutFormat::Raw),
        _ => Err(Problem::new(ExitCode::Usage, format!("{}: its ending says no format", args.out.display()))
            .next("say it with --format, or name it .vhd (fixed VHD), .vhdx (dynamic VHDX), .qcow2, .raw or .img")),
    }
}

/// Beside the result, under its name.
fn capsule_path(out: &Path) -> PathBuf {
    let mut path = out.as_os_str().to_os_string();
    path.push(".drill-capsule");
    PathBuf::from(path)
}

/// An older capsule of that name is not overwritten.
fn keep_capsule(out: &Path, capsule: &Capsule) -> Result<PathBuf, Problem> {
    let path = capsule_path(out);
    let partial = path.with_extension(format!("drill-partial-{}", std::process::id()));
    let written = std::fs::File::create_new(&partial)
        .and_then(|mut file| file.write_all(&capsule.to_bytes()).and_then(|()| file.sync_all()))
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
