//! How a rule is looked for: a closed list of questions, each with its numbers, so that a rule stays a row of data.

use super::{Certainty, Facts, disk, start};
use crate::guest::{LoaderKind, OsKind};

/// A question about a disk or the system on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Is Linux installed?
    Linux,
    /// Is Windows older than Server 2012? Windows is recognised, but its version is not read.
    WindowsBefore2012,
    /// Is the disk longer than this? From `unclear_from` on it depends on what the source means by GB.
    LongerThan {
        /// In bytes.
        bytes: u64,
        /// In bytes.
        unclear_from: u64,
    },
    /// Is the disk, rounded up to whole MiB, shorter than this?
    ShorterThan(u64),
    /// Is the length no whole number of MiB?
    OddLength,
    /// Has the disk no partition table, or no partition?
    NoTable,
    /// Are there more partitions than this?
    MorePartitions(usize),
    /// Are there more data volumes than this on the disk?
    MoreDataVolumes(usize),
    /// Is it a dynamic disk?
    DynamicDisk,
    /// Is it a part of a storage pool?
    StorageSpaces,
    /// Is a partition encrypted?
    Encrypted,
    /// Is there LVM on the disk?
    Lvm,
    /// Are there sectors of 4096 bytes, logically and physically?
    Sectors4Kn,
    /// Are there logical sectors of 4096 bytes?
    LogicalSectors4096,
    /// Is the given file no VHDX?
    NotVhdx,
    /// Is the file that is to be made no fixed VHD?
    ResultNotFixedVhd,
    /// Is a volume formatted with anything but NTFS?
    NotNtfs,
    /// Is there swap space on the disk?
    Swap,
    /// Does a way to start lack this module before its root is mounted?
    ModuleMissing {
        /// The module.
        module: &'static str,
        /// Whether it may also come from the root file system later.
        later: bool,
    },
    /// Does a kernel command line lack a word that begins so?
    WordMissing(&'static str),
    /// Does a kernel command line have one of these words?
    WordPresent(&'static [&'static str]),
    /// Is a network interface's name, or its configuration, bound to a MAC address?
    BoundToMac,
    /// Has the guest a fixed address?
    StaticAddress,
    /// Has the guest neither of Azure's provisioning agents?
    NoAgent,
    /// Did the inspection find this, by its id?
    Finding(&'static str),
    /// Does the planner refuse with this id? It says so itself when it plans.
    Planner,
}

/// An answer that is worth telling.
pub(super) struct Told {
    pub certainty: Certainty,
    /// What was found, or why it cannot be told; a sentence without its full stop, or a finding's own whole text.
    pub what: What,
}

pub(super) enum What {
    /// To be put behind the rule's text.
    Found(String),
    /// A finding of the inspection, in its own words.
    Own { text: String, fix: String },
}

impl Told {
    /// Why it cannot be told, when that is the answer.
    pub fn unclear_because(&self) -> Option<&str> {
        match (self.certainty, &self.what) {
            (Certainty::Unclear, What::Found(why)) => Some(why),
            _ => None,
        }
    }
}

pub(super) fn fires(what: impl Into<String>) -> Vec<Told> {
    vec![Told { certainty: Certainty::Certain, what: What::Found(what.into()) }]
}

pub(super) fn unclear(why: impl Into<String>) -> Vec<Told> {
    vec![Told { certainty: Certainty::Unclear, what: What::Found(why.into()) }]
}

impl Check {
    /// Whether the question is about Linux: of Windows it is not asked.
    fn is_about_linux(self) -> bool {
        matches!(
            self,
            Check::Swap
                | Check::NoAgent
                | Check::ModuleMissing { .. }
                | Check::WordMissing(_)
                | Check::WordPresent(_)
                | Check::BoundToMac
                | Check::StaticAddress
        )
    }

    pub(super) fn ask(self, facts: &Facts) -> Vec<Told> {
        let inspection = &facts.subject.guest.inspection;
        let windows = inspection.os.as_ref().is_some_and(|os| os.kind == OsKind::Windows);
        match self {
            _ if windows && self.is_about_linux() => Vec::new(),
            Check::Linux => linux(facts),
            Check::WindowsBefore2012 if windows => unclear("the version of Windows is not read"),
            Check::WindowsBefore2012 => Vec::new(),
            Check::LongerThan { .. }
            | Check::ShorterThan(_)
            | Check::OddLength
            | Check::NoTable
            | Check::MorePartitions(_)
            | Check::MoreDataVolumes(_)
            | Check::DynamicDisk
            | Check::StorageSpaces
            | Check::Encrypted
            | Check::Lvm
            | Check::Sectors4Kn
            | Check::LogicalSectors4096
            | Check::NotVhdx
            | Check::ResultNotFixedVhd
            | Check::NotNtfs => disk::ask(self, facts),
            Check::Swap | Check::NoAgent => start::root(self, facts),
            Check::ModuleMissing { module, later } => start::module(module, later, facts),
            Check::WordMissing(word) => start::word_missing(word, facts),
            Check::WordPresent(words) => start::words_present(words, facts),
            Check::BoundToMac | Check::StaticAddress => network(self, facts),
            Check::Finding(id) => {
                let own = inspection.findings.iter().filter(|f| f.id == id);
                let own = own.map(|f| What::Own { text: f.text.clone(), fix: f.fix.clone() });
                own.map(|what| Told { certainty: Certainty::Certain, what }).collect()
            }
            Check::Planner => Vec::new(),
        }
    }
}

fn linux(facts: &Facts) -> Vec<Told> {
    let inspection = &facts.subject.guest.inspection;
    match &inspection.os {
        Some(os) if os.kind == OsKind::Linux => fires(os.pretty.clone()),
        Some(_) => Vec::new(),
        None => {
            let of_linux = |kind| !matches!(kind, LoaderKind::Windows | LoaderKind::Other);
            match inspection.loaders.iter().find(|l| of_linux(l.kind)) {
                Some(loader) => fires(format!("{} ({}) starts it", loader.kind.name(), loader.path)),
                None => unclear("no system was recognised"),
            }
        }
    }
}

fn network(check: Check, facts: &Facts) -> Vec<Told> {
    let Some(network) = facts.network() else {
        return unclear("there is no root file system whose network configuration could be read");
    };
    let found = if check == Check::BoundToMac { &network.bound } else { &network.fixed };
    match (found.is_empty(), network.unread.first()) {
        (false, _) => fires(found.join("; ")),
        (true, Some(why)) => unclear(why.clone()),
        (true, None) => Vec::new(),
    }
}
