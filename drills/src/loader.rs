//! GRUB for the BIOS, as bytes: made with the host's `grub-mkimage`, once per version of GRUB.
//!
//! The core is the same for every disk whose gap is as usual: its embedded line reads a plain-text script from fixed sectors of the disk it was started
//! from, and what is particular about a disk stands there ([`engine::boot`]). So the core can be kept: an entry of the cache is named by
//! the BLAKE3 of everything that went into it, carries the BLAKE3 of what came out, and appears under its name only when whole.

#[cfg(test)]
mod tests;

use engine::boot::{KitError, LoaderKit};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use engine::convert::SCRIPT_SECTORS;

/// What the core can do: partition tables and file systems a `/boot` may lie on, and the commands of distributions' `grub.cfg`.
const MODULES: &str = "biosdisk part_gpt part_msdos fat ext2 lvm btrfs xfs search search_fs_uuid search_fs_file search_label normal \
    configfile linux loopback echo test serial terminal minicmd loadenv gzio regexp probe true sleep halt reboot ls cat all_video gfxterm font \
    keystatus";

/// Nothing here is larger; a folder of GRUB modules has about 300 files of a few KiB.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// How many files a folder of modules may have.
const MAX_FILES: usize = 2_000;
/// How much of what `grub-mkimage` says is kept, in characters.
const MAX_WORDS: usize = 2_000;

/// Where the host keeps GRUB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrubPaths {
    /// The program `grub-mkimage`.
    pub mkimage: PathBuf,
    /// The folder of i386-pc modules.
    pub modules: PathBuf,
}

impl GrubPaths {
    /// Where Debian's packages put them.
    pub fn debian() -> GrubPaths {
        GrubPaths { mkimage: "/usr/bin/grub-mkimage".into(), modules: "/usr/lib/grub/i386-pc".into() }
    }
}

/// Why there is no loader.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// Something of GRUB is not installed.
    #[error("{} is missing: install the package {package}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A file could not be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `grub-mkimage` did not make a core.
    #[error("{} ended with {status}: {words}", program.display())]
    Mkimage {
        /// The program.
        program: PathBuf,
        /// Its exit status.
        status: String,
        /// What it printed.
        words: String,
    },
    /// What it made is not what we know how to place.
    #[error("GRUB from {}: {source}", path.display())]
    Strange {
        /// The folder of modules.
        path: PathBuf,
        /// What is strange.
        source: KitError,
    },
}

/// The embedded configuration. It runs in GRUB's rescue parser, which knows one line and no `if`; `$root` is the disk the BIOS started.
fn embedded(script_lba: u64) -> String {
    format!("normal ($root){script_lba}+{SCRIPT_SECTORS}\n")
}

/// The loader for a script at `script_lba`: from `cache`, or made and put there. `cache` is made when it is missing.
///
/// # Errors
/// See [`LoaderError`].
pub fn kit(grub: &GrubPaths, script_lba: u64, cache: &Path) -> Result<LoaderKit, LoaderError> {
    let boot_img = read(&grub.modules.join("boot.img"), "grub-pc-bin")?;
    let key = inputs(grub, script_lba)?;
    std::fs::create_dir_all(cache).map_err(|e| fault("making the folder", cache, e))?;
    let entry = cache.join(format!("grub-core-{key}.bin"));
    let version = version(&grub.modules);
    let whole = |core_img: Vec<u8>| LoaderKit {
        provenance: format!("GRUB {version} from {}, core {}", grub.modules.display(), short(&core_img)),
        boot_img: boot_img.clone(),
        core_img,
        script_lba,
        script_sectors: SCRIPT_SECTORS,
    };
    if let Some(kit) = kept(&entry).map(&whole).filter(|k| k.check().is_ok()) {
        return Ok(kit);
    }
    let kit = whole(make(grub, script_lba, cache)?);
    kit.check().map_err(|source| LoaderError::Strange { path: grub.modules.clone(), source })?;
    keep(cache, &entry, &kit.core_img)?;
    Ok(kit)
}

fn make(grub: &GrubPaths, script_lba: u64, cache: &Path) -> Result<Vec<u8>, LoaderError> {
    let temp = |e| fault("making a temporary file in", cache, e);
    let mut config = tempfile::NamedTempFile::new_in(cache).map_err(temp)?;
    config.write_all(embedded(script_lba).as_bytes()).map_err(temp)?;
    let out = tempfile::NamedTempFile::new_in(cache).map_err(temp)?;
    let run = Command::new(&grub.mkimage)
        .args(["-O", "i386-pc", "-p", "/boot/grub", "-d"])
        .args([grub.modules.as_os_str(), OsStr::new("-c"), config.path().as_os_str()])
        .args([OsStr::new("-o"), out.path().as_os_str()])
        .args(MODULES.split_whitespace())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| fault("starting", &grub.mkimage, e))?;
    if !run.status.success() {
        let words = String::from_utf8_lossy(&run.stderr).trim().chars().take(MAX_WORDS).collect();
        return Err(LoaderError::Mkimage {
            program: grub.mkimage.clone(),
            status: run.status.to_string(),
            words,
        });
    }
    bounded(out.path()).map_err(|e| fault("reading", out.path(), e))
}

/// The core of a cache entry, when it is whole.
fn kept(entry: &Path) -> Option<Vec<u8>> {
    let bytes = bounded(entry).ok()?;
    let (sum, core) = bytes.split_first_chunk::<32>()?;
    (blake3::hash(core).as_bytes() == sum).then(|| core.to_vec())
}

fn keep(cache: &Path, entry: &Path, core: &[u8]) -> Result<(), LoaderError> {
    let wrong = |e| fault("writing", entry, e);
    let mut file = tempfile::NamedTempFile::new_in(cache).map_err(wrong)?;
    file.write_all(blake3::hash(core).as_bytes()).map_err(wrong)?;
    file.write_all(core).map_err(wrong)?;
    file.as_file().sync_all().map_err(wrong)?;
    file.persist(entry).map_err(|e| wrong(e.error))?;
    Ok(())
}

/// BLAKE3 of everything that decides what the core becomes.
fn inputs(grub: &GrubPaths, script_lba: u64) -> Result<String, LoaderError> {
    let mut hash = blake3::Hasher::new();
    let mut add = |name: &str, bytes: &[u8]| {
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add("embedded", embedded(script_lba).as_bytes());
    add("modules", MODULES.as_bytes());
    add("mkimage", &read(&grub.mkimage, "grub-common")?);
    let listing = std::fs::read_dir(&grub.modules).map_err(|e| fault("listing", &grub.modules, e))?;
    let mut names: Vec<String> = listing
        .take(MAX_FILES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|n| [".mod", ".img", ".lst"].iter().any(|end| n.ends_with(end)))
        .collect();
    names.sort();
    for name in names {
        add(&name, &read(&grub.modules.join(&name), "grub-pc-bin")?);
    }
    Ok(hash.finalize().to_hex().to_string())
}

/// GRUB's version as its package says it, in `modinfo.sh`.
fn version(modules: &Path) -> String {
    let text = bounded(&modules.join("modinfo.sh")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|l| l.strip_prefix("grub_version="));
    line.map_or("of unknown version".to_owned(), |v| v.trim_matches(['"', '\'']).to_owned())
}

fn short(core: &[u8]) -> String {
    blake3::hash(core).to_hex().chars().take(12).collect()
}

fn read(path: &Path, package: &'static str) -> Result<Vec<u8>, LoaderError> {
    bounded(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => LoaderError::Missing { path: path.to_owned(), package },
        _ => fault("reading", path, e),
    })
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn fault(what: &'static str, path: &Path, source: io::Error) -> LoaderError {
    LoaderError::Io { what, path: path.to_owned(), source }
}
