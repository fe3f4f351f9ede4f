//! The per-disk script: what GRUB does after the BIOS started it, in plain text.

use super::SECTOR;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width of a line of padding, its newline included: one sector.
const PADDING: usize = SECTOR as usize;
/// First line of every script.
const HEAD: &str = "# Written by drill. GRUB reads these sectors as its script; the rest of them is comments.\n\
    serial --unit=0 --speed=115200\n\
    terminal_input console serial\n\
    terminal_output console serial\n";

/// What GRUB is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Steps {
    /// Go on with the guest's own `grub.cfg` in `folder` on the ESP.
    OwnConfig {
        /// Volume id of the ESP: `ABCD-1234`.
        esp: String,
        /// `/EFI/debian`.
        folder: String,
    },
    /// Show a menu of its own.
    Menu {
        /// In order.
        entries: Vec<Entry>,
        /// The one that starts if nobody chooses.
        default: usize,
    },
}

/// One entry of the menu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What people see.
    pub title: String,
    /// Identifier of the file system that the files are on.
    pub fs: String,
    /// The kernel.
    pub kernel: File,
    /// Initramfs images, in order.
    pub initrd: Vec<File>,
    /// The kernel's command line in words.
    pub options: Vec<String>,
}

/// A file, or whole sectors of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Path on the file system, as GRUB sees it.
    pub path: String,
    /// First sector and how many, counted from the start of the file; `None` for all of it.
    pub sectors: Option<(u64, u64)>,
}

/// Why there is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A character that GRUB's script language could take for something else.
    #[error("{what} {text:?} holds {found:?}, wanted {wanted}")]
    Character {
        /// What the text is.
        what: &'static str,
        /// The text.
        text: String,
        /// The character.
        found: char,
        /// What it may hold.
        wanted: &'static str,
    },
    /// It does not fit its sectors.
    #[error("the script is {len} bytes, wanted at most {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// Room for it.
        max: u64,
    },
    /// A menu without entries.
    #[error("there is no entry to start")]
    Empty,
}

/// The script, padded to `sectors`. Searches are by file-system id, so it works under a GPT and an MBR alike.
///
/// # Errors
/// [`ScriptError`] when a name could not be written safely, or the text is too long.
pub fn script(steps: &Steps, sectors: u64) -> Result<Vec<u8>, ScriptError> {
    let mut text = HEAD.to_string();
    match steps {
        Steps::OwnConfig { esp, folder } => own_config(&mut text, esp, folder)?,
        Steps::Menu { entries, default } => menu(&mut text, entries, *default)?,
    }
    let max = sectors.saturating_mul(SECTOR);
    if text.len() as u64 > max {
        return Err(ScriptError::TooLong { len: text.len(), max });
    }
    let mut bytes = text.into_bytes();
    // Bounded by `LoaderKit::check` to 64 sectors.
    let end = usize::try_from(max).unwrap_or(bytes.len());
    while bytes.len() < end {
        let line = (PADDING - bytes.len() % PADDING).min(end - bytes.len());
        // A comment a sector: GRUB reads line by line, and thousands of empty ones take it longer.
        bytes.extend(std::iter::repeat_n(b'#', line - 1));
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn own_config(text: &mut String, esp: &str, folder: &str) -> Result<(), ScriptError> {
    let esp = id(esp)?;
    plain(
        "folder",
        folder,
        |c| c.is_ascii_alphanumeric() || "/._+-".contains(c),
        "letters, digits and /._+-",
    )?;
    let folder = folder.trim_end_matches('/');
    let _ = write!(
        text,
        "search --no-floppy --fs-uuid --set=root {esp}\n\
         set prefix=($root){folder}\n\
         configfile ($root){folder}/grub.cfg\n"
    );
    Ok(())
}

fn menu(text: &mut String, entries: &[Entry], default: usize) -> Result<(), ScriptError> {
    if default >= entries.len() {
        return Err(ScriptError::Empty);
    }
    let _ = writeln!(text, "set timeout=0\nset default=drill{default}");
    let mut devices: BTreeMap<&str, String> = BTreeMap::new();
    let mut loops: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for entry in entries {
        if !devices.contains_key(entry.fs.as_str()) {
            let name = format!("fs{}", devices.len());
            let _ = writeln!(text, "search --no-floppy --fs-uuid --set={name} {}", id(&entry.fs)?);
            devices.insert(&entry.fs, name);
        }
        for file in entry.initrd.iter().chain([&entry.kernel]).filter(|f| f.sectors.is_some()) {
            let key = (entry.fs.as_str(), file.path.as_str());
            if !loops.contains_key(&key) {
                let name = format!("part{}", loops.len());
                let device = devices.get(key.0).map_or("root", String::as_str);
                let _ = writeln!(text, "loopback {name} (${device}){}", quoted("path", key.1)?);
                loops.insert(key, name);
            }
        }
    }
    for (number, entry) in entries.iter().enumerate() {
        let file = |file: &File| -> Result<String, ScriptError> {
            let key = (entry.fs.as_str(), file.path.as_str());
            Ok(match file.sectors {
                Some((first, count)) => {
                    format!("({}){first}+{count}", loops.get(&key).map_or("", String::as_str))
                }
                None => {
                    let device = devices.get(key.0).map_or("root", String::as_str);
                    format!("(${device}){}", quoted("path", key.1)?)
                }
            })
        };
        let _ =
            writeln!(text, "menuentry {} --id drill{number} {{", quoted("title", &printable(&entry.title))?);
        let _ = write!(text, "  linux {}", file(&entry.kernel)?);
        for word in &entry.options {
            let _ = write!(text, " {}", quoted("kernel option", word)?);
        }
        text.push('\n');
        if !entry.initrd.is_empty() {
            text.push_str("  initrd");
            for image in &entry.initrd {
                let _ = write!(text, " {}", file(image)?);
            }
            text.push('\n');
        }
        text.push_str("}\n");
    }
    Ok(())
}

/// A title is only shown: what cannot be written is left out.
fn printable(title: &str) -> String {
    let kept = |c: &char| !c.is_control() && *c != '\'' && *c != '\\';
    let title: String = title.chars().filter(kept).take(80).collect();
    if title.is_empty() { "Linux".to_string() } else { title }
}

fn id(id: &str) -> Result<&str, ScriptError> {
    plain("file system id", id, |c| c.is_ascii_alphanumeric() || c == '-', "letters, digits and -")?;
    Ok(id)
}

/// A word for GRUB's script language: as it is where that is safe, else in single quotes, within which nothing has a meaning.
fn quoted(what: &'static str, word: &str) -> Result<String, ScriptError> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._+-=:,@".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return Ok(word.to_string());
    }
    plain(what, word, |c| !c.is_control(), "no control character")?;
    // A quote ends the quoted part, stands for itself behind a backslash, and the next part begins.
    Ok(format!("'{}'", word.replace('\'', "'\\''")))
}

fn plain(
    what: &'static str,
    text: &str,
    allowed: impl Fn(char) -> bool,
    wanted: &'static str,
) -> Result<(), ScriptError> {
    match text.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(ScriptError::Character { what, text: text.to_string(), found, wanted }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, File, Steps, script};

    fn text(steps: &Steps) -> String {
        let bytes = script(steps, 8).expect("a script");
        assert_eq!(bytes.len(), 8 * 512);
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.ends_with('\n'));
        text.lines().filter(|l| !l.starts_with('#')).skip(3).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn goes_on_with_the_guests_own_configuration() {
        let steps = Steps::OwnConfig { esp: "ABCD-1234".into(), folder: "/EFI/debian".into() };
        insta::assert_snapshot!(text(&steps), @r"
        search --no-floppy --fs-uuid --set=root ABCD-1234
        set prefix=($root)/EFI/debian
        configfile ($root)/EFI/debian/grub.cfg
        ");
        assert!(script(&Steps::OwnConfig { esp: "A;B".into(), folder: "/x".into() }, 8).is_err());
    }

    #[test]
    fn writes_a_menu_in_which_nothing_has_a_second_meaning() {
        let part = |at| File { path: "/EFI/Linux/a b.efi".into(), sectors: Some((at, 100)) };
        let entries = vec![
            Entry {
                title: "It's; $a {menu}".into(),
                fs: "ABCD-1234".into(),
                kernel: part(8),
                initrd: vec![part(108)],
                options: vec!["root=UUID=1".into(), "a=b c".into(), "x=$y;z".into(), "it's".into()],
            },
            Entry {
                title: "Old".into(),
                fs: "ABCD-1234".into(),
                kernel: File { path: "/vmlinuz".into(), sectors: None },
                initrd: vec![],
                options: vec![],
            },
        ];
        insta::assert_snapshot!(text(&Steps::Menu { entries, default: 1 }), @r"
        set timeout=0
        set default=drill1
        search --no-floppy --fs-uuid --set=fs0 ABCD-1234
        loopback part0 ($fs0)'/EFI/Linux/a b.efi'
        menuentry 'Its; $a {menu}' --id drill0 {
          linux (part0)8+100 root=UUID=1 'a=b c' 'x=$y;z' 'it'\''s'
          initrd (part0)108+100
        }
        menuentry Old --id drill1 {
          linux ($fs0)/vmlinuz
        }
        ");
        assert!(script(&Steps::Menu { entries: vec![], default: 0 }, 8).is_err());
    }
}
