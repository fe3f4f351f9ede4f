//! Images to work on, made by `qemu-img` and `sgdisk`.

use crate::contender::Tools;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2^20
pub const MIB: u64 = 1 << 20;
/// 2^30
pub const GIB: u64 = 1 << 30;
/// 2^40
pub const TIB: u64 = 1 << 40;
/// Length of one stretch of data on a sparse disk: a block of the VHDX that `qemu-img` makes of a large disk.
const STRETCH: u64 = 32 * MIB;

/// An image to be.
#[derive(Clone, Debug)]
pub struct Source {
    len: u64,
    /// Stretches of random data; none for a disk that is full of it.
    stretches: Option<u64>,
    /// The sample guest in the beginning of the disk, and nothing else.
    guest: bool,
    block_size: Option<u64>,
    format: &'static str,
}

impl Source {
    /// A dynamic VHDX with a partition table and so many stretches of 32 MiB, spread over the disk.
    pub fn sparse(len: u64, stretches: u64, block_size: Option<u64>) -> Source {
        Source { len, stretches: Some(stretches), guest: false, block_size, format: "vhdx" }
    }

    /// A disk full of random data.
    pub fn dense(len: u64, format: &'static str) -> Source {
        Source { len, stretches: None, guest: false, block_size: None, format }
    }

    /// The sample guest on a dynamic VHDX of this length.
    pub fn guest(len: u64) -> Source {
        Source { len, stretches: None, guest: true, block_size: None, format: "vhdx" }
    }

    /// In words.
    pub fn describe(&self) -> String {
        let block = self.block_size.map(|b| format!(" in blocks of {} MiB", b / MIB)).unwrap_or_default();
        format!(
            "{} GiB{block}, {} MiB of data",
            self.len / GIB,
            self.stretches.map_or(self.len, |n| n * STRETCH) / MIB
        )
    }

    /// Make the image in a folder and flush it.
    ///
    /// # Errors
    /// What the system or a tool says.
    pub fn make(&self, dir: &Path, tools: &Tools) -> Result<PathBuf> {
        let (raw, image) = (dir.join("source.raw"), dir.join(format!("source.{}", self.format)));
        if self.guest {
            start_with_guest(&raw, tools)?;
        }
        let file =
            File::options().write(true).create(true).truncate(false).open(&raw).context("the raw source")?;
        file.set_len(self.len)?;
        let mut random = File::open("/dev/urandom")?;
        match self.stretches {
            None if self.guest => {}
            None => fill(&file, &mut random, 0, self.len)?,
            Some(count) => {
                // The first one behind the table, the others evenly over the disk.
                for i in 0..count {
                    let at =
                        (self.len / count * i).next_multiple_of(STRETCH) + if i == 0 { STRETCH } else { 0 };
                    fill(&file, &mut random, at, STRETCH)?;
                }
            }
        }
        drop(file);
        let path = |p: &Path| p.to_str().map(str::to_owned).context("a UTF-8 path");
        if self.stretches.is_some() {
            run("sgdisk", &["-n", "1:2048:0", "-t", "1:8300", &path(&raw)?])?;
        }
        if self.guest {
            // The backup of the table goes to the new end.
            run("sgdisk", &["-e", &path(&raw)?])?;
        }
        let (raw_text, image_text) = (path(&raw)?, path(&image)?);
        let mut args = vec!["convert", "-f", "raw", "-O", self.format];
        let option = self.block_size.map(|b| format!("block_size={b}"));
        if let Some(option) = &option {
            args.extend(["-o", option.as_str()]);
        }
        args.extend([raw_text.as_str(), image_text.as_str()]);
        run("qemu-img", &args)?;
        std::fs::remove_file(&raw)?;
        crate::cache::flush(&image)?;
        Ok(image)
    }
}

/// The sample disk that drill makes, as a raw one.
fn start_with_guest(raw: &Path, tools: &Tools) -> Result<()> {
    let made = raw.with_extension("sample.vhdx");
    let text = |p: &Path| p.to_str().map(str::to_owned).context("a UTF-8 path");
    run(&text(&tools.drill)?, &["fixture", "tiny-gen2", &text(&made)?])?;
    run("qemu-img", &["convert", "-O", "raw", &text(&made)?, &text(raw)?])?;
    Ok(std::fs::remove_file(made)?)
}

fn fill(file: &File, random: &mut File, at: u64, len: u64) -> Result<()> {
    let mut buf = vec![0; MIB as usize];
    for i in 0..len / MIB {
        random.read_exact(&mut buf)?;
        file.write_all_at(&buf, at + i * MIB)?;
    }
    Ok(())
}

/// Run a tool that is not timed.
///
/// # Errors
/// What it said.
pub fn run(tool: &str, args: &[&str]) -> Result<()> {
    let out = Command::new(tool).args(args).output().with_context(|| format!("running {tool}"))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    anyhow::ensure!(out.status.success(), "{tool} {}: {}: {}", args.join(" "), out.status, said.trim());
    Ok(())
}
