//! GRUB's environment block: `NAME=VALUE` lines in 1024 bytes. GRUB manual, "The GRUB environment block".

use std::collections::BTreeMap;

/// First line of every block.
const SIGNATURE: &str = "# GRUB Environment Block";
/// Most variables that are kept.
const VARIABLES_MAX: usize = 256;

/// The variables; none when it is no environment block.
pub(super) fn parse(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    if lines.next() != Some(SIGNATURE) {
        return BTreeMap::new();
    }
    let variables = lines.filter(|l| !l.starts_with('#')).filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_string(), unescaped(value)))
    });
    variables.take(VARIABLES_MAX).collect()
}

/// A backslash in front of a character stands for that character.
fn unescaped(value: &str) -> String {
    let (mut out, mut escaped) = (String::new(), false);
    for c in value.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_grub_editenv_writes() {
        let text = "# GRUB Environment Block\n# WARNING: Do not edit\nsaved_entry=abc-6.1\nkernelopts=root=UUID=1 ro a\\\\b\n######";
        let found = parse(text);
        assert_eq!(found.get("saved_entry").map(String::as_str), Some("abc-6.1"));
        assert_eq!(found.get("kernelopts").map(String::as_str), Some("root=UUID=1 ro a\\b"));
        assert_eq!(found.len(), 2);
        assert!(parse("saved_entry=x").is_empty());
    }
}
