//! The content of one file on both sides.

use super::DiffError;
use super::hint::{self, TEXT_MAX};
use super::meter::Meter;
use super::model::ContentDiff;
use crate::units::ByteOffset;
use crate::volume::{FileStream, Volume, VolumeError};

/// Longest file whose content is compared: 1 TiB.
pub const FILE_MAX: u64 = 1 << 40;
/// Bytes compared at once.
const CHUNK: usize = 1 << 20;
/// Lines shown of a file that came or went.
const NEW_LINES: usize = 4;

/// What of a text may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// This many lines.
    Lines(usize),
    /// Nothing: not everybody in the guest may read the file.
    Withheld,
}

/// What came of a comparison.
pub(super) enum Found {
    /// The same bytes.
    Same,
    /// Other bytes.
    Differs(ContentDiff),
    /// One of them cannot be read.
    Unread(String),
}

/// Buffers that are made once for a whole walk.
#[derive(Default)]
pub(super) struct Buffers(Vec<u8>, Vec<u8>);

/// Compare the file at `path`, of these lengths.
pub(super) fn compare(
    (a, b): (&dyn Volume, &dyn Volume),
    path: &str,
    (a_len, b_len): (u64, u64),
    quote: Quote,
    buffers: &mut Buffers,
    meter: &mut Meter<'_>,
) -> Result<Found, DiffError> {
    if a_len.max(b_len) <= TEXT_MAX {
        meter.step(a_len.max(b_len))?;
        let read = a.read(path, TEXT_MAX).and_then(|x| Ok((x, b.read(path, TEXT_MAX)?)));
        return Ok(match read {
            Ok((x, y)) if x == y && a_len == b_len => Found::Same,
            Ok((x, y)) => Found::Differs(shown(&x, &y, quote)),
            Err(_) if a_len != b_len => Found::Differs(at(None)),
            Err(e) => Found::Unread(e.to_string()),
        });
    }
    if a_len != b_len {
        return Ok(Found::Differs(at(None)));
    }
    if a_len > FILE_MAX {
        return Ok(Found::Unread(format!("it is longer than {FILE_MAX} bytes")));
    }
    match first_difference((a, b), path, a_len, buffers, meter) {
        Ok(None) => Ok(Found::Same),
        Ok(Some(first)) => Ok(Found::Differs(at(Some(ByteOffset(first))))),
        Err(Stop::Unread(why)) => Ok(Found::Unread(why)),
        Err(Stop::Ended(e)) => Err(e),
    }
}

/// The text of a file that came (`false`) or went (`true`), when it is short enough to be shown whole.
pub(super) fn alone(text: &[u8], went: bool, quote: Quote) -> Option<ContentDiff> {
    let Quote::Lines(limit) = quote else { return None };
    let (a, b) = if went { (text, &[][..]) } else { (&[][..], text) };
    let (mut lines, more) = hint::unified(a, b, limit.min(NEW_LINES)).filter(|(_, more)| *more == 0)?;
    // Where all of it is new, the place is no news.
    lines.retain(|line| !line.starts_with("@@"));
    Some(ContentDiff { first: Some(ByteOffset(0)), lines, more, withheld: false })
}

fn at(first: Option<ByteOffset>) -> ContentDiff {
    ContentDiff { first, lines: Vec::new(), more: 0, withheld: false }
}

fn shown(x: &[u8], y: &[u8], quote: Quote) -> ContentDiff {
    let same = x.iter().zip(y).take_while(|(x, y)| x == y).count();
    let differs = at(Some(ByteOffset(same as u64)));
    match quote {
        Quote::Withheld => ContentDiff { withheld: hint::unified(x, y, 1).is_some(), ..differs },
        Quote::Lines(0) => differs,
        Quote::Lines(limit) => {
            let (lines, more) = hint::unified(x, y, limit).unwrap_or_default();
            ContentDiff { lines, more, ..differs }
        }
    }
}

/// Why a comparison came to no end.
enum Stop {
    Unread(String),
    Ended(DiffError),
}

/// The first of `len` bytes that differs.
fn first_difference(
    (a, b): (&dyn Volume, &dyn Volume),
    path: &str,
    len: u64,
    Buffers(x, y): &mut Buffers,
    meter: &mut Meter<'_>,
) -> Result<Option<u64>, Stop> {
    let unread = |e: VolumeError| Stop::Unread(e.to_string());
    let (mut a, mut b) = (a.stream(path).map_err(unread)?, b.stream(path).map_err(unread)?);
    x.resize(CHUNK, 0);
    y.resize(CHUNK, 0);
    let mut done = 0;
    while done < len {
        let want = (len - done).min(CHUNK as u64) as usize;
        let (x, y) = (&mut x[..want], &mut y[..want]);
        fill(a.as_mut(), x)?;
        fill(b.as_mut(), y)?;
        if x != y {
            let same = x.iter().zip(y.iter()).take_while(|(x, y)| x == y).count();
            return Ok(Some(done.saturating_add(same as u64)));
        }
        done = done.saturating_add(want as u64);
        meter.step(want as u64).map_err(Stop::Ended)?;
    }
    Ok(None)
}

fn fill(stream: &mut dyn FileStream, buf: &mut [u8]) -> Result<(), Stop> {
    let mut rest = buf;
    while !rest.is_empty() {
        match stream.read(rest) {
            Ok(0) => return Err(Stop::Unread("it ends before its length".to_string())),
            Ok(n) => rest = rest.get_mut(n..).unwrap_or_default(),
            Err(e) => return Err(Stop::Unread(e.to_string())),
        }
    }
    Ok(())
}
