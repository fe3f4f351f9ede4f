//! systemd-boot's menu. systemd `src/boot/boot.c`; loader.conf(5).

use super::bls::{Entry, counted, order};
use super::{BootEntry, BootFile, BootMenu, ENTRIES_MAX, MenuSource, uki};
use crate::guest::FsPlace;
use crate::guest::os::TEXT_MAX;
use crate::volume::{EntryKind, Volume};

/// Partitions it looks for entries on: the ESP first, then the extended boot loader partition.
pub(super) fn menu(volumes: &[(FsPlace, &dyn Volume)]) -> BootMenu {
    let mut found: Vec<(Entry, BootEntry)> = Vec::new();
    let mut left_out = Vec::new();
    for (place, volume) in volumes {
        type_1(*volume, place, &mut found, &mut left_out);
        type_2(*volume, place, &mut found, &mut left_out);
    }
    found.sort_by(|a, b| order(&a.0, &b.0));
    if found.len() > ENTRIES_MAX {
        left_out.push(format!("{} more entries", found.len() - ENTRIES_MAX));
        found.truncate(ENTRIES_MAX);
    }
    let (default, default_why) = default(volumes.first().map(|v| v.1), &found);
    BootMenu {
        source: MenuSource::SystemdBoot,
        entries: found.into_iter().map(|f| f.1).collect(),
        default,
        default_why,
        left_out,
        translate: vec!["systemd-boot is a UEFI program".to_string()],
    }
}

fn files(volume: &dyn Volume, folder: &str, ending: &str) -> Vec<String> {
    let entries = volume.read_dir(folder).unwrap_or_default();
    let names = entries.into_iter().filter(|e| e.kind == EntryKind::File).map(|e| e.name);
    // Its own entries for firmware and other systems are called auto-….
    names.filter(|n| n.to_ascii_lowercase().ends_with(ending) && !n.starts_with("auto-")).collect()
}

fn type_1(
    volume: &dyn Volume,
    place: &FsPlace,
    found: &mut Vec<(Entry, BootEntry)>,
    left_out: &mut Vec<String>,
) {
    let folder = "/loader/entries";
    for file in files(volume, folder, ".conf") {
        let path = format!("{folder}/{file}");
        let Ok(bytes) = volume.read(&path, TEXT_MAX) else {
            left_out.push(format!("{path}: it cannot be read"));
            continue;
        };
        let entry = Entry::parse(&file, &String::from_utf8_lossy(&bytes));
        match boot_entry(volume, place, &path, &entry) {
            Ok(all) => found.extend(all),
            Err(why) => left_out.push(format!("{path}: {why}")),
        }
    }
}

/// What an entry starts, or why systemd-boot does not show it.
fn boot_entry(
    volume: &dyn Volume,
    place: &FsPlace,
    path: &str,
    entry: &Entry,
) -> Result<Vec<(Entry, BootEntry)>, String> {
    if let Some(other) = entry.architecture.as_deref().filter(|a| !a.eq_ignore_ascii_case("x64")) {
        return Err(format!("it is for the architecture {other}"));
    }
    let program = entry.linux.as_ref().or(entry.efi.as_ref()).ok_or("it names no kernel")?;
    if !volume.exists(program).unwrap_or(false) {
        return Err(format!("its kernel {program} is not there"));
    }
    if let Some(images) = uki::entries(volume, place, program)? {
        return Ok(images
            .into_iter()
            .map(|image| {
                let mut own = image.entry;
                if !entry.options.is_empty() {
                    own.options = entry.options.clone();
                }
                own.title = entry.title.clone().unwrap_or(own.title);
                (entry.clone(), BootEntry { id: entry.id.clone(), origin: path.to_string(), ..own })
            })
            .collect());
    }
    if !is_kernel(volume, program) {
        return Err(format!("{program} is no Linux kernel"));
    }
    let own = BootEntry {
        id: entry.id.clone(),
        title: titled(entry),
        origin: path.to_string(),
        place: place.clone(),
        kernel: Some(BootFile::whole(program)),
        initrd: entry.initrd.iter().map(BootFile::whole).collect(),
        options: entry.options.clone(),
    };
    Ok(vec![(entry.clone(), own)])
}

pub(super) fn titled(entry: &Entry) -> String {
    let title = entry.title.as_deref().unwrap_or(&entry.id);
    match &entry.version {
        Some(version) if !title.contains(version.as_str()) => format!("{title} ({version})"),
        _ => title.to_string(),
    }
}

/// A bzImage. Linux x86 boot protocol, "The real-mode kernel header".
pub(super) fn is_kernel(volume: &dyn Volume, path: &str) -> bool {
    volume.read_part(path, 0x202, 4).is_ok_and(|(bytes, _)| bytes == b"HdrS")
}

fn type_2(
    volume: &dyn Volume,
    place: &FsPlace,
    found: &mut Vec<(Entry, BootEntry)>,
    left_out: &mut Vec<String>,
) {
    let folder = "/EFI/Linux";
    for file in files(volume, folder, ".efi") {
        let path = format!("{folder}/{file}");
        match uki::entries(volume, place, &path) {
            Ok(Some(images)) => found.extend(images.into_iter().map(|image| {
                let (id, tries) = counted(&file, ".efi");
                let (sort_key, version) = (image.sort_key, image.version);
                let sorted = Entry {
                    id,
                    tries,
                    sort_key,
                    version,
                    profile: image.profile,
                    file: file.clone(),
                    ..Entry::default()
                };
                (sorted, image.entry)
            })),
            Ok(None) => left_out.push(format!("{path}: there is no kernel in it")),
            Err(why) => left_out.push(format!("{path}: {why}")),
        }
    }
}

/// The entry that starts if nobody chooses, and why: `default` in loader.conf, else the first one.
fn default(esp: Option<&dyn Volume>, found: &[(Entry, BootEntry)]) -> (usize, String) {
    let text = esp.and_then(|v| v.read("/loader/loader.conf", TEXT_MAX).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let settings = text.lines().filter_map(|l| l.trim().split_once([' ', '\t']));
    let pattern =
        settings.rev().find(|(key, _)| *key == "default").map(|(_, v)| v.trim().to_ascii_lowercase());
    let first = "it is the first one in the order of the Boot Loader Specification";
    match pattern {
        None => (0, first.to_string()),
        Some(saved) if saved == "@saved" => {
            (0, format!("{first}; loader.conf asks for the last one chosen, which only the firmware knows"))
        }
        Some(pattern) => match found.iter().position(|(e, _)| matches(&pattern, &e.id)) {
            Some(i) => (i, format!("loader.conf says default {pattern}")),
            None => (0, format!("{first}; nothing matches loader.conf's default {pattern}")),
        },
    }
}

/// Shell patterns: `*`, `?`, `[a-z]`. Linear in the product of both lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(c) = text.get(t) {
        match (pattern.get(p), one(&pattern, p, *c)) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(_), Some(next)) => {
                p = next;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// Where the pattern goes on if its element at `p` is one that `c` matches.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let end = p + 1 + pattern.get(p + 1..)?.iter().position(|c| *c == ']')?;
            let inner = pattern.get(p + 1..end)?;
            let mut i = 0;
            while let Some(from) = inner.get(i) {
                let to = if inner.get(i + 1) == Some(&'-') { inner.get(i + 2) } else { None };
                if (*from..=*to.unwrap_or(from)).contains(&c) {
                    return Some(end + 1);
                }
                i += if to.is_some() { 3 } else { 1 };
            }
            None
        }
        own => (*own == c).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_a_shell_does() {
        let cases = [
            ("*", "", true),
            ("debian-*", "debian-6.1.conf", true),
            ("*6.1*", "debian-6.12.conf", true),
            ("*6.1.conf", "debian-6.12.conf", false),
            ("a?c", "abc", true),
            ("a[b-d]c", "adc", true),
            ("a[b-d]c", "aec", false),
            ("abc", "abcd", false),
            ("a*b*c", "axxbxxcxxc", true),
            ("[", "[", false),
        ];
        for (pattern, text, expect) in cases {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
    }
}
