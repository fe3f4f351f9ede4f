//! From Generation 1 to Generation 2 without a capsule, on disks made with outside tools.

mod guest_support;

use engine::convert::{self, Gen1Options, Op, Plan, Refusal, to_gen1, to_gen2};
use engine::disk::{DiskRef, Geometry, MemDisk, Overlay, Write};
use engine::guest::{Starts, inspect};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use engine::volume::{VolumeError, fat_make};
use guest_support::{MIB, ROOT_UUID, bytes_of, kits, mem_bytes, run};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const BOOT_UUID: &str = "31111111-2222-4333-8444-555555555555";
const SIGNATURE: &str = "1a2b3c4d";
const SHIM: &str = "usr/lib/shim/shimx64.efi.signed";
const GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
/// An MBR with primary, extended and logical partitions; the first one is where the root goes, the fifth one is for /boot.
const MBR: &str = "label: dos\nlabel-id: 0x1a2b3c4d\nunit: sectors\n\
    1 : start=2048, size=24576, type=83, bootable\n2 : start=26624, size=20480, type=5\n\
    5 : start=28672, size=8192, type=83\n6 : start=38912, size=4096, type=82\n";
/// As a cloud image for the BIOS: GRUB's partition, and no ESP.
const GPT: &str = "label: gpt\nlabel-id: 11111111-1111-4111-8111-111111111111\nunit: sectors\n\
    1 : start=4096, size=24576, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=22222222-1111-4111-8111-111111111111, name=\"root\"\n\
    14 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n";

/// A Generation 1 disk to be made.
struct Spec {
    /// For sfdisk.
    table: String,
    /// First sector of the root.
    root_at: u64,
    /// Length in bytes.
    len: u64,
    /// Files of the root by path, without the first slash.
    files: BTreeMap<String, Vec<u8>>,
    /// Whether what is below `boot/` goes onto the partition at LBA 28672.
    own_boot: bool,
}

/// An EFI program that says what it is, and does nothing else.
fn program(words: &str, is_signed: bool) -> Vec<u8> {
    let mut image = vec![0; 4096];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x80;
    image[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    image[0x98..0x9a].copy_from_slice(&[0x0b, 0x02]);
    image[0x98 + 108] = 16;
    // Length of the fifth directory, the certificates.
    image[0x98 + 112 + 36] = if is_signed { 8 } else { 0 };
    image.extend(words.as_bytes());
    image.push(0);
    image
}

/// A kernel by its setup header: protocol and `xloadflags`.
fn kernel(protocol: u16, flags: u16) -> Vec<u8> {
    let mut image = program("", true);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&protocol.to_le_bytes());
    image[0x236..0x238].copy_from_slice(&flags.to_le_bytes());
    image
}

fn grub() -> Vec<u8> {
    program("sbat,1,SBAT\ngrub,3,Free Software Foundation\0(memdisk)\0/EFI/debian\0", true)
}

fn menu(kernel_line: &str) -> Vec<u8> {
    format!(
        "set default=\"0\"\nmenuentry 'Test Linux' --class test {{\n\tset root='hd0,msdos1'\n\tsearch --no-floppy --fs-uuid --set=root {ROOT_UUID}\n\
         \t{kernel_line}\n\tinitrd /boot/initrd.img\n}}\n"
    )
    .into_bytes()
}

impl Default for Spec {
    fn default() -> Spec {
        let linux = format!("linux /boot/vmlinuz root=UUID={ROOT_UUID} ro console=ttyS0,115200");
        let files: [(&str, Vec<u8>); 9] = [
            ("etc/os-release", b"PRETTY_NAME=\"Test Linux 1\"\nID=test\nID_LIKE=debian\n".to_vec()),
            ("etc/fstab", format!("UUID={ROOT_UUID} / ext4 defaults 0 1\n").into_bytes()),
            ("boot/vmlinuz", kernel(0x20f, 0x3f)),
            ("boot/initrd.img", b"initramfs".to_vec()),
            ("boot/grub/grub.cfg", menu(&linux)),
            (SHIM, program("UEFI SHIM\n$Version: 15.8", true)),
            ("usr/lib/shim/mmx64.efi.signed", program("keys", true)),
            (GRUB, grub()),
            ("usr/lib/grub/x86_64-efi/monolithic/grubx64.efi", program("\ngrub,\0/EFI/debian", false)),
        ];
        let files = files.into_iter().map(|(path, content)| (path.to_string(), content)).collect();
        Spec { table: MBR.into(), root_at: 2048, len: 24 * MIB, files, own_boot: false }
    }
}

impl Spec {
    fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Spec {
        self.files.insert(path.to_string(), content.into());
        self
    }

    fn without(mut self, start: &str) -> Spec {
        self.files.retain(|path, _| !path.starts_with(start));
        self
    }

    fn on(self, table: &str, root_at: u64) -> Spec {
        Spec { table: table.to_string(), root_at, ..self }
    }

    /// The disk, its code in LBA 0 and the gap filled with what a BIOS loader might be.
    #[track_caller]
    fn disk(&self) -> DiskRef {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("disk.raw");
        File::create(&disk).and_then(|f| f.set_len(self.len)).expect("disk");
        let (script, disk) = (dir.path().join("table"), disk.to_str().expect("path").to_string());
        fs::write(&script, &self.table).expect("table");
        run("sh", &["-euc", &format!("sfdisk -q --no-reread '{disk}' < '{}'", script.display())]);
        let file = File::options().write(true).open(&disk).expect("disk");
        file.write_all_at(&[0xe9; 440], 0).expect("boot code");
        if self.table.starts_with("label: dos") {
            file.write_all_at(&[0xc3; 60 * 512], 512).expect("core");
        }
        let (boot, root): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.files.iter().partition(|(path, _)| self.own_boot && path.starts_with("boot/"));
        let place = |name: &str, uuid: &str, len: u64, at: u64, files: Vec<(&str, &Vec<u8>)>| {
            let (tree, image) = (dir.path().join(name), dir.path().join(format!("{name}.img")));
            fs::create_dir(&tree).expect("folder");
            for (path, content) in files {
                let path = tree.join(path);
                fs::create_dir_all(path.parent().expect("parent")).expect("folder");
                fs::write(path, content).expect("file");
            }
            File::create(&image).and_then(|f| f.set_len(len)).expect("image");
            let (tree, image) = (tree.to_str().expect("path"), image.to_str().expect("path"));
            run("mkfs.ext4", &["-q", "-F", "-b1024", "-U", uuid, "-d", tree, image]);
            file.write_all_at(&fs::read(image).expect("image"), at * 512).expect("place");
        };
        place(
            "root",
            ROOT_UUID,
            12 * MIB,
            self.root_at,
            root.iter().map(|(p, c)| (p.as_str(), *c)).collect(),
        );
        if self.own_boot {
            let inside = boot.iter().filter_map(|(p, c)| Some((p.strip_prefix("boot/")?, *c)));
            place("boot", BOOT_UUID, 4 * MIB, 28672, inside.collect());
        }
        mem_bytes(fs::read(disk).expect("disk"))
    }

    #[track_caller]
    fn plan(&self) -> (DiskRef, Plan, DiskRef) {
        let disk = self.disk();
        let plan = to_gen2(&disk, None).unwrap_or_else(|e| panic!("{e}"));
        let result = plan.patch.apply(&disk).unwrap_or_else(|e| panic!("{e}\n{plan}"));
        (disk, plan, result)
    }

    #[track_caller]
    fn refusal(&self) -> Refusal {
        to_gen2(&self.disk(), None).expect_err("a refusal")
    }
}

/// A result as a file, for other programs.
struct Written {
    dir: TempDir,
    disk: String,
}

impl Written {
    fn new(disk: &DiskRef) -> Written {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("disk.raw");
        fs::write(&path, bytes_of(disk)).expect("write");
        Written { disk: path.to_str().expect("path").to_string(), dir }
    }

    /// What sgdisk says of a partition.
    #[track_caller]
    fn partition(&self, number: u32) -> String {
        run("sgdisk", &["-i", &number.to_string(), &self.disk])
    }

    /// The ESP, which begins at this sector, as a file that fsck.fat has nothing to say about.
    #[track_caller]
    fn esp(&self, first: u64, len: u64) -> String {
        let disk = fs::read(&self.disk).expect("disk");
        let esp = self.dir.path().join("esp.img");
        fs::write(&esp, &disk[(first * 512) as usize..(first * 512 + len) as usize]).expect("esp");
        let esp = esp.to_str().expect("path").to_string();
        let said = run("fsck.fat", &["-n", "-v", &esp]);
        assert!(said.contains("FATs, 32 bit entries") && !said.to_lowercase().contains("wrong"), "{said}");
        esp
    }

    #[track_caller]
    fn file(&self, esp: &str, path: &str) -> Vec<u8> {
        let to = self.dir.path().join("file");
        run("mcopy", &["-n", "-o", "-i", esp, &format!("::{path}"), to.to_str().expect("path")]);
        fs::read(to).expect("file")
    }
}

#[test]
fn an_mbr_becomes_a_gpt_whose_partitions_have_their_bytes_and_numbers() {
    let spec = Spec::default();
    let (disk, plan, result) = spec.plan();
    assert_eq!(plan.strategy, convert::Strategy::Anew);
    assert_eq!(result.geometry().len.get(), (24 + 64 + 1) * MIB);
    let (old, new) = (bytes_of(&disk), bytes_of(&result));
    assert!(old[34 * 512..] == new[34 * 512..old.len()], "behind the GPT nothing changes up to the old end");
    assert!(new[..440].iter().all(|b| *b == 0), "the code for a loader that is gone is gone, too");
    let out = Written::new(&result);
    let said = run("sgdisk", &["-v", &out.disk]);
    assert!(said.contains("No problems found"), "{said}");
    for (number, first, last, kind) in [
        (1, 2048, 26623, "Linux filesystem"),
        (5, 28672, 36863, "Linux filesystem"),
        (6, 38912, 43007, "Linux swap"),
        (7, 49152, 180223, "EFI system partition"),
    ] {
        let said = out.partition(number);
        for wanted in
            [format!("First sector: {first} "), format!("Last sector: {last} "), format!("({kind})")]
        {
            assert!(said.contains(&wanted), "{number}: wanted {wanted:?} in\n{said}");
        }
    }
    assert!(out.partition(2).contains("does not exist"), "the extended partition is no more");
    let seen = inspect(&result).expect("inspect");
    assert!(matches!(seen.uefi_start, Starts::Yes { .. }), "{seen}");
    assert!(matches!(seen.bios_start, Starts::No { .. }), "{seen}");
}

#[test]
fn the_esp_holds_the_guests_own_files_and_is_sound() {
    let spec = Spec::default();
    let (_, _, result) = spec.plan();
    let out = Written::new(&result);
    let esp = out.esp(49152, 64 * MIB);
    let stub = format!(
        "search.fs_uuid {ROOT_UUID} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
    );
    for folder in ["BOOT", "debian"] {
        let shim = if folder == "BOOT" { "BOOTX64.EFI" } else { "shimx64.efi" };
        for (name, from) in
            [(shim, SHIM), ("grubx64.efi", GRUB), ("mmx64.efi", "usr/lib/shim/mmx64.efi.signed")]
        {
            assert!(
                out.file(&esp, &format!("EFI/{folder}/{name}")) == spec.files[from],
                "EFI/{folder}/{name}"
            );
        }
        assert_eq!(out.file(&esp, &format!("EFI/{folder}/grub.cfg")), stub.as_bytes());
    }
}

#[test]
fn a_gpt_of_a_bios_machine_keeps_its_entries_its_loader_and_its_ids() {
    let (disk, plan, result) = Spec::default().on(GPT, 4096).plan();
    let (old, new) = (bytes_of(&disk), bytes_of(&result));
    let inside = 34 * 512..old.len() - 33 * 512;
    assert!(old[inside.clone()] == new[inside], "no partition changes");
    assert!(old[..446] == new[..446], "the code for the BIOS stays");
    let out = Written::new(&result);
    assert!(run("sgdisk", &["-v", &out.disk]).contains("No problems found"));
    assert!(out.partition(1).contains("22222222-1111-4111-8111-111111111111"));
    assert!(
        out.partition(14).contains("BIOS boot partition")
            && out.partition(15).contains("EFI system partition")
    );
    assert!(run("sgdisk", &["-p", &out.disk]).contains("11111111-1111-4111-8111-111111111111"));
    out.esp(49152, 64 * MIB);
    assert!(plan.to_string().contains("still starts under a BIOS"), "{plan}");
}

#[test]
fn equal_disks_get_equal_plans_and_other_disks_other_ids() {
    let spec = Spec::default();
    let disk = spec.disk();
    let plan = to_gen2(&disk, None).expect("plan");
    assert_eq!(to_gen2(&disk, None).expect("plan"), plan);
    let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).expect("json")).expect("plan");
    assert_eq!(again, plan);
    let other = Spec { table: MBR.replace(SIGNATURE, "0badcafe"), ..Spec::default() };
    let id = |disk: &DiskRef| {
        let seen =
            inspect(&to_gen2(disk, None).expect("plan").patch.apply(disk).expect("apply")).expect("inspect");
        let ids = seen.partitions.iter().map(|p| p.part_uuid.clone().expect("id"));
        ids.chain(seen.table.disk_id).collect::<Vec<_>>()
    };
    let (ids, others) = (id(&disk), id(&other.disk()));
    assert_eq!((ids.len(), others.len()), (5, 5));
    assert!(ids.iter().all(|id| !others.contains(id)), "{ids:?} {others:?}");
}

#[test]
fn a_boot_partition_is_where_grub_is_led_to() {
    let fstab = format!("UUID={ROOT_UUID} / ext4 defaults 0 1\nUUID={BOOT_UUID} /boot ext4 defaults 0 2\n");
    let linux = format!("linux /vmlinuz root=UUID={ROOT_UUID} ro console=ttyS0");
    let menu = String::from_utf8(menu(&linux))
        .expect("text")
        .replace(&format!("--set=root {ROOT_UUID}"), &format!("--set=root {BOOT_UUID}"));
    let menu = menu.replace("/boot/initrd", "/initrd");
    let spec =
        Spec { own_boot: true, ..Spec::default() }.with("etc/fstab", fstab).with("boot/grub/grub.cfg", menu);
    // Fedora keeps its loaders there, ESP or not; another family's are not needed.
    let spec = spec
        .without("usr/lib/")
        .with("boot/efi/EFI/fedora/shimx64.efi", program("UEFI SHIM\n$Version: 15.8", true));
    let spec = spec.with("boot/efi/EFI/fedora/grubx64.efi", program("\ngrub,\0/EFI/fedora", true));
    let (_, plan, result) = spec.plan();
    let out = Written::new(&result);
    let esp = out.esp(49152, 64 * MIB);
    let stub =
        format!("search.fs_uuid {BOOT_UUID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n");
    assert_eq!(out.file(&esp, "EFI/fedora/grub.cfg"), stub.as_bytes(), "{plan}");
    assert!(plan.to_string().contains("/boot/grub/grub.cfg on partition 5"), "{plan}");
}

#[test]
fn without_a_signature_it_says_that_secure_boot_must_be_off() {
    let cases: [(&[&str], &str, &str); 3] = [
        (&[], "shim and GRUB carry signatures", "EFI/BOOT/grubx64.efi"),
        (
            &[GRUB],
            "without a signature: /usr/lib/grub/x86_64-efi/monolithic/grubx64.efi; Secure Boot must be off",
            "EFI/BOOT/grubx64.efi",
        ),
        (&["usr/lib/shim/"], "the guest has no shim: Secure Boot must be off", "EFI/debian/grubx64.efi"),
    ];
    for (gone, wanted, file) in cases {
        let spec = gone.iter().fold(Spec::default(), |spec, gone| spec.without(gone));
        let (_, plan, result) = spec.plan();
        assert!(plan.to_string().contains(wanted), "{wanted}\n{plan}");
        let out = Written::new(&result);
        let esp = out.esp(49152, 64 * MIB);
        out.file(&esp, "EFI/BOOT/BOOTX64.EFI");
        out.file(&esp, file);
        assert!(matches!(inspect(&result).expect("inspect").uefi_start, Starts::Yes { .. }));
    }
}

#[test]
fn suses_loaders_get_the_names_that_its_shim_looks_for() {
    let suse = "usr/share/efi/x86_64";
    let spec =
        Spec::default().without("usr/lib/").with(&format!("{suse}/grub.efi"), program("\ngrub,", true));
    let spec = spec.with(&format!("{suse}/shim.efi"), program("UEFI SHIM\n$Version", true));
    let (_, _, result) = spec.with(&format!("{suse}/MokManager.efi"), program("keys", true)).plan();
    let out = Written::new(&result);
    let esp = out.esp(49152, 64 * MIB);
    for name in ["BOOTX64.EFI", "grub.efi", "MokManager.efi", "grub.cfg"] {
        out.file(&esp, &format!("EFI/BOOT/{name}"));
    }
}

#[test]
fn what_the_guest_lacks_is_said_by_name() {
    let text = Spec::default().without("usr/lib/").refusal().to_string();
    assert_eq!(
        text,
        "no plan from Generation 1 to Generation 2:\n  \
         no-efi-grub: The guest has no GRUB for UEFI that could be put on an EFI system partition. On its own file systems it was looked for at \
         /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed, /usr/lib/grub/x86_64-efi/monolithic/grubx64.efi, /usr/share/efi/x86_64/grub.efi, \
         and in the folders of /boot/efi/EFI.\n    \
         While the guest runs, install its loader for UEFI: `apt-get install shim-signed grub-efi-amd64-signed` (it stands beside grub-pc and does not replace it). \
         Then take a new copy of the disk."
    );
    let both = Spec::default().without("usr/lib/grub").without("boot/grub").refusal();
    assert!(both.has("no-efi-grub") && both.has("no-grub-cfg"), "{both}");
}

#[test]
fn each_refusal_has_its_name_and_its_reason() {
    let root = format!("root=UUID={ROOT_UUID} ro");
    let entry = |line: &str| Spec::default().with("boot/grub/grub.cfg", menu(line));
    let kernel_of = |protocol, flags| Spec::default().with("boot/vmlinuz", kernel(protocol, flags));
    let fstab = |line: &str| Spec::default().with("etc/fstab", line);
    let numbered = format!(
        "menuentry 'Test Linux' {{\n set root='hd0,msdos1'\n linux /boot/vmlinuz {root}\n initrd /boot/initrd.img\n}}\n"
    );
    let systemd = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    let cases: Vec<(Spec, &str, &str)> = vec![
        (
            Spec::default().without("usr/lib/grub"),
            "no-efi-grub",
            "There is a shim (/usr/lib/shim/shimx64.efi.signed), which needs GRUB behind it",
        ),
        (
            Spec::default().without("usr/lib/").with(systemd, program("", false)),
            "no-efi-grub",
            "There is systemd-boot",
        ),
        (
            Spec::default().without("usr/lib/grub").with(GRUB, "MZ but no more"),
            "no-efi-grub",
            "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed is no x86-64 EFI program",
        ),
        (
            Spec::default().without("boot/grub"),
            "no-grub-cfg",
            "looked for /boot/grub/grub.cfg and /boot/grub2/grub.cfg",
        ),
        (
            Spec::default().without("boot/vmlinuz"),
            "kernel-missing",
            "starts /boot/vmlinuz, which is not on partition 1",
        ),
        (Spec::default().without("etc/"), "no-system", "No root file system of a Linux"),
        (
            entry(&format!("linux /boot/vmlinuz root=PARTUUID={SIGNATURE}-01 ro")),
            "root-by-partuuid",
            "root=PARTUUID=1a2b3c4d-01, an id that goes",
        ),
        (
            fstab(&format!("PARTUUID={SIGNATURE}-05 /srv ext4 defaults 0 2\n")),
            "fstab-by-partuuid",
            "mounts /srv by PARTUUID=1a2b3c4d-05",
        ),
        (
            fstab(&format!("/dev/disk/by-partuuid/{SIGNATURE}-05 /srv ext4 defaults 0 2\n")),
            "fstab-by-partuuid",
            "by-partuuid/1a2b3c4d-05",
        ),
        (
            entry(&format!("linux16 /boot/vmlinuz {root}")),
            "grub-cfg-bios-only",
            "starts /boot/vmlinuz with `linux16`",
        ),
        (
            Spec::default().with("boot/grub/grub.cfg", numbered),
            "grub-root-by-number",
            "at hd0,msdos1, a partition of an MBR",
        ),
        (kernel_of(0x20f, 0b1000), "kernel-not-64-bit", "XLF_KERNEL_64"),
        (kernel_of(0x20a, 0x3f), "kernel-too-old", "boot protocol is 2.10, wanted at least 2.12"),
        (Spec::default().with("boot/vmlinuz", "kernel"), "kernel-no-linux", "no bzImage"),
        (
            Spec::default().without("etc/").with("Windows/System32/winload.efi", "MZ"),
            "windows",
            "not converted to Generation 2 yet",
        ),
        (
            Spec::default().on(&MBR.replace("start=2048, size=24576", "start=33, size=26591"), 33),
            "no-room-for-gpt",
            "Partition 1 begins at LBA 33",
        ),
    ];
    for (spec, id, wanted) in cases {
        let refusal = spec.refusal();
        assert!(
            refusal.has(id) && refusal.to_string().contains(wanted),
            "{id}: wanted {wanted:?} in\n{refusal}"
        );
    }
}

#[test]
fn a_disk_that_was_generation_2_once_is_not_given_another_esp() {
    let primary = "label: dos\nunit: sectors\n1 : start=2048, size=24576, type=83\n2 : start=28672, size=8192, type=ef\n";
    let text = Spec::default().on(primary, 2048).refusal().to_string();
    assert!(text.contains("no-capsule") && text.contains("Partition 2 is an EFI system partition"), "{text}");
    let mut bytes = bytes_of(&Spec::default().on(GPT, 4096).disk());
    // As a failover with a real MBR leaves it.
    bytes[446..462]
        .copy_from_slice(&[0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, 0, 16, 0, 0, 0, 0x60, 0, 0]);
    let text = to_gen2(&mem_bytes(bytes.clone()), None).expect_err("a refusal").to_string();
    assert!(text.contains("no-capsule") && text.contains("Behind its MBR lies a GPT"), "{text}");
    let wide = Geometry { len: ByteLen(bytes.len() as u64), sector: SectorSize::B4096 };
    let wide: DiskRef = Arc::new(MemDisk::new(wide, bytes_of(&Spec::default().disk())));
    let refusal = to_gen2(&wide, None).expect_err("a refusal");
    assert!(refusal.has("partition-beyond-end") || refusal.has("sector-4096"), "{refusal}");
}

#[test]
fn what_names_partitions_by_number_or_of_other_disks_is_no_reason() {
    let other = Spec::default().with("etc/fstab", "PARTUUID=deadbeef-01 /srv ext4 nofail 0 2\n");
    other.plan();
    let by_name = menu("linux /boot/vmlinuz root=/dev/sda1 ro console=ttyS0");
    let (_, plan, _) = Spec::default().with("boot/grub/grub.cfg", by_name).plan();
    assert!(plan.notes.iter().any(|n| n.contains("root=/dev/sda1")), "{plan}");
    // A GPT keeps its ids.
    let id = "22222222-1111-4111-8111-111111111111";
    let linux = format!("linux /boot/vmlinuz root=PARTUUID={id} ro console=ttyS0");
    Spec::default().with("boot/grub/grub.cfg", menu(&linux)).on(GPT, 4096).plan();
}

#[test]
fn the_result_fails_over_and_back_like_any_generation_2_disk() {
    let (_, _, gen2) = Spec::default().plan();
    let inspection = inspect(&gen2).expect("inspect");
    let there = to_gen1(&gen2, &inspection, &kits, &Gen1Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let gen1 = there.patch.apply(&gen2).expect("apply");
    let back = to_gen2(&gen1, None).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(back.strategy, convert::Strategy::Undo);
    assert!(bytes_of(&back.patch.apply(&gen1).expect("apply")) == bytes_of(&gen2));
}

#[test]
fn an_odd_length_is_rounded_up_before_the_esp() {
    let (disk, plan, result) = Spec { len: 24 * MIB + 512, ..Spec::default() }.plan();
    assert_eq!(disk.geometry().len.get() % MIB, 512);
    assert_eq!(result.geometry().len.get(), (25 + 64 + 1) * MIB);
    assert!(matches!(plan.patch.ops.last(), Some(Op::Raw { at, .. }) if at.get() == 0), "LBA 0 comes last");
    assert!(run("sgdisk", &["-v", &Written::new(&result).disk]).contains("No problems found"));
}

#[test]
fn an_empty_fat_is_one_to_other_programs() {
    for (len, id) in [(64 * MIB, 0xABCD_1234), (77 * MIB, 1), (260 * MIB, u32::MAX)] {
        let writes = fat_make(ByteLen(len), id).expect("format");
        let bytes: usize = writes.iter().map(|w: &Write| w.bytes.len()).sum();
        assert!(bytes <= 8 << 10, "{bytes} bytes for {len}");
        let dir = tempfile::tempdir().expect("a folder");
        let image = dir.path().join("esp.img");
        let file = File::create(&image).expect("file");
        file.set_len(len).expect("length");
        for write in &writes {
            file.write_all_at(&write.bytes, write.at.get()).expect("write");
        }
        check_fat(&image, id);
    }
    assert!(matches!(fat_make(ByteLen(16 * MIB), 1), Err(VolumeError::Broken { .. })));
}

#[track_caller]
fn check_fat(image: &Path, id: u32) {
    let image = image.to_str().expect("path");
    let said = run("fsck.fat", &["-n", "-v", image]);
    assert!(said.contains("32 bit entries") && said.contains(": 0 files, 1/"), "{said}");
    let said = run("minfo", &["-i", image]);
    assert!(said.contains(&format!("serial number: {id:08X}")), "{said}");
}

/// A boot record: its sector, and of each entry whether it is active, its type, first sector and number of sectors.
type Record = (u64, [(bool, u8, u32, u32); 4]);

fn any_record() -> impl proptest::strategy::Strategy<Value = Record> {
    let kind = prop_oneof![Just(0u8), Just(5), Just(0x0f), Just(0x83), Just(0xee), any::<u8>()];
    (0u64..64, proptest::array::uniform4((any::<bool>(), kind, 0u32..4096, 0u32..4096)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_table_is_refused_without_a_panic(records in proptest::collection::vec(any_record(), 1..12)) {
        let geometry = Geometry { len: ByteLen(MIB), sector: SectorSize::B512 };
        let base: DiskRef = Arc::new(MemDisk::empty(geometry));
        let mut sectors: BTreeMap<u64, [u8; 512]> = BTreeMap::new();
        for (i, (lba, entries)) in records.into_iter().enumerate() {
            let mut sector = [0; 512];
            for (slot, (active, kind, first, count)) in sector[446..510].chunks_exact_mut(16).zip(entries) {
                slot[0] = if active { 0x80 } else { 0 };
                slot[4] = kind;
                slot[8..12].copy_from_slice(&first.to_le_bytes());
                slot[12..].copy_from_slice(&count.to_le_bytes());
            }
            sector[510..].copy_from_slice(&[0x55, 0xaa]);
            sectors.insert(if i == 0 { 0 } else { lba }, sector);
        }
        let writes = sectors.into_iter().map(|(lba, s)| Write { at: ByteOffset(lba * 512), bytes: Arc::from(s) }).collect();
        let disk: DiskRef = Arc::new(Overlay::new(base, geometry, writes).expect("overlay"));
        prop_assert!(to_gen2(&disk, None).is_err());
    }
}
