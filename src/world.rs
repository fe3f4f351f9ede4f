//! The world below floor 3's feet: environment, signals, programs, clocks. Looked up here and handed down.

use crate::cli::AccelArg;
use crate::hidden::Hidden;
use anyhow::Context;
use drills::event::{HostFacts, Proof};
use drills::image::{ImageError, Reader};
use drills::run::{Lab, Told};
use drills::script::{VerbError, VerbOutcome};
use drills::verdict::ExitCode;
use engine::container::{Format, Gate, OpenError, Opened};
use qemu::{Accel, AccelChoice, Cancel, Host};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where Debian's GRUB keeps its BIOS modules.
const GRUB_DIR: &str = "/usr/lib/grub/i386-pc";

/// Why a command ended without its answer.
pub struct Problem {
    /// What the process answers.
    pub exit: ExitCode,
    /// Where, wanted, found.
    pub message: String,
    /// What to do.
    pub next: Option<String>,
    /// The same as data, where there is more to say than a sentence.
    pub details: Option<serde_json::Value>,
}

impl Problem {
    /// A problem with this exit code.
    pub fn new(exit: ExitCode, message: impl std::fmt::Display) -> Self {
        Problem { exit, message: message.to_string(), next: None, details: None }
    }

    /// The same with advice.
    pub fn next(mut self, next: impl std::fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// The same with its data.
    pub fn details(mut self, details: &impl serde::Serialize) -> Self {
        self.details = serde_json::to_value(details).ok();
        self
    }
}

impl From<anyhow::Error> for Problem {
    fn from(e: anyhow::Error) -> Self {
        Problem::new(ExitCode::Broken, format!("{e:#}"))
    }
}

/// SIGINT, SIGTERM and SIGHUP cancel; a second one ends the process at once (QEMU dies with it).
pub fn watch_signals() -> Cancel {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered first, so it sees the flag as it was before this signal.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone());
        let _ = signal_hook::flag::register(signal, flag.clone());
    }
    Cancel::from_flag(flag)
}

/// Folder of caches: `$DRILL_CACHE`, else `$XDG_CACHE_HOME/drill`, else `~/.cache/drill`.
pub fn cache_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("DRILL_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("drill")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/drill")))
        .context("no place for caches: set DRILL_CACHE or HOME")
}

/// The programs of this host.
pub fn host(accel: AccelArg) -> Result<Host, Problem> {
    let cache = cache_dir()?;
    let choice = match accel {
        AccelArg::Auto => AccelChoice::Measured { memory: cache.join("accel.json") },
        AccelArg::Kvm => AccelChoice::Forced(Accel::Kvm),
        AccelArg::Tcg => AccelChoice::Forced(Accel::Tcg),
    };
    std::fs::create_dir_all(&cache).context("making the cache folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    Host::discover(&path, config.as_deref(), choice).map_err(|e| {
        Problem::new(ExitCode::Broken, e).next("drill doctor says what is missing; ./x setup installs it")
    })
}

/// Full path of a program in PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|d| d.join(name))
        .find(|p| p.is_file())
}

/// The GRUB pieces of this host for a script at `script_lba`, made once and cached.
pub fn kit(script_lba: u64, cancel: &Cancel) -> Result<engine::boot::LoaderKit, VerbError> {
    let broken = |e: &dyn std::fmt::Display| VerbError::new(VerbOutcome::Broken, e.to_string());
    let cache = cache_dir().map_err(|e| broken(&e))?;
    let grub = drills::loader::GrubPaths {
        mkimage: program("grub-mkimage").unwrap_or_else(|| PathBuf::from("/usr/bin/grub-mkimage")),
        modules: GRUB_DIR.into(),
    };
    if cancel.is_cancelled() {
        return Err(VerbError::new(VerbOutcome::Interrupted, "the run was cancelled"));
    }
    drills::loader::kit(&grub, script_lba, &cache)
        .map_err(|e| broken(&e).with_next("./x setup, or apt install grub-pc-bin grub-common"))
}

/// A sample disk, built when it is not cached.
pub fn sample(name: &str, say: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<PathBuf, VerbError> {
    let broken = |e: &dyn std::fmt::Display| VerbError::new(VerbOutcome::Broken, e.to_string());
    let cache = cache_dir().map_err(|e| broken(&e))?;
    fixtures::build(name, &cache, say, &|| cancel.is_cancelled()).map_err(|e| match e {
        fixtures::FixtureError::Cancelled { .. } => VerbError::new(VerbOutcome::Interrupted, e.to_string()),
        other => broken(&other).with_next("drill doctor says which tools are missing"),
    })
}

/// Open an image, whoever must read it. `parents` are files that names inside it may lead to, besides those in its folder.
pub fn open_image(path: &Path, format: Option<Format>, parents: &[PathBuf]) -> Result<Opened, Problem> {
    let gate = Gate::same_folder().with_given(parents.iter().cloned());
    let opened = match engine::container::open_through(path, format, &gate) {
        // Only now, because most images need neither the program nor a folder for its socket.
        Err(OpenError::Foreign { .. }) => {
            drills::image::open_foreign(path, format, &gate, &reader(socket_dir()?))
        }
        other => other.map_err(ImageError::Image),
    };
    opened.map_err(|e| {
        let exit = match e {
            ImageError::Image(_) => ExitCode::Failed,
            ImageError::Reader { .. } => ExitCode::Broken,
        };
        Problem::new(exit, &e).next(e.next())
    })
}

fn reader(sockets: PathBuf) -> Reader {
    Reader { qemu_nbd: program("qemu-nbd"), sockets }
}

/// Everything a run needs.
pub fn lab(accel: AccelArg, proof: Proof, told: Told, hidden: Hidden) -> Result<Arc<Lab>, Problem> {
    let host = host(accel)?;
    let sockets = socket_dir()?;
    Ok(Arc::new(Lab {
        host_facts: facts(&host),
        host,
        fixtures: Arc::new(sample),
        kits: Arc::new(kit),
        proof,
        tool: format!("drill {}", env!("CARGO_PKG_VERSION")),
        now: jiff::Timestamp::now,
        reader: reader(sockets.clone()),
        sockets,
        told,
        secrets: hidden.secrets,
        redactor: hidden.redactor,
    }))
}

/// A private folder with a short path: a unix socket's name holds 107 bytes.
fn socket_dir() -> Result<PathBuf, Problem> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = runtime.filter(|d| d.is_dir() && d.as_os_str().len() < 60).unwrap_or_else(std::env::temp_dir);
    let uid = std::fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or(0);
    let dir = base.join(format!("drill-{uid}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Problem::new(ExitCode::Broken, format!("{}: {e}", dir.display()))),
    }
    let meta = std::fs::symlink_metadata(&dir).context("the socket folder")?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(Problem::new(
            ExitCode::Broken,
            format!("{} must be a folder of this user alone (mode 0700)", dir.display()),
        )
        .next("remove it, or set XDG_RUNTIME_DIR"));
    }
    sweep_sockets(&dir);
    Ok(dir)
}

/// Sockets are named after the process that serves them; those of processes that are gone are removed.
fn sweep_sockets(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().and_then(|p| p.parse::<u32>().ok());
        if name.ends_with(".nbd") && pid.is_some_and(|p| !Path::new(&format!("/proc/{p}")).exists()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn facts(host: &Host) -> HostFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str, at: char| {
        text.lines()
            .find_map(|l| l.split_once(at).filter(|(k, _)| k.trim() == key))
            .map(|(_, v)| v.trim().trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let memory_kib = field(&read("/proc/meminfo"), "MemTotal", ':');
    let memory_kib: u64 = memory_kib.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    HostFacts {
        name: read("/proc/sys/kernel/hostname").trim().to_owned(),
        os: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: field(&read("/proc/cpuinfo"), "model name", ':'),
        cpus: std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(0)),
        memory_mib: memory_kib / 1024,
        qemu: qemu_version(host),
    }
}

/// Whether KVM works for a generation, by a tiny real boot now.
pub fn measure_kvm(host: &Host, generation: qemu::Generation, cancel: &Cancel) -> Result<(), String> {
    if !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".into());
    }
    let dir = std::env::temp_dir().join(format!("drill-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let measured = qemu::measure(host, generation, Accel::Kvm, &dir, cancel);
    let _ = std::fs::remove_dir_all(&dir);
    measured
}

/// First line of `qemu-system-x86_64 --version`.
pub fn qemu_version(host: &Host) -> String {
    std::process::Command::new(&host.qemu_binary)
        .arg("--version")
        .output()
        .ok()
        .and_then(|o| String::from_utf8_lossy(&o.stdout).lines().next().map(str::to_owned))
        .unwrap_or_default()
}

/// 16 random bytes from the kernel.
pub fn random_id() -> anyhow::Result<[u8; 16]> {
    use std::io::Read;
    let mut id = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut id)).context("/dev/urandom")?;
    Ok(id)
}
