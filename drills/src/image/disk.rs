//! A foreign image as a disk of the engine.

use super::cache::Cache;
use super::graph::Graph;
use super::nbd::Client;
use super::sandbox::Sandbox;
use engine::disk::{Disk, Extent, ExtentKind, Geometry, ReadError};
use engine::units::{ByteLen, ByteOffset};

/// What a `qemu-nbd` serves. Dropping it hangs up, ends the process and closes the files, in this order.
pub(super) struct ForeignDisk {
    geometry: Geometry,
    client: Client,
    cache: Cache,
    _sandbox: Sandbox,
    _graph: Graph,
}

impl ForeignDisk {
    pub(super) fn new(geometry: Geometry, client: Client, sandbox: Sandbox, graph: Graph) -> ForeignDisk {
        ForeignDisk { geometry, client, cache: Cache::default(), _sandbox: sandbox, _graph: graph }
    }

    /// Bytes of data in extents of this disk.
    pub(super) fn stored_bytes(&self) -> Result<ByteLen, ReadError> {
        let (mut at, mut sum) = (0u64, 0u64);
        while let Some(e) = self.next_extent(ByteOffset(at))? {
            if e.kind == ExtentKind::Data {
                sum = sum.saturating_add(e.len.get());
            }
            at = at.saturating_add(e.len.get());
        }
        Ok(ByteLen(sum))
    }
}

impl Disk for ForeignDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        self.geometry.check(at, buf.len() as u64)?;
        let len = self.geometry.len.get();
        self.cache.read(at.get(), buf, len, |at, buf| self.client.read(at, buf))
    }

    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        if from.get() >= self.geometry.len.get() {
            return Ok(None);
        }
        let run = self.client.run_at(from.get())?;
        // A run contains `from` and ends within the disk.
        Ok(Some(Extent { at: from, len: ByteLen(run.end.saturating_sub(from.get())), kind: run.kind }))
    }
}
