//! The gate in front of every file that is named *inside* an image: a parent, a backing file, an extent.
//!
//! Such a name is somebody else's wish. It is granted only to a file in the folder of the image that names it, or to a file
//! that the user gave himself. A folder in the name is never followed: of `C:\VMs\base.vhdx` only `base.vhdx` counts, and is looked for beside the
//! image. What is found must then prove that it is the file that was meant.

use super::{Format, OpenError, Opened, refused};
use crate::disk::SourceFile;
use crate::disk::file::Identity;
use std::path::{Path, PathBuf};

/// Longest chain of files that is followed; Hyper-V allows 50 checkpoints.
pub const CHAIN_MAX: usize = 64;
/// Longest name inside an image that is looked at, in bytes.
pub const NAME_MAX: usize = 4096;

/// Most entries of a folder that are looked at for a name in another case.
const ENTRIES_MAX: usize = 100_000;

/// Which files a name inside an image may lead to.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    given: Vec<PathBuf>,
    closed: bool,
}

impl Gate {
    /// Files in the folder of the image that names them.
    pub fn same_folder() -> Gate {
        Gate::default()
    }

    /// No file at all.
    pub fn closed() -> Gate {
        Gate { given: Vec::new(), closed: true }
    }

    /// These files too, wherever they are: the user named them.
    #[must_use]
    pub fn with_given(mut self, files: impl IntoIterator<Item = PathBuf>) -> Gate {
        self.given.extend(files);
        self
    }

    /// Files that `names`, found in the image at `child`, may mean: those given by the user first, in his order (all of them: a file may
    /// have been renamed, and what is found must prove itself anyway), then those beside the image. Nothing is opened.
    pub fn candidates(&self, child: &Path, names: &[String]) -> Vec<Candidate> {
        let mut found: Vec<Candidate> =
            self.given.iter().map(|path| Candidate { path: path.clone(), given: true }).collect();
        if self.closed {
            return found;
        }
        let folder = child.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for name in names.iter().filter_map(|n| file_name(n)) {
            let path = folder.join(name);
            if !found.iter().any(|c| c.path == path) {
                found.push(Candidate { path, given: false });
            }
        }
        found
    }
}

/// A file that may be the one that was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Where it would be.
    pub path: PathBuf,
    /// The user gave it: a symbolic link is then his own, and is followed.
    pub given: bool,
}

impl Candidate {
    /// Open it for reading; a symbolic link that the user did not give himself is refused.
    ///
    /// # Errors
    /// As for [`SourceFile::open`].
    pub fn open(&self) -> Result<SourceFile, crate::disk::file::SourceError> {
        if self.given { SourceFile::open(&self.path) } else { SourceFile::open_itself(&self.path) }
    }

    /// The same file as Windows would find it: the only one in the folder whose name differs in nothing but case, when there is none
    /// spelled like this.
    #[must_use]
    pub fn as_windows_finds_it(self) -> Candidate {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else { return self };
        if self.given || self.path.symlink_metadata().is_ok() {
            return self;
        }
        let wanted = name.to_string_lossy().to_lowercase();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES_MAX);
        let mut alike = entries.filter(|e| e.file_name().to_string_lossy().to_lowercase() == wanted);
        match (alike.next(), alike.next()) {
            (Some(only), None) => Candidate { path: only.path(), given: false },
            _ => self,
        }
    }
}

/// The last part of a path as Windows, a URL or Unix writes it; nothing for a name that can be no file.
fn file_name(name: &str) -> Option<&str> {
    let last = name.rsplit(['/', '\\']).next()?;
    let fits = !last.is_empty() && last != "." && last != ".." && last.len() <= 255 && !last.contains('\0');
    fits.then_some(last)
}

/// What the file at the other end of a name turned out to be.
pub(super) enum Match {
    /// It is the one that was meant.
    Yes,
    /// It is not, and why.
    No(String),
}

/// The files of one chain while they are being opened.
pub(super) struct Chain<'a> {
    gate: &'a Gate,
    seen: Vec<Identity>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(gate: &'a Gate) -> Chain<'a> {
        Chain { gate, seen: Vec::new() }
    }

    /// Whether the file that was entered last is a parent of another; what is noted about it must then name it.
    pub(super) fn is_at_a_parent(&self) -> bool {
        self.seen.len() > 1
    }

    /// Note that `source` is about to be opened.
    pub(super) fn enter(&mut self, source: &SourceFile) -> Result<(), OpenError> {
        let id = source.identity();
        if self.seen.iter().any(|s| (s.dev, s.inode) == (id.dev, id.inode)) {
            return Err(refused(
                source,
                "is in its own chain of parents: the chain is a loop",
                "one of the files has another file's name: compare the names with those of the original machine",
            ));
        }
        if self.seen.len() >= CHAIN_MAX {
            return Err(refused(
                source,
                format!("is file {} of a chain, wanted at most {CHAIN_MAX}", self.seen.len() + 1),
                "merge some of the differencing disks first (Hyper-V: Merge-VHD)",
            ));
        }
        self.seen.push(id);
        Ok(())
    }

    /// Open the parent of `child`, which calls it `names` (most reliable first): the first candidate that `prove` accepts. It must have the
    /// format of the child. `prove` also learns whether the user gave the file.
    pub(super) fn parent(
        &mut self,
        child: &SourceFile,
        format: Format,
        names: &[String],
        prove: &dyn Fn(&Opened, bool) -> Match,
    ) -> Result<Opened, OpenError> {
        let mut tried = Vec::new();
        let mut next = "put the parent into the same folder, or give it with --parent FILE";
        for candidate in self.gate.candidates(child.path(), names) {
            // Both formats come from Windows, where Base.vhdx and BASE.VHDX are one file.
            let candidate = candidate.as_windows_finds_it();
            let shown = candidate.path.display().to_string();
            let source = match candidate.open() {
                Ok(source) => source,
                Err(e) => {
                    tried.push(e.to_string());
                    continue;
                }
            };
            // A file that the user gave for another link of the chain is not this one's parent, and no loop either.
            let id = source.identity();
            if candidate.given && self.seen.iter().any(|s| (s.dev, s.inode) == (id.dev, id.inode)) {
                continue;
            }
            let depth = self.seen.len();
            let opened = match super::open_source(source.into(), Some(format), self) {
                Ok(opened) => opened,
                // A candidate beside the image is the one that was meant, so its trouble is the answer.
                Err(e) if !candidate.given => return Err(e),
                Err(e) => {
                    self.seen.truncate(depth);
                    tried.push(e.to_string());
                    continue;
                }
            };
            match prove(&opened, candidate.given) {
                Match::Yes => return Ok(opened),
                Match::No(why) => {
                    self.seen.truncate(depth);
                    tried.push(format!("{shown}: {why}"));
                    next = "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed";
                }
            }
        }
        let wish: String = names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ");
        let wish = if wish.is_empty() { "without naming it".to_owned() } else { format!("named {wish}") };
        let tried = if tried.is_empty() { "nothing".to_owned() } else { tried.join("; ") };
        Err(refused(
            child,
            format!("a differencing {format} that needs a parent {wish}, and no file fits; tried: {tried}"),
            next,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Gate};
    use std::path::{Path, PathBuf};

    #[track_caller]
    fn check(names: &[&str], expect: &[&str]) {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let found = Gate::same_folder().candidates(Path::new("/images/web/child.vhdx"), &names);
        let expect: Vec<Candidate> =
            expect.iter().map(|p| Candidate { path: PathBuf::from(p), given: false }).collect();
        assert_eq!(found, expect, "{names:?}");
        assert_eq!(Gate::closed().candidates(Path::new("/images/web/child.vhdx"), &names), []);
    }

    #[test]
    fn only_the_last_part_of_a_name_counts_and_only_in_the_same_folder() {
        check(&["base.vhdx"], &["/images/web/base.vhdx"]);
        check(&[r".\base.vhdx", r"C:\VMs\base.vhdx"], &["/images/web/base.vhdx"]);
        check(&[r"\\?\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\base.vhdx"], &["/images/web/base.vhdx"]);
        check(&["file://localhost/VMs/base.vhd"], &["/images/web/base.vhd"]);
        check(&["/etc/shadow"], &["/images/web/shadow"]);
        check(&["../../etc/shadow"], &["/images/web/shadow"]);
        check(&["..", ".", "", "/", r"C:\", "a\0b"], &[]);
        check(&[&"x".repeat(256)], &[]);
        check(&["one", "two"], &["/images/web/one", "/images/web/two"]);
    }

    #[test]
    fn what_the_user_gave_comes_first() {
        let gate = Gate::same_folder().with_given([PathBuf::from("/other/base.vhdx")]);
        let found = gate.candidates(Path::new("child.vhdx"), &["base.vhdx".to_owned()]);
        assert_eq!(
            found,
            [
                Candidate { path: "/other/base.vhdx".into(), given: true },
                Candidate { path: "./base.vhdx".into(), given: false }
            ]
        );
    }

    #[test]
    fn case_does_not_matter_unless_two_files_differ_in_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| Candidate { path: folder.path().join(name), given: false };
        std::fs::write(folder.path().join("Base.VHD"), b"").expect("a file");
        assert_eq!(at("base.vhd").as_windows_finds_it(), at("Base.VHD"));
        assert_eq!(at("other.vhd").as_windows_finds_it(), at("other.vhd"));
        let given = Candidate { given: true, ..at("base.vhd") };
        assert_eq!(given.clone().as_windows_finds_it(), given, "what the user typed is what he meant");
        std::fs::write(folder.path().join("BASE.vhd"), b"").expect("a file");
        assert_eq!(at("base.vhd").as_windows_finds_it(), at("base.vhd"), "it could be either");
        assert_eq!(at("BASE.vhd").as_windows_finds_it(), at("BASE.vhd"));
    }
}
