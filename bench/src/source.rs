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
    content: Content,
    block_size: Option<u64>,
    format: &'static str,
}

/// What is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    /// A partition table and so many stretches of random data.
    Stretches(u64),
    /// Random data from end to end.
    Full,
    /// The sample guest in the beginning, and nothing else.
    Guest,
    /// The same; and drill has started it once, so that its QEMU's arguments are known.
    Booted,
}

impl Source {
    /// A dynamic VHDX with a partition table and so many stretches of 32 MiB, spread over the disk.
    pub fn sparse(len: u64, stretches: u64, block_size: Option<u64>) -> Source {
        Source { len, content: Content::Stretches(stretches), block_size, format: "vhdx" }
    }

    /// A disk full of random data.
    pub fn dense(len: u64, format: &'static str) -> Source {
        Source { len, content: Content::Full, block_size: None, format }
    }

    /// The sample guest on a dynamic VHDX of this length.
    pub fn guest(len: u64) -> Source {
        Source { len, content: Content::Guest, block_size: None, format: "vhdx" }
    }

    /// The same, with [`crate::bare`]'s notes of a boot by drill beside it.
    pub fn booted(len: u64) -> Source {
        Source { len, content: Content::Booted, block_size: None, format: "vhdx" }
    }

    /// In words.
    pub fn describe(&self) -> String {
        let block = self.block_size.map(|b| format!(" in blocks of {} MiB", b / MIB)).unwrap_or_default();
        let data = match self.content {
            Content::Stretches(n) => format!("{} MiB of data", n * STRETCH / MIB),
            Content::Full => format!("{} MiB of data", self.len / MIB),
            Content::Guest | Content::Booted => "the sample guest on it".into(),
        };
        format!("{} GiB{block}, {data}", self.len / GIB)
    }

    /// Make the image in a folder and flush it.
    ///
    /// # Errors
    /// What the system or a tool says.
    pub fn make(&self, dir: &Path, tools: &Tools) -> Result<PathBuf> {
        let (raw, image) = (dir.join("source.raw"), dir.join(format!("source.{}", self.format)));
        let path = |p: &Path| p.to_str().map(str::to_owned).context("a UTF-8 path");
        let file = match self.content {
            Content::Guest | Content::Booted => sample(&raw, tools)?,
            Content::Stretches(_) | Content::Full => File::create_new(&raw).context("the raw source")?,
        };
        file.set_len(self.len)?;
        match self.content {
            Content::Full => fill(&file, 0, self.len)?,
            Content::Stretches(count) => {
                // The first one behind the table, the others evenly over the disk.
                for i in 0..count {
                    let at =
                        (self.len / count * i).next_multiple_of(STRETCH) + if i == 0 { STRETCH } else { 0 };
                    fill(&file, at, STRETCH)?;
                }
                run("sgdisk", &["-n", "1:2048:0", "-t", "1:8300", &path(&raw)?])?;
            }
            // The backup of its table goes to the new end.
            Content::Guest | Content::Booted => run("sgdisk", &["-e", &path(&raw)?])?,
        }
        drop(file);
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
        if self.content == Content::Booted {
            crate::bare::note_arguments(&image, &tools.drill)?;
        }
        Ok(image)
    }
}

/// The sample disk that drill makes, as a raw one.
fn sample(raw: &Path, tools: &Tools) -> Result<File> {
    let made = raw.with_extension("sample.vhdx");
    let text = |p: &Path| p.to_str().map(str::to_owned).context("a UTF-8 path");
    run(&text(&tools.drill)?, &["fixture", "tiny-gen2", &text(&made)?])?;
    run("qemu-img", &["convert", "-O", "raw", &text(&made)?, &text(raw)?])?;
    std::fs::remove_file(made)?;
    File::options().write(true).open(raw).context("the raw sample")
}

fn fill(file: &File, at: u64, len: u64) -> Result<()> {
    let mut random = File::open("/dev/urandom")?;
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
