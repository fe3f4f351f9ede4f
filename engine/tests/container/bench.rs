//! A folder of its own for each test, outside tools, and ways to look at a whole disk.

use engine::container::{Opened, open};
use engine::disk::{Disk, ExtentKind};
use engine::units::{ByteOffset, MIB};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A sparse raw disk of `mib` MiB: noise at its begin, its end and at odd places between, with a partition table.
    #[track_caller]
    pub fn raw(&self, name: &str, mib: u64) -> PathBuf {
        let path = self.path(name);
        let file = std::fs::File::create(&path).expect("a new file");
        file.set_len(mib * MIB).expect("room");
        for (i, at) in [30_000, 3 * MIB + 512, 8 * MIB - 5, mib * MIB / 2 + 100_000].into_iter().enumerate() {
            file.write_all_at(&noise(i as u64, 70_000), at).expect("a write");
        }
        file.write_all_at(&noise(9, 4096), mib * MIB - 65_536).expect("a write");
        let table = table(mib);
        file.write_all_at(&table.0, 0).expect("a write");
        file.write_all_at(&table.1, mib * MIB - table.1.len() as u64).expect("a write");
        path
    }

    /// Convert with `qemu-img`.
    #[track_caller]
    pub fn convert(&self, raw: &Path, name: &str, format: &str, options: &str) -> PathBuf {
        let out = self.path(name);
        let mut args = vec!["convert", "-f", "raw", "-O", format];
        if !options.is_empty() {
            args.extend(["-o", options]);
        }
        args.extend([text(raw), text(&out)]);
        run("qemu-img", args);
        out
    }
}

/// The first 34 and the last 33 sectors of a disk.
type Ends = (Vec<u8>, Vec<u8>);

/// First and last sectors of a disk of `mib` MiB as `sgdisk` partitions it. Once for each length: `sgdisk` sleeps for a second.
#[track_caller]
fn table(mib: u64) -> Arc<Ends> {
    static TABLES: Mutex<BTreeMap<u64, Arc<Ends>>> = Mutex::new(BTreeMap::new());
    let mut tables = TABLES.lock().expect("no test panicked here");
    let table = tables.entry(mib).or_insert_with(|| {
        let bench = Bench::new();
        let path = bench.path("table.raw");
        std::fs::File::create(&path).and_then(|f| f.set_len(mib * MIB)).expect("room");
        run("sgdisk", ["-n", "1:2048:+2M", "-t", "1:EF00", "-n", "2:0:0", "-c", "2:root", text(&path)]);
        Arc::new((bytes_at(&path, 0, 34 * 512), bytes_at(&path, mib * MIB - 33 * 512, 33 * 512)))
    });
    table.clone()
}

/// Bytes without pattern, the same for the same seed, none of them zero. (xorshift64*)
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8 | 1
    };
    (0..len).map(|_| next()).collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Run a tool; what it printed.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(tool: &str, args: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new(tool);
    command.args(args);
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", out.status);
    stdout.into_owned()
}

#[track_caller]
pub fn opened(path: &Path) -> Opened {
    open(path, None).unwrap_or_else(|e| panic!("{e}"))
}

/// All bytes of a small disk, read in pieces that fit nothing.
#[track_caller]
pub fn content(disk: &dyn Disk) -> Vec<u8> {
    let mut all = vec![0xA5; disk.geometry().len.get() as usize];
    for (i, piece) in all.chunks_mut(777_777).enumerate() {
        disk.read_at(ByteOffset(i as u64 * 777_777), piece).expect("a readable disk");
    }
    all
}

/// That the extents cover the disk in order without gaps, and that what is no data reads as zeros. Returns bytes of data.
#[track_caller]
pub fn check_extents(disk: &dyn Disk) -> u64 {
    let (mut at, mut data) = (0, 0);
    let all = content(disk);
    while let Some(e) = disk.next_extent(ByteOffset(at)).expect("extents") {
        assert_eq!(e.at.get(), at, "an extent begins where it was asked for");
        assert!(e.len.get() > 0, "an extent is not empty");
        let bytes = &all[at as usize..(at + e.len.get()) as usize];
        match e.kind {
            ExtentKind::Data => data += e.len.get(),
            ExtentKind::Zero | ExtentKind::Hole => {
                assert!(bytes.iter().all(|b| *b == 0), "{e:?} must read as zeros");
            }
        }
        at += e.len.get();
    }
    assert_eq!(at, disk.geometry().len.get(), "the extents end with the disk");
    data
}

/// Where two byte strings differ first; `assert_eq!` would print megabytes.
#[track_caller]
pub fn same(a: &[u8], b: &[u8]) {
    assert_eq!(a.len(), b.len(), "lengths");
    if let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) {
        panic!("first difference at {at:#x}: {:#04x} and {:#04x}", a[at], b[at]);
    }
}

/// Change bytes of a file in place.
#[track_caller]
pub fn patch(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file of ours");
    file.write_all_at(bytes, at).expect("a write");
}

#[track_caller]
pub fn bytes_at(path: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    std::fs::File::open(path).and_then(|f| f.read_exact_at(&mut bytes, at)).expect("bytes of the file");
    bytes
}

/// Put a new CRC-32C into a VHDX structure of `len` bytes at `at`: its own four bytes count as zero. \[MS-VHDX\] §2.2.2.
#[track_caller]
pub fn fix_crc(path: &Path, at: u64, len: usize) {
    let mut bytes = bytes_at(path, at, len);
    bytes[4..8].fill(0);
    patch(path, at + 4, &crc32c(&bytes).to_le_bytes());
}

/// CRC-32C bit by bit, as its definition has it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for b in bytes {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}
