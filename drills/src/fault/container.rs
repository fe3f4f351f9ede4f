//! Faults of the file around a disk. The given file is not copied for them, however small the damage: each gets a small container of its own, which
//! holds the disk's beginning.

use super::Misfit;
use super::ext::crc32c;
use engine::container::{ExportOptions, Flush, Gate, OutFormat, export, open_through};
use engine::disk::{DiskRef, Slice, read_vec};
use engine::units::{ByteLen, ByteOffset, MIB};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done to the file.
pub(crate) type Damage = fn(&File) -> io::Result<()>;

/// How much of the disk a specimen holds.
const HOLDS: u64 = 4 * MIB;
/// Where a VHDX keeps its headers and its region tables. \[MS-VHDX\] §2.2.2, §2.2.3.
const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
const REGIONS_AT: [u64; 2] = [192 << 10, 256 << 10];
/// Bytes of a VHDX header that its checksum covers; where the checksum and the log's id are in it.
const HEADER: usize = 4096;
const CHECKSUM_AT: usize = 4;
const LOG_ID: std::ops::Range<usize> = 48..64;
/// A VHD's footer, and where the disk's length is in it. VHD specification, "Hard Disk Footer Format".
const FOOTER: u64 = 512;
const LENGTH_AT: u64 = 48;

/// A container of the beginning of a disk, and damaged twins of it.
pub(crate) struct Specimen {
    path: PathBuf,
}

impl Specimen {
    /// Write it into `folder`. It opens, or it is none.
    ///
    /// # Errors
    /// When the disk is shorter than 4 MiB, or the file cannot be made or read back.
    pub(crate) fn make(
        disk: &DiskRef,
        format: OutFormat,
        folder: &Path,
        now: u64,
    ) -> Result<Specimen, Misfit> {
        let geometry = disk.geometry();
        if geometry.len.get() < HOLDS {
            return Err(Misfit::new(format!(
                "the disk is {} bytes, wanted at least {HOLDS}",
                geometry.len.get()
            )));
        }
        let slice = Slice::new(disk.clone(), ByteOffset(0), ByteLen(HOLDS))?;
        // A container with nothing in it would have nothing to lose.
        if read_vec(&slice, ByteOffset(0), 4096)?.iter().all(|b| *b == 0) {
            return Err(Misfit::new("the disk begins with zeros"));
        }
        let ending = match format {
            OutFormat::FixedVhd | OutFormat::DynamicVhd => "vhd",
            OutFormat::DynamicVhdx | OutFormat::FixedVhdx => "vhdx",
            OutFormat::Qcow2 => "qcow2",
            OutFormat::Raw => "raw",
        };
        let path = folder.join(format!("specimen.{ending}"));
        let mut options = ExportOptions::new(*b"drill's specimen", now);
        (options.flush, options.overwrite) = (Flush::Never, true);
        let sliced: DiskRef = Arc::new(slice);
        export(sliced.as_ref(), &path, format, &options, &mut |_| ControlFlow::Continue(()))
            .map_err(|e| Misfit::new(e.to_string()))?;
        let specimen = Specimen { path };
        match specimen.refusal() {
            None => Ok(specimen),
            Some(why) => Err(Misfit::new(format!("the container does not even open undamaged: {why}"))),
        }
    }

    /// Damage the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn damage(&self, damage: Damage) -> Result<(), Misfit> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path);
        file.and_then(|file| damage(&file)).map_err(|e| Misfit::new(format!("{}: {e}", self.path.display())))
    }

    /// Why it does not open; `None` when it does.
    pub(crate) fn refusal(&self) -> Option<String> {
        open_through(&self.path, None, &Gate::closed()).err().map(|e| e.to_string())
    }
}

impl Drop for Specimen {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(super) fn vhdx_headers(file: &File) -> io::Result<()> {
    HEADERS_AT.iter().try_for_each(|at| turn(file, at.saturating_add(8)))
}

pub(super) fn vhdx_regions(file: &File) -> io::Result<()> {
    REGIONS_AT.iter().try_for_each(|at| turn(file, at.saturating_add(16)))
}

/// The headers say that the log holds changes, and the log holds none: it was lost, or torn to the last entry.
pub(super) fn vhdx_log(file: &File) -> io::Result<()> {
    for at in HEADERS_AT {
        let mut header = vec![0; HEADER];
        file.read_exact_at(&mut header, at)?;
        header.get_mut(LOG_ID).into_iter().flatten().for_each(|b| *b = 0x5a);
        let field = CHECKSUM_AT..CHECKSUM_AT.saturating_add(4);
        header.get_mut(field.clone()).into_iter().flatten().for_each(|b| *b = 0);
        let sum = !crc32c(!0, &header);
        if let Some(field) = header.get_mut(field) {
            field.copy_from_slice(&sum.to_le_bytes());
        }
        file.write_all_at(&header, at)?;
    }
    Ok(())
}

/// As after a copy that ran out of room.
pub(super) fn cut_short(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    file.set_len(len.saturating_sub(MIB))
}

pub(super) fn vhd_without_footer(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    file.set_len(len.saturating_sub(FOOTER))
}

pub(super) fn vhd_footer(file: &File) -> io::Result<()> {
    let len = file.metadata()?.len();
    turn(file, len.saturating_sub(FOOTER).saturating_add(LENGTH_AT))
}

/// Turn every bit of one byte over.
fn turn(file: &File, at: u64) -> io::Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[!byte[0]], at)
}
