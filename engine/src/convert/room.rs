//! Where on a disk GRUB's parts go.
//!
//! ```text
//! before the first partition   table │ core │ capsule │ script │ partition 1          nothing else changes
//! in a BIOS boot partition             │ core │ capsule │ script │                     the partition is there for it
//! in free space, which gets a BIOS boot partition of its own                           the GPT gains an entry
//! ```

use super::plan::{Direction, Refusal};
use crate::boot::{LoaderKit, SECTOR};
use crate::disk::{Disk, ReadError};
use crate::guest::{Inspection, TableKind};
use crate::table::gpt::{self, Gpt, Partition};
use crate::table::guid::Guid;
use crate::units::{Lba, MIB};

/// Sectors of the script.
pub const SCRIPT_SECTORS: u64 = 64;
/// Sectors that are wanted for the core before it is known how long it is. GRUB's with all modules has about 540.
const CORE_ROOM: u64 = 640;
/// Least sectors for a capsule over an empty gap.
const CAPSULE_ROOM: u64 = 64;
/// Sectors of a BIOS boot partition of our own: 1 MiB, as all installers make it.
const OWN_SECTORS: u64 = MIB / SECTOR;

/// A place for core, capsule and script, in sectors of 512 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// First sector: the core's.
    pub first: u64,
    /// First sector of the script.
    pub script: u64,
    /// Which place it is.
    pub site: Site,
}

/// Kind of place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Site {
    /// Before the first partition.
    Gap,
    /// In the BIOS boot partition of this number.
    BiosBoot(u32),
    /// In free space; the partition that keeps others out.
    Free(Partition),
}

impl Room {
    /// The first place that is large enough. With a GPT that stays, free space can be one.
    pub fn find(disk: &dyn Disk, i: &Inspection, keeps_gpt: bool) -> Result<Room, Refusal> {
        let gap = gap(i);
        if let Some(room) = within(gap.0, gap.1, Site::Gap) {
            return Ok(room);
        }
        let boot = i.partitions.iter().find(|p| p.type_id.parse::<Guid>() == Ok(gpt::TYPE_BIOS_BOOT));
        if let Some(p) = boot {
            let first = p.at.get() / SECTOR;
            if let Some(room) =
                within(first, first.saturating_add(p.len.get() / SECTOR), Site::BiosBoot(p.number))
            {
                return Ok(room);
            }
        }
        let unreadable = |e: ReadError| Refusal::one(Direction::ToGen1, "unreadable", e.to_string(), "");
        if keeps_gpt
            && matches!(i.table.kind, TableKind::Gpt)
            && let Some(room) = free(disk, i).map_err(unreadable)?
        {
            return Ok(room);
        }
        let text = format!(
            "Between the partition table and the first partition at LBA {} there is no room for GRUB: it needs {} sectors, {} are there; and there is no BIOS boot partition and no other free MiB.",
            gap.1,
            CORE_ROOM + CAPSULE_ROOM + SCRIPT_SECTORS,
            gap.1.saturating_sub(gap.0),
        );
        let fix = if keeps_gpt {
            "Free 1 MiB in the guest, for instance by shrinking the last partition."
        } else {
            "Keep the GPT (--table gpt), where a BIOS boot partition can be added in free space."
        };
        Err(Refusal::one(Direction::ToGen1, "gap-too-small", text, fix))
    }

    /// First sector behind the core.
    pub fn core_end(&self, kit: &LoaderKit) -> u64 {
        self.first.saturating_add(kit.core_sectors().get())
    }

    /// In words, for a plan.
    pub fn why(&self) -> String {
        match &self.site {
            Site::Gap => "the gap before the first partition has room for GRUB".to_string(),
            Site::BiosBoot(number) => format!("GRUB goes into the BIOS boot partition {number}"),
            Site::Free(p) => format!(
                "the gap before the first partition is too small; GRUB goes into free space, as BIOS boot partition {}",
                p.index
            ),
        }
    }
}

/// First and one behind the last sector before the first partition.
pub(super) fn gap(i: &Inspection) -> (u64, u64) {
    let scale = i.geometry.sector.bytes() / SECTOR;
    let start = i.table.gpt.as_ref().and_then(|g| g.primary_end).unwrap_or(34).saturating_mul(scale).max(34);
    let first = i.partitions.iter().map(|p| p.at.get() / SECTOR).min();
    (start, first.unwrap_or(start).min(i.geometry.len.get() / SECTOR))
}

fn within(first: u64, end: u64, site: Site) -> Option<Room> {
    // All current installers leave the first MiB: then the script is at one place, and one core fits all those disks.
    let end =
        if site == Site::Gap { end.min(OWN_SECTORS) } else { end.min(first.saturating_add(OWN_SECTORS)) };
    let room = end.checked_sub(first)?;
    (room >= CORE_ROOM + CAPSULE_ROOM + SCRIPT_SECTORS).then(|| Room {
        first,
        script: end.saturating_sub(SCRIPT_SECTORS),
        site,
    })
}

/// Free space of the table as it will be, the last such place first: nobody is likely to want it.
fn free(disk: &dyn Disk, i: &Inspection) -> Result<Option<Room>, ReadError> {
    let Ok(Some(gpt)) = Gpt::parse(disk) else { return Ok(None) };
    let scale = i.geometry.sector.bytes() / SECTOR;
    let runs = gpt.free_runs();
    let fits = |(first, last): &(u64, u64)| {
        let first = first.saturating_mul(scale).next_multiple_of(8);
        let end = last.saturating_add(1).saturating_mul(scale);
        let at = end.checked_sub(OWN_SECTORS)? / 8 * 8;
        (at >= first).then_some(at)
    };
    let Some((at, number)) = runs.iter().rev().find_map(fits).zip(gpt.free_number()) else { return Ok(None) };
    // Derived from the disk's own id, so that equal disks give equal plans.
    let seed = format!("drill BIOS boot partition of {}", gpt.disk_guid);
    let hash = blake3::hash(seed.as_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    let id = uuid::Builder::from_random_bytes(id).into_uuid().to_string();
    let Ok(unique_guid) = id.parse::<Guid>() else { return Ok(None) };
    let partition = Partition {
        index: number,
        type_guid: gpt::TYPE_BIOS_BOOT,
        unique_guid,
        first: Lba(at),
        last: Lba(at.saturating_add(OWN_SECTORS - 1)),
        attrs: 0,
        name: "drill BIOS boot".to_string(),
    };
    Ok(Some(Room {
        first: at,
        script: at.saturating_add(OWN_SECTORS - SCRIPT_SECTORS),
        site: Site::Free(partition),
    }))
}
