//! Everybody in turn, as often as is wanted.

use crate::cache;
use crate::case::Case;
use crate::contender::{Action, Contender, Tools};
use crate::stats::Spread;
use crate::workplace::Workplace;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// What one run of one contender took.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    wall: Duration,
    /// User and system time of its processes.
    cpu: Duration,
    /// Largest resident set of any of its processes, bytes.
    memory: u64,
    /// Bytes that the file system had less afterwards.
    taken: u64,
    result_len: u64,
}

/// What all runs of one contender took.
#[derive(Clone, Debug)]
pub struct Side {
    /// Who.
    pub name: String,
    /// Seconds.
    pub wall: Spread,
    /// Seconds of user and system time.
    pub cpu: Spread,
    /// Largest resident set, bytes.
    pub memory: u64,
    /// Most bytes that the file system had less after a run.
    pub taken: u64,
    /// Length of the result, bytes.
    pub result_len: u64,
    samples: Vec<Sample>,
}

/// What came out of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Contenders in the case's order.
    pub sides: Vec<Side>,
}

impl Outcome {
    /// How many times faster drill was than `other` in each round.
    pub fn ratios(&self, other: usize) -> Spread {
        self.of_rounds(other, |own, other| other.wall.as_secs_f64() / own.wall.as_secs_f64())
    }

    /// How many times the CPU time of `other` drill used in each round.
    pub fn cpu_shares(&self, other: usize) -> Spread {
        self.of_rounds(other, |own, other| own.cpu.as_secs_f64() / other.cpu.as_secs_f64())
    }

    fn of_rounds(&self, other: usize, ratio: impl Fn(&Sample, &Sample) -> f64) -> Spread {
        let (Some(drill), Some(other)) = (self.sides.first(), self.sides.get(other)) else {
            return Spread::default();
        };
        Spread::of(drill.samples.iter().zip(&other.samples).map(|(own, other)| ratio(own, other)))
    }
}

/// Run a case.
///
/// # Errors
/// When a source cannot be made, a contender fails, or `stop` was set.
pub fn run(
    case: &Case,
    place: &Workplace,
    tools: &Tools,
    pairs: usize,
    stop: &AtomicBool,
) -> Result<Outcome> {
    progress(&format!("{}: making the source", case.name));
    let source = case.source.make(place.path(), tools)?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); case.contenders.len()];
    for round in 0..pairs {
        // Another one first each time: whoever comes first never finds the machine as the one before left it.
        for turn in 0..case.contenders.len() {
            let i = (round + turn) % case.contenders.len();
            let (Some(contender), Some(list)) = (case.contenders.get(i), samples.get_mut(i)) else {
                continue;
            };
            progress(&format!("{}: round {} of {pairs}: {}", case.name, round + 1, contender.name));
            list.push(once(case, contender, place, tools, &source)?);
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "a signal came");
        }
    }
    progress("");
    let sides = case.contenders.iter().zip(samples).map(|(c, samples)| Side {
        name: c.name.clone(),
        wall: Spread::of(samples.iter().map(|s| s.wall.as_secs_f64())),
        cpu: Spread::of(samples.iter().map(|s| s.cpu.as_secs_f64())),
        memory: samples.iter().map(|s| s.memory).max().unwrap_or(0),
        taken: samples.iter().map(|s| s.taken).max().unwrap_or(0),
        result_len: samples.iter().map(|s| s.result_len).max().unwrap_or(0),
        samples,
    });
    Ok(Outcome { sides: sides.collect() })
}

fn once(
    case: &Case,
    contender: &Contender,
    place: &Workplace,
    tools: &Tools,
    source: &Path,
) -> Result<Sample> {
    let result = place.path().join("result.img");
    cache::settle(place.path())?;
    cache::prepare(source, case.cache)?;
    let (free, mut sample) = (place.free()?, Sample::default());
    let actions = contender.actions(tools, source, &result);
    let begin = Instant::now();
    for action in actions {
        match action {
            Action::Flush => cache::flush(&result)?,
            Action::Run(program, words) => {
                let mut command = Command::new(program);
                command.args(words);
                let (cpu, memory) = time(&mut command, place.path())?;
                sample.cpu += cpu;
                sample.memory = sample.memory.max(memory);
            }
        }
    }
    sample.wall = begin.elapsed();
    // Blocks are counted once they have a place, and removed outside of anybody's time.
    cache::settle(place.path())?;
    sample.taken = free.saturating_sub(place.free()?);
    if result.is_dir() {
        std::fs::remove_dir_all(&result)?;
    }
    sample.result_len = std::fs::metadata(&result).map_or(0, |m| m.len());
    if sample.result_len > 0 {
        std::fs::remove_file(&result)?;
        // What `drill convert --to gen1` leaves beside it.
        match std::fs::remove_file(place.path().join("result.img.drill-capsule")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    Ok(sample)
}

/// CPU time and largest resident set of a process that must succeed.
fn time(command: &mut Command, dir: &Path) -> Result<(Duration, u64)> {
    let mut said = tempfile::tempfile_in(dir)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("running {command:?}"))?;
    let used = child.wait4()?;
    if !used.status.success() {
        said.rewind()?;
        anyhow::bail!("{command:?}: {}: {}", used.status, read(&mut said)?.trim());
    }
    Ok((used.rusage.utime + used.rusage.stime, used.rusage.maxrss))
}

fn read(file: &mut File) -> Result<String> {
    Ok(std::io::read_to_string(file)?)
}

/// One line that the next one takes the place of.
fn progress(text: &str) {
    if rustix::termios::isatty(std::io::stderr()) {
        eprint!("\r\x1b[K{text}");
        let _ = std::io::stderr().flush();
    }
}
