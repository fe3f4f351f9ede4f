//! A plan as people read it: what, where, how much, why.

use super::{Op, Plan, Strategy};
use crate::guest::size;
use std::fmt;

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::KeepGpt => "GRUB for the BIOS, the GPT stays",
            Strategy::RealMbr => "GRUB for the BIOS, a real MBR in front of the GPT",
            Strategy::AsItIs => "as it is: the disk starts under both firmwares",
            Strategy::Undo => "undo by the capsule on the disk",
            Strategy::Anew => "anew: a GPT, an EFI system partition, and the guest's own loader on it",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.patch.from.len.get(), self.patch.to.len.get());
        writeln!(f, "Plan: {}", self.direction)?;
        writeln!(f, "  guest     {}", self.guest)?;
        writeln!(f, "  strategy  {}", self.strategy)?;
        writeln!(f, "            {}", self.why)?;
        if from == to {
            writeln!(f, "  length    {} (unchanged)", size(from))?;
        } else {
            writeln!(f, "  length    {from} -> {to} bytes")?;
        }
        writeln!(f)?;
        for op in &self.patch.ops {
            writeln!(f, "  {}", line_of(op))?;
        }
        if self.patch.ops.is_empty() {
            writeln!(f, "  nothing to do")?;
        }
        let total: u64 = self.patch.ops.iter().map(Op::size).sum();
        writeln!(f, "\n{} operations, {} in all; LBA 0 is written last.", self.patch.ops.len(), size(total))?;
        list(f, "Failback", &self.failback)?;
        list(f, "Not atomic if written in place", &self.not_atomic)?;
        list(f, "Note", &self.notes)
    }
}

/// An operation in a line: what it does, where, how much, why.
pub(super) fn line_of(op: &Op) -> String {
    let sign = match op {
        Op::Raw { old, .. } if old.as_slice().iter().all(|b| *b == 0) => '+',
        Op::FatPut { old: None, .. } => '+',
        Op::FatRemove { .. } => '-',
        _ => '~',
    };
    format!("{sign} {:<24} {:>10}  {}", op.place(), size(op.size()), op.reason())
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    for line in lines {
        writeln!(f, "  {line}")?;
    }
    Ok(())
}
