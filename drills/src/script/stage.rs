//! What the verbs of a scenario act on. The script host translates calls into this trait and knows nothing of disks, QEMU or the
//! journal; `run` implements it.

use super::source::Pos;
use crate::event::EvidenceLevel;
use engine::convert::Refusal;
use engine::preflight::ProfileId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A machine of the current run. Machines belong to the run; a script holds only this number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub u32);

/// One start of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VmId(pub u32);

/// What `drill(…)` says; literals only, so that it is read without running the scenario.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// The drill's title.
    pub title: String,
    /// How often it should be repeated.
    pub every: Option<Duration>,
    /// The recovery time the business asks for.
    pub rto: Option<Duration>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How much evidence is kept.
    pub evidence: EvidenceLevel,
}

/// Text for a guest, which may hold secrets: what is shown of it, and what is sent. Only the first is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Words {
    shown: String,
    sent: String,
}

impl Words {
    /// A secret of this name.
    pub fn secret(name: &str, value: &str) -> Words {
        Words { shown: format!("[secret {name}]"), sent: value.to_owned() }
    }

    /// What is sent to the guest, and nowhere else.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// Both, one after the other.
    #[must_use]
    pub fn then(&self, more: &Words) -> Words {
        Words { shown: format!("{}{}", self.shown, more.shown), sent: format!("{}{}", self.sent, more.sent) }
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Words {
        Words { shown: text.to_owned(), sent: text.to_owned() }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

/// What a machine is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Image {
    /// A file.
    Path(PathBuf),
    /// A sample disk, made when it is first needed: `arg("image", fixture("tiny-gen2"))` makes nothing when `--set image=…` is given.
    Fixture(String),
}

/// Options of `start`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StartOptions {
    /// Which variable store the firmware gets; `None` is the default of the run.
    pub nvram: Option<Nvram>,
    /// Whether the firmware enforces Secure Boot; `None` is the default of the generation.
    pub secure_boot: Option<bool>,
    /// Whether it has a TPM.
    pub tpm: bool,
    /// Memory in bytes, whole MiB.
    pub memory_bytes: Option<u64>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Resets that belong to a good boot; `None` is none.
    pub resets: Option<u32>,
    /// Bytes that the guest may write to its disk; `None` is the lab's usual.
    pub writes_bytes: Option<u64>,
    /// What the guest writes into its marker by itself.
    pub marker: Option<String>,
}

/// The firmware's variable store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nvram {
    /// A fresh one without any boot entry: the disk must start by itself.
    Empty,
    /// What the machine's last start in this run left.
    Kept,
}

/// Options of `test_failover`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FailoverOptions {
    /// Partition table of the copy.
    pub table: Table,
    /// Whose rules decide whether the disk is taken.
    pub profile: Option<ProfileId>,
}

/// Partition table of a Generation 1 copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Table {
    /// By rule: GPT is kept for Linux.
    #[default]
    Auto,
    /// Keep GPT; only boot code changes.
    Gpt,
    /// A real MBR, for platforms that demand it.
    Mbr,
}

/// How often a step is performed, and how often it must pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Attempts at most.
    pub attempts: u32,
    /// Attempts that must pass.
    pub need: u32,
    /// Why a failure does not count, and up to which day.
    pub quarantine: Option<(String, jiff::civil::Date)>,
}

impl Policy {
    /// Whether so many passes and failures decide the step.
    pub fn is_decided(&self, passed: u32, failed: u32) -> bool {
        passed >= self.need || failed > self.attempts.saturating_sub(self.need)
    }
}

/// Whether a command's exit code decides the drill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitPolicy {
    /// Anything but 0 fails the drill (`run`).
    MustBeZero,
    /// The scenario looks itself (`check_run`).
    Any,
}

/// What a command in the guest answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunOutput {
    /// Exit code.
    pub exit: i64,
    /// Standard output and error, bounded by the stage.
    pub output: String,
}

/// A way home, planned and not gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FailbackPlan {
    /// The machine that would go home.
    pub machine: String,
    /// The whole plan as people read it, or why there is none.
    pub text: String,
    /// What stands against it: conflicts with what the guest has changed, and other reasons.
    pub refusal: Option<Refusal>,
}

/// Why a verb could not do what the scenario asks; the first two never merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerbOutcome {
    /// The drilled system did not do what it must.
    Failed,
    /// Our host, harness or tool failed: no answer.
    Broken,
    /// Something required could not be looked at.
    NotPerformed,
    /// Somebody asked to stop.
    Interrupted,
    /// A plan was refused with a reason.
    Refused,
}

impl From<VerbOutcome> for crate::verdict::Outcome {
    fn from(o: VerbOutcome) -> Self {
        match o {
            VerbOutcome::Failed => Self::Failed,
            VerbOutcome::Broken => Self::Broken,
            VerbOutcome::NotPerformed => Self::NotPerformed,
            VerbOutcome::Interrupted => Self::Interrupted,
            VerbOutcome::Refused => Self::Refused,
        }
    }
}

/// A verb's end that ends the drill. Scenarios cannot catch it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct VerbError {
    /// Which kind of end.
    pub outcome: VerbOutcome,
    /// What happened: where, wanted, found.
    pub message: String,
    /// What to do next, if there is something to do.
    pub next: Option<String>,
}

impl VerbError {
    /// An error without advice.
    pub fn new(outcome: VerbOutcome, message: impl fmt::Display) -> Self {
        VerbError { outcome, message: message.to_string(), next: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }
}

/// Result of a verb.
pub type Done<T = ()> = Result<T, VerbError>;

/// The world a scenario acts on. Every method is one action under the current step; `pos` is the call in the scenario. Blocking
/// methods watch the run's cancel token themselves, because Rhai cannot interrupt a host call.
pub trait Stage: Send + Sync {
    /// True once the run was cancelled: the host then ends the script between two operations.
    fn cancelled(&self) -> bool;

    /// `secret(name)`: the secret of this name; `None` when none was given.
    fn secret(&self, name: &str) -> Option<Words>;

    /// `redact(pattern)`: from now on what it matches is never written.
    ///
    /// # Errors
    /// Why it is no pattern.
    fn redact(&self, pattern: &str) -> Result<(), String>;

    /// `print(…)` and `note(…)`.
    fn note(&self, text: &str, pos: Option<Pos>);

    /// `drill(title, #{…})`.
    ///
    /// # Errors
    /// When the drill may not start.
    fn drill(&self, header: &Header, pos: Pos) -> Done;

    /// `step(title)`: a heading up to the next one.
    ///
    /// # Errors
    /// When the run was cancelled or held.
    fn step(&self, title: &str, pos: Pos) -> Done;

    /// `repeat(title, #{…}, || …)`: the heading.
    ///
    /// # Errors
    /// When the run was cancelled or held.
    fn begin_repeat(&self, title: &str, pos: Pos) -> Done;

    /// An attempt begins.
    fn begin_attempt(&self, policy: &Policy, attempt: u32);

    /// An attempt passed, or failed because of the drilled system. Machines that it started and left running are switched off.
    fn end_attempt(&self, attempt: u32, failure: Option<&VerbError>);

    /// All attempts are made, or those that are left cannot change the answer.
    ///
    /// # Errors
    /// When too few passed, and no quarantine is in force.
    fn end_repeat(&self, title: &str, policy: &Policy, passed: u32, failed: u32) -> Done;

    /// `machine(image)`: open and inspect; makes the fixture when the image is one.
    ///
    /// # Errors
    /// When the image cannot be opened or made.
    fn machine(&self, image: &Image, pos: Pos) -> Done<MachineId>;

    /// `machine.start(#{…})`: start it as what it is; returns while it boots.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&self, machine: MachineId, options: &StartOptions, pos: Pos) -> Done<VmId>;

    /// `vm.wait_ready(deadline)`.
    ///
    /// # Errors
    /// When the guest is not ready in time, or can never be.
    fn wait_ready(&self, vm: VmId, within: Duration, pos: Pos) -> Done;

    /// `vm.wait_text(text, deadline)`: on the console or the screen, from where the last wait ended.
    ///
    /// # Errors
    /// When it does not appear in time.
    fn wait_text(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done;

    /// `vm.check_text(text)`: whether it has been seen since this start.
    ///
    /// # Errors
    /// When the guest cannot be seen at all.
    fn check_text(&self, vm: VmId, text: &str, pos: Pos) -> Done<bool>;

    /// `vm.screen()`: the text of the screen as it is now, or what it is when it cannot be read.
    ///
    /// # Errors
    /// When QEMU does not give it.
    fn screen(&self, vm: VmId, pos: Pos) -> Done<String>;

    /// `vm.wait_screen(text, deadline)`: until the text stands on the screen.
    ///
    /// # Errors
    /// When it does not in time, or it cannot be told.
    fn wait_screen(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done;

    /// `vm.assert_screen(text)`: the text stands on the screen now.
    ///
    /// # Errors
    /// When it does not, or it cannot be told.
    fn assert_screen(&self, vm: VmId, text: &str, pos: Pos) -> Done;

    /// `vm.run(command)` and `vm.check_run(command)`: a shell command in the guest.
    ///
    /// # Errors
    /// When it cannot be run, or its exit code breaks `policy`.
    fn run(&self, vm: VmId, command: &Words, policy: ExitPolicy, pos: Pos) -> Done<RunOutput>;

    /// `vm.send(text)`: type on the console, as it is.
    ///
    /// # Errors
    /// When there is no console to type on.
    fn send(&self, vm: VmId, text: &Words, pos: Pos) -> Done;

    /// `vm.keys(chords)`: press keys by their names.
    ///
    /// # Errors
    /// When QEMU does not take them.
    fn keys(&self, vm: VmId, names: &str, chords: &[Vec<String>], pos: Pos) -> Done;

    /// `vm.type_text(text)`: type on the guest's keyboard.
    ///
    /// # Errors
    /// When QEMU does not take it.
    fn type_text(&self, vm: VmId, text: &Words, chords: &[Vec<String>], pos: Pos) -> Done;

    /// `vm.wait_agent(deadline)`.
    ///
    /// # Errors
    /// When the guest agent does not answer in time.
    fn wait_agent(&self, vm: VmId, within: Duration, pos: Pos) -> Done;

    /// `vm.check_agent()`: whether the guest agent answers now.
    ///
    /// # Errors
    /// When the machine is gone.
    fn check_agent(&self, vm: VmId, pos: Pos) -> Done<bool>;

    /// `vm.os_info()`: what the guest agent says of the system.
    ///
    /// # Errors
    /// When the agent does not answer.
    fn os_info(&self, vm: VmId, pos: Pos) -> Done<qemu::GuestOs>;

    /// `vm.read_file(path)`: a file of the running guest, by its agent.
    ///
    /// # Errors
    /// When there is no such file, or the agent does not answer.
    fn read_file(&self, vm: VmId, path: &str, pos: Pos) -> Done<String>;

    /// `vm.freeze()`: stop all writes to the guest's file systems, by its agent.
    ///
    /// # Errors
    /// When the agent does not, or nothing was frozen.
    fn freeze(&self, vm: VmId, pos: Pos) -> Done;

    /// `vm.thaw()`.
    ///
    /// # Errors
    /// When the agent does not.
    fn thaw(&self, vm: VmId, pos: Pos) -> Done;

    /// `vm.stop()`: shut down, then pull the plug; ends well for a machine that is already off.
    ///
    /// # Errors
    /// When it could not be ended.
    fn stop(&self, vm: VmId, pos: Pos) -> Done;

    /// `vm.expect_failure_of(cause, deadline)`: a control. It passes only when the boot fails at that cause's rung by its own words.
    ///
    /// # Errors
    /// When it boots, fails otherwise, or is silent up to the deadline.
    fn expect_failure_of(&self, vm: VmId, cause: &str, within: Duration, pos: Pos) -> Done;

    /// `machine.test_failover(#{…})`: preflight, plan, patch, child. The source is only read.
    ///
    /// # Errors
    /// When a rule refuses it.
    fn test_failover(&self, machine: MachineId, options: &FailoverOptions, pos: Pos) -> Done<MachineId>;

    /// `machine.failback()`: back to Generation 2 with what the guest wrote meanwhile.
    ///
    /// # Errors
    /// When what it would put back no longer fits.
    fn failback(&self, machine: MachineId, pos: Pos) -> Done<MachineId>;

    /// `machine.plan_failback()`: what failback would do. A refusal is a plan too: one that says why.
    ///
    /// # Errors
    /// When the disk cannot be read, or the machine runs.
    fn plan_failback(&self, machine: MachineId, pos: Pos) -> Done<FailbackPlan>;

    /// `plan.show()`.
    ///
    /// # Errors
    /// When the run was cancelled.
    fn show_plan(&self, plan: &FailbackPlan, pos: Pos) -> Done;

    /// `plan.assert_no_conflicts()`.
    ///
    /// # Errors
    /// When there is a conflict, or another reason against the way home.
    fn assert_no_conflicts(&self, plan: &FailbackPlan, pos: Pos) -> Done;

    /// `machine.plant(fault)`: a copy with a known fault in it.
    ///
    /// # Errors
    /// When the fault is unknown or does not fit this disk.
    fn plant(&self, machine: MachineId, fault: &str, pos: Pos) -> Done<MachineId>;

    /// `machine.assert_file(path, content)`: read from the stopped disk, compared to the byte.
    ///
    /// # Errors
    /// When it is missing or different.
    fn assert_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done;

    /// `machine.check_file(path, content)`.
    ///
    /// # Errors
    /// When the disk cannot be read; a missing file is `false`.
    fn check_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done<bool>;

    /// `machine.assert_marker(text)`: the guest wrote this marker by itself, read from the stopped disk.
    ///
    /// # Errors
    /// When it is missing or different, or the guest cannot write one.
    fn assert_marker(&self, machine: MachineId, text: &str, pos: Pos) -> Done;

    /// `machine.assert_same_layout_as(other)`: partitions, types, ids and sizes.
    ///
    /// # Errors
    /// When they differ.
    fn assert_same_layout_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done;

    /// `machine.assert_same_boot_as(other)`: what matters to starting, as `drill diff --boot` compares it.
    ///
    /// # Errors
    /// When it differs, or cannot be compared.
    fn assert_same_boot_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done;

    /// `machine.cleanup()`: stop and remove everything made from it.
    ///
    /// # Errors
    /// When something is left.
    fn cleanup(&self, machine: MachineId, pos: Pos) -> Done;

    /// `machine.assert_source_untouched()`.
    ///
    /// # Errors
    /// When the given image is not what it was.
    fn assert_source_untouched(&self, machine: MachineId, pos: Pos) -> Done;
}
