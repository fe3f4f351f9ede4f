//! The new table: where the ESP goes, how long the disk becomes, and both as operations.
//!
//! ```text
//! before   LBA 0 │ core.img … │ partitions ··························│
//! after    LBA 0 │ GPT │ …    │ partitions, to the byte where they were │ ESP, whole MiB │ backup GPT │
//!          protective         └ same numbers, other PARTUUIDs                              last MiB
//! ```

use super::ids::{self, For};
use super::no;
use super::old_table::OldTable;
use crate::convert::plan::Refusal;
use crate::convert::table::{changes, refit};
use crate::convert::{Bytes, LowerError, Op, Place};
use crate::disk::{DiskRef, Geometry};
use crate::table::gpt::{self, Gpt, Partition};
use crate::table::mbr::{BOOT_CODE_LEN, Mbr, MbrEntry, MbrKind, TYPE_PROTECTIVE};
use crate::units::{ByteLen, ByteOffset, Lba, MIB, SectorCount, SectorSize};

const SECTOR: u64 = SectorSize::B512.bytes();
/// Behind the ESP: the backup GPT, and what is left of its MiB.
const TAIL: u64 = MIB;
/// Name in the GPT entry, as installers write it.
const ESP_NAME: &str = "EFI System Partition";

/// The disk's new shape.
pub(super) struct Layout {
    /// Shape before.
    pub from: Geometry,
    /// Shape afterwards.
    pub to: Geometry,
    /// The ESP.
    pub esp: Place,
    /// Its number.
    pub esp_number: u32,
    /// Both copies of the GPT.
    pub table: Op,
    /// LBA 0.
    pub lba0: Op,
}

impl Layout {
    /// With an ESP of `esp_len` bytes, whole MiB, behind all that is there.
    pub fn new(disk: &DiskRef, old: &OldTable, esp_len: u64) -> Result<Layout, Refusal> {
        let from = disk.geometry();
        let too_long = || no("too-long", "The disk is too long to be made longer.", "");
        let esp_at = from.len.get().checked_next_multiple_of(MIB).ok_or_else(too_long)?;
        let esp_end = esp_at.checked_add(esp_len).ok_or_else(too_long)?;
        let len = esp_end.checked_add(TAIL).ok_or_else(too_long)?;
        let to = Geometry { len: ByteLen(len), sector: SectorSize::B512 };
        let esp_number = number(old.partitions())?;
        let esp = Partition {
            index: esp_number,
            type_guid: gpt::TYPE_ESP,
            unique_guid: ids::guid(&old.seed(), For::Partition(esp_number)),
            first: Lba(esp_at / SECTOR),
            last: Lba((esp_end / SECTOR).saturating_sub(1)),
            attrs: 0,
            name: ESP_NAME.to_string(),
        };
        let failed = |e: LowerError| {
            no(
                "gpt-room",
                format!("The GPT cannot be written: {e}."),
                "Repair or move partitions on a copy first.",
            )
        };
        let table = table(disk, old, (from, to), esp).map_err(failed)?;
        let lba0 = lba0(disk, old, to)?;
        let esp = Place { at: ByteOffset(esp_at), len: ByteLen(esp_len) };
        Ok(Layout { from, to, esp, esp_number, table, lba0 })
    }
}

/// Behind the last one: a number that was free, such as that of an extended partition, may still stand in somebody's notes.
fn number(partitions: &[Partition]) -> Result<u32, Refusal> {
    let last = partitions.iter().map(|p| p.index).max().unwrap_or(0);
    let numbers = last.checked_add(1).into_iter().chain(1..=last);
    let mut free = numbers.filter(|n| *n <= SLOTS && partitions.iter().all(|p| p.index != *n));
    free.next().ok_or_else(|| no("gpt-room", "The table has no slot left for an ESP.", ""))
}

/// Slots that every GPT has. UEFI 2.10 §5.3.1.
const SLOTS: u32 = 128;

fn table(
    disk: &DiskRef,
    old: &OldTable,
    (from, to): (Geometry, Geometry),
    esp: Partition,
) -> Result<Op, LowerError> {
    match old {
        OldTable::Gpt { .. } => refit(
            disk,
            (from, to),
            Some(esp),
            "the GPT gains an EFI system partition, and its backup moves to the new end; every other entry stays",
        ),
        OldTable::Mbr { partitions, .. } => {
            let id = esp.unique_guid.to_string().to_lowercase();
            let count = partitions.len();
            let all = partitions.iter().cloned().chain([esp]).collect();
            let gpt = Gpt::create(to, ids::guid(&old.seed(), For::Disk), all)?;
            let changes = changes(disk, to, &gpt.to_sectors(to)?)?;
            let reason = format!(
                "a GPT in place of the MBR: {count} partitions with their bytes and numbers, and an EFI system partition"
            );
            Ok(Op::Table { from, to, gained: Some(id), changes, reason })
        }
    }
}

fn lba0(disk: &DiskRef, old: &OldTable, to: Geometry) -> Result<Op, Refusal> {
    let cover = Mbr::protective_entry(SectorCount(to.len.get() / SECTOR));
    let (mbr, reason) = match old {
        OldTable::Mbr { mbr, .. } => {
            let mut entries = [MbrEntry::default(); 4];
            entries[0] = cover;
            let new = Mbr {
                kind: MbrKind::Protective,
                boot_code: [0; BOOT_CODE_LEN],
                // UEFI 2.10 table 5-3: unused, zero.
                disk_signature: 0,
                reserved: 0,
                entries,
                has_signature: true,
            };
            let reason = if mbr.has_boot_code() {
                "a protective MBR; the boot code goes, because what it starts lay where the GPT is now"
            } else {
                "a protective MBR"
            };
            (new, reason)
        }
        OldTable::Gpt { mbr, .. } => {
            let mut new = mbr.as_ref().clone();
            // Also no longer active: UEFI 2.10 table 5-4, and OVMF sees no GPT behind an active entry.
            let slot = new.entries.iter().position(|e| e.kind == TYPE_PROTECTIVE);
            if let Some(entry) = new.entries.get_mut(slot.unwrap_or(0)) {
                *entry = cover;
            }
            new.has_signature = true;
            (new, "the protective entry covers the longer disk; the boot code for the BIOS stays")
        }
    };
    let mut sector = [0; 512];
    disk.read_at(ByteOffset(0), &mut sector).map_err(|e| no("unreadable", e.to_string(), ""))?;
    let new = mbr.to_bytes();
    Ok(Op::Raw {
        at: ByteOffset(0),
        old: Bytes::from(&sector[..]),
        new: Bytes::from(&new[..]),
        reason: reason.to_string(),
    })
}
