//! Where an export's bytes go: a [`Storage`] takes them, a [`Sink`] knows where a format wants them.

use super::{ExportError, ExportOptions, OutFormat};
use crate::container::qcow2::Qcow2Writer;
use crate::container::vhd::{DynamicVhdSink, FOOTER_LEN, fixed_footer};
use crate::container::vhdx::{DynamicVhdxWriter, FixedVhdxWriter};
use crate::disk::{FileSpan, Geometry};
use crate::table::guid::Guid;
use crate::units::{MIB, SectorSize};
use std::io;

/// A new file that nobody sees yet. Writes may reach the disk in any order, in part, or never, until the caller flushes it; so no sink relies on
/// any order of its writes.
pub(in crate::container) trait Storage: Sync {
    /// Put `bytes` at `at`.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Put the bytes of another file at `at` without bringing them into memory. `false`: that does not work here; nothing was written.
    fn copy_at(&self, at: u64, from: FileSpan<'_>) -> io::Result<bool>;

    /// Make the file `len` bytes long; what was never written reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// A format that is being written. What is never placed reads as zeros.
pub(in crate::container) trait Sink: Send {
    /// Most bytes the file will need beyond the data.
    fn overhead(&self) -> u64;

    /// Where in the file the disk's bytes from `at` on belong: an offset, and for how many of `len` bytes (not 0) it holds. `at` never
    /// decreases from call to call. The sink may write into `out` what its format needs around the data, but never the data.
    fn place(&mut self, out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)>;

    /// Write all that is not data. Returns the length of the file.
    fn finish(self: Box<Self>, out: &dyn Storage) -> io::Result<u64>;
}

/// The sink for a disk of this shape.
pub(super) fn sink_for(
    geometry: Geometry,
    format: OutFormat,
    options: &ExportOptions,
) -> Result<Box<dyn Sink>, ExportError> {
    let (len, sector) = (geometry.len.get(), geometry.sector.bytes());
    let shape = |wanted| ExportError::Shape { len, sector, format, wanted };
    match format {
        OutFormat::Raw => Ok(Box::new(FlatSink { len, footer: None })),
        OutFormat::FixedVhd => {
            if geometry.sector != SectorSize::B512 || len == 0 || len % MIB != 0 {
                return Err(shape("512-byte sectors and a whole number of MiB"));
            }
            let footer = fixed_footer(len, Guid::from_disk(options.unique_id), options.now);
            Ok(Box::new(FlatSink { len, footer: Some(footer) }))
        }
        OutFormat::DynamicVhd => DynamicVhdSink::new(geometry, options.unique_id, options.now)
            .map(|w| Box::new(w) as Box<dyn Sink>)
            .ok_or_else(|| shape("512-byte sectors, at least one, at most 2040 GiB")),
        OutFormat::Qcow2 => Qcow2Writer::new(len)
            .map(|w| Box::new(w) as Box<dyn Sink>)
            .ok_or_else(|| shape("whole sectors, at most 64 TiB")),
        OutFormat::FixedVhdx => FixedVhdxWriter::new(geometry, options.unique_id)
            .map(|w| Box::new(w) as Box<dyn Sink>)
            .ok_or_else(|| shape("whole sectors, at most 64 TiB")),
        OutFormat::DynamicVhdx => DynamicVhdxWriter::new(geometry, options.unique_id)
            .map(|w| Box::new(w) as Box<dyn Sink>)
            .ok_or_else(|| shape("whole sectors, at most 64 TiB")),
    }
}

/// The disk's bytes in order, and perhaps a footer behind them.
struct FlatSink {
    len: u64,
    footer: Option<[u8; FOOTER_LEN]>,
}

impl Sink for FlatSink {
    fn overhead(&self) -> u64 {
        MIB
    }

    fn place(&mut self, _out: &dyn Storage, at: u64, len: u64) -> io::Result<(u64, u64)> {
        Ok((at, len))
    }

    fn finish(self: Box<Self>, out: &dyn Storage) -> io::Result<u64> {
        out.set_len(self.len)?;
        let Some(footer) = self.footer else { return Ok(self.len) };
        out.write_at(self.len, &footer)?;
        Ok(self.len + FOOTER_LEN as u64)
    }
}
