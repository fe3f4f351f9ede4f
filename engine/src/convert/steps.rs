//! What GRUB is to do on a converted disk: go on with the guest's own configuration where it can, else offer the guest's menu written out.

use super::plan::{Direction, Refusal};
use crate::boot::{Entry, File, SECTOR, Steps};
use crate::guest::{BootEntry, BootFile, BootMenu, Inspection, Part, Partition, kernel_alone, kernel_words};
use crate::table::gpt;
use crate::table::guid::Guid;

/// Options that decide whether a guest finds its root at all.
const DECIDES: [&str; 4] = ["root=", "rootflags=", "init=", "rd."];

/// The steps, and what a reader should know about them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    pub steps: Steps,
    /// Why so.
    pub reason: String,
    pub notes: Vec<String>,
}

/// What GRUB is to do with this guest.
pub(super) fn choose(i: &Inspection, cmdline: Option<&str>) -> Result<Chosen, Refusal> {
    let alone = cmdline.and_then(|cmdline| kernel_alone(i, cmdline));
    match alone.as_ref().or(i.boot.as_ref()) {
        Some(menu) if !menu.translate.is_empty() => translated(i, menu),
        _ => own(i),
    }
}

fn own(i: &Inspection) -> Result<Chosen, Refusal> {
    let refuse = |id: &str, text: String, fix: &str| Err(Refusal::one(Direction::ToGen1, id, text, fix));
    let Some(stub) = &i.stub else {
        let text = match i.loaders.iter().find(|l| l.is_fallback).or(i.loaders.first()) {
            Some(l) => format!(
                "The guest starts by {} ({}), and how it goes on from there could not be read.",
                l.kind.name(),
                l.path
            ),
            None => "No loader was found on the ESP, and no startup.nsh that starts a kernel.".to_string(),
        };
        return refuse(
            "no-boot-menu",
            text,
            "See the findings of `drill inspect`; a kernel's command line can be given with --cmdline.",
        );
    };
    let Some(esp) = i.esp().and_then(|p| p.fs.as_ref()?.uuid.clone()) else {
        return refuse(
            "esp-no-id",
            "The ESP has no FAT volume id to search for.".into(),
            "Check it with fsck.vfat on a copy.",
        );
    };
    Ok(Chosen {
        steps: Steps::OwnConfig { esp, folder: stub.folder().to_string() },
        reason: format!("find the ESP, go on with {}", stub.path),
        notes: vec![format!("GRUB reads the guest's own {}; kernel and menu are the guest's own", stub.path)],
    })
}

fn translated(i: &Inspection, menu: &BootMenu) -> Result<Chosen, Refusal> {
    let mut notes: Vec<String> =
        menu.translate.iter().map(|why| format!("the menu is written out for GRUB: {why}")).collect();
    let mut entries = Vec::new();
    let mut default = 0;
    for (number, entry) in menu.entries.iter().enumerate() {
        match one(i, entry) {
            Ok((made, changed)) => {
                if number == menu.default {
                    default = entries.len();
                    notes.extend(changed);
                }
                entries.push(made);
            }
            Err(why) if number == menu.default => {
                let text = format!(
                    "The entry {:?} ({}) would start, and cannot be written for GRUB: {why}.",
                    entry.title, entry.origin
                );
                let fix = "Change the entry inside the guest, or make another one the default.";
                return Err(Refusal::one(Direction::ToGen1, "entry-untranslatable", text, fix));
            }
            Err(why) => notes.push(format!("the entry {:?} is left out: {why}", entry.title)),
        }
    }
    notes.extend(
        menu.left_out.iter().map(|what| format!("left out, as the guest's loader leaves it out: {what}")),
    );
    if let Some(entry) = menu.default_entry() {
        notes.push(format!("{:?} starts: {}", entry.title, menu.default_why));
    }
    notes.push("kernels that the guest installs while it is Generation 1 are not in this menu; after failback its own loader shows them".into());
    let reason = format!("a menu of {} entries of {}, written out", entries.len(), menu.source.name());
    Ok(Chosen { steps: Steps::Menu { entries, default }, reason, notes })
}

/// An entry for GRUB, and what was added to it.
fn one(i: &Inspection, entry: &BootEntry) -> Result<(Entry, Vec<String>), String> {
    let fs = i.file_system(&entry.place).ok_or("its file system cannot be read")?;
    let id = fs.uuid.clone().ok_or_else(|| format!("{} has no identifier to search for", entry.place))?;
    let prefix = fs.subvolume.clone().unwrap_or_default();
    let kernel = entry.kernel.as_ref().ok_or("it names no kernel")?;
    let mut added = Vec::new();
    let mut options = Vec::new();
    for word in kernel_words(&entry.options) {
        if let Some(found) = word.changed {
            let text = word.text.clone();
            if DECIDES.iter().any(|key| text.starts_with(key)) {
                return Err(format!(
                    "GRUB would hand the kernel option {text} on with a backslash before {found:?}"
                ));
            }
            added.push(format!("GRUB hands the kernel option {text} on with a backslash before {found:?}"));
        }
        options.push(word.text);
    }
    if !options.iter().any(|w| w.starts_with("root=")) {
        let root = discoverable_root(i)
            .ok_or("its command line names no root, and no partition has the type of one")?;
        added.push(format!(
            "{root} is added to the command line: without UEFI nobody finds the root by its partition's type"
        ));
        options.push(root);
    }
    let file =
        |file: &BootFile| File { path: format!("{prefix}{}", file.path), sectors: file.part.map(sectors) };
    let made = Entry {
        title: entry.title.clone(),
        fs: id,
        kernel: file(kernel),
        initrd: entry.initrd.iter().map(file).collect(),
        options,
    };
    Ok((made, added))
}

/// Sections begin at whole sectors; that was checked when they were found.
fn sectors(part: Part) -> (u64, u64) {
    (part.at / SECTOR, part.len.div_ceil(SECTOR))
}

/// "Do not automatically mount", bit 63 of a partition's attributes. Discoverable Partitions Specification (UAPI.2), "Partition Flags".
const NO_AUTO: u64 = 1 << 63;

/// The partition that systemd would take for the root: the first one of its type that does not forbid it. Discoverable Partitions Specification (UAPI.2).
pub(super) fn discoverable_root(i: &Inspection) -> Option<String> {
    let is_root = |id: &str| id.parse::<Guid>() == Ok(gpt::TYPE_LINUX_ROOT_X86_64);
    let may = |p: &&Partition| p.attributes.is_none_or(|bits| bits & NO_AUTO == 0);
    let root = i.partitions.iter().filter(may).find(|p| is_root(&p.type_id))?;
    Some(format!("root=PARTUUID={}", root.part_uuid.as_deref()?))
}

/// What on the disk depends on the GPT: reasons to keep it.
pub(super) fn leans_on_gpt(i: &Inspection) -> Vec<String> {
    let mut reasons = Vec::new();
    for id in ["root-by-partuuid", "fstab-by-partuuid"] {
        reasons.extend(i.finding(id).map(|f| f.text.clone()));
    }
    let names_no_root =
        i.boot.as_ref().and_then(BootMenu::default_entry).is_some_and(|e| e.option("root").is_none());
    if names_no_root && discoverable_root(i).is_some() {
        reasons.push("The root is found by its partition's type, which an MBR has no room for.".to_string());
    }
    if i.partitions.len() > 4 {
        reasons.push(format!("The disk has {} partitions; an MBR has room for 4.", i.partitions.len()));
    }
    if i.geometry.len.get() / SECTOR > u64::from(u32::MAX) {
        reasons.push("The disk is longer than 2 TiB, which an MBR cannot count.".to_string());
    }
    reasons
}
