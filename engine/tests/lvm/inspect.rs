//! An inspection sees through LVM: the system, its loader's menu, its fstab.

use crate::guest_support::{ESP_AT, MIB, ROOT_AT, ROOT_LEN, ROOT_UUID, Spec, gen2, mem_bytes, run};
use crate::real::packed;
use engine::guest::{FsPlace, Inspection, Severity, Starts, inspect, look};
use engine::volume::FsKind;
use engine::volume::lvm::LvKind;
use std::fs;

pub const FIRST_AT: usize = 22 << 20;
pub const SECOND_AT: usize = 42 << 20;
pub const PV_LEN: usize = 20 << 20;
/// Extents of `first.img` and `second.img` begin here and have this length.
pub const START: usize = 1 << 20;
pub const EXTENT: usize = 512 << 10;

pub fn spec() -> Spec {
    let table = ["-d2", "-n2:45056:+20M", "-t2:8e00", "-n3:86016:+20M", "-t3:8e00"];
    Spec {
        len: 64 * MIB,
        options: "root=/dev/mapper/vg0-root ro console=ttyS0,115200".into(),
        fstab: "/dev/vg0/root / ext4 defaults 0 1\n/dev/mapper/vg0-str--iped none swap sw 0 0\n".into(),
        sgdisk: table.map(String::from).to_vec(),
        ..Spec::default()
    }
}

/// A disk whose root file system lies in a logical volume on two partitions, which lvm2 laid out; a swap space in a striped one.
pub fn disk(spec: &Spec) -> Vec<u8> {
    let made = gen2(spec);
    let mut disk = fs::read(&made.path).expect("disk");
    let old = ROOT_AT as usize..(ROOT_AT + ROOT_LEN) as usize;
    // The file system that was made for a partition, as long as the logical volume.
    let root = made.dir.path().join("volume");
    fs::write(&root, &disk[old.clone()]).expect("root");
    disk[old].fill(0);
    let path = root.to_str().expect("utf-8");
    run("e2fsck", &["-fy", path]);
    run("resize2fs", &[path, "7M"]);
    let root = fs::read(&root).expect("root");
    let (mut first, mut second) = (packed(1, "first", START), packed(2, "second", START));
    // two.lvs: eight extents from extent 0 of the first, six from extent 4 of the second.
    first[START..START + 8 * EXTENT].copy_from_slice(&root[..8 * EXTENT]);
    second[START + 4 * EXTENT..START + 10 * EXTENT].copy_from_slice(&root[8 * EXTENT..14 * EXTENT]);
    let swap = START + 8 * EXTENT;
    first[swap..swap + 4096].fill(0);
    first[swap + 4086..swap + 4096].copy_from_slice(b"SWAPSPACE2");
    disk[FIRST_AT..FIRST_AT + PV_LEN].copy_from_slice(&first);
    disk[SECOND_AT..SECOND_AT + PV_LEN].copy_from_slice(&second);
    disk
}

fn root_place() -> FsPlace {
    FsPlace { partition: 2, lv: Some("vg0/root".into()) }
}

#[track_caller]
fn has(i: &Inspection, id: &str, severity: Severity, text: &str) {
    let found = i.finding(id).unwrap_or_else(|| panic!("no {id} in\n{i}"));
    assert_eq!((found.severity, found.text.contains(text)), (severity, true), "{found:?}");
}

#[test]
fn a_system_in_a_logical_volume_is_a_system() {
    let guest = look(&mem_bytes(disk(&spec()))).expect("look");
    let i = &guest.inspection;
    assert_eq!(i.guest_name(), "Test Linux 1 (tiny)");
    let place = i.os.as_ref().and_then(|os| os.place.clone()).expect("a place");
    assert_eq!((&place, place.to_string().as_str()), (&root_place(), "logical volume vg0/root"));
    assert_eq!(i.by_fs_uuid(ROOT_UUID), Some(root_place()));
    assert_eq!(i.menu.as_ref().map(|m| m.place.clone()), Some(root_place()));
    assert!(matches!(i.uefi_start, Starts::Yes { .. }), "{i}");
    assert!(i.findings.is_empty(), "{i}");
    let (root, folder) = guest.root().expect("root");
    assert_eq!((root.kind(), folder), (FsKind::Ext, ""));
    assert_eq!(root.read("/boot/vmlinuz", 100).expect("read"), b"kernel");
    let places: Vec<String> = i.file_systems().map(|(place, fs)| format!("{place}: {}", fs.kind)).collect();
    let wanted = [
        "partition 1: vfat",
        "partition 2: LVM physical volume",
        "partition 3: LVM physical volume",
        "logical volume vg0/root: ext4",
        "logical volume vg0/str-iped: swap",
    ];
    assert_eq!(places, wanted);
    for name in ["/dev/vg0/str-iped", "/dev/mapper/vg0-str--iped"] {
        let lv = i.by_device(name).expect(name);
        assert_eq!((lv.kind, lv.len.get(), &lv.partitions[..]), (LvKind::Striped, 4 * MIB, &[2, 3][..]));
    }
    let report = i.to_string();
    let lines = [
        "logical volumes\n",
        &format!("\n  vg0/root            7 MiB  linear on partitions 2, 3: ext4 {ROOT_UUID} \"root\"\n"),
        "\n  vg0/str-iped        4 MiB  striped on partitions 2, 3: swap\n",
    ];
    assert!(lines.iter().all(|line| report.contains(line)), "{report}");
    let json = serde_json::to_value(i).expect("json");
    let lv = &json["logical_volumes"][0];
    assert_eq!(
        (&lv["group"], &lv["kind"], &lv["fs"]["uuid"]),
        (&"vg0".into(), &"linear".into(), &ROOT_UUID.into())
    );
    assert_eq!(serde_json::from_value::<Inspection>(json).expect("again"), *i);
}

#[test]
fn what_is_missing_is_named_and_not_guessed() {
    let good = disk(&spec());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        inspect(&mem_bytes(bytes)).expect("inspect")
    };
    // The second physical volume is not there: what lies on it is hidden, and nobody says that it does not exist.
    let half = with(&|b| b[SECOND_AT..SECOND_AT + PV_LEN].fill(0));
    has(
        &half,
        "lvm-pv-missing",
        Severity::Warning,
        "The volume group vg0 has physical volumes that are not on this disk",
    );
    has(&half, "grub-root-hidden", Severity::Note, ROOT_UUID);
    assert!(half.os.is_none() && half.blockers().next().is_none(), "{half}");
    assert!(
        half.to_string().contains("vg0/root            7 MiB  linear on partition 2: part of it lies on"),
        "{half}"
    );
    // No label at all where one was: partition 2 holds nothing known, and 3 tells of the group.
    let label = with(&|b| b[FIRST_AT + 600] ^= 1);
    has(
        &label,
        "lvm-unreadable",
        Severity::Warning,
        "partition 2 cannot be read: the CRC of the LVM label at 0x200",
    );
    // Neither label: no group is known, and still nothing is said not to exist.
    let none = with(&|b| [FIRST_AT, SECOND_AT].iter().for_each(|at| b[at + 600] ^= 1));
    assert!(none.logical_volumes.is_empty() && none.blockers().next().is_none(), "{none}");
    has(&none, "grub-root-hidden", Severity::Note, ROOT_UUID);
    // Both texts of the second are damaged, that of the first is not.
    let copy = with(&|b| b[SECOND_AT + 4096 + 512..SECOND_AT + START].iter_mut().for_each(|b| *b ^= 0x20));
    has(
        &copy,
        "lvm-copy-damaged",
        Severity::Warning,
        "A copy of the metadata of the volume group vg0 on partition 3",
    );
    assert_eq!(copy.os.as_ref().and_then(|os| os.place.clone()), Some(root_place()), "{copy}");
    // A file system that cannot be read.
    let broken = with(&|b| b[FIRST_AT + START + 1024 + 0x60..FIRST_AT + START + 4096].fill(0xff));
    has(
        &broken,
        "file-system-unreadable",
        Severity::Warning,
        "The file system on logical volume vg0/root cannot",
    );
    // Without the ESP it is as before.
    let esp = with(&|b| b[ESP_AT as usize..ESP_AT as usize + 512].fill(0));
    assert!(matches!(esp.uefi_start, Starts::No { .. }), "{esp}");
}

#[test]
fn names_of_volumes_that_are_not_there_stand_out() {
    let root = |options: &str| Spec { options: format!("{options} console=ttyS0"), ..spec() };
    let fstab = |source: &str| Spec { fstab: format!("{source} /data ext4 defaults 0 2\n"), ..spec() };
    let blocker =
        Some(("root-lv-unknown", Severity::Blocker, "but this disk has no logical volume vg0/gone."));
    let warning =
        Some(("fstab-lv-unknown", Severity::Warning, "but this disk has no logical volume vg-x/data."));
    let cases = [
        (root("root=/dev/vg0/root"), None),
        (root("root=/dev/mapper/vg0-gone"), blocker),
        (root("root=/dev/vg0/gone"), blocker),
        (fstab("/dev/mapper/vg0-str--iped"), None),
        (fstab("/dev/mapper/vg--x-data"), warning),
        (fstab("/dev/vg-x/data"), warning),
        (fstab("/dev/mapper/cryptdata"), None),
        (fstab("/dev/disk/by-label/x"), None),
    ];
    for (spec, wanted) in cases {
        let i = inspect(&mem_bytes(disk(&spec))).expect("inspect");
        match wanted {
            Some((id, severity, text)) => has(&i, id, severity, text),
            None => assert!(i.findings.is_empty(), "{i}"),
        }
    }
}

#[test]
fn thin_volumes_are_told_and_may_hold_what_is_missing() {
    let spec = Spec { options: "root=/dev/mapper/vg0-root console=ttyS0".into(), ..spec() };
    let mut bytes = disk(&spec);
    bytes[FIRST_AT..FIRST_AT + PV_LEN].copy_from_slice(&packed(4, "kinds", START));
    bytes[SECOND_AT..SECOND_AT + PV_LEN].fill(0);
    let i = inspect(&mem_bytes(bytes)).expect("inspect");
    let thin = i.by_device("/dev/mapper/many--kinds-thin").expect("thin");
    assert_eq!((thin.kind, thin.fs.is_none(), &thin.partitions[..]), (LvKind::Thin, true, &[][..]));
    assert_eq!(thin.problem.as_deref(), Some("thin LVM (thin) is not looked into"));
    assert!(
        i.to_string().contains("many-kinds/thin    100 MiB  thin: thin LVM (thin) is not looked into\n"),
        "{i}"
    );
    has(&i, "grub-root-hidden", Severity::Note, ROOT_UUID);
    // GRUB itself cannot read thin volumes, so what it searches for cannot be found there.
    has(&i, "lvm-thin", Severity::Blocker, "many-kinds/");
}
