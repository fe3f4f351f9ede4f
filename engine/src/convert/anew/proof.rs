//! The disk as it would be, looked at like any other: a plan whose result would not start is none.

use super::kernel::{self, Kernel};
use super::menu::Config;
use super::old_table::OldTable;
use super::pe::{self, Signed};
use super::{no, references, unreadable};
use crate::convert::Patch;
use crate::convert::plan::{Direction, Refusal};
use crate::disk::DiskRef;
use crate::guest::{BootEntry, BootMenu, Guest, Starts, look};
use crate::table::gpt::Gpt;

/// What one should know, or every reason against it.
pub(super) fn of(
    now: &DiskRef,
    patch: &Patch,
    old: &OldTable,
    config: &Config,
) -> Result<Vec<String>, Refusal> {
    let result = patch.apply(now).map_err(unreadable)?;
    let sound = matches!(Gpt::parse(result.as_ref()), Ok(Some(gpt)) if gpt.is_sound());
    if !sound {
        return Err(no(
            "gpt-unsound",
            "The new GPT would not be sound.",
            "This is a fault of drill; please report it.",
        ));
    }
    let guest = look(&result).map_err(unreadable)?;
    let i = &guest.inspection;
    let mut refusal = Refusal::new(Direction::ToGen2);
    for finding in i.blockers() {
        refusal.add(&finding.id, finding.text.clone(), finding.fix.clone());
    }
    let mut notes = Vec::new();
    match &i.uefi_start {
        Starts::Yes { by } => notes.push(format!("UEFI starts {by}")),
        Starts::Unknown { why } => notes.push(format!("whether it starts could not be told: {why}")),
        Starts::No { why } if refusal.is_empty() => {
            refusal.add("would-not-start", format!("The result would not start: {why}."), "");
        }
        Starts::No { .. } => {}
    }
    if let Some(menu) = &i.boot {
        references::check_menu(menu, old, &mut refusal);
    }
    match i.boot.as_ref().and_then(BootMenu::default_entry) {
        Some(entry) => {
            config.check(i, entry, matches!(old, OldTable::Mbr { .. }), &mut refusal);
            notes.extend(refusal.hold(check_kernel(&guest, entry)).flatten());
        }
        None => {
            notes.push(format!("{} could not be followed to a kernel, so none was looked at", config.path))
        }
    }
    if let Some(finding) = i.finding("root-by-device-name") {
        notes.push(finding.text.clone());
    }
    refusal.or_ok()?;
    Ok(notes)
}

/// Whether GRUB for UEFI can start the kernel of an entry.
fn check_kernel(guest: &Guest, entry: &BootEntry) -> Result<Option<String>, Refusal> {
    let Some(file) = &entry.kernel else {
        return Ok(Some("the entry that starts names no kernel".to_string()));
    };
    let path = &file.path;
    let head = guest.volume(&entry.place).map(|v| v.read_part(path, 0, pe::HEAD as u64));
    let Some(Ok((head, _))) = head else {
        return Ok(Some(format!("{path} could not be read, so whether UEFI can start it was not told")));
    };
    let refuse = |id: &str, why: String| {
        Err(no(
            id,
            format!("The kernel {path} cannot be started by GRUB under UEFI: {why}."),
            "Install a newer 64-bit kernel in the guest.",
        ))
    };
    match kernel::look(&head) {
        Kernel::Good(Signed::Yes) => Ok(None),
        Kernel::Good(Signed::No) => {
            Ok(Some(format!("the kernel {path} carries no signature: Secure Boot must be off")))
        }
        Kernel::NoHandover(Some(_)) => Ok(Some(format!(
            "the kernel {path} has no EFI handover (XLF_EFI_HANDOVER_64), only an EFI stub: GRUB must be 2.12 or newer"
        ))),
        Kernel::NoHandover(None) => refuse(
            "kernel-no-efi",
            "its setup header has no XLF_EFI_HANDOVER_64, and it has no EFI stub".to_string(),
        ),
        Kernel::Not64 => refuse("kernel-not-64-bit", "its setup header has no XLF_KERNEL_64".to_string()),
        Kernel::TooOld(version) => refuse(
            "kernel-too-old",
            format!(
                "its boot protocol is {}.{:02}, wanted at least 2.12, which tells of EFI",
                version >> 8,
                version & 0xff
            ),
        ),
        Kernel::NoLinux => refuse("kernel-no-linux", "it is no bzImage".to_string()),
    }
}
