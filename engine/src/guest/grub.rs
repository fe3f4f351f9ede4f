//! A tolerant look at `grub.cfg`: what it points to, never what it would compute. GRUB's script is a language; guests write a small
//! part of it, and what is not understood is left out.

use super::FsPlace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `grub.cfg` beside GRUB on the ESP. Distributions put three lines there that lead to the real one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GrubStub {
    /// Path on the ESP.
    pub path: String,
    /// File-system id it searches for.
    pub search: Option<String>,
    /// Folder it calls `$prefix`, on the file system found.
    pub prefix: Option<String>,
    /// File it goes on with, on the file system found.
    pub configfile: Option<String>,
    /// Whether it has menu entries of its own and so is no stub.
    pub has_menu: bool,
    /// Whether paths on btrfs are those of the default subvolume (`btrfs_relative_path`, in SUSE's and Fedora's GRUB).
    pub relative: bool,
}

/// One entry of the menu.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MenuEntry {
    /// Its title.
    pub title: String,
    /// Its `--id`.
    pub id: Option<String>,
    /// File-system id its paths are on, when it names one.
    pub search: Option<String>,
    /// Kernel path.
    pub kernel: Option<String>,
    /// Kernel command line.
    pub options: String,
    /// Initramfs paths.
    pub initrd: Vec<String>,
}

/// The real `grub.cfg`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GrubMenu {
    /// Path on its file system.
    pub path: String,
    /// Where that is.
    pub place: FsPlace,
    /// Its entries, those of submenus included.
    pub entries: Vec<MenuEntry>,
    /// Where each entry of the top level begins among them; a submenu counts as one.
    pub top: Vec<usize>,
    /// What `default` is set to, last.
    pub default_value: Option<String>,
    /// Other variables that are set, each as it was set last.
    pub variables: BTreeMap<String, String>,
    /// Whether entries come from files in `loader/entries` instead.
    pub uses_bls: bool,
}

/// Most menu entries that are looked at.
const ENTRY_MAX: usize = 512;
/// Most variables that are kept.
const VARIABLES_MAX: usize = 256;

impl GrubStub {
    /// Folder of the stub: `/EFI/debian`.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub(super) fn parse(path: &str, text: &str) -> GrubStub {
        let mut stub = GrubStub { path: path.to_string(), ..GrubStub::default() };
        for words in text.lines().map(words) {
            match words.first().map(String::as_str) {
                Some("search" | "search.fs_uuid") => stub.search = searched(&words).or(stub.search),
                Some("set") => {
                    let assigned = words.get(1).map_or("", String::as_str);
                    if let Some(value) = assigned.strip_prefix("prefix=") {
                        stub.prefix = Some(on_volume(value, stub.prefix.as_deref()));
                    } else if let Some(value) = assigned.strip_prefix("btrfs_relative_path=") {
                        stub.relative = ["y", "yes", "1", "true"].contains(&value);
                    }
                }
                Some("configfile" | "normal" | "source") => {
                    let file = words.get(1).map(|w| on_volume(w, stub.prefix.as_deref()));
                    stub.configfile = file.or(stub.configfile);
                }
                Some("menuentry") => stub.has_menu = true,
                _ => {}
            }
        }
        stub
    }
}

impl GrubMenu {
    pub(super) fn parse(path: &str, place: FsPlace, text: &str) -> GrubMenu {
        let mut menu = GrubMenu { path: path.to_string(), place, ..GrubMenu::default() };
        let mut all: Vec<MenuEntry> = Vec::new();
        let mut depth = 0usize;
        let mut submenu: Option<usize> = None;
        let mut search = None;
        // For each `if` that is open, whether its branch is known not to be taken.
        let mut branches: Vec<bool> = Vec::new();
        for words in text.lines().map(words) {
            let first = words.first().map(String::as_str);
            match first {
                Some("if") => branches.push(asks_for_unset(&words, &menu.variables)),
                Some("else" | "elif") => branches.iter_mut().last().into_iter().for_each(|b| *b = false),
                Some("fi") => drop(branches.pop()),
                // SUSE's menu of snapshots, for instance, is there only after a choice in another menu.
                Some("menuentry" | "submenu" | "linux" | "initrd" | "search") if branches.contains(&true) => {
                }
                Some("menuentry" | "submenu") if all.len() < ENTRY_MAX => {
                    if submenu.is_none() {
                        menu.top.push(all.len());
                    }
                    if first == Some("submenu") {
                        submenu = submenu.or(Some(depth));
                    } else {
                        let title = words.get(1).cloned().unwrap_or_default();
                        let option = words.iter().position(|w| w == "--id" || w == "$menuentry_id_option");
                        let id = option.and_then(|i| words.get(i.saturating_add(1))).cloned();
                        all.push(MenuEntry { title, id, search: search.clone(), ..MenuEntry::default() });
                    }
                }
                Some("search" | "search.fs_uuid") => {
                    if let Some(id) = searched(&words) {
                        match all.last_mut().filter(|_| depth > 0) {
                            Some(entry) if entry.kernel.is_none() => entry.search = Some(id),
                            _ => search = Some(id),
                        }
                    }
                }
                Some("linux" | "linuxefi" | "linux16") => {
                    if let Some(entry) = all.last_mut().filter(|e| e.kernel.is_none()) {
                        entry.kernel = words.get(1).map(|w| on_volume(w, None));
                        entry.options = words.get(2..).unwrap_or_default().join(" ");
                    }
                }
                Some("initrd" | "initrdefi" | "initrd16") => {
                    if let Some(entry) = all.last_mut().filter(|e| e.initrd.is_empty()) {
                        entry.initrd = words.iter().skip(1).map(|w| on_volume(w, None)).collect();
                    }
                }
                Some("set") => match words.get(1).and_then(|w| w.split_once('=')) {
                    Some(("default", value)) => menu.default_value = Some(value.to_string()),
                    Some((name, value)) if menu.variables.len() < VARIABLES_MAX => {
                        menu.variables.insert(name.to_string(), value.to_string());
                    }
                    _ => {}
                },
                Some("blscfg") => menu.uses_bls = true,
                _ => {}
            }
            for word in &words {
                match word.as_str() {
                    "{" => depth = depth.saturating_add(1),
                    "}" => {
                        depth = depth.saturating_sub(1);
                        if submenu == Some(depth) {
                            submenu = None;
                        }
                    }
                    _ => {}
                }
            }
        }
        menu.entries = all;
        menu
    }
}

/// Whether a line is `if [ -n "$name" ]` of a variable that nobody has set.
fn asks_for_unset(words: &[String], variables: &BTreeMap<String, String>) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["if", "[", "-n", name, "]", ..] = words.as_slice() else { return false };
    let name = name.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    name != "next_entry" && name != "saved_entry" && !variables.contains_key(name)
}

/// The id a `search` command looks for; `None` when it searches for a file or a label.
fn searched(words: &[String]) -> Option<String> {
    let by_id = words.first().is_some_and(|w| w == "search.fs_uuid")
        || words.iter().any(|w| w == "--fs-uuid" || w == "-u");
    if !by_id {
        return None;
    }
    // Options that take their value as the next word are never written in the separate form by anyone we know of.
    words.iter().skip(1).find(|w| !w.starts_with('-') && is_id(w)).cloned()
}

fn is_id(word: &str) -> bool {
    word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// A GRUB path as a path on its volume: `($root)/boot/grub` and `$prefix/grub.cfg` lose their device.
fn on_volume(word: &str, prefix: Option<&str>) -> String {
    let word = match word.strip_prefix("$prefix").or_else(|| word.strip_prefix("${prefix}")) {
        Some(rest) => format!("{}{rest}", prefix.unwrap_or_default()),
        None => word.to_string(),
    };
    match word.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, path)) => path.to_string(),
        None => word,
    }
}

/// Words of a line, quotes resolved, comments dropped. `{`, `}` and `;` are words of their own.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    // Inside ${...} braces belong to the word.
    let mut variable = false;
    let mut before = ' ';
    for c in line.chars().take(16 << 10) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#') if word.is_none() => break,
            (None, '{') if before == '$' => {
                variable = true;
                word.get_or_insert_default().push(c);
            }
            (None, '}') if variable => {
                variable = false;
                word.get_or_insert_default().push(c);
            }
            (None, '{' | '}' | ';') => {
                words.extend(word.take());
                words.push(c.to_string());
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
        before = c;
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_debians_stub() {
        let stub = GrubStub::parse(
            "/EFI/debian/grub.cfg",
            "search.fs_uuid 11111111-2222-4333-8444-555555555555 root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n",
        );
        assert_eq!(stub.search.as_deref(), Some("11111111-2222-4333-8444-555555555555"));
        assert_eq!(stub.prefix.as_deref(), Some("/boot/grub"));
        assert_eq!(stub.configfile.as_deref(), Some("/boot/grub/grub.cfg"));
        assert_eq!(stub.folder(), "/EFI/debian");
    }

    #[test]
    fn reads_fedoras_stub() {
        let stub = GrubStub::parse(
            "/EFI/fedora/grub.cfg",
            "search --no-floppy --root-dev-only --fs-uuid --set=dev 0f0f0f0f-2222-4333-8444-555555555555\nset prefix=($dev)/grub2\nexport $prefix\nconfigfile $prefix/grub.cfg\n",
        );
        assert_eq!(stub.configfile.as_deref(), Some("/grub2/grub.cfg"));
        assert_eq!(stub.search.as_deref(), Some("0f0f0f0f-2222-4333-8444-555555555555"));
    }

    #[test]
    fn finds_the_entries_behind_a_submenu() {
        let text = "set default=\"1\"\nif [ x = y ]; then\n set foo=\"${bar}\"\nfi\n\
            submenu 'More' {\n menuentry 'In' {\n linux /a root=UUID=1\n }\n menuentry 'In2' { linux /b\n }\n}\n\
            menuentry 'Wanted' --class x {\n search --no-floppy --fs-uuid --set=root 1234-ABCD\n\
            linux /vmlinuz root=UUID=2 ro console=tty0 console=ttyS0,115200\n initrd /a.img /b.img\n}\n";
        let menu = GrubMenu::parse("/boot/grub/grub.cfg", FsPlace::partition(2), text);
        assert_eq!((menu.entries.len(), menu.default_value.as_deref()), (3, Some("1")));
        let entry = &menu.entries[menu.top[1]];
        assert_eq!(entry.title, "Wanted");
        assert_eq!(entry.kernel.as_deref(), Some("/vmlinuz"));
        assert_eq!(entry.initrd, ["/a.img", "/b.img"]);
        assert_eq!(entry.search.as_deref(), Some("1234-ABCD"));
        assert_eq!(entry.options, "root=UUID=2 ro console=tty0 console=ttyS0,115200");
    }

    #[test]
    fn entries_behind_a_question_about_an_unset_variable_are_not_there() {
        let text = "if [ -n \"$extra_cmdline\" ]; then\n submenu 'Snapshot' {\n menuentry 'No' { true; }\n }\nfi\n\
            if [ -n \"${have_it}\" ]; then\n x\nelse\n menuentry 'Yes' {\n linux /a root=UUID=1\n }\nfi\n";
        let menu = GrubMenu::parse("/boot/grub2/grub.cfg", FsPlace::partition(2), text);
        let titles: Vec<&str> = menu.entries.iter().map(|e| e.title.as_str()).collect();
        assert_eq!((titles, menu.top), (vec!["Yes"], vec![0]));
    }

    #[test]
    fn survives_anything() {
        for text in [
            "",
            "menuentry",
            "}}}}{{{",
            "'",
            "submenu {\n}\n}\nmenuentry {",
            "set default=99999999999999999999\nlinux\ninitrd",
        ] {
            GrubMenu::parse("/x", FsPlace::partition(1), text);
            GrubStub::parse("x", text);
        }
    }
}
