//! Containers against outside oracles: what `qemu-img` makes we read, what we write `qemu-img` reads.

mod bench;
mod corpus;
mod detect;
mod disk;
mod export;
mod foreign;
mod hash;
mod hostile;
mod qcow2;
mod read;
mod refusals_vhd;
mod refusals_vhd_parents;
mod refusals_vhdx;
mod refusals_vhdx_log;
mod refusals_vhdx_parent;
mod sinks;
mod vhd;
mod vhd_bytes;
mod vhd_footer;
mod vhd_hostile;
mod vhd_write;
mod vhdx;
mod vhdx_builder;
mod vhdx_hostile;
mod vhdx_log;
mod vhdx_sinks;
