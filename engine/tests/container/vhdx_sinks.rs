//! VHDX as we write it: `qemu-img` and we read what was written, and the file is as the specification asks.

use crate::bench::{Bench, bytes_at, check_extents, content, crc32c, noise, opened, run, same, text};
use crate::vhdx::libvhdi;
use crate::vhdx_builder::{guid, parts};
use engine::container::{ExportError, ExportOptions, Layout, OutFormat, export};
use engine::disk::{Disk, Geometry, MemDisk, Overlay, Write};
use engine::units::{ByteLen, ByteOffset, MIB, SectorSize};
use proptest::prelude::{ProptestConfig, prop, proptest};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

const FORMATS: [(OutFormat, Layout); 2] =
    [(OutFormat::DynamicVhdx, Layout::Dynamic), (OutFormat::FixedVhdx, Layout::Fixed)];

#[track_caller]
fn write(disk: &dyn Disk, out: &Path, format: OutFormat) {
    let options = ExportOptions { overwrite: true, ..ExportOptions::new([0x1D; 16], 0) };
    let done = export(disk, out, format, &options, &mut |_| ControlFlow::Continue(()))
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(done.file_len.get(), std::fs::metadata(out).expect("the file").len());
}

/// A disk of nothing but these writes.
fn sparse(len: u64, sector: SectorSize, writes: &[(u64, Vec<u8>)]) -> Overlay {
    let geometry = Geometry { len: ByteLen(len), sector };
    let writes = writes.iter().map(|(at, b)| Write { at: ByteOffset(*at), bytes: Arc::from(b.as_slice()) });
    Overlay::new(Arc::new(MemDisk::empty(geometry)), geometry, writes.collect()).expect("sorted writes")
}

#[test]
fn a_fixed_vhdx_holds_the_disk_in_one_stretch() {
    const GIB: u64 = 1 << 30;
    let bench = Bench::new();
    let out = bench.path("out.vhdx");
    // Blocks of 1 MiB and of 32 MiB; the last one has 129 blocks of 32 MiB, one more than a chunk.
    for (len, block_size) in [(3 * MIB + 512, MIB), (GIB + 512, 32 * MIB), (4 * GIB + 512, 32 * MIB)] {
        let writes = [(0, noise(1, 600)), (MIB - 3, noise(2, 5000)), (len - 700, noise(3, 700))];
        let disk = sparse(len, SectorSize::B512, &writes);
        write(&disk, &out, OutFormat::FixedVhdx);
        let parts = parts(&out);
        let base = parts.bat_at + MIB;
        for (at, bytes) in &writes {
            same(&bytes_at(&out, base + at, bytes.len()), bytes);
        }
        let blocks = len.div_ceil(block_size);
        assert_eq!(parts.file_len, base + blocks * block_size, "each block is there whole");
        let meta = std::fs::metadata(&out).expect("the file");
        assert!(meta.blocks() * 512 < 2 * MIB, "stores {} bytes", meta.blocks() * 512);
        let found = opened(&out);
        assert_eq!((found.info.layout, found.info.block_size), (Layout::Fixed, Some(block_size)));
        assert!(found.info.allocated.get() < 2 * MIB, "holes are not allocated: {:?}", found.info.allocated);
        run("qemu-img", ["check", "-q", "-f", "vhdx", text(&out)]);
        for (at, bytes) in &writes {
            let mut read = vec![0; bytes.len()];
            found.disk.read_at(ByteOffset(*at), &mut read).expect("a read");
            same(&read, bytes);
        }
        let mut extents = 0;
        let mut at = 0;
        while let Some(e) = found.disk.next_extent(ByteOffset(at)).expect("extents") {
            at += e.len.get();
            extents += 1;
        }
        assert!(extents <= 8, "{extents} extents for three writes");
    }
}

#[test]
fn the_tables_are_as_the_specification_asks() {
    let bench = Bench::new();
    let out = bench.path("out.vhdx");
    let disk = sparse(5 * MIB, SectorSize::B4096, &[(4096, noise(1, 4096))]);
    for ((format, _), flags) in FORMATS.into_iter().zip([0u32, 1]) {
        write(&disk, &out, format);
        let mut sequences = Vec::new();
        for (at, len) in [(0x10000, 4096), (0x20000, 4096), (0x30000, 65536), (0x40000, 65536)] {
            let mut bytes = bytes_at(&out, at, len);
            let stored = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes"));
            bytes[4..8].fill(0);
            assert_eq!(stored, crc32c(&bytes), "CRC at {at:#x}");
            if len == 4096 {
                sequences.push(bytes[8..16].to_vec());
                assert_eq!(bytes[48..64], [0; 16], "no log");
                assert_eq!(bytes[64..68], [0, 0, 1, 0], "log version 0, version 1");
            }
        }
        assert_ne!(sequences[0], sequences[1]);
        assert_eq!(bytes_at(&out, 0x30000, 65536), bytes_at(&out, 0x40000, 65536));
        // Items of the metadata at 2 MiB in the order of §2.6.2: block size and flags, length, id, sector sizes.
        let table = bytes_at(&out, 2 * MIB, 32 + 5 * 32);
        assert_eq!(&table[..12], b"metadata\0\0\x05\0");
        let expect = [
            (
                "CAA16737-FA36-4D43-B3B6-33F0AA44E76B",
                [(MIB as u32).to_le_bytes(), flags.to_le_bytes()].concat(),
            ),
            ("2FA54224-CD1B-4876-B211-5DBED83BF4B8", (5 * MIB).to_le_bytes().to_vec()),
            ("BECA12AB-B2E6-4523-93EF-C309E000C746", vec![0x1D; 16]),
            ("8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 4096u32.to_le_bytes().to_vec()),
            ("CDA348C7-445D-4471-9CC9-E9885251C556", 4096u32.to_le_bytes().to_vec()),
        ];
        for (slot, (id, value)) in table[32..].chunks(32).zip(expect) {
            assert_eq!(slot[..16], guid(id));
            let offset = u32::from_le_bytes(slot[16..20].try_into().expect("4 bytes"));
            assert_eq!(bytes_at(&out, 2 * MIB + u64::from(offset), value.len()), value, "{id}");
            assert_eq!(slot[20..24], (value.len() as u32).to_le_bytes());
        }
        // Stored blocks are whole MiB from 1 MiB on, in state 6. §2.5.1.
        let bat = bytes_at(&out, 3 * MIB, 5 * 8);
        let entries: Vec<u64> =
            bat.chunks(8).map(|e| u64::from_le_bytes(e.try_into().expect("8 bytes"))).collect();
        let place = |block: u64| ((4 + block) * MIB) | 6;
        match format {
            OutFormat::FixedVhdx => assert_eq!(entries, [0, 1, 2, 3, 4].map(place)),
            _ => assert_eq!(entries, [place(0), 0, 0, 0, 0]),
        }
    }
}

#[test]
fn disks_of_4096_byte_sectors_come_back() {
    let bench = Bench::new();
    let geometry = Geometry { len: ByteLen(7 * MIB + 4096), sector: SectorSize::B4096 };
    let disk = MemDisk::new(geometry, noise(1, 3_000_000));
    for (format, layout) in FORMATS {
        let out = bench.path("out.vhdx");
        write(&disk, &out, format);
        let found = opened(&out);
        assert_eq!((found.disk.geometry(), found.info.layout), (geometry, layout));
        same(&content(&*found.disk), &content(&disk));
        // QEMU does not read such a disk.
        same(&libvhdi(&bench, &[&out]), &content(&disk));
    }
}

#[test]
fn a_terabyte_of_nothing_takes_no_space() {
    let bench = Bench::new();
    let out = bench.path("out.vhdx");
    // A fixed VHDX of 1 TiB has 32,768 blocks of 32 MiB: a table of 258 KiB.
    let disk = sparse(1 << 40, SectorSize::B512, &[(700 << 30, noise(1, 4096))]);
    write(&disk, &out, OutFormat::FixedVhdx);
    assert!(std::fs::metadata(&out).expect("the file").blocks() * 512 < 3 * MIB);
    run("qemu-img", ["check", "-q", "-f", "vhdx", text(&out)]);
    let mut read = vec![0; 4096];
    opened(&out).disk.read_at(ByteOffset(700 << 30), &mut read).expect("a read");
    same(&read, &noise(1, 4096));
}

#[test]
fn a_disk_a_vhdx_cannot_hold_is_refused() {
    let bench = Bench::new();
    for (len, sector) in [(0, SectorSize::B512), ((64 << 40) + 512, SectorSize::B512)] {
        let disk = MemDisk::empty(Geometry { len: ByteLen(len), sector });
        for (format, _) in FORMATS {
            let options = ExportOptions::new([0; 16], 0);
            let error =
                export(&disk, &bench.path("out"), format, &options, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(error, Err(ExportError::Shape { .. })), "{error:?}");
        }
    }
    assert_eq!(bench.files(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    /// Writes anywhere, over one another, come back as from a flat array of bytes.
    #[test]
    fn writes_come_back(
        sectors in 2048u64..20_000,
        writes in prop::collection::vec((0u64..20_000 * 512, 1usize..200_000), 0..12),
    ) {
        let bench = Bench::new();
        let mut flat = vec![0; sectors as usize * 512];
        for (i, (at, len)) in writes.into_iter().enumerate() {
            let at = (at as usize).min(flat.len() - 1);
            let len = len.min(flat.len() - at);
            flat[at..at + len].copy_from_slice(&noise(i as u64, len));
        }
        let geometry = Geometry { len: ByteLen(flat.len() as u64), sector: SectorSize::B512 };
        let disk = MemDisk::new(geometry, flat.clone());
        for (format, layout) in FORMATS {
            let (out, raw) = (bench.path("out.vhdx"), bench.path("out.raw"));
            write(&disk, &out, format);
            let found = opened(&out);
            assert_eq!(found.info.layout, layout);
            same(&content(&*found.disk), &flat);
            check_extents(&*found.disk);
            run("qemu-img", ["check", "-q", "-f", "vhdx", text(&out)]);
            run("qemu-img", ["convert", "-f", "vhdx", "-O", "raw", text(&out), text(&raw)]);
            same(&std::fs::read(&raw).expect("QEMU's disk"), &flat);
        }
    }
}
