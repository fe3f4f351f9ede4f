//! Which file a name inside a foreign image may mean.
//!
//! The files behind a qcow2 or VMDK carry no id that proves them to be the ones that were meant, so the rule is stricter than the gate's own: a name is
//! granted when it is plainly a file in the image's own folder, or when the user gave a file of that name. Anything else is refused as it stands
//! there, never bent into a name that could be granted.

use engine::container::gate::Candidate;
use engine::container::{Gate, OpenError};
use engine::disk::SourceFile;
use engine::disk::file::SourceError;
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// Open the file that `child` names as its `role`.
pub(super) fn open(
    gate: &Gate,
    child: &SourceFile,
    role: &str,
    name: &str,
) -> Result<Arc<SourceFile>, OpenError> {
    let no = |why: &str, next: &str| OpenError::Refused {
        path: child.path().to_path_buf(),
        what: format!("names {name:?} as its {role}, {why}"),
        next: next.to_owned(),
    };
    let Some(plain) = file_name(name) else {
        let next = "flatten it on the machine it came from, where that name means what it meant, and only if you trust it; never here";
        return Err(no("which is no name of a file", next));
    };
    let beside = is_beside(child.path(), name);
    let granted = |c: &Candidate| if c.given { c.path.file_name() == Some(plain.as_ref()) } else { beside };
    let candidates = gate.candidates(child.path(), &[plain.to_owned()]);
    let Some(candidate) = candidates.into_iter().find(granted) else {
        let why = "which is not in its own folder; a name inside an image is not followed out of it";
        return Err(no(why, "if that file is meant, give it: --parent FILE"));
    };
    candidate.open().map(Arc::new).map_err(|error| {
        let next = "put the file into the same folder, or give it with --parent FILE";
        match &error {
            SourceError::Open { path, source }
                if !candidate.given && source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
            {
                no(&format!("but {} is a symbolic link, which is not followed", path.display()), next)
            }
            _ => no(&format!("which was not opened: {error}"), next),
        }
    })
}

/// The last part of a name that is a path; nothing for a URL, a protocol of QEMU's (`nbd:`, `json:`) or a folder.
fn file_name(name: &str) -> Option<&str> {
    let colon = name.find(':').unwrap_or(usize::MAX);
    // QEMU: a colon before the first slash ends a protocol's name (`path_has_protocol` in `block.c`).
    if colon < name.find('/').unwrap_or(usize::MAX) || name.contains(['\\', '\0']) {
        return None;
    }
    let last = name.rsplit('/').next()?;
    (!last.is_empty() && last != "." && last != ".." && last.len() <= 255).then_some(last)
}

/// Whether the folder part of `name` is none, `./`, or the folder of `child` written out.
fn is_beside(child: &Path, name: &str) -> bool {
    let Some((folder, _)) = name.rsplit_once('/') else { return true };
    if folder == "." {
        return true;
    }
    let own = child.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is = |own: std::io::Result<std::path::PathBuf>| {
        own.is_ok_and(|own| own.is_absolute() && own.as_os_str() == folder)
    };
    is(std::path::absolute(own)) || is(own.canonicalize())
}

#[cfg(test)]
mod tests {
    use super::{file_name, is_beside};
    use std::path::Path;

    #[test]
    fn only_a_plain_name_or_the_images_own_folder_is_beside_it() {
        for (name, want) in [
            ("base.qcow2", true),
            ("./base.qcow2", true),
            ("/vms/web/base.qcow2", true),
            ("/vms/web/../web/base.qcow2", false),
            ("/vms/web/sub/base.qcow2", false),
            ("sub/base.qcow2", false),
            ("../base.qcow2", false),
            ("../web/base.qcow2", false),
            ("/etc/shadow", false),
            ("/base.qcow2", false),
            (".//base.qcow2", false),
        ] {
            assert_eq!(is_beside(Path::new("/vms/web/child.qcow2"), name), want, "{name}");
        }
    }

    #[test]
    fn a_protocol_is_no_name_of_a_file() {
        for (name, want) in [
            ("base", Some("base")),
            ("/a/b", Some("b")),
            ("a/b:c", Some("b:c")),
            ("nbd:unix:/x", None),
            ("ssh://host/x", None),
            ("file:base", None),
            ("json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}", None),
            ("C:\\VMs\\base.vmdk", None),
            ("a\\b", None),
            ("..", None),
            ("a/", None),
            ("", None),
        ] {
            assert_eq!(file_name(name), want, "{name}");
        }
    }
}
