//! Containers against outside oracles: what `qemu-img` makes we read, what we write `qemu-img` reads.

mod bench;
mod disk;
mod export;
mod hash;
mod hostile;
mod qcow2;
mod read;
mod refusals_vhdx;
mod refusals_vhdx_log;
mod refusals_vhdx_parent;
mod vhdx;
mod vhdx_builder;
mod vhdx_hostile;
mod vhdx_log;
mod vhdx_sinks;
