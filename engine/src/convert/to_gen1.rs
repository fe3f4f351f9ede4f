//! From UEFI to BIOS: a Linux.
//!
//! ```text
//! LBA 0          440 code bytes (or, with --table mbr, the whole sector)        the switch, written last
//! LBA 1..33      GPT, untouched, unless the sector size or the length changes or it gains a BIOS boot partition
//! LBA 34..       core.img  │ capsule, what failback needs │  script (at the LBA the core was made for)
//! LBA 2048..     partitions, untouched: not even the ESP changes
//! end            backup GPT; moves only if the length is rounded up to whole MiB
//! ```
//! Where that gap is too small, see `room`.

use super::capsule::Capsule;
use super::gen1_mbr::real_mbr;
use super::plan::{Direction, Plan, Refusal, Strategy};
use super::room::{Room, SCRIPT_SECTORS, Site, gap};
use super::steps::{self, Chosen};
use super::{Bytes, LowerError, Op, Patch, Undo, lower, table};
use crate::boot::{LoaderKit, SECTOR, script};
use crate::disk::{DiskRef, Geometry, ReadError, read_vec};
use crate::guest::{Inspection, Starts, TableKind};
use crate::table::mbr::Mbr;
use crate::units::{ByteLen, ByteOffset, Lba, MIB, SectorCount, SectorSize};
use crate::volume::FsKind;
use serde::{Deserialize, Serialize};

/// Which partition table the Generation 1 disk gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableChoice {
    /// By rule: Linux starts from a GPT under a BIOS, and Azure takes both, so the GPT stays.
    #[default]
    Auto,
    /// Keep the GPT: partition ids stay, nothing but the gap changes.
    Gpt,
    /// A real MBR, as the recovery services make it; both GPT copies stay behind it.
    Mbr,
}

/// How to convert.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Gen1Options {
    /// Which partition table.
    pub table: TableChoice,
    /// The kernel's command line, for a kernel alone that nothing on the disk gives one; `initrd=` names its initramfs on the ESP.
    pub cmdline: Option<String>,
}

/// Makes GRUB for a script at the given LBA, or says why not. It is asked once the place is known.
pub type Kits<'a> = dyn Fn(u64) -> Result<LoaderKit, String> + 'a;

/// Most rounds until the capsule, which records the old bytes of its own place, has found its size.
const SIZE_ROUNDS: usize = 16;
/// Sectors that must be zeros for a capsule on a disk that needs no loader.
const IDLE_SECTORS: u64 = 64;

/// Plan the way from Generation 2 to Generation 1. `inspection` must be of this `disk`. Only reads.
///
/// # Errors
/// [`Refusal`] with every reason why not.
pub fn to_gen1(
    disk: &DiskRef,
    inspection: &Inspection,
    kits: &Kits<'_>,
    options: &Gen1Options,
) -> Result<Plan, Refusal> {
    let i = inspection;
    let from = disk.geometry();
    let to = rounded(from)?;
    let sector0 = Bytes::from(read_vec(disk.as_ref(), ByteOffset(0), 512).map_err(broken)?);
    let mut no = check(disk, i)?;
    if let (Starts::Yes { by }, true) = (&i.bios_start, options.table != TableChoice::Mbr && no.is_empty()) {
        return as_it_is(disk, i, (from, to), &sector0, by);
    }
    let (strategy, why) = strategy(i, options.table);
    let keeps_gpt = strategy == Strategy::KeepGpt;
    // Each of these is asked whatever the others say: all reasons at once.
    let mbr = if keeps_gpt { None } else { no.hold(real_mbr(i, to)) };
    let chosen = no.hold(steps::choose(i, options.cmdline.as_deref()));
    let room = no.hold(Room::find(disk.as_ref(), i, keeps_gpt));
    let (Some(chosen), Some(room)) = (chosen, room) else { return Err(no) };
    no.or_ok()?;
    let kit = kits(room.script).map_err(|e| {
        Refusal::one(
            Direction::ToGen1,
            "loader-kit",
            format!("GRUB for the BIOS cannot be made: {e}."),
            "Check the host's GRUB package (grub-pc-bin).",
        )
    })?;
    check_kit(&kit, &room)?;

    let core = kit.core_at(Lba(room.first));
    let mut ops = vec![raw(disk, room.first, core, "GRUB's core, the same for every disk").map_err(broken)?];
    let text = script(&chosen.steps, kit.script_sectors).map_err(|e| {
        Refusal::one(Direction::ToGen1, "script", format!("GRUB's script cannot be written: {e}."), "")
    })?;
    let reason = format!("GRUB's script for this disk: {}", chosen.reason);
    ops.push(raw(disk, room.script, text, &reason).map_err(broken)?);
    let code = kit.boot_code(Lba(room.first));
    let mut end_ops = Vec::new();
    match mbr {
        Some(mut mbr) => {
            mbr.boot_code = code;
            let reason = format!(
                "GRUB's boot code and a real MBR with {} partitions, the ESP active",
                i.partitions.len()
            );
            let new = mbr.to_bytes().to_vec().into();
            let numbers = i.partitions.iter().map(|p| p.number).collect();
            end_ops.push(Op::Mbr { old: sector0.clone(), new, numbers, from, reason });
        }
        None => {
            end_ops.extend(table_op(disk, (from, to), &room.site)?);
            end_ops.extend(protective(&sector0, from, to));
            let old = sector0.as_slice().get(..code.len()).unwrap_or_default();
            let reason = "GRUB's boot code; the partition entries behind it stay".to_string();
            end_ops.push(Op::Raw { at: ByteOffset(0), old: old.into(), new: code.to_vec().into(), reason });
        }
    }
    let span = (room.core_end(&kit), room.script);
    let (capsule, capsule_op) =
        capsule(disk, i, (from, to), strategy, span, &sector0, ops.iter().chain(&end_ops))?;
    ops.push(capsule_op);
    ops.extend(end_ops);
    let mut plan = describe(i, (strategy, why), Patch { from, to, ops }, capsule, &chosen, &room);
    prove_inverse(disk, &mut plan)?;
    Ok(plan)
}

fn broken(e: ReadError) -> Refusal {
    Refusal::one(Direction::ToGen1, "unreadable", e.to_string(), "")
}

/// What can be said without planning: the reasons so far, none of which need end it, or those that do.
fn check(disk: &DiskRef, i: &Inspection) -> Result<Refusal, Refusal> {
    let mut no = Refusal::new(Direction::ToGen1);
    if let Some(capsule) = Capsule::find(disk.as_ref()).map_err(broken)? {
        let text = format!("The disk carries a capsule of {}: it is already converted.", capsule.tool);
        no.add("already-gen1", text, "Fail it back first.");
        return Err(no);
    }
    for finding in i.blockers() {
        no.add(&finding.id, finding.text.clone(), finding.fix.clone());
    }
    if i.table.kind == TableKind::Mbr {
        no.add("already-gen1", "The disk has a real MBR: it is a Generation 1 disk.", "");
    }
    if no.is_empty() { Ok(no) } else { Err(no) }
}

/// The rule: Linux under a BIOS reads a GPT, so keeping it changes least; and where something leans on it, nothing else will do.
fn strategy(i: &Inspection, asked: TableChoice) -> (Strategy, String) {
    let leans = steps::leans_on_gpt(i);
    match asked {
        TableChoice::Mbr => {
            (Strategy::RealMbr, "asked for: as the recovery services make a Generation 1 disk".to_string())
        }
        TableChoice::Gpt => (Strategy::KeepGpt, "asked for: partition ids stay as they are".to_string()),
        TableChoice::Auto if leans.is_empty() => (
            Strategy::KeepGpt,
            "it changes least, and Linux and Azure take it: partition ids stay, no partition is touched"
                .to_string(),
        ),
        TableChoice::Auto => (Strategy::KeepGpt, format!("this guest needs it: {}", leans.join(" "))),
    }
}

/// A fixed VHD for a recovery service has whole MiB and sectors of 512 bytes.
fn rounded(from: Geometry) -> Result<Geometry, Refusal> {
    let len = from.len.get().checked_next_multiple_of(MIB);
    let len = len.ok_or_else(|| {
        Refusal::one(Direction::ToGen1, "too-long", "The disk is too long to be rounded to a whole MiB.", "")
    })?;
    Ok(Geometry { len: ByteLen(len), sector: SectorSize::B512 })
}

fn check_kit(kit: &LoaderKit, room: &Room) -> Result<(), Refusal> {
    let refuse = |id: &str, text: String| {
        Err(Refusal::one(Direction::ToGen1, id, text, "Check the host's GRUB package (grub-pc-bin)."))
    };
    if let Err(e) = kit.check() {
        return refuse("loader-kit", format!("The loader cannot be used: {e}."));
    }
    if (kit.script_lba, kit.script_sectors) != (room.script, SCRIPT_SECTORS)
        || room.core_end(kit) >= room.script
    {
        return refuse(
            "loader-kit",
            format!(
                "GRUB's core of {} sectors reads its script at LBA {}+{}, wanted one that ends before LBA {} and reads {SCRIPT_SECTORS} sectors there.",
                kit.core_sectors().get(),
                kit.script_lba,
                kit.script_sectors,
                room.script
            ),
        );
    }
    Ok(())
}

fn raw(disk: &DiskRef, lba: u64, new: Vec<u8>, reason: &str) -> Result<Op, ReadError> {
    let at = ByteOffset(lba.saturating_mul(SECTOR));
    let old = read_vec(disk.as_ref(), at, new.len())?;
    Ok(Op::Raw { at, old: old.into(), new: new.into(), reason: reason.to_string() })
}

/// The change to the GPT, if there is one.
fn table_op(disk: &DiskRef, (from, to): (Geometry, Geometry), site: &Site) -> Result<Option<Op>, Refusal> {
    let gained = match site {
        Site::Free(partition) => Some(partition.clone()),
        Site::Gap | Site::BiosBoot(_) => None,
    };
    let mut reasons = Vec::new();
    if from.sector != to.sector {
        reasons.push(
            "the table counts in sectors of 512 bytes, as a BIOS does; every partition keeps its bytes",
        );
    }
    if from.len != to.len {
        reasons.push("the backup GPT belongs at the end, which moves to a whole MiB");
    }
    if gained.is_some() {
        reasons.push("a BIOS boot partition keeps others away from GRUB");
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    let refuse = |e: LowerError| {
        Refusal::one(
            Direction::ToGen1,
            "gpt-room",
            format!("The GPT cannot be changed: {e}."),
            "Repair or move partitions on a copy first.",
        )
    };
    table::refit(disk, (from, to), gained, &reasons.join("; ")).map(Some).map_err(refuse)
}

/// The protective entry covers the whole disk in its sectors.
fn protective(sector0: &Bytes, from: Geometry, to: Geometry) -> Option<Op> {
    let old = sector0.as_slice();
    let mbr = Mbr::from_bytes(old.first_chunk::<512>()?);
    let covers = |g: Geometry| Mbr::protective_entry(SectorCount(g.len.get() / g.sector.bytes()));
    let (was, is) = (covers(from), covers(to));
    let slot = mbr.entries.iter().position(|e| e.kind == was.kind && e.sectors == was.sectors)?;
    if was.sectors == is.sectors {
        return None;
    }
    let at = 446 + 16 * slot + 12;
    Some(Op::Raw {
        at: ByteOffset(at as u64),
        old: old.get(at..at + 4)?.into(),
        new: is.sectors.to_le_bytes().to_vec().into(),
        reason: "the protective entry covers the disk as it is then".to_string(),
    })
}

/// A disk that a BIOS starts as it is, such as a cloud image for both firmwares: only its length may change.
fn as_it_is(
    disk: &DiskRef,
    i: &Inspection,
    (from, to): (Geometry, Geometry),
    sector0: &Bytes,
    by: &str,
) -> Result<Plan, Refusal> {
    let mut ops: Vec<Op> = table_op(disk, (from, to), &Site::Gap)?.into_iter().collect();
    ops.extend(protective(sector0, from, to));
    let mut notes = vec![format!("nothing is installed: {by}")];
    let (first, end) = gap(i);
    let idle = (first..end.saturating_sub(IDLE_SECTORS)).find(|lba| {
        let at = ByteOffset(lba.saturating_mul(SECTOR));
        let bytes = read_vec(disk.as_ref(), at, (IDLE_SECTORS * SECTOR) as usize);
        bytes.is_ok_and(|b| b.iter().all(|b| *b == 0))
    });
    let capsule = match idle {
        Some(lba) => {
            let span = (lba, lba.saturating_add(IDLE_SECTORS));
            let (capsule, op) = capsule(disk, i, (from, to), Strategy::AsItIs, span, sector0, ops.iter())?;
            ops.insert(0, op);
            capsule
        }
        None => {
            notes.push(
                "there is no empty place for the capsule on the disk; it is only kept beside it".into(),
            );
            blank(disk, i, (from, to), Strategy::AsItIs, sector0, ops.iter()).map_err(broken)?
        }
    };
    let mut plan = Plan {
        direction: Direction::ToGen1,
        guest: i.guest_name(),
        strategy: Strategy::AsItIs,
        why: "the disk carries a loader for both firmwares".to_string(),
        patch: Patch { from, to, ops },
        failback: vec!["all that the guest writes meanwhile is kept".to_string()],
        notes,
        not_atomic: Vec::new(),
        capsule: Some(capsule),
    };
    prove_inverse(disk, &mut plan)?;
    Ok(plan)
}

/// The record of a conversion, without its own place.
fn blank<'a>(
    disk: &DiskRef,
    i: &Inspection,
    (from, to): (Geometry, Geometry),
    strategy: Strategy,
    sector0: &Bytes,
    ops: impl Iterator<Item = &'a Op> + Clone,
) -> Result<Capsule, ReadError> {
    let sector = from.sector.bytes();
    let end = i.table.gpt.as_ref().and_then(|g| g.primary_end).unwrap_or(34);
    // At most 1 MiB: no sound array is longer than 16 KiB.
    let array_len = end.saturating_sub(2).saturating_mul(sector).min(MIB);
    let read = |at: u64, len: u64| read_vec(disk.as_ref(), ByteOffset(at), len as usize).map(Bytes::from);
    let last = from.len.get().saturating_sub(sector);
    Ok(Capsule {
        tool: concat!("drill ", env!("CARGO_PKG_VERSION")).to_string(),
        guest: i.guest_name(),
        strategy,
        plan: ops.clone().map(|op| format!("{}: {}", op.place(), op.reason())).collect(),
        from,
        to,
        lba0: sector0.clone(),
        gpt_header: read(sector, sector)?,
        gpt_entries: read(sector.saturating_mul(2), array_len)?,
        backup_header: read(last, sector)?,
        backup_entries: read(last.saturating_sub(array_len), array_len)?,
        undo: ops.map(Undo::of).collect(),
    })
}

fn capsule<'a>(
    disk: &DiskRef,
    i: &Inspection,
    shapes: (Geometry, Geometry),
    strategy: Strategy,
    (first, end): (u64, u64),
    sector0: &Bytes,
    ops: impl Iterator<Item = &'a Op> + Clone,
) -> Result<(Capsule, Op), Refusal> {
    let read = |at: u64, len: usize| read_vec(disk.as_ref(), ByteOffset(at), len).map(Bytes::from);
    let mut capsule = blank(disk, i, shapes, strategy, sector0, ops).map_err(broken)?;
    let at = ByteOffset(first.saturating_mul(SECTOR));
    capsule.undo.push(Undo::Capsule { at, old: Bytes::default() });
    let room = end.saturating_sub(first).saturating_mul(SECTOR);
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
            let old = read(at.get(), bytes.len()).map_err(broken)?;
            let reason = "the capsule: what failback needs, with a checksum".to_string();
            return Ok((capsule, Op::Raw { at, old, new: bytes.into(), reason }));
        }
        // Never shrink, or the rounds might not end.
        let cover = (bytes.len() as u64).max(covered) as usize;
        let old = read(at.get(), cover).map_err(broken)?;
        capsule.undo.pop();
        capsule.undo.push(Undo::Capsule { at, old });
    }
    let text = format!(
        "The capsule does not fit the {room} bytes that are free for it: other data lies there, which it would have to keep."
    );
    Err(Refusal::one(
        Direction::ToGen1,
        "gap-not-empty",
        text,
        "Clear what lies before the first partition, on a copy.",
    ))
}

fn describe(
    i: &Inspection,
    (strategy, why): (Strategy, String),
    patch: Patch,
    capsule: Capsule,
    chosen: &Chosen,
    room: &Room,
) -> Plan {
    let mut failback = vec![
        "LBA 0 and the sectors outside of partitions come back to the byte, if nobody else wrote there"
            .to_string(),
        "all that the guest writes to its partitions meanwhile is kept".to_string(),
    ];
    if patch.from.len != patch.to.len {
        failback.push(format!("the disk returns to its {} bytes", patch.from.len.get()));
    }
    if patch.from.sector != patch.to.sector {
        failback.push(format!("the disk returns to sectors of {} bytes", patch.from.sector.bytes()));
    }
    let mut notes = vec![room.why()];
    notes.extend(chosen.notes.iter().cloned());
    let mut not_atomic = Vec::new();
    if patch.ops.iter().any(|op| matches!(op, Op::Table { .. })) {
        not_atomic.push("the two GPT copies are changed one after the other".to_string());
    }
    if strategy == Strategy::RealMbr {
        notes.push(
            "both GPT copies stay where they are; behind a real MBR, Linux, Windows and UEFI ignore them"
                .into(),
        );
        notes.push("partition ids (PARTUUID) change; file-system ids do not".into());
    }
    if i.os.is_none() {
        notes.push(no_root(i));
    }
    Plan {
        direction: Direction::ToGen1,
        guest: i.guest_name(),
        strategy,
        why,
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
    let end = disk.geometry().len.get();
    let touched = there.writes.iter().chain(&back_writes.writes).filter(|w| w.at.get() < end);
    for write in touched {
        // A write may lie across the old end: what is behind it is nobody's.
        let len = write.new.len().min(end.saturating_sub(write.at.get())) as usize;
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

/// Why nobody looked into the root.
fn no_root(i: &Inspection) -> String {
    let hidden = i.logical_volumes.iter().find_map(|lv| Some((lv.full_name(), lv.problem.as_ref()?)));
    let luks = i.file_systems().find(|(_, fs)| fs.kind == FsKind::Luks);
    match (hidden, luks) {
        (_, Some((place, _))) => {
            format!("no root file system could be read: {place} is encrypted, and may hold it")
        }
        (Some((name, why)), None) => {
            format!("no root file system could be read; the logical volume {name} may hold it: {why}")
        }
        (None, None) => "no root file system could be read".into(),
    }
}
