//! VHDX: differencing disks, sectors of 4096 bytes, large tables.

use crate::bench::{Bench, bytes_at, check_extents, content, noise, opened, patch, run, same, text};
use crate::vhdx_builder::{Block, Change, LOG_ID, LogEntry, Vhdx, braced, locator, make_dirty, parts};
use engine::container::{ContainerInfo, Format, Gate, Layout, LogState, open_through};
use engine::disk::Disk;
use engine::units::{ByteOffset, MIB};
use std::path::{Path, PathBuf};

const PARENT_ID: [u8; 16] = [0xDA; 16];

/// A parent of six blocks and a bit, of which the fourth and the fifth are not stored, and its content.
fn parent(bench: &Bench, block_size: u64, sector: u64) -> (PathBuf, Vec<u8>) {
    let mut vhdx = Vhdx::new(6 * block_size + 8192, block_size, sector);
    let mut disk = vec![0; vhdx.virtual_len as usize];
    for number in [0, 1, 2, 5, 6] {
        let bytes = noise(number, block_size as usize);
        let at = (number * block_size) as usize;
        let len = bytes.len().min(disk.len() - at);
        disk[at..at + len].copy_from_slice(&bytes[..len]);
        vhdx = vhdx.block(number, Block::Full(bytes));
    }
    (vhdx.write(&bench.path("parent.vhdx")), disk)
}

/// A child of it with a block in each state there is, and its content if it lies on `disk`.
fn child(bench: &Bench, name: &str, block_size: u64, sector: u64, mut disk: Vec<u8>) -> (PathBuf, Vec<u8>) {
    let place = |number: u64| (number * block_size) as usize..((number + 1) * block_size) as usize;
    let last = block_size / sector - 1;
    let sectors = |with: &[u64]| with.iter().copied().chain(20..150).collect::<Vec<u64>>();
    let partial = [(2, sectors(&[0, 7, 8, last])), (3, sectors(&[1, last - 1]))];
    let mut vhdx = Vhdx::new(6 * block_size + 8192, block_size, sector)
        .child_of(PARENT_ID, ".\\parent.vhdx")
        .block(0, Block::Empty(0))
        .block(1, Block::Empty(2))
        .block(4, Block::Full(noise(104, block_size as usize)))
        .block(5, Block::Empty(1))
        .block(6, Block::Empty(3));
    disk[place(1)].fill(0);
    disk[place(4)].copy_from_slice(&noise(104, block_size as usize));
    disk[place(5).start..].fill(0);
    for (number, sectors) in partial {
        let bytes = noise(100 + number, block_size as usize);
        for s in &sectors {
            let (from, to) = ((s * sector) as usize, ((s + 1) * sector) as usize);
            let at = place(number).start;
            disk[at + from..at + to].copy_from_slice(&bytes[from..to]);
        }
        vhdx = vhdx.block(number, Block::Partial(bytes, sectors));
    }
    (vhdx.write(&bench.path(name)), disk)
}

#[test]
fn a_child_shows_its_parent_where_it_has_nothing() {
    for (block_size, sector) in [(MIB, 512), (MIB, 4096), (4 * MIB, 512), (2 * MIB, 4096)] {
        let bench = Bench::new();
        let (_, below) = parent(&bench, block_size, sector);
        let (image, disk) = child(&bench, "child.avhdx", block_size, sector, below);
        let found = opened(&image);
        same(&content(&*found.disk), &disk);
        check_extents(&*found.disk);
        assert_eq!((found.info.format, found.info.layout), (Format::Vhdx, Layout::Differencing));
        assert_eq!(found.info.allocated.get(), 3 * block_size, "two blocks in part, one whole");
        assert_eq!(found.info.sector.bytes(), sector);
        assert_eq!(found.info.log, Some(LogState::Clean));
        let chain: Vec<(PathBuf, Layout)> =
            found.info.chain.iter().map(|p| (p.path.clone(), p.layout)).collect();
        assert_eq!(chain, [(bench.path("parent.vhdx"), Layout::Dynamic)]);
        assert_eq!(found.sources.len(), 2);
        found.unchanged().expect("untouched sources");
    }
}

/// What libvhdi reads of an image, its parents given nearest first.
#[track_caller]
pub fn libvhdi(bench: &Bench, chain: &[&Path]) -> Vec<u8> {
    let script = "\
import sys, pyvhdi
files = []
for path in sys.argv[2:]:
    f = pyvhdi.file()
    f.open(path)
    files.append(f)
for child, parent in reversed(list(zip(files, files[1:]))):
    child.set_parent(parent)
with open(sys.argv[1], 'wb') as out:
    left = files[0].get_media_size()
    while left:
        piece = files[0].read_buffer(min(left, 65536))
        out.write(piece)
        left -= len(piece)
";
    let out = bench.path("libvhdi.raw");
    let mut args = vec!["-c", script, text(&out)];
    args.extend(chain.iter().map(|p| text(p)));
    run("/usr/bin/python3", args);
    std::fs::read(out).expect("what libvhdi read")
}

#[test]
fn libvhdi_reads_the_same_of_a_chain() {
    for sector in [512, 4096] {
        let bench = Bench::new();
        let (base, below) = parent(&bench, MIB, sector);
        let (image, _) = child(&bench, "child.avhdx", MIB, sector, below);
        let (theirs, ours) = (libvhdi(&bench, &[&image, &base]), content(&*opened(&image).disk));
        assert_eq!(theirs.len(), ours.len());
        // Not present, partly present (twice), whole. In the states zero, undefined and unmapped libvhdi 20210425 reads the parent; §2.5.1.1
        // has only blocks that are not present do so.
        for block in [0, 2, 3, 4] {
            let place = block * MIB as usize..(block + 1) * MIB as usize;
            same(&ours[place.clone()], &theirs[place]);
        }
    }
}

#[test]
fn blocks_lie_in_any_order() {
    let bench = Bench::new();
    let (mut vhdx, mut disk) = (Vhdx::new(6 * MIB, MIB, 512), vec![0; 6 * MIB as usize]);
    for number in [3, 4, 1, 0, 5] {
        let bytes = noise(number, MIB as usize);
        disk[(number * MIB) as usize..][..bytes.len()].copy_from_slice(&bytes);
        vhdx = vhdx.block(number, Block::Full(bytes));
    }
    let found = opened(&vhdx.write(&bench.path("image.vhdx")));
    same(&content(&*found.disk), &disk);
    check_extents(&*found.disk);
}

#[test]
fn a_chain_of_three_reads_through_to_the_last() {
    let bench = Bench::new();
    let (_, below) = parent(&bench, MIB, 512);
    let (_, mut disk) = child(&bench, "middle.avhdx", MIB, 512, below);
    let bytes = noise(77, MIB as usize);
    disk[2 * MIB as usize + 512 * 30..][..512].copy_from_slice(&bytes[512 * 30..][..512]);
    let mut top = Vhdx::new(6 * MIB + 8192, MIB, 512)
        .child_of([0xC1; 16], "middle.avhdx")
        .block(2, Block::Partial(bytes, vec![30]));
    top.data_id = [0xC2; 16];
    let image = top.write(&bench.path("top.avhdx"));
    let found = opened(&image);
    same(&content(&*found.disk), &disk);
    let layouts: Vec<Layout> = found.info.chain.iter().map(|p| p.layout).collect();
    assert_eq!(layouts, [Layout::Differencing, Layout::Dynamic]);
    let theirs = libvhdi(&bench, &[&image, &bench.path("middle.avhdx"), &bench.path("parent.vhdx")]);
    same(&theirs[2 * MIB as usize..5 * MIB as usize], &disk[2 * MIB as usize..5 * MIB as usize]);
}

#[test]
fn a_child_may_be_longer_or_shorter_than_its_parent() {
    let bench = Bench::new();
    let (_, below) = parent(&bench, MIB, 512);
    for len in [2 * MIB + 512, 9 * MIB] {
        let image =
            Vhdx::new(len, 2 * MIB, 512).child_of(PARENT_ID, "parent.vhdx").write(&bench.path("child.vhdx"));
        let mut disk = below.clone();
        disk.resize(len as usize, 0);
        let found = opened(&image);
        same(&content(&*found.disk), &disk);
        check_extents(&*found.disk);
    }
}

#[test]
fn each_chunk_has_its_own_bitmap() {
    // 4096 blocks of 1 MiB to a chunk: block 4099 belongs to the second one.
    let bench = Bench::new();
    let bytes = noise(5, MIB as usize);
    let len = 5 << 30;
    Vhdx::new(len, MIB, 512)
        .block(4099, Block::Full(noise(6, MIB as usize)))
        .write(&bench.path("parent.vhdx"));
    let image = Vhdx::new(len, MIB, 512)
        .child_of(PARENT_ID, "parent.vhdx")
        .block(3, Block::Partial(bytes.clone(), vec![0, 2047]))
        .block(4099, Block::Partial(bytes.clone(), vec![1, 9]))
        .write(&bench.path("child.avhdx"));
    let disk = opened(&image).disk;
    let mut first = vec![0; MIB as usize];
    for (sector, bytes) in
        first.chunks_mut(512).zip(bytes.chunks(512)).enumerate().map(|(i, (a, b))| ((i, a), b))
    {
        if [0, 2047].contains(&sector.0) {
            sector.1.copy_from_slice(bytes);
        }
    }
    let mut second = noise(6, MIB as usize);
    for s in [512, 9 * 512] {
        second[s..s + 512].copy_from_slice(&bytes[s..s + 512]);
    }
    for (block, expect) in [(3, first), (4099, second)] {
        let mut found = vec![0xA5; MIB as usize];
        disk.read_at(ByteOffset(block * MIB), &mut found).expect("a read");
        same(&found, &expect);
    }
}

#[test]
fn a_given_parent_is_used_under_any_name_if_it_proves_itself() {
    let bench = Bench::new();
    let (base, below) = parent(&bench, MIB, 512);
    let (image, disk) = child(&bench, "child.avhdx", MIB, 512, below);
    std::fs::create_dir(bench.path("elsewhere")).expect("a folder");
    let moved = bench.path("elsewhere/renamed.vhdx");
    std::fs::rename(&base, &moved).expect("another place");
    let stranger =
        Vhdx { data_id: [9; 16], ..Vhdx::new(MIB, MIB, 512) }.write(&bench.path("elsewhere/other.vhdx"));
    let gate = Gate::same_folder().with_given([stranger.clone(), moved]);
    let found = open_through(&image, None, &gate).unwrap_or_else(|e| panic!("{e}"));
    same(&content(&*found.disk), &disk);
    let error =
        open_through(&image, None, &Gate::same_folder().with_given([stranger])).expect_err("not the parent");
    assert!(error.to_string().contains("its data write GUID is 09090909-0909"), "{error}");
}

#[test]
fn either_linkage_will_do_and_absolute_paths_count_by_their_last_part() {
    let bench = Bench::new();
    let (_, below) = parent(&bench, MIB, 512);
    let other = braced([9; 16]);
    let right = braced(PARENT_ID);
    let volume = r"\\?\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\VMs\parent.vhdx";
    for pairs in [
        [("parent_linkage", other.as_str()), ("parent_linkage2", &right), ("volume_path", volume)],
        [
            ("parent_linkage", &right),
            ("parent_linkage2", &other),
            ("absolute_win32_path", r"D:\VMs\parent.vhdx"),
        ],
        [
            ("absolute_win32_path", r"D:\gone.vhdx"),
            ("relative_path", r"..\parent.vhdx"),
            ("parent_linkage", &right),
        ],
    ] {
        let mut vhdx = Vhdx::new(6 * MIB + 8192, MIB, 512).child_of(PARENT_ID, "");
        vhdx.locator = Some(locator(&pairs));
        same(&content(&*opened(&vhdx.write(&bench.path("child.vhdx"))).disk), &below);
    }
}

#[test]
fn logs_of_child_and_parent_are_both_replayed() {
    let bench = Bench::new();
    let (base, below) = parent(&bench, MIB, 512);
    let (image, disk) = child(&bench, "child.avhdx", MIB, 512, below);
    for (path, sequence, lost) in
        [(&base, 3, 0x30_0000), (&image, 4, 0x30_0000), (&image, 5, child_bitmap(&image))]
    {
        // The last one is the sector bitmap; the child's BAT is then sound again on disk.
        let parts = parts(path);
        let bytes = bytes_at(path, lost, 4096);
        assert!(bytes.iter().any(|b| *b != 0), "{lost:#x} holds something");
        patch(path, lost, &[0; 4096]);
        let changes = vec![Change::Data(lost, bytes.clone())];
        let (flushed, last) = (parts.file_len, parts.file_len);
        let entry = LogEntry { sequence, tail: 0, log_id: LOG_ID, flushed, last, changes };
        make_dirty(path, parts, &[(0, entry.bytes())]);
        let found = opened(&image);
        same(&content(&*found.disk), &disk);
        if *path == image {
            assert_eq!(found.info.log, Some(LogState::Replayed { first: sequence, last: sequence }));
            patch(path, lost, &bytes);
        }
        assert_eq!(found.info.chain[0].log, Some(LogState::Replayed { first: 3, last: 3 }));
    }
}

/// Offset of the sector bitmap of the first chunk of a disk of 512-byte sectors and blocks of 1 MiB.
fn child_bitmap(image: &Path) -> u64 {
    let entry = bytes_at(image, 0x30_0000 + 4096 * 8, 8);
    u64::from_le_bytes(entry.try_into().expect("8 bytes")) & !0xF_FFFF
}

#[test]
fn reads_literal_disks_of_4096_byte_sectors_and_of_the_largest_blocks() {
    let bench = Bench::new();
    for (block_size, sector) in [(MIB, 4096), (32 * MIB, 4096), (256 * MIB, 512), (256 * MIB, 4096)] {
        let mut vhdx =
            Vhdx::new(2 * block_size + 4096, block_size, sector).block(1, Block::Full(noise(1, 70_000)));
        vhdx = vhdx.block(2, Block::Full(noise(2, 4096)));
        let found = opened(&vhdx.write(&bench.path("image.vhdx")));
        let ContainerInfo { sector: found_sector, block_size: found_block, .. } = found.info;
        assert_eq!((found_sector.bytes(), found_block), (sector, Some(block_size)));
        for (at, bytes) in [(block_size, noise(1, 70_000)), (2 * block_size, noise(2, 4096))] {
            let mut read = vec![0; bytes.len()];
            found.disk.read_at(ByteOffset(at), &mut read).expect("a read");
            same(&read, &bytes);
        }
    }
}

/// Where the data of a disk is, extents that meet made one.
fn data(disk: &dyn Disk) -> Vec<(u64, u64)> {
    let (mut at, mut found) = (0, Vec::<(u64, u64)>::new());
    while let Some(e) = disk.next_extent(ByteOffset(at)).expect("extents") {
        if e.kind == engine::disk::ExtentKind::Data {
            match found.last_mut() {
                Some((from, len)) if *from + *len == at => *len += e.len.get(),
                _ => found.push((at, e.len.get())),
            }
        }
        at += e.len.get();
    }
    found
}

/// Prints how long opening takes (`--nocapture`); nothing depends on it.
#[test]
fn large_disks_open_and_are_walked() {
    const TIB: u64 = 1 << 40;
    let bench = Bench::new();
    for (name, len, block_size, stored) in [
        ("1 TiB, blocks of 1 MiB", TIB, MIB, 400),
        ("64 TiB, blocks of 32 MiB", 64 * TIB, 32 * MIB, 13),
        ("64 TiB, blocks of 1 MiB", 64 * TIB, MIB, 13),
    ] {
        let blocks = len / block_size;
        let numbers: Vec<u64> = (0..stored).map(|i| i * (blocks - 1) / (stored - 1)).collect();
        let mut vhdx = Vhdx::new(len, block_size, 512);
        for number in &numbers {
            vhdx = vhdx.block(*number, Block::Full(noise(*number, 4096)));
        }
        let image = vhdx.write(&bench.path("large.vhdx"));
        let before = std::time::Instant::now();
        let found = opened(&image);
        let opened_after = before.elapsed();
        assert_eq!(found.info.allocated.get(), stored * block_size);
        let expect: Vec<(u64, u64)> = numbers.iter().map(|n| (n * block_size, 4096)).collect();
        assert_eq!(data(&*found.disk), expect);
        eprintln!("{name}: opened in {opened_after:?}, walked in {:?}", before.elapsed() - opened_after);
    }
}
