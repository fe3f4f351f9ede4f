//! A kernel's command line as words that GRUB hands on unchanged.
//!
//! GRUB joins the arguments of `linux` again: an argument with a space is put into double quotes, and a quote or backslash in one gets a
//! backslash in front, which the kernel does not know (GRUB 2.06, `grub_create_loader_cmdline`). The kernel takes quotes only around a whole
//! value or a whole word (Linux `lib/cmdline.c`, `next_arg`). Between the two, these forms come through: `word`, `key="a b"`, `"key=a b"`.

/// One word of a command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelWord {
    /// The word, with the quotes taken off that GRUB puts on again.
    pub text: String,
    /// What GRUB puts a backslash in front of, so that the kernel sees another word than the guest's own loader hands it.
    pub changed: Option<char>,
}

/// The words of a command line.
pub fn kernel_words(options: &str) -> Vec<KernelWord> {
    split(options).into_iter().map(plain).collect()
}

/// Cut at white space outside of double quotes, as the kernel does.
fn split(options: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in options.chars() {
        if c.is_whitespace() && !quoted {
            words.push(std::mem::take(&mut word));
            continue;
        }
        quoted ^= c == '"';
        word.push(c);
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

fn plain(word: String) -> KernelWord {
    let inner = |text: &str| text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).map(str::to_string);
    let bare = inner(&word).or_else(|| {
        let (key, value) = word.split_once('=')?;
        Some(format!("{key}={}", inner(value)?))
    });
    let special = |text: &str| text.chars().find(|c| matches!(c, '"' | '\'' | '\\') || c.is_control());
    // Without a space GRUB leaves the quotes off, and so may we: the kernel takes them off, too.
    let text = bare.filter(|b| special(b).is_none()).unwrap_or(word);
    KernelWord { changed: special(&text), text }
}

#[cfg(test)]
mod tests {
    use super::kernel_words;

    #[test]
    fn words_lose_the_quotes_that_the_kernel_takes_off() {
        let cases: &[(&str, Result<&[&str], char>)] = &[
            ("", Ok(&[])),
            ("root=UUID=1  ro\tquiet", Ok(&["root=UUID=1", "ro", "quiet"])),
            ("a=\"b c\" d", Ok(&["a=b c", "d"])),
            ("\"a=b c\" $x;{}#", Ok(&["a=b c", "$x;{}#"])),
            ("a=\"b\"", Ok(&["a=b"])),
            ("a=b\"c\"", Err('"')),
            ("it's", Err('\'')),
            ("a=\\x20", Err('\\')),
            ("a=\"b c", Err('"')),
        ];
        for (line, expect) in cases {
            let words = kernel_words(line);
            let found = match words.iter().find_map(|w| w.changed) {
                Some(changed) => Err(changed),
                None => Ok(words.into_iter().map(|w| w.text).collect()),
            };
            let expect: Result<Vec<String>, char> =
                expect.map(|words| words.iter().map(ToString::to_string).collect());
            assert_eq!(found, expect, "{line}");
        }
    }
}
