//! The table of what firmware, loaders and kernels say, and what each saying means. A row is data: add a case in the
//! file of its rung.

mod firmware;
mod init;
mod kernel;
mod loader;

pub(super) use kernel::LAB_TIMER;

use super::Rung;
use super::Source::{self, Debug, Screen, Serial, Serial2};

/// How a row's text is looked for in a line (leading and trailing blanks do not count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needle {
    /// Anywhere.
    Has(&'static str),
    /// At the beginning.
    Starts(&'static str),
    /// At the end: a prompt.
    Ends(&'static str),
    /// Both, in this order.
    Both(&'static str, &'static str),
    /// All of the first, none of the second.
    All(&'static [&'static str], &'static [&'static str]),
}

/// What a row says about the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// This rung was reached.
    Reached(Rung),
    /// The boot has a problem at this rung.
    Cause {
        /// Where.
        at: Rung,
        /// Nothing more comes after this by itself.
        terminal: bool,
        /// Among several causes the greatest weight explains the others.
        weight: u8,
    },
    /// The boot waits at this rung for somebody who does not come; a prompt counts too.
    Waits {
        /// Where.
        at: Rung,
        /// Milliseconds without a move of anything after which nobody will come.
        patience_ms: u64,
    },
    /// The firmware resets the machine once more, for a reset of the guest: the two are one.
    FirmwareResets,
    /// The guest says that it will reset itself, as a good boot may at this rung.
    WillReset(Rung),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Stable name.
    pub id: &'static str,
    /// What to look for.
    pub needle: Needle,
    /// Where it counts.
    pub sources: &'static [Source],
    /// What it says.
    pub means: Means,
    /// In a reader's words.
    pub text: &'static str,
    /// What to look at next; empty for rungs.
    pub next: &'static str,
}

impl Pattern {
    /// Whether the row applies to a line from `source`.
    pub fn matches(&self, source: Source, line: &str) -> bool {
        let line = line.trim();
        self.sources.contains(&source)
            && match self.needle {
                Needle::Has(text) => line.contains(text),
                Needle::Starts(text) => line.starts_with(text),
                Needle::Ends(text) => line.ends_with(text),
                Needle::All(all, none) => {
                    all.iter().all(|t| line.contains(t)) && !none.iter().any(|t| line.contains(t))
                }
                Needle::Both(one, two) => {
                    line.find(one).and_then(|at| line.get(at + one.len()..)).is_some_and(|r| r.contains(two))
                }
            }
    }
}

const TEXT: &[Source] = &[Serial, Serial2, Screen];
const BIOS: &[Source] = &[Debug, Screen, Serial, Serial2];

const fn rung(id: &'static str, needle: Needle, sources: &'static [Source], rung: Rung) -> Pattern {
    Pattern { id, needle, sources, means: Means::Reached(rung), text: "", next: "" }
}

const fn end(
    id: &'static str,
    needle: Needle,
    sources: &'static [Source],
    (at, weight): (Rung, u8),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources, means: Means::Cause { at, terminal: true, weight }, text, next }
}

const fn trouble(
    id: &'static str,
    needle: Needle,
    sources: &'static [Source],
    (at, weight): (Rung, u8),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources, means: Means::Cause { at, terminal: false, weight }, text, next }
}

const fn waits(
    id: &'static str,
    needle: Needle,
    (at, patience_ms): (Rung, u64),
    text: &'static str,
    next: &'static str,
) -> Pattern {
    Pattern { id, needle, sources: TEXT, means: Means::Waits { at, patience_ms }, text, next }
}

const fn reset(id: &'static str, needle: Needle, at: Rung, text: &'static str) -> Pattern {
    Pattern { id, needle, sources: TEXT, means: Means::WillReset(at), text, next: "" }
}

/// The shell inside the firmware is no loader from the disk, and Secure Boot may refuse it too.
const SHELL: &[&str] = &["EFI Internal Shell"];
const LOOK_BOOT_DISK: &str = "does the disk have what this firmware starts: boot code in LBA 0 for BIOS, an EFI system partition for UEFI?";
const LOOK_ROOT: &str = "root= on the kernel command line, and whether the initramfs has the driver of this machine's disk controller";
const LOOK_FSCK: &str = "fsck on a copy of the disk; was it copied while the guest wrote?";
const LOOK_KEY: &str =
    "a key in a TPM or on a server is not there in the lab: drill a copy that unlocks without one";
/// What unlocks a disk by itself has done so by then.
const PASSPHRASE_MS: u64 = 60_000;

/// All rows, by rung. Several may match one line; each counts once an attempt.
pub const PATTERNS: [&[Pattern]; 4] = [firmware::ROWS, loader::ROWS, kernel::ROWS, init::ROWS];
