//! GRUB's menu: the entries of `grub.cfg`, or with `blscfg` those of `loader/entries`, with GRUB's variables put in.

use super::bls::{Entry, order};
use super::{BootEntry, BootFile, BootMenu, ENTRIES_MAX, MenuSource, grubenv, sdboot};
use crate::guest::os::TEXT_MAX;
use crate::guest::{FsPlace, GrubMenu, GrubStub, MenuEntry};
use crate::volume::{EntryKind, Volume};
use std::collections::BTreeMap;

/// What `menu` shows. `volume` is the file system it is on; `place_of` finds others by their identifier.
pub(super) fn menu(
    stub: &GrubStub,
    menu: &GrubMenu,
    volume: &dyn Volume,
    place_of: &dyn Fn(&str) -> Option<FsPlace>,
) -> BootMenu {
    let folder = menu.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let env = volume.read(&format!("{folder}/grubenv"), TEXT_MAX).unwrap_or_default();
    let env = grubenv::parse(&String::from_utf8_lossy(&env));
    let mut left_out = Vec::new();
    let mut translate = Vec::new();
    if menu.uses_bls {
        translate.push(format!("{} uses blscfg, a command of Fedora's GRUB", menu.path));
    }
    if stub.relative {
        translate.push(format!(
            "{} sets btrfs_relative_path, a feature of SUSE's and Fedora's GRUB: paths are those of the default subvolume",
            stub.path
        ));
    }
    let own = menu.entries.iter().map(|e| own_entry(e, menu, place_of));
    let mut entries: Vec<BootEntry> = Vec::new();
    if menu.uses_bls {
        entries.extend(bls(menu, folder, volume, &env, &mut left_out));
    }
    entries.extend(own);
    if entries.len() > ENTRIES_MAX {
        left_out.push(format!("{} more entries", entries.len() - ENTRIES_MAX));
        entries.truncate(ENTRIES_MAX);
    }
    let (default, default_why) = default(menu, &env, &entries);
    let source = if menu.uses_bls { MenuSource::GrubBls } else { MenuSource::GrubCfg };
    BootMenu { source, entries, default, default_why, left_out, translate }
}

fn own_entry(e: &MenuEntry, menu: &GrubMenu, place_of: &dyn Fn(&str) -> Option<FsPlace>) -> BootEntry {
    BootEntry {
        id: e.id.clone().unwrap_or_else(|| e.title.clone()),
        title: e.title.clone(),
        origin: menu.path.clone(),
        place: e.search.as_deref().and_then(place_of).unwrap_or_else(|| menu.place.clone()),
        kernel: e.kernel.as_ref().map(BootFile::whole),
        initrd: e.initrd.iter().map(BootFile::whole).collect(),
        options: e.options.clone(),
    }
}

/// The entries that `blscfg` reads: `loader/entries` beside GRUB's folder, or on the root of that file system.
fn bls(
    menu: &GrubMenu,
    grub: &str,
    volume: &dyn Volume,
    env: &BTreeMap<String, String>,
    left_out: &mut Vec<String>,
) -> Vec<BootEntry> {
    let base = grub.rsplit_once('/').map_or("", |(base, _)| base);
    let folders = [format!("{base}/loader/entries"), "/loader/entries".to_string()];
    let Some(folder) = folders.iter().find(|f| volume.exists(f).unwrap_or(false)) else {
        left_out.push(format!("{}: there is no such folder", folders.join(" or ")));
        return Vec::new();
    };
    let files = volume.read_dir(folder).unwrap_or_default();
    let files = files.into_iter().filter(|e| e.kind == EntryKind::File && e.name.ends_with(".conf"));
    let mut found = Vec::new();
    for file in files {
        let path = format!("{folder}/{}", file.name);
        match volume.read(&path, TEXT_MAX) {
            Ok(bytes) => found.push((path, Entry::parse(&file.name, &String::from_utf8_lossy(&bytes)))),
            Err(e) => left_out.push(format!("{path}: {e}")),
        }
    }
    found.sort_by(|a, b| order(&a.1, &b.1));
    let value = |name: &str| env.get(name).or_else(|| menu.variables.get(name)).map(String::as_str);
    let one = |(path, entry): (String, Entry)| {
        let Some(kernel) = entry.linux.as_ref() else {
            left_out.push(format!("{path}: it names no kernel"));
            return None;
        };
        let initrd = entry.initrd.iter().map(|i| expanded(i, &value)).collect::<Vec<_>>().join(" ");
        Some(BootEntry {
            id: entry.id.trim_end_matches(".conf").to_string(),
            title: sdboot::titled(&entry),
            kernel: Some(BootFile::whole(expanded(kernel, &value))),
            // More than one path may stand in a line here.
            initrd: initrd.split_whitespace().map(BootFile::whole).collect(),
            options: expanded(&entry.options, &value).split_whitespace().collect::<Vec<_>>().join(" "),
            origin: path,
            place: menu.place.clone(),
        })
    };
    found.into_iter().filter_map(one).collect()
}

/// `$name` and `${name}` replaced; a variable that nobody sets is empty.
fn expanded<'a>(text: &str, value: &dyn Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        let braced = behind.strip_prefix('{').and_then(|b| b.split_once('}'));
        let (name, tail) = braced.unwrap_or_else(|| {
            let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
            behind.split_at(end)
        });
        if name.is_empty() {
            out.push('$');
        }
        out.push_str(value(name).unwrap_or_default());
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// `set default=` and what it leads to: a number, a title, an id, or the entry that the environment block keeps.
fn default(menu: &GrubMenu, env: &BTreeMap<String, String>, entries: &[BootEntry]) -> (usize, String) {
    let asked = menu.default_value.as_deref().unwrap_or("0");
    let value = |name: &str| env.get(name).or_else(|| menu.variables.get(name)).map(String::as_str);
    let (wanted, from) = match expanded(asked, &value) {
        wanted if wanted != asked => (wanted, "the environment block says"),
        wanted => (wanted, "grub.cfg says default"),
    };
    // "submenu>entry": the last part names the entry.
    let last = wanted.rsplit('>').next().unwrap_or_default();
    if let Some(i) = entries.iter().position(|e| !last.is_empty() && (e.id == last || e.title == last)) {
        return (i, format!("{from} {wanted}"));
    }
    // A number counts the top level, where a submenu is one entry.
    if let Ok(n) = wanted.parse::<usize>() {
        if menu.uses_bls && n < entries.len() {
            return (n, format!("{from} {wanted}"));
        }
        let own = menu.top.get(n).copied().filter(|i| *i < entries.len());
        if let Some(i) = own {
            return (i, format!("{from} {wanted}"));
        }
    }
    (0, "it is the first one".to_string())
}

#[cfg(test)]
mod tests {
    use super::expanded;

    #[test]
    fn variables_are_put_in_and_unknown_ones_are_empty() {
        let value = |name: &str| (name == "kernelopts").then_some("root=UUID=1 ro");
        for (text, expect) in [
            ("$kernelopts $tuned_params quiet", "root=UUID=1 ro  quiet"),
            ("${kernelopts}x", "root=UUID=1 rox"),
            ("a$", "a$"),
            ("${open", "${open"),
            ("cost $5", "cost "),
        ] {
            assert_eq!(expanded(text, &value), expect, "{text}");
        }
    }
}
