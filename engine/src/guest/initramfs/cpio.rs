//! cpio in its "new ASCII" form, pushed through in pieces. Documentation/driver-api/early-userspace/buffer-format.rst of the kernel:
//!
//! ```text
//! initramfs := ("\0" | archive)*      archive := cpio_file* [cpio_trailer]
//! cpio_file := ALGN(4) header(110) name "\0" ALGN(4) data
//! ```

use super::{NAME_BYTES_MAX, NAME_MAX, NAMES_MAX, OUTPUT_MAX};

/// Length of a header: a magic of 6 and 13 numbers of 8 hexadecimal digits.
const HEADER: usize = 110;
/// Where two of its numbers are.
const FILE_SIZE_AT: usize = 54;
const NAME_SIZE_AT: usize = 94;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// A reader of archives that is pushed the bytes.
#[derive(Default)]
pub(super) struct Cpio {
    state: State,
    /// Bytes seen of the current stream, which alignment counts from.
    at: u64,
    /// Bytes seen in all.
    total: u64,
    /// What has come of a header or a name that is not complete yet.
    part: Vec<u8>,
    names: Vec<String>,
    name_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    /// Before an entry. Zeros are padding, here and behind a trailer.
    #[default]
    Between,
    Header,
    /// `skip` is what follows the name: its padding, the data, and theirs.
    Name {
        len: usize,
        skip: u64,
    },
    Skip {
        left: u64,
    },
}

impl Cpio {
    /// A new stream begins.
    pub fn begin(&mut self) {
        self.state = State::Between;
        self.at = 0;
        self.part.clear();
    }

    /// Take what can be taken; how much that was. It stops before a byte that is neither padding nor the beginning of an entry.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let taken = match self.state {
                State::Between if first == 0 => rest.iter().take_while(|b| **b == 0).count(),
                State::Between if first == b'0' && self.at.is_multiple_of(4) => {
                    self.state = State::Header;
                    0
                }
                State::Between => break,
                State::Header => {
                    let taken = self.collect(rest, HEADER);
                    if self.part.len() == HEADER {
                        self.state = header(&self.part)?;
                        self.part.clear();
                    }
                    taken
                }
                State::Name { len, skip } => {
                    let taken = self.collect(rest, len);
                    if self.part.len() == len {
                        self.name()?;
                        self.state = State::Skip { left: skip };
                    }
                    taken
                }
                State::Skip { left } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left.saturating_sub(taken as u64);
                    self.state = if left == 0 { State::Between } else { State::Skip { left } };
                    taken
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
            self.at = self.at.saturating_add(taken as u64);
            self.total = self.total.saturating_add(taken as u64);
            if self.total > OUTPUT_MAX {
                return Err(format!("more than {OUTPUT_MAX} bytes come out of it"));
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    pub fn is_between_entries(&self) -> bool {
        matches!(self.state, State::Between | State::Skip { left: 0 })
    }

    pub fn count(&self) -> usize {
        self.names.len()
    }

    pub fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Add to the unfinished part, up to `wanted` bytes of it.
    fn collect(&mut self, from: &[u8], wanted: usize) -> usize {
        let taken = wanted.saturating_sub(self.part.len()).min(from.len());
        self.part.extend_from_slice(from.get(..taken).unwrap_or_default());
        taken
    }

    fn name(&mut self) -> Result<(), String> {
        let name = self.part.split(|b| *b == 0).next().unwrap_or_default();
        if name != TRAILER {
            self.name_bytes = self.name_bytes.saturating_add(name.len());
            if self.names.len() >= NAMES_MAX || self.name_bytes > NAME_BYTES_MAX {
                return Err(format!(
                    "it has more than {NAMES_MAX} names, or more than {NAME_BYTES_MAX} bytes of them"
                ));
            }
            self.names.push(String::from_utf8_lossy(name).into_owned());
        }
        self.part.clear();
        Ok(())
    }
}

/// What follows a header.
fn header(bytes: &[u8]) -> Result<State, String> {
    // 070701, or 070702 with checksums of the data, which the kernel ignores as well.
    let magic = bytes.get(..6).unwrap_or_default();
    if !matches!(magic, b"070701" | b"070702") {
        return Err(format!(
            "an entry begins with {:?}, wanted \"070701\" (cpio -H newc)",
            String::from_utf8_lossy(magic)
        ));
    }
    let name_len = number(bytes, NAME_SIZE_AT)?;
    let data_len = number(bytes, FILE_SIZE_AT)?;
    // Both are 32-bit numbers in a u64: nothing here can overflow.
    let behind_name = (HEADER as u64 + name_len).next_multiple_of(4) - HEADER as u64 - name_len;
    let skip = behind_name + data_len.next_multiple_of(4);
    Ok(match usize::try_from(name_len) {
        Ok(len) if (1..=NAME_MAX).contains(&len) => State::Name { len, skip },
        // The kernel passes over such an entry (`do_header`), and so its name never exists.
        _ => State::Skip { left: name_len + skip },
    })
}

/// Eight hexadecimal digits.
fn number(header: &[u8], at: usize) -> Result<u64, String> {
    let digits = header.get(at..).and_then(|b| b.first_chunk::<8>()).copied().unwrap_or_default();
    let text = std::str::from_utf8(&digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
    text.and_then(|t| u64::from_str_radix(t, 16).ok()).ok_or_else(|| {
        format!(
            "an entry's header has {:?} at byte {at}, wanted 8 hexadecimal digits",
            String::from_utf8_lossy(&digits)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry by the format's text, not by the code above.
    fn entry(name: &str, data: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
            1,
            0o100644,
            0,
            0,
            1,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        )
        .into_bytes();
        out.extend(name.bytes());
        out.push(0);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
        out.extend(data);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
        out
    }

    fn archive() -> Vec<u8> {
        [
            entry("a", b""),
            entry("b/longer name", b"12345"),
            entry("TRAILER!!!", b""),
            vec![0; 100],
            entry("c", b"x"),
        ]
        .concat()
    }

    #[test]
    fn takes_entries_in_pieces_of_any_size() {
        for piece in [1, 2, 3, 7, 109, 110, 111, 4096] {
            let mut cpio = Cpio::default();
            for part in archive().chunks(piece) {
                assert_eq!(cpio.push(part).expect("sound"), part.len());
            }
            assert!(cpio.is_between_entries());
            assert_eq!(cpio.into_names(), ["a", "b/longer name", "c"], "pieces of {piece}");
        }
    }

    #[test]
    fn stops_before_what_is_no_entry() {
        let sound = archive();
        let mut cpio = Cpio::default();
        assert_eq!(cpio.push(&[sound.as_slice(), b"\x1f\x8b"].concat()).expect("sound"), sound.len());
        // An entry begins at a multiple of four.
        let mut cpio = Cpio::default();
        assert_eq!(cpio.push(&[&[0][..], &sound].concat()).expect("padding"), 1);
    }

    #[test]
    fn says_what_is_wrong_with_an_entry() {
        let with = |at: usize, bytes: &[u8]| {
            let mut all = archive();
            all[at..at + bytes.len()].copy_from_slice(bytes);
            Cpio::default().push(&all).expect_err("not sound")
        };
        assert_eq!(with(0, b"070707"), r#"an entry begins with "070707", wanted "070701" (cpio -H newc)"#);
        assert_eq!(
            with(94, b"0000000g"),
            r#"an entry's header has "0000000g" at byte 94, wanted 8 hexadecimal digits"#
        );
    }

    #[test]
    fn passes_over_a_name_that_the_kernel_does_not_take() {
        for long in [0, NAME_MAX + 1] {
            let mut all = entry("x", b"data");
            all[94..102].copy_from_slice(format!("{long:08x}").as_bytes());
            let mut cpio = Cpio::default();
            cpio.push(&all).expect("sound");
            assert_eq!(cpio.count(), 0, "{long}");
        }
    }

    #[test]
    fn has_a_bound_for_what_comes_out() {
        let mut cpio = Cpio::default();
        let zeros = vec![0; 64 << 20];
        let ended = (0..=16).find_map(|_| cpio.push(&zeros).err());
        assert_eq!(ended.as_deref(), Some("more than 1073741824 bytes come out of it"));
    }
}
