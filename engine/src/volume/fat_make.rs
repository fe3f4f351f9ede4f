//! An empty FAT32 volume, as the writes that make one out of zeros.
//!
//! `hadris-fat` formats a view in memory; what differs from zeros is the result: boot sector and FSInfo, each twice, and the heads of both
//! tables. It is given no label, because it would ask a clock for the label's time.

use super::fat_edit::Cow;
use super::{FsKind, VolumeError, guard};
use crate::disk::{DiskRef, Geometry, MemDisk, Write};
use crate::units::{ByteLen, SectorSize};
use hadris_fat::format::{FatFormatOptions, FatTypeSelection, FatVolumeFormatter, OemName};
use std::sync::Arc;

/// Microsoft FAT specification 1.03, "Boot Sector and BPB": the name that the most systems take.
const OEM_NAME: &str = "MSWIN4.1";
/// One sector, so that even 64 MiB have the 65525 clusters that make a FAT32.
const SECTORS_PER_CLUSTER: u8 = 1;

/// The writes that make a partition of `len` zero bytes an empty FAT32 volume, by its identifier; sorted, disjoint. Sectors and clusters have
/// 512 bytes.
///
/// # Errors
/// [`VolumeError::Broken`] for a length that a FAT32 of such clusters cannot have: less than 33 MiB or so, or 2 TiB and more.
pub fn fat_make(len: ByteLen, volume_id: u32) -> Result<Vec<Write>, VolumeError> {
    let disk: DiskRef = Arc::new(MemDisk::empty(Geometry { len, sector: SectorSize::B512 }));
    let cow = guard(FsKind::Fat, "formatting", || {
        let mut options = FatFormatOptions::new(len.get())
            .fat_type(FatTypeSelection::Fat32)
            .sectors_per_cluster(SECTORS_PER_CLUSTER)
            .volume_id(volume_id);
        options.oem_name = OemName::new(OEM_NAME);
        let made = FatVolumeFormatter::format(Cow::over(&disk), options);
        Ok(made.map_err(|e| VolumeError::broken(FsKind::Fat, "formatting", e))?.into_inner())
    })?;
    cow.changed()
}
