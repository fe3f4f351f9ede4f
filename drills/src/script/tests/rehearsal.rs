//! A stage that writes down what it was asked and gives back numbers.

use crate::script::source::Pos;
use crate::script::stage::{
    Done, ExitPolicy, FailbackPlan, FailoverOptions, Header, Image, MachineId, Policy, RunOutput, Stage,
    StartOptions, VerbError, VerbOutcome, VmId, Words,
};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// See the module.
pub struct Rehearsal {
    calls: Mutex<Vec<String>>,
    ids: AtomicU32,
    fails: Option<(&'static str, VerbOutcome)>,
    cancel_after: AtomicUsize,
}

impl Default for Rehearsal {
    fn default() -> Self {
        Rehearsal {
            calls: Mutex::default(),
            ids: AtomicU32::new(0),
            fails: None,
            cancel_after: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Rehearsal {
    /// One that fails at this verb.
    pub fn failing(verb: &'static str, outcome: VerbOutcome) -> Self {
        Rehearsal { fails: Some((verb, outcome)), ..Self::default() }
    }

    /// What it was asked.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Counts as cancelled once it was asked this often.
    pub fn cancel_after_calls(&self, n: usize) {
        self.cancel_after.store(n, Ordering::Relaxed);
    }

    fn next(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn say(&self, verb: &str, what: String, pos: Option<Pos>) -> Done {
        let at = pos.map_or("-".to_owned(), |p| p.to_string());
        self.calls.lock().unwrap().push(format!("{at:>6} {verb} {what}").trim_end().to_owned());
        match self.fails {
            Some((name, outcome)) if name == verb => {
                Err(VerbError::new(outcome, format!("{verb} was told to fail")).with_next("look at it"))
            }
            _ => Ok(()),
        }
    }
}

impl Stage for Rehearsal {
    fn cancelled(&self) -> bool {
        self.calls.lock().unwrap().len() >= self.cancel_after.load(Ordering::Relaxed)
    }
    fn note(&self, text: &str, pos: Option<Pos>) {
        let _ = self.say("note", text.to_owned(), pos);
    }
    fn drill(&self, header: &Header, pos: Pos) -> Done {
        self.say("drill", format!("{header:?}"), Some(pos))
    }
    fn step(&self, title: &str, pos: Pos) -> Done {
        self.say("step", title.to_owned(), Some(pos))
    }
    fn begin_repeat(&self, title: &str, pos: Pos) -> Done {
        self.say("begin_repeat", title.to_owned(), Some(pos))
    }
    fn begin_attempt(&self, policy: &Policy, attempt: u32) {
        let _ = self.say("begin_attempt", format!("{attempt} {policy:?}"), None);
    }
    fn end_attempt(&self, attempt: u32, failure: Option<&VerbError>) {
        let _ = self.say("end_attempt", format!("{attempt} {failure:?}"), None);
    }
    fn end_repeat(&self, title: &str, _: &Policy, passed: u32, failed: u32) -> Done {
        self.say("end_repeat", format!("{title} {passed} {failed}"), None)
    }
    fn machine(&self, image: &Image, pos: Pos) -> Done<MachineId> {
        self.say("machine", format!("{image:?}"), Some(pos))?;
        Ok(MachineId(self.next()))
    }
    fn start(&self, machine: MachineId, options: &StartOptions, pos: Pos) -> Done<VmId> {
        self.say("start", format!("{machine:?} {options:?}"), Some(pos))?;
        Ok(VmId(self.next()))
    }
    fn wait_ready(&self, vm: VmId, within: Duration, pos: Pos) -> Done {
        self.say("wait_ready", format!("{vm:?} {within:?}"), Some(pos))
    }
    fn wait_text(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done {
        self.say("wait_text", format!("{vm:?} {text:?} {within:?}"), Some(pos))
    }
    fn check_text(&self, vm: VmId, text: &str, pos: Pos) -> Done<bool> {
        self.say("check_text", format!("{vm:?} {text:?}"), Some(pos))?;
        Ok(false)
    }
    fn screen(&self, vm: VmId, pos: Pos) -> Done<String> {
        self.say("screen", format!("{vm:?}"), Some(pos))?;
        Ok("Shell>".to_owned())
    }
    fn wait_screen(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done {
        self.say("wait_screen", format!("{vm:?} {text:?} {within:?}"), Some(pos))
    }
    fn assert_screen(&self, vm: VmId, text: &str, pos: Pos) -> Done {
        self.say("assert_screen", format!("{vm:?} {text:?}"), Some(pos))
    }
    fn run(&self, vm: VmId, command: &Words, policy: ExitPolicy, pos: Pos) -> Done<RunOutput> {
        self.say("run", format!("{vm:?} {command:?} {policy:?}"), Some(pos))?;
        Ok(RunOutput { exit: 0, output: "6.1.0\n".to_owned() })
    }
    fn send(&self, vm: VmId, text: &Words, pos: Pos) -> Done {
        self.say("send", format!("{vm:?} {text:?}"), Some(pos))
    }
    fn secret(&self, name: &str) -> Option<Words> {
        (name == "ROOT_PASSWORD").then(|| Words::secret(name, "hunter2"))
    }
    fn redact(&self, pattern: &str) -> Result<(), String> {
        self.say("redact", format!("{pattern:?}"), None).map_err(|e| e.message)
    }
    fn keys(&self, vm: VmId, names: &str, chords: &[Vec<String>], pos: Pos) -> Done {
        self.say("keys", format!("{vm:?} {names:?} {}", chords.len()), Some(pos))
    }
    fn type_text(&self, vm: VmId, text: &Words, chords: &[Vec<String>], pos: Pos) -> Done {
        self.say("type_text", format!("{vm:?} {text:?} {}", chords.len()), Some(pos))
    }
    fn wait_agent(&self, vm: VmId, within: Duration, pos: Pos) -> Done {
        self.say("wait_agent", format!("{vm:?} {within:?}"), Some(pos))
    }
    fn check_agent(&self, vm: VmId, pos: Pos) -> Done<bool> {
        self.say("check_agent", format!("{vm:?}"), Some(pos))?;
        Ok(true)
    }
    fn os_info(&self, vm: VmId, pos: Pos) -> Done<qemu::GuestOs> {
        self.say("os_info", format!("{vm:?}"), Some(pos))?;
        Ok(qemu::GuestOs { id: "debian".to_owned(), ..qemu::GuestOs::default() })
    }
    fn read_file(&self, vm: VmId, path: &str, pos: Pos) -> Done<String> {
        self.say("read_file", format!("{vm:?} {path:?}"), Some(pos))?;
        Ok("web01\n".to_owned())
    }
    fn freeze(&self, vm: VmId, pos: Pos) -> Done {
        self.say("freeze", format!("{vm:?}"), Some(pos))
    }
    fn thaw(&self, vm: VmId, pos: Pos) -> Done {
        self.say("thaw", format!("{vm:?}"), Some(pos))
    }
    fn stop(&self, vm: VmId, pos: Pos) -> Done {
        self.say("stop", format!("{vm:?}"), Some(pos))
    }
    fn expect_failure_of(&self, vm: VmId, cause: &str, within: Duration, pos: Pos) -> Done {
        self.say("expect_failure_of", format!("{vm:?} {cause:?} {within:?}"), Some(pos))
    }
    fn test_failover(&self, machine: MachineId, options: &FailoverOptions, pos: Pos) -> Done<MachineId> {
        self.say("test_failover", format!("{machine:?} {options:?}"), Some(pos))?;
        Ok(MachineId(self.next()))
    }
    fn failback(&self, machine: MachineId, pos: Pos) -> Done<MachineId> {
        self.say("failback", format!("{machine:?}"), Some(pos))?;
        Ok(MachineId(self.next()))
    }
    fn plan_failback(&self, machine: MachineId, pos: Pos) -> Done<FailbackPlan> {
        self.say("plan_failback", format!("{machine:?}"), Some(pos))?;
        Ok(FailbackPlan { machine: format!("{machine:?}"), ..FailbackPlan::default() })
    }
    fn show_plan(&self, plan: &FailbackPlan, pos: Pos) -> Done {
        self.say("show", plan.machine.clone(), Some(pos))
    }
    fn assert_no_conflicts(&self, plan: &FailbackPlan, pos: Pos) -> Done {
        self.say("assert_no_conflicts", plan.machine.clone(), Some(pos))
    }
    fn plant(&self, machine: MachineId, fault: &str, pos: Pos) -> Done<MachineId> {
        self.say("plant", format!("{machine:?} {fault:?}"), Some(pos))?;
        Ok(MachineId(self.next()))
    }
    fn assert_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done {
        self.say("assert_file", format!("{machine:?} {path:?} {content:?}"), Some(pos))
    }
    fn check_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done<bool> {
        self.say("check_file", format!("{machine:?} {path:?} {content:?}"), Some(pos))?;
        Ok(true)
    }
    fn assert_marker(&self, machine: MachineId, text: &str, pos: Pos) -> Done {
        self.say("assert_marker", format!("{machine:?} {text:?}"), Some(pos))
    }
    fn assert_same_layout_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done {
        self.say("assert_same_layout_as", format!("{machine:?} {other:?}"), Some(pos))
    }
    fn assert_same_boot_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done {
        self.say("assert_same_boot_as", format!("{machine:?} {other:?}"), Some(pos))
    }
    fn cleanup(&self, machine: MachineId, pos: Pos) -> Done {
        self.say("cleanup", format!("{machine:?}"), Some(pos))
    }
    fn assert_source_untouched(&self, machine: MachineId, pos: Pos) -> Done {
        self.say("assert_source_untouched", format!("{machine:?}"), Some(pos))
    }
}
