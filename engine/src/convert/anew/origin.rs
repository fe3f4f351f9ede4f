//! Whether a disk may be given a new ESP at all: one that was Generation 2 once has all that, and only lost its capsule.

use super::no;
use crate::convert::plan::{Direction, Refusal};
use crate::guest::{Inspection, OsKind, TableKind};

/// Every Generation 1 disk has this finding.
const NO_ESP: &str = "no-esp";

/// All that can be said from the disk as it is.
pub(super) fn check(i: &Inspection) -> Result<(), Refusal> {
    let lost = "There is no capsule on the disk: drill did not convert it, or the guest overwrote it.";
    let give = "Give the capsule that was kept beside the disk (*.drill-capsule).";
    if let Some(esp) = i.esp() {
        let text = format!(
            "{lost} Partition {} is an EFI system partition, so the disk was Generation 2 once and is not given another.",
            esp.number
        );
        return Err(no("no-capsule", text, give));
    }
    if i.table.kind == TableKind::Mbr && i.table.gpt.is_some() {
        let text = format!("{lost} Behind its MBR lies a GPT, so the disk was Generation 2 once.");
        let fix = format!(
            "{give} If it never was, remove the old GPT on a copy of the disk: `wipefs --all --types gpt`."
        );
        return Err(no("no-capsule", text, fix));
    }
    if i.os.as_ref().is_some_and(|os| os.kind == OsKind::Windows) {
        return Err(windows());
    }
    let mut refusal = Refusal::new(Direction::ToGen2);
    for finding in i.blockers().filter(|f| f.id != NO_ESP) {
        refusal.add(&finding.id, finding.text.clone(), finding.fix.clone());
    }
    refusal.or_ok()
}

/// Windows has another loader, and a boot configuration that names partitions by their ids.
pub(super) fn windows() -> Refusal {
    no(
        "windows",
        "Windows is installed. It can be recognised, but not converted to Generation 2 yet: its boot configuration would have to be written anew.",
        "Run `mbr2gpt /convert` inside the guest, which is Microsoft's own way.",
    )
}
