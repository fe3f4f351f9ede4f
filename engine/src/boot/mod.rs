//! What makes a disk start under a BIOS.
//!
//! GRUB comes in as bytes (a [`LoaderKit`], made by floor 1 with `grub-mkimage`), the same for every disk:
//!
//! ```text
//! LBA 0         440 bytes of boot.img   reads ──┐
//! LBA 34..      core.img                ◄───────┘ its embedded line says: normal ($root)2040+8
//! LBA 2040..    the script              ◄──────── plain text, made per disk by [`script()`]
//! ```
//!
//! The core never changes from disk to disk, so what is particular about one is readable in its script.

mod kit;
mod script;

pub use kit::{BOOT_CODE_LEN, CORE_SECTORS_MAX, KitError, LoaderKit, SECTOR};
pub use script::{Entry, File, ScriptError, Steps, script};
