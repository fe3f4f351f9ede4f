//! The guest's own EFI loaders, where distributions put them beside whatever they started from. Nothing here comes from the host.
//!
//! Debian and Ubuntu: package contents of shim-signed and grub-efi-amd64-signed. SUSE: those of shim and grub2-x86_64-efi. Fedora and RHEL
//! install into `/boot/efi/EFI/VENDOR` even where no ESP is mounted there.

use super::no;
use super::pe::{self, Signed};
use super::tree::Tree;
use crate::convert::Bytes;
use crate::convert::plan::Refusal;
use crate::volume::VolumeError;

/// Longest loader that is taken: three of these, twice, are still less than the largest ESP.
const PROGRAM_MAX: u64 = 16 << 20;
/// Most vendor folders that are looked into.
const VENDORS_MAX: usize = 16;
/// Longest name of a vendor's folder.
const VENDOR_MAX: usize = 32;

/// An EFI program of the guest.
pub(super) struct Program {
    /// Where it was found.
    pub from: String,
    /// What it is.
    pub bytes: Bytes,
    /// Whether it carries a signature.
    pub signed: Signed,
}

/// What goes onto the ESP.
pub(super) struct Loaders {
    /// The first stage that Microsoft signs.
    pub shim: Option<Program>,
    /// GRUB.
    pub grub: Program,
    /// What shim starts to enrol keys.
    pub manager: Option<Program>,
    /// The folder below `EFI` that GRUB was built for; `None` for one that looks beside itself.
    pub vendor: Option<String>,
    /// Name under which shim looks for GRUB.
    pub second: &'static str,
    /// Name under which shim looks for the manager.
    pub manager_name: &'static str,
    /// What GRUB's paths on btrfs mean.
    pub btrfs: Btrfs,
}

/// What a path on btrfs means to a GRUB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Btrfs {
    /// One in the whole file system.
    Whole,
    /// With `btrfs_relative_path`, a patch of SUSE's and Fedora's, one in the default subvolume.
    CanBeRelative,
}

/// Where one family of distributions keeps them, best first.
struct Source {
    shims: Vec<String>,
    grubs: Vec<String>,
    managers: Vec<String>,
    second: &'static str,
    manager_name: &'static str,
    btrfs: Btrfs,
}

/// A family by the words of os-release, and what its users type.
struct Family {
    words: &'static [&'static str],
    install: &'static str,
}

const FAMILIES: [Family; 3] = [
    Family {
        words: &["debian", "ubuntu"],
        install: "`apt-get install shim-signed grub-efi-amd64-signed` (it stands beside grub-pc and does not replace it)",
    },
    Family { words: &["fedora", "rhel", "centos"], install: "`dnf install shim-x64 grub2-efi-x64`" },
    Family { words: &["suse", "opensuse"], install: "`zypper install shim grub2-x86_64-efi`" },
];

/// systemd-boot's own copy; it needs entries that a BIOS guest has not.
const SYSTEMD_BOOT: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// Find them.
pub(super) fn find(tree: &Tree<'_>) -> Result<Loaders, Refusal> {
    let sources = sources(tree);
    let mut unusable = Vec::new();
    for source in &sources {
        let Some(grub) = first(tree, &source.grubs, &mut unusable) else { continue };
        let vendor = vendor(grub.bytes.as_slice());
        return Ok(Loaders {
            shim: first(tree, &source.shims, &mut unusable),
            manager: first(tree, &source.managers, &mut unusable),
            grub,
            vendor,
            second: source.second,
            manager_name: source.manager_name,
            btrfs: source.btrfs,
        });
    }
    Err(missing(tree, &sources, &unusable))
}

fn sources(tree: &Tree<'_>) -> Vec<Source> {
    let all = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let debian = Source {
        // Ubuntu has the signed one under two names behind a link.
        shims: all(&[
            "/usr/lib/shim/shimx64.efi.signed",
            "/usr/lib/shim/shimx64.efi.signed.latest",
            "/usr/lib/shim/shimx64.efi.dualsigned",
            "/usr/lib/shim/shimx64.efi",
        ]),
        grubs: all(&[
            "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
        ]),
        managers: all(&["/usr/lib/shim/mmx64.efi.signed", "/usr/lib/shim/mmx64.efi"]),
        second: "grubx64.efi",
        manager_name: "mmx64.efi",
        btrfs: Btrfs::Whole,
    };
    let suse = Source {
        shims: all(&["/usr/share/efi/x86_64/shim.efi"]),
        grubs: all(&["/usr/share/efi/x86_64/grub.efi"]),
        managers: all(&["/usr/share/efi/x86_64/MokManager.efi"]),
        // SUSE builds shim with this as its DEFAULT_LOADER.
        second: "grub.efi",
        manager_name: "MokManager.efi",
        btrfs: Btrfs::CanBeRelative,
    };
    let fedora = |folder: String| Source {
        shims: ["shimx64.efi", "shim.efi"].map(|name| format!("{folder}/{name}")).to_vec(),
        grubs: vec![format!("{folder}/grubx64.efi")],
        managers: vec![format!("{folder}/mmx64.efi")],
        second: "grubx64.efi",
        manager_name: "mmx64.efi",
        btrfs: Btrfs::CanBeRelative,
    };
    let vendors = tree.folders("/boot/efi/EFI").into_iter().filter(|f| !f.eq_ignore_ascii_case("BOOT"));
    let vendors = vendors.take(VENDORS_MAX).map(|f| fedora(format!("/boot/efi/EFI/{f}")));
    [debian, suse].into_iter().chain(vendors).collect()
}

/// The first of these files that is an x86-64 EFI program; those that are there and are none are said to be.
fn first(tree: &Tree<'_>, paths: &[String], unusable: &mut Vec<String>) -> Option<Program> {
    for path in paths {
        let bytes = match tree.read(path, PROGRAM_MAX) {
            Ok(bytes) => bytes,
            Err(VolumeError::NotFound { .. }) => continue,
            Err(e) => {
                unusable.push(format!("{path} cannot be read: {e}"));
                continue;
            }
        };
        match pe::look(&bytes) {
            Some(signed) => return Some(Program { from: path.clone(), bytes: bytes.into(), signed }),
            None => unusable.push(format!("{path} is no x86-64 EFI program")),
        }
    }
    None
}

/// The folder that GRUB looks for its configuration in, out of GRUB itself: its prefix is `/EFI/debian`, with a zero behind it.
fn vendor(grub: &[u8]) -> Option<String> {
    let mark = b"/EFI/";
    let starts = grub.windows(mark.len()).enumerate().filter(|(_, w)| w == mark);
    let name = |at: usize| {
        let rest = grub.get(at.checked_add(mark.len())?..)?;
        let name = rest.get(..rest.iter().take(VENDOR_MAX).position(|b| *b == 0)?)?;
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (!name.is_empty() && name.iter().all(is_name)).then(|| String::from_utf8_lossy(name).into_owned())
    };
    starts.filter_map(|(at, _)| name(at)).next().filter(|name| !name.eq_ignore_ascii_case("BOOT"))
}

fn missing(tree: &Tree<'_>, sources: &[Source], unusable: &[String]) -> Refusal {
    let grubs: Vec<&str> = sources.iter().flat_map(|s| &s.grubs).map(String::as_str).collect();
    let mut text = format!(
        "The guest has no GRUB for UEFI that could be put on an EFI system partition. On its own file systems it was looked for at {}, and in the folders of /boot/efi/EFI.",
        grubs.join(", ")
    );
    for why in unusable {
        text.push_str(&format!(" {why}."));
    }
    let shims = sources.iter().flat_map(|s| &s.shims);
    if let Some(shim) = shims.into_iter().find(|path| tree.has(path)) {
        text.push_str(&format!(" There is a shim ({shim}), which needs GRUB behind it."));
    }
    if tree.has(SYSTEMD_BOOT) {
        text.push_str(&format!(
            " There is systemd-boot ({SYSTEMD_BOOT}), but no entries for it, so it would start nothing."
        ));
    }
    let words = tree.read("/etc/os-release", super::tree::TEXT_MAX).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let is = |family: &&Family| family.words.iter().any(|w| names(&words, w));
    let known: Vec<&str> = FAMILIES.iter().filter(is).map(|f| f.install).collect();
    let install =
        if known.is_empty() { FAMILIES.map(|f| f.install).join(", or ") } else { known.join(", or ") };
    let fix = format!(
        "While the guest runs, install its loader for UEFI: {install}. Then take a new copy of the disk."
    );
    no("no-efi-grub", text, fix)
}

/// Whether `ID` or `ID_LIKE` of os-release(5) has this word, or one that ends in it (`opensuse-leap`).
fn names(os_release: &str, word: &str) -> bool {
    let values = os_release.lines().filter_map(|l| {
        let (key, value) = l.trim().split_once('=')?;
        ["ID", "ID_LIKE"].contains(&key).then_some(value)
    });
    values.into_iter().any(|v| v.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == word))
}

#[cfg(test)]
mod tests {
    use super::{names, vendor};

    #[test]
    fn the_vendor_is_read_out_of_grub() {
        for (bytes, wanted) in [
            (&b"..(memdisk)\0/EFI/debian\0\0.."[..], Some("debian")),
            (b"/EFI/\0/EFI/BOOT/\0 /EFI/redhat\0", Some("redhat")),
            (b"/EFI/BOOT\0", None),
            (b"/EFI/open", None),
            (b"/EFI/../etc\0", None),
            (b"", None),
        ] {
            assert_eq!(vendor(bytes).as_deref(), wanted, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_family_is_known_by_whole_words() {
        let text = "NAME=\"x debian\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n";
        assert!(names(text, "suse") && names("ID=debian", "debian") && !names(text, "debian"));
        assert!(!names("ID=nodebian", "debian"));
    }
}
