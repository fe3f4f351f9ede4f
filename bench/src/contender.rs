//! Who is timed, as the commands it runs.

use crate::bare;
use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Somebody who turns the source into the result.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As it is called in tables.
    pub name: String,
    steps: Vec<Step>,
}

/// A part of the work; all of them are timed.
#[derive(Clone, Debug)]
enum Step {
    /// Run a tool with these words.
    Run(Tool, Vec<Word>),
    /// Flush the result and its folder.
    Flush,
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Drill,
    Peer(&'static str),
    /// This program.
    Itself,
}

#[derive(Clone, Debug)]
enum Word {
    Plain(&'static str),
    Source,
    Result,
}

/// What is left to do once the paths are known.
pub enum Action {
    /// Run this.
    Run(PathBuf, Vec<OsString>),
    /// Flush the result and its folder.
    Flush,
}

/// Where the programs are.
pub struct Tools {
    /// The drill that is timed.
    pub drill: PathBuf,
    itself: PathBuf,
}

impl Tools {
    /// The drill that was given, or the one beside this program.
    pub fn find(drill: Option<&Path>) -> Result<Tools> {
        let itself = std::env::current_exe().context("the path of this program")?;
        let drill = drill.map_or_else(|| itself.with_file_name("drill"), Path::to_path_buf);
        let drill = drill.canonicalize().with_context(|| {
            format!("{}: build it with `cargo build --release`, or give --drill FILE", drill.display())
        })?;
        Ok(Tools { drill, itself })
    }
}

impl Contender {
    fn new(name: &str, tool: Tool, words: Vec<Word>) -> Contender {
        Contender { name: name.into(), steps: vec![Step::Run(tool, words)] }
    }

    /// `drill convert`.
    pub fn drill(format: &'static str) -> Contender {
        use Word::{Plain, Result, Source};
        let words = vec![Plain("convert"), Source, Result, Plain("--format"), Plain(format)];
        Contender::new("drill", Tool::Drill, words)
    }

    /// `drill convert --child`: the conversion as a child.
    pub fn child() -> Contender {
        use Word::{Plain, Result, Source};
        let options = ["--to", "gen1", "--child", "--format", "qcow2"].map(Plain);
        let words = [vec![Plain("convert"), Source, Result], options.to_vec()].concat();
        Contender::new("drill convert --child", Tool::Drill, words)
    }

    /// `qemu-img create` on top of the source: an empty child, which looks at nothing.
    pub fn qemu_create() -> Contender {
        use Word::{Plain, Result, Source};
        let before = ["create", "-q", "-f", "qcow2", "-F", "vhdx", "-b"].map(Plain);
        let words = [before.to_vec(), vec![Source, Result]].concat();
        Contender::new("qemu-img create", Tool::Peer("qemu-img"), words)
    }

    /// `qemu-img convert`, to a file as long as the disk and not as its geometry.
    pub fn qemu(format: &'static str, more: &[&'static str]) -> Contender {
        let mut words = vec![Word::Plain("convert"), Word::Plain("-O"), Word::Plain(format)];
        if format == "vpc" {
            words.extend(["-o", "subformat=fixed,force_size=on"].map(Word::Plain));
        }
        words.extend(more.iter().copied().map(Word::Plain));
        words.extend([Word::Source, Word::Result]);
        let name = ["qemu-img convert", &more.join(" ")].join(" ");
        Contender::new(name.trim_end(), Tool::Peer("qemu-img"), words)
    }

    /// `cp`, byte by byte.
    pub fn cp() -> Contender {
        let words =
            vec![Word::Plain("--reflink=never"), Word::Plain("--sparse=never"), Word::Source, Word::Result];
        Contender::new("cp", Tool::Peer("cp"), words)
    }

    /// `cp` that only shares blocks.
    pub fn cp_shared() -> Contender {
        let words = vec![Word::Plain("--reflink=always"), Word::Source, Word::Result];
        Contender::new("cp --reflink=always", Tool::Peer("cp"), words)
    }

    /// `drill inspect`.
    pub fn inspect() -> Contender {
        Contender::new("drill inspect", Tool::Drill, vec![Word::Plain("inspect"), Word::Source])
    }

    /// `qemu-img info`, which looks at much less.
    pub fn qemu_info() -> Contender {
        Contender::new("qemu-img info", Tool::Peer("qemu-img"), vec![Word::Plain("info"), Word::Source])
    }

    /// `drill boot` until the guest is up, and down again.
    pub fn boot() -> Contender {
        use Word::{Plain, Result, Source};
        let words = [vec![Plain("boot"), Source, Plain("--out"), Result], bare::BOOT.map(Plain).to_vec()];
        Contender::new("drill boot", Tool::Drill, words.concat())
    }

    /// The same QEMU with the same arguments, and nobody who looks at it.
    pub fn bare_boot() -> Contender {
        let words = vec![Word::Plain("--bare-boot"), Word::Source];
        Contender::new("qemu-system-x86_64, bare", Tool::Itself, words)
    }

    /// Drill does not wait for the storage.
    #[must_use]
    pub fn no_flush(mut self) -> Contender {
        self.name.push_str(" --no-flush");
        self.word("--no-flush")
    }

    /// Drill tells the disk's hash.
    #[must_use]
    pub fn hashing(mut self) -> Contender {
        self.name.push_str(" --hash");
        self.word("--hash")
    }

    /// The result is hashed on one thread afterwards.
    #[must_use]
    pub fn then_hash(mut self) -> Contender {
        self.name.push_str(", then BLAKE3 on one thread");
        self.steps.push(Step::Run(Tool::Itself, vec![Word::Plain("--hash-file"), Word::Result]));
        self
    }

    /// The result and its folder are flushed afterwards.
    #[must_use]
    pub fn flushed(mut self) -> Contender {
        self.name.push_str(", fsync");
        self.steps.push(Step::Flush);
        self
    }

    fn word(mut self, word: &'static str) -> Contender {
        if let Some(Step::Run(_, words)) = self.steps.first_mut() {
            words.push(Word::Plain(word));
        }
        self
    }

    /// The work, with everything named.
    pub fn actions(&self, tools: &Tools, source: &Path, result: &Path) -> Vec<Action> {
        let action = |step: &Step| match step {
            Step::Flush => Action::Flush,
            Step::Run(tool, words) => {
                let program = match tool {
                    Tool::Drill => tools.drill.clone(),
                    Tool::Peer(name) => PathBuf::from(name),
                    Tool::Itself => tools.itself.clone(),
                };
                let words = words.iter().map(|word| match word {
                    Word::Plain(text) => OsString::from(text),
                    Word::Source => source.into(),
                    Word::Result => result.into(),
                });
                Action::Run(program, words.collect())
            }
        };
        self.steps.iter().map(action).collect()
    }
}

/// BLAKE3 of a file on one thread, printed as `b3sum` does.
///
/// # Errors
/// What the system says.
pub fn hash_file(path: &Path) -> Result<()> {
    let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 1 << 20];
    loop {
        match file.read(&mut buf)? {
            0 => break,
            n => hasher.update(buf.get(..n).unwrap_or_default()),
        };
    }
    println!("{}  {}", hasher.finalize(), path.display());
    Ok(())
}
