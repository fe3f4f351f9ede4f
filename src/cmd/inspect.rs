//! `drill inspect`.

use super::{Ended, print_json};
use crate::cli::InspectArgs;
use crate::world::{Problem, open_image};
use drills::verdict::ExitCode;
use engine::container::{ContainerInfo, Layout, LogState};
use engine::preflight::{Facts, Subject, azure_ready, check};
use humansize::{BINARY, format_size};

/// Say what an image holds.
pub fn inspect(args: &InspectArgs) -> Ended {
    let format = super::format_named(args.format.as_deref(), "--format")?;
    let opened = open_image(&args.image, format, &args.parents)?;
    let guest = engine::guest::look(&opened.disk)
        .map_err(|e| Problem::new(ExitCode::Broken, format!("{}: {e}", args.image.display())))?;
    let facts = Facts::of(Subject { guest: &guest, container: Some(&opened.info), result: None });
    let preflight = args.profile.map(|id| check(id, &facts));
    let azure = azure_ready(&facts);
    opened.unchanged().map_err(|e| {
        Problem::new(ExitCode::Broken, e)
            .next("the image changed while it was read; look again when it is at rest")
    })?;
    if args.json {
        print_json(
            &serde_json::json!({"image": args.image, "container": opened.info, "guest": guest.inspection,
            "preflight": preflight, "azure_ready": azure}),
        )?;
        return Ok(ExitCode::Passed);
    }
    tell!("image       {}", args.image.display());
    for (label, text) in container_lines(&opened.info) {
        tell!("{label:<11} {text}");
    }
    tell_part!("{}", guest.inspection);
    if let Some(preflight) = preflight {
        tell_part!("{preflight}");
    }
    tell_part!("{azure}");
    Ok(ExitCode::Passed)
}

/// What the container says about itself, a line each.
fn container_lines(info: &ContainerInfo) -> Vec<(&'static str, String)> {
    let size = |n: u64| format_size(n, BINARY.decimal_places(1));
    let mut container = format!("{}, {}", info.format, layout(info.layout));
    if let Some(block) = info.block_size {
        container += &format!(", blocks of {}", size(block));
    }
    if let Some(creator) = &info.creator {
        container += &format!(", made by {creator:?}");
    }
    let mut disk = format!(
        "{} virtual ({} bytes), {} allocated, sectors of {} bytes",
        size(info.virtual_len.get()),
        info.virtual_len.get(),
        size(info.allocated.get()),
        info.sector.bytes()
    );
    if let Some(physical) = info.physical_sector.filter(|p| *p != info.sector) {
        disk += &format!(" ({} physical)", physical.bytes());
    }
    let mut lines = vec![("container", container), ("size", disk), ("file", size(info.file_len.get()))];
    if let Some(id) = info.disk_id {
        lines.push(("id", id.to_string()));
    }
    if let Some(log) = info.log {
        lines.push(("log", log_state(log)));
    }
    for (depth, parent) in (1..).zip(&info.chain) {
        let mut text =
            format!("{depth}. {} ({}, {})", parent.path.display(), parent.format, layout(parent.layout));
        if let Some(log @ LogState::Replayed { .. }) = parent.log {
            text += &format!("; log {}", log_state(log));
        }
        lines.push(("parent", text));
    }
    lines.extend(info.notes.iter().map(|note| ("note", note.clone())));
    lines
}

fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Fixed => "fixed",
        Layout::Dynamic => "dynamic",
        Layout::Differencing => "differencing",
    }
}

fn log_state(log: LogState) -> String {
    match log {
        LogState::Clean => "clean".into(),
        LogState::Replayed { first, last } => format!(
            "dirty: entries {first} to {last} were not in place; replayed in memory, the file is as it was"
        ),
    }
}
