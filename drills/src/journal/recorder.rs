//! Writing a journal: one recorder, many threads.

use super::{FILE, MAX_LINE};
use crate::event::{ArtifactName, Event, EventPath, Header, Kind, Pointer};
use qemu::Redactor;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Milliseconds since the run's start. The world is an argument: tests count by hand.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A clock that starts now and never falls.
#[must_use]
pub fn since_now() -> Clock {
    let start = std::time::Instant::now();
    Arc::new(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Whoever wants to see events as they happen. Called in order, one at a time, under the recorder's lock: be quick, and
/// never emit from here.
pub trait Sink: Send {
    /// The run's header, before any event.
    fn header(&mut self, header: &Header, run_dir: &Path) {
        let _ = (header, run_dir);
    }
    /// An event.
    fn event(&mut self, event: &Event);
}

/// Least time between two progress events of one action, milliseconds.
const PROGRESS_EVERY_MS: u64 = 200;

/// Keys of an event under which words of the format and names of files stand: they are not redacted.
const STRUCTURE: &[&str] =
    &["kind", "outcome", "rung", "how", "severity", "artifact", "source", "evidence_level"];

/// Writes events to the journal and hands them to sinks. Clones write to the same journal.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    run_dir: PathBuf,
    clock: Clock,
    redactor: Redactor,
    state: Mutex<State>,
}

struct State {
    file: File,
    next_seq: u64,
    last_ms: u64,
    last_progress: HashMap<u32, u64>,
    sinks: Vec<Box<dyn Sink>>,
    failure: Option<io::Error>,
}

impl Recorder {
    /// Start a journal in the run folder, which must exist. Writes the header.
    ///
    /// # Errors
    /// When there is a journal already, or it cannot be written.
    pub fn new(run_dir: &Path, header: &Header, clock: Clock, sinks: Vec<Box<dyn Sink>>) -> io::Result<Self> {
        Self::redacting(run_dir, header, clock, sinks, Redactor::default())
    }

    /// The same; what must not be written reaches neither the journal nor kept files nor sinks.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn redacting(
        run_dir: &Path,
        header: &Header,
        clock: Clock,
        mut sinks: Vec<Box<dyn Sink>>,
        redactor: Redactor,
    ) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().append(true).create_new(true).mode(0o644).open(run_dir.join(FILE))?;
        file.write_all(&line(header)?)?;
        for sink in &mut sinks {
            sink.header(header, run_dir);
        }
        let state =
            State { file, next_seq: 0, last_ms: 0, last_progress: HashMap::new(), sinks, failure: None };
        let (run_dir, state) = (run_dir.to_owned(), Mutex::new(state));
        Ok(Self { shared: Arc::new(Shared { run_dir, clock, redactor, state }) })
    }

    /// What must not be written.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.shared.redactor
    }

    /// The run folder.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.shared.run_dir
    }

    /// Milliseconds since the run's start.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.shared.clock)()
    }

    /// Append an event. From any thread. When the journal cannot be written (disk full), nothing more is written to it,
    /// the sinks still see everything, and [`Recorder::failure`] says why: such a run is `Broken`.
    pub fn emit(&self, path: &EventPath, kind: Kind) {
        let mut state = self.lock();
        let t_ms = self.now_ms().max(state.last_ms);
        if let Kind::Progress { action, done, total, .. } = &kind {
            let whole = total.is_some_and(|total| *done >= total);
            let last = state.last_progress.get(action).copied();
            if !whole && last.is_some_and(|last| t_ms.saturating_sub(last) < PROGRESS_EVERY_MS) {
                return;
            }
            state.last_progress.insert(*action, t_ms);
        }
        if let Kind::ActionFinished { id, .. } = &kind {
            state.last_progress.remove(id);
        }
        state.last_ms = t_ms;
        let event = self.redacted(Event { seq: state.next_seq, t_ms, path: path.clone(), kind });
        if state.failure.is_none() {
            match line(&event).and_then(|line| state.file.write_all(&line)) {
                Ok(()) => state.next_seq = state.next_seq.saturating_add(1),
                Err(error) => state.failure = Some(error),
            }
        }
        for sink in &mut state.sinks {
            sink.event(&event);
        }
    }

    fn redacted(&self, event: Event) -> Event {
        if !self.shared.redactor.is_active() {
            return event;
        }
        let (seq, t_ms) = (event.seq, event.t_ms);
        let redacted = serde_json::to_value(&event).and_then(|mut value| {
            self.shared.redactor.json(&mut value, STRUCTURE);
            serde_json::from_value(value)
        });
        redacted.unwrap_or_else(|error| {
            let text = format!("an event could not be redacted, and is left out: {error}");
            Event { seq, t_ms, path: EventPath::RUN, kind: Kind::Note { text } }
        })
    }

    /// Why the journal could not be written, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.as_ref().map(|error| {
            format!("cannot write the journal {}: {error}", self.shared.run_dir.join(FILE).display())
        })
    }

    /// Keep this text as a new file of the run folder and point at all of it. Folders in the name are made.
    ///
    /// # Errors
    /// When the name is bad, the file exists already or cannot be written.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<Pointer> {
        let artifact =
            ArtifactName::new(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let path = self.shared.run_dir.join(artifact.as_str());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let redactor = &self.shared.redactor;
        let bytes = match redactor.is_active() {
            true => Cow::Owned(redactor.text(&String::from_utf8_lossy(bytes)).into_bytes()),
            false => Cow::Borrowed(bytes),
        };
        file.write_all(&bytes)?;
        Ok(Pointer { artifact, offset: 0, len: bytes.len() as u64 })
    }

    /// Flush the journal to the disk. Once, at the end of a run.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().file.sync_all()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A sink that panicked has not harmed the state: go on and tell the rest.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("run_dir", &self.shared.run_dir).finish_non_exhaustive()
    }
}

/// One line, cut to size: over-long texts keep their start.
fn line(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    if bytes.len() >= MAX_LINE {
        let mut value = serde_json::to_value(value)?;
        cut(&mut value);
        bytes = serde_json::to_vec(&value)?;
    }
    if bytes.len() >= MAX_LINE {
        return Err(io::Error::other(format!("an event of {} bytes does not fit a line", bytes.len())));
    }
    bytes.push(b'\n');
    Ok(bytes)
}

fn cut(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.len() > super::MAX_TEXT => {
            let end = (0..=super::MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let lost = text.len().saturating_sub(end);
            text.truncate(end);
            text.push_str(&format!(" … ({lost} bytes more)"));
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(cut),
        serde_json::Value::Object(all) => all.values_mut().for_each(cut),
        _ => {}
    }
}
