//! What Azure asks of the OS disk of a Generation 1 virtual machine. Its rules also make the verdict of [`super::azure_ready`].

use super::{Check, Profile, ProfileId, Rule, Source, Weight};
use crate::guest::Severity::{self, Blocker, Note, Warning};

const GENERIC: &str = "MicrosoftDocs/azure-docs articles/virtual-machines/linux/create-upload-generic.md";
const NOTES: Source = Source {
    what: "Azure documentation, prepare a Linux VHD, \"General Linux Installation Notes\"",
    date: "2022-05-06",
    address: GENERIC,
};
const MODULES: Source = Source {
    what: "Azure documentation, prepare a Linux VHD, \"Installing kernel modules without Hyper-V\"",
    date: "2022-05-06",
    address: GENERIC,
};
const SYSTEM: Source = Source {
    what: "Azure documentation, prepare a Linux VHD, \"General Linux System Requirements\"",
    date: "2022-05-06",
    address: GENERIC,
};
const HYDRATION: Source = Source {
    what: "Azure documentation, what hydration changes in a Linux guest",
    date: "2026-02-27",
    address: "MicrosoftDocs/azure-docs articles/site-recovery/hydration-process.md",
};
const GENERATIONS: Source = Source {
    what: "Azure documentation, generation 1 vs. generation 2 capabilities",
    date: "2020-08-28",
    address: "MicrosoftDocs/azure-docs articles/virtual-machines/generation-2.md",
};
const UPLOAD: Source = Source {
    what: "Azure .NET reference, DiskCreationData.UploadSizeBytes",
    date: "read in 2026-11",
    address: "learn.microsoft.com, DiskCreationData.UploadSizeBytes",
};
const STATIC_LINUX: Source = Source {
    what: "Azure documentation, support matrix Hyper-V to Azure, \"Guest VM network: Static IP (Linux)\": No",
    date: "2020-01-27",
    address: "MicrosoftDocs/azure-docs articles/site-recovery/hyper-v-azure-support-matrix.md, commit fff18200feca4b3e4fcdda63d12282a3f5c14abc",
};
const VHD_SPEC: Source = Source {
    what: "Virtual Hard Disk Image Format Specification 1.0: a VHD counts in sectors of 512 bytes",
    date: "2006-10-11",
    address: "Microsoft, Virtual Hard Disk Image Format Specification",
};

const GIB: u64 = 1 << 30;
const GB: u64 = 1_000_000_000;
const TIB: u64 = 1 << 40;

const REBUILD: &str = "In the guest: add hv_vmbus hv_storvsc hv_netvsc to /etc/initramfs-tools/modules and run `update-initramfs -u -k all`, or \
                       `dracut -f --regenerate-all --add-drivers \"hv_vmbus hv_storvsc hv_netvsc\"`.";
const KERNEL_LINE: &str = "In the guest: change GRUB_CMDLINE_LINUX in /etc/default/grub and run `update-grub` or `grub2-mkconfig`; or change /etc/kernel/cmdline, \
                           where kernel-install makes the entries.";

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
const fn rule(
    id: &'static str,
    checks: &'static str,
    text: &'static str,
    source: Source,
    severity: Severity,
    azure: Option<Weight>,
    fix: &'static str,
    check: Check,
) -> Rule {
    Rule { id, checks, text, source, severity, fix, azure, check }
}

const MUST: Option<Weight> = Some(Weight::Must);
const SHOULD: Option<Weight> = Some(Weight::Should);

const fn module(module: &'static str, later: bool) -> Check {
    Check::ModuleMissing { module, later }
}

pub(super) const AZURE_GEN1: Profile = Profile {
    id: ProfileId::AzureGen1,
    title: "the OS disk of a Generation 1 virtual machine in Azure",
    date: "2020-08 to 2026-02",
    about: "What Azure itself asks of a Linux disk that is uploaded or failed over, whoever converted it. It says whether Azure would take the disk and \
            whether the guest is prepared for it; nothing is booted there, and a boot in the lab is another thing.",
    silent: &[
        "whether a guest without console=ttyS0 or rootdelay= fails: the documentation asks for them, guests start without",
        "which limit of the OS disk holds: 1023 GB stands in texts of 2017 and 2022, more than 2 TB is denied to Generation 1 only",
        "what later changes of the platform do to old guests: Windows Server 2012 and 2012 R2 stopped starting there after one, and still start at home",
    ],
    unseen: &[
        "anything about Windows guests: this profile looks into Linux only",
        "accounts, keys, firewalls and whether sshd is started",
    ],
    rules: &[
        rule(
            "azure-gen1/fixed-vhd",
            "the container of the result",
            "Azure takes fixed VHDs only, no VHDX.",
            NOTES,
            Blocker,
            None,
            "Give the result a name that ends in .vhd, or --format vhd.",
            Check::ResultNotFixedVhd,
        ),
        rule(
            "azure-gen1/sectors-512",
            "the sectors of the disk",
            "A VHD has sectors of 512 bytes.",
            VHD_SPEC,
            Note,
            None,
            "Nothing: a result for Generation 1 counts in sectors of 512; every partition keeps its bytes.",
            Check::LogicalSectors4096,
        ),
        rule(
            "azure-gen1/whole-mib",
            "the length of the disk",
            "The virtual size of a VHD must be a whole number of MiB.",
            NOTES,
            Note,
            None,
            "Nothing: a result for Generation 1 is rounded up, with a footer that says the same.",
            Check::OddLength,
        ),
        rule(
            "azure-gen1/upload-20mib",
            "the length of the disk, rounded up",
            "A managed disk is made of 20 MiB at least.",
            UPLOAD,
            Blocker,
            MUST,
            "Make the disk longer.",
            Check::ShorterThan(20 << 20),
        ),
        rule(
            "azure-gen1/os-disk-2tb",
            "the length of the disk, rounded up",
            "The OS disk of a Generation 1 machine cannot be larger than 2 TB.",
            GENERATIONS,
            Blocker,
            MUST,
            "Shrink the OS disk in the guest, or move data to a disk of its own.",
            Check::LongerThan { bytes: 2 * TIB, unclear_from: 2000 * GB },
        ),
        rule(
            "azure-gen1/os-disk-1023gb",
            "the length of the disk, rounded up",
            "The maximum size allowed for a VHD is 1,023 GB, says this text; others allow 2 TB.",
            NOTES,
            Warning,
            SHOULD,
            "Shrink the OS disk in the guest, or try the upload before you rely on it.",
            Check::LongerThan { bytes: 1023 * GIB, unclear_from: 1023 * GIB },
        ),
        rule(
            "azure-gen1/partitions",
            "the partition table",
            "The OS disk has a partition table with partitions.",
            GENERATIONS,
            Blocker,
            MUST,
            "Check that it is the boot disk of the machine.",
            Check::NoTable,
        ),
        rule(
            "azure-gen1/hv-vmbus",
            "what is built into each kernel, and what each initramfs holds that a boot entry loads",
            "The kernel must have hv_vmbus before it mounts its root: without it there is no disk.",
            MODULES,
            Blocker,
            MUST,
            REBUILD,
            module("hv_vmbus", false),
        ),
        rule(
            "azure-gen1/hv-storvsc",
            "what is built into each kernel, and what each initramfs holds that a boot entry loads",
            "The kernel must have hv_storvsc before it mounts its root: it drives the disks.",
            MODULES,
            Blocker,
            MUST,
            REBUILD,
            module("hv_storvsc", false),
        ),
        rule(
            "azure-gen1/hv-netvsc",
            "what is built into each kernel, what each initramfs holds, and the modules on the root file system",
            "The guest must have hv_netvsc: without it there is no network.",
            HYDRATION,
            Warning,
            MUST,
            REBUILD,
            module("hv_netvsc", true),
        ),
        rule(
            "azure-gen1/hv-netvsc-initramfs",
            "what is built into each kernel, and what each initramfs holds that a boot entry loads",
            "Hydration rebuilds an initramfs that lacks hv_netvsc, although it can be loaded from the root file system later.",
            HYDRATION,
            Note,
            SHOULD,
            REBUILD,
            module("hv_netvsc", false),
        ),
        rule(
            "azure-gen1/serial-console",
            "the kernel command lines",
            "The kernel command line should have console=ttyS0: it is all that Azure's support can see.",
            SYSTEM,
            Warning,
            SHOULD,
            KERNEL_LINE,
            Check::WordMissing("console=ttyS0"),
        ),
        rule(
            "azure-gen1/rootdelay",
            "the kernel command lines",
            "The kernel command line should have rootdelay=300: disks may come late.",
            SYSTEM,
            Note,
            SHOULD,
            KERNEL_LINE,
            Check::WordMissing("rootdelay="),
        ),
        rule(
            "azure-gen1/quiet",
            "the kernel command lines",
            "The kernel command line should not have rhgb, quiet or crashkernel=auto.",
            SYSTEM,
            Note,
            SHOULD,
            KERNEL_LINE,
            Check::WordPresent(&["rhgb", "quiet", "crashkernel=auto"]),
        ),
        rule(
            "azure-gen1/swap",
            "the partitions and /etc/fstab",
            "There should be no swap space on the OS disk; the agent makes it on the temporary disk.",
            NOTES,
            Warning,
            SHOULD,
            "Turn it off in /etc/fstab, and let waagent or cloud-init make it (ResourceDisk.EnableSwap).",
            Check::Swap,
        ),
        rule(
            "azure-gen1/mac-names",
            "udev rules, .link and .network files, netplan, ifcfg files, NetworkManager's connections",
            "No network interface may be bound to a MAC address: in Azure it has another one, and the guest is not reached.",
            HYDRATION,
            Warning,
            MUST,
            "Remove the rule, or match the driver (hv_netvsc) instead of the address.",
            Check::BoundToMac,
        ),
        rule(
            "azure-gen1/static-address",
            "netplan, ifcfg files, NetworkManager's connections, .network files, /etc/network/interfaces",
            "The guest must take its address by DHCP: a fixed one inside Linux is not supported.",
            STATIC_LINUX,
            Warning,
            MUST,
            "Set the interface to DHCP, and reserve the address in Azure.",
            Check::StaticAddress,
        ),
        rule(
            "azure-gen1/lvm",
            "what lies on the partitions",
            "Plain partitions are recommended on the OS disk, rather than LVM.",
            NOTES,
            Note,
            SHOULD,
            "Nothing: it starts. Names of groups collide when the disk is attached to a machine of the same kind.",
            Check::Lvm,
        ),
        rule(
            "azure-gen1/agent",
            "files of the root file system",
            "waagent or cloud-init should be installed: they provision the guest and report that it is ready.",
            SYSTEM,
            Note,
            SHOULD,
            "Install walinuxagent (Debian, Ubuntu) or WALinuxAgent, and cloud-init.",
            Check::NoAgent,
        ),
    ],
};
