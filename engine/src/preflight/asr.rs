//! Azure Site Recovery, as it documented itself: three dated profiles. Their texts disagree with one another, so none is merged with another.

use super::{Check, Profile, ProfileId, Rule, Source};
use crate::guest::Severity::{Blocker, Note};

/// The page of 2016; the wording of 2015 is the same where copies of it could be read.
const BEST_PRACTICES: Source = Source {
    what: "Azure documentation, Site Recovery best practices, \"Virtual machine type\"",
    date: "2016-03-29",
    address: "MicrosoftDocs/azure-docs articles/site-recovery/site-recovery-best-practices.md",
};
const MATRIX_2020: &str = "MicrosoftDocs/azure-docs articles/site-recovery/hyper-v-azure-support-matrix.md, commit fff18200feca4b3e4fcdda63d12282a3f5c14abc";
const VM_STORAGE_2020: Source = Source {
    what: "Azure documentation, support matrix Hyper-V to Azure, \"Hyper-V VM guest storage\"",
    date: "2020-01-27",
    address: MATRIX_2020,
};
const VM_REQUIREMENTS_2020: Source = Source {
    what: "Azure documentation, support matrix Hyper-V to Azure, \"Azure VM requirements\"",
    date: "2020-01-27",
    address: MATRIX_2020,
};
const MIGRATE_2020: &str =
    "MicrosoftDocs/azure-docs articles/migrate/migrate-support-matrix-vmware-migration.md";
const AGENT_BASED: Source = Source {
    what: "Azure documentation, support matrix for VMware migration, agent-based, \"VM requirements\"",
    date: "2020-06-08",
    address: MIGRATE_2020,
};
const AGENT_BASED_AZURE: Source = Source {
    what: "Azure documentation, support matrix for VMware migration, \"Azure VM requirements\"",
    date: "2020-06-08",
    address: MIGRATE_2020,
};

const GIB: u64 = 1 << 30;
/// 10^9 bytes: the other thing that GB may mean.
const GB: u64 = 1_000_000_000;

const TO_LAB: &str = "Site Recovery did not take it. Whether drill does, --profile lab says.";
const SMALLER: &str = "Shrink the OS disk in the guest, or move data to a disk of its own.";

const fn rule(
    id: &'static str,
    checks: &'static str,
    text: &'static str,
    source: Source,
    fix: &'static str,
    check: Check,
) -> Rule {
    Rule { id, checks, text, source, severity: Blocker, fix, azure: None, check }
}

const fn longer(gb: u64, bytes: u64) -> Check {
    Check::LongerThan { bytes, unclear_from: gb * GB }
}

pub(super) const ASR_2015: Profile = Profile {
    id: ProfileId::Asr2015,
    title: "Azure Site Recovery, Hyper-V to Azure",
    date: "2015-04 to 2016-03",
    about: "What Site Recovery documented for Generation 2 machines when it began to convert them at failover. It is the envelope of that service \
            at that date: a disk that it refuses may well be converted by drill (profile lab), and one that it takes is not proved to start.",
    silent: &[
        "how the disk is converted: no source describes the steps, at failover or at failback",
        "what happens to Secure Boot",
        "whether a GB is 10^9 or 2^30 bytes",
        "whether the volume of Windows counts among the \"1 or 2 data volumes\"",
        "what the blog post of 2015-04-28 says, to which the page refers: it could not be read",
    ],
    unseen: &[
        "that there is one OS disk and at most 16 data disks of at most 1023 GB",
        "that no disk is iSCSI, Fibre Channel or a shared VHD",
        "that the guest is a 64-bit system; a Generation 2 machine starts no other",
        "the name of the machine (1 to 63 letters, digits and hyphens)",
    ],
    rules: &[
        rule(
            "asr-2015/linux-gen2",
            "the system on the disk",
            "Linux on a Generation 2 machine is not supported.",
            BEST_PRACTICES,
            TO_LAB,
            Check::Linux,
        ),
        rule(
            "asr-2015/os-disk-300gb",
            "the length of the disk",
            "The disk of a Generation 2 machine must be smaller than 300 GB.",
            BEST_PRACTICES,
            SMALLER,
            longer(300, 300 * GIB - 1),
        ),
        rule(
            "asr-2015/os-disk-1023gb",
            "the length of the disk",
            "An OS disk may have at most 1023 GB.",
            BEST_PRACTICES,
            SMALLER,
            longer(1023, 1023 * GIB),
        ),
        rule(
            "asr-2015/os-disk-basic",
            "the types of the partitions",
            "The OS disk must be a basic disk, not a dynamic one.",
            BEST_PRACTICES,
            "Make it a basic disk again; Windows cannot do that without emptying it.",
            Check::DynamicDisk,
        ),
        rule(
            "asr-2015/data-volumes",
            "the number of data volumes on the OS disk",
            "The OS disk of a Generation 2 machine may include 1 or 2 data volumes.",
            BEST_PRACTICES,
            "Move volumes to a disk of their own.",
            Check::MoreDataVolumes(2),
        ),
        Rule {
            id: "asr-2015/vhdx",
            checks: "the container",
            text: "The disk of a Generation 2 machine is a VHDX.",
            source: BEST_PRACTICES,
            severity: Note,
            fix: "Nothing, if this file is a copy of one: the rules are about the disk in it.",
            azure: None,
            check: Check::NotVhdx,
        },
    ],
};

pub(super) const ASR_HYPERV_2020: Profile = Profile {
    id: ProfileId::AsrHyperV2020,
    title: "Azure Site Recovery, Hyper-V to Azure",
    date: "2020-01-27",
    about: "The support matrix of January 2020: the machine \"will be automatically converted to a BIOS boot VM\". It is the envelope of that \
            service at that date, not what drill can do (profile lab). No newer version of this page could be read.",
    silent: &[
        "how the disk is converted: no source describes the steps, at failover or at failback",
        "what happens to Secure Boot",
        "whether a GB is 10^9 or 2^30 bytes",
        "which partitions count among the five; that a Windows disk's reserved partition has no counterpart in an MBR would explain five here and four \
         for VMware, but no source says so",
        "whether exactly 300 GB are allowed: one table of the page says \"up to\", two say \"less than\"",
    ],
    unseen: &[
        "that there is one OS disk and at most 16 data disks of at most 4095 GB",
        "that no disk is Fibre Channel, pass-through, shared or clustered",
        "the name of the machine (1 to 63 letters, digits and hyphens)",
        "the edition: Windows Server 2016 Nano Server is not supported",
    ],
    rules: &[
        rule(
            "asr-hyperv-2020/linux-gen2",
            "the system on the disk",
            "Linux on a Generation 2 machine is not supported.",
            VM_REQUIREMENTS_2020,
            TO_LAB,
            Check::Linux,
        ),
        rule(
            "asr-hyperv-2020/windows-2012",
            "the version of Windows",
            "A machine that starts by UEFI must run Windows Server 2012 or later.",
            VM_STORAGE_2020,
            "Upgrade the guest.",
            Check::WindowsBefore2012,
        ),
        rule(
            "asr-hyperv-2020/os-disk-partitions",
            "the number of partitions",
            "The OS disk may have at most five partitions.",
            VM_STORAGE_2020,
            "Remove partitions that nobody needs, or move data to a disk of its own.",
            Check::MorePartitions(5),
        ),
        rule(
            "asr-hyperv-2020/os-disk-300gb",
            "the length of the disk",
            "The OS disk of a Generation 2 machine may have at most 300 GB.",
            VM_REQUIREMENTS_2020,
            SMALLER,
            longer(300, 300 * GIB),
        ),
        rule(
            "asr-hyperv-2020/os-disk-basic",
            "the types of the partitions",
            "The OS disk must be a basic disk, not a dynamic one.",
            VM_REQUIREMENTS_2020,
            "Make it a basic disk again; Windows cannot do that without emptying it.",
            Check::DynamicDisk,
        ),
        rule(
            "asr-hyperv-2020/data-volumes",
            "the number of data volumes on the OS disk",
            "The OS disk of a Generation 2 machine may include one or two data volumes.",
            VM_REQUIREMENTS_2020,
            "Move volumes to a disk of their own.",
            Check::MoreDataVolumes(2),
        ),
        rule(
            "asr-hyperv-2020/encrypted",
            "what lies on the partitions",
            "Encrypted disks are not supported, and BitLocker must be off before replication begins.",
            VM_REQUIREMENTS_2020,
            "Decrypt it in the guest.",
            Check::Encrypted,
        ),
        rule(
            "asr-hyperv-2020/sectors-4kn",
            "the sectors of the disk",
            "Disks with logical and physical sectors of 4096 bytes are not supported.",
            VM_STORAGE_2020,
            "Move the system to a disk with logical sectors of 512 bytes.",
            Check::Sectors4Kn,
        ),
        rule(
            "asr-hyperv-2020/storage-spaces",
            "the types of the partitions",
            "Storage Spaces are not supported.",
            VM_STORAGE_2020,
            "Move the volume out of the pool.",
            Check::StorageSpaces,
        ),
        rule(
            "asr-hyperv-2020/lvm",
            "what lies on the partitions",
            "LVM is supported on data disks only.",
            VM_STORAGE_2020,
            TO_LAB,
            Check::Lvm,
        ),
    ],
};

pub(super) const ASR_VMWARE_2019: Profile = Profile {
    id: ProfileId::AsrVmware2019,
    title: "Azure Site Recovery's agent, VMware and physical machines to Azure",
    date: "2019 to 2020-06",
    about: "The path with the Mobility service agent, which also converts UEFI to BIOS, as Azure Migrate documented it. It is the envelope of that \
            service at that date, not what drill can do (profile lab). It is here because its limits differ from those of Hyper-V.",
    silent: &[
        "how the disk is converted",
        "whether Linux by UEFI is taken: the page does not name it, but no Linux has all its volumes on NTFS",
        "whether the EFI system partition, which is FAT, counts among the volumes that should be NTFS; here it does not",
        "whether a GB is 10^9 or 2^30 bytes",
    ],
    unseen: &[
        "that the agent is installed",
        "that there are at most 63 disks, none shared, and no multipath",
        "that the guest is a 64-bit system that Azure supports",
        "the name of the machine (1 to 63 letters, digits and hyphens)",
    ],
    rules: &[
        rule(
            "asr-vmware-2019/os-disk-partitions",
            "the number of partitions",
            "The OS disk of a machine that starts by UEFI may have at most four partitions.",
            AGENT_BASED,
            "Remove partitions that nobody needs, or move data to a disk of its own.",
            Check::MorePartitions(4),
        ),
        rule(
            "asr-vmware-2019/volumes-ntfs",
            "the file systems",
            "The volumes of a machine that starts by UEFI should be formatted with NTFS.",
            AGENT_BASED,
            TO_LAB,
            Check::NotNtfs,
        ),
        rule(
            "asr-vmware-2019/os-disk-2048gb",
            "the length of the disk",
            "An OS disk may have at most 2048 GB.",
            AGENT_BASED_AZURE,
            SMALLER,
            longer(2048, 2048 * GIB),
        ),
        rule(
            "asr-vmware-2019/encrypted",
            "what lies on the partitions",
            "Encrypted disks and volumes are not supported, and BitLocker must be off.",
            AGENT_BASED_AZURE,
            "Decrypt it in the guest.",
            Check::Encrypted,
        ),
    ],
};
