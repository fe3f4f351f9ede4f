//! Small inputs become image files, which the container parsers open and walk; one more target takes their bytes for LVM2 physical volumes.
//!
//! ```text
//! input ─ sparse ─► file in /dev/shm ─ repair (if the input asks) ─► walk: open, extents, reads, spans
//! ```
//! An image is megabytes and mostly zeros; an input is at most some kilobytes of what is not. Checksums are put right when the input asks
//! for it, so that mutations come behind them. What is checked stands in `walk`. Memory beyond [`harness::MEMORY_MAX`] is a crash.
//!
//! An initramfs is small by itself: its inputs are its bytes, checked in `initramfs`.
//!
//! `sparse`, `repair`, `walk`, `lvm` and `initramfs` are also modules of the engine's tests `container::corpus`, `lvm::corpus` and `initramfs`, which
//! replay the committed inputs.

pub mod harness;
pub mod initramfs;
pub mod lvm;
pub mod repair;
pub mod sparse;
pub mod walk;
