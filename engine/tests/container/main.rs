//! Containers against outside oracles: what `qemu-img` makes we read, what we write `qemu-img` reads.

mod bench;
mod disk;
mod export;
mod foreign;
mod hash;
mod hostile;
mod qcow2;
mod read;
