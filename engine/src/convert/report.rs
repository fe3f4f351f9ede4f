//! A plan as people read it: what, where, how much, why.

use super::{Bytes, Op, Plan, Strategy};
use crate::guest::size;
use serde_json::{Value, json};
use std::fmt;

/// Most bytes of a change that [`outline`] spells out: boot code and tables are, the files of a loader are not.
const SPELLED_MAX: u64 = 4096;

/// A plan as data to read: as it serializes, but of more than 4 KiB of old or new bytes only how many they are and their BLAKE3 stands there,
/// as `{"bytes": 1048576, "blake3": "…"}`. It is no patch that could be applied.
///
/// # Errors
/// What the serializer says; none is known.
pub fn outline(plan: &Plan) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(plan)?;
    shorten(&mut value);
    Ok(value)
}

fn shorten(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| {
            // A short spelling is short whatever it stands for.
            let bytes = matches!(name.as_str(), "old" | "new")
                .then(|| value.as_str().filter(|text| text.len() as u64 > SPELLED_MAX))
                .flatten()
                .and_then(|text| serde_json::from_value::<Bytes>(text.into()).ok())
                .filter(|bytes| bytes.len() > SPELLED_MAX);
            match bytes {
                Some(bytes) => *value = json!({"bytes": bytes.len(), "blake3": bytes.hash()}),
                None => shorten(value),
            }
        }),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

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
