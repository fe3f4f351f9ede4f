//! Faults of the partition table. Those that are meant to be believed have sound checksums in both copies.

use super::Misfit;
use super::blocks::difference;
use super::ground::{Ground, zeros};
use engine::disk::Write;
use engine::guest::TableKind;
use engine::table::gpt::{Gpt, Partition};
use engine::units::{ByteLen, ByteOffset, Lba};

/// Bytes of the header that its checksum covers and nobody reads on the way: the disk's id.
const DISK_ID: usize = 56;

pub(super) fn no_gpt(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    gpt(ground)?;
    Ok(headers(ground).map(|lba| zeros(at(ground, lba), ByteLen(8))).to_vec())
}

pub(super) fn bad_primary(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let [primary, _] = headers(ground);
    bad_header(ground, primary)
}

pub(super) fn bad_backup(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let [_, backup] = headers(ground);
    bad_header(ground, backup)
}

/// The partition of the kernel is in neither copy.
pub(super) fn no_boot_partition(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let number = ground.kernel()?.place.partition;
    without(ground, number)
}

/// The EFI system partition is in neither copy.
pub(super) fn no_esp(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let esp = ground.guest.inspection.esp().ok_or_else(|| Misfit::new("it has no EFI system partition"))?;
    without(ground, esp.number)
}

/// The second partition by place begins with the last sector of the first.
pub(super) fn overlap(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let mut table = gpt(ground)?;
    let mut order: Vec<&mut Partition> = table.partitions.iter_mut().collect();
    order.sort_by_key(|p| p.first);
    let [first, second, ..] = order.as_mut_slice() else {
        return Err(Misfit::new("it has fewer than two partitions"));
    };
    second.first = Lba(first.last.get());
    changed(ground, &table)
}

/// The first sector of the EFI system partition, which says what it is, is zeros.
pub(super) fn esp_without_fs(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let esp = ground.guest.inspection.esp().ok_or_else(|| Misfit::new("it has no EFI system partition"))?;
    Ok(vec![zeros(esp.at.get(), ByteLen(512))])
}

fn gpt(ground: &Ground) -> Result<Gpt, Misfit> {
    if ground.guest.inspection.table.kind != TableKind::Gpt {
        return Err(Misfit::new("its partition table is no GPT"));
    }
    match Gpt::parse(ground.disk.as_ref()) {
        Ok(Some(gpt)) if gpt.is_sound() => Ok(gpt),
        Ok(_) => Err(Misfit::new("its GPT is not sound as it is")),
        Err(e) => Err(Misfit::new(e.to_string())),
    }
}

fn without(ground: &Ground, number: u32) -> Result<Vec<Write>, Misfit> {
    let mut table = gpt(ground)?;
    table.partitions.retain(|p| p.index != number);
    changed(ground, &table)
}

/// What differs between the table on the disk and this one.
fn changed(ground: &Ground, table: &Gpt) -> Result<Vec<Write>, Misfit> {
    let writes = table.to_sectors(ground.disk.geometry()).map_err(|e| Misfit::new(e.to_string()))?;
    let mut changes = Vec::new();
    for write in writes {
        let was = engine::disk::read_vec(ground.disk.as_ref(), write.at, write.bytes.len())?;
        changes.extend(difference(write.at.get(), &was, &write.bytes));
    }
    Ok(changes)
}

fn bad_header(ground: &Ground, lba: u64) -> Result<Vec<Write>, Misfit> {
    gpt(ground)?;
    let sector = ground.sector(lba)?;
    let was = sector.get(DISK_ID).copied().ok_or_else(|| Misfit::new("its sectors are too short"))?;
    let byte = ByteOffset(at(ground, lba).saturating_add(DISK_ID as u64));
    Ok(vec![Write { at: byte, bytes: [was ^ 0xff].into() }])
}

/// Where both headers are: LBA 1 and the last one.
fn headers(ground: &Ground) -> [u64; 2] {
    let geometry = ground.disk.geometry();
    [1, (geometry.len.get() / geometry.sector.bytes()).saturating_sub(1)]
}

fn at(ground: &Ground, lba: u64) -> u64 {
    lba.saturating_mul(ground.disk.geometry().sector.bytes())
}
