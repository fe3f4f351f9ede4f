//! Which files an initramfs holds, by name.
//!
//! ```text
//! [cpio: microcode] [zeros] [gzip | xz | zstd | lz4 of cpio …] [zeros] …
//! ```
//! The kernel unpacks what stands there one member after another (`init/initramfs.c`, `unpack_to_rootfs`), and so does [`list`], but it keeps
//! names only. Nothing is written, and nothing that is unpacked is kept: a member flows through in pieces of 64 KiB.
//!
//! What follows from the names is in [`equipment`] (what one start brings along: kernel, version, modules) and [`drivers`] (which
//! disks it could find).
//!
//! **Invariant:** what could not be read to its end says so ([`End::Broken`]). A name that was seen is there; one that was not seen is
//! missing only if the listing is whole.

mod cpio;
mod drivers;
mod equipment;
mod modules;
mod starts;
mod unpack;

pub use drivers::{DISK_DRIVERS, Drivers, drivers};
pub use equipment::{Equipment, Presence, equipment};
pub use starts::{Piece, Start, starts};

use cpio::Cpio;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::BufRead;
use unpack::Source;

/// Most bytes that come out of all members together: 1 GiB. A large real one (all firmware of a server) has about a quarter of it.
pub const OUTPUT_MAX: u64 = 1 << 30;
/// Most names that are kept.
pub const NAMES_MAX: usize = 1 << 18;
/// Most bytes of names that are kept.
pub const NAME_BYTES_MAX: usize = 32 << 20;
/// Longest name; the kernel passes over longer ones (`PATH_MAX`).
pub const NAME_MAX: usize = 4096;
/// Most members.
pub const MEMBERS_MAX: usize = 256;

/// How a member is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard, RFC 8878.
    Zstd,
    /// LZ4 in its old framing, the one the kernel knows.
    Lz4,
}

/// One archive, or one run of archives in one compressed stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Where it begins in the file.
    pub at: u64,
    /// How it is packed.
    pub packing: Packing,
    /// How many of the names are its.
    pub names: usize,
}

/// How far a listing came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// To the end.
    Whole,
    /// Not further than this.
    Broken {
        /// Where in the file the member begins that could not be read.
        at: u64,
        /// Why.
        why: String,
    },
}

/// What is in an initramfs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// Names as they are stored, in their order; bytes that are no UTF-8 are shown as U+FFFD.
    pub names: Vec<String>,
    /// The members that were read.
    pub members: Vec<Member>,
    /// Whether that is all.
    pub end: End,
}

/// List the names in an initramfs. Never fails: what cannot be read is said in [`Listing::end`].
pub fn list(bytes: &mut dyn BufRead) -> Listing {
    let mut source = Source::new(bytes);
    let mut cpio = Cpio::default();
    let mut members = Vec::new();
    let end = loop {
        let at = source.at();
        match member(&mut source, &mut cpio, &mut members) {
            Ok(Some(())) => {}
            Ok(None) => break End::Whole,
            Err(why) => break End::Broken { at, why },
        }
    };
    Listing { names: cpio.into_names(), members, end }
}

/// Read one member, or a run of padding; `None` at the end.
fn member(source: &mut Source, cpio: &mut Cpio, members: &mut Vec<Member>) -> Result<Option<()>, String> {
    let at = source.at();
    let Some(first) = source.peek()? else { return Ok(None) };
    if first == 0 {
        source.pass_zeros()?;
        return Ok(Some(()));
    }
    if members.len() >= MEMBERS_MAX {
        return Err(format!("it has more than {MEMBERS_MAX} members"));
    }
    let before = cpio.count();
    let packing = match first {
        b'0' if at.is_multiple_of(4) => {
            cpio.begin();
            source.plain(cpio)?;
            Packing::Plain
        }
        other => {
            let packing = unpack::packing(other)?;
            cpio.begin();
            source.unpack(packing, cpio)?;
            packing
        }
    };
    // What was seen before the end was cut off counts; that it was cut off counts too.
    cpio.is_between_entries().then_some(()).ok_or("it ends in the middle of an entry")?;
    members.push(Member { at, packing, names: cpio.count().saturating_sub(before) });
    Ok(Some(()))
}

impl Packing {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Lz4 => "lz4",
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
