//! The label of a physical volume: who it is, and where its copies of the metadata are.

use super::format::{
    LABEL_ID, LABEL_LEN, LABEL_SECTORS, LABEL_SUMMED_FROM, LABEL_TYPE, RawExtension, RawLabel, RawPhysical,
    RawStretch, SECTOR, USED, USED_SINCE, check_crc, crc,
};
use super::{Id, LvmError};
use crate::disk::Disk;
use crate::units::ByteOffset;
use zerocopy::FromBytes;

/// Most metadata areas that are looked at: lvm2 makes two at most.
const AREAS_MAX: usize = 4;

/// What a label says.
#[derive(Debug)]
pub(super) struct Label {
    pub id: Id,
    /// Where the metadata areas begin.
    pub areas: Vec<u64>,
    pub use_: Use,
}

/// Whether a physical volume says that it belongs to a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Used,
    /// No, or from before lvm2 2.02.160, which said nothing.
    Unsaid,
}

impl Label {
    /// The first sound label of `disk`; of none, why the last one is not sound.
    pub fn read(disk: &dyn Disk) -> Result<Label, LvmError> {
        let mut found = Err(LvmError::NoLabel);
        for sector in 0..LABEL_SECTORS {
            let at = sector * SECTOR;
            let mut bytes = [0; LABEL_LEN];
            if disk.geometry().check(ByteOffset(at), LABEL_LEN as u64).is_err() {
                break;
            }
            disk.read_at(ByteOffset(at), &mut bytes)?;
            if bytes.starts_with(LABEL_ID) {
                found = parse(&bytes, sector);
            }
            if found.is_ok() {
                break;
            }
        }
        found
    }
}

fn parse(bytes: &[u8; LABEL_LEN], sector: u64) -> Result<Label, LvmError> {
    let (what, at) = ("LVM label", sector * SECTOR);
    let (raw, _) = RawLabel::read_from_prefix(bytes).map_err(|_| LvmError::NoLabel)?;
    let summed = bytes.get(LABEL_SUMMED_FROM..).unwrap_or_default();
    check_crc(what, at, raw.crc.get(), crc(&[summed]))?;
    let wrong = |wanted: String, found: String| LvmError::Field { what, at, wanted, found };
    if raw.sector.get() != sector {
        return Err(wrong(format!("sector {sector}"), raw.sector.get().to_string()));
    }
    if raw.kind != *LABEL_TYPE {
        return Err(wrong("type \"LVM2 001\"".into(), format!("{:?}", raw.kind.escape_ascii().to_string())));
    }
    let rest = usize::try_from(raw.offset.get()).ok().and_then(|offset| bytes.get(offset..));
    let (physical, mut rest) = rest
        .and_then(|rest| RawPhysical::read_from_prefix(rest).ok())
        .ok_or_else(|| wrong("a header within the sector".into(), format!("offset {}", raw.offset)))?;
    let id = Id::from_raw(physical.id)
        .ok_or_else(|| wrong("an id of letters and digits".into(), physical.id.escape_ascii().to_string()))?;
    let (_data, behind) = stretches(rest).ok_or_else(|| wrong("a list that ends".into(), "none".into()))?;
    rest = behind;
    let (mut areas, behind) =
        stretches(rest).ok_or_else(|| wrong("a list that ends".into(), "none".into()))?;
    areas.truncate(AREAS_MAX);
    let extension = RawExtension::read_from_prefix(behind).ok().map(|(extension, _)| extension);
    let used = extension.is_some_and(|e| e.version.get() >= USED_SINCE && e.flags.get() & USED != 0);
    Ok(Label { id, areas, use_: if used { Use::Used } else { Use::Unsaid } })
}

/// A list of stretches, ended by one without offset: where each begins, and the bytes behind the list.
fn stretches(mut bytes: &[u8]) -> Option<(Vec<u64>, &[u8])> {
    let mut found = Vec::new();
    loop {
        // A sector has room for no more than 32.
        let (stretch, rest) = RawStretch::read_from_prefix(bytes).ok()?;
        bytes = rest;
        if stretch.at.get() == 0 {
            return Some((found, bytes));
        }
        found.push(stretch.at.get());
    }
}
