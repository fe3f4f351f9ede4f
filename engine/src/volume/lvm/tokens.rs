//! Names, words and signs of LVM2's text. lvm2 libdm/libdm-config.c `_get_token`.

use super::text::TextError;
use std::borrow::Cow;

/// Most names and values: those of some ten thousand logical volumes.
const NODES_MAX: usize = 1 << 18;

/// A place in a text.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0, nodes: 0 }
    }

    /// Go on behind the sign that [`Parser::next`] showed.
    pub fn pass(&mut self) {
        self.at += 1;
    }

    /// A bare or quoted word.
    pub fn word(&mut self, wanted: &'static str) -> Result<Cow<'a, str>, TextError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.error("fewer names and values"));
        }
        let quote = self.next().filter(|b| matches!(b, b'"' | b'\''));
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(quote) = quote else {
            let ends = |c: char| c.is_ascii_whitespace() || "=#{}[],\"'".contains(c);
            let word = rest.split(ends).next().unwrap_or_default();
            if word.is_empty() {
                return Err(self.error(wanted));
            }
            self.at += word.len();
            return Ok(Cow::Borrowed(word));
        };
        // Within double quotes a backslash takes the next character as it is. lvm2 `dm_escape_double_quotes`.
        let (mut escaped, mut escapes) = (false, false);
        let inner = rest.get(1..).unwrap_or_default();
        let end = inner.bytes().position(|b| {
            let ends = b == quote && !escaped;
            escaped = b == b'\\' && quote == b'"' && !escaped;
            escapes |= escaped;
            ends
        });
        let Some(text) = end.and_then(|end| inner.get(..end)) else {
            return Err(self.error("a closing quote"));
        };
        self.at += text.len() + 2;
        Ok(if escapes { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) })
    }

    /// The byte at which the next token begins.
    pub fn next(&mut self) -> Option<u8> {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let token = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
            self.at += rest.len() - token.len();
            if !token.starts_with('#') {
                return token.bytes().next();
            }
            self.at += token.find('\n').unwrap_or(token.len());
        }
    }

    pub fn error(&self, wanted: &'static str) -> TextError {
        let (before, rest) = self.text.split_at_checked(self.at).unwrap_or((self.text, ""));
        let word: String = rest.chars().take(12).take_while(|c| *c != '\n').collect();
        let found = if word.is_empty() { "the end".to_string() } else { format!("{word:?}") };
        TextError { line: before.matches('\n').count() + 1, wanted, found }
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    plain
}
