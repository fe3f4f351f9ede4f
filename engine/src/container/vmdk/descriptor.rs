//! The text of a descriptor. Virtual Disk Format 5.0, "The Descriptor File".

use super::{SECTOR, SECTORS_MAX};
use crate::container::corrupt;
use crate::disk::ReadError;
use std::collections::HashMap;

/// First line of every descriptor.
pub const MAGIC: &[u8] = b"# Disk DescriptorFile";
/// Extents of one disk. Each is an open file, and a process usually may have 1024 of them, two for each extent.
pub const EXTENTS_MAX: usize = 400;
/// Parent CID of a disk that has no parent.
const NO_PARENT: u32 = u32::MAX;
/// Keys that mean something to us; each may stand there once, so that no two readers can disagree.
const KEYS: [&str; 5] = ["version", "cid", "parentcid", "createtype", "parentfilenamehint"];

/// What a descriptor says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Id of this state of the content.
    pub cid: u32,
    /// Id that the parent's content must have, for a disk that has a parent.
    pub parent_cid: Option<u32>,
    /// What the parent was called.
    pub parent_hint: Option<String>,
    /// VMware's word for the layout: `monolithicSparse`, `twoGbMaxExtentFlat` and so on.
    pub create_type: String,
    /// Its pieces, in the order of the disk; at least one.
    pub extents: Vec<Extent>,
    /// Sectors of all extents together.
    pub sectors: u64,
}

/// One piece of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// What may be done to it.
    pub access: Access,
    /// Its length in sectors; not 0.
    pub sectors: u64,
    /// How it keeps its bytes.
    pub kind: ExtentKind,
    /// The file, as it is named here: somebody else's wish.
    pub name: Option<String>,
}

/// "Access" of an extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// `RW`.
    ReadWrite,
    /// `RDONLY`.
    ReadOnly,
    /// `NOACCESS`.
    None,
}

/// "Type" of an extent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExtentKind {
    /// The bytes themselves, from this sector of the file on; ESX calls it `VMFS`.
    Flat {
        /// First sector in the file.
        offset: u64,
    },
    /// Grains that come to be when they are written.
    Sparse,
    /// Any other word: `ZERO`, `VMFSSPARSE`, `SESPARSE`, `VMFSRDM` and so on.
    Other(String),
}

impl Descriptor {
    /// Parse a descriptor. Unknown keys and the disk database are passed over.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] with the line's offset.
    pub fn parse(text: &str) -> Result<Descriptor, ReadError> {
        let mut keys: HashMap<&'static str, (u64, &str)> = HashMap::new();
        let mut extents = Vec::new();
        let mut at = 0u64;
        for line in text.split_inclusive('\n') {
            let here = at;
            at = at.saturating_add(line.len() as u64);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(extent) = parse_extent(line).map_err(|wanted| line_error(here, wanted, line))? {
                if extents.len() >= EXTENTS_MAX {
                    let wanted = format!("at most {EXTENTS_MAX} extents");
                    return Err(corrupt("VMDK descriptor", here, wanted, "more"));
                }
                extents.push(extent);
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = key.trim();
            let Some(known) = KEYS.iter().find(|k| k.eq_ignore_ascii_case(key)) else { continue };
            if keys.insert(known, (here, unquoted(value))).is_some() {
                return Err(line_error(here, "each key once", line));
            }
        }
        let get = |key: &str| keys.get(key).copied();
        let hex = |key: &str| match get(key) {
            None => Ok(None),
            Some((at, value)) => u32::from_str_radix(value, 16)
                .map(Some)
                .map_err(|_| line_error(at, "an id of at most 8 hexadecimal digits", value)),
        };
        let missing = |key: &str| corrupt("VMDK descriptor", 0, format!("a line `{key}=…`"), "none");
        if let Some((at, version)) = get("version").filter(|(_, v)| !matches!(*v, "1" | "2" | "3" | "4")) {
            return Err(line_error(at, "version 1 to 4", version));
        }
        let total = extents.iter().try_fold(0u64, |sum, e: &Extent| sum.checked_add(e.sectors));
        let sectors = total.filter(|n| (1..=SECTORS_MAX).contains(n)).ok_or_else(|| {
            corrupt(
                "VMDK descriptor's extents",
                0,
                "at most 64 TiB and not 0",
                format!("{} extents", extents.len()),
            )
        })?;
        Ok(Descriptor {
            cid: hex("cid")?.ok_or_else(|| missing("CID"))?,
            parent_cid: hex("parentcid")?.filter(|cid| *cid != NO_PARENT),
            parent_hint: get("parentfilenamehint").map(|(_, v)| v.to_owned()).filter(|v| !v.is_empty()),
            create_type: get("createtype").ok_or_else(|| missing("createType"))?.1.to_owned(),
            extents,
            sectors,
        })
    }
}

impl Extent {
    /// The bytes of its file that a flat extent takes: offset and length. `None` beyond what 64 bits hold.
    pub fn flat_bytes(&self, offset: u64) -> Option<(u64, u64)> {
        Some((offset.checked_mul(SECTOR)?, self.sectors.checked_mul(SECTOR)?))
    }
}

/// `ACCESS SECTORS TYPE ["NAME" [OFFSET]]`; nothing for a line that is no extent. The error says what was wanted.
fn parse_extent(line: &str) -> Result<Option<Extent>, &'static str> {
    let (word, rest) = next_word(line);
    let access = match word {
        "RW" => Access::ReadWrite,
        "RDONLY" => Access::ReadOnly,
        "NOACCESS" => Access::None,
        _ => return Ok(None),
    };
    let (sectors, rest) = next_word(rest);
    let sectors: u64 =
        sectors.parse().ok().filter(|n| (1..=SECTORS_MAX).contains(n)).ok_or("a number of sectors, not 0")?;
    let (kind, rest) = next_word(rest);
    let (name, rest) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) = quoted.split_once('"').ok_or("a name that ends with a quotation mark")?;
            (Some(name.to_owned()), rest.trim())
        }
        None => (None, rest),
    };
    let (offset, _) = next_word(rest);
    let offset = match offset {
        "" => None,
        number => Some(number.parse::<u64>().map_err(|_| "an offset in sectors behind the name")?),
    };
    let kind = match (kind, offset) {
        ("FLAT" | "VMFS", offset) => ExtentKind::Flat { offset: offset.unwrap_or(0) },
        ("SPARSE", None | Some(0)) => ExtentKind::Sparse,
        ("SPARSE", Some(_)) => return Err("no offset in a sparse file"),
        (other, _) => ExtentKind::Other(other.to_owned()),
    };
    Ok(Some(Extent { access, sectors, kind, name }))
}

fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

fn line_error(at: u64, wanted: &str, line: &str) -> ReadError {
    let shown: String = line.chars().take(80).collect();
    corrupt("VMDK descriptor", at, wanted, format!("{shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::{Access, Descriptor, ExtentKind};

    const HEAD: &str = "# Disk DescriptorFile\nversion=1\nCID=fe9a79c8\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentSparse\"\n\n";

    #[track_caller]
    fn extents(lines: &str) -> Vec<(Access, u64, ExtentKind, Option<String>)> {
        let found = Descriptor::parse(&format!("{HEAD}{lines}")).unwrap_or_else(|e| panic!("{e}"));
        found.extents.into_iter().map(|e| (e.access, e.sectors, e.kind, e.name)).collect()
    }

    #[track_caller]
    fn error(text: &str) -> String {
        Descriptor::parse(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn reads_every_shape_of_an_extent() {
        let name = |n: &str| Some(n.to_owned());
        assert_eq!(
            extents(
                "RW 4192256 SPARSE \"disk s001.vmdk\"\r\nRW 10 FLAT \"f001.vmdk\" 128\nRDONLY 5 VMFS \"x-flat.vmdk\"\n\
                 NOACCESS 63 ZERO\nRW 7 VMFSRDM \"rdm.vmdk\"\n"
            ),
            [
                (Access::ReadWrite, 4_192_256, ExtentKind::Sparse, name("disk s001.vmdk")),
                (Access::ReadWrite, 10, ExtentKind::Flat { offset: 128 }, name("f001.vmdk")),
                (Access::ReadOnly, 5, ExtentKind::Flat { offset: 0 }, name("x-flat.vmdk")),
                (Access::None, 63, ExtentKind::Other("ZERO".into()), None),
                (Access::ReadWrite, 7, ExtentKind::Other("VMFSRDM".into()), name("rdm.vmdk")),
            ]
        );
    }

    #[test]
    fn reads_ids_and_the_parent() {
        let text = "#x\nversion = 1\ncid=0000000a\nparentCID=12345678\nparentFileNameHint=\"base.vmdk\"\ncreateType=\"monolithicSparse\"\nRW 8 SPARSE \"x\"\nddb.uuid=\"RW\"\n";
        let found = Descriptor::parse(text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((found.cid, found.parent_cid, found.sectors), (10, Some(0x1234_5678), 8));
        assert_eq!(found.parent_hint.as_deref(), Some("base.vmdk"));
        assert_eq!(found.create_type, "monolithicSparse");
    }

    #[test]
    fn says_where_it_stops_making_sense() {
        let many = "RW 1 ZERO\n".repeat(super::EXTENTS_MAX + 1);
        for (lines, expect) in [
            (
                "RW x SPARSE \"a\"\n",
                "VMDK descriptor at 0x63: wanted a number of sectors, not 0, found \"RW x SPARSE \\\"a\\\"\"",
            ),
            (
                "RW 0 SPARSE \"a\"\n",
                "VMDK descriptor at 0x63: wanted a number of sectors, not 0, found \"RW 0 SPARSE \\\"a\\\"\"",
            ),
            (
                "RW 1 FLAT \"a\n",
                "VMDK descriptor at 0x63: wanted a name that ends with a quotation mark, found \"RW 1 FLAT \\\"a\"",
            ),
            (
                "RW 1 FLAT \"a\" -1\n",
                "VMDK descriptor at 0x63: wanted an offset in sectors behind the name, found \"RW 1 FLAT \\\"a\\\" -1\"",
            ),
            ("cid=1\n", "VMDK descriptor at 0x63: wanted each key once, found \"cid=1\""),
            ("", "VMDK descriptor's extents at 0x0: wanted at most 64 TiB and not 0, found 0 extents"),
            (&many, "VMDK descriptor at 0x1003: wanted at most 400 extents, found more"),
        ] {
            assert_eq!(error(&format!("{HEAD}{lines}")), expect);
        }
        assert_eq!(
            error("CID=xyz\ncreateType=\"x\"\nRW 1 SPARSE \"a\"\n"),
            "VMDK descriptor at 0x0: wanted an id of at most 8 hexadecimal digits, found \"xyz\""
        );
        assert_eq!(
            error("createType=\"x\"\nRW 1 SPARSE \"a\"\n"),
            "VMDK descriptor at 0x0: wanted a line `CID=…`, found none"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(RW|RDONLY|CID=|parentCID=|createType=|\"|[ -~\n]){0,60}") {
            let _ = Descriptor::parse(&text);
        }
    }
}
