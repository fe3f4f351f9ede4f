//! Ids of LVM2: 32 characters, shown in groups. lvm2 lib/uuid/uuid.c.

use std::fmt;

/// Characters of an id. lvm2 `ID_LEN`.
const LEN: usize = 32;
/// How many characters stand between the dashes. lvm2 `id_write_format`.
const GROUPS: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];

/// The id of a physical volume, a volume group or a logical volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; LEN]);

impl Id {
    /// The id that is stored as these bytes, without dashes; `None` when a character is none of an id's.
    pub(super) fn from_raw(raw: [u8; LEN]) -> Option<Id> {
        let good = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#');
        raw.iter().all(good).then_some(Id(raw))
    }

    /// The id that is written as `text`. Dashes are passed over, as lvm2 does (`id_read_format`).
    pub(super) fn parse(text: &str) -> Option<Id> {
        let mut raw = [0; LEN];
        let mut characters = text.bytes().filter(|b| *b != b'-');
        for slot in &mut raw {
            *slot = characters.next()?;
        }
        if characters.next().is_some() { None } else { Id::from_raw(raw) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.iter().map(|b| char::from(*b));
        for (index, len) in GROUPS.iter().enumerate() {
            if index > 0 {
                f.write_str("-")?;
            }
            characters.by_ref().take(*len).try_for_each(|c| write!(f, "{c}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn an_id_is_written_as_it_was_read() {
        let text = "oTOgLq-Jrax-NhOa-uwZt-Imo1-uQOt-C8a5bT";
        assert_eq!(Id::parse(text).map(|id| id.to_string()).as_deref(), Some(text));
        assert_eq!(Id::from_raw(*b"oTOgLqJraxNhOauwZtImo1uQOtC8a5bT"), Id::parse(text));
        for wrong in [
            "",
            "oTOgLq",
            "oTOgLq-Jrax-NhOa-uwZt-Imo1-uQOt-C8a5bTx",
            "oTOgLq-Jrax-NhOa-uwZt-Imo1-uQOt-C8a5b/",
        ] {
            assert_eq!(Id::parse(wrong), None, "{wrong:?}");
        }
    }
}
