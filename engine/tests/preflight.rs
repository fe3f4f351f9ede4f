//! Each rule with a disk that trips it and one that does not, by their exact texts; the verdict "ready for Azure"; the document.

mod guest_support;

use engine::container::{ContainerInfo, Format, Layout, OutFormat};
use engine::guest::{FileSystem, Finding, Guest, Os, OsKind, Partition, Severity, look};
use engine::preflight::{
    Certainty, Check, Facts, Found, NAMES, PROFILES, ProfileId, Readiness, Subject, azure_ready, check,
    document, profile, rule,
};
use engine::table::gpt::{TYPE_ESP, TYPE_LINUX_SWAP, TYPE_MICROSOFT_RESERVED};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use engine::volume::FsKind;
use guest_support::{ROOT_UUID, Spec, bytes_of, gen2, initramfs, kernel, mem_bytes};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

const GIB: u64 = 1 << 30;
const LDM_DATA: &str = "AF9B60A0-1431-4F62-BC68-3311714A69AD";
const STORAGE_SPACES: &str = "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D";
const BASIC: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";

/// What a rule is asked about.
struct Case {
    guest: Guest,
    container: Option<ContainerInfo>,
    result: Option<OutFormat>,
}

impl Case {
    fn of(guest: Guest) -> Case {
        Case { guest, container: None, result: None }
    }

    fn with(mut self, change: impl FnOnce(&mut Case)) -> Case {
        change(&mut self);
        self
    }

    fn facts(&self) -> Facts<'_> {
        let (guest, container, result) = (&self.guest, self.container.as_ref(), self.result);
        Facts::of(Subject { guest, container, result })
    }

    /// What the rule of this name finds.
    fn asks(&self, name: &str) -> Vec<Found> {
        let profile = PROFILES.iter().find(|p| p.rules.iter().any(|r| r.id == name)).expect("a rule");
        check(profile.id, &self.facts()).findings.into_iter().filter(|f| f.rule == name).collect()
    }
}

/// A sound Linux that is prepared for Azure.
fn linux() -> Case {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| bytes_of(&linux_with(&[]).guest.disk));
    Case::of(look(&mem_bytes(bytes.clone())).expect("a guest"))
}

fn linux_with(more: &[(&str, &str)]) -> Case {
    let more = more.iter().map(|(path, text)| (*path, text.as_bytes().to_vec()));
    prepared(|_| {}, more.collect())
}

const HYPERV: [&str; 3] = [
    "lib/modules/6.1/kernel/drivers/hv/hv_vmbus.ko",
    "lib/modules/6.1/kernel/drivers/scsi/hv_storvsc.ko",
    "lib/modules/6.1/kernel/drivers/net/hyperv/hv_netvsc.ko",
];
const OPTIONS: &str = "ro console=ttyS0,115200 rootdelay=300";

fn prepared(change: impl FnOnce(&mut Spec), more: Vec<(&str, Vec<u8>)>) -> Case {
    let mut files = vec![
        ("boot/vmlinuz", kernel("6.1")),
        ("boot/initrd.img", initramfs("gzip -n", &HYPERV)),
        ("usr/lib/modules/6.1/modules.builtin", Vec::new()),
        ("usr/lib/modules/6.1/modules.dep", Vec::new()),
        ("usr/bin/cloud-init", b"#!".to_vec()),
    ];
    files.extend(more);
    let root_files = files.into_iter().map(|(path, content)| (path.to_string(), content)).collect();
    let mut spec =
        Spec { root_files, options: format!("root=UUID={ROOT_UUID} {OPTIONS}"), ..Spec::default() };
    change(&mut spec);
    Case::of(look(&gen2(&spec).disk()).expect("a guest"))
}

/// Windows, as far as the rules see it: the partitions of an ordinary installation.
fn windows() -> Case {
    linux().with(|case| {
        let i = &mut case.guest.inspection;
        i.os = Some(Os {
            kind: OsKind::Windows,
            pretty: "Windows".into(),
            id: None,
            place: None,
            root: String::new(),
        });
        i.loaders.clear();
        i.partitions = vec![
            part(1, &TYPE_ESP.to_string(), Some(FsKind::Fat)),
            part(2, &TYPE_MICROSOFT_RESERVED.to_string(), None),
            part(3, BASIC, Some(FsKind::Ntfs)),
        ];
    })
}

fn part(number: u32, type_id: &str, fs: Option<FsKind>) -> Partition {
    let of =
        |kind| FileSystem { kind, uuid: None, label: None, subvolume: None, journal: None, problem: None };
    Partition {
        number,
        type_id: type_id.to_string(),
        type_name: String::new(),
        name: None,
        part_uuid: None,
        at: ByteOffset(u64::from(number) << 20),
        len: ByteLen(1 << 20),
        active: false,
        attributes: None,
        is_esp: type_id == TYPE_ESP.to_string(),
        fs: fs.map(of),
    }
}

fn len(case: Case, bytes: u64) -> Case {
    case.with(|c| c.guest.inspection.geometry.len = ByteLen(bytes))
}

fn plus(case: Case, partitions: Vec<Partition>) -> Case {
    case.with(|c| c.guest.inspection.partitions.extend(partitions))
}

fn container(case: Case, format: Format, physical: Option<SectorSize>) -> Case {
    case.with(|c| {
        let mut info = ContainerInfo::new(format, Layout::Dynamic, c.guest.inspection.geometry, 1 << 20);
        info.physical_sector = physical;
        c.container = Some(info);
    })
}

fn sectors_4096(case: Case) -> Case {
    case.with(|c| c.guest.inspection.geometry.sector = SectorSize::B4096)
}

/// A rule, a disk that it lets pass, one that trips it, and what it then says behind its own text.
type Row = (&'static str, Case, Case, &'static str);

fn rows() -> Vec<Row> {
    let basic = |n| part(n, BASIC, Some(FsKind::Ntfs));
    let with_more = |more: u32| plus(windows(), (0..more).map(|n| basic(4 + n)).collect());
    let dynamic = || plus(windows(), vec![part(4, LDM_DATA, None), part(5, LDM_DATA, None)]);
    let locked = || plus(windows(), vec![part(4, BASIC, Some(FsKind::BitLocker))]);
    let lvm = || plus(linux(), vec![part(4, BASIC, Some(FsKind::Lvm))]);
    let found_dynamic = "Found: dynamic disk data on partitions 4, 5.";
    let locked_found = "Found: encryption on partition 4.";
    vec![
        ("asr-2015/linux-gen2", windows(), linux(), "Found: Test Linux 1 (tiny)."),
        (
            "asr-2015/os-disk-300gb",
            len(windows(), 299 * 1_000_000_000),
            len(windows(), 300 * GIB),
            "Found: 300 GiB.",
        ),
        (
            "asr-2015/os-disk-1023gb",
            len(windows(), 999 * GIB / 2),
            len(windows(), 1024 * GIB),
            "Found: 1 TiB.",
        ),
        ("asr-2015/os-disk-basic", windows(), dynamic(), found_dynamic),
        ("asr-2015/data-volumes", with_more(1), with_more(3), "Found: 4 basic data partitions."),
        (
            "asr-2015/vhdx",
            container(windows(), Format::Vhdx, None),
            container(windows(), Format::Qcow2, None),
            "Found: qcow2, perhaps made from one.",
        ),
        ("asr-hyperv-2020/linux-gen2", windows(), linux(), "Found: Test Linux 1 (tiny)."),
        ("asr-hyperv-2020/os-disk-partitions", with_more(2), with_more(3), "Found: 6 partitions."),
        (
            "asr-hyperv-2020/os-disk-300gb",
            len(windows(), 299 * 1_000_000_000),
            len(windows(), 300 * GIB + 1),
            "Found: 300.0 GiB.",
        ),
        ("asr-hyperv-2020/os-disk-basic", windows(), dynamic(), found_dynamic),
        ("asr-hyperv-2020/data-volumes", with_more(1), with_more(3), "Found: 4 basic data partitions."),
        ("asr-hyperv-2020/encrypted", windows(), locked(), locked_found),
        (
            "asr-hyperv-2020/sectors-4kn",
            container(sectors_4096(windows()), Format::Vhdx, Some(SectorSize::B512)),
            container(sectors_4096(windows()), Format::Vhdx, Some(SectorSize::B4096)),
            "Found: 4096 bytes, logical and physical.",
        ),
        (
            "asr-hyperv-2020/storage-spaces",
            windows(),
            plus(windows(), vec![part(4, STORAGE_SPACES, None)]),
            "Found: Storage Spaces on partition 4.",
        ),
        ("asr-hyperv-2020/lvm", linux(), lvm(), "Found: LVM on partition 4."),
        ("asr-vmware-2019/os-disk-partitions", with_more(1), with_more(2), "Found: 5 partitions."),
        ("asr-vmware-2019/volumes-ntfs", windows(), linux(), "Found: ext4 on partition 2."),
        (
            "asr-vmware-2019/os-disk-2048gb",
            len(windows(), 2047 * 1_000_000_000),
            len(windows(), 2049 * GIB),
            "Found: 2.0 TiB.",
        ),
        ("asr-vmware-2019/encrypted", windows(), locked(), locked_found),
        (
            "azure-gen1/fixed-vhd",
            linux().with(|c| c.result = Some(OutFormat::FixedVhd)),
            linux().with(|c| c.result = Some(OutFormat::DynamicVhdx)),
            "Found: a dynamic VHDX.",
        ),
        ("azure-gen1/sectors-512", linux(), sectors_4096(linux()), "Found: 4096 bytes."),
        (
            "azure-gen1/whole-mib",
            linux(),
            len(linux(), (24 << 20) + 512),
            "Found: 25166336 bytes, which become 26214400 bytes (1048064 more, at the end).",
        ),
        ("azure-gen1/upload-20mib", len(linux(), (19 << 20) + 1), len(linux(), 19 << 20), "Found: 19 MiB."),
        (
            "azure-gen1/os-disk-2tb",
            len(linux(), 1999 * 1_000_000_000),
            len(linux(), 2049 * GIB),
            "Found: 2.0 TiB.",
        ),
        ("azure-gen1/os-disk-1023gb", len(linux(), 1000 * GIB), len(linux(), 1024 * GIB), "Found: 1 TiB."),
        (
            "azure-gen1/partitions",
            linux(),
            linux().with(|c| c.guest.inspection.partitions.clear()),
            "Found: no partition.",
        ),
        (
            "azure-gen1/hv-vmbus",
            linux(),
            prepared(|_| {}, vec![("boot/initrd.img", initramfs("xz --check=crc32 -c", &HYPERV[1..]))]),
            "Found: \"Test Linux\" (6.1) has hv_vmbus neither built in nor in /boot/initrd.img.",
        ),
        (
            "azure-gen1/hv-storvsc",
            prepared(
                |_| {},
                vec![
                    ("boot/initrd.img", initramfs("zstd -q -c", &[])),
                    ("usr/lib/modules/6.1/modules.builtin", b"kernel/drivers/scsi/hv_storvsc.ko\n".to_vec()),
                ],
            ),
            // The default entry has it, the other kernel's initramfs has not.
            prepared(
                |_| {},
                vec![
                    ("boot/vmlinuz-5.10", kernel("5.10")),
                    ("boot/initrd.img-5.10", initramfs("lz4 -q -l -c", &[])),
                    ("usr/lib/modules/5.10/modules.builtin", Vec::new()),
                ],
            ),
            "Found: \"/boot/initrd.img-5.10\" (5.10) has hv_storvsc neither built in nor in /boot/initrd.img-5.10.",
        ),
        (
            "azure-gen1/hv-netvsc",
            prepared(
                |_| {},
                vec![
                    ("boot/initrd.img", initramfs("cat", &HYPERV[..2])),
                    (
                        "usr/lib/modules/6.1/modules.dep",
                        b"kernel/drivers/net/hyperv/hv_netvsc.ko.xz:\n".to_vec(),
                    ),
                ],
            ),
            prepared(|_| {}, vec![("boot/initrd.img", initramfs("cat", &HYPERV[..2]))]),
            "Found: \"Test Linux\" (6.1) has hv_netvsc neither built in nor in /boot/initrd.img nor on its root file system.",
        ),
        (
            "azure-gen1/hv-netvsc-initramfs",
            linux(),
            prepared(|_| {}, vec![("boot/initrd.img", initramfs("cat", &HYPERV[..2]))]),
            "Found: \"Test Linux\" (6.1) has hv_netvsc neither built in nor in /boot/initrd.img.",
        ),
        (
            "azure-gen1/serial-console",
            linux(),
            prepared(|s| s.options = format!("root=UUID={ROOT_UUID} console=tty0"), Vec::new()),
            "Found: the entry \"Test Linux\".",
        ),
        (
            "azure-gen1/rootdelay",
            linux(),
            prepared(|s| s.options = format!("root=UUID={ROOT_UUID} console=ttyS0"), Vec::new()),
            "Found: the entry \"Test Linux\".",
        ),
        (
            "azure-gen1/quiet",
            linux(),
            prepared(
                |s| s.options = format!("root=UUID={ROOT_UUID} rhgb quiet crashkernel=256M"),
                Vec::new(),
            ),
            "Found: the entry \"Test Linux\" (rhgb quiet).",
        ),
        (
            "azure-gen1/swap",
            linux(),
            plus(linux(), vec![part(3, &TYPE_LINUX_SWAP.to_string(), None)]),
            "Found: partition 3.",
        ),
        (
            "azure-gen1/mac-names",
            linux_with(&[("etc/netplan/01.yaml", "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n")]),
            linux_with(&[(
                "etc/udev/rules.d/70-persistent-net.rules",
                "SUBSYSTEM==\"net\", ATTR{address}==\"00:15:5d:01:02:03\", NAME=\"eth0\"\n",
            )]),
            "Found: /etc/udev/rules.d/70-persistent-net.rules names interfaces by MAC address.",
        ),
        (
            "azure-gen1/static-address",
            linux_with(&[("etc/network/interfaces", "iface eth0 inet dhcp\n")]),
            linux_with(&[("etc/network/interfaces", "iface eth0 inet static\n")]),
            "Found: /etc/network/interfaces: eth0 is inet static.",
        ),
        ("azure-gen1/lvm", linux(), lvm(), "Found: LVM on partition 4."),
        (
            "azure-gen1/agent",
            linux(),
            Case::of(look(&gen2(&Spec::default()).disk()).expect("a guest")),
            "Found: neither waagent nor cloud-init.",
        ),
    ]
}

#[test]
fn each_rule_trips_on_one_disk_and_lets_another_pass() {
    let rows = rows();
    for (name, passes, trips, says) in &rows {
        let row = rule(name).expect("a rule");
        let found = passes.asks(name);
        assert!(found.is_empty(), "{name} must not trip: {found:?}");
        let found = trips.asks(name);
        let [one] = found.as_slice() else { panic!("{name} must trip once: {found:?}") };
        assert_eq!(one.text, format!("{} {says}", row.text), "{name}");
        assert_eq!(
            (one.severity, one.certainty, one.fix.as_str()),
            (row.severity, Certainty::Certain, row.fix),
            "{name}"
        );
        assert_eq!(one.source, format!("{}, {}", row.source.what, row.source.date));
    }
    // Every rule is in the table; what cannot trip here says how it is asked instead.
    let tested: BTreeSet<&str> = rows.iter().map(|row| row.0).collect();
    for row in PROFILES.iter().flat_map(|p| p.rules).filter(|row| !tested.contains(row.id)) {
        match row.check {
            // By the next test.
            Check::Finding(_) => {}
            // By the tests of the planner.
            Check::Planner => {}
            // Never certain: `what_a_source_or_the_disk_leaves_open_is_unclear_and_refuses_nothing`.
            Check::WindowsBefore2012 => {}
            other => panic!("{} ({other:?}) has no row", row.id),
        }
    }
}

#[test]
fn what_an_inspection_finds_is_told_under_the_profile_lab() {
    let mut case = linux();
    let mut asked = 0;
    for row in profile(ProfileId::Lab).rules {
        let Check::Finding(id) = row.check else { continue };
        asked += 1;
        assert!(case.asks(row.id).is_empty(), "{id}");
        let (text, fix) = ("Its own words.".to_string(), "Its own fix.".to_string());
        case.guest.inspection.findings.push(Finding { id: id.into(), severity: row.severity, text, fix });
        let found = case.asks(row.id);
        let [one] = found.as_slice() else { panic!("{id}: {found:?}") };
        let told = (one.text.as_str(), one.fix.as_str(), one.severity);
        assert_eq!(told, ("Its own words.", "Its own fix.", row.severity), "{id}");
        case.guest.inspection.findings.clear();
    }
    assert!(asked > 20, "{asked}");
    // A finding that no row names is shown all the same.
    let finding =
        Finding { id: "new".into(), severity: Severity::Blocker, text: "New.".into(), fix: String::new() };
    case.guest.inspection.findings.push(finding);
    let found = check(ProfileId::Lab, &case.facts());
    assert_eq!(found.blockers().map(|f| f.rule.as_str()).collect::<Vec<_>>(), ["lab/new"]);
}

/// A rule, a case of which it cannot tell, and why.
#[test]
fn what_a_source_or_the_disk_leaves_open_is_unclear_and_refuses_nothing() {
    let basic = |n| part(n, BASIC, Some(FsKind::Ntfs));
    let gb = |n: u64| n * 1_000_000_000;
    let open = "and no source says whether a GB is 10^9 or 2^30 bytes";
    let broken = prepared(|_| {}, vec![("boot/initrd.img", b"070701".to_vec())]);
    let unread = "\"Test Linux\" (6.1): /boot/initrd.img on partition 2 is read up to 0x0 only: it ends in the middle of an entry";
    let no_root = || linux().with(|c| c.guest.inspection.os = None);
    let cases: Vec<(&str, Case, String)> = vec![
        ("asr-hyperv-2020/windows-2012", windows(), "the version of Windows is not read".into()),
        ("asr-2015/os-disk-300gb", len(windows(), gb(300)), format!("300000000000 bytes, {open}")),
        ("asr-hyperv-2020/os-disk-300gb", len(windows(), 300 * GIB), format!("322122547200 bytes, {open}")),
        ("azure-gen1/os-disk-2tb", len(linux(), 2 << 40), format!("2199023255552 bytes, {open}")),
        (
            "asr-2015/data-volumes",
            plus(windows(), vec![basic(4), basic(5)]),
            "3 basic data partitions, and no source says whether the one of Windows counts among them".into(),
        ),
        (
            "asr-vmware-2019/volumes-ntfs",
            plus(windows(), vec![part(4, BASIC, None)]),
            "no file system was recognised on partition 4".into(),
        ),
        ("azure-gen1/hv-vmbus", broken, unread.into()),
        (
            "azure-gen1/hv-vmbus",
            linux().with(|c| c.guest.inspection.boot = None),
            "no boot entry was found that could be looked into".into(),
        ),
        ("azure-gen1/agent", no_root(), "there is no root file system that could be read".into()),
        (
            "azure-gen1/mac-names",
            no_root(),
            "there is no root file system whose network configuration could be read".into(),
        ),
    ];
    for (name, case, why) in cases {
        let row = rule(name).expect("a rule");
        let found = case.asks(name);
        let [one] = found.as_slice() else { panic!("{name}: {found:?}") };
        assert_eq!(one.text, format!("{} Not clear: {why}.", row.text), "{name}");
        assert_eq!(one.certainty, Certainty::Unclear, "{name}");
        assert_ne!(one.severity, Severity::Blocker, "{name}");
    }
}

#[test]
fn all_findings_of_a_profile_come_at_once_worst_first() {
    let many = plus(len(linux(), 2100 * GIB), (3..8).map(|n| part(n, LDM_DATA, None)).collect());
    let found = check(ProfileId::AsrHyperV2020, &many.facts());
    let rules: Vec<&str> = found.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            "asr-hyperv-2020/linux-gen2",
            "asr-hyperv-2020/os-disk-partitions",
            "asr-hyperv-2020/os-disk-300gb",
            "asr-hyperv-2020/os-disk-basic"
        ]
    );
    assert_eq!(found.blockers().count(), 4);
    let word = found.whose_word().expect("a service's profile");
    assert!(
        word.contains("documented envelope") && word.contains("2020-01-27") && word.contains("lab"),
        "{word}"
    );
    assert_eq!(check(ProfileId::Lab, &linux().facts()).whose_word(), None);
    // Worst first, and as data again.
    let warned = check(ProfileId::AzureGen1, &prepared(|s| s.options = "quiet".into(), Vec::new()).facts());
    let severities: Vec<Severity> = warned.findings.iter().map(|f| f.severity).collect();
    assert!(severities.is_sorted() && severities.len() > 2, "{severities:?}");
    let json = serde_json::to_string(&warned).expect("JSON");
    assert_eq!(serde_json::from_str::<engine::preflight::Preflight>(&json).expect("again"), warned);
}

#[test]
fn ready_for_azure_is_ready_not_ready_with_reasons_or_unknown() {
    let ready = azure_ready(&linux().facts());
    assert_eq!((&ready.verdict, &ready.advice), (&Readiness::Ready, &Vec::new()), "{ready}");
    assert_eq!(ready.line(), "ready (by its bytes; not booted there)");
    // What is only advised does not decide.
    let advised =
        azure_ready(&prepared(|s| s.options = format!("root=UUID={ROOT_UUID} ro"), Vec::new()).facts());
    assert_eq!(advised.verdict, Readiness::Ready, "{advised}");
    assert_eq!(
        advised.line(),
        "ready (by its bytes; not booted there); Azure's documentation also asks for: azure-gen1/serial-console, azure-gen1/rootdelay"
    );
    let not = prepared(
        |_| {},
        vec![
            ("boot/initrd.img", initramfs("xz -c", &[])),
            ("etc/network/interfaces", b"iface eth0 inet static\n".to_vec()),
        ],
    );
    let not = azure_ready(&not.facts());
    let Readiness::NotReady { reasons } = &not.verdict else { panic!("{not}") };
    let rules: Vec<&str> = reasons.iter().map(|r| r.rule.as_str()).collect();
    assert_eq!(
        rules,
        ["azure-gen1/hv-vmbus", "azure-gen1/hv-storvsc", "azure-gen1/hv-netvsc", "azure-gen1/static-address"]
    );
    // Never guessed: an initramfs that cannot be unpacked is none without drivers.
    let broken = azure_ready(&prepared(|_| {}, vec![("boot/initrd.img", b"BZh91AY".to_vec())]).facts());
    let Readiness::Unknown { why } = &broken.verdict else { panic!("{broken}") };
    assert_eq!(
        why.as_slice(),
        [
            "\"Test Linux\" (6.1): /boot/initrd.img on partition 2 is read up to 0x0 only: it is packed with bzip2, which is not read \
            (azure-gen1/hv-vmbus, azure-gen1/hv-storvsc, azure-gen1/hv-netvsc)"
        ]
    );
    assert_eq!(broken.unclear.len(), 3);
    assert!(broken.advice.is_empty(), "advice that may not apply says nothing: {broken}");
    // A known reason decides, whatever else is not known.
    let both =
        azure_ready(&len(prepared(|_| {}, vec![("boot/initrd.img", b"BZh91AY".to_vec())]), 3 << 40).facts());
    assert!(matches!(&both.verdict, Readiness::NotReady { .. }) && both.unclear.len() == 3, "{both}");
    // Windows is not asked what is asked of Linux.
    assert!(check(ProfileId::AzureGen1, &windows().facts()).findings.is_empty());
    let windows = azure_ready(&windows().facts());
    assert_eq!(windows.line(), "unknown: Windows is installed, which is not looked into yet");
    let json = serde_json::to_value(&ready).expect("JSON");
    assert_eq!(json["verdict"], "ready");
}

#[test]
fn names_are_one_list_and_every_rule_belongs_to_its_profile() {
    assert_eq!(PROFILES.iter().map(|p| p.id.name()).collect::<Vec<_>>(), NAMES);
    let mut seen = BTreeSet::new();
    for p in &PROFILES {
        assert_eq!(profile(p.id).id, p.id);
        assert_eq!(p.id.name().parse(), Ok(p.id));
        assert_eq!(serde_json::to_value(p.id).expect("JSON"), p.id.name());
        for r in p.rules {
            assert!(r.id.strip_prefix(p.id.name()).is_some_and(|rest| rest.starts_with('/')), "{}", r.id);
            assert!(seen.insert(r.id), "{} is there twice", r.id);
            assert!(r.text.ends_with(['.', '?']) && !r.checks.ends_with('.'), "{}", r.id);
            assert!(r.fix.is_empty() || r.fix.ends_with(['.', ')']), "{}", r.id);
            for part in [r.source.what, r.source.date, r.source.address] {
                assert!(!part.is_empty(), "{}", r.id);
            }
        }
    }
    assert_eq!(
        "asr-2016".parse::<ProfileId>().unwrap_err(),
        format!("there is no profile \"asr-2016\"; there are: {}", NAMES.join(", "))
    );
    assert_eq!(rule("kernel-missing").map(|r| r.id), Some("lab/kernel-missing"));
}

/// Whatever stops or qualifies a conversion can be explained: each id in the source has a row. A new one needs a row in
/// `engine/src/preflight/lab.rs`.
#[test]
fn every_finding_and_refusal_of_the_engine_has_a_row() {
    let mut ids = BTreeSet::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.join("guest"), src.join("convert")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a room") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("source");
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            // `fn no(` of the room that makes a Generation 2 anew takes an id first, too.
            let calls = [
                ".blocker(",
                ".warning(",
                ".note(",
                ".add(",
                "refuse(",
                "Direction::ToGen1,",
                "Direction::ToGen2,",
                " no(",
                "(no(",
            ];
            for call in calls {
                for after in product.split(call).skip(1) {
                    if let Some(rest) = after.trim_start().strip_prefix('"') {
                        let word = rest.split('"').next().unwrap_or_default();
                        let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                        ids.extend(word.chars().all(is_id).then(|| word.to_string()));
                    }
                }
            }
        }
    }
    assert!(ids.len() > 30 && ids.contains("kernel-missing") && ids.contains("gap-too-small"), "{ids:?}");
    let missing: Vec<&String> = ids.iter().filter(|id| rule(&format!("lab/{id}")).is_none()).collect();
    assert!(missing.is_empty(), "no row in engine/src/preflight/lab.rs: {missing:?}");
    let named = |id: &str| ids.contains(id.strip_prefix("lab/").unwrap_or(id));
    let stale: Vec<&str> =
        profile(ProfileId::Lab).rules.iter().map(|r| r.id).filter(|id| !named(id)).collect();
    assert!(stale.is_empty(), "rows that nothing gives: {stale:?}");
}

#[test]
fn the_document_is_what_the_rules_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/preflight.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, document()).expect("docs");
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == document(),
        "docs/preflight.md is not what the rules say; regenerate it: UPDATE_DOCS=1 cargo test --workspace --test preflight"
    );
}
