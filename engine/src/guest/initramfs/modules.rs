//! Names of kernel modules: in an initramfs, among what is built into a kernel, among what lies on the root file system.

use std::collections::BTreeSet;

/// What a module's name is, told from a path: `kernel/drivers/scsi/hv-storvsc.ko.xz` is `hv_storvsc`. `None` for what is no module.
pub(super) fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|ending| file.strip_suffix(ending))?;
    // The kernel and modprobe take both for the same: modprobe(8).
    Some(stem.replace('-', "_"))
}

/// The modules under `lib/modules/VERSION/`, with the kernel's own version or, when that is not known, any.
pub(super) fn modules_of<'a>(
    names: impl Iterator<Item = &'a str>,
    version: Option<&str>,
) -> BTreeSet<String> {
    let belongs = |path: &str| {
        let (_, rest) = path.split_once("lib/modules/")?;
        let (folder, rest) = rest.split_once('/')?;
        version.is_none_or(|v| v == folder).then_some(rest.to_string())
    };
    names.filter_map(|name| module_name(&belongs(name)?)).collect()
}

/// `modules.builtin`: a path a line. kbuild documentation, "modules.builtin".
pub(super) fn builtin_list(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| module_name(line.trim())).collect()
}

/// The option of a kernel's configuration that builds a module; the first one that a configuration has at all is the one that counts.
const OPTIONS: &[(&str, &[&str])] = &[
    ("hv_vmbus", &["HYPERV_VMBUS", "HYPERV"]),
    ("hv_storvsc", &["HYPERV_STORAGE"]),
    ("hv_netvsc", &["HYPERV_NET"]),
    ("ata_piix", &["ATA_PIIX"]),
    ("ata_generic", &["ATA_GENERIC"]),
    ("pata_acpi", &["PATA_ACPI"]),
    ("ahci", &["SATA_AHCI"]),
    ("virtio_pci", &["VIRTIO_PCI"]),
    ("virtio_blk", &["VIRTIO_BLK"]),
    ("virtio_scsi", &["SCSI_VIRTIO"]),
    ("nvme", &["BLK_DEV_NVME"]),
    ("mptspi", &["FUSION_SPI"]),
    ("vmw_pvscsi", &["VMWARE_PVSCSI"]),
    ("sd_mod", &["BLK_DEV_SD"]),
];

/// Of the modules that matter here, those that a kernel's configuration builds in. `None` when the text is no configuration.
pub(super) fn builtin_by_config(text: &str) -> Option<BTreeSet<String>> {
    if !text.lines().any(|line| line.starts_with("CONFIG_")) {
        return None;
    }
    let value = |option: &str| {
        text.lines().find_map(|line| {
            let line = line.trim();
            let is_off = line.strip_prefix("# CONFIG_").and_then(|l| l.strip_suffix(" is not set"));
            if is_off == Some(option) {
                return Some("n");
            }
            line.strip_prefix("CONFIG_")?.strip_prefix(option)?.strip_prefix('=')
        })
    };
    let built_in = OPTIONS.iter().filter(|(_, options)| options.iter().find_map(|o| value(o)) == Some("y"));
    Some(built_in.map(|(module, _)| (*module).to_string()).collect())
}

/// The version a kernel image says of itself: Documentation/arch/x86/boot.rst, `kernel_version`, a text at that offset behind 0x200.
pub(super) fn kernel_version(image: &[u8]) -> Option<String> {
    (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
    let offset = u16::from_le_bytes(*image.get(0x20e..)?.first_chunk()?);
    let text = image.get(usize::from(offset).checked_add(0x200)?..)?;
    let word = text.iter().take(VERSION_MAX).position(|b| *b == b' ' || *b == 0)?;
    let word = std::str::from_utf8(text.get(..word)?).ok()?;
    is_version(word).then(|| word.to_string())
}

/// The version in a kernel's file name, for images that do not say it.
pub(super) fn version_in_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let (_, version) = file.split_once('-')?;
    is_version(version).then(|| version.to_string())
}

/// Longest version: `__NEW_UTS_LEN`.
const VERSION_MAX: usize = 65;

/// What may stand in a path without leading out of its folder.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() < VERSION_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-~:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_module_by_its_file() {
        for (path, name) in [
            ("kernel/drivers/scsi/hv_storvsc.ko", Some("hv_storvsc")),
            ("kernel/drivers/scsi/hv-storvsc.ko.xz", Some("hv_storvsc")),
            ("a.ko.zst", Some("a")),
            ("b.ko.gz", Some("b")),
            ("b.ko.txt", None),
            ("modules.dep", None),
        ] {
            assert_eq!(module_name(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn takes_the_modules_of_this_kernel_only() {
        let names = ["usr/lib/modules/6.1/kernel/a.ko", "lib/modules/5.10/kernel/b.ko.xz", "etc/c.ko"];
        let of = |version| modules_of(names.iter().copied(), version).into_iter().collect::<Vec<_>>();
        assert_eq!(of(Some("6.1")), ["a"]);
        assert_eq!(of(None), ["a", "b"]);
    }

    #[test]
    fn reads_a_kernels_configuration() {
        let by = |text| builtin_by_config(text).map(|all| all.into_iter().collect::<Vec<_>>());
        assert_eq!(
            by("CONFIG_ATA_PIIX=y\nCONFIG_SATA_AHCI=m\n# CONFIG_BLK_DEV_SD is not set\n"),
            Some(vec!["ata_piix".into()])
        );
        // Since 6.18 the bus has an option of its own, and HYPERV only says that the kernel knows Hyper-V.
        assert_eq!(by("CONFIG_HYPERV=y\n"), Some(vec!["hv_vmbus".into()]));
        assert_eq!(by("CONFIG_HYPERV=y\nCONFIG_HYPERV_VMBUS=m\n"), Some(Vec::new()));
        assert_eq!(by("no configuration"), None);
    }

    #[test]
    fn takes_a_version_only_if_it_is_one() {
        for (path, version) in [
            ("/boot/vmlinuz-6.1.0-56-cloud-amd64", Some("6.1.0-56-cloud-amd64")),
            ("/vmlinuz-5.14.0-503.el9.x86_64", Some("5.14.0-503.el9.x86_64")),
            ("/boot/vmlinuz-0-rescue-4f2c", Some("0-rescue-4f2c")),
            ("/boot/vmlinuz", None),
            ("/boot/bzImage-lts", None),
            ("/boot/vmlinuz-1/../x", None),
        ] {
            assert_eq!(version_in_name(path).as_deref(), version, "{path}");
        }
        let mut image = vec![0; 0x400];
        assert_eq!(kernel_version(&image), None);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x310].copy_from_slice(b"6.1.0-9 (x@y) #1");
        assert_eq!(kernel_version(&image).as_deref(), Some("6.1.0-9"));
        image[0x300..0x310].copy_from_slice(b"6/../../etc x   ");
        assert_eq!(kernel_version(&image), None);
        image[0x20e..0x210].copy_from_slice(&0xffffu16.to_le_bytes());
        assert_eq!(kernel_version(&image), None);
    }
}
