//! `drill-bench`: times whole processes, drill's and its peers', on one machine in one run.
//!
//! ```text
//! case ─ sources (made once) ─► rounds: drill, peer, … one after the other, each time another one first
//!                                 before each: sync, the result of the last one removed, the source's cache made cold or warm
//!                              ─► medians, quartiles, ratios of each round ─► the demand: MET or NOT MET
//! ```
//! Two figures for each copy: **copied** (nobody waits for the storage) and **durable** (everybody does: drill flushes itself, a peer's result
//! and its folder are flushed by this program within the timed span). The peer's own flushing modes are not used: `qemu-img convert -t none` would
//! go round the page cache, which is another way of copying, and `-t writeback` flushes the file but not its name; a flush behind a plain
//! conversion asks for the least work that gives the same promise.
//!
//! Not measured: the work that kernel threads do for a process (writeback) is in nobody's CPU time. A process's peak memory is never told lower
//! than this program's own, which is a few MiB.

mod bare;
mod cache;
mod case;
mod cases;
mod contender;
mod demand;
mod machine;
mod report;
mod rounds;
mod source;
mod stats;
mod workplace;

use anyhow::{Context as _, Result};
use case::{Case, NotPerformed};
use clap::Parser;
use report::Report;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use workplace::Workplace;

/// Pairs of a full run.
const PAIRS: usize = 10;
/// Pairs of a quick run.
const PAIRS_QUICK: usize = 3;

/// Time drill against qemu-img and cp.
#[derive(Parser, Debug)]
#[command(name = "drill-bench", version)]
struct Args {
    /// Three pairs of smaller disks: to try the program, not to judge by.
    #[arg(long)]
    quick: bool,
    /// Pairs of each case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: Option<u16>,
    /// Only cases whose names begin with this; may be given more than once.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Print the names of all cases.
    #[arg(long)]
    list: bool,
    /// Folder to work in: a folder is made in it, and removed at the end.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Folder on a tmpfs, for the cases that no device limits.
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    memory_dir: PathBuf,
    /// The drill to time; the one beside this program otherwise.
    #[arg(long, value_name = "FILE")]
    drill: Option<PathBuf>,
    /// Write the tables here too, as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Hash a file on one thread (BLAKE3) and end: a peer of this program's own.
    #[arg(long, value_name = "FILE", hide = true)]
    hash_file: Option<PathBuf>,
    /// Start QEMU as drill did with this image, wait for the marker, shut it down: a peer of this program's own.
    #[arg(long, value_name = "FILE", hide = true)]
    bare_boot: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(file) = &args.hash_file {
        return contender::hash_file(file);
    }
    if let Some(image) = &args.bare_boot {
        return bare::boot(image);
    }
    let all = cases::all(args.quick);
    let chosen: Vec<Case> = all
        .into_iter()
        .filter(|c| args.cases.is_empty() || args.cases.iter().any(|name| c.name.starts_with(name)))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no case is called {:?}; --list names them all", args.cases);
    if args.list {
        chosen.iter().for_each(|c| println!("{:24} {}", c.name, c.what));
        return Ok(());
    }
    run(&args, &chosen)
}

fn run(args: &Args, cases: &[Case]) -> Result<()> {
    // The running child gets the signal too and fails; the folder is then removed on the way out.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("signals")?;
    }
    let pairs = args.pairs.map_or(if args.quick { PAIRS_QUICK } else { PAIRS }, usize::from);
    let tools = contender::Tools::find(args.drill.as_deref())?;
    let mut report = Report::new(machine::describe(&args.dir, &tools)?, pairs, args.quick);
    report.print_head();
    for case in cases {
        // A place of its own for each case, so that one case's sources are gone before the next one needs the room.
        let outcome = Workplace::new(case.place, &args.dir, &args.memory_dir, case.room_needed)
            .and_then(|place| rounds::run(case, &place, &tools, pairs, &stop));
        match outcome {
            Ok(result) => report.add(case, &result),
            Err(e) => match e.downcast::<NotPerformed>() {
                Ok(why) => report.not_performed(case, &why),
                Err(e) if stop.load(Ordering::Relaxed) => return Err(e.context("stopped")),
                Err(e) => return Err(e.context(format!("case {}", case.name))),
            },
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    match &args.markdown {
        Some(path) => {
            std::fs::write(path, report.markdown()).with_context(|| format!("writing {}", path.display()))
        }
        None => Ok(()),
    }
}
