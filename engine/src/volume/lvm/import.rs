//! From a metadata text to what it says of a volume group. lvm2 lib/format_text/import_vsn1.c.

use super::format::SECTOR;
use super::meta::{Area, Meta, MetaLogical, MetaPhysical, MetaSegment, Shape};
use super::text::{Section, Value, parse};
use super::{Id, LvmError};
use std::collections::{HashMap, HashSet};

/// Most physical volumes of a group.
const PHYSICAL_MAX: usize = 1024;
/// Most logical volumes of a group, hidden ones included.
const LOGICAL_MAX: usize = 16_384;
/// Most segments of a group.
const SEGMENTS_MAX: usize = 32_768;
/// Longest name of a group or logical volume. lvm2 `NAME_LEN`.
const NAME_MAX: usize = 127;

impl Meta {
    /// Read the text at `at`, which only serves to say where an error is.
    pub fn parse(bytes: &[u8], at: u64) -> Result<Meta, LvmError> {
        let text = String::from_utf8_lossy(bytes);
        let root = parse(&text).map_err(|e| LvmError::Text {
            at,
            line: e.line,
            wanted: e.wanted,
            found: e.found,
        })?;
        let mut reader = Reader { at, segments: 0, names: HashMap::new() };
        // Values stand before and behind; the first section is the group.
        let (name, group) = root.sections().next().ok_or_else(|| reader.wrong("text", "a group", "none"))?;
        reader.group(name, group)
    }
}

struct Reader<'a> {
    at: u64,
    segments: usize,
    /// Physical volumes by what the text calls them.
    names: HashMap<&'a str, usize>,
}

impl<'a> Reader<'a> {
    fn group(&mut self, name: &str, group: &'a Section<'a>) -> Result<Meta, LvmError> {
        let name = self.name(name)?;
        let extent = self.number(group, "group", "extent_size")?;
        let extent = extent.checked_mul(SECTOR).filter(|bytes| *bytes > 0);
        let extent = extent.ok_or_else(|| self.wrong("group", "an extent_size in range", "another"))?;
        let (id, seqno) = (self.id(group, "group")?, self.number(group, "group", "seqno")?);
        let (mut physical, mut ids) = (Vec::new(), HashSet::new());
        for (name, section) in group.section("physical_volumes").iter().flat_map(|s| s.sections()) {
            let one = self.physical(section)?;
            let new = self.names.insert(name, physical.len()).is_none() && ids.insert(one.id);
            self.once("physical volumes", new && physical.len() < PHYSICAL_MAX, PHYSICAL_MAX, name)?;
            physical.push(one);
        }
        let (mut logical, mut seen) = (Vec::new(), HashSet::new());
        for (name, section) in group.section("logical_volumes").iter().flat_map(|s| s.sections()) {
            let new = seen.insert(name) && logical.len() < LOGICAL_MAX;
            self.once("logical volumes", new, LOGICAL_MAX, name)?;
            logical.push(self.logical(name, section)?);
        }
        Ok(Meta { name, id, seqno, extent, physical, logical })
    }

    fn physical(&self, section: &Section) -> Result<MetaPhysical, LvmError> {
        const WHAT: &str = "physical volume";
        let start = self.number(section, WHAT, "pe_start")?.checked_mul(SECTOR);
        let start = start.ok_or_else(|| self.wrong(WHAT, "a pe_start in range", "another"))?;
        let extents = self.number(section, WHAT, "pe_count")?;
        // Old texts have it among the status words, newer ones among the flags.
        let given_up = ["status", "flags"].iter().any(|key| section.has_flag(key, "MISSING"));
        Ok(MetaPhysical { id: self.id(section, WHAT)?, start, extents, given_up })
    }

    fn logical(&mut self, name: &str, section: &Section) -> Result<MetaLogical, LvmError> {
        const WHAT: &str = "logical volume";
        let mut segments = Vec::new();
        for (_, segment) in section.sections() {
            self.segments += 1;
            if self.segments > SEGMENTS_MAX {
                return Err(self.wrong(WHAT, "at most 32768 segments", "more"));
            }
            segments.push(self.segment(segment)?);
        }
        segments.sort_by_key(|s: &MetaSegment| s.start);
        let visible = section.has_flag("status", "VISIBLE");
        Ok(MetaLogical { name: self.name(name)?, id: self.id(section, WHAT)?, visible, segments })
    }

    fn segment(&self, section: &Section) -> Result<MetaSegment, LvmError> {
        const WHAT: &str = "segment";
        let (start, count) =
            (self.number(section, WHAT, "start_extent")?, self.number(section, WHAT, "extent_count")?);
        // lvm2 `_read_segment`: without a type it is a striped one.
        let kind = section.text("type").unwrap_or("striped");
        // It is shown to people, so it must not hold what does not belong there.
        let kind = if is_name(kind) { kind.to_string() } else { "unknown".to_string() };
        let shape = match kind.as_str() {
            "striped" | "linear" => self.stripes(section)?,
            "snapshot" => {
                let merging = section.text("merging_store");
                let named = |name: Option<&str>| self.name(name.unwrap_or_default());
                let store = merging.or(section.text("cow_store"));
                let (origin, store) = (named(section.text("origin"))?, named(store)?);
                Shape::Snapshot { origin, store, merging: merging.is_some() }
            }
            _ => Shape::Other,
        };
        Ok(MetaSegment { start, count, kind, shape })
    }

    /// lvm2 lib/striped/striped.c `_striped_text_import`, `text_import_areas`.
    fn stripes(&self, section: &Section) -> Result<Shape, LvmError> {
        const WHAT: &str = "striped segment";
        let list = section.list("stripes").unwrap_or_default();
        let mut areas = Vec::new();
        for pair in list.chunks(2) {
            let [Value::Text(name), Value::Number(extent)] = pair else {
                return Err(self.wrong(WHAT, "pairs of name and extent", "other stripes"));
            };
            areas.push(match (self.names.get(name.as_ref()), u64::try_from(*extent)) {
                (Some(index), Ok(extent)) => Area::Physical(*index, extent),
                (None, _) => Area::Logical(self.name(name)?),
                (_, Err(_)) => return Err(self.wrong(WHAT, "an extent", &extent.to_string())),
            });
        }
        let count = self.number(section, WHAT, "stripe_count")?;
        if areas.is_empty() || areas.len() as u64 != count {
            return Err(self.wrong(WHAT, &format!("{count} stripes"), &areas.len().to_string()));
        }
        let chunk = if areas.len() == 1 { 1 } else { self.number(section, WHAT, "stripe_size")? };
        let chunk = chunk.checked_mul(SECTOR).filter(|bytes| *bytes > 0);
        let chunk = chunk.ok_or_else(|| self.wrong(WHAT, "a stripe_size in range", "another"))?;
        Ok(Shape::Stripes { areas, chunk })
    }

    fn once(&self, what: &'static str, new: bool, max: usize, name: &str) -> Result<(), LvmError> {
        if new {
            return Ok(());
        }
        let name = self.name(name)?;
        Err(self.wrong(what, &format!("at most {max}, each once"), &format!("another {name}")))
    }

    fn number(&self, section: &Section, what: &'static str, key: &str) -> Result<u64, LvmError> {
        section.number(key).ok_or_else(|| self.wrong(what, &format!("a number {key}"), "none"))
    }

    fn id(&self, section: &Section, what: &'static str) -> Result<Id, LvmError> {
        let text = section.text("id").unwrap_or_default();
        Id::parse(text).ok_or_else(|| self.wrong(what, "an id", &format!("{text:?}")))
    }

    fn name(&self, name: &str) -> Result<String, LvmError> {
        let plain = is_name(name) && !name.starts_with('-') && name != "." && name != "..";
        let found = || format!("{:?}", name.chars().take(NAME_MAX).collect::<String>());
        if plain { Ok(name.to_string()) } else { Err(self.wrong("name", "lvm2's characters", &found())) }
    }

    fn wrong(&self, what: &'static str, wanted: &str, found: &str) -> LvmError {
        LvmError::Field { what, at: self.at, wanted: wanted.to_string(), found: found.to_string() }
    }
}

/// lvm2 lib/misc/lvm-string.c `_validate_name`.
fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(good)
}
