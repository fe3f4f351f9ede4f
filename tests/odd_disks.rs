//! Disks that QEMU cannot open boot all the same: VHDX with changes left in the log, chains of differencing disks, sectors of 4096 bytes.
//! The files are built byte by byte by the builders that test the engine's readers, on top of images made by other programs.

mod common;

#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../engine/tests/container/bench.rs"]
mod bench;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../engine/tests/container/vhd_bytes.rs"]
mod vhd_bytes;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../engine/tests/container/vhdx_builder.rs"]
mod vhdx_builder;

use bench::{bytes_at, patch, same};
use common::{consoles, expect, last_run, outside, raw_copy, sample, text, tiny};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use vhd_bytes::Vhd;
use vhdx_builder::{Block, Change, LOG_ID, LogEntry, Vhdx, make_dirty, parts};

const MIB: u64 = 1 << 20;
/// Where the recipe of the small sample puts the root, and the block size it gives it.
const ROOT_AT: u64 = 65 * MIB;
const ROOT_BLOCK: u64 = 4096;
/// What the sample says when it is ready.
const READY: &str = "DRILL-READY firmware=uefi root=/dev/sda2 marker=";
/// What it says about the marker that its recipe gave it.
const MARKER: &str = "tiny-7f3a";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("standard output is one JSON document: {e}\n{text}"))
}

/// A copy of a sample that may be changed.
#[track_caller]
fn copy(from: &Path, to: PathBuf) -> PathBuf {
    std::fs::copy(from, &to).expect("room for a copy");
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).expect("a file of ours");
    to
}

/// Boot as Generation 2 until the guest says that it is ready; everything it said on the serial console.
#[track_caller]
fn boots(dir: &Path, image: &Path, marker: &str) -> String {
    let (out, err) =
        expect(dir, &["boot", &text(image), "--as", "gen2", "--within", "3m", "--accel", "tcg"], 0);
    let said = consoles(&last_run(dir));
    let ready: Vec<&str> = said.lines().map(str::trim).filter(|l| l.starts_with("DRILL-READY ")).collect();
    assert_eq!(ready, [format!("{READY}{marker}")], "{out}\n{err}\n--- console\n{said}");
    said
}

/// A boot that is refused before any machine starts; what was said about it.
#[track_caller]
fn refused(dir: &Path, image: &Path) -> String {
    let (out, err) = expect(dir, &["boot", &text(image), "--as", "gen2", "--within", "3m"], 1);
    let said = format!("{out}{err}");
    assert!(!said.contains("OVMF"), "a machine was started:\n{said}");
    said
}

/// QEMU's own reader will not have the image, and says why: the boots here are not ones that QEMU could have made alone.
#[track_caller]
fn qemu_cannot_open(image: &Path, why: &str) {
    let out = Command::new("qemu-img").args(["info", "-f", "vhdx", &text(image)]).output().expect("qemu-img");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains(why), "qemu-img info: {}\n{said}", out.status);
}

/// The sample with the table of its blocks lost on disk. One log entry, as `change` leaves it, would put it back.
#[track_caller]
fn without_its_table(dir: &Path, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let image = copy(tiny(), dir.join("crashed.vhdx"));
    let parts = parts(&image);
    let table = bytes_at(&image, parts.bat_at, 4096);
    assert!(table.iter().any(|b| *b != 0), "the sample stores no block");
    patch(&image, parts.bat_at, &[0; 4096]);
    let mut entry = LogEntry {
        sequence: 7,
        tail: 0,
        log_id: LOG_ID,
        flushed: parts.file_len,
        last: parts.file_len,
        changes: vec![Change::Data(parts.bat_at, table)],
    }
    .bytes();
    change(&mut entry);
    make_dirty(&image, parts, &[(0, entry)]);
    image
}

#[test]
fn a_vhdx_whose_table_is_only_in_its_log_boots_and_stays_as_it_was() {
    let dir = dir();
    let image = without_its_table(dir.path(), |_| {});
    qemu_cannot_open(&image, "needs to be replayed");
    let before = std::fs::read(&image).unwrap();
    let (shown, _) = expect(dir.path(), &["inspect", &text(&image)], 0);
    assert!(
        shown.contains("dirty: entries 7 to 7 were not in place; replayed in memory, the file is as it was"),
        "{shown}"
    );
    boots(dir.path(), &image, MARKER);
    same(&before, &std::fs::read(&image).unwrap());
}

#[test]
fn a_vhdx_whose_only_log_entry_is_torn_is_refused_with_its_number_and_place() {
    let dir = dir();
    // The last byte of the data sector never came to the disk.
    let image = without_its_table(dir.path(), |entry| *entry.last_mut().unwrap() ^= 0xFF);
    let said = refused(dir.path(), &image);
    let log_at = parts(&image).log_at;
    let wanted = format!("entry 7 at {log_at:#x}, which is torn: its CRC-32C is 0x");
    assert!(said.contains("crashed.vhdx") && said.contains(&wanted), "wanted {wanted:?} in:\n{said}");
}

/// One block of a file of the sample's root file system: where it is on the disk, and what is in it.
struct FileBlock {
    at: u64,
    bytes: Vec<u8>,
}

impl FileBlock {
    /// The first block of `file`, found by debugfs in a raw copy of the disk.
    #[track_caller]
    fn first_of(file: &str, raw: &Path) -> FileBlock {
        let disk = format!("{}?offset={ROOT_AT}", text(raw));
        let said = outside("debugfs", &["-R", &format!("blocks {file}"), &disk]);
        let block = said.lines().rev().find_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let block = block.unwrap_or_else(|| panic!("debugfs names no block of {file}:\n{said}"));
        let at = ROOT_AT + block * ROOT_BLOCK;
        FileBlock { at, bytes: bytes_at(raw, at, ROOT_BLOCK as usize) }
    }

    /// Put `new` and spaces where `old` stands, so that the file keeps its length and no other block of the file system changes.
    #[track_caller]
    fn replace(&mut self, old: &str, new: &str) {
        let found = self.bytes.windows(old.len()).position(|w| w == old.as_bytes());
        let found = found.unwrap_or_else(|| panic!("{old:?} is not in the block at {:#x}", self.at));
        assert!(new.len() <= old.len(), "{new:?} is longer than {old:?}");
        let new = format!("{new:len$}", len = old.len());
        self.bytes[found..found + old.len()].copy_from_slice(new.as_bytes());
    }

    /// This block within a block of `size` bytes of an image, whose other sectors hold what must never be read, and its number there.
    fn within(&self, size: u64) -> (u64, Block) {
        let mut bytes = vec![0xEE; size as usize];
        let inside = (self.at % size) as usize;
        bytes[inside..inside + self.bytes.len()].copy_from_slice(&self.bytes);
        let first = inside as u64 / 512;
        (self.at / size, Block::Partial(bytes, (first..first + ROOT_BLOCK / 512).collect()))
    }
}

/// The id of the content of a VHDX, in the bytes on disk. \[MS-VHDX\] §2.2.2: DataWriteGuid.
fn data_id(image: &Path) -> [u8; 16] {
    bytes_at(image, parts(image).header + 32, 16).try_into().expect("16 bytes")
}

/// base.vhdx, the sample; middle.avhdx, whose guest says a word more; top.avhdx, whose marker is another one.
///
/// Both files are small and lie in the same MiB, so that only the sector bitmaps tell whose sector is whose.
#[track_caller]
fn chain(dir: &Path) -> PathBuf {
    let base = copy(tiny(), dir.join("base.vhdx"));
    let raw = raw_copy(tiny(), dir, "base.raw");
    let mut script = FileBlock::first_of("/etc/init.d/rcS", &raw);
    script.replace(
        "# Only panics may still write to the console, so that the line below stands alone.",
        "echo 'a word from the middle' > \"$TTY\"",
    );
    let mut marker = FileBlock::first_of("/etc/drill-marker", &raw);
    marker.replace(MARKER, "child-9d1");
    std::fs::remove_file(raw).unwrap();
    let ((script_at, script), (marker_at, marker)) = (script.within(MIB), marker.within(MIB));
    assert_eq!(script_at, marker_at, "debugfs has put the two files apart: change two that lie together");
    let mut middle = Vhdx::new(256 * MIB, MIB, 512).child_of(data_id(&base), ".\\base.vhdx");
    middle.data_id = [0xC1; 16];
    middle.block(script_at, script).write(&dir.join("middle.avhdx"));
    let mut top = Vhdx::new(256 * MIB, MIB, 512).child_of([0xC1; 16], ".\\middle.avhdx");
    top.data_id = [0xC2; 16];
    top.block(marker_at, marker).write(&dir.join("top.avhdx"))
}

#[test]
fn a_chain_of_checkpoints_boots_with_what_each_of_them_wrote() {
    let dir = dir();
    let top = chain(dir.path());
    qemu_cannot_open(&top, "Operation not supported");
    let names = ["base.vhdx", "middle.avhdx", "top.avhdx"];
    let read = || names.map(|name| std::fs::read(dir.path().join(name)).unwrap());
    let before = read();
    let (out, _) = expect(dir.path(), &["inspect", &text(&top), "--json"], 0);
    let found = json(&out);
    assert_eq!(found["container"]["layout"], "differencing", "{out}");
    assert_eq!(found["container"]["chain"].as_array().map(Vec::len), Some(2), "{out}");
    let said = boots(dir.path(), &top, "child-9d1");
    assert!(said.contains("a word from the middle"), "the middle of the chain was not read:\n{said}");
    before.iter().zip(read()).for_each(|(before, after)| same(before, &after));
}

#[test]
fn a_chain_whose_base_is_missing_or_another_one_is_refused_by_name() {
    let dir = dir();
    let top = chain(dir.path());
    let base = dir.path().join("base.vhdx");
    // Somebody started the base meanwhile: it has another id.
    let header = parts(&base).header;
    patch(&base, header + 32, &[0xBA; 16]);
    bench::fix_crc(&base, header, 4096);
    let said = refused(dir.path(), &top);
    assert!(said.contains("base.vhdx") && said.contains("data write GUID is BABABABA-"), "{said}");
    std::fs::remove_file(&base).unwrap();
    let said = refused(dir.path(), &top);
    let wanted =
        r#"middle.avhdx: a differencing VHDX that needs a parent named ".\\base.vhdx", and no file fits"#;
    assert!(said.contains(wanted), "wanted {wanted:?} in:\n{said}");
}

#[test]
fn a_differencing_vhd_is_its_parent_with_its_own_sectors() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    let raw = raw_copy(tiny(), dir.path(), "expected.raw");
    expect(dir.path(), &["convert", &text(&raw), "base.vhd", "--format", "vhd-dynamic"], 0);
    let mut marker = FileBlock::first_of("/etc/drill-marker", &raw);
    marker.replace(MARKER, "child-9d1");
    patch(&raw, marker.at, &marker.bytes);
    // Hard disk footer: time stamp at 24, unique id at 68.
    let footer = bytes_at(&at("base.vhd"), 0, 512);
    let mut child = Vhd::new(4, 256 * MIB, 0xC4).child_of(0, "base.vhd").write(marker.at / 512, marker.bytes);
    let parent = child.parent.as_mut().expect("a child has a parent");
    parent.id = footer[68..84].try_into().unwrap();
    parent.stamp = u32::from_be_bytes(footer[24..28].try_into().unwrap());
    std::fs::write(at("child.vhd"), child.bytes()).unwrap();
    let (shown, _) = expect(dir.path(), &["inspect", "child.vhd"], 0);
    assert!(shown.contains("VHD, differencing") && shown.contains("base.vhd"), "{shown}");
    expect(dir.path(), &["convert", "child.vhd", "found.raw"], 0);
    outside("qemu-img", &["compare", "-f", "raw", "-F", "raw", &text(&raw), &text(&at("found.raw"))]);
    std::fs::remove_file(at("base.vhd")).unwrap();
    let said = refused(dir.path(), &at("child.vhd"));
    assert!(said.contains("child.vhd") && said.contains("base.vhd"), "{said}");
}

#[test]
fn a_vhdx_with_sectors_of_4096_bytes_boots_under_uefi_and_its_copy_for_a_bios_has_small_ones() {
    let dir = dir();
    let raw = dir.path().join("tiny-4kn.raw");
    expect(dir.path(), &["fixture", "tiny-gen2-4kn", &text(&raw)], 0);
    outside("cmp", &[&text(&raw), &text(&sample("tiny-gen2-4kn"))]);
    let on_disk = std::fs::metadata(&raw).unwrap();
    assert!(on_disk.blocks() * 512 < on_disk.len() / 2, "{} blocks: the holes are gone", on_disk.blocks());
    let image = dir.path().join("tiny-4kn.vhdx");
    expect(dir.path(), &["convert", &text(&raw), &text(&image)], 0);
    qemu_cannot_open(&image, "Operation not supported");
    let (out, _) = expect(dir.path(), &["inspect", &text(&image), "--json"], 0);
    assert_eq!(json(&out)["container"]["sector"], 4096, "{out}");
    boots(dir.path(), &image, MARKER);
    let (out, err) = expect(dir.path(), &["boot", &text(&image), "--as", "gen1"], 1);
    assert!(format!("{out}{err}").contains("has sectors of 4096 bytes"), "{out}\n{err}");
    expect(dir.path(), &["convert", &text(&image), "gen1.vhd", "--to", "gen1"], 0);
    let (out, _) = expect(dir.path(), &["inspect", "gen1.vhd", "--json"], 0);
    assert_eq!(json(&out)["container"]["sector"], 512, "{out}");
    expect(dir.path(), &["convert", "gen1.vhd", "home.raw", "--to", "gen2"], 0);
    outside("cmp", &[&text(&raw), &text(&dir.path().join("home.raw"))]);
}
