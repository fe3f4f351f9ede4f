//! What happens in a drill, as events: the boundary between running and every view.
//!
//! A run is one [`Header`] and a sequence of [`Event`]s, one JSON object a line. Text, JSON, JUnit, the dashboard and
//! the history are folds over that stream and nothing else. Bulk (console, screens, patches) are files in the run
//! folder; events point into them with [`Pointer`]s.
//!
//! ```text
//! {"drill_journal":1,"run":"20261124-010203-web01","started":"2026-11-24T01:02:03Z","tool":"drill 0.1.0",…}
//! {"seq":0,"t_ms":0,"kind":"run_started","scenario":{…},…}
//! {"seq":1,"t_ms":2,"path":{"step":1},"kind":"step_started","title":"The source starts as it is"}
//! ```
//!
//! **Invariant:** a reader keeps what it does not know: a kind it has never heard of becomes [`Kind::Unknown`].

use crate::verdict::Outcome;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use crate::pointer::{ArtifactName, BadArtifactName, Pointer};

/// The version of the journal's format. Raised when an old reader would misread a new journal; new kinds and new
/// fields do not raise it.
pub const FORMAT: u32 = 1;

/// The first line of a journal.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Header {
    /// Format version, [`FORMAT`]. Its name makes the file recognisable.
    pub drill_journal: u32,
    /// The run's id; the name of its folder.
    pub run: String,
    /// When the run started; event times count from here.
    pub started: jiff::Timestamp,
    /// Program and version that wrote this.
    pub tool: String,
    /// Where it ran.
    #[serde(default)]
    pub host: HostFacts,
}

/// Facts about the host that explain times and differences. All optional: a view prints what is there.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct HostFacts {
    /// Host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Operating system, as `/etc/os-release` names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Kernel release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Processor model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// Processors this process may use.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpus: u32,
    /// Memory, MiB.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub memory_mib: u64,
    /// QEMU's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub qemu: String,
}

/// One thing that happened.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Event {
    /// Place in the journal: 0, 1, 2, … without gaps.
    pub seq: u64,
    /// When, in milliseconds since the run's start. Never falls.
    pub t_ms: u64,
    /// Where in the drill.
    #[serde(default, skip_serializing_if = "EventPath::is_empty")]
    pub path: EventPath,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// Where in a drill something happens: plan / group / machine / step / action. Branches may run in parallel, so events
/// of different paths may interleave.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(default)]
pub struct EventPath {
    /// Recovery plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Group of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Step, counted from 1. What comes before the first heading has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Action, counted from 1 through the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<u32>,
}

impl EventPath {
    /// No place in particular: the run itself.
    pub const RUN: Self = Self { plan: None, group: None, machine: None, step: None, action: None };

    /// Whether this is the run itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::RUN
    }

    /// The same place, under this step.
    #[must_use]
    pub fn with_step(mut self, step: u32) -> Self {
        self.step = Some(step);
        self
    }

    /// The same place, under this action.
    #[must_use]
    pub fn with_action(mut self, action: u32) -> Self {
        self.action = Some(action);
        self
    }

    /// The same place, of this machine.
    #[must_use]
    pub fn with_machine(mut self, machine: impl Into<String>) -> Self {
        self.machine = Some(machine.into());
        self
    }
}

/// What happened. Closed: a view matches all of them; a newer journal's kinds arrive as [`Kind::Unknown`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The run starts.
    RunStarted {
        /// What runs.
        scenario: Scenario,
        /// Arguments given with `--set`, by name.
        #[serde(default)]
        args: std::collections::BTreeMap<String, String>,
    },
    /// A heading: the actions up to the next one belong to it. `path.step` is its number.
    StepStarted {
        /// The heading.
        title: String,
    },
    /// A step that is repeated begins an attempt: the actions up to its end belong to it.
    AttemptStarted {
        /// Which, from 1.
        attempt: u32,
        /// Attempts at most.
        of: u32,
        /// Attempts that must pass.
        need: u32,
    },
    /// An attempt ended.
    AttemptFinished {
        /// Which, from 1.
        attempt: u32,
        /// `Passed` or `Failed`; any other end of an attempt ends the drill.
        outcome: Outcome,
        /// Where, wanted, found.
        #[serde(default)]
        detail: String,
    },
    /// A repeated step is decided.
    StepFinished {
        /// How.
        outcome: Outcome,
        /// What decided it.
        #[serde(flatten)]
        repeated: Repeated,
    },
    /// A verb of the script is called.
    ActionStarted {
        /// Number, counted from 1 through the whole run.
        id: u32,
        /// The verb: `test_failover`.
        verb: String,
        /// What it is called with, for people, without the machine that `path.machine` names:
        /// `web.test_failover(#{ profile: "azure-gen1" })` has `profile: azure-gen1`.
        #[serde(default)]
        args: String,
        /// Line in the scenario, from 1; 0 when there is none.
        #[serde(default)]
        line: u32,
    },
    /// A long action moves. The recorder drops what comes too fast.
    Progress {
        /// Which action.
        action: u32,
        /// What is being done: "writing web01.vhd".
        what: String,
        /// How much is done, in `unit`.
        done: u64,
        /// Of how much; `None` when unknown.
        #[serde(default)]
        total: Option<u64>,
        /// `bytes`, `ms`, or a word in the plural.
        unit: String,
    },
    /// Something a person should know about the drilled disk.
    Finding {
        /// Name of the rule that found it: `gpt-backup-crc`.
        id: String,
        /// How bad.
        severity: Severity,
        /// What.
        text: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fix: Option<String>,
    },
    /// A conversion is planned.
    PatchPlanned {
        /// In a line or a few.
        summary: String,
        /// The plan, printable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<Pointer>,
    },
    /// A virtual machine is started.
    MachineStarted {
        /// Its name in this run.
        machine: String,
        /// Which start of this machine, from 1.
        #[serde(default = "one")]
        boot: u32,
        /// 1 or 2.
        generation: u8,
        /// `SeaBIOS`, `OVMF, Secure Boot enforced`.
        firmware: String,
        /// `tcg`, `kvm`.
        accelerator: String,
        /// `ide`, `scsi`, …
        disk_bus: String,
    },
    /// A rung of the ladder is reached.
    Rung {
        /// Machine.
        machine: String,
        /// Which start of this machine, from 1.
        boot: u32,
        /// Which attempt of this boot, from 1: a reset begins another.
        attempt: u32,
        /// The rung.
        rung: Rung,
        /// Seen, or concluded from a later one.
        how: How,
        /// Milliseconds since the machine was started.
        at_ms: u64,
        /// What showed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Evidence>,
    },
    /// The machine reset.
    Reset {
        /// Machine.
        machine: String,
        /// Which start of this machine, from 1.
        #[serde(default = "one")]
        boot: u32,
        /// Whether that is part of a good boot.
        expected: bool,
        /// Why it is or is not.
        #[serde(default)]
        reason: String,
        /// Milliseconds since the machine was started.
        #[serde(default)]
        at_ms: u64,
    },
    /// The serial console has more; the pointer names all of it so far (offset 0) or the new part. One file a boot. Said
    /// once when the machine starts (then with length 0), so that a view can follow the file itself, and once at its end.
    Console {
        /// Machine.
        machine: String,
        /// Where.
        #[serde(flatten)]
        at: Pointer,
    },
    /// What stood on the guest's screen.
    Screen {
        /// Machine.
        machine: String,
        /// Text that was read exactly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Picture or text file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<Pointer>,
    },
    /// How a boot ended, or stands where it was asked for.
    BootVerdict {
        /// Machine.
        machine: String,
        /// Which start of this machine, from 1.
        #[serde(default = "one")]
        boot: u32,
        /// How.
        outcome: Outcome,
        /// The highest rung of the last attempt.
        #[serde(default)]
        rung: Option<Rung>,
        /// Why it stopped there, or "ready".
        cause: String,
        /// What decided it.
        #[serde(default)]
        evidence: Vec<Evidence>,
        /// What to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// The script or the harness says something.
    Note {
        /// What.
        text: String,
    },
    /// The action ended.
    ActionFinished {
        /// Its number.
        id: u32,
        /// How.
        outcome: Outcome,
        /// Where, wanted, found; empty when there is nothing to add.
        #[serde(default)]
        detail: String,
        /// What to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
        /// Lab time, milliseconds.
        took_ms: u64,
    },
    /// How a source's being untouched was proved.
    SourceProof {
        /// The source, as it was named.
        file: String,
        /// How thoroughly.
        how: Proof,
        /// `Passed`, or `Broken` when somebody changed it meanwhile.
        outcome: Outcome,
        /// What was compared.
        #[serde(default)]
        detail: String,
    },
    /// The run ended. The last event.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// What the process answers.
        exit_code: u8,
        /// What is known now, one sentence each.
        #[serde(default)]
        proved: Vec<String>,
        /// What is not, one sentence each.
        #[serde(default)]
        not_proved: Vec<String>,
        /// Lab time, milliseconds.
        took_ms: u64,
    },
    /// A kind this version does not know, or one it knows in a shape it does not: kept as it was read.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

/// What runs.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Scenario {
    /// Its path as given, or the image's for the stock story. Runs of the same path are one history.
    pub path: String,
    /// Its title from `drill("…")`, or its file name.
    pub title: String,
    /// The script as it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ArtifactName>,
    /// How much evidence it asks for.
    #[serde(skip_serializing_if = "EvidenceLevel::is_normal")]
    pub evidence_level: EvidenceLevel,
}

/// What came of a step that is repeated.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Attempts that passed.
    pub passed: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Attempts that had to pass.
    pub need: u32,
    /// Attempts at most; the rest was not made because the step was decided.
    pub of: u32,
    /// Why a failure does not count for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

impl Repeated {
    /// Whether attempts differed.
    #[must_use]
    pub const fn is_flaky(&self) -> bool {
        self.passed > 0 && self.failed > 0
    }
}

/// `2 of 3 attempts passed, wanted 2`
impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.passed.saturating_add(self.failed);
        write!(f, "{} of {made} attempts passed, wanted {} of {}", self.passed, self.need, self.of)
    }
}

/// A known failure that does not count until a day.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Why.
    pub reason: String,
    /// The last day, `2026-12-31`.
    pub until: String,
    /// Whether that day was not over yet.
    pub in_force: bool,
}

/// How much evidence a run keeps. The journal, the reports, the plans and the logs of each start are kept at every level.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceLevel {
    /// No pictures.
    Minimal,
    /// Pictures of settled screens, and the last one of a boot that did not do what it must.
    #[default]
    Normal,
    /// Also the screen at the end of each wait that held, and all that commands print.
    Full,
}

impl EvidenceLevel {
    /// The level of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "minimal" => Self::Minimal,
            "normal" => Self::Normal,
            "full" => Self::Full,
            _ => return None,
        })
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// The rungs of a boot, from the lowest.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The firmware runs.
    Firmware,
    /// A boot loader runs.
    Loader,
    /// A kernel runs.
    Kernel,
    /// The first process runs.
    Init,
    /// The system is ready, and stayed so for a moment.
    Ready,
}

impl Rung {
    /// All, from the lowest.
    pub const ALL: [Self; 5] = [Self::Firmware, Self::Loader, Self::Kernel, Self::Init, Self::Ready];

    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Loader => "loader",
            Self::Kernel => "kernel",
            Self::Init => "init",
            Self::Ready => "ready",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a rung is known.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Something showed it.
    Observed,
    /// A later rung was reached, so this one was.
    Implied,
}

/// What decided something: words, and where they stand.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where, when it is in a file of the run folder.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub at: Option<Pointer>,
    /// The words themselves, short.
    #[serde(default)]
    pub text: String,
}

/// How bad a finding is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// May hurt.
    Warning,
    /// Stops the drill or the real failover.
    Error,
}

/// How a source's being untouched was proved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Same device, inode, size and times; only read-only descriptors were opened.
    Quick,
    /// BLAKE3 of the whole file, before and after.
    Full,
}

const fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero_u64(n: &u64) -> bool {
    *n == 0
}
