//! Reading a journal: whole, or as it grows.

use super::MAX_LINE;
use crate::event::{Event, FORMAT, Header};
use crate::pointer::read_window;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How much is read at a time, bytes.
const CHUNK: usize = 256 * 1024;

/// Why a journal cannot be read.
#[derive(thiserror::Error, Debug)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("cannot read the journal {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first line is not a header.
    #[error("{} is not a journal: its first line is not a header ({why})", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer format.
    #[error("the journal {} has format {found}, this drill reads up to {FORMAT}: use a newer drill", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no complete line yet: the run has just begun, or died at once.
    #[error("the journal {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What a reader found next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An event.
    Event(Box<Event>),
    /// A line that is no event, or does not continue the sequence: where and why. Reading goes on.
    Damage {
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// Nothing more for now. `torn` says that an unfinished line follows.
    End {
        /// Whether bytes follow that do not end in a newline.
        torn: bool,
    },
}

/// Reads a journal from its start. Asked again after [`Step::End`] it continues where the file has grown.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Header,
    /// Bytes read but not yet used.
    buffer: Vec<u8>,
    used: usize,
    /// Where in the file the next chunk begins.
    at: u64,
    line: u64,
    next_seq: u64,
    /// In a line that is too long: drop until its end.
    skipping: bool,
}

/// A reader that watches a run: the same thing, by the name of what it is used for.
pub type Follow = Reader;

impl Reader {
    /// Open a journal, or the journal in a run folder, and read its header.
    ///
    /// # Errors
    /// When it cannot be read, is empty, is no journal or a newer one.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let path = if path.is_dir() { path.join(super::FILE) } else { path.to_owned() };
        let fail = |source| JournalError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(fail(io::Error::other("not a regular file")));
        }
        let header = Header {
            drill_journal: FORMAT,
            run: String::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            tool: String::new(),
            host: crate::event::HostFacts::default(),
        };
        let mut reader = Self {
            path,
            file,
            header,
            buffer: Vec::new(),
            used: 0,
            at: 0,
            line: 0,
            next_seq: 0,
            skipping: false,
        };
        reader.read_header()?;
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), JournalError> {
        let line = match self.next_line() {
            Err(source) => return Err(JournalError::Io { path: self.path.clone(), source }),
            Ok(Line::Whole(line)) => line,
            Ok(Line::TooLong) => {
                return Err(JournalError::NoHeader { path: self.path.clone(), why: "too long".into() });
            }
            Ok(Line::None { .. }) => return Err(JournalError::Empty { path: self.path.clone() }),
        };
        let path = || self.path.clone();
        let no_header = |why: String| JournalError::NoHeader { path: path(), why };
        let value: serde_json::Value = serde_json::from_slice(&line).map_err(|e| no_header(e.to_string()))?;
        let version = value.get("drill_journal").and_then(serde_json::Value::as_u64);
        let Some(version) = version.and_then(|version| u32::try_from(version).ok()) else {
            return Err(no_header("`drill_journal` is missing".into()));
        };
        if version > FORMAT {
            return Err(JournalError::Newer { path: path(), found: version });
        }
        self.header = serde_json::from_value(value).map_err(|e| no_header(e.to_string()))?;
        Ok(())
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The journal's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run folder: where the journal lies, and its artifacts.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// The next event, or that there is none for now.
    ///
    /// # Errors
    /// When reading fails. Damage in the file is not an error but a [`Step::Damage`].
    pub fn next_step(&mut self) -> io::Result<Step> {
        let line = match self.next_line()? {
            Line::Whole(line) => line,
            Line::TooLong => return Ok(self.damage(format!("longer than {MAX_LINE} bytes"))),
            Line::None { torn } => return Ok(Step::End { torn }),
        };
        let event: Event = match serde_json::from_slice(&line) {
            Ok(event) => event,
            Err(error) => return Ok(self.damage(error.to_string())),
        };
        if event.seq < self.next_seq {
            let why = format!("event {} again, wanted {}", event.seq, self.next_seq);
            return Ok(self.damage(why));
        }
        let gap = (event.seq > self.next_seq)
            .then(|| format!("events {} to {} are missing", self.next_seq, event.seq.saturating_sub(1)));
        self.next_seq = event.seq.saturating_add(1);
        match gap {
            None => Ok(Step::Event(Box::new(event))),
            Some(why) => {
                // Say it once, then give the event itself: put its line back.
                self.next_seq = event.seq;
                self.used = self.used.saturating_sub(line.len().saturating_add(1));
                let step = self.damage(why);
                self.line = self.line.saturating_sub(1);
                Ok(step)
            }
        }
    }

    fn damage(&self, why: String) -> Step {
        Step::Damage { line: self.line, why }
    }

    fn next_line(&mut self) -> io::Result<Line> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.get(..end).unwrap_or_default().to_vec();
                self.used = self.used.saturating_add(end).saturating_add(1);
                self.line = self.line.saturating_add(1);
                if std::mem::take(&mut self.skipping) || line.len() > MAX_LINE {
                    return Ok(Line::TooLong);
                }
                return Ok(Line::Whole(line));
            }
            if rest.len() > MAX_LINE {
                self.skipping = true;
                self.used = self.buffer.len();
            }
            let torn = self.skipping || self.used < self.buffer.len();
            self.buffer.drain(..self.used);
            self.used = 0;
            let more = read_window(&self.file, self.at, CHUNK)?;
            if more.is_empty() {
                return Ok(Line::None { torn });
            }
            self.at = self.at.saturating_add(more.len() as u64);
            self.buffer.extend_from_slice(&more);
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    None { torn: bool },
}

/// All of a journal as it is now, into `each`.
///
/// # Errors
/// When it is no journal or cannot be read.
pub fn read(path: &Path, mut each: impl FnMut(&Step)) -> Result<Header, JournalError> {
    let mut reader = Reader::open(path)?;
    loop {
        let step = reader
            .next_step()
            .map_err(|source| JournalError::Io { path: reader.path().to_owned(), source })?;
        each(&step);
        if matches!(step, Step::End { .. }) {
            return Ok(reader.header);
        }
    }
}

/// Only the header.
///
/// # Errors
/// When it is no journal or cannot be read.
pub fn read_header(path: &Path) -> Result<Header, JournalError> {
    Ok(Reader::open(path)?.header)
}
