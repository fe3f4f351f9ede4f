//! Which parent a differencing VHD wants, and whether a file is it. Virtual Hard Disk Image Format Specification 1.0,
//! "Differencing Hard Disk Images" and "Dynamic Disk Header Format".

use super::footer::{VHD_EPOCH, uuid_bytes};
use super::header::{Header, RawLocator};
use crate::container::gate::{Match, NAME_MAX};
use crate::container::{Opened, corrupt, read_file};
use crate::disk::{ReadError, SourceFile};
use crate::table::guid::Guid;
use std::cell::RefCell;

/// The names that are read, the most reliable first: a path from the child's folder moves with the files, an absolute one does not.
/// The deprecated `Wi2r` and `Wi2k` do not say in which character set they are; `Mac ` is an alias, which only a Mac can resolve.
const PLATFORMS: [[u8; 4]; 3] = [*b"W2ru", *b"W2ku", *b"MacX"];

/// The parent that a child names.
#[derive(Debug)]
pub(super) struct Wanted {
    id: Guid,
    time_stamp: u32,
    names: Vec<String>,
}

impl Wanted {
    /// Read the names that the header of `source` leads to.
    pub(super) fn read(source: &SourceFile, header: &Header) -> Result<Wanted, ReadError> {
        let mut names = Vec::new();
        for code in PLATFORMS {
            for locator in header.locators.iter().filter(|l| l.platform_code == code) {
                let bytes = locator_data(source, header.at, locator)?;
                names.push(if code == *b"MacX" {
                    url_text(&bytes)
                } else {
                    utf16_text(little_endian(&bytes))
                });
            }
        }
        names.push(utf16_text(header.parent_name));
        let mut wanted = Wanted {
            id: Guid::from_disk(uuid_bytes(header.parent_id)),
            time_stamp: header.parent_time_stamp,
            names: Vec::new(),
        };
        for name in names.into_iter().filter(|n| !n.is_empty()) {
            if !wanted.names.contains(&name) {
                wanted.names.push(name);
            }
        }
        Ok(wanted)
    }

    /// What the parent may be called, the most reliable name first.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether `found` is the parent. Its id must be the one recorded, always. The time stamp tells a parent that was written to after the
    /// child was made, which is fatal, but so does a copy that did not keep file times, which is not; so it decides only about a
    /// file that the user did not give.
    pub(super) fn prove(&self, found: &Opened, given: bool, notes: &RefCell<Vec<String>>) -> Match {
        let id = found.info.disk_id.unwrap_or_default();
        if id != self.id {
            return Match::No(format!("its id is {id}, wanted {}", self.id));
        }
        let Some(source) = found.sources.first() else {
            return Match::No("there is no file behind it".into());
        };
        let shown = source.path().display();
        if self.time_stamp == 0 {
            notes.borrow_mut().push(format!(
                "no time stamp of the parent is recorded, so that {shown} is known by its id alone"
            ));
            return Match::Yes;
        }
        let modified = source.identity().mtime_ns.div_euclid(1_000_000_000) - i128::from(VHD_EPOCH);
        let made = found.info.time_stamp.unwrap_or_default();
        if modified == i128::from(self.time_stamp) || made == self.time_stamp {
            return Match::Yes;
        }
        let differs = format!(
            "it was modified at {} and made at {}, wanted {} for one of them",
            date(modified),
            date(made.into()),
            date(self.time_stamp.into())
        );
        if given {
            notes
                .borrow_mut()
                .push(format!("{shown} was taken for the parent because it was given: {differs}"));
            return Match::Yes;
        }
        Match::No(format!(
            "{differs}: it was written to after the child was made, or is a copy that did not keep file times; \
             if you know that it is a faithful copy, give it with --parent"
        ))
    }
}

/// The bytes a locator leads to. Platform Data Space is in sectors by the specification and in bytes by Hyper-V; the length fits either way
/// or is wrong.
fn locator_data(source: &SourceFile, header_at: u64, locator: &RawLocator) -> Result<Vec<u8>, ReadError> {
    let (len, space) = (u64::from(locator.data_len.get()), u64::from(locator.data_space.get()));
    let what = || format!("parent locator {} of the VHD header", locator.platform_code.escape_ascii());
    if len > NAME_MAX as u64 || len > space * 512 {
        let wanted = format!("a name of at most {} bytes", (NAME_MAX as u64).min(space * 512));
        return Err(corrupt(what(), header_at, wanted, len));
    }
    let at = locator.data_offset.get();
    if at.checked_add(len).is_none_or(|end| end > source.len()) {
        let wanted = format!("a name within the file's {:#x} bytes", source.len());
        return Err(corrupt(what(), header_at, wanted, format!("{len} bytes at {at:#x}")));
    }
    let mut bytes = vec![0; len as usize]; // at most NAME_MAX
    read_file(source, at, &mut bytes)?;
    Ok(bytes)
}

fn little_endian(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b))
}

/// Text up to the first NUL; what is no text becomes a replacement character, which no file name has.
fn utf16_text(units: impl IntoIterator<Item = u16>) -> String {
    let units = units.into_iter().take_while(|u| *u != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The text of a URL: UTF-8, percent-encoded where RFC 2396 wants it.
fn url_text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|b| *b == 0).next().unwrap_or_default();
    let (mut text, mut rest) = (Vec::new(), bytes);
    while let Some((first, behind)) = rest.split_first() {
        let encoded = (*first == b'%').then(|| behind.split_at_checked(2)).flatten();
        let decoded = encoded.and_then(|(digits, behind)| Some((hex(digits)?, behind)));
        let (byte, behind) = decoded.unwrap_or((*first, behind));
        text.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

/// Seconds since 2000 as a date. Days to a civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(seconds: i128) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days + 730_425; // from 0000-03-01, where his eras begin, to 2000-01-01
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::{date, url_text, utf16_text};

    #[test]
    fn dates_agree_with_the_calendar() {
        // From `date -u -d @N`, N counted from 1970.
        for (seconds, expect) in [
            (0, "2000-01-01 00:00:00 UTC"),
            (5_097_599, "2000-02-28 23:59:59 UTC"),
            (5_097_600, "2000-02-29 00:00:00 UTC"),
            (5_184_000, "2000-03-01 00:00:00 UTC"),
            (848_793_600, "2026-11-24 00:00:00 UTC"),
            (-946_684_800, "1970-01-01 00:00:00 UTC"),
            (4_294_967_295, "2136-02-07 06:28:15 UTC"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }

    #[test]
    fn names_are_decoded() {
        assert_eq!(
            url_text(b"file://localhost/VMs/my%20b%C3%A4se.vhd\0\0"),
            "file://localhost/VMs/my bäse.vhd"
        );
        assert_eq!(url_text(b"100%"), "100%");
        assert_eq!(url_text(b"%+1%zz%4"), "%+1%zz%4");
        assert_eq!(utf16_text([0x62, 0xE4, 0, 0x63]), "bä");
        assert_eq!(utf16_text([0xD800, 0x63]), "\u{FFFD}c");
    }
}
