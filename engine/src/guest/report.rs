//! An inspection as an indented report for people.

use super::{FileSystem, Inspection, Severity, Starts, TableKind};
use crate::units::MIB;
use crate::volume::Journal;
use std::fmt;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sectors = self.geometry.sector.bytes();
        writeln!(f, "disk        {}, {sectors}-byte sectors", size(self.geometry.len.get()))?;
        writeln!(f, "system      {}", self.guest_name())?;
        let id = self.table.disk_id.as_deref().unwrap_or("no id");
        writeln!(f, "table       {} {id}", self.table.kind)?;
        if let Some(gpt) = &self.table.gpt {
            if self.table.kind == TableKind::Mbr {
                writeln!(f, "  a GPT lies behind the MBR, unused")?;
            }
            writeln!(f, "  primary   {}", gpt.primary)?;
            writeln!(f, "  backup    {}", gpt.backup)?;
            for problem in &gpt.problems {
                writeln!(f, "  !         {problem}")?;
            }
        }
        writeln!(f, "partitions")?;
        for p in &self.partitions {
            let active = if p.active { ", active" } else { "" };
            write!(f, "  {:<3} {:>10}  {}{active}", p.number, size(p.len.get()), p.type_name)?;
            writeln!(f, "{}", Held(p.fs.as_ref()))?;
        }
        if !self.logical_volumes.is_empty() {
            writeln!(f, "logical volumes")?;
        }
        for lv in &self.logical_volumes {
            write!(f, "  {:<14} {:>10}  {}", lv.full_name(), size(lv.len.get()), lv.kind)?;
            if !lv.partitions.is_empty() {
                let numbers: Vec<String> = lv.partitions.iter().map(ToString::to_string).collect();
                let noun = if numbers.len() == 1 { "partition" } else { "partitions" };
                write!(f, " on {noun} {}", numbers.join(", "))?;
            }
            match &lv.problem {
                Some(problem) => writeln!(f, ": {problem}")?,
                None => writeln!(f, "{}", Held(lv.fs.as_ref()))?,
            }
        }
        if !self.loaders.is_empty() {
            writeln!(f, "loaders")?;
            for l in &self.loaders {
                writeln!(f, "  {:<22} {}", l.kind.name(), l.path)?;
            }
        }
        if let Some(stub) = &self.stub {
            let to = stub.configfile.as_deref().unwrap_or("nothing");
            writeln!(f, "grub        {} leads to {to}", stub.path)?;
        }
        if let Some(boot) = &self.boot {
            writeln!(f, "menu        {} entries of {}", boot.entries.len(), boot.source.name())?;
            if let Some(entry) = boot.default_entry() {
                writeln!(f, "  starts    {:?} ({}); {}", entry.title, entry.origin, boot.default_why)?;
                let kernel = entry.kernel.as_ref().map_or("none".to_string(), ToString::to_string);
                writeln!(f, "  kernel    {kernel} {}", entry.options)?;
                let initrd: Vec<String> = entry.initrd.iter().map(ToString::to_string).collect();
                writeln!(
                    f,
                    "  initrd    {}",
                    if initrd.is_empty() { "none".to_string() } else { initrd.join(" ") }
                )?;
            }
            for other in &boot.left_out {
                writeln!(f, "  left out  {other}")?;
            }
        }
        writeln!(f, "UEFI        {}", self.uefi_start)?;
        writeln!(f, "BIOS        {}", self.bios_start)?;
        if !self.findings.is_empty() {
            writeln!(f, "findings")?;
            for finding in &self.findings {
                let mark = match finding.severity {
                    Severity::Blocker => "blocker",
                    Severity::Warning => "warning",
                    Severity::Note => "note",
                };
                writeln!(f, "  {mark:<8} {}: {}", finding.id, finding.text)?;
                if !finding.fix.is_empty() {
                    writeln!(f, "           {}", finding.fix)?;
                }
            }
        }
        Ok(())
    }
}

/// What lies on a partition or in a logical volume, behind its description.
struct Held<'a>(Option<&'a FileSystem>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(fs) = self.0 else { return Ok(()) };
        write!(f, ": {}", fs.kind)?;
        if let Some(uuid) = &fs.uuid {
            write!(f, " {uuid}")?;
        }
        if let Some(label) = &fs.label {
            write!(f, " \"{label}\"")?;
        }
        match &fs.journal {
            Some(Journal::Replayed { .. }) => write!(f, " (journal replayed in memory)"),
            Some(Journal::Dirty) => write!(f, " (marked as in use)"),
            Some(Journal::Unreadable { .. }) => write!(f, " (journal not replayed)"),
            Some(Journal::Clean) | None => Ok(()),
        }
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Starts::Yes { by } => write!(f, "starts: {by}"),
            Starts::No { why } => write!(f, "does not start: {why}"),
            Starts::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableKind::None => "none",
            TableKind::Gpt => "GPT",
            TableKind::Mbr => "MBR",
            TableKind::Hybrid => "hybrid",
        })
    }
}

/// Bytes for people: whole units stay whole, others get one decimal.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => {
            // One decimal by whole numbers; the rest is smaller than a unit, so ten times it fits.
            format!("{}.{} {name}", bytes / unit, (bytes % unit) * 10 / unit)
        }
        None => format!("{bytes} B"),
    }
}
