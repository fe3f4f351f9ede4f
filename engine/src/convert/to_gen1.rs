//! From UEFI to BIOS: a Linux with GRUB.
//!
//! ```text
//! LBA 0          440 code bytes (or, with --table mbr, the whole sector)        the switch, written last
//! LBA 1..33      GPT, untouched
//! LBA 34..       core.img  │ capsule, what failback needs │  script (at the LBA the core was made for)
//! LBA 2048..     partitions, untouched: not even the ESP changes
//! end            backup GPT; moves only if the length is rounded up to whole MiB
//! ```

use super::capsule::Capsule;
use super::gen1_mbr::real_mbr;
use super::plan::{Direction, Plan, Refusal, Strategy};
use super::{Bytes, Op, Patch, Undo, lower};
use crate::boot::{LoaderKit, SECTOR, script};
use crate::disk::{DiskRef, Geometry, ReadError, read_vec};
use crate::guest::{Inspection, LoaderKind, OsKind, Starts, TableKind};
use crate::table::mbr::Mbr;
use crate::units::{ByteLen, ByteOffset, Lba, MIB, SectorCount, SectorSize};
use serde::{Deserialize, Serialize};

/// Which partition table the Generation 1 disk gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableChoice {
    /// Whatever changes least: keep the GPT.
    #[default]
    Auto,
    /// Keep the GPT: partition ids stay, nothing but the gap changes.
    Gpt,
    /// A real MBR, as the recovery services make it; both GPT copies stay behind it.
    Mbr,
}

/// How to convert.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Gen1Options {
    /// Which partition table.
    pub table: TableChoice,
}

/// Most rounds until the capsule, which records the old bytes of its own place, has found its size.
const SIZE_ROUNDS: usize = 16;

/// Plan the way from Generation 2 to Generation 1. `inspection` must be of this `disk`. Only reads.
///
/// # Errors
/// [`Refusal`] with every reason why not.
pub fn to_gen1(
    disk: &DiskRef,
    inspection: &Inspection,
    kit: &LoaderKit,
    options: &Gen1Options,
) -> Result<Plan, Refusal> {
    let i = inspection;
    check(disk, i, kit)?;
    let broken = |e: ReadError| Refusal::one(Direction::ToGen1, "unreadable", e.to_string(), "");
    let from = disk.geometry();
    let to = rounded(from)?;
    let strategy = match options.table {
        TableChoice::Auto | TableChoice::Gpt => Strategy::KeepGpt,
        TableChoice::Mbr => Strategy::RealMbr,
    };
    let gap = Gap::find(i, kit)?;
    let sector0 = Bytes::from(read_vec(disk.as_ref(), ByteOffset(0), 512).map_err(broken)?);
    let core =
        raw(disk, gap.core, kit.core_at(Lba(gap.core / SECTOR)), "GRUB's core, the same for every disk")
            .map_err(broken)?;
    let text = script_for(i, kit)?;
    let script = raw(disk, gap.script, text, "GRUB's script for this disk: find the ESP, read its grub.cfg")
        .map_err(broken)?;
    let mut end_ops = Vec::new();
    if from != to && strategy == Strategy::KeepGpt {
        let reason = "the backup GPT belongs at the end, which moves to a whole MiB".to_string();
        end_ops.push(Op::Table { from, to, reason });
    }
    let code = kit.boot_code(Lba(gap.core / SECTOR));
    end_ops.extend(match strategy {
        Strategy::RealMbr => vec![real_mbr(i, to, &code, &sector0)?],
        _ => keep_gpt(&code, &sector0, from, to),
    });
    let mut ops = vec![core, script];
    let (capsule, capsule_op) = capsule(disk, i, (from, to), &gap, &sector0, ops.iter().chain(&end_ops))?;
    ops.push(capsule_op);
    ops.extend(end_ops);
    let mut plan = describe(i, strategy, Patch { from, to, ops }, capsule, options.table);
    prove_inverse(disk, &mut plan)?;
    Ok(plan)
}

/// Everything that can be said without planning.
fn check(disk: &DiskRef, i: &Inspection, kit: &LoaderKit) -> Result<(), Refusal> {
    let mut no = Refusal::new(Direction::ToGen1);
    let own = match Capsule::find(disk.as_ref()) {
        Ok(found) => found,
        Err(e) => return Err(Refusal::one(Direction::ToGen1, "unreadable", e.to_string(), "")),
    };
    if let Some(capsule) = own {
        let text = format!("The disk carries a capsule of {}: it is already converted.", capsule.tool);
        no.add("already-gen1", text, "Fail it back first.");
        return no.or_ok();
    }
    for finding in i.blockers() {
        no.add(&finding.id, finding.text.clone(), finding.fix.clone());
    }
    if i.table.kind == TableKind::Mbr {
        no.add("already-gen1", "The disk has a real MBR: it is a Generation 1 disk.", "");
    } else if let Starts::Yes { by } = &i.bios_start {
        no.add(
            "already-gen1",
            format!("A BIOS starts this disk already: {by}."),
            "There is nothing to convert.",
        );
    }
    if i.geometry.sector != SectorSize::B512 {
        no.add(
            "sector-4096",
            "The disk has 4096-byte sectors; a BIOS and an MBR count in sectors of 512.",
            "Convert the disk to 512-byte sectors inside the guest's platform first.",
        );
    }
    let is_linux = i.os.as_ref().is_none_or(|os| os.kind == OsKind::Linux);
    if is_linux && i.esp().is_some() && i.stub.is_none() && !no.has("esp-grub-cfg-missing") {
        let other = i
            .loaders
            .iter()
            .find(|l| matches!(l.kind, LoaderKind::SystemdBoot | LoaderKind::Uki | LoaderKind::Kernel));
        let text = match other {
            Some(l) => format!(
                "The guest starts by {} ({}), not by GRUB; only GRUB is converted yet.",
                l.kind.name(),
                l.path
            ),
            None => "No EFI/*/grub.cfg was found on the ESP.".to_string(),
        };
        no.add(
            "no-grub-stub",
            text,
            "Install GRUB in the guest, or leave it to your recovery service's test failover.",
        );
    }
    if let Some(esp) = i.esp()
        && esp.fs.as_ref().and_then(|f| f.uuid.as_ref()).is_none()
    {
        no.add(
            "esp-no-id",
            "The ESP has no FAT volume id to search for.",
            "Check it with fsck.vfat on a copy.",
        );
    }
    if let Err(e) = kit.check() {
        no.add(
            "loader-kit",
            format!("The loader cannot be used: {e}."),
            "Check the host's GRUB package (grub-pc-bin).",
        );
    }
    no.or_ok()
}

/// A fixed VHD for a recovery service has whole MiB.
fn rounded(from: Geometry) -> Result<Geometry, Refusal> {
    let len = from.len.get().checked_next_multiple_of(MIB);
    let len = len.ok_or_else(|| {
        Refusal::one(Direction::ToGen1, "too-long", "The disk is too long to be rounded to a whole MiB.", "")
    })?;
    Ok(Geometry { len: ByteLen(len), sector: from.sector })
}

/// The unused sectors between the table and the first partition, in bytes.
struct Gap {
    core: u64,
    capsule: u64,
    script: u64,
}

impl Gap {
    fn find(i: &Inspection, kit: &LoaderKit) -> Result<Gap, Refusal> {
        let start = i.table.gpt.as_ref().and_then(|g| g.primary_end).unwrap_or(34).max(34);
        let first = i.partitions.iter().map(|p| p.at.get() / SECTOR).min().unwrap_or(u64::MAX);
        // All three are bounded: a core by its check, LBAs by the length of a disk in bytes.
        let core_end = start.saturating_add(kit.core_sectors().get());
        let script_end = kit.script_lba.saturating_add(kit.script_sectors);
        if script_end > first || core_end >= kit.script_lba {
            let text = format!(
                "Between the partition table and the first partition at LBA {first} there is no room for GRUB: its core needs LBA \
                 {start}..{core_end} and its script LBA {}..{script_end}.",
                kit.script_lba
            );
            let fix = "Partitions that begin at 1 MiB (LBA 2048), as all current installers make them, leave room enough.";
            return Err(Refusal::one(Direction::ToGen1, "gap-too-small", text, fix));
        }
        let bytes = |lba: u64| lba.saturating_mul(SECTOR);
        Ok(Gap { core: bytes(start), capsule: bytes(core_end), script: bytes(kit.script_lba) })
    }
}

fn raw(disk: &DiskRef, at: u64, new: Vec<u8>, reason: &str) -> Result<Op, ReadError> {
    let old = read_vec(disk.as_ref(), ByteOffset(at), new.len())?;
    Ok(Op::Raw { at: ByteOffset(at), old: old.into(), new: new.into(), reason: reason.to_string() })
}

fn script_for(i: &Inspection, kit: &LoaderKit) -> Result<Vec<u8>, Refusal> {
    // Both were checked by `check`.
    let id = i.esp().and_then(|p| p.fs.as_ref()).and_then(|f| f.uuid.as_deref()).unwrap_or_default();
    let folder = i.stub.as_ref().map(|s| s.folder()).unwrap_or_default();
    script(id, folder, kit.script_sectors).map_err(|e| {
        Refusal::one(Direction::ToGen1, "script", format!("GRUB's script cannot be written: {e}."), "")
    })
}

/// LBA 0 with the GPT kept: the code, and on a longer disk the length that the protective entry covers.
fn keep_gpt(code: &[u8], sector0: &Bytes, from: Geometry, to: Geometry) -> Vec<Op> {
    let mut ops = Vec::new();
    let old = sector0.as_slice();
    let mut op = |at: usize, new: &[u8], reason: &str| {
        let old = old.get(at..).and_then(|b| b.get(..new.len())).unwrap_or_default();
        ops.push(Op::Raw {
            at: ByteOffset(at as u64),
            old: old.into(),
            new: new.into(),
            reason: reason.into(),
        });
    };
    if from != to
        && let Some(sector) = old.first_chunk::<512>()
    {
        let mbr = Mbr::from_bytes(sector);
        let covers = |g: Geometry| Mbr::protective_entry(SectorCount(g.len.get() / SECTOR));
        let slot =
            mbr.entries.iter().position(|e| e.kind == covers(from).kind && e.sectors == covers(from).sectors);
        if let Some(slot) = slot.filter(|_| covers(from).sectors != covers(to).sectors) {
            op(
                446 + 16 * slot + 12,
                &covers(to).sectors.to_le_bytes(),
                "the protective entry covers the longer disk",
            );
        }
    }
    op(0, code, "GRUB's boot code; the partition entries behind it stay");
    ops
}

fn capsule<'a>(
    disk: &DiskRef,
    i: &Inspection,
    (from, to): (Geometry, Geometry),
    gap: &Gap,
    sector0: &Bytes,
    ops: impl Iterator<Item = &'a Op> + Clone,
) -> Result<(Capsule, Op), Refusal> {
    let read = |at: u64, len: usize| read_vec(disk.as_ref(), ByteOffset(at), len).map(Bytes::from);
    let fail = |e: ReadError| Refusal::one(Direction::ToGen1, "unreadable", e.to_string(), "");
    let array_len = i.table.gpt.as_ref().and_then(|g| g.primary_end).unwrap_or(34).saturating_sub(2).min(8192)
        as usize
        * 512;
    let mut capsule = Capsule {
        tool: concat!("drill ", env!("CARGO_PKG_VERSION")).to_string(),
        guest: i.guest_name(),
        from,
        to,
        lba0: sector0.clone(),
        gpt_header: read(SECTOR, 512).map_err(fail)?,
        gpt_entries: read(2 * SECTOR, array_len).map_err(fail)?,
        undo: ops.map(Undo::of).collect(),
    };
    let at = ByteOffset(gap.capsule);
    capsule.undo.push(Undo::Capsule { at, old: Bytes::default() });
    let room = gap.script.saturating_sub(gap.capsule);
    // What it covers depends on its size, and its size on what it covers; with an empty gap the second round already agrees.
    for _ in 0..SIZE_ROUNDS {
        let mut bytes = capsule.to_bytes();
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        if bytes.len() as u64 > room {
            break;
        }
        let covered =
            capsule.undo.last().map_or(0, |u| if let Undo::Capsule { old, .. } = u { old.len() } else { 0 });
        if covered == bytes.len() as u64 {
            let old = read(at.get(), bytes.len()).map_err(fail)?;
            let reason = "the capsule: what failback needs, with a checksum".to_string();
            return Ok((capsule, Op::Raw { at, old, new: bytes.into(), reason }));
        }
        // Never shrink, or the rounds might not end.
        let cover = (bytes.len() as u64).max(covered) as usize;
        let old = read(at.get(), cover).map_err(fail)?;
        capsule.undo.pop();
        capsule.undo.push(Undo::Capsule { at, old });
    }
    let text = format!(
        "The capsule does not fit the {room} bytes between GRUB's core and its script: the gap holds other data."
    );
    Err(Refusal::one(
        Direction::ToGen1,
        "gap-not-empty",
        text,
        "Clear what lies before the first partition, on a copy.",
    ))
}

fn describe(i: &Inspection, strategy: Strategy, patch: Patch, capsule: Capsule, asked: TableChoice) -> Plan {
    let stub = i.stub.as_ref().map(|s| s.path.clone()).unwrap_or_default();
    let why = match (strategy, asked) {
        (Strategy::RealMbr, _) => "asked for: as the recovery services make a Generation 1 disk",
        (_, TableChoice::Gpt) => "asked for: partition ids stay as they are",
        _ => "it changes least: partition ids stay, no partition is touched, failback restores everything",
    };
    let mut failback = vec![
        "LBA 0 and the sectors before the first partition come back to the byte, if nobody else wrote there"
            .to_string(),
        "all that the guest writes to its partitions meanwhile is kept".to_string(),
    ];
    if patch.from != patch.to {
        failback.push(format!("the disk returns to its {} bytes", patch.from.len.get()));
    }
    let mut notes = vec![format!("GRUB reads the guest's own {stub}; kernel and menu are the guest's own")];
    let mut not_atomic = Vec::new();
    if patch.from != patch.to && strategy == Strategy::KeepGpt {
        not_atomic.push("the two GPT headers are changed one after the other".to_string());
    }
    if strategy == Strategy::RealMbr {
        notes.push(
            "both GPT copies stay where they are; behind a real MBR, Linux, Windows and UEFI ignore them"
                .into(),
        );
        notes.push("partition ids (PARTUUID) change; file-system ids do not".into());
    }
    if i.os.is_none() {
        notes.push("no root file system could be read; it may lie inside LVM or LUKS".into());
    }
    Plan {
        direction: Direction::ToGen1,
        guest: i.guest_name(),
        strategy,
        why: why.to_string(),
        patch,
        failback,
        notes,
        not_atomic,
        capsule: Some(capsule),
    }
}

/// Undo the plan in memory and compare: a plan whose way back is not exact says so before anyone goes there.
fn prove_inverse(disk: &DiskRef, plan: &mut Plan) -> Result<(), Refusal> {
    let refuse = |text: String| {
        Refusal::one(Direction::ToGen1, "no-way-back", text, "This is a fault of drill; please report it.")
    };
    let there = lower(&plan.patch, disk).map_err(|e| refuse(e.to_string()))?;
    let gen1 = there.apply(disk).map_err(|e| refuse(e.to_string()))?;
    let back = super::to_gen2(&gen1, plan.capsule.as_ref()).map_err(|e| refuse(e.to_string()))?;
    let back_writes = lower(&back.patch, &gen1).map_err(|e| refuse(e.to_string()))?;
    let again = back_writes.apply(&gen1).map_err(|e| refuse(e.to_string()))?;
    let touched =
        there.writes.iter().chain(&back_writes.writes).filter(|w| w.at.get() < disk.geometry().len.get());
    for write in touched {
        let len = write.new.as_slice().len();
        let same = || -> Result<bool, ReadError> {
            Ok(read_vec(disk.as_ref(), write.at, len)? == read_vec(again.as_ref(), write.at, len)?)
        };
        if !same().map_err(|e| refuse(e.to_string()))? {
            plan.notes.push(format!(
                "failback gives an equal partition table, but not the same bytes at {}: it was not written in the usual form",
                write.at
            ));
            break;
        }
    }
    Ok(())
}
