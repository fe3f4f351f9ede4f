//! Faults of what a BIOS starts: LBA 0, GRUB's core behind it, and the script the core reads.

use super::Misfit;
use super::blocks::difference;
use super::ground::{Ground, zeros};
use engine::disk::{Write, read_vec};
use engine::units::{ByteLen, ByteOffset};

/// Bytes of code in LBA 0; the rest is the table's.
const BOOT_CODE: usize = 440;
/// Where GRUB's boot code keeps the LBA of its core, and the core's first sector the length of the rest in sectors.
const CORE_LBA: usize = 0x5c;
const CORE_REST: usize = 0x1fc;
/// Sectors of the core that a truncated one keeps.
const KEPT: u64 = 8;
/// Sectors of a BIOS.
const SECTOR: u64 = 512;
/// How the per-disk script begins, and how far from the beginning of the disk it is looked for.
const SCRIPT: &[u8] = b"# Written by drill. GRUB reads";
const SCRIPT_WITHIN: usize = 4 << 20;

/// Code that prints what follows it through the BIOS, and stops: `mov si`, a loop of `lodsb` and `int 10h`, `hlt`.
const SAY: [u8; 24] = [
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x18, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb, 0x07, 0x00,
    0xcd, 0x10, 0xeb, 0xf2, 0xf4, 0xeb, 0xfd,
];
/// What the usual boot code of an MBR says when no partition is active.
const SAID: &[u8] = b"Missing operating system\0";

pub(super) fn no_code(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    drilled(ground)?;
    Ok(vec![zeros(0, ByteLen(BOOT_CODE as u64))])
}

pub(super) fn no_signature(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    drilled(ground)?;
    Ok(vec![zeros(510, ByteLen(2))])
}

/// As after a repair by another system's tools: sound boot code that knows nothing of GRUB.
pub(super) fn foreign_code(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let (sector, _) = drilled(ground)?;
    let mut code: Vec<u8> = SAY.iter().chain(SAID).copied().collect();
    code.resize(BOOT_CODE, 0);
    Ok(difference(0, sector.get(..BOOT_CODE).unwrap_or_default(), &code).into_iter().collect())
}

/// The boot code looks for the core a disk's length behind the disk.
pub(super) fn lost_core(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let (sector, core) = drilled(ground)?;
    let beyond = core.saturating_add(ground.disk.geometry().len.get() / SECTOR);
    let was = sector.get(CORE_LBA..CORE_LBA.saturating_add(8)).unwrap_or_default();
    Ok(difference(CORE_LBA as u64, was, &beyond.to_le_bytes()).into_iter().collect())
}

/// All of the core but its first sectors is zeros.
pub(super) fn short_core(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let (first, sectors) = core(ground)?;
    let at = first.saturating_add(KEPT).saturating_mul(SECTOR);
    Ok(vec![zeros(at, ByteLen(sectors.saturating_sub(KEPT).saturating_mul(SECTOR)))])
}

/// The core is there and somebody else's bytes are in its middle: more than its own error correction mends.
pub(super) fn spoilt_core(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let (first, sectors) = core(ground)?;
    let at = first.saturating_add(sectors / 4).saturating_mul(SECTOR);
    let len = usize::try_from((sectors / 2).saturating_mul(SECTOR)).unwrap_or(0);
    let bytes: Vec<u8> = b"somebody else's ".iter().copied().cycle().take(len).collect();
    Ok(vec![Write { at: ByteOffset(at), bytes: bytes.into() }])
}

/// The script between core and partitions is zeros: GRUB starts and does not know what to do.
pub(super) fn no_script(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    drilled(ground)?;
    let len = usize::try_from(ground.disk.geometry().len.get()).unwrap_or(SCRIPT_WITHIN).min(SCRIPT_WITHIN);
    let begin = read_vec(ground.disk.as_ref(), ByteOffset(0), len)?;
    let mut sectors = begin.chunks_exact(512).enumerate();
    let (lba, _) = sectors
        .find(|(_, s)| s.starts_with(SCRIPT))
        .ok_or_else(|| Misfit::new("no script of drill's lies in its first 4 MiB"))?;
    // Every line of it ends in text; it ends where the text does.
    let text = begin.get(lba.saturating_mul(512)..).unwrap_or_default();
    let len = text.iter().take_while(|b| b.is_ascii() && **b != 0).count() / 512 * 512;
    Ok(vec![zeros((lba as u64).saturating_mul(SECTOR), ByteLen(len as u64))])
}

/// LBA 0 and the LBA of GRUB's core, of a disk with GRUB's boot code.
fn drilled(ground: &Ground) -> Result<(Vec<u8>, u64), Misfit> {
    let sector = ground.sector(0)?;
    let lba = sector.get(CORE_LBA..).and_then(|b| b.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b));
    let grub = sector.windows(4).any(|w| w == b"GRUB");
    match lba.filter(|lba| grub && *lba > 0 && *lba < ground.disk.geometry().len.get() / SECTOR) {
        Some(lba) => Ok((sector, lba)),
        None => Err(Misfit::new("GRUB's boot code is not in LBA 0: it is no Generation 1 copy of drill's")),
    }
}

/// First sector of the core, and how many it has.
fn core(ground: &Ground) -> Result<(u64, u64), Misfit> {
    let (_, lba) = drilled(ground)?;
    let first = ground.sector(lba)?;
    let rest = first.get(CORE_REST..).and_then(|b| b.first_chunk::<2>()).map(|b| u16::from_le_bytes(*b));
    match rest {
        Some(rest) if u64::from(rest) > KEPT => Ok((lba, u64::from(rest).saturating_add(1))),
        _ => Err(Misfit::new(format!("the sector at LBA {lba} does not begin GRUB's core"))),
    }
}
