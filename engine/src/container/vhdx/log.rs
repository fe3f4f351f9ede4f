//! Changes that were logged and may not be in place yet, laid over the file in memory. \[MS-VHDX\] §2.3.
//!
//! ```text
//! 0           tail                       head                        end
//! │ free …     │ entry 7 │ entry 8 │ … │ entry 12 │ free, or torn │ … │   a ring: what reaches the end goes on at 0
//! ```
//! The last entry of the newest complete sequence, its head, says where the first entry is that must be replayed (§2.3.2). A change is put
//! in place only when its entry is on stable storage, so an entry that was torn while it was written is no loss: nothing of it has happened.
//! An entry that is missing *between* others is one; then nobody can tell what the file should hold, and it is refused.

mod entry;
mod patches;
mod ring;

use self::entry::{Entry, Slot, read_slot};
use self::patches::Patches;
use self::ring::Ring;
use super::header::Header;
use crate::container::view::FileView;
use crate::container::{LogState, corrupt};
use crate::disk::{ReadError, SourceFile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest log that is read. Hyper-V and QEMU make logs of 1 MiB; the format allows 4 GiB.
pub(super) const LOG_MAX: u64 = 64 << 20;
/// How many times the length of the log its entries may add up to. Sound entries follow one another; leftovers of older ones, partly written
/// over, come to less than another two. Without a limit, a log of entries within entries would keep us busy for hours.
const OVERLAP_MAX: u64 = 16;

/// A file with its log replayed in memory.
#[derive(Debug)]
pub(super) struct Replayed {
    pub view: FileView,
    pub state: LogState,
}

/// The file as it reads once its log is replayed. `header` must name a log of at most [`LOG_MAX`] bytes.
pub(super) fn replay(
    source: &Arc<SourceFile>,
    header: &Header,
    notes: &mut Vec<String>,
) -> Result<Replayed, ReadError> {
    if header.log_guid.is_nil() {
        return Ok(Replayed { view: FileView::plain(source.clone()), state: LogState::Clean });
    }
    let ring = Ring::new(source, header)?;
    let found = Found::scan(&ring)?;
    let sequence = found.newest_sequence(&ring)?;
    found.nothing_newer(&ring, &sequence, notes)?;
    let (Some(first), Some(head)) = (sequence.first(), sequence.last()) else {
        return Err(found.no_sequence(&ring)); // never empty
    };
    if head.flushed_file_offset > source.len() {
        let wanted =
            format!("a file of at least the {:#x} bytes that it calls flushed", head.flushed_file_offset);
        let found = format!("{:#x} bytes: the file is truncated", source.len());
        return Err(corrupt(head.name(), ring.offset(head.at), wanted, found));
    }
    let mut patches = Patches::default();
    for entry in &sequence {
        entry.apply(&ring, &mut patches)?;
    }
    // The file is extended to what the last entry asks for; what is new reads as zeros. §2.3.1.1.
    let len = sequence.iter().fold(source.len(), |len, entry| len.max(entry.last_file_offset));
    let view = FileView::patched(source.clone(), len, patches.into_sorted());
    Ok(Replayed { view, state: LogState::Replayed { first: first.sequence, last: head.sequence } })
}

/// What looks like entries of this log.
struct Found {
    /// By their place in the ring.
    whole: BTreeMap<u64, Entry>,
    torn: Vec<Torn>,
    /// Entries of other logs: leftovers of earlier times.
    foreign: usize,
}

/// A head of an entry without a sound entry behind it.
struct Torn {
    at: u64,
    sequence: u64,
    why: String,
}

impl Found {
    /// Look at each sector of the ring: an entry begins at any of them. §2.3.1.
    fn scan(ring: &Ring<'_>) -> Result<Found, ReadError> {
        let mut found = Found { whole: BTreeMap::new(), torn: Vec::new(), foreign: 0 };
        let mut budget = ring.len().saturating_mul(OVERLAP_MAX);
        for at in ring.sectors() {
            match read_slot(ring, at, &mut budget)? {
                Slot::Nothing => {}
                Slot::Foreign => found.foreign += 1,
                Slot::Torn { sequence, why } => found.torn.push(Torn { at, sequence, why }),
                Slot::Whole(entry) => drop(found.whole.insert(at, entry)),
            }
        }
        Ok(found)
    }

    /// The entries to be replayed, in order: of all unbroken runs of entries whose head's tail lies in the run itself, the one with the
    /// highest sequence number, from that tail on. §2.3.2, §2.3.3.
    fn newest_sequence(&self, ring: &Ring<'_>) -> Result<Vec<Entry>, ReadError> {
        let mut newest: Vec<Entry> = Vec::new();
        let followers: BTreeSet<u64> =
            self.whole.values().filter_map(|e| self.follower(ring, e)).map(|e| e.at).collect();
        for first in self.whole.values().filter(|e| !followers.contains(&e.at)) {
            let run = self.run_from(ring, first);
            let Some(head) = run.last() else { continue };
            let tail = run.iter().position(|entry| entry.at == head.tail);
            let Some(run) = tail.and_then(|tail| run.get(tail..)) else { continue };
            if newest.last().is_none_or(|newest| newest.sequence < head.sequence) {
                newest = run.to_vec();
            }
        }
        if newest.is_empty() { Err(self.no_sequence(ring)) } else { Ok(newest) }
    }

    /// The entry right behind another one.
    fn follower(&self, ring: &Ring<'_>, entry: &Entry) -> Option<&Entry> {
        let next = self.whole.get(&ring.behind(entry.at, entry.len))?;
        (entry.sequence.checked_add(1) == Some(next.sequence)).then_some(next)
    }

    /// `first` and all that follow. It ends: sequence numbers only grow; and it never bites its own tail.
    fn run_from(&self, ring: &Ring<'_>, first: &Entry) -> Vec<Entry> {
        let (mut run, mut len) = (vec![*first], first.len);
        while let Some(next) = run.last().and_then(|last| self.follower(ring, last)) {
            len = len.saturating_add(next.len);
            if len > ring.len() {
                break;
            }
            run.push(*next);
        }
        run
    }

    /// That nothing in the log is newer than the head of `sequence`, except for one entry right behind it that was torn while it was written.
    /// The specification would take the sequence anyway (§2.3.3, step 4); but when a newer entry is whole, or is somewhere else, then there were
    /// entries between, and their changes may be in place or not.
    fn nothing_newer(
        &self,
        ring: &Ring<'_>,
        sequence: &[Entry],
        notes: &mut Vec<String>,
    ) -> Result<(), ReadError> {
        let Some(head) = sequence.last() else { return Ok(()) };
        let newer = |e: &&Entry| e.sequence >= head.sequence && e.at != head.at;
        if let Some(newer) = self.whole.values().filter(newer).max_by_key(|e| e.sequence) {
            let wanted = format!("every entry from {} on", head.sequence.saturating_add(1));
            let found = format!(
                "a hole: the last complete sequence ends with entry {} at {:#x}",
                head.sequence,
                ring.offset(head.at)
            );
            return Err(corrupt(newer.name(), ring.offset(newer.at), wanted, found));
        }
        for torn in self.torn.iter().filter(|torn| torn.sequence > head.sequence) {
            let (what, at) = (format!("log entry {}", torn.sequence), ring.offset(torn.at));
            let behind = ring.behind(head.at, head.len);
            if torn.at != behind {
                let wanted = format!(
                    "a sound entry, or its place right behind the last sound one at {:#x}",
                    ring.offset(behind)
                );
                return Err(corrupt(what, at, wanted, &torn.why));
            }
            notes.push(format!(
                "{what} at {at:#x} was torn while it was written and was skipped, its changes never began: {}",
                torn.why
            ));
        }
        Ok(())
    }

    /// Why there is nothing to replay.
    fn no_sequence(&self, ring: &Ring<'_>) -> ReadError {
        let torn = self.torn.iter().max_by_key(|torn| torn.sequence);
        let whole = self.whole.values().max_by_key(|entry| entry.sequence);
        let found = match (torn, whole) {
            (Some(torn), whole) if whole.is_none_or(|w| w.sequence < torn.sequence) => {
                format!("entry {} at {:#x}, which is torn: {}", torn.sequence, ring.offset(torn.at), torn.why)
            }
            (_, Some(whole)) => format!(
                "entry {} at {:#x}, whose sequence should begin with the entry at {:#x}, but that one does not lead to it",
                whole.sequence,
                ring.offset(whole.at),
                ring.offset(whole.tail)
            ),
            _ if self.foreign > 0 => format!("only entries of other logs, {} of them", self.foreign),
            _ => "no entry at all".to_owned(),
        };
        let wanted = format!("a complete sequence of entries of the log {}", ring.guid());
        corrupt("log", ring.offset(0), wanted, found)
    }
}
