//! The command line, as data.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use engine::preflight::{NAMES, ProfileId};
use std::path::PathBuf;

/// Prove that disaster-recovery copies boot.
#[derive(Parser, Debug)]
#[command(name = "drill", version, about, long_about = LONG_ABOUT, after_help = exit_code_help(), propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "Prove that disaster-recovery copies boot.\n\n\
drill takes the disk of a Generation 2 virtual machine (UEFI, GPT, VHDX), does to it what a recovery service does at failover \
(Generation 1: BIOS, fixed VHD), boots both under QEMU, fails back with what the guest wrote, and keeps the evidence. \
An image that you give is never opened for writing.";

fn exit_code_help() -> String {
    drills::verdict::exit_code_table()
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run drills: scenarios, plain disk images (the stock failover story), or folders of scenarios.
    Run(RunArgs),
    /// Find a scenario's mistakes before anything boots.
    Check(CheckArgs),
    /// Say what a disk image holds and what would start from it. Only reads.
    Inspect(InspectArgs),
    /// Convert an image to the other generation, into a new file.
    Convert(ConvertArgs),
    /// Compare two disks by meaning: table, ids, boot code, files. Only reads. Exit code 0: the same, 1: they differ.
    Diff(DiffArgs),
    /// Explain a profile or a rule of the preflight: what it says, who said so and when, what to do. Without a name: list them.
    Explain(ExplainArgs),
    /// Boot an image once and say how far it came. The image is only read.
    Boot(BootArgs),
    /// Test the judge: plant known faults, boot each, and see that it is caught for its own reason; boot the clean disk and see that it is not.
    Selftest(SelftestArgs),
    /// Make a sample disk image.
    Fixture(FixtureArgs),
    /// Say what is installed here, which firmware there is, and whether KVM works.
    Doctor(DoctorArgs),
    /// Explain the last run that did not pass: where, what was seen, since when, what next.
    Why(WhyArgs),
    /// Show a recorded run again.
    Replay(ReplayArgs),
    /// Watch and start drills on a full screen.
    Tui(TuiArgs),
}

/// `drill run`.
#[derive(clap::Args, Debug)]
pub struct RunArgs {
    /// Scenarios (.rhai), disk images, or folders of scenarios.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Set a scenario's argument: arg("name", …) gives value.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take images that are named by their path as this format instead of looking: raw, vhd, vhdx, qcow2 or vmdk.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// A parent or backing file of an image, when it is not in the image's folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE")]
    pub parents: Vec<PathBuf>,
    /// Folder of run folders.
    #[arg(long, value_name = "DIR", default_value = ".drill/runs")]
    pub out: PathBuf,
    /// How to prove that the source was not touched: `quick` compares the file's identity, size and times; `full` hashes it before and after.
    #[arg(long, value_enum, default_value_t = Proof::Quick)]
    pub proof: Proof,
    /// KVM or TCG.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto, env = "DRILL_ACCEL")]
    pub accel: AccelArg,
    /// Also write a JUnit report here (one file for all runs of this command).
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// One JSON document on standard output, nothing else there.
    #[arg(long)]
    pub json: bool,
    /// Say it in ASCII only.
    #[arg(long)]
    pub ascii: bool,
}

/// How the source's being untouched is proved.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Device, inode, size and times are the same, and only read-only descriptors were opened.
    Quick,
    /// BLAKE3 of the whole file before and after.
    Full,
}

/// Which accelerator.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccelArg {
    /// KVM where a measured tiny boot shows that it works, else TCG.
    Auto,
    /// KVM, without asking.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// `drill check`.
#[derive(clap::Args, Debug)]
pub struct CheckArgs {
    /// Scenarios or folders of scenarios.
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill inspect`.
#[derive(clap::Args, Debug)]
pub struct InspectArgs {
    /// The image.
    pub image: PathBuf,
    /// A parent or backing file of the image, when it is not in its folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE")]
    pub parents: Vec<PathBuf>,
    /// Take it as this format instead of looking.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Also show what this profile's rules find.
    #[arg(long, value_name = "PROFILE", value_parser = profile_parser())]
    pub profile: Option<ProfileId>,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// A profile by its name.
fn profile_parser() -> impl TypedValueParser<Value = ProfileId> {
    PossibleValuesParser::new(NAMES).try_map(|name| name.parse::<ProfileId>())
}

/// `drill explain`.
#[derive(clap::Args, Debug)]
pub struct ExplainArgs {
    /// A profile (asr-2015) or a rule (asr-2015/os-disk-300gb, kernel-missing).
    pub name: Option<String>,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill diff`.
#[derive(clap::Args, Debug)]
pub struct DiffArgs {
    /// What there was.
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// What there is.
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Only what matters to starting: table, ids, boot code, ESP, kernels, initramfs, loader configuration, fstab, crypttab.
    #[arg(long)]
    pub boot: bool,
    /// Most lines shown of a text file that changed; 0 shows none.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub lines: usize,
    /// A parent or backing file of an image, when it is not in the image's folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE")]
    pub parents: Vec<PathBuf>,
    /// Take both images as this format instead of looking.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["format_a", "format_b"])]
    pub format: Option<String>,
    /// The same for A alone.
    #[arg(long, value_name = "FORMAT")]
    pub format_a: Option<String>,
    /// The same for B alone.
    #[arg(long, value_name = "FORMAT")]
    pub format_b: Option<String>,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill convert`.
#[derive(clap::Args, Debug)]
pub struct ConvertArgs {
    /// The image to convert; only read.
    pub image: PathBuf,
    /// The new file; must not exist. Its ending says the format: `.vhd` a fixed VHD, `.vhdx` a dynamic VHDX, `.qcow2`, `.raw` or `.img`.
    pub out: PathBuf,
    /// A parent or backing file of the image, when it is not in its folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE")]
    pub parents: Vec<PathBuf>,
    /// The generation to make. Without it the disk stays as it is and only its container changes.
    #[arg(long, value_enum)]
    pub to: Option<Generation>,
    /// Format of the new file, whatever its name ends in.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatArg>,
    /// Take the image as this format instead of looking: raw, vhd, vhdx, qcow2 or vmdk.
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,
    /// Partition table of a Generation 1 result.
    #[arg(long, value_enum, default_value_t = TableArg::Auto, requires = "to")]
    pub table: TableArg,
    /// Whose rules decide whether a disk is taken (`drill explain` lists them): a service's at a date, Azure's, or, without this, what
    /// drill itself can do.
    #[arg(long, value_name = "PROFILE", requires = "to", value_parser = profile_parser())]
    pub profile: Option<ProfileId>,
    /// The kernel's command line, for a guest whose firmware starts a kernel itself and keeps its command line in its own memory.
    #[arg(long, value_name = "TEXT", requires = "to")]
    pub cmdline: Option<String>,
    /// What failback needs, when the disk's own copy is gone (written beside each Generation 1 result).
    #[arg(long, value_name = "FILE", requires = "to")]
    pub capsule: Option<PathBuf>,
    /// Write only what changes: a qcow2 on top of the image, which must stay where and as it is for as long as the child is used. Costs the same
    /// for a disk of any size.
    #[arg(long, requires = "to", conflicts_with = "hash")]
    pub child: bool,
    /// Read the new file back before it gets its name, and print the hash of its disk (BLAKE3).
    #[arg(long)]
    pub hash: bool,
    /// Do not wait for the storage: faster, but a power cut soon after may leave a damaged file. For copies that are thrown away.
    #[arg(long)]
    pub no_flush: bool,
    /// Show the plan, write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Formats that can be written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatArg {
    /// Fixed VHD, as Azure wants it.
    Vhd,
    /// Dynamic VHD.
    VhdDynamic,
    /// Dynamic VHDX, as Hyper-V makes it.
    Vhdx,
    /// Fixed VHDX.
    VhdxFixed,
    /// The bytes of the disk, with holes.
    Raw,
    /// QEMU's format.
    Qcow2,
}

/// A virtual machine's generation.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// BIOS, IDE.
    Gen1,
    /// UEFI, SCSI.
    Gen2,
}

/// Partition table strategy.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableArg {
    /// By rule: GPT is kept for Linux.
    Auto,
    /// Keep GPT; only boot code changes.
    Gpt,
    /// A real MBR, for platforms that demand it.
    Mbr,
}

/// `drill boot`.
#[derive(clap::Args, Debug)]
pub struct BootArgs {
    /// The image; only read.
    pub image: PathBuf,
    /// Take the image as this format instead of looking: raw, vhd, vhdx, qcow2 or vmdk.
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// A parent or backing file of the image, when it is not in its folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE")]
    pub parents: Vec<PathBuf>,
    /// As which generation.
    #[arg(long = "as", value_enum)]
    pub generation: Generation,
    /// Wait for this text on the console or the screen instead of `ready`.
    #[arg(long, value_name = "TEXT")]
    pub expect: Option<String>,
    /// Give up after this long: 120s, 3m.
    #[arg(long, value_name = "TIME", default_value = "180s")]
    pub within: String,
    /// Enforce Secure Boot (Generation 2).
    #[arg(long)]
    pub secure_boot: bool,

    /// Give it a TPM 2.0, empty (Generation 2)
    #[arg(long)]
    pub tpm: bool,
    /// Memory in MiB.
    #[arg(long, default_value_t = 1024)]
    pub memory: u32,
    /// KVM or TCG.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto, env = "DRILL_ACCEL")]
    pub accel: AccelArg,
    /// Folder of run folders.
    #[arg(long, value_name = "DIR", default_value = ".drill/runs")]
    pub out: PathBuf,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill selftest`.
#[derive(clap::Args, Debug)]
pub struct SelftestArgs {
    /// The Generation 2 disk to plant the faults in; only read. Without it: the sample tiny-gen2.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Take the image as this format instead of looking: raw, vhd, vhdx, qcow2 or vmdk.
    #[arg(long, value_name = "FORMAT", requires = "image")]
    pub format: Option<String>,
    /// A parent or backing file of the image, when it is not in its folder; may be given several times.
    #[arg(long = "parent", value_name = "FILE", requires = "image")]
    pub parents: Vec<PathBuf>,
    /// Only these faults; `--list` names all.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Boots of the clean disk, every second one of its Generation 1 copy; each that is not called ready is a false alarm.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub clean_boots: u32,
    /// Give up on each boot after this long: 120s, 3m.
    #[arg(long, value_name = "TIME", default_value = "180s")]
    pub within: String,
    /// Memory of each machine in MiB.
    #[arg(long, default_value_t = 1024)]
    pub memory: u32,
    /// KVM or TCG.
    #[arg(long, value_enum, default_value_t = AccelArg::Auto, env = "DRILL_ACCEL")]
    pub accel: AccelArg,
    /// Folder of run folders.
    #[arg(long, value_name = "DIR", default_value = ".drill/runs")]
    pub out: PathBuf,
    /// List the faults, boot nothing.
    #[arg(long)]
    pub list: bool,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill fixture`.
#[derive(clap::Args, Debug)]
pub struct FixtureArgs {
    /// Which one; `drill fixture list` names them.
    pub name: String,
    /// The new file; must not exist.
    pub out: Option<PathBuf>,
}

/// `drill doctor`.
#[derive(clap::Args, Debug)]
pub struct DoctorArgs {
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill why`.
#[derive(clap::Args, Debug)]
pub struct WhyArgs {
    /// Folder of run folders.
    #[arg(long, value_name = "DIR", default_value = ".drill/runs")]
    pub out: PathBuf,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `drill replay`.
#[derive(clap::Args, Debug)]
pub struct ReplayArgs {
    /// A journal.jsonl, or a run folder.
    pub journal: PathBuf,
    /// Write JUnit to standard output instead.
    #[arg(long, conflicts_with = "json")]
    pub junit: bool,
    /// One JSON document on standard output.
    #[arg(long)]
    pub json: bool,
    /// Say it in ASCII only.
    #[arg(long)]
    pub ascii: bool,
}

/// `drill tui`.
#[derive(clap::Args, Debug)]
pub struct TuiArgs {
    /// A run folder to open at once.
    pub run: Option<PathBuf>,
    /// Folder of run folders.
    #[arg(long, value_name = "DIR", default_value = ".drill/runs")]
    pub out: PathBuf,
}
