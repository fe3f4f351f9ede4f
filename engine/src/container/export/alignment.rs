//! The arithmetic of block sharing: a file system shares whole blocks only, so what the kernel is asked to copy must lie at whole blocks on both sides.

use super::pump::pump;
use super::sink::sink_for;
use super::{ExportOptions, OutFormat, Storage, export};
use crate::container::open;
use crate::disk::{FileSpan, Geometry, MemDisk};
use crate::units::{ByteLen, MIB, SectorSize};
use std::io;
use std::ops::ControlFlow;
use std::sync::Mutex;

/// Block size of XFS and btrfs, and of nearly every file system in use.
const FS_BLOCK: u64 = 4096;

/// Notes what the kernel would copy: to where, from where, how much; and counts bytes that would pass through memory.
#[derive(Default)]
struct Copies {
    spans: Mutex<Vec<(u64, u64, u64)>>,
    through_memory: Mutex<u64>,
}

impl Storage for Copies {
    fn write_at(&self, _at: u64, bytes: &[u8]) -> io::Result<()> {
        *self.through_memory.lock().expect("no panic") += bytes.len() as u64;
        Ok(())
    }
    fn copy_at(&self, at: u64, from: FileSpan<'_>) -> io::Result<bool> {
        self.spans.lock().expect("no panic").push((at, from.at, from.len));
        Ok(true)
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

fn go(_: super::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_vhdx_reaches_every_format_in_whole_blocks_without_passing_through_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    // 11 MiB of data, with 3 MiB of zeros in it.
    let mut bytes: Vec<u8> = (0..11 * MIB).map(|i| (i % 251) as u8 + 1).collect();
    bytes[(4 * MIB) as usize..(7 * MIB) as usize].fill(0);
    let geometry = Geometry { len: ByteLen(16 * MIB), sector: SectorSize::B512 };
    let disk = MemDisk::new(geometry, bytes);
    for (source, name) in [(OutFormat::DynamicVhdx, "dynamic.vhdx"), (OutFormat::FixedVhdx, "fixed.vhdx")] {
        let path = folder.path().join(name);
        export(&disk, &path, source, &ExportOptions::new([7; 16], 0), &mut go).expect("a VHDX");
        let opened = open(&path, None).expect("our own file");
        for format in OutFormat::ALL {
            let copies = Copies::default();
            let mut sink = sink_for(geometry, format, &ExportOptions::new([7; 16], 0)).expect("a sink");
            let written = pump(&*opened.disk, &mut *sink, &copies, 0, &mut go);
            assert_eq!(written.ok(), Some(8 * MIB), "{name} → {format:?}: the zeros are left out");
            let spans = copies.spans.into_inner().expect("no panic");
            let copied: u64 = spans.iter().map(|(_, _, len)| len).sum();
            assert_eq!(copied, 8 * MIB, "{name} → {format:?}: the kernel copies all of it");
            for (to, from, len) in spans {
                for (what, number) in [("to", to), ("from", from), ("length", len)] {
                    assert_eq!(number % FS_BLOCK, 0, "{name} → {format:?}: {what} {number:#x}");
                }
            }
        }
    }
}
