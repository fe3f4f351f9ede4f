//! What a guest has before its root is mounted: kernels, initramfs files and lists of modules on a disk made by outside tools.

mod guest_support;

use engine::guest::initramfs::{Presence, drivers, equipment, starts};
use engine::guest::{Guest, look};
use guest_support::{Spec, gen2, initramfs, kernel, run};

fn module(version: &str, rest: &str) -> String {
    format!("usr/lib/modules/{version}/kernel/drivers/{rest}")
}

#[track_caller]
fn guest(files: Vec<(&str, Vec<u8>)>) -> Guest {
    let root_files = files.into_iter().map(|(path, content)| (path.to_string(), content)).collect();
    look(&gen2(&Spec { root_files, ..Spec::default() }).disk()).expect("a guest")
}

#[test]
fn a_driver_is_built_in_in_the_initramfs_missing_or_unknown() {
    let names = [module("6.1", "scsi/hv_storvsc.ko.xz"), module("5.10", "hv/hv_vmbus.ko")];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for program in ["cat", "gzip -9n", "xz --check=crc32 -c", "zstd -q -19 -c", "lz4 -q -l -c"] {
        let guest = guest(vec![
            ("boot/vmlinuz", kernel("6.1")),
            ("boot/initrd.img", initramfs(program, &names)),
            ("lib/modules/6.1/modules.builtin", b"kernel/drivers/nvme/host/nvme.ko\n".to_vec()),
        ]);
        let found = drivers(&guest);
        assert_eq!(found.start.as_deref(), Some("Test Linux"), "{program}");
        assert_eq!(found.of("nvme"), Presence::BuiltIn, "{program}");
        assert_eq!(found.of("hv_storvsc"), Presence::Initramfs, "{program}");
        // There, but for another kernel.
        assert_eq!(found.of("hv_vmbus"), Presence::Missing, "{program}");
        assert_eq!(found.of("ata_piix"), Presence::Missing, "{program}");
        assert_eq!(found.all_of(&["nvme", "hv_storvsc"]), Presence::Initramfs);
        assert_eq!(found.all_of(&["nvme", "ata_piix"]), Presence::Missing);
    }
}

#[test]
fn what_cannot_be_read_is_unknown_and_what_was_seen_stays_seen() {
    let seen = initramfs("cat", &[&module("6.1", "hv/hv_vmbus.ko")]);
    let builtin = ("usr/lib/modules/6.1/modules.builtin", b"kernel/drivers/ata/ata_piix.ko\n".to_vec());
    let bad = guest(vec![
        ("boot/vmlinuz", kernel("6.1")),
        ("boot/initrd.img", [seen.as_slice(), b"junk"].concat()),
        builtin.clone(),
    ]);
    let found = drivers(&bad);
    assert_eq!(found.of("hv_vmbus"), Presence::Initramfs);
    assert_eq!(found.of("ata_piix"), Presence::BuiltIn);
    let Presence::Unknown { why } = found.of("sd_mod") else { panic!("{found:?}") };
    let at = seen.len();
    assert_eq!(
        why,
        format!(
            "/boot/initrd.img on partition 2 is read up to {at:#x} only: a member begins with the byte 0x6a, which is neither cpio nor a \
             packing that is known"
        )
    );
    // Nothing says what is built in.
    let blind = guest(vec![("boot/vmlinuz", kernel("6.1")), ("boot/initrd.img", seen.clone())]);
    let Presence::Unknown { why } = drivers(&blind).of("sd_mod") else { panic!("known") };
    assert_eq!(
        why,
        "what is built into the kernel 6.1 is not known: the root file system has no lib/modules/6.1/modules.builtin, and /boot no config-6.1"
    );
    // The configuration beside the kernel says it as well.
    let config = b"CONFIG_ATA_PIIX=y\n# CONFIG_BLK_DEV_SD is not set\n".to_vec();
    let told =
        guest(vec![("boot/vmlinuz", kernel("6.1")), ("boot/initrd.img", seen), ("boot/config-6.1", config)]);
    assert_eq!(drivers(&told).of("ata_piix"), Presence::BuiltIn);
    assert_eq!(drivers(&told).of("sd_mod"), Presence::Missing);
    // A kernel that says no version, and a name that has none.
    let nameless = guest(vec![builtin]);
    let Presence::Unknown { why } = drivers(&nameless).of("sd_mod") else { panic!("known") };
    assert_eq!(why, "/boot/vmlinuz on partition 2 does not say its version");
}

#[test]
fn every_kernel_beside_the_default_one_is_a_way_to_start() {
    let guest = guest(vec![
        ("boot/vmlinuz", kernel("6.1")),
        ("boot/initrd.img", initramfs("cat", &[&module("6.1", "hv/hv_vmbus.ko")])),
        ("boot/vmlinuz-5.10", kernel("5.10")),
        ("boot/initrd.img-5.10", initramfs("gzip -n", &[])),
        ("boot/vmlinuz-5.11", kernel("5.11")),
        ("boot/initramfs-5.11.img", initramfs("gzip -n", &[&module("5.11", "hv/hv_vmbus.ko")])),
        // No kernel goes with these.
        ("boot/initrd.img-4.19", initramfs("cat", &[])),
        ("boot/initramfs-5.11kdump.img", initramfs("cat", &[])),
        ("lib/modules/5.10/modules.builtin", Vec::new()),
        ("lib/modules/5.11/modules.builtin", Vec::new()),
        ("lib/modules/6.1/modules.builtin", Vec::new()),
        ("lib/modules/5.10/modules.dep", b"kernel/drivers/hv/hv_vmbus.ko.xz: kernel/a.ko\n".to_vec()),
    ]);
    let titles: Vec<String> = starts(&guest).into_iter().map(|s| s.title).collect();
    assert_eq!(titles, ["Test Linux", "/boot/initrd.img-5.10", "/boot/initramfs-5.11.img"]);
    let all = equipment(&guest);
    let vmbus: Vec<_> = all.iter().map(|e| (e.version.as_deref(), e.has("hv_vmbus"))).collect();
    assert_eq!(
        vmbus,
        [
            (Some("6.1"), Presence::Initramfs),
            (Some("5.10"), Presence::Missing),
            (Some("5.11"), Presence::Initramfs)
        ]
    );
    assert_eq!(all[1].has_on_root("hv_vmbus"), Some(true));
    assert_eq!(all[1].has_on_root("hv_netvsc"), Some(false));
    assert_eq!(all[2].has_on_root("hv_vmbus"), None);
}

#[test]
fn a_memory_test_in_the_menu_is_no_way_to_start_linux() {
    let menu = "set default=0\nmenuentry 'Linux' {\n linux /boot/vmlinuz root=/dev/sda2\n initrd /boot/initrd.img\n}\n\
        menuentry 'Memory test' {\n linux /boot/memtest86+x64.bin\n}\n";
    let guest = guest(vec![
        ("boot/grub/grub.cfg", menu.into()),
        ("boot/vmlinuz", kernel("6.1")),
        ("boot/memtest86+x64.bin", kernel("7.0")),
    ]);
    let titles: Vec<String> = starts(&guest).into_iter().map(|s| s.title).collect();
    assert_eq!(titles, ["Linux"]);
}

#[test]
fn without_a_menu_the_kernels_of_the_root_are_looked_at_but_none_is_taken_for_the_one_that_starts() {
    let mut guest = guest(vec![
        ("boot/vmlinuz-6.1", kernel("6.1")),
        ("boot/initrd.img-6.1", initramfs("gzip -n", &[&module("6.1", "hv/hv_vmbus.ko")])),
        ("lib/modules/6.1/modules.builtin", Vec::new()),
    ]);
    guest.inspection.boot = None;
    let all = equipment(&guest);
    assert_eq!(all.iter().map(|e| e.start.title.as_str()).collect::<Vec<_>>(), ["/boot/initrd.img-6.1"]);
    assert_eq!(all[0].has("hv_vmbus"), Presence::Initramfs);
    assert!(matches!(drivers(&guest).of("ata_piix"), Presence::Unknown { .. }));
}

#[test]
fn an_initramfs_longer_than_a_file_that_is_read_at_once_flows_through() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = format!(
        "cd '{}'; mkdir -p a lib/modules/6.1; truncate -s 80M a/zeros; printf x > lib/modules/6.1/hv_vmbus.ko; \
         printf 'a/zeros\\nlib/modules/6.1/hv_vmbus.ko\\n' | cpio --quiet -o -H newc > out",
        dir.path().display()
    );
    run("sh", &["-euc", &script]);
    let archive = std::fs::read(dir.path().join("out")).expect("an archive");
    assert!(archive.len() as u64 > engine::volume::READ_LIMIT);
    let guest = guest(vec![
        ("boot/vmlinuz", kernel("6.1")),
        ("boot/initrd.img", archive),
        ("lib/modules/6.1/modules.builtin", Vec::new()),
    ]);
    assert_eq!(drivers(&guest).of("hv_vmbus"), Presence::Initramfs);
    assert_eq!(drivers(&guest).of("ata_piix"), Presence::Missing);
}
