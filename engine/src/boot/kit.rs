//! GRUB for i386-pc as bytes: checked, and told where it will lie. GRUB 2.06, `include/grub/i386/pc/boot.h` and `kernel.h`.

use crate::units::{Lba, SectorCount};

/// Sector size that GRUB's BIOS loader counts in, bytes.
pub const SECTOR: u64 = 512;
/// Bytes of boot.img that go to LBA 0; behind them lie the disk signature and the partition entries.
pub const BOOT_CODE_LEN: usize = 440;
/// Most sectors of core.img that we accept: GRUB's own limit is the space below 0x80000 it is loaded into.
pub const CORE_SECTORS_MAX: u64 = 1024;

/// In boot.img: u64, first sector of core.img. `GRUB_BOOT_MACHINE_KERNEL_SECTOR`.
const KERNEL_SECTOR: usize = 0x5c;
/// In boot.img: boot drive; 0xff means "the one the BIOS named in DL". `GRUB_BOOT_MACHINE_BOOT_DRIVE`.
const BOOT_DRIVE: usize = 0x64;
/// In boot.img: a jump over the code that distrusts DL. Two NOPs, as `grub-install` writes for a hard disk.
const DRIVE_CHECK: usize = 0x66;
/// In core.img's first sector: u64, second sector of core.img. `GRUB_BOOT_MACHINE_LIST_SIZE` below 0x200.
const BLOCKLIST_START: usize = 0x1f4;
/// Behind it: u16, how many sectors follow.
const BLOCKLIST_LEN: usize = 0x1fc;
/// Behind it: u16, real-mode segment they are loaded to; 0x820 in every GRUB 2.
const BLOCKLIST_SEGMENT: usize = 0x1fe;

/// GRUB as it comes from `grub-mkimage`, and where its script lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoaderKit {
    /// `boot.img`, 512 bytes.
    pub boot_img: Vec<u8>,
    /// `core.img`, whose embedded configuration reads the script sectors.
    pub core_img: Vec<u8>,
    /// First sector of the script, as the embedded configuration says it.
    pub script_lba: u64,
    /// Sectors of the script.
    pub script_sectors: u64,
    /// Where the bytes come from, for reports: package and version.
    pub provenance: String,
}

/// Why some bytes are no loader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KitError {
    /// boot.img is not a boot sector of GRUB 2.
    #[error("boot.img: {what} is {found}, wanted {wanted}")]
    Boot {
        /// Which field.
        what: &'static str,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// core.img is not an i386-pc image of GRUB 2.
    #[error("core.img: {what} is {found}, wanted {wanted}")]
    Core {
        /// Which field.
        what: &'static str,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// No script place.
    #[error("the script has {sectors} sectors from LBA {lba} on, wanted 1 to 64 sectors behind LBA 34")]
    Script {
        /// First sector.
        lba: u64,
        /// How many.
        sectors: u64,
    },
}

impl LoaderKit {
    /// Check all that can be checked without running it.
    ///
    /// # Errors
    /// [`KitError`] names the field that is wrong.
    pub fn check(&self) -> Result<(), KitError> {
        let boot =
            |what, wanted: &str, found: String| Err(KitError::Boot { what, wanted: wanted.into(), found });
        let core = |what, wanted: String, found: String| Err(KitError::Core { what, wanted, found });
        if self.boot_img.len() as u64 != SECTOR {
            return boot("length", "512 bytes", format!("{} bytes", self.boot_img.len()));
        }
        if self.boot_img.get(510..512) != Some(&[0x55, 0xaa]) {
            return boot("signature", "55 aa", "something else".into());
        }
        match u64_at(&self.boot_img, KERNEL_SECTOR) {
            Some(1) => {}
            other => return boot("sector of core.img at 0x5c", "1, as shipped", format!("{other:?}")),
        }
        let sectors = self.core_sectors().get();
        if !(2..=CORE_SECTORS_MAX).contains(&sectors) {
            return core("length", format!("2 to {CORE_SECTORS_MAX} sectors"), format!("{sectors} sectors"));
        }
        match u64_at(&self.core_img, BLOCKLIST_START) {
            Some(2) => {}
            other => {
                return core(
                    "second sector at 0x1f4",
                    "2, as made by grub-mkimage".into(),
                    format!("{other:?}"),
                );
            }
        }
        let len = u16_at(&self.core_img, BLOCKLIST_LEN).map(u64::from);
        if len != Some(sectors - 1) {
            return core("sector count at 0x1fc", format!("{}", sectors - 1), format!("{len:?}"));
        }
        match u16_at(&self.core_img, BLOCKLIST_SEGMENT) {
            Some(0x820) => {}
            other => return core("load segment at 0x1fe", "0x820".into(), format!("{other:x?}")),
        }
        if self.script_lba < 34
            || !(1..=64).contains(&self.script_sectors)
            || self.script_lba > u64::from(u32::MAX)
        {
            return Err(KitError::Script { lba: self.script_lba, sectors: self.script_sectors });
        }
        Ok(())
    }

    /// Sectors that core.img takes.
    pub fn core_sectors(&self) -> SectorCount {
        SectorCount((self.core_img.len() as u64).div_ceil(SECTOR))
    }

    /// The code bytes for LBA 0 that load core.img from `core`. Only for a kit that passed [`LoaderKit::check`].
    pub fn boot_code(&self, core: Lba) -> [u8; BOOT_CODE_LEN] {
        let mut code = [0; BOOT_CODE_LEN];
        for (to, from) in code.iter_mut().zip(&self.boot_img) {
            *to = *from;
        }
        code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core.get().to_le_bytes());
        code[BOOT_DRIVE] = 0xff;
        code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
        code
    }

    /// core.img for a place at `core`, padded with zeros to whole sectors. Only for a kit that passed [`LoaderKit::check`].
    pub fn core_at(&self, core: Lba) -> Vec<u8> {
        let mut bytes = self.core_img.clone();
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        if let Some(field) = bytes.get_mut(BLOCKLIST_START..BLOCKLIST_START + 8) {
            field.copy_from_slice(&core.get().saturating_add(1).to_le_bytes());
        }
        bytes
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
