//! One virtual machine: start it, watch it, judge how far it came.
//!
//! This crate knows no disk format, no scenario and no terminal. It takes a [`Machine`] (a generation, disks as NBD
//! sockets or open descriptors, each with a child file that takes the guest's writes) and gives a [`Vm`]: a handle
//! to wait, type, run, look and stop with. Dropping the handle ends QEMU; killing this process does too.
//!
//! ```text
//!   serial ports─┐                         ┌─► console   text, cursors, console.log
//!   debug port ──┤   one inbox   one loop  │
//!   QMP events ──┼──────────────► (the ────┼─► ladder    rungs, attempts, causes ─► Verdict
//!   QEMU stderr ─┤               supervisor)│
//!   screen text ─┘                         └─► observer  every Observation, as it comes
//! ```
//!
//! A boot climbs [`Rung`]s; what it says is looked up in a table ([`ladder::PATTERNS`]); a reset starts a new attempt.
//! The [`Verdict`] keeps four answers apart: `Ready`, `Stopped` (the guest did not get there, and by which words that is
//! known), `Unseen` (what would show more cannot be seen: no answer) and `Broken` (QEMU or the host failed: no answer).
//!
//! ```no_run
//! use qemu::{
//!     AccelChoice, Base, Cancel, Deadline, Drive, Expect, Generation, Host, Machine, Outcome, Paths, Vm, create_child,
//! };
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let run_dir = std::path::PathBuf::from("/runs/7/web/gen2");
//! let path = std::env::var_os("PATH").ok_or("no PATH")?;
//! let accel = AccelChoice::Measured { memory: "/var/cache/drill/accel.json".into() };
//! let host = Host::discover(&path, None, accel)?;
//!
//! let child = run_dir.join("child.qcow2");
//! create_child(&host.qemu_img, &child, 64 << 30)?;
//! let mut machine = Machine::new(Generation::Gen2);
//! machine.secure_boot = true;
//! let base = Base::Nbd { socket: "/runs/7/web/nbd.sock".into(), export: String::new() };
//! machine.disks.push(Drive { base, child: Some(child), sector: 512 });
//!
//! let cancel = Cancel::new(); // a signal handler holds a clone
//! let paths = Paths { run_dir: run_dir.clone(), ..Paths::default() };
//! let observer = Box::new(|seen: &qemu::Observation| println!("{seen:?}"));
//! let mut vm = Vm::start(&host, &machine, &paths, observer, &cancel)?;
//! let verdict = vm.wait_ready(&Expect::Ready, Deadline::after(Duration::from_secs(300)), &cancel);
//! match &verdict.outcome {
//!     Outcome::Ready { evidence } => println!("ready: {}", evidence.line),
//!     Outcome::Stopped { at, why, .. } => println!("stopped at {at:?}: {}; look at {}", why.text, why.next),
//!     other => println!("no answer: {other:?}"),
//! }
//! vm.screenshot(&run_dir.join("screen.png"), &cancel)?;
//! println!("{:?}", vm.run("uname -r", Deadline::after(Duration::from_secs(30)), &cancel));
//! println!("{:?}", vm.stop(Deadline::after(Duration::from_secs(60)), &cancel));
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant: QEMU never resolves a name found inside an image.** Every block node is explicit, every image is a
//! descriptor that we opened or an NBD socket we were given, and a child's backing node is named on the command line.
//!
//! **Invariant: nothing is guessed.** A screen that no reading explains is [`Screen::Unknown`]; a command that may have
//! run is [`RunResult::Late`], not a failure; half a line is never evidence of anything but a prompt.
//!
//! **Invariant: a guest costs a bounded amount.** Logs ([`MAX_LOG`]), children ([`CHILD_LIMIT`]), pictures, lines, attempts and what is remembered of
//! each have a constant; a guest that goes beyond is told, and its verdict says so.
//!
//! **Invariant: silence alone is no failure.** A standstill ([`ladder::stall`]) is called when no byte, no pixel and no request to a disk moved for longer
//! than what runs there may think.
//!
//! Errors: [`StartError`] and [`qmp::QmpError`] speak of the host and of QEMU, never of the guest; what the guest did or
//! did not do is a [`Verdict`]. Non-goals: networks, migration, snapshots of a running machine, other architectures.

mod accel;
mod agent;
mod base64;
pub mod console;
mod cpus;
pub mod credential;
mod events;
pub mod firmware;
mod host;
mod keys;
pub mod ladder;
mod log;
mod machine;
mod process;
pub mod qmp;
pub mod redact;
mod room;
mod run;
pub mod screen;
mod sweep;
mod time;
mod tpm;
mod vm;

pub use accel::{boot_sector, measure};
pub use console::Cursor;
pub use cpus::Running;
pub use host::{AccelChoice, Host, HostError, create_child};
pub use keys::{BadKey, chords_of, keys_for};
pub use ladder::{Expect, Observation, Outcome, Rung, Verdict};
pub use log::MAX_LOG;
pub use machine::{
    Accel, Base, CHILD_LIMIT, DiskBus, Drive, DriveFds, Generation, Machine, MachineError, Wiring, arguments,
};
pub use process::Observer;
pub use redact::{RedactError, Redactor};
pub use run::{RunResult, Via};
pub use screen::{Screen, Shown};
pub use sweep::{Swept, sweep};
pub use time::{Cancel, Deadline, TICK};
pub use vm::{
    AskError, GuestOs, LATE_SECONDS, Looked, Paths, Picture, Pictures, StartError, Stopped, VARIABLES, Vm,
    Waited, evidence,
};
