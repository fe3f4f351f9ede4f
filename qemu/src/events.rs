//! What QEMU says by itself, as observations. (QEMU, qapi/run-state.json and qapi/block-core.json.)

use crate::ladder::Seen;
use crate::qmp::QmpEvent;

/// What an event shows of the guest or of its host; `None` for those that show neither.
pub(crate) fn seen(event: &QmpEvent) -> Option<Seen> {
    let text = |key: &str| event.data[key].as_str().unwrap_or("unknown").to_owned();
    Some(match event.name.as_str() {
        // A reset that we asked for is no news.
        "RESET" if event.data["guest"] != false => Seen::Reset,
        "SHUTDOWN" if event.data["guest"] == true => Seen::PowerOff,
        "GUEST_PANICKED" => Seen::Panicked,
        "GUEST_CRASHLOADED" => Seen::CrashLoaded,
        "WATCHDOG" => Seen::Watchdog,
        "BLOCK_IO_ERROR" => {
            let (operation, node, reason) = (text("operation"), text("node-name"), text("reason"));
            Seen::HostIo(format!("this host failed to {operation} the guest's disk ({node}): {reason}"))
        }
        "BLOCK_IMAGE_CORRUPTED" => {
            let (node, message) = (text("node-name"), text("msg"));
            Seen::HostIo(format!("the file that takes the guest's writes ({node}) is damaged: {message}"))
        }
        "MEMORY_FAILURE" => {
            Seen::HostIo(format!("memory of this host failed under the guest ({})", text("recipient")))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::seen;
    use crate::ladder::Seen;
    use crate::qmp::QmpEvent;
    use serde_json::json;

    #[test]
    fn events_are_the_guests_the_hosts_or_nobodys() {
        for (name, data, expect) in [
            ("RESET", json!({"guest": true, "reason": "guest-reset"}), Some(Seen::Reset)),
            ("RESET", json!({"guest": false, "reason": "host-qmp-system-reset"}), None),
            ("SHUTDOWN", json!({"guest": true, "reason": "guest-shutdown"}), Some(Seen::PowerOff)),
            ("SHUTDOWN", json!({"guest": false, "reason": "host-signal"}), None),
            ("GUEST_PANICKED", json!({"action": "pause"}), Some(Seen::Panicked)),
            ("GUEST_CRASHLOADED", json!({"action": "run"}), Some(Seen::CrashLoaded)),
            ("WATCHDOG", json!({"action": "reset"}), Some(Seen::Watchdog)),
            (
                "BLOCK_IO_ERROR",
                json!({"device": "", "node-name": "disk0", "operation": "write", "action": "stop", "nospace": true,
                    "reason": "No space left on device"}),
                Some(Seen::HostIo(
                    "this host failed to write the guest's disk (disk0): No space left on device".into(),
                )),
            ),
            ("VNC_CONNECTED", json!({}), None),
        ] {
            let event = QmpEvent { name: name.into(), data };
            assert_eq!(seen(&event), expect, "{event:?}");
        }
    }
}
