//! The journal: writing it while a drill runs, reading it afterwards or meanwhile.
//!
//! One JSON object a line, flushed line by line, appended and never changed. A run that is killed leaves at most a torn
//! last line, and the reader ignores that.

mod reader;
mod recorder;

pub use reader::{Follow, JournalError, Reader, Step, read, read_header};
pub use recorder::{Clock, Recorder, Sink, since_now};

/// Name of the journal in the run folder.
pub const FILE: &str = "journal.jsonl";
/// Longest line, bytes. A longer one is damage: whoever emits keeps bulk in artifacts.
pub const MAX_LINE: usize = 1024 * 1024;
/// Longest text in one field that the recorder writes; what is longer is cut, and says so.
pub const MAX_TEXT: usize = 64 * 1024;
