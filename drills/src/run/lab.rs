//! The world of a run, handed in by floor 3: nothing below it looks at clocks, environment or search paths.

use crate::event::{HostFacts, Proof};
use crate::script::VerbError;
use engine::boot::LoaderKit;
use qemu::{Cancel, Redactor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes a sample disk, or finds it made: name, progress lines, cancel.
pub type Fixtures =
    Arc<dyn Fn(&str, &mut dyn FnMut(&str), &Cancel) -> Result<PathBuf, VerbError> + Send + Sync>;

/// Makes the GRUB pieces of this host for a script at an LBA, or finds them made.
pub type Kits = Arc<dyn Fn(u64, &Cancel) -> Result<LoaderKit, VerbError> + Send + Sync>;

/// What a run needs from its host.
pub struct Lab {
    /// Where QEMU, its firmware and `qemu-img` are, and which accelerator to take.
    pub host: qemu::Host,
    /// Sample disks.
    pub fixtures: Fixtures,
    /// GRUB pieces.
    pub kits: Kits,
    /// How sources are proved untouched.
    pub proof: Proof,
    /// Program and version, for the journal.
    pub tool: String,
    /// Facts about the host, for the journal.
    pub host_facts: HostFacts,
    /// The clock.
    pub now: fn() -> jiff::Timestamp,
    /// Folder for sockets, whose paths must be short.
    pub sockets: PathBuf,
    /// Who reads images that the engine does not.
    pub reader: crate::image::Reader,
    /// What the user said of the images.
    pub told: Told,
    /// Secrets by their names, as they were given.
    pub secrets: BTreeMap<String, String>,
    /// What no run of this project may write: the secrets, and what the project's patterns match.
    pub redactor: Redactor,
}

/// What the user said of the images of a run.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Parent and backing files, where they are not in an image's own folder.
    pub parents: Vec<PathBuf>,
    /// The format of images that are named by their path; their content decides otherwise.
    pub format: Option<engine::container::Format>,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the user named: a scenario or an image. Runs of one path are one history.
    pub path: PathBuf,
    /// Title to show instead of the scenario's own.
    pub title: Option<String>,
    /// Name of the source in messages.
    pub source_name: String,
    /// The scenario's text.
    pub text: String,
    /// Arguments for `arg(…)`.
    pub args: BTreeMap<String, String>,
    /// Start given images as this generation, whatever is found on them.
    pub generation: Option<qemu::Generation>,
}

impl Request {
    /// A scenario file's text.
    pub fn scenario(path: &Path, text: String, args: BTreeMap<String, String>) -> Self {
        Request {
            path: path.into(),
            title: None,
            source_name: path.display().to_string(),
            text,
            args,
            generation: None,
        }
    }

    /// The stock failover story on a plain image.
    pub fn image(path: &Path, mut args: BTreeMap<String, String>) -> Self {
        args.insert("image".into(), path.display().to_string());
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Request {
            path: path.into(),
            title: Some(format!("{name}: test failover")),
            source_name: "stock:failover".into(),
            text: crate::script::stock::FAILOVER.into(),
            args,
            generation: None,
        }
    }

    /// Short name for folders: the path's stem.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned())
    }
}
