//! `drill doctor`: what this host can do.

use super::{Ended, print_json};
use crate::cli::{AccelArg, DoctorArgs};
use crate::world::{host, program, qemu_version};
use drills::verdict::ExitCode;
use qemu::{Cancel, Generation};
use serde::Serialize;

/// Programs, the Debian package each comes in, and what it is for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86", "boots machines"),
    ("qemu-img", "qemu-utils", "makes children"),
    ("qemu-nbd", "qemu-utils", "reads VMDK and qcow2 beyond the plain kind"),
    ("grub-mkimage", "grub-common", "makes the BIOS loader"),
    ("swtpm", "swtpm", "the TPM of a Generation 2 machine"),
    ("sgdisk", "gdisk", "makes sample disks"),
    ("fdisk", "fdisk", "makes the sample disk with 4096-byte sectors"),
    ("mke2fs", "e2fsprogs", "makes sample disks"),
    ("mkfs.vfat", "dosfstools", "makes sample disks"),
    ("mcopy", "mtools", "makes sample disks"),
    ("cpio", "cpio", "makes sample disks"),
    ("mmdebstrap", "mmdebstrap", "makes the full Debian samples"),
];

/// Files, their package, and what they are for.
const FILES: &[(&str, &str, &str)] = &[
    ("/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin", "boot code of a Generation 1 copy"),
    ("/usr/share/seabios/bios-256k.bin", "seabios", "firmware of Generation 1"),
];

#[derive(Serialize)]
struct Line {
    what: String,
    ok: bool,
    required: bool,
    found: String,
    install: Option<String>,
}

/// Say what is installed, which firmware there is, and whether KVM works for each generation.
pub fn doctor(args: &DoctorArgs, cancel: &Cancel) -> Ended {
    let mut lines = Vec::new();
    for (name, package, purpose) in PROGRAMS {
        let found = program(name);
        // Sample disks are a convenience; a drill of one's own image works without them.
        let required = !purpose.contains("sample");
        lines.push(line(
            format!("{name} ({purpose})"),
            found.map(|p| p.display().to_string()),
            package,
            required,
        ));
    }
    for (path, package, purpose) in FILES {
        let found = std::path::Path::new(path).exists().then(|| (*path).to_owned());
        lines.push(line((*purpose).to_owned(), found, package, true));
    }
    if let Ok(host) = host(AccelArg::Auto) {
        lines.push(line("QEMU's version".into(), Some(qemu_version(&host)), "qemu-system-x86", true));
        for (secure, what) in
            [(false, "UEFI firmware"), (true, "UEFI firmware with Secure Boot and Microsoft's keys")]
        {
            let found =
                qemu::firmware::find(&host.firmware_dirs, secure).map(|f| f.code.display().to_string());
            lines.push(line(what.into(), found.ok(), "ovmf", true));
        }
        for (generation, what) in
            [(Generation::Gen1, "KVM for Generation 1"), (Generation::Gen2, "KVM for Generation 2")]
        {
            let (ok, found) = match crate::world::measure_kvm(&host, generation, cancel) {
                Ok(()) => (true, "works: a tiny boot was measured".to_owned()),
                Err(why) => (false, format!("{why}; machines run under TCG")),
            };
            lines.push(Line { what: what.into(), ok, required: false, found, install: None });
        }
    }
    let missing: Vec<&str> = lines.iter().filter(|l| !l.ok).filter_map(|l| l.install.as_deref()).collect();
    let sound = lines.iter().all(|l| l.ok || !l.required);
    if args.json {
        print_json(&serde_json::json!({"ready": sound, "checks": lines}))?;
    } else {
        for l in &lines {
            let mark = if l.ok {
                "ok"
            } else if l.required {
                "MISSING"
            } else {
                "no"
            };
            tell!("{mark:<8} {:<58} {}", l.what, l.found);
        }
        if missing.is_empty() {
            tell!("\nnothing is missing");
        } else {
            let mut packages = missing;
            packages.dedup();
            tell!("\nto install what is missing: apt install {}", packages.join(" "));
        }
    }
    Ok(if sound { ExitCode::Passed } else { ExitCode::Broken })
}

fn line(what: String, found: Option<String>, package: &str, required: bool) -> Line {
    let ok = found.is_some();
    let install = (!ok).then(|| package.to_owned());
    Line {
        what,
        ok,
        required,
        found: found.unwrap_or_else(|| format!("not found: package {package}")),
        install,
    }
}
