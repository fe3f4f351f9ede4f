//! Partition tables against `sgdisk`.

use engine::container::{Format, open};
use engine::disk::{DiskRef, Geometry, MemDisk, Overlay, Write};
use engine::table::gpt::{self, CopyVerdict, Finding, Gpt, GptError, GptWriteError, Which};
use engine::table::guid::Guid;
use engine::table::mbr::{Mbr, MbrEntry, MbrKind};
use engine::units::{ByteLen, Lba, MIB, SectorCount, SectorSize};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

const LEN: u64 = 16 * MIB;
const LAST: u64 = LEN / 512 - 1;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk.raw")
    }

    /// An empty file of [`LEN`] bytes, partitioned by `sgdisk`.
    #[track_caller]
    fn sgdisk(&self, args: &[&str]) -> PathBuf {
        let path = self.disk();
        File::create(&path).and_then(|f| f.set_len(LEN)).expect("a new file");
        run("sgdisk", &[args, &[text(&path)]].concat());
        path
    }

    /// A table with everything a table can hold. `sgdisk` sleeps for a second, so it makes one for all tests.
    #[track_caller]
    fn full(&self) -> PathBuf {
        static FULL: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = FULL.get_or_init(|| {
            let bench = Bench::new();
            let path = bench.sgdisk(&[
                "-n1:2048:6143",
                "-t1:EF00",
                "-c1:EFI system partition",
                "-u1:11111111-2222-3333-4444-555555555555",
                "-n5:8192:0",
                "-t5:8300",
                "-c5:Wurzel äöü €",
                "-A5:set:2",
                "-A5:set:63",
                "-U99999999-8888-7777-6666-000000000001",
            ]);
            std::fs::read(path).expect("the disk")
        });
        std::fs::write(self.disk(), bytes).expect("a file");
        self.disk()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

#[track_caller]
fn run(tool: &str, args: &[&str]) -> String {
    let out = Command::new(tool).args(args).output().unwrap_or_else(|e| panic!("{tool}: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{tool} {args:?}: {}\n{said}", out.status);
    said
}

#[track_caller]
fn raw(path: &Path) -> DiskRef {
    open(path, Some(Format::Raw)).unwrap_or_else(|e| panic!("{e}")).disk
}

#[track_caller]
fn parse(path: &Path) -> Gpt {
    Gpt::parse(&*raw(path)).unwrap_or_else(|e| panic!("{e}")).expect("a table")
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).and_then(|f| f.write_all_at(bytes, at)).expect("a write");
}

fn apply(path: &Path, writes: &[Write]) {
    for w in writes {
        patch(path, w.at.get(), &w.bytes);
    }
}

fn geometry(len: u64) -> Geometry {
    Geometry { len: ByteLen(len), sector: SectorSize::B512 }
}

/// `sgdisk -v` says so in words; its exit status is 0 either way.
#[track_caller]
fn sound(path: &Path) {
    let said = run("sgdisk", &["-v", text(path)]);
    assert!(said.contains("No problems found"), "{said}");
}

#[test]
fn reads_what_sgdisk_writes() {
    let bench = Bench::new();
    let gpt = parse(&bench.full());
    assert!(gpt.is_sound(), "{gpt:?}");
    assert_eq!((gpt.used, gpt.entry_count, gpt.entry_size), (Which::Primary, 128, 128));
    assert_eq!((gpt.first_usable, gpt.last_usable, gpt.primary_end()), (Lba(34), Lba(LAST - 33), Lba(34)));
    assert_eq!((gpt.primary.header_at, gpt.backup.header_at), (Lba(1), Lba(LAST)));
    assert_eq!(gpt.disk_guid.to_string(), "99999999-8888-7777-6666-000000000001");
    let [esp, root] = &gpt.partitions[..] else { panic!("{:?}", gpt.partitions) };
    assert_eq!((esp.index, esp.type_guid, esp.first, esp.last), (1, gpt::TYPE_ESP, Lba(2048), Lba(6143)));
    assert_eq!((esp.name.as_str(), esp.attrs), ("EFI system partition", 0));
    assert_eq!(esp.unique_guid.to_string(), "11111111-2222-3333-4444-555555555555");
    assert_eq!((root.index, root.type_guid, root.name.as_str()), (5, gpt::TYPE_LINUX, "Wurzel äöü €"));
    assert_eq!(root.attrs, 1 << 63 | 1 << 2);
    assert_eq!(gpt.find(gpt::TYPE_ESP), Some(esp));
    let (at, len) = esp.byte_range(gpt.sector).expect("a range");
    assert_eq!((at.get(), len.get()), (MIB, 2 * MIB));
}

#[test]
fn type_names_agree_with_sgdisk() {
    let types = [
        ("EF00", gpt::TYPE_ESP),
        ("EF02", gpt::TYPE_BIOS_BOOT),
        ("8300", gpt::TYPE_LINUX),
        ("8200", gpt::TYPE_LINUX_SWAP),
        ("8E00", gpt::TYPE_LINUX_LVM),
        ("8304", gpt::TYPE_LINUX_ROOT_X86_64),
        ("EA00", gpt::TYPE_XBOOTLDR),
        ("0C01", gpt::TYPE_MICROSOFT_RESERVED),
        ("0700", gpt::TYPE_MICROSOFT_BASIC),
        ("2700", gpt::TYPE_WINDOWS_RECOVERY),
    ];
    let args: Vec<String> = (1..)
        .zip(types)
        .flat_map(|(i, (code, _))| [format!("-n{i}:0:+1M"), format!("-t{i}:{code}")])
        .collect();
    let bench = Bench::new();
    let path = bench.sgdisk(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let found: Vec<Guid> = parse(&path).partitions.iter().map(|p| p.type_guid).collect();
    assert_eq!(found, types.map(|(_, guid)| guid));
}

#[test]
fn a_sound_table_is_rewritten_to_the_byte() {
    let bench = Bench::new();
    let path = bench.full();
    let before = std::fs::read(&path).expect("the disk");
    let writes = parse(&path).to_sectors(geometry(LEN)).expect("writes");
    assert!(writes.is_sorted_by_key(|w| w.at));
    apply(&path, &writes);
    assert_eq!(std::fs::read(&path).expect("the disk"), before);
}

#[test]
fn a_table_follows_its_disk_to_another_length() {
    for len in [LEN + 64 * MIB, LEN + 512, LEN - MIB] {
        let bench = Bench::new();
        let path = bench.sgdisk(&["-n1:2048:+2M", "-n2:0:+4M"]);
        let gpt = parse(&path);
        let disk = Overlay::new(raw(&path), geometry(len), gpt.to_sectors(geometry(len)).expect("writes"));
        let disk = disk.expect("sorted writes");
        let moved = Gpt::parse(&disk).expect("readable").expect("a table");
        assert!(moved.is_sound(), "{moved:?}");
        assert_eq!(moved.partitions, gpt.partitions);
        let bytes = engine::disk::read_vec(&disk, engine::units::ByteOffset(0), len as usize).expect("bytes");
        std::fs::write(&path, bytes).expect("a file");
        // The protective MBR is not ours to write here; sgdisk looks at it, too.
        let mut mbr = Mbr::parse(&*raw(&path)).expect("readable");
        mbr.entries[0] = Mbr::protective_entry(SectorCount(len / 512));
        patch(&path, 0, &mbr.to_bytes());
        sound(&path);
    }
}

#[test]
fn a_disk_too_short_for_its_partitions_is_refused() {
    let bench = Bench::new();
    let gpt = parse(&bench.full());
    let error = gpt.to_sectors(geometry(LEN - 512)).expect_err("too short");
    assert!(matches!(error, GptWriteError::Partition { index: 5, .. }), "{error}");
    assert!(matches!(gpt.to_sectors(geometry(512)), Err(GptWriteError::TooShort { .. })));
    let other = Geometry { len: ByteLen(LEN), sector: SectorSize::B4096 };
    assert!(matches!(gpt.to_sectors(other), Err(GptWriteError::Sector { .. })));
}

#[test]
fn edited_partitions_are_what_sgdisk_reads() {
    let bench = Bench::new();
    let path = bench.full();
    let mut gpt = parse(&path);
    gpt.partitions.remove(0);
    gpt.partitions[0].name = "data".into();
    gpt.partitions[0].last = Lba(20_000);
    gpt.partitions.push(gpt::Partition {
        index: 7,
        type_guid: gpt::TYPE_BIOS_BOOT,
        unique_guid: Guid::from_digits(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10),
        first: Lba(34),
        last: Lba(2047),
        attrs: 4,
        name: "core".into(),
    });
    apply(&path, &gpt.to_sectors(geometry(LEN)).expect("writes"));
    sound(&path);
    assert_eq!(parse(&path).partitions, gpt.partitions);
    let said = run("sgdisk", &["-i7", text(&path)]);
    assert!(said.contains("21686148-6449-6E6F-744E-656564454649"), "{said}");
    assert!(said.contains("01020304-0506-0708-090A-0B0C0D0E0F10"), "{said}");
    assert!(said.contains("First sector: 34 ") && said.contains("Partition name: 'core'"), "{said}");
    gpt.partitions[1].index = 5;
    assert!(matches!(gpt.to_sectors(geometry(LEN)), Err(GptWriteError::Slot { index: 5, .. })));
    gpt.partitions[1].index = 129;
    assert!(matches!(gpt.to_sectors(geometry(LEN)), Err(GptWriteError::Slot { index: 129, .. })));
    gpt.partitions[1].index = 7;
    gpt.partitions[1].name = "x".repeat(37);
    assert!(matches!(gpt.to_sectors(geometry(LEN)), Err(GptWriteError::Name { index: 7, .. })));
}

type Expect = fn(&CopyVerdict) -> bool;

#[test]
fn each_copy_has_its_own_verdict_and_the_other_repairs_it() {
    // Offset of the damage, which copy, what is said of it.
    let cases: [(u64, Which, Expect); 6] = [
        (512 + 56, Which::Primary, |v| matches!(v, CopyVerdict::HeaderCrc { .. })),
        (512, Which::Primary, |v| *v == CopyVerdict::Missing),
        (1024 + 32, Which::Primary, |v| matches!(v, CopyVerdict::EntriesCrc { .. })),
        (LAST * 512 + 60, Which::Backup, |v| matches!(v, CopyVerdict::HeaderCrc { .. })),
        (LAST * 512, Which::Backup, |v| *v == CopyVerdict::Missing),
        ((LAST - 32) * 512 + 7, Which::Backup, |v| matches!(v, CopyVerdict::EntriesCrc { .. })),
    ];
    for (at, which, expect) in cases {
        let bench = Bench::new();
        let path = bench.full();
        let before = std::fs::read(&path).expect("the disk");
        patch(&path, at, &[before[at as usize] ^ 0x20]);
        let gpt = parse(&path);
        let (hurt, whole) = match which {
            Which::Primary => (&gpt.primary, &gpt.backup),
            Which::Backup => (&gpt.backup, &gpt.primary),
        };
        assert!(expect(&hurt.verdict), "{at:#x}: {}", hurt.verdict);
        assert!(whole.is_valid() && !gpt.is_sound());
        assert_eq!(gpt.used == Which::Backup, which == Which::Primary);
        assert_eq!(gpt.partitions.len(), 2);
        apply(&path, &gpt.to_sectors(geometry(LEN)).expect("writes"));
        assert!(std::fs::read(&path).expect("the disk") == before, "{at:#x}: not repaired to the byte");
    }
}

#[test]
fn two_damaged_copies_are_an_error_that_shows_both() {
    let bench = Bench::new();
    let path = bench.full();
    patch(&path, 512 + 56, &[0xFF]);
    patch(&path, LAST * 512 + 56, &[0xFF]);
    let error = Gpt::parse(&*raw(&path)).expect_err("damaged");
    assert!(matches!(error, GptError::BothDamaged { .. }));
    let said = error.to_string();
    assert!(
        said.contains("LBA 1:") && said.contains(&format!("LBA {LAST}:")) && said.contains("computed 0x"),
        "{said}"
    );
}

#[test]
fn a_disk_without_a_table_has_none() {
    assert!(Gpt::parse(&MemDisk::empty(geometry(LEN))).expect("readable").is_none());
    assert!(Gpt::parse(&MemDisk::empty(geometry(1024))).expect("readable").is_none());
    assert!(Gpt::parse(&MemDisk::empty(geometry(0))).expect("readable").is_none());
}

#[test]
fn a_grown_disk_is_noticed() {
    let bench = Bench::new();
    let path = bench.full();
    OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(LEN + MIB)).expect("longer");
    let gpt = parse(&path);
    assert!(gpt.backup.is_valid() && gpt.backup.header_at == Lba(LAST));
    assert_eq!(gpt.findings, [Finding::BackupNotAtEnd { found: LAST, wanted: LAST + 2048 }]);
}

#[test]
fn overlaps_and_strays_are_flagged() {
    let bench = Bench::new();
    let path = bench.full();
    let overlapping = |edit: fn(&mut [u8])| {
        // Two entries changed in both copies by hand, with the checksums a table editor would write.
        let mut disk = std::fs::read(&path).expect("the disk");
        let mut array = disk[1024..1024 + 16384].to_vec();
        edit(&mut array);
        let crc = crc32(&array);
        for (header, entries) in [(512, 1024), (LAST as usize * 512, (LAST as usize - 32) * 512)] {
            disk[entries..entries + 16384].copy_from_slice(&array);
            disk[header + 88..header + 92].copy_from_slice(&crc.to_le_bytes());
            disk[header + 16..header + 20].fill(0);
            let own = crc32(&disk[header..header + 92]);
            disk[header + 16..header + 20].copy_from_slice(&own.to_le_bytes());
        }
        Gpt::parse(&MemDisk::new(geometry(LEN), disk)).expect("readable").expect("a table").findings
    };
    assert_eq!(overlapping(|_| ()), []);
    let overlap = overlapping(|a| a[40..48].copy_from_slice(&9000u64.to_le_bytes()));
    assert_eq!(overlap, [Finding::Overlap { a: 1, b: 5 }]);
    let early = overlapping(|a| a[32..40].copy_from_slice(&3u64.to_le_bytes()));
    assert_eq!(early, [Finding::OutOfRange { index: 1, first: 3, last: 6143 }]);
    let backwards = overlapping(|a| a[32..40].copy_from_slice(&u64::MAX.to_le_bytes()));
    assert_eq!(backwards, [Finding::OutOfRange { index: 1, first: u64::MAX, last: 6143 }]);
}

/// CRC-32 bit by bit: the oracle for the crate the product uses.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for b in bytes {
        crc ^= u32::from(*b);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn a_protective_mbr_is_what_sgdisk_writes() {
    let bench = Bench::new();
    let mbr = Mbr::parse(&*raw(&bench.full())).expect("readable");
    assert_eq!(mbr.kind, MbrKind::Protective);
    assert_eq!(mbr.entries[0], Mbr::protective_entry(SectorCount(LEN / 512)));
    assert!(!mbr.has_boot_code());
}

#[test]
fn a_real_mbr_is_what_sgdisk_writes_and_reads() {
    let bench = Bench::new();
    let path = bench.sgdisk(&["-n1:2048:6143", "-t1:EF00", "-n2:8192:24575", "-t2:8300"]);
    run("sgdisk", &["-m", "1:2", text(&path)]);
    let mut mbr = Mbr::parse(&*raw(&path)).expect("readable");
    assert_eq!(mbr.kind, MbrKind::Real);
    assert_eq!((mbr.entries[0].kind, mbr.entries[0].first, mbr.entries[0].sectors), (0xEF, 2048, 4096));
    assert_eq!((mbr.entries[1].kind, mbr.entries[1].first, mbr.entries[1].sectors), (0x83, 8192, 16384));
    assert!(!mbr.entries[2].is_used() && !mbr.entries[0].is_active());
    assert!(Gpt::parse(&*raw(&path)).expect("readable").is_none(), "sgdisk -m removes the GPT");
    mbr.entries[2] = MbrEntry::new(0x82, true, 24576, 1024);
    patch(&path, 0, &mbr.to_bytes());
    let said = run("sgdisk", &["-p", text(&path)]);
    assert!(said.contains("valid MBR"), "{said}");
    let third = said.lines().find(|l| l.trim_start().starts_with("3 ")).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(third.split_whitespace().take(3).collect::<Vec<_>>(), ["3", "24576", "25599"]);
    assert!(third.contains("8200"), "{third}");
    assert!(Mbr::parse(&*raw(&path)).expect("readable").entries[2].is_active());
}

#[test]
fn a_hybrid_mbr_and_bare_file_systems_are_told_apart() {
    let bench = Bench::new();
    let path = bench.full();
    run("sgdisk", &["-h1", text(&path)]);
    assert_eq!(Mbr::parse(&*raw(&path)).expect("readable").kind, MbrKind::Hybrid);
    run("mkfs.vfat", &["-I", text(&path)]);
    assert_eq!(Mbr::parse(&*raw(&path)).expect("readable").kind, MbrKind::None);
    let blank = MemDisk::empty(geometry(LEN));
    assert_eq!(Mbr::parse(&blank).expect("readable").kind, MbrKind::None);
}

#[test]
fn guids_read_as_people_write_them() {
    let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    let guid: Guid = text.parse().expect("a GUID");
    assert_eq!(guid, gpt::TYPE_ESP);
    assert_eq!(guid.to_disk()[..8], [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11]);
    assert_eq!(guid.to_string(), text.to_uppercase());
    assert_eq!(serde_json::to_string(&guid).expect("JSON"), format!("{:?}", text.to_uppercase()));
    assert!("C12A7328".parse::<Guid>().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any sector is an MBR or not, and comes back as it was.
    #[test]
    fn an_mbr_comes_back_as_it_was(bytes in prop::collection::vec(any::<u8>(), 512), signed in any::<bool>()) {
        let mut sector: [u8; 512] = bytes.try_into().expect("512 bytes");
        sector[510..].copy_from_slice(if signed { &[0x55, 0xAA] } else { &[0, 0] });
        prop_assert_eq!(Mbr::from_bytes(&sector).to_bytes(), sector);
    }

    /// Wild numbers in a header with a valid checksum: a verdict, never a panic, and never megabytes of memory.
    #[test]
    fn no_wild_header_makes_it_panic(
        fields in prop::collection::vec((12usize..92, any::<u8>()), 0..6),
        entries in prop::collection::vec((0usize..1024, any::<u8>()), 0..6),
        len in prop::sample::select(vec![2048u64, 4096, 20 * 512, 70 * 512, LEN]),
    ) {
        static TEMPLATE: OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        // The primary copy and what it describes; the backup's place reads as zeros.
        let template = TEMPLATE.get_or_init(|| {
            let mut disk = std::fs::read(Bench::new().full()).expect("the disk");
            disk.truncate(64 << 10);
            disk
        });
        let mut disk = template.clone();
        for (at, byte) in entries {
            disk[1024 + at] = byte;
        }
        let crc = crc32(&disk[1024..1024 + 16384]);
        disk[512 + 88..512 + 92].copy_from_slice(&crc.to_le_bytes());
        for (at, byte) in fields {
            disk[512 + at] = byte;
        }
        disk[528..532].fill(0);
        let own = crc32(&disk[512..604]);
        disk[528..532].copy_from_slice(&own.to_le_bytes());
        let disk: DiskRef = Arc::new(MemDisk::new(geometry(len), disk));
        if let Ok(Some(gpt)) = Gpt::parse(&*disk) {
            for len in [len, len + 4096, LEN, 512] {
                let _ = gpt.to_sectors(geometry(len));
            }
            for p in &gpt.partitions {
                let _ = p.byte_range(gpt.sector);
            }
        }
    }
}

#[test]
fn a_table_of_4096_byte_sectors_is_read_and_written() {
    // No tool here partitions a file in such sectors: a 512-byte table by sgdisk, each sector blown up to 4096 bytes.
    let bench = Bench::new();
    let small = std::fs::read(bench.full()).expect("the disk");
    let mut disk = vec![0; small.len() * 8];
    for lba in [0, 1, LAST as usize] {
        disk[lba * 4096..lba * 4096 + 512].copy_from_slice(&small[lba * 512..][..512]);
    }
    disk[2 * 4096..2 * 4096 + 16384].copy_from_slice(&small[1024..1024 + 16384]);
    let backup = (LAST as usize - 32) * 4096;
    disk[backup..backup + 16384].copy_from_slice(&small[1024..1024 + 16384]);
    let shape = Geometry { len: ByteLen(LEN * 8), sector: SectorSize::B4096 };
    let disk: DiskRef = Arc::new(MemDisk::new(shape, disk));
    let gpt = Gpt::parse(&*disk).expect("readable").expect("a table");
    assert!(gpt.is_sound(), "{gpt:?}");
    let longer = Geometry { len: ByteLen(LEN * 8 + MIB), sector: SectorSize::B4096 };
    let writes = gpt.to_sectors(longer).expect("writes");
    let moved =
        Gpt::parse(&Overlay::new(disk, longer, writes).expect("sorted")).expect("readable").expect("a table");
    assert!(moved.is_sound(), "{moved:?}");
    assert_eq!(moved.disk_len.get(), LEN * 8 + MIB);
}
