//! One virtual machine: start it, watch it, judge how far it came.
mod accel;
mod agent;
mod base64;
pub mod console;
pub mod firmware;
mod host;
pub mod ladder;
mod machine;
mod process;
pub mod qmp;
mod run;
pub mod screen;
mod sweep;
mod time;
mod vm;

pub use accel::{boot_sector, measure};
pub use console::Cursor;
pub use host::{AccelChoice, Host, HostError, create_child};
pub use ladder::{Expect, Observation, Outcome, Rung, Verdict};
pub use machine::{Accel, Base, Drive, DriveFds, Generation, Machine, MachineError, Wiring, arguments};
pub use process::Observer;
pub use run::{RunResult, Via};
pub use screen::Screen;
pub use sweep::{Swept, sweep};
pub use time::{Cancel, Deadline, TICK};
pub use vm::{Paths, StartError, Stopped, Vm, Waited, evidence};
