//! Bytes that serialize short: disks are mostly runs of one value.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::Write as _;
use std::sync::Arc;

/// Shared bytes. In JSON one string of words: `512*00` is a run, `x48656c6c6f` stands for itself.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(Arc<[u8]>);

/// Most bytes that one string may stand for: 64 MiB. A run costs an attacker nothing to write.
const LEN_MAX: usize = 64 << 20;
/// Shortest run worth a word of its own.
const RUN_MIN: usize = 8;

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same bytes, shared.
    pub fn share(&self) -> Arc<[u8]> {
        self.0.clone()
    }

    /// BLAKE3 of the bytes, in hex.
    pub fn hash(&self) -> String {
        blake3::hash(&self.0).to_hex().to_string()
    }

    fn encode(&self) -> String {
        let mut out = String::new();
        let mut literal: &[u8] = &[];
        let mut rest: &[u8] = &self.0;
        let flush = |out: &mut String, literal: &[u8]| {
            if !literal.is_empty() {
                out.push_str(if out.is_empty() { "x" } else { " x" });
                for b in literal {
                    let _ = write!(out, "{b:02x}");
                }
            }
        };
        let mut from = rest;
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|b| *b == first).count();
            let (head, tail) = rest.split_at(run);
            if run >= RUN_MIN {
                flush(&mut out, literal);
                let _ = write!(out, "{}{run}*{first:02x}", if out.is_empty() { "" } else { " " });
                (literal, from) = (&[], tail);
            } else {
                let _ = head;
                literal = from.get(..from.len() - tail.len()).unwrap_or_default();
            }
            rest = tail;
        }
        flush(&mut out, literal);
        out
    }

    fn decode(text: &str) -> Result<Bytes, String> {
        let mut bytes = Vec::new();
        for word in text.split_ascii_whitespace() {
            if let Some(hex) = word.strip_prefix('x') {
                let digits = hex.as_bytes();
                if digits.len() % 2 != 0 {
                    return Err(format!("{} hex digits, wanted an even number", digits.len()));
                }
                for pair in digits.chunks_exact(2) {
                    bytes.push(byte(pair)?);
                }
            } else {
                let (count, value) = word.split_once('*').ok_or("a word is neither xHEX nor COUNT*HEX")?;
                let count: usize = count.parse().map_err(|_| "a count is no number".to_string())?;
                let len = bytes.len().checked_add(count).filter(|len| *len <= LEN_MAX);
                bytes.resize(
                    len.ok_or_else(|| format!("more than {LEN_MAX} bytes"))?,
                    byte(value.as_bytes())?,
                );
            }
            if bytes.len() > LEN_MAX {
                return Err(format!("more than {LEN_MAX} bytes"));
            }
        }
        Ok(Bytes(bytes.into()))
    }
}

fn byte(pair: &[u8]) -> Result<u8, String> {
    let text = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
    if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("{text:?} is no pair of hex digits"));
    }
    u8::from_str_radix(text, 16).map_err(|e| e.to_string())
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Bytes {
        Bytes(bytes)
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(d)?;
        Bytes::decode(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_runs_and_literals() {
        let bytes = Bytes::from([&[0; 100][..], b"Hello", &[0xff; 9], b"!"].concat());
        assert_eq!(bytes.encode(), "100*00 x48656c6c6f 9*ff x21");
    }

    #[test]
    fn refuses_what_it_would_not_write() {
        for text in
            ["x0", "xzz", "9*0", "*00", "99999999999*00", "hello", "1*+1", "67108865*00", "67108864*00 1*00"]
        {
            assert!(Bytes::decode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(runs in proptest::collection::vec((any::<u8>(), 1usize..40), 0..20)) {
            let bytes = Bytes::from(runs.iter().flat_map(|(b, n)| std::iter::repeat_n(*b, *n)).collect::<Vec<u8>>());
            prop_assert_eq!(Bytes::decode(&bytes.encode()), Ok(bytes));
        }
    }
}
