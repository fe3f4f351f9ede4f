//! Type 1 entries: `loader/entries/*.conf`. UAPI.1, "Type #1 Boot Loader Specification Entries" and "Sorting".

use super::version;
use std::cmp::Ordering;

/// One file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Entry {
    /// The file's name without a boot counter, in lower case, as `default` in loader.conf matches it.
    pub id: String,
    /// The file's name.
    pub file: String,
    pub title: Option<String>,
    pub version: Option<String>,
    pub machine_id: Option<String>,
    pub sort_key: Option<String>,
    pub architecture: Option<String>,
    pub linux: Option<String>,
    pub efi: Option<String>,
    pub initrd: Vec<String>,
    pub options: String,
    /// For entries made out of one image with several profiles.
    pub profile: u32,
    pub tries: Option<Tries>,
}

/// A boot counter in a file's name: `+LEFT` or `+LEFT-DONE`. UAPI.1, "Boot counting".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tries {
    pub left: u32,
    pub done: u32,
}

impl Entry {
    /// The entry that `text` of the file `file` describes. Keys that are not known are passed over, as the specification wants it.
    pub(super) fn parse(file: &str, text: &str) -> Entry {
        let (id, tries) = counted(file, ".conf");
        let mut entry = Entry { id, file: file.to_string(), tries, ..Entry::default() };
        for line in text.lines() {
            let line = line.trim();
            let Some((key, value)) = line.split_once([' ', '\t']).filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let value = unquoted(value.trim());
            if value.is_empty() {
                continue;
            }
            let value = value.to_string();
            match key {
                "title" => entry.title = Some(value),
                "version" => entry.version = Some(value),
                "machine-id" => entry.machine_id = Some(value),
                "sort-key" => entry.sort_key = Some(value),
                "architecture" => entry.architecture = Some(value),
                "linux" => entry.linux = Some(value),
                "efi" | "uki" => entry.efi = Some(value),
                "initrd" => entry.initrd.push(value),
                "options" => {
                    if !entry.options.is_empty() {
                        entry.options.push(' ');
                    }
                    entry.options.push_str(&value);
                }
                _ => {}
            }
        }
        entry
    }
}

/// A whole value in double quotes loses them, as systemd-boot does it.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// A file's name in lower case without its counter, and the counter.
pub(super) fn counted(file: &str, ending: &str) -> (String, Option<Tries>) {
    let lower = file.to_ascii_lowercase();
    let Some(stem) = lower.strip_suffix(ending) else { return (lower, None) };
    let found = stem.rsplit_once('+').and_then(|(name, counter)| {
        let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
        Some((format!("{name}{ending}"), Tries { left: left.parse().ok()?, done: done.parse().ok()? }))
    });
    match found {
        Some((id, tries)) => (id, Some(tries)),
        None => (lower, None),
    }
}

/// The order in which entries are shown, first the one that starts if nobody chooses.
pub(super) fn order(a: &Entry, b: &Entry) -> Ordering {
    let spent = |e: &Entry| e.tries.is_some_and(|t| t.left == 0);
    let old_style = |e: &Entry| e.sort_key.is_none();
    let newer = |x: &Option<String>, y: &Option<String>| {
        version::compare(y.as_deref().unwrap_or(""), x.as_deref().unwrap_or(""))
    };
    let by_key = || {
        if a.sort_key.is_none() || b.sort_key.is_none() {
            return Ordering::Equal;
        }
        let key = a.sort_key.cmp(&b.sort_key).then_with(|| a.machine_id.cmp(&b.machine_id));
        key.then_with(|| newer(&a.version, &b.version))
    };
    let by_tries = || match (a.tries, b.tries) {
        (Some(x), Some(y)) => y.left.cmp(&x.left).then(x.done.cmp(&y.done)),
        _ => Ordering::Equal,
    };
    (spent(a).cmp(&spent(b)))
        .then_with(|| old_style(a).cmp(&old_style(b)))
        .then_with(by_key)
        .then_with(|| version::compare(&b.id, &a.id))
        .then_with(|| a.profile.cmp(&b.profile))
        .then_with(by_tries)
}

#[cfg(test)]
mod tests {
    use super::{Entry, Tries, counted, order};

    #[test]
    fn reads_an_entry_with_lines_that_repeat() {
        let text = "# a comment\ntitle   Fedora 39\nversion\t6.5.6\nlinux /a/linux\ninitrd /a/x.img\ninitrd /a/y.img\noptions root=UUID=1 ro\noptions quiet\nfuture-key x\n";
        let entry = Entry::parse("abc-6.5.6+3-1.conf", text);
        assert_eq!(entry.id, "abc-6.5.6.conf");
        assert_eq!(entry.tries, Some(Tries { left: 3, done: 1 }));
        assert_eq!(entry.title.as_deref(), Some("Fedora 39"));
        assert_eq!(entry.initrd, ["/a/x.img", "/a/y.img"]);
        assert_eq!(entry.options, "root=UUID=1 ro quiet");
        assert_eq!(Entry::parse("c++.conf", "title \"x\"\n").id, "c++.conf");
    }

    #[test]
    fn a_plus_in_debians_kernel_names_is_no_boot_counter() {
        let tries = |left, done| Some(Tries { left, done });
        let cases = [
            ("m-6.12.117+deb13-amd64", None),
            ("m-6.12.117+deb13-amd64+3", tries(3, 0)),
            ("m-6.12.117+deb13-amd64+3-0", tries(3, 0)),
            ("m-6.12.117+deb13-amd64+0-3", tries(0, 3)),
        ];
        for (file, wanted) in cases {
            for ending in [".conf", ".efi"] {
                let found = counted(&format!("{file}{ending}"), ending);
                assert_eq!(found, (format!("m-6.12.117+deb13-amd64{ending}"), wanted), "{file}");
            }
        }
    }

    #[test]
    fn entries_come_in_the_specifications_order() {
        let key = |file: &str, key: &str, version: &str| {
            Entry::parse(file, &format!("sort-key {key}\nversion {version}\n"))
        };
        let wanted = [
            key("z.conf", "debian", "6.12"),
            key("a.conf", "debian", "6.9"),
            key("a.conf", "fedora", "7"),
            Entry::parse("m-6.12.conf", ""),
            Entry::parse("m-6.9+2.conf", ""),
            Entry::parse("m-6.9+1-3.conf", ""),
            Entry::parse("m-0-rescue.conf", ""),
            key("b+0-3.conf", "debian", "9"),
        ];
        let mut found: Vec<Entry> = wanted.iter().rev().cloned().collect();
        found.sort_by(order);
        assert_eq!(
            found.iter().map(|e| (&e.file, &e.version)).collect::<Vec<_>>(),
            wanted.iter().map(|e| (&e.file, &e.version)).collect::<Vec<_>>()
        );
    }
}
