//! The EFI system partition: an empty FAT32, then the guest's loaders on it.
//!
//! ```text
//! EFI/BOOT/BOOTX64.EFI    shim, or GRUB where there is none: what firmware without boot entries starts. UEFI 2.10 §3.5.1.1
//! EFI/BOOT/grubx64.efi    GRUB, by the name under which shim looks for it beside itself (grub.efi on SUSE)
//! EFI/BOOT/mmx64.efi      shim's manager of keys, where the guest has one
//! EFI/BOOT/grub.cfg       three lines that lead to the guest's own grub.cfg, and the same
//! EFI/VENDOR/…            once more, where GRUB was built to look and the guest's own updates go
//! ```

use super::ids;
use super::layout::Layout;
use super::loaders::{Loaders, Program};
use super::no;
use crate::convert::plan::Refusal;
use crate::convert::{Bytes, Op};
use crate::units::{ByteOffset, MIB};
use crate::volume::fat_make;

/// Smallest ESP: room for a GRUB or two, and with clusters of one sector enough of them for a FAT32.
pub(super) const LEN_MIN: u64 = 64 * MIB;
/// Largest ESP.
pub(super) const LEN_MAX: u64 = 260 * MIB;
/// What a volume of so many MiB needs for its tables and folders, and what is left for the guest: a quarter of the files.
const SLACK: u64 = 8 * MIB;

/// A file that goes there.
pub(super) struct File {
    path: String,
    bytes: Bytes,
    reason: String,
}

/// The files, `stub` being the text of the short `grub.cfg`.
pub(super) fn files(loaders: &Loaders, stub: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut put = |path: String, bytes: &Bytes, reason: String| {
        files.push(File { path, bytes: bytes.clone(), reason });
    };
    let copy = |what: &str, program: &Program| format!("{what}: the guest's own {}", program.from);
    let stub = Bytes::from(stub.as_bytes());
    let (second, manager_name) = (loaders.second, loaders.manager_name);
    // A folder whose name says which distribution; firmware with boot entries of the guest's would start what is in there.
    let vendor = loaders.vendor.as_deref().map(|v| format!("/EFI/{v}"));
    for folder in ["/EFI/BOOT".to_string()].iter().chain(&vendor) {
        let is_fallback = folder == "/EFI/BOOT";
        match &loaders.shim {
            Some(shim) => {
                let name = match (is_fallback, second) {
                    (true, _) => "BOOTX64.EFI",
                    (false, "grub.efi") => "shim.efi",
                    (false, _) => "shimx64.efi",
                };
                put(format!("{folder}/{name}"), &shim.bytes, copy("shim", shim));
                put(
                    format!("{folder}/{second}"),
                    &loaders.grub.bytes,
                    copy("GRUB, which shim starts", &loaders.grub),
                );
                if let Some(manager) = &loaders.manager {
                    put(
                        format!("{folder}/{manager_name}"),
                        &manager.bytes,
                        copy("shim's manager of keys", manager),
                    );
                }
            }
            None => {
                let name = if is_fallback { "BOOTX64.EFI" } else { second };
                put(format!("{folder}/{name}"), &loaders.grub.bytes, copy("GRUB", &loaders.grub));
            }
        }
        put(format!("{folder}/grub.cfg"), &stub, "leads GRUB to the guest's own grub.cfg".to_string());
    }
    files
}

/// How long an ESP for these must be: whole MiB.
pub(super) fn len(files: &[File]) -> Result<u64, Refusal> {
    let sum = files.iter().fold(0u64, |sum, f| sum.saturating_add(f.bytes.len()));
    let wanted = sum.saturating_add(sum / 4).saturating_add(SLACK).next_multiple_of(MIB).max(LEN_MIN);
    if wanted > LEN_MAX {
        let text = format!(
            "The guest's loaders are {sum} bytes, more than an EFI system partition of {LEN_MAX} bytes is made for."
        );
        return Err(no("loaders-too-large", text, ""));
    }
    Ok(wanted)
}

/// What makes the ESP.
pub(super) fn ops(layout: &Layout, seed: &[u8], files: Vec<File>) -> Result<Vec<Op>, Refusal> {
    let format = fat_make(layout.esp.len, ids::volume_id(seed))
        .map_err(|e| no("esp-format", format!("The EFI system partition cannot be formatted: {e}."), ""))?;
    let mut ops: Vec<Op> = Vec::new();
    let reasons = [
        "the ESP, an empty FAT32: boot sector and FSInfo",
        "their second copy",
        "the first table",
        "the second table",
    ];
    let reasons = reasons.into_iter().chain(std::iter::repeat("more of the empty FAT32"));
    for (write, reason) in format.into_iter().zip(reasons) {
        ops.push(Op::Raw {
            at: ByteOffset(layout.esp.at.get().saturating_add(write.at.get())),
            // Behind the end of the disk as it is.
            old: vec![0; write.bytes.len()].into(),
            new: write.bytes.into(),
            reason: reason.to_string(),
        });
    }
    ops.extend(files.into_iter().map(|f| Op::FatPut {
        partition: layout.esp,
        path: f.path,
        old: None,
        new: f.bytes,
        reason: f.reason,
    }));
    Ok(ops)
}
