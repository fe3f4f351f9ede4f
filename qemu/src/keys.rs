//! Keys by the names that people use, as QEMU's `send-key` takes them (`QKeyCode` in QEMU's `qapi/ui.json`).

/// Keys pressed together at most.
const MAX_TOGETHER: usize = 6;
/// Chords of one call at most.
const MAX_CHORDS: usize = 1024;

/// Names that people use, and QEMU's.
const NAMES: &[(&str, &str)] = &[
    ("enter", "ret"),
    ("return", "ret"),
    ("escape", "esc"),
    ("space", "spc"),
    ("del", "delete"),
    ("ins", "insert"),
    ("pageup", "pgup"),
    ("pagedown", "pgdn"),
    ("win", "meta_l"),
    ("-", "minus"),
    ("=", "equal"),
    (",", "comma"),
    (".", "dot"),
    ("/", "slash"),
    (";", "semicolon"),
];
/// QEMU's own names, besides one letter, one digit and `f1` to `f12`.
const OWN: &[&str] = &[
    "ret",
    "esc",
    "spc",
    "tab",
    "backspace",
    "delete",
    "insert",
    "home",
    "end",
    "pgup",
    "pgdn",
    "up",
    "down",
    "left",
    "right",
    "ctrl",
    "ctrl_r",
    "alt",
    "alt_r",
    "shift",
    "shift_r",
    "meta_l",
    "meta_r",
    "minus",
    "equal",
    "comma",
    "dot",
    "slash",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "backslash",
    "bracket_left",
    "bracket_right",
    "caps_lock",
    "num_lock",
    "scroll_lock",
    "print",
    "sysrq",
    "pause",
    "menu",
];
/// Characters of a US keyboard: without and with shift, and the key.
const CHARACTERS: &[(char, char, &str)] = &[
    ('-', '_', "minus"),
    ('=', '+', "equal"),
    ('[', '{', "bracket_left"),
    (']', '}', "bracket_right"),
    ('\\', '|', "backslash"),
    (';', ':', "semicolon"),
    ('\'', '"', "apostrophe"),
    ('`', '~', "grave_accent"),
    (',', '<', "comma"),
    ('.', '>', "dot"),
    ('/', '?', "slash"),
    ('1', '!', "1"),
    ('2', '@', "2"),
    ('3', '#', "3"),
    ('4', '$', "4"),
    ('5', '%', "5"),
    ('6', '^', "6"),
    ('7', '&', "7"),
    ('8', '*', "8"),
    ('9', '(', "9"),
    ('0', ')', "0"),
];

/// Keys pressed together, in QEMU's names.
pub type Chord = Vec<String>;

/// Why something cannot be pressed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadKey {
    /// No such key.
    #[error("there is no key named {0:?}")]
    Name(String),
    /// Not on the keyboard.
    #[error("character {0} of the text is not on a US keyboard")]
    Character(usize),
    /// No key at all.
    #[error("no key is named")]
    None,
    /// More than a hand has fingers, or than one call is for.
    #[error("{0} are too many at once")]
    Many(usize),
}

/// `ctrl-alt-del`, `down down enter`: chords one after another, each of keys joined by `-`.
///
/// # Errors
/// [`BadKey`] at the first one that does not exist.
pub fn chords_of(text: &str) -> Result<Vec<Chord>, BadKey> {
    let chords: Vec<Chord> = text.split_whitespace().map(chord).collect::<Result<_, _>>()?;
    match chords.len() {
        0 => Err(BadKey::None),
        1..=MAX_CHORDS => Ok(chords),
        many => Err(BadKey::Many(many)),
    }
}

fn chord(text: &str) -> Result<Chord, BadKey> {
    if text == "-" {
        return Ok(vec![key("-")?]);
    }
    let keys: Chord = text.split('-').map(key).collect::<Result<_, _>>()?;
    if keys.len() > MAX_TOGETHER { Err(BadKey::Many(keys.len())) } else { Ok(keys) }
}

fn key(name: &str) -> Result<String, BadKey> {
    let low = name.to_ascii_lowercase();
    let known = NAMES.iter().find(|(ours, _)| *ours == low).map_or(low.as_str(), |(_, theirs)| *theirs);
    let single = known.len() == 1 && known.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let function =
        known.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=12).contains(&n));
    match single || function || OWN.contains(&known) {
        true => Ok(known.to_owned()),
        false => Err(BadKey::Name(name.to_owned())),
    }
}

/// The chords that type this text on a US keyboard; `\n` is Enter, `\t` is Tab.
///
/// # Errors
/// [`BadKey`] at the first character without a key. It is named by its place only: the text may be a secret.
pub fn keys_for(text: &str) -> Result<Vec<Chord>, BadKey> {
    let many = text.chars().count();
    if many > MAX_CHORDS {
        return Err(BadKey::Many(many));
    }
    text.chars().enumerate().map(|(at, c)| typed(c).ok_or(BadKey::Character(at + 1))).collect()
}

fn typed(c: char) -> Option<Chord> {
    let shifted = |key: String| vec!["shift".to_owned(), key];
    match c {
        '\n' | '\r' => Some(vec!["ret".to_owned()]),
        '\t' => Some(vec!["tab".to_owned()]),
        ' ' => Some(vec!["spc".to_owned()]),
        'a'..='z' => Some(vec![c.to_string()]),
        'A'..='Z' => Some(shifted(c.to_ascii_lowercase().to_string())),
        _ => CHARACTERS.iter().find_map(|(plain, shift, key)| match c {
            c if c == *plain => Some(vec![(*key).to_owned()]),
            c if c == *shift => Some(shifted((*key).to_owned())),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadKey, chords_of, keys_for};

    fn shown(chords: Vec<Vec<String>>) -> String {
        chords.iter().map(|c| c.join("+")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn chords_by_the_names_people_use() {
        assert_eq!(chords_of("ctrl-alt-del").map(shown).unwrap(), "ctrl+alt+delete");
        assert_eq!(chords_of("down Down enter F12 ctrl-- -").map(shown), Err(BadKey::Name(String::new())));
        assert_eq!(chords_of(" down Down enter F12 - ").map(shown).unwrap(), "down down ret f12 minus");
        assert_eq!(chords_of("f13"), Err(BadKey::Name("f13".into())));
        assert_eq!(chords_of(""), Err(BadKey::None));
        assert_eq!(chords_of("a-b-c-d-e-f-g"), Err(BadKey::Many(7)));
    }

    #[test]
    fn text_on_a_us_keyboard_and_no_word_about_what_is_not_on_it() {
        assert_eq!(keys_for("aB_1!\n").map(shown).unwrap(), "a shift+b shift+minus 1 shift+1 ret");
        assert_eq!(
            keys_for("ab\u{e4}").unwrap_err().to_string(),
            "character 3 of the text is not on a US keyboard"
        );
    }

    #[test]
    fn every_printable_character_of_ascii_has_a_key() {
        let all: String = (' '..='~').collect();
        assert_eq!(keys_for(&all).map(|keys| keys.len()), Ok(95));
    }
}
