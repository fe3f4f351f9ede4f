//! `drill inspect`.

use super::{Ended, print_json};
use crate::cli::InspectArgs;
use crate::world::{Problem, open_image};
use drills::verdict::ExitCode;
use engine::container::Format;
use engine::units::MIB;

/// Say what an image holds.
pub fn inspect(args: &InspectArgs) -> Ended {
    let format = args
        .format
        .as_deref()
        .map(str::parse::<Format>)
        .transpose()
        .map_err(|e| Problem::new(ExitCode::Usage, format!("--format: {e}")))?;
    let opened = open_image(&args.image, format, &args.parents)?;
    let guest = engine::guest::inspect(&opened.disk)
        .map_err(|e| Problem::new(ExitCode::Broken, format!("{}: {e}", args.image.display())))?;
    opened.unchanged().map_err(|e| {
        Problem::new(ExitCode::Broken, e)
            .next("the image changed while it was read; look again when it is at rest")
    })?;
    if args.json {
        print_json(&serde_json::json!({"image": args.image, "container": opened.info, "guest": guest}))?;
        return Ok(ExitCode::Passed);
    }
    let info = &opened.info;
    let mib = |n: u64| format!("{} MiB", n.div_ceil(MIB));
    println!(
        "image       {} ({}, {} virtual, {} allocated, file {})",
        args.image.display(),
        info.format,
        mib(info.virtual_len.get()),
        mib(info.allocated.get()),
        mib(info.file_len.get())
    );
    print!("{guest}");
    Ok(ExitCode::Passed)
}
