//! From the firmware to the kernel: which links of the chain are on the disk.

use super::devices::named_by;
use super::findings::Findings;
use super::inspect::{Mounted, on};
use super::os::TEXT_MAX;
use super::{
    BootEntry, BootMenu, FileSystem, FsPlace, GrubMenu, GrubStub, Inspection, LoaderKind, OsKind, Starts,
    fstab, loaders, menu, unsupported,
};
use crate::disk::DiskRef;
use crate::table::mbr::Mbr;
use crate::units::ByteOffset;
use crate::volume::{FsKind, Volume};

pub(super) fn follow(disk: &DiskRef, i: &mut Inspection, mounted: &[Mounted], findings: &mut Findings) {
    let esp = i.esp().and_then(|p| on(mounted, &FsPlace::partition(p.number)));
    if i.esp().is_none() && !i.partitions.is_empty() {
        findings.blocker(
            "no-esp",
            "There is no EFI system partition: this is no Generation 2 disk.",
            "Check that it is the boot disk of the machine.",
        );
    }
    if i.os.as_ref().is_some_and(|os| os.kind == OsKind::Windows) {
        findings.blocker(
            "windows",
            "Windows is installed. It can be recognised, but not converted yet: it needs a real MBR and changes to its boot configuration.",
            "Leave this machine to your recovery service's own test failover.",
        );
    }
    let is_linux = i.os.as_ref().is_none_or(|os| os.kind == OsKind::Linux);
    if let Some(esp) = esp.filter(|_| is_linux) {
        i.stub = stub(esp);
        let by_grub = menu::starter(i).is_some_and(|(kind, _)| kind == LoaderKind::Grub);
        if by_grub && i.stub.is_none() {
            findings.blocker(
                "esp-grub-cfg-missing",
                "GRUB is on the ESP, but no EFI/*/grub.cfg tells it where to go on.",
                "Run `grub-install` and `update-grub` inside the guest.",
            );
        }
        if by_grub {
            i.menu = grub_menu(i, mounted, findings);
        }
        i.boot = menu::menu(i, mounted, findings);
        check_entry(i, mounted, findings);
    }
    check_fstab(i, mounted, findings);
    unsupported::check(disk, i, mounted, findings);
    i.uefi_start = uefi(i, findings);
    i.bios_start = bios(disk, i);
}

/// The `grub.cfg` that GRUB reads: beside its own program; Debian, Ubuntu, Fedora and SUSE each use a folder of their own name.
fn stub(esp: &dyn Volume) -> Option<GrubStub> {
    let mut folders = loaders::folders(esp, "/EFI");
    // The vendor's own folder comes before BOOT, which only holds copies.
    folders.sort_by_key(|f| (f.eq_ignore_ascii_case("/EFI/BOOT"), f.clone()));
    folders.iter().find_map(|folder| {
        let path = format!("{folder}/grub.cfg");
        let bytes = esp.read(&path, TEXT_MAX).ok()?;
        Some(GrubStub::parse(&path, &String::from_utf8_lossy(&bytes)))
    })
}

fn grub_menu(i: &Inspection, mounted: &[Mounted], findings: &mut Findings) -> Option<GrubMenu> {
    let stub = i.stub.as_ref()?;
    let esp = i.esp()?;
    let esp = FsPlace::partition(esp.number);
    let (place, path) = match (&stub.search, &stub.configfile) {
        _ if stub.has_menu => (esp, stub.path.clone()),
        (Some(id), Some(path)) => match i.by_fs_uuid(id) {
            Some(place) => (place, path.clone()),
            None => {
                let text =
                    format!("{} searches for the file system {id}, which is not on this disk.", stub.path);
                if has_containers(i) {
                    let fix = "It may lie inside what is not looked into: LUKS, RAID, or a logical volume of another kind than linear and striped.";
                    findings.note("grub-root-hidden", text, fix);
                } else {
                    findings.blocker(
                        "grub-root-unknown",
                        text,
                        "Run `grub-install` inside the guest, or attach the disk it means.",
                    );
                }
                return None;
            }
        },
        (None, Some(path)) => (esp, path.clone()),
        (_, None) => {
            let text = format!("{} names no further configuration file.", stub.path);
            findings.warning(
                "grub-stub-unknown",
                text,
                "The guest may still start; nothing behind it could be checked.",
            );
            return None;
        }
    };
    let volume = on(mounted, &place)?;
    match volume.read(&path, TEXT_MAX) {
        Ok(bytes) => Some(GrubMenu::parse(&path, place, &String::from_utf8_lossy(&bytes))),
        Err(e) => {
            let text = format!("{} leads to {path} on {place}, which cannot be read: {e}.", stub.path);
            findings.blocker("grub-cfg-missing", text, "Run `update-grub` inside the guest.");
            None
        }
    }
}

fn check_entry(i: &Inspection, mounted: &[Mounted], findings: &mut Findings) {
    let Some(entry) = i.boot.as_ref().and_then(BootMenu::default_entry) else { return };
    let place = &entry.place;
    if let Some(volume) = on(mounted, place) {
        let is_there = |path: &str| path.contains('$') || volume.exists(path).unwrap_or(true);
        if let Some(kernel) = entry.kernel.as_ref().map(|k| &k.path).filter(|k| !is_there(k)) {
            let text = format!("The menu entry {:?} starts {kernel}, which is not on {place}.", entry.title);
            findings.blocker("kernel-missing", text, "Run `update-grub` inside the guest.");
        }
        for initrd in entry.initrd.iter().map(|i| &i.path).filter(|p| !is_there(p)) {
            let text = format!("The menu entry {:?} loads {initrd}, which is not on {place}.", entry.title);
            findings.blocker(
                "initrd-missing",
                text,
                "Run `update-initramfs -u` and `update-grub` inside the guest.",
            );
        }
    }
    check_root(i, entry, findings);
    if !entry.has_serial_console() {
        findings.warning(
            "no-serial-console",
            "The kernel command line has no console=ttyS0: a drill sees the boot on the screen only.",
            "Add `console=tty0 console=ttyS0,115200` to GRUB_CMDLINE_LINUX.",
        );
    }
}

fn check_root(i: &Inspection, entry: &BootEntry, findings: &mut Findings) {
    let Some(root) = entry.option("root") else { return };
    if let Some(id) = root.strip_prefix("UUID=") {
        if i.by_fs_uuid(id).is_none() && !has_containers(i) {
            let text =
                format!("The kernel is told root={root}, but no file system on this disk has that id.");
            findings.blocker(
                "root-uuid-unknown",
                text,
                "Run `update-grub` inside the guest, or attach the disk it means.",
            );
        }
    } else if root.starts_with("PARTUUID=") {
        findings.warning(
            "root-by-partuuid",
            format!("The kernel is told root={root}: the id of the partition changes when the table becomes an MBR."),
            "Keep the GPT (the default), or use root=UUID= in the guest.",
        );
    } else if root.starts_with("/dev/sd") || root.starts_with("/dev/vd") || root.starts_with("/dev/hd") {
        findings.warning(
            "root-by-device-name",
            format!(
                "The kernel is told root={root}: such names depend on the controller and the order of disks."
            ),
            "Use root=UUID= in the guest.",
        );
    } else if let Some(text) = unknown_volume(i, root) {
        findings.blocker(
            "root-lv-unknown",
            format!("The kernel is told root={root}, but {text}."),
            "Run `update-grub` inside the guest, or attach the disk it means.",
        );
    }
}

/// Says that a device name means a logical volume which is not there, and cannot be in what is not looked into.
fn unknown_volume(i: &Inspection, device: &str) -> Option<String> {
    let (group, name) = named_by(device)?;
    let hidden = has_containers(i) || i.by_device(device).is_some();
    (!hidden).then(|| format!("this disk has no logical volume {group}/{name}"))
}

/// Whether something on the disk is not looked into, so that what is missing may lie in there.
fn has_containers(i: &Inspection) -> bool {
    let hides = |fs: &FileSystem| match fs.kind {
        FsKind::Luks | FsKind::Raid => true,
        FsKind::Lvm => fs.problem.is_some(),
        _ => false,
    };
    i.file_systems().any(|(_, fs)| hides(fs)) || i.logical_volumes.iter().any(|lv| lv.problem.is_some())
}

fn check_fstab(i: &Inspection, mounted: &[Mounted], findings: &mut Findings) {
    let Some((os, place)) = i.os.as_ref().and_then(|os| Some((os, os.place.as_ref()?))) else { return };
    let Some(volume) = on(mounted, place) else { return };
    let Ok(bytes) = volume.read(&format!("{}/etc/fstab", os.root), TEXT_MAX) else { return };
    for mount in fstab::parse(&String::from_utf8_lossy(&bytes)) {
        if mount.source.starts_with("PARTUUID=") {
            findings.warning(
                "fstab-by-partuuid",
                format!(
                    "/etc/fstab mounts {} by {}, which changes when the table becomes an MBR.",
                    mount.target, mount.source
                ),
                "Keep the GPT (the default), or use UUID= in the guest.",
            );
        } else if let Some(id) = mount.source.strip_prefix("UUID=")
            && i.by_fs_uuid(id).is_none()
            && !has_containers(i)
        {
            findings.warning(
                "fstab-uuid-unknown",
                format!("/etc/fstab mounts {} by {}, which is not on this disk.", mount.target, mount.source),
                "Add `nofail`, or drill the disks together.",
            );
        } else if let Some(text) = unknown_volume(i, &mount.source) {
            findings.warning(
                "fstab-lv-unknown",
                format!("/etc/fstab mounts {} by {}, but {text}.", mount.target, mount.source),
                "Add `nofail`, or drill the disks together.",
            );
        }
    }
}

fn uefi(i: &Inspection, findings: &mut Findings) -> Starts {
    let no = |why: &str| Starts::No { why: why.to_string() };
    if i.esp().is_none() {
        return no("there is no EFI system partition");
    }
    let Some(first) = i.loaders.iter().find(|l| l.is_fallback) else {
        if i.loaders.is_empty() {
            findings.blocker(
                "no-loader",
                "There is no EFI program on the ESP.",
                "Run `grub-install` inside the guest.",
            );
            return no("there is no EFI program on the ESP");
        }
        findings.warning(
            "no-fallback-loader",
            "EFI/BOOT/BOOTX64.EFI is missing: the disk starts only where a boot entry is stored in the firmware.",
            "Run `grub-install --force-extra-removable` inside the guest (Debian: dpkg-reconfigure grub-efi-amd64).",
        );
        return Starts::Unknown {
            why: "no EFI/BOOT/BOOTX64.EFI; boot entries in the firmware are not on the disk".into(),
        };
    };
    let broken = [
        "grub-cfg-missing",
        "kernel-missing",
        "initrd-missing",
        "esp-grub-cfg-missing",
        "grub-root-unknown",
        "boot-entries-missing",
        "uki-unusable",
    ];
    let first_name = format!("{} ({})", first.path.trim_start_matches('/'), first.kind.name());
    if let Some(why) = broken.iter().find_map(|id| findings.text_of(id)) {
        return Starts::No { why };
    }
    let then = i.boot.as_ref().and_then(BootMenu::default_entry);
    match (first.kind, then) {
        (LoaderKind::Other, _) => {
            Starts::Unknown { why: format!("{first_name} is no loader that is known here") }
        }
        (_, None) => Starts::Unknown {
            why: format!("{first_name} is there; the configuration behind it could not be followed"),
        },
        (_, Some(entry)) => {
            let kernel = entry.kernel.as_ref().map_or("what its entry names", |k| k.path.as_str());
            // A unified kernel image names itself, once.
            let named = entry.origin == first.path || entry.origin == kernel;
            let origin = if named { String::new() } else { format!("{} and ", entry.origin) };
            Starts::Yes { by: format!("{first_name}, then {origin}{kernel}") }
        }
    }
}

/// Code at LBA 0 is necessary, not sufficient: nobody can tell from the bytes what it does, unless it is GRUB's.
fn bios(disk: &DiskRef, i: &Inspection) -> Starts {
    let Ok(mbr) = Mbr::parse(disk.as_ref()) else {
        return Starts::No { why: "LBA 0 cannot be read".into() };
    };
    if !mbr.has_signature || !mbr.has_boot_code() {
        return Starts::No { why: "LBA 0 holds no boot code".into() };
    }
    let Some(core) = grub_core(&mbr) else {
        return Starts::Unknown { why: "LBA 0 holds boot code that is not GRUB's".into() };
    };
    let mut sector = [0; 512];
    let at = core.checked_mul(512).map(ByteOffset);
    // The last bytes of core.img's first sector name the segment that GRUB is loaded to, 0x820.
    let is_core =
        at.is_some_and(|at| disk.read_at(at, &mut sector).is_ok()) && sector[0x1fe..] == [0x20, 0x08];
    if !is_core {
        return Starts::No {
            why: format!("GRUB's boot code at LBA 0 expects its core at LBA {core}, which is not there"),
        };
    }
    let then = i.menu.as_ref().map(|m| format!(", then {}", m.path)).unwrap_or_default();
    Starts::Yes { by: format!("GRUB's boot code at LBA 0, its core at LBA {core}{then}") }
}

/// Where GRUB's boot.img at LBA 0 expects core.img, or `None` for other code. GRUB 2.06 `boot.S`: the words it prints.
fn grub_core(mbr: &Mbr) -> Option<u64> {
    let has = |text: &[u8]| mbr.boot_code.windows(text.len()).any(|w| w == text);
    let is_grub = has(b"GRUB ") && has(b"Geom\0Hard Disk\0Read\0 Error");
    is_grub.then(|| mbr.boot_code.get(0x5c..)?.first_chunk().map(|b| u64::from_le_bytes(*b))).flatten()
}
