//! Which footer counts. Specification 1.0, "Overview of Fixed Hard Disk Images" and "Overview of Dynamic Disks".

use super::footer::{Chs, DiskType, FOOTER_LEN, Footer};
use crate::container::{corrupt, read_file};
use crate::disk::{ReadError, SourceFile};

/// Length of the footer that Virtual PC wrote before 2004. Specification 1.0, "Hard Disk Footer Format".
const OLD_FOOTER_LEN: usize = 511;
/// Creators whose disks every QEMU reads by Current Size (`block/vpc.c`); others it reads by the geometry. Azure's `wa` is among them only
/// in its newest versions.
const READ_BY_SIZE: [&[u8; 4]; 5] = [b"win ", b"qem2", b"d2v ", b"CTXS", b"tap\0"];
/// The largest geometry says no more than "this large or larger", so that QEMU too takes Current Size then.
const LARGEST: Chs = Chs { cylinders: 65535, heads: 16, sectors: 255 };

/// The footer that counts.
pub(super) struct Found {
    pub footer: Footer,
    /// Where the footer begins, or the file ends when only the copy of the footer is sound: all data lies before.
    pub data_end: u64,
    /// Length by the geometry, where programs that go by it see another disk.
    pub by_geometry: Option<u64>,
    /// What is unusual about it, in words.
    pub notes: Vec<String>,
}

/// The footer at the end, of 512 bytes or 511; for a dynamic or differencing VHD the copy at the beginning, when the one at the end is
/// damaged or was cut off.
pub(super) fn find(source: &SourceFile) -> Result<Found, ReadError> {
    let Some(at) = source.len().checked_sub(FOOTER_LEN as u64) else {
        return Err(corrupt("VHD footer", 0, "at least 512 bytes", source.len()));
    };
    let mut found = match read(source, at, FOOTER_LEN) {
        Ok(footer) => {
            let notes = copy_differs(source, &footer).into_iter().collect();
            Found { footer, data_end: at, by_geometry: None, notes }
        }
        Err(wrong) => old_footer(source).or_else(|| copy(source, &wrong)).ok_or(wrong)?,
    };
    let footer = &found.footer;
    found.by_geometry = by_geometry(footer);
    found.notes.extend(found.by_geometry.map(|len| geometry_note(footer, len)));
    if footer.saved_state {
        found.notes.push(
            "the footer's Saved State is set: the machine was suspended, so what it held in memory is not on the disk"
                .into(),
        );
    }
    Ok(found)
}

fn read(source: &SourceFile, at: u64, len: usize) -> Result<Footer, ReadError> {
    let mut bytes = [0; FOOTER_LEN];
    let (stored, _) = bytes.split_at_mut(len);
    read_file(source, at, stored)?;
    Footer::parse(&bytes, at)
}

/// The footer one byte later than usual, the last byte taken as zero.
fn old_footer(source: &SourceFile) -> Option<Found> {
    let data_end = source.len().checked_sub(OLD_FOOTER_LEN as u64)?;
    let footer = read(source, data_end, OLD_FOOTER_LEN).ok()?;
    let note = "the footer is 511 bytes long, as Virtual PC wrote it before 2004, or it lost its last byte";
    Some(Found { footer, data_end, by_geometry: None, notes: vec![note.into()] })
}

/// The copy at the beginning, which fixed disks do not have.
fn copy(source: &SourceFile, wrong: &ReadError) -> Option<Found> {
    let footer = read(source, 0, FOOTER_LEN).ok().filter(|f| f.disk_type != DiskType::Fixed)?;
    let note = format!(
        "there is no sound footer at the end of the file ({wrong}), which may have been cut short; the copy of the footer at its beginning \
         was used, and every block that the table lists is in the file"
    );
    Some(Found { footer, data_end: source.len(), by_geometry: None, notes: vec![note] })
}

/// A dynamic disk whose two footers do not describe the same disk. QEMU would take the other one.
fn copy_differs(source: &SourceFile, footer: &Footer) -> Option<String> {
    if footer.disk_type == DiskType::Fixed {
        return None;
    }
    let what = |f: &Footer| (f.disk_type, f.current_size, f.unique_id);
    match read(source, 0, FOOTER_LEN) {
        Ok(copy) if what(&copy) == what(footer) => None,
        Ok(_) => Some(
            "the copy of the footer at the beginning describes another disk than the footer at the end, which was used"
                .into(),
        ),
        Err(wrong) => Some(format!("the copy of the footer at the beginning is damaged: {wrong}")),
    }
}

/// The geometry is never used here. What matters is that other programs use it, and would then see a disk of another length.
fn by_geometry(footer: &Footer) -> Option<u64> {
    let Chs { cylinders, heads, sectors } = footer.chs;
    let by_geometry = u64::from(cylinders) * u64::from(heads) * u64::from(sectors) * 512;
    let by_size = READ_BY_SIZE.contains(&&footer.creator_app);
    (!by_size && footer.chs != LARGEST && by_geometry != footer.current_size).then_some(by_geometry)
}

fn geometry_note(footer: &Footer, by_geometry: u64) -> String {
    let Chs { cylinders, heads, sectors } = footer.chs;
    format!(
        "the footer's geometry of {cylinders}/{heads}/{sectors} gives {by_geometry} bytes, its Current Size, which was used, {}; \
         Virtual PC and QEMU may go by the geometry for this creator",
        footer.current_size
    )
}
