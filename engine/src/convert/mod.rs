//! A conversion is a patch.
//!
//! ```text
//! Inspection ─► to_gen1 ─► Plan { patch, … } ─► lower ─► sector writes ─► an overlay, a child, an export
//!                             │
//!                             └─ Capsule, written into the gap: what failback needs
//! disk as it is now + Capsule ─► to_gen2 ─► Plan, of the same kind
//!                    no Capsule ──┘  (anew: a disk that never was Generation 2)
//! ```
//!
//! A [`Patch`] is a list of operations with reasons; [`lower`] turns it into plain writes, and [`invert`] gives the
//! operation that undoes one, or says what the guest has written in between and why that is in the way. Planning reads; nothing here writes.

mod anew;
mod bytes;
mod capsule;
mod gen1_mbr;
mod op;
mod patch;
mod plan;
mod report;
mod room;
mod steps;
mod table;
mod to_gen1;
mod to_gen2;
mod undo;
mod undo_mbr;

pub use bytes::Bytes;
pub use capsule::{CAPSULE_MAX, Capsule, CapsuleError, MAGIC as CAPSULE_MAGIC};
pub use op::{Change, Op, Place};
pub use patch::{LowerError, Lowered, Patch, Phase, PlannedWrite, lower};
pub use plan::{Direction, Plan, Refusal, RefusalReason, Strategy};
pub use report::outline;
pub use room::SCRIPT_SECTORS;
pub use to_gen1::{Gen1Options, Kits, TableChoice, to_gen1};
pub use to_gen2::to_gen2;
pub use undo::{Conflict, Replaced, Undo, invert};
