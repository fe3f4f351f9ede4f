//! UEFI firmware, found through QEMU's own descriptors (`docs/interop/firmware.json` in QEMU's source).

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A descriptor is a few hundred bytes; anything larger than this is something else.
const MAX_DESCRIPTOR: u64 = 64 * 1024;
/// OVMF's flash images are 4 MiB at most.
const MAX_FLASH: u64 = 64 * 1024 * 1024;

/// The two flash images of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareFiles {
    /// The code, read-only, shared.
    pub code: PathBuf,
    /// The variables: of a descriptor, the template; of a boot, a fresh copy of it.
    pub vars: PathBuf,
}

/// Why no firmware was found.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// No descriptor fits.
    #[error("no UEFI firmware {wanted} in {looked:?}; on Debian: apt install ovmf")]
    NotFound {
        /// What it had to have.
        wanted: &'static str,
        /// Where descriptors were looked for.
        looked: Vec<PathBuf>,
    },
    /// The variables could not be copied.
    #[error("cannot copy {template} to {copy}")]
    Copy {
        /// The template.
        template: PathBuf,
        /// The copy wanted.
        copy: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    #[serde(default)]
    interface_types: Vec<String>,
    mapping: Mapping,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<Image>,
    nvram_template: Option<Image>,
}

#[derive(Deserialize)]
struct Image {
    filename: PathBuf,
    #[serde(default)]
    format: String,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// The first descriptor, by file name over all `dirs` (earlier folders hide later ones), that fits x86-64 q35 and
/// has, or has not, Secure Boot with enrolled keys.
///
/// # Errors
/// [`FirmwareError::NotFound`].
pub fn find(dirs: &[PathBuf], secure_boot: bool) -> Result<FirmwareFiles, FirmwareError> {
    let mut names = std::collections::BTreeMap::new();
    for path in dirs.iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten().flatten().map(|e| e.path()) {
        if path.extension().is_some_and(|e| e == "json")
            && let Some(name) = path.file_name()
        {
            names.entry(name.to_owned()).or_insert(path);
        }
    }
    names.values().filter_map(|path| read(path)).find_map(|d| fits(&d, secure_boot)).ok_or_else(|| {
        let wanted = if secure_boot { "with Secure Boot and enrolled keys" } else { "without Secure Boot" };
        FirmwareError::NotFound { wanted, looked: dirs.to_vec() }
    })
}

/// Copies the variables' template, or what an earlier start left, to `copy`, so that each start has a store of its own.
///
/// # Errors
/// [`FirmwareError::Copy`].
pub fn own_vars(
    files: &FirmwareFiles,
    kept: Option<&Path>,
    copy: &Path,
) -> Result<FirmwareFiles, FirmwareError> {
    let from = kept.unwrap_or(&files.vars);
    let fail = |source| FirmwareError::Copy { template: from.to_owned(), copy: copy.to_owned(), source };
    let template = std::fs::read(from).map_err(fail)?;
    // Written, not copied: the template's read-only mode must not come along.
    std::fs::write(copy, template).map_err(fail)?;
    Ok(FirmwareFiles { code: files.code.clone(), vars: copy.to_owned() })
}

fn read(path: &Path) -> Option<Descriptor> {
    if std::fs::metadata(path).ok()?.len() > MAX_DESCRIPTOR {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn fits(descriptor: &Descriptor, secure_boot: bool) -> Option<FirmwareFiles> {
    let has = |feature: &str| descriptor.features.iter().any(|f| f == feature);
    let uefi = descriptor.interface_types.iter().any(|t| t == "uefi") && descriptor.mapping.device == "flash";
    let q35 = descriptor.targets.iter().any(|t| {
        t.architecture == "x86_64" && t.machines.iter().any(|m| m.starts_with("pc-q35") || m == "q35")
    });
    let secure = has("secure-boot") && has("enrolled-keys");
    let plain = !has("secure-boot") && !has("requires-smm");
    if !uefi || !q35 || !(if secure_boot { secure } else { plain }) {
        return None;
    }
    let code = descriptor.mapping.executable.as_ref()?;
    let vars = descriptor.mapping.nvram_template.as_ref()?;
    let usable = |i: &Image| {
        i.format == "raw" && std::fs::metadata(&i.filename).is_ok_and(|m| m.is_file() && m.len() <= MAX_FLASH)
    };
    (usable(code) && usable(vars))
        .then(|| FirmwareFiles { code: code.filename.clone(), vars: vars.filename.clone() })
}
