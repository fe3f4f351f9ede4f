//! `drill fixture`.

use super::Ended;
use crate::cli::FixtureArgs;
use crate::world::{Problem, cache_dir};
use anyhow::Context;
use drills::verdict::ExitCode;
use qemu::Cancel;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// Bytes copied between two looks at the cancel token, or left out when they are all zeros.
const PIECE: usize = 1 << 20;

/// Make a sample disk, or name them all.
pub fn fixture(args: &FixtureArgs, cancel: &Cancel) -> Ended {
    if args.name == "list" && args.out.is_none() {
        for recipe in fixtures::list() {
            tell!("{:<24} {}", recipe.name, recipe.about);
        }
        return Ok(ExitCode::Passed);
    }
    let Some(out) = &args.out else {
        return Err(Problem::new(ExitCode::Usage, "drill fixture NAME OUT: the new file is missing")
            .next("drill fixture list names the samples"));
    };
    if out.symlink_metadata().is_ok() {
        return Err(Problem::new(ExitCode::Failed, format!("{} exists already", out.display()))
            .next("choose another name; nothing is ever overwritten"));
    }
    let cache = cache_dir()?;
    let built =
        fixtures::build(&args.name, &cache, &mut |line| warn_line!("  {line}"), &|| cancel.is_cancelled())
            .map_err(|e| match e {
                fixtures::FixtureError::Cancelled { .. } => Problem::new(ExitCode::Interrupted, e),
                fixtures::FixtureError::Unknown { .. } => Problem::new(ExitCode::Usage, e),
                other => {
                    Problem::new(ExitCode::Broken, other).next("drill doctor says which tools are missing")
                }
            })?;
    let partial = out.with_extension(format!("drill-partial-{}", std::process::id()));
    let copied = copy(&built, &partial, cancel).and_then(|()| {
        std::fs::hard_link(&partial, out).with_context(|| format!("naming {}", out.display()))
    });
    let _ = std::fs::remove_file(&partial);
    copied?;
    tell!("{} is in {}", args.name, out.display());
    Ok(ExitCode::Passed)
}

fn copy(from: &std::path::Path, to: &std::path::Path, cancel: &Cancel) -> anyhow::Result<()> {
    let mut source = std::fs::File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)
        .with_context(|| format!("making {}", to.display()))?;
    let mut piece = vec![0; PIECE];
    let mut len = 0;
    loop {
        anyhow::ensure!(!cancel.is_cancelled(), "interrupted");
        let n = source.read(&mut piece).context("reading the sample")?;
        if n == 0 {
            break;
        }
        let data = piece.get(..n).unwrap_or_default();
        // Zeros stay a hole: a raw sample is mostly empty.
        if data.iter().any(|b| *b != 0) {
            target.write_all_at(data, len).with_context(|| format!("writing {}", to.display()))?;
        }
        len += n as u64;
    }
    target.set_len(len).with_context(|| format!("writing {}", to.display()))?;
    target.sync_all().context("flushing")
}
