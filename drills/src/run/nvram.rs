//! The variables of the firmware from one start of a machine to the next.

use super::Run;
use super::actions::lock;
use crate::script::stage::Done;
use crate::script::{MachineId, VerbError, VerbOutcome as Outcome};
use std::path::PathBuf;

impl Run {
    /// The firmware's variables as the machine's last start left them. A store that knows Secure Boot's keys is no other's.
    pub(super) fn kept_nvram(&self, id: MachineId, secure_boot: bool) -> Done<PathBuf> {
        let machines = lock(&self.machines);
        let refused = |why: &str| {
            VerbError::new(Outcome::Refused, format!("nvram: \"kept\": {why}"))
                .with_next("start it with nvram: \"empty\", or as it was started before")
        };
        let last = machines.boots.iter().rev().find(|boot| boot.machine == id);
        let last = last.ok_or_else(|| refused("the machine was not started before in this drill"))?;
        if last.secure_boot != secure_boot {
            return Err(refused(
                "the last start was under the other setting of Secure Boot, which has a store of its own",
            ));
        }
        let path =
            self.recorder.run_dir().join(format!("{}-{}", last.name, last.number)).join(qemu::VARIABLES);
        if path.is_file() { Ok(path) } else { Err(refused(&format!("{} is gone", path.display()))) }
    }
}
