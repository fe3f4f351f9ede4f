//! A kernel with an EFI stub and no loader in front of it. Its command line comes from a boot entry in the firmware, which is not on the
//! disk, or from the UEFI shell's `startup.nsh`, which is.

use super::{BootEntry, BootFile, BootMenu, MenuSource, sdboot};
use crate::guest::FsPlace;
use crate::guest::os::TEXT_MAX;
use crate::volume::Volume;

/// What `startup.nsh` starts, if that is a kernel.
pub(super) fn startup(esp: &dyn Volume, place: &FsPlace) -> Option<BootMenu> {
    let bytes = esp.read("/startup.nsh", TEXT_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut entries = text.lines().filter_map(|line| {
        let (program, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let path = on_esp(program)?;
        sdboot::is_kernel(esp, &path).then(|| entry(&path, "/startup.nsh", rest, place))
    });
    let entry = entries.next()?;
    Some(menu(entry, "startup.nsh starts it"))
}

/// The kernel at `path` with that command line, and why it is that one.
pub(super) fn alone(path: &str, options: &str, place: &FsPlace, why: &str) -> BootMenu {
    menu(entry(path, path, options, place), why)
}

fn menu(entry: BootEntry, why: &str) -> BootMenu {
    BootMenu {
        source: MenuSource::EfiStub,
        entries: vec![entry],
        default: 0,
        default_why: why.to_string(),
        left_out: Vec::new(),
        translate: vec!["the firmware starts the kernel itself".to_string()],
    }
}

fn entry(path: &str, origin: &str, options: &str, place: &FsPlace) -> BootEntry {
    // `initrd=` is for the stub: it reads the file from the ESP. Linux Documentation/admin-guide/efi-stub.rst.
    let (initrd, options): (Vec<&str>, Vec<&str>) =
        options.split_whitespace().partition(|w| w.starts_with("initrd="));
    let initrd = initrd.iter().filter_map(|w| on_esp(w.trim_start_matches("initrd=")));
    BootEntry {
        id: "linux".to_string(),
        title: path.trim_start_matches('/').to_string(),
        origin: origin.to_string(),
        place: place.clone(),
        kernel: Some(BootFile::whole(path)),
        initrd: initrd.map(BootFile::whole).collect(),
        options: options.join(" "),
    }
}

/// `fs0:\EFI\Linux\vmlinuz.efi` as a path on the ESP.
fn on_esp(word: &str) -> Option<String> {
    let word = word.rsplit_once(':').map_or(word, |(_, path)| path).replace('\\', "/");
    let word = word.trim_start_matches('/');
    (!word.is_empty()).then(|| format!("/{word}"))
}
