//! Which loader the firmware starts, and its menu.

use super::{BootEntry, BootMenu, MenuSource, efistub, grubcfg, sdboot, uki};
use crate::guest::findings::Findings;
use crate::guest::inspect::{Mounted, on};
use crate::guest::os::TEXT_MAX;
use crate::guest::{FsPlace, Inspection, Loader, LoaderKind};
use crate::table::gpt;
use crate::table::guid::Guid;
use crate::volume::Volume;

/// What would start, and out of what it is chosen. The GRUB files of `i` must have been read.
pub(in crate::guest) fn menu(
    i: &Inspection,
    mounted: &[Mounted],
    findings: &mut Findings,
) -> Option<BootMenu> {
    let place = FsPlace::partition(i.esp()?.number);
    let esp = on(mounted, &place)?;
    match starter(i) {
        Some((LoaderKind::Grub | LoaderKind::Shim, _)) => {
            let (stub, menu) = (i.stub.as_ref()?, i.menu.as_ref()?);
            let found = grubcfg::menu(stub, menu, on(mounted, &menu.place)?, &|id| i.by_fs_uuid(id));
            some(found, &menu.path, findings)
        }
        Some((LoaderKind::SystemdBoot, loader)) => {
            let more = i.partitions.iter().filter(|p| p.type_id.parse::<Guid>() == Ok(gpt::TYPE_XBOOTLDR));
            let more = more
                .map(|p| FsPlace::partition(p.number))
                .filter_map(|p| Some((p.clone(), on(mounted, &p)?)));
            let volumes: Vec<(FsPlace, &dyn Volume)> = [(place, esp)].into_iter().chain(more).collect();
            some(sdboot::menu(&volumes), &loader.path, findings)
        }
        Some((LoaderKind::Uki, loader)) => image(esp, &place, &loader.path, findings),
        Some((LoaderKind::Kernel, loader)) => kernel(i, mounted, &loader.path, &place),
        _ => efistub::startup(esp, &place),
    }
}

/// A menu without an entry says why.
fn some(menu: BootMenu, path: &str, findings: &mut Findings) -> Option<BootMenu> {
    if !menu.entries.is_empty() {
        return Some(menu);
    }
    let why = match menu.left_out.as_slice() {
        [] => String::new(),
        some => format!(" ({})", some.join("; ")),
    };
    let text = format!("{path} has no menu entry that could be read{why}.");
    // GRUB's script is a language: what was not read may still be there. Entries of the specification are files.
    if menu.source == MenuSource::GrubCfg {
        findings.warning("grub-menu-empty", text, "Run `update-grub` inside the guest.");
    } else {
        let fix =
            "Reinstall the kernel inside the guest (`kernel-install add`), so that its entry is made again.";
        findings.blocker("boot-entries-missing", text, fix);
    }
    None
}

fn image(esp: &dyn Volume, place: &FsPlace, path: &str, findings: &mut Findings) -> Option<BootMenu> {
    let images = match uki::entries(esp, place, path) {
        Ok(images) => images.unwrap_or_default(),
        Err(why) => {
            let text = format!("The unified kernel image {path} cannot be used: {why}.");
            findings.blocker("uki-unusable", text, "Build it again inside the guest (`kernel-install add`).");
            return None;
        }
    };
    let entries: Vec<BootEntry> = images.into_iter().map(|i| i.entry).collect();
    let why = "it is the image's base profile, and the firmware starts nothing else".to_string();
    Some(BootMenu {
        source: MenuSource::Uki,
        entries,
        default: 0,
        default_why: why,
        left_out: Vec::new(),
        translate: vec!["a unified kernel image is a UEFI program".to_string()],
    })
    .filter(|m| !m.entries.is_empty())
}

fn kernel(i: &Inspection, mounted: &[Mounted], path: &str, place: &FsPlace) -> Option<BootMenu> {
    let os = i.os.as_ref()?;
    let root = on(mounted, os.place.as_ref()?)?;
    let bytes = root.read(&format!("{}/etc/kernel/cmdline", os.root), TEXT_MAX).ok()?;
    let options = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    Some(efistub::alone(
        path,
        &options,
        place,
        "it is the only one; its command line is that of /etc/kernel/cmdline",
    ))
}

/// The kernel that the firmware starts itself, with a command line that somebody knows; `None` when it starts something else.
pub fn kernel_alone(i: &Inspection, cmdline: &str) -> Option<BootMenu> {
    let place = FsPlace::partition(i.esp()?.number);
    let kernel = i.loaders.iter().find(|l| l.is_fallback).or(i.loaders.first());
    let kernel = kernel.filter(|l| l.kind == LoaderKind::Kernel)?;
    let why = "it is the only one; its command line was given";
    Some(efistub::alone(&kernel.path, cmdline, &place, why))
}

/// The program that decides: `BOOTX64.EFI`, or what shim starts behind it. Without one, the only kind of loader there is.
pub(in crate::guest) fn starter(i: &Inspection) -> Option<(LoaderKind, &Loader)> {
    if let Some(first) = i.loaders.iter().find(|l| l.is_fallback) {
        if first.kind != LoaderKind::Shim {
            return Some((first.kind, first));
        }
        // shim starts grubx64.efi of its own folder, whatever that is.
        let folder = first.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let second = i.loaders.iter().find(|l| l.path.eq_ignore_ascii_case(&format!("{folder}/grubx64.efi")));
        return Some(second.map_or((LoaderKind::Grub, first), |l| (l.kind, l)));
    }
    let kinds = [LoaderKind::Grub, LoaderKind::SystemdBoot, LoaderKind::Uki, LoaderKind::Kernel];
    let found = |kind: &LoaderKind| i.loaders.iter().find(|l| l.kind == *kind).map(|l| (*kind, l));
    // A kernel beside a startup.nsh is started by that, with its command line.
    kinds.iter().find_map(found).filter(|(kind, _)| *kind != LoaderKind::Kernel)
}
