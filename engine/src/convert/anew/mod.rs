//! A Generation 1 disk that was never Generation 2 becomes one: it gets a GPT, an EFI system partition and a loader.
//!
//! ```text
//! table, as the disk has it ─► layout: the same partitions in a GPT, an ESP behind them
//!                                 │
//!                      look at that disk in memory: now logical partitions are ordinary ones
//!                                 │
//! guest's own files ──► loaders (shim, GRUB) ─┐
//!                   └─► menu (its grub.cfg) ──┴─► ESP ─► Plan ─► look again: would UEFI start it?
//! ```
//! **Invariant: nothing comes from the host.** A loader that the guest has not installed would be one that its distribution does not update,
//! and that Secure Boot may not trust. What is missing is said by name, with how to install it.
//!
//! **Invariant: no byte of a partition changes.** The ESP lies behind the old end of the disk, since the result is a new file or a child anyway.

mod esp;
mod ids;
mod kernel;
mod layout;
mod loaders;
mod logical;
mod menu;
mod old_table;
mod origin;
mod pe;
mod proof;
mod references;
mod tree;

use self::layout::Layout;
use self::loaders::Loaders;
use self::menu::Config;
use self::old_table::OldTable;
use self::pe::Signed;
use self::tree::Tree;
use super::plan::{Direction, Plan, Refusal, Strategy};
use super::{Op, Patch};
use crate::disk::DiskRef;
use crate::guest::{OsKind, inspect, look};

/// Plan it for a disk without a capsule. Only reads.
///
/// # Errors
/// [`Refusal`], with every reason that could be found: it was Generation 2 once, no Linux, something is missing in the guest.
pub(super) fn plan(now: &DiskRef) -> Result<Plan, Refusal> {
    let seen = inspect(now).map_err(unreadable)?;
    origin::check(&seen)?;
    let old = OldTable::read(now, &seen)?;
    // An ESP of any length will do for a look: it is empty.
    let early = Layout::new(now, &old, esp::LEN_MIN)?;
    let patch = |layout: &Layout, ops: Vec<Op>| Patch { from: layout.from, to: layout.to, ops };
    let shown =
        patch(&early, vec![early.table.clone(), early.lba0.clone()]).apply(now).map_err(unreadable)?;
    let guest = look(&shown).map_err(unreadable)?;
    if guest.inspection.os.as_ref().is_some_and(|os| os.kind == OsKind::Windows) {
        return Err(origin::windows());
    }
    let tree = Tree::of(&guest).ok_or_else(|| {
        let text = "No root file system of a Linux could be read on the disk, so its own loader for UEFI cannot be found.";
        no("no-system", text, "If it is encrypted or on RAID, convert it inside the guest; otherwise check that it is the boot disk.")
    })?;
    let mut refusal = Refusal::new(Direction::ToGen2);
    let found = refusal.hold(loaders::find(&tree));
    let config = refusal.hold(Config::find(&tree));
    references::check_fstab(&tree, &old, &mut refusal);
    let (Some(found), Some(config)) = (found, config) else { return Err(refusal) };

    let Some(stub) = refusal.hold(config.stub(found.btrfs)) else { return Err(refusal) };
    let files = esp::files(&found, &stub);
    let layout = Layout::new(now, &old, esp::len(&files)?)?;
    let mut ops = esp::ops(&layout, &old.seed(), files)?;
    ops.extend([layout.table.clone(), layout.lba0.clone()]);
    let patch = patch(&layout, ops);
    let proof = refusal.hold(proof::of(now, &patch, &old, &config));
    refusal.or_ok()?;
    let notes = notes(&old, &layout, &found, &config, &tree, proof.unwrap_or_default());
    Ok(describe(guest.inspection.guest_name(), &old, patch, notes))
}

/// One reason.
fn no(id: &str, text: impl Into<String>, fix: impl Into<String>) -> Refusal {
    Refusal::one(Direction::ToGen2, id, text, fix)
}

fn unreadable(e: impl std::fmt::Display) -> Refusal {
    no("unreadable", e.to_string(), "")
}

fn notes(
    old: &OldTable,
    layout: &Layout,
    found: &Loaders,
    config: &Config,
    tree: &Tree<'_>,
    proof: Vec<String>,
) -> Vec<String> {
    let mut notes = vec![format!(
        "it starts with empty NVRAM: the firmware finds EFI/BOOT/BOOTX64.EFI on partition {}, the ESP, and GRUB goes on with {} on {}",
        layout.esp_number, config.path, config.place
    )];
    notes.extend(proof);
    let programs = || found.shim.iter().chain([&found.grub]);
    let unsigned: Vec<&str> =
        programs().filter(|p| p.signed == Signed::No).map(|p| p.from.as_str()).collect();
    notes.push(if found.shim.is_none() {
        "the guest has no shim: Secure Boot must be off".to_string()
    } else if unsigned.is_empty() {
        "shim and GRUB carry signatures; whether a firmware with Secure Boot trusts them is not looked at"
            .to_string()
    } else {
        format!("without a signature: {}; Secure Boot must be off", unsigned.join(", "))
    });
    match old {
        OldTable::Mbr { notes: types, .. } => {
            notes.push(
                "partitions keep their numbers (/dev/sda1 stays that), but get ids of their own (PARTUUID); ids of file systems stay"
                    .to_string(),
            );
            notes.push(
                "the result no longer starts under a BIOS: GRUB's core lay where the GPT is now".to_string(),
            );
            notes.extend(types.iter().cloned());
        }
        OldTable::Gpt { .. } => notes.push(
            "the BIOS boot partition and the code in LBA 0 stay: the result still starts under a BIOS, too"
                .to_string(),
        ),
    }
    if !tree.fstab.iter().any(|(_, target)| matches!(target.as_str(), "/boot/efi" | "/efi")) {
        notes.push(format!(
            "the guest does not mount its ESP yet: until `UUID={} /boot/efi vfat umask=0077 0 1` stands in its fstab and its GRUB for UEFI is installed for good, \
             updates of its loader do not reach it",
            references::dashed(ids::volume_id(&old.seed()))
        ));
    }
    notes
}

fn describe(guest: String, old: &OldTable, patch: Patch, notes: Vec<String>) -> Plan {
    let table = match old {
        OldTable::Mbr { .. } => "its MBR becomes a GPT",
        OldTable::Gpt { .. } => "its GPT stays",
    };
    let grown = patch.to.len.get().saturating_sub(patch.from.len.get());
    Plan {
        direction: Direction::ToGen2,
        guest,
        strategy: Strategy::Anew,
        why: format!("there is no capsule, and the disk was never Generation 2: {table}, and an ESP is filled from the guest's own files"),
        patch,
        failback: vec![
            "the disk before this is not touched, and is the way back".to_string(),
            format!(
                "failing over again does not undo this: it puts GRUB beside the GPT, as with every Generation 2 disk, and the {grown} bytes more stay"
            ),
        ],
        notes,
        not_atomic: vec![
            "the two GPT copies are written one after the other, over what the BIOS started; LBA 0 comes last".to_string(),
        ],
        capsule: None,
    }
}
