//! What is installed on a disk, and whether it would start.
//!
//! [`inspect`] looks at bytes only and changes nothing; whatever is missing, damaged or unknown becomes a [`Finding`] instead of an
//! error, so that a broken disk can still be looked at. Its answer prints as a report and serializes as JSON.

mod chain;
mod devices;
mod findings;
pub(crate) mod fstab;
mod grub;
pub mod initramfs;
mod inspect;
mod loaders;
mod menu;
mod os;
mod report;
mod unsupported;
mod volumes;

pub use findings::{Finding, Severity};
pub use grub::{GrubMenu, GrubStub, MenuEntry};
pub use inspect::{Guest, Mounted, inspect, look};
pub use loaders::{Loader, LoaderKind};
pub use menu::{BootEntry, BootFile, BootMenu, KernelWord, MenuSource, Part, kernel_alone, kernel_words};
pub use os::{Os, OsKind};
pub(crate) use report::size;
pub use volumes::LogicalVolume;

use crate::disk::Geometry;
use crate::units::{ByteLen, ByteOffset};
use crate::volume::{FsKind, Journal};
use serde::{Deserialize, Serialize};

/// What an inspection found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// Length and sector size of the disk.
    pub geometry: Geometry,
    /// The partition table.
    pub table: Table,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
    /// Logical volumes (LVM2) of the groups that lie on the partitions.
    #[serde(default)]
    pub logical_volumes: Vec<LogicalVolume>,
    /// The operating system, if one was recognised.
    pub os: Option<Os>,
    /// Boot loaders on the EFI system partition.
    pub loaders: Vec<Loader>,
    /// The short `grub.cfg` on the ESP that leads to the real one.
    pub stub: Option<GrubStub>,
    /// The real `grub.cfg`.
    pub menu: Option<GrubMenu>,
    /// What the guest's own loader would offer, whichever it is.
    pub boot: Option<BootMenu>,
    /// Whether UEFI firmware would start it.
    pub uefi_start: Starts,
    /// Whether a BIOS would start it.
    pub bios_start: Starts,
    /// What stands out, worst first.
    pub findings: Vec<Finding>,
}

/// Whether firmware would start a disk, judged from its bytes alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "starts", rename_all = "kebab-case")]
pub enum Starts {
    /// Every link that can be checked is there.
    Yes {
        /// The chain of loaders.
        by: String,
    },
    /// A link is missing.
    No {
        /// Which one.
        why: String,
    },
    /// It depends on something that is not on the disk or cannot be read.
    Unknown {
        /// On what.
        why: String,
    },
}

/// Kind of partition table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// None that we know.
    None,
    /// GPT behind a protective MBR.
    Gpt,
    /// A real MBR; a GPT behind it is ignored by every system.
    Mbr,
    /// A GPT with real entries in its MBR.
    Hybrid,
}

/// The partition table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Which kind rules.
    pub kind: TableKind,
    /// GUID of a GPT disk, signature of an MBR disk.
    pub disk_id: Option<String>,
    /// Both GPT copies, when there is a GPT, even behind a real MBR.
    pub gpt: Option<GptCopies>,
}

/// The state of both copies of a GPT.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GptCopies {
    /// Whether the copy at LBA 1 is valid.
    pub primary_valid: bool,
    /// The verdict on it in words.
    pub primary: String,
    /// Whether the copy at the end is valid.
    pub backup_valid: bool,
    /// The verdict on it in words.
    pub backup: String,
    /// What else is odd about the table.
    pub problems: Vec<String>,
    /// First sector behind the primary copy's array.
    pub primary_end: Option<u64>,
}

/// One partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partition {
    /// Number, as Linux counts.
    pub number: u32,
    /// Type GUID or MBR type byte.
    pub type_id: String,
    /// What the type is called.
    pub type_name: String,
    /// Name in the GPT entry.
    pub name: Option<String>,
    /// PARTUUID.
    pub part_uuid: Option<String>,
    /// Attribute bits of a GPT entry. UEFI 2.10 table 5-8.
    #[serde(default)]
    pub attributes: Option<u64>,
    /// First byte.
    pub at: ByteOffset,
    /// Length.
    pub len: ByteLen,
    /// Whether an MBR entry is active.
    pub active: bool,
    /// Whether it is the EFI system partition by type (or, under an MBR, an active FAT partition with an `EFI` folder).
    pub is_esp: bool,
    /// What lies on it.
    pub fs: Option<FileSystem>,
}

/// Where a file system lies: on a partition, or in a logical volume that begins there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct FsPlace {
    /// Number of the partition.
    pub partition: u32,
    /// The logical volume as `GROUP/NAME`, when it is not the partition itself.
    pub lv: Option<String>,
}

impl FsPlace {
    /// The partition itself.
    pub fn partition(number: u32) -> FsPlace {
        FsPlace { partition: number, lv: None }
    }
}

impl std::fmt::Display for FsPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.lv {
            Some(lv) => write!(f, "logical volume {lv}"),
            None => write!(f, "partition {}", self.partition),
        }
    }
}

/// What lies on a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileSystem {
    /// Which file system.
    pub kind: FsKind,
    /// Its identifier.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// On btrfs, where in the whole file system the default subvolume lies that a plain mount shows: `/@/.snapshots/1/snapshot`.
    pub subvolume: Option<String>,
    /// State of its journal, when the file system could be opened.
    pub journal: Option<Journal>,
    /// Why it could not be opened.
    pub problem: Option<String>,
}

impl Inspection {
    /// The EFI system partition.
    pub fn esp(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.is_esp)
    }

    /// Each file system with its place, those in logical volumes behind those on partitions.
    pub fn file_systems(&self) -> impl Iterator<Item = (FsPlace, &FileSystem)> {
        let partitions =
            self.partitions.iter().filter_map(|p| Some((FsPlace::partition(p.number), p.fs.as_ref()?)));
        partitions.chain(self.logical_volumes.iter().filter_map(|lv| Some((lv.place(), lv.fs.as_ref()?))))
    }

    /// Where the file system of this identifier is.
    pub fn by_fs_uuid(&self, uuid: &str) -> Option<FsPlace> {
        let is = |fs: &FileSystem| fs.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(uuid));
        self.file_systems().find(|(_, fs)| is(fs)).map(|(place, _)| place)
    }

    /// The file system at `place`.
    pub fn file_system(&self, place: &FsPlace) -> Option<&FileSystem> {
        self.file_systems().find(|(at, _)| at == place).map(|(_, fs)| fs)
    }

    /// The logical volume that the guest calls `/dev/GROUP/NAME` or `/dev/mapper/GROUP-NAME`.
    pub fn by_device(&self, device: &str) -> Option<&LogicalVolume> {
        let (group, name) = devices::named_by(device)?;
        self.logical_volumes.iter().find(|lv| lv.group == group && lv.name == name)
    }

    /// The finding of this id.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.id == id)
    }

    /// Findings that stand in the way of a conversion.
    pub fn blockers(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Blocker)
    }

    /// The guest in a few words: `Debian GNU/Linux 12 (bookworm)`, `Windows`, `unknown system`.
    pub fn guest_name(&self) -> String {
        self.os.as_ref().map_or_else(|| "unknown system".to_string(), |os| os.pretty.clone())
    }
}
