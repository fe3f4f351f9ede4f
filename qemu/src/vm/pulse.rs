//! Whether anything moves in a machine, and whether this host serves its disks as disks are served.

use super::{MONITOR, Vm, lock};
use crate::cpus::{self, Running};
use crate::ladder::{Observation, Seen, Source, Still};
use crate::machine::disk_id;
use crate::process::Message;
use crate::qmp::{Qmp, QmpError};
use crate::time::{Cancel, Deadline};
use serde_json::{Value, json};

/// A request that takes longer passes a guest's time-out: Linux and Windows give a SCSI disk 30 s or more (Linux, `SD_TIMEOUT` in drivers/scsi/sd.h), libata
/// as long for a transfer (`ATA_DEFAULT_TIMEOUT`… drivers/ata/libata-eh.c, `ata_eh_cmd_timeout_table`).
pub const LATE_SECONDS: u64 = 30;
/// The processors are looked at when nothing has moved for so long.
const QUIET_MS: u64 = 4_000;

/// Two looks further apart say nothing of the time between: nobody looked, or QEMU or this host stood still itself. Looks come at most 15 s apart.
const MAX_GAP_MS: u64 = 20_000;

/// What all of a machine's movement leaves a mark in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    said: u64,
    shown: u64,
    requests: u64,
    attempt_ms: u64,
}

/// When something moved last.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    marks: Option<Marks>,
    since_ms: u64,
    looked_ms: u64,
    looks: u32,
    late_told: bool,
}

impl Pulse {
    /// Takes one look; whether nothing has moved since the one before.
    fn take(&mut self, now_ms: u64, marks: Marks) -> bool {
        let gap_ms = now_ms.saturating_sub(std::mem::replace(&mut self.looked_ms, now_ms));
        if self.marks == Some(marks) && gap_ms <= MAX_GAP_MS {
            self.looks = self.looks.saturating_add(1);
            return true;
        }
        (self.marks, self.since_ms, self.looks) = (Some(marks), now_ms, 1);
        false
    }
}

/// Has QEMU count the requests that are late, for each disk.
pub(super) fn count_late(
    qmp: &Qmp,
    disks: usize,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(), QmpError> {
    for index in 0..disks {
        let boundaries = [LATE_SECONDS * 1_000_000_000];
        let arguments = json!({"id": disk_id(index), "boundaries": boundaries});
        qmp.execute("block-latency-histogram-set", arguments, deadline, cancel)?;
    }
    Ok(())
}

impl Vm {
    /// Compares the machine with what it was at the last look, and tells the ladder. A QEMU that does not answer is not judged.
    pub(super) fn feel(&self, cancel: &Cancel) {
        let ask = |command, arguments| self.qmp.execute(command, arguments, Deadline::after(MONITOR), cancel);
        let Ok(stats) = ask("query-blockstats", Value::Null) else { return };
        let Some(shown) = lock(&self.watch).shows() else { return };
        let mut pulse = lock(&self.pulse);
        let late = late(&stats);
        if late > 0 && !std::mem::replace(&mut pulse.late_told, true) {
            let text =
                format!("this host took longer than {LATE_SECONDS} s for a request to the guest's disk");
            // The verdict that waits for this must know it now; the inbox brings it to the observer.
            let at_ms = self.process.shared.now_ms();
            let seen = Observation { at_ms, source: Source::Qemu, seen: Seen::HostIo(text.clone()) };
            self.process.shared.lock().ladder.observe(&seen);
            let _ = self.process.inbox.send(Message::HostIo(text));
        }
        let (now, marks) = {
            let state = self.process.shared.lock();
            let attempt_ms = state.ladder.attempts().last().map_or(0, |a| a.started_ms);
            let requests = requests(&stats);
            (self.process.shared.now_ms(), Marks { said: state.said, shown, requests, attempt_ms })
        };
        if !pulse.take(now, marks) {
            self.process.shared.lock().ladder.still(None);
            return;
        }
        if now.saturating_sub(pulse.since_ms) < QUIET_MS {
            return;
        }
        let registers = ask("human-monitor-command", json!({"command-line": "info registers -a"}));
        let running = registers.ok().and_then(|r| r.as_str().map(cpus::running)).unwrap_or(Running::Unknown);
        let still = Still { since_ms: pulse.since_ms, looks: pulse.looks, running };
        let mut state = self.process.shared.lock();
        // A machine that QEMU stopped stands still for another reason.
        let said = state.said == marks.said && !state.stopped;
        state.ladder.still(said.then_some(still));
    }
}

fn of_all(stats: &Value, count: impl Fn(&Value) -> u64) -> u64 {
    stats.as_array().into_iter().flatten().map(|one| count(&one["stats"])).fold(0, u64::saturating_add)
}

/// Requests that were answered, of all devices.
fn requests(stats: &Value) -> u64 {
    let kinds = ["rd_operations", "wr_operations", "flush_operations", "unmap_operations"];
    of_all(stats, |one| kinds.iter().filter_map(|kind| one[*kind].as_u64()).fold(0, u64::saturating_add))
}

/// Requests that were late: what lies above the only boundary of each histogram.
fn late(stats: &Value) -> u64 {
    let kinds = ["rd_latency_histogram", "wr_latency_histogram", "flush_latency_histogram"];
    of_all(stats, |one| kinds.iter().filter_map(|k| one[*k]["bins"][1].as_u64()).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::{MAX_GAP_MS, Marks, Pulse, late, requests};
    use serde_json::json;

    #[test]
    fn what_moved_and_what_nobody_looked_at_begins_anew() {
        let still = Marks { said: 1, shown: 2, requests: 3, attempt_ms: 0 };
        let mut pulse = Pulse::default();
        let mut take = |now_ms, marks| (pulse.take(now_ms, marks), pulse.since_ms, pulse.looks);
        assert_eq!(take(1_000, still), (false, 1_000, 1));
        assert_eq!(take(3_000, still), (true, 1_000, 2));
        assert_eq!(take(3_000 + MAX_GAP_MS, still), (true, 1_000, 3));
        // QEMU was frozen, or the host slept.
        let late = 4_000 + 2 * MAX_GAP_MS;
        assert_eq!(take(late, still), (false, late, 1));
        for marks in [
            Marks { said: 2, ..still },
            Marks { shown: 3, ..still },
            Marks { requests: 4, ..still },
            Marks { attempt_ms: 9, ..still },
        ] {
            assert_eq!(take(late + 1, marks), (false, late + 1, 1), "{marks:?}");
        }
    }

    #[test]
    fn requests_and_late_ones_are_counted_over_all_devices() {
        let stats = json!([
            {"stats": {"rd_operations": 3, "wr_operations": 2, "flush_operations": 1, "unmap_operations": 0,
                "rd_latency_histogram": {"bins": [3, 0], "boundaries": [30_000_000_000_u64]},
                "wr_latency_histogram": {"bins": [1, 1], "boundaries": [30_000_000_000_u64]}}},
            {"stats": {"rd_operations": 4}},
        ]);
        assert_eq!((requests(&stats), late(&stats)), (10, 1));
        assert_eq!((requests(&json!({})), late(&json!([]))), (0, 0));
    }
}
