//! What an inspection says of a disk, and that it says it of broken ones too.

mod guest_support;

use engine::disk::DiskRef;
use engine::guest::{FsPlace, Inspection, LoaderKind, OsKind, Severity, Starts, TableKind, inspect};
use engine::volume::FsKind;
use guest_support::{ESP_AT, ESP_UUID, ROOT_AT, ROOT_UUID, Spec, gen2, mem_bytes};
use std::fs;

#[track_caller]
fn look(disk: &DiskRef) -> Inspection {
    inspect(disk).expect("inspect")
}

#[track_caller]
fn has(inspection: &Inspection, id: &str, severity: Severity) {
    let found = inspection.finding(id).unwrap_or_else(|| panic!("no {id} in\n{inspection}"));
    assert_eq!(found.severity, severity, "{found:?}");
}

#[test]
fn sees_a_linux_with_grub() {
    let i = look(&gen2(&Spec::default()).disk());
    assert_eq!(i.table.kind, TableKind::Gpt);
    assert_eq!(i.guest_name(), "Test Linux 1 (tiny)");
    assert_eq!(
        i.os.as_ref().map(|os| (os.kind, os.place.clone())),
        Some((OsKind::Linux, Some(FsPlace::partition(2))))
    );
    let esp = i.esp().expect("esp");
    assert_eq!((esp.number, esp.at.get(), esp.type_name.as_str()), (1, ESP_AT, "EFI system partition"));
    assert_eq!(esp.fs.as_ref().and_then(|f| f.uuid.as_deref()), Some(ESP_UUID));
    assert_eq!(i.by_fs_uuid(ROOT_UUID).and_then(|p| i.file_system(&p)).map(|f| f.kind), Some(FsKind::Ext));
    assert_eq!(i.loaders[0].kind, LoaderKind::Shim);
    assert!(i.loaders[0].is_fallback);
    let stub = i.stub.as_ref().expect("stub");
    assert_eq!((stub.folder(), stub.configfile.as_deref()), ("/EFI/debian", Some("/boot/grub/grub.cfg")));
    let entry = i.boot.as_ref().and_then(|m| m.default_entry()).expect("entry");
    assert_eq!(
        (entry.kernel.as_ref().map(|k| k.path.as_str()), entry.initrd.len()),
        (Some("/boot/vmlinuz"), 1)
    );
    assert!(matches!(&i.uefi_start, Starts::Yes { by } if by.contains("BOOTX64.EFI (shim)")), "{i}");
    assert!(matches!(i.bios_start, Starts::No { .. }), "{i}");
    assert!(i.findings.is_empty(), "{i}");
}

#[test]
fn prints_a_report_and_survives_json() {
    let i = look(&gen2(&Spec::default()).disk());
    let text = i.to_string();
    for wanted in [
        "system      Test Linux 1 (tiny)",
        "EFI system partition: vfat ABCD-1234 \"ESP\"",
        "BIOS        does not start",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    let json = serde_json::to_string(&i).expect("json");
    assert_eq!(serde_json::from_str::<Inspection>(&json).expect("again"), i);
}

#[test]
fn names_each_thing_that_is_wrong() {
    let cases: [(Spec, &str, Severity); 7] = [
        (Spec { stub: false, ..Spec::default() }, "esp-grub-cfg-missing", Severity::Blocker),
        (Spec { kernel: "/boot/gone".into(), ..Spec::default() }, "kernel-missing", Severity::Blocker),
        (
            Spec {
                options: "root=UUID=deadbeef-0000-0000-0000-000000000000 console=ttyS0".into(),
                ..Spec::default()
            },
            "root-uuid-unknown",
            Severity::Blocker,
        ),
        (
            Spec { options: format!("root=UUID={ROOT_UUID} ro"), ..Spec::default() },
            "no-serial-console",
            Severity::Warning,
        ),
        (
            Spec { options: "root=/dev/sda2 console=ttyS0".into(), ..Spec::default() },
            "root-by-device-name",
            Severity::Warning,
        ),
        (
            Spec { fstab: "PARTUUID=1 /data ext4 defaults 0 2\n".into(), ..Spec::default() },
            "fstab-by-partuuid",
            Severity::Warning,
        ),
        (
            Spec { fstab: "# c\nUUID=1111-2222 /data vfat defaults 0 2\n".into(), ..Spec::default() },
            "fstab-uuid-unknown",
            Severity::Warning,
        ),
    ];
    for (spec, id, severity) in cases {
        let i = look(&gen2(&spec).disk());
        has(&i, id, severity);
        if severity == Severity::Blocker && id != "root-uuid-unknown" {
            assert!(matches!(i.uefi_start, Starts::No { .. }), "{id}: {i}");
        }
    }
}

#[test]
fn a_broken_disk_can_still_be_looked_at() {
    let made = gen2(&Spec::default());
    let good = fs::read(&made.path).expect("image");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        look(&mem_bytes(bytes))
    };
    let primary = with(&|b| b[512 + 16] ^= 1);
    has(&primary, "gpt-crc-primary", Severity::Blocker);
    assert_eq!(primary.guest_name(), "Test Linux 1 (tiny)", "read through the backup");
    let both = with(&|b| {
        let end = b.len();
        b[512 + 16] ^= 1;
        b[end - 512 + 16] ^= 1;
    });
    has(&both, "gpt-crc-primary", Severity::Blocker);
    has(&both, "gpt-crc-backup", Severity::Blocker);
    let esp = with(&|b| b[ESP_AT as usize..ESP_AT as usize + 512].fill(0));
    assert!(matches!(esp.uefi_start, Starts::No { .. }), "{esp}");
    let root = with(&|b| b[ROOT_AT as usize + 1024..ROOT_AT as usize + 8192].fill(0));
    has(&root, "grub-root-unknown", Severity::Blocker);
    let short = look(&mem_bytes(good[..(ROOT_AT + 4096) as usize].to_vec()));
    has(&short, "gpt-crc-primary", Severity::Blocker);
    assert!(short.to_string().contains("last usable LBA"), "{short}");
    for len in [0, 512, 1024, 4096] {
        has(&look(&mem_bytes(vec![0xff; len])), "no-table", Severity::Blocker);
    }
}
