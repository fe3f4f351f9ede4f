//! The text in which LVM2 keeps its metadata: `name = value`, `name { … }`, `# comments`. lvm2 libdm/libdm-config.c.
//!
//! Tolerant of what it does not know, as lvm2 is; bounded in depth and in what it keeps.

use super::tokens::Parser;
use std::borrow::Cow;

/// Deepest nesting: lvm2 writes four levels.
const DEPTH_MAX: usize = 16;

/// What stands between braces, in its order.
#[derive(Default, Debug)]
pub(super) struct Section<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

#[derive(Debug)]
enum Node<'a> {
    Section(Section<'a>),
    Values(Vec<Value<'a>>),
}

/// One value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Number(i64),
    Text(Cow<'a, str>),
}

/// Where a text is none of LVM2's.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct TextError {
    pub line: usize,
    pub wanted: &'static str,
    pub found: String,
}

/// The whole text, up to the first NUL.
pub(super) fn parse(text: &str) -> Result<Section<'_>, TextError> {
    let text = text.split('\0').next().unwrap_or_default();
    Parser::new(text).section(0)
}

impl<'a> Section<'a> {
    /// The sections in this one, with their names.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section<'a>)> {
        self.0.iter().filter_map(|(name, node)| match node {
            Node::Section(section) => Some((name.as_ref(), section)),
            Node::Values(_) => None,
        })
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections().find(|(n, _)| *n == name).map(|(_, section)| section)
    }

    /// The values of this name; a single one is a list of one, as in lvm2 (`dm_config_get_list`).
    pub fn list(&self, name: &str) -> Option<&[Value<'a>]> {
        self.0.iter().find_map(|(n, node)| match node {
            Node::Values(values) if n == name => Some(values.as_slice()),
            _ => None,
        })
    }

    /// The text of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.list(name)? {
            [Value::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The number of this name, unless it is negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.list(name)? {
            [Value::Number(number)] => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Whether the list of this name holds this word.
    pub fn has_flag(&self, name: &str, flag: &str) -> bool {
        let is = |v: &Value| matches!(v, Value::Text(text) if text == flag);
        self.list(name).is_some_and(|values| values.iter().any(is))
    }
}

impl<'a> Parser<'a> {
    fn section(&mut self, depth: usize) -> Result<Section<'a>, TextError> {
        if depth > DEPTH_MAX {
            return Err(self.error("at most 16 levels of sections"));
        }
        let mut entries = Vec::new();
        loop {
            match self.next() {
                None if depth == 0 => return Ok(Section(entries)),
                Some(b'}') if depth > 0 => {
                    self.pass();
                    return Ok(Section(entries));
                }
                None => return Err(self.error("a closing brace")),
                Some(_) => {}
            }
            let name = self.word("a name")?;
            let node = match self.next() {
                Some(b'{') => {
                    self.pass();
                    Node::Section(self.section(depth + 1)?)
                }
                Some(b'=') => {
                    self.pass();
                    Node::Values(self.values()?)
                }
                _ => return Err(self.error("an opening brace or an equals sign")),
            };
            entries.push((name, node));
        }
    }

    fn values(&mut self) -> Result<Vec<Value<'a>>, TextError> {
        if self.next() != Some(b'[') {
            return Ok(vec![self.value()?]);
        }
        self.pass();
        let mut values = Vec::new();
        loop {
            if self.next() == Some(b']') {
                self.pass();
                return Ok(values);
            }
            values.push(self.value()?);
            if self.next() == Some(b',') {
                self.pass();
            }
        }
    }

    fn value(&mut self) -> Result<Value<'a>, TextError> {
        let quoted = matches!(self.next(), Some(b'"' | b'\''));
        let word = self.word("a value")?;
        let is_number = |w: &str| {
            let digits = w.strip_prefix(['-', '+']).unwrap_or(w);
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if quoted || !is_number(&word) {
            return Ok(Value::Text(word));
        }
        // What does not fit is the largest number there is, as for lvm2's strtoll: it will be out of every range.
        let largest = if word.starts_with('-') { i64::MIN } else { i64::MAX };
        Ok(Value::Number(word.parse().unwrap_or(largest)))
    }
}
