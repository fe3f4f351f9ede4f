//! From Generation 2 to Generation 1 and back, on disks made with outside tools.

mod guest_support;

use engine::convert::{Capsule, Gen1Options, Plan, Refusal, Strategy, TableChoice, lower, to_gen1, to_gen2};
use engine::disk::{DiskRef, Geometry, MemDisk, Overlay};
use engine::guest::{Starts, TableKind, inspect};
use engine::table::mbr::{Mbr, MbrKind};
use engine::units::{ByteLen, SectorSize};
use guest_support::{ESP_AT, MIB, Made, ROOT_AT, Spec, bytes_of, gen2, kernel, kits, mem, mem_bytes, run};
use std::fs;
use std::sync::Arc;

#[track_caller]
fn plan(disk: &DiskRef, table: TableChoice) -> Plan {
    let inspection = inspect(disk).expect("inspect");
    to_gen1(disk, &inspection, &kits, &Gen1Options { table, ..Gen1Options::default() })
        .unwrap_or_else(|e| panic!("{e}\n{inspection}"))
}

#[track_caller]
fn refusal(disk: &DiskRef, table: TableChoice, id: &str) -> Refusal {
    let inspection = inspect(disk).expect("inspect");
    let refusal = to_gen1(disk, &inspection, &kits, &Gen1Options { table, ..Gen1Options::default() })
        .expect_err("a refusal");
    assert!(refusal.has(id), "wanted {id}, found {refusal}");
    refusal
}

/// Sectors in which two images differ, as runs.
fn runs(a: &[u8], b: &[u8]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (lba, (x, y)) in a.chunks(512).zip(b.chunks(512)).enumerate() {
        if x != y {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == lba as u64 => *last = lba as u64,
                _ => runs.push((lba as u64, lba as u64)),
            }
        }
    }
    runs
}

fn gen1(made: &Made, table: TableChoice) -> (DiskRef, DiskRef, Plan) {
    let disk = made.disk();
    let plan = plan(&disk, table);
    let gen1 = plan.patch.apply(&disk).expect("apply");
    (disk, gen1, plan)
}

#[test]
fn changes_lba_0_and_the_gap_and_nothing_else() {
    let made = gen2(&Spec::default());
    for table in [TableChoice::Gpt, TableChoice::Mbr] {
        let (disk, gen1, plan) = gen1(&made, table);
        let (old, new) = (bytes_of(&disk), bytes_of(&gen1));
        for (first, last) in runs(&old, &new) {
            assert!(
                (first, last) == (0, 0) || (first >= 34 && last < 2048),
                "{table:?}: LBA {first}..={last}\n{plan}"
            );
        }
        if table == TableChoice::Gpt {
            assert_eq!(old[440..512], new[440..512], "disk signature and entries stay");
        }
        let lowered = lower(&plan.patch, &disk).expect("lower");
        assert_eq!(lowered.in_write_order().last().map(|w| w.at.get()), Some(0), "LBA 0 is written last");
    }
}

#[test]
fn comes_back_to_the_byte_when_nothing_was_written() {
    for (table, len) in [
        (TableChoice::Auto, 24 * MIB),
        (TableChoice::Gpt, 24 * MIB + 3 * 512),
        (TableChoice::Mbr, 24 * MIB),
        (TableChoice::Mbr, 24 * MIB + 512),
    ] {
        let made = gen2(&Spec { len, ..Spec::default() });
        let (disk, gen1, plan) = gen1(&made, table);
        assert_eq!(gen1.geometry().len.get() % MIB, 0);
        assert!(!plan.notes.iter().any(|n| n.contains("not the same bytes")), "{plan}");
        let back = to_gen2(&gen1, None).unwrap_or_else(|e| panic!("{table:?} {len}: {e}"));
        let again = back.patch.apply(&gen1).expect("apply");
        assert_eq!(again.geometry(), disk.geometry());
        assert!(
            bytes_of(&again) == bytes_of(&disk),
            "{table:?} {len}: {:?}",
            runs(&bytes_of(&again), &bytes_of(&disk))
        );
    }
}

#[test]
fn sgdisk_finds_no_problem_when_the_gpt_is_kept() {
    for len in [24 * MIB, 24 * MIB + 512] {
        let made = gen2(&Spec { len, ..Spec::default() });
        let (_, gen1, _) = gen1(&made, TableChoice::Gpt);
        let out = made.dir.path().join("gen1.raw");
        fs::write(&out, bytes_of(&gen1)).expect("write");
        let said = run("sgdisk", &["-v", out.to_str().expect("path")]);
        assert!(said.contains("No problems found"), "{said}");
    }
}

#[test]
fn a_real_mbr_has_the_same_partitions_and_an_active_esp() {
    let made = gen2(&Spec::default());
    let (_, gen1, plan) = gen1(&made, TableChoice::Mbr);
    assert_eq!(plan.strategy, Strategy::RealMbr);
    let entries = &bytes_of(&gen1)[446..512];
    // Active, FAT32 with LBA, from sector 2048, 16384 sectors; then Linux, from 18432, 24576 sectors.
    assert_eq!(entries[..16], [0x80, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0x40, 0, 0]);
    assert_eq!(entries[16..32], [0, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff, 0, 0x48, 0, 0, 0, 0x60, 0, 0]);
    assert_eq!(entries[32..64], [0; 32]);
    assert_eq!(entries[64..], [0x55, 0xaa]);
    let mbr = Mbr::parse(gen1.as_ref()).expect("mbr");
    assert_eq!(mbr.kind, MbrKind::Real);
    let seen = inspect(&gen1).expect("inspect");
    assert_eq!(seen.table.kind, TableKind::Mbr);
    assert!(seen.esp().is_some_and(|p| p.number == 1), "{seen}");
    assert!(matches!(seen.bios_start, Starts::Yes { .. }), "{seen}");
}

#[test]
fn keeps_exactly_what_the_guest_wrote() {
    for table in [TableChoice::Gpt, TableChoice::Mbr] {
        let made = gen2(&Spec { len: 24 * MIB + 512, ..Spec::default() });
        let (_, gen1, _) = gen1(&made, table);
        let path = made.dir.path().join("gen1.raw");
        fs::write(&path, bytes_of(&gen1)).expect("write");
        // The guest at work: a file on the ESP, another fstab on the root.
        let note = made.dir.path().join("note.txt");
        fs::write(&note, "written under BIOS\n").expect("note");
        let (path_text, note_text) = (path.to_str().expect("path"), note.to_str().expect("path"));
        run("mcopy", &["-i", &format!("{path_text}@@{ESP_AT}"), note_text, "::/EFI/NOTE.TXT"]);
        run(
            "debugfs",
            &["-w", "-R", &format!("write {note_text} /etc/note"), &format!("{path_text}?offset={ROOT_AT}")],
        );
        run("debugfs", &["-w", "-R", "rm /etc/fstab", &format!("{path_text}?offset={ROOT_AT}")]);

        let now = mem(&path);
        let back = to_gen2(&now, None).unwrap_or_else(|e| panic!("{e}"));
        let result = back.patch.apply(&now).expect("apply");
        let original = fs::read(&made.path).expect("original");
        let (result_bytes, now_bytes) = (bytes_of(&result), bytes_of(&now));
        assert_eq!(result_bytes.len(), original.len());
        let esp = ESP_AT as usize;
        assert!(result_bytes[..esp] == original[..esp], "all before the first partition is as it was");
        let end = (ROOT_AT + guest_support::ROOT_LEN) as usize;
        assert!(result_bytes[esp..end] == now_bytes[esp..end], "partitions are as the guest left them");
        assert!(result_bytes[end..] == original[end..], "the end is as it was");
        let out = made.dir.path().join("gen2.raw");
        fs::write(&out, &result_bytes).expect("write");
        let said = run("sgdisk", &["-v", out.to_str().expect("path")]);
        assert!(said.contains("No problems found"), "{said}");
        let said = run("mtype", &["-i", &format!("{}@@{ESP_AT}", out.display()), "::/EFI/NOTE.TXT"]);
        assert!(said.contains("written under BIOS"), "{said}");
    }
}

#[test]
fn refuses_to_overwrite_what_the_guest_wrote_into_the_gap() {
    let made = gen2(&Spec::default());
    for (table, at, what) in [
        (TableChoice::Gpt, 100, "boot code"),
        (TableChoice::Mbr, 446 + 4, "boot code"),
        (TableChoice::Gpt, 40 * 512, "core"),
        (TableChoice::Gpt, 2041 * 512, "script"),
    ] {
        let (_, gen1, plan) = gen1(&made, table);
        let mut bytes = bytes_of(&gen1);
        bytes[at] ^= 0x55;
        let refusal = to_gen2(&mem_bytes(bytes), plan.capsule.as_ref()).expect_err("a conflict");
        assert_eq!(refusal.conflicts.len(), 1, "{refusal}");
        assert!(refusal.to_string().contains(what), "{refusal}");
        assert!(refusal.to_string().contains("must be what the conversion wrote"), "{refusal}");
    }
}

#[test]
fn a_place_that_is_already_as_before_is_no_conflict() {
    let made = gen2(&Spec::default());
    let (disk, gen1, _) = gen1(&made, TableChoice::Gpt);
    let (mut bytes, original) = (bytes_of(&gen1), bytes_of(&disk));
    bytes[1984 * 512..2048 * 512].copy_from_slice(&original[1984 * 512..2048 * 512]);
    let now = mem_bytes(bytes);
    let back = to_gen2(&now, None).expect("plan");
    assert!(bytes_of(&back.patch.apply(&now).expect("apply")) == original);
}

#[test]
fn a_capsule_kept_beside_the_disk_replaces_a_lost_one() {
    let made = gen2(&Spec::default());
    let (disk, gen1, plan) = gen1(&made, TableChoice::Gpt);
    let capsule = plan.capsule.expect("capsule");
    let file = capsule.to_bytes();
    let mut bytes = bytes_of(&gen1);
    let at = bytes.windows(8).position(|w| w == b"DRILLCAP").expect("capsule on disk");
    assert_eq!(at % 512, 0);
    bytes[at..at + 512].fill(0xee);
    let now = mem_bytes(bytes);
    let refusal = to_gen2(&now, None).expect_err("no capsule");
    assert!(refusal.has("no-capsule"), "{refusal}");
    let kept = Capsule::from_bytes(&file).expect("side file");
    assert_eq!(kept, capsule);
    let back = to_gen2(&now, Some(&kept)).expect("plan");
    assert!(bytes_of(&back.patch.apply(&now).expect("apply")) == bytes_of(&disk));
}

#[test]
fn refuses_another_length_on_the_way_back() {
    let made = gen2(&Spec::default());
    let (_, gen1, _) = gen1(&made, TableChoice::Gpt);
    let longer = Geometry { len: ByteLen(25 * MIB), sector: SectorSize::B512 };
    let longer: DiskRef = Arc::new(Overlay::new(gen1, longer, Vec::new()).expect("overlay"));
    assert!(to_gen2(&longer, None).expect_err("refusal").has("other-length"));
}

#[test]
fn keeps_foreign_bytes_in_the_gap_and_gives_them_back() {
    let made = gen2(&Spec::default());
    let mut bytes = fs::read(&made.path).expect("image");
    for lba in [34usize, 300, 560, 1970, 2044] {
        bytes[lba * 512 + 7..lba * 512 + 40].fill(0xa5);
    }
    let disk = mem_bytes(bytes.clone());
    let plan = plan(&disk, TableChoice::Gpt);
    let gen1 = plan.patch.apply(&disk).expect("apply");
    let now = bytes_of(&gen1);
    assert!(now[1970 * 512..1971 * 512] == bytes[1970 * 512..1971 * 512], "not ours, not touched");
    let back = to_gen2(&gen1, None).expect("plan").patch.apply(&gen1).expect("apply");
    assert!(bytes_of(&back) == bytes);
}

#[test]
fn refuses_by_name_and_says_what_to_do() {
    let made = gen2(&Spec::default());
    let good = fs::read(&made.path).expect("image");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        mem_bytes(bytes)
    };
    let crc = refusal(&with(&|b| b[512 + 16] ^= 1), TableChoice::Auto, "gpt-crc-primary");
    assert!(crc.to_string().contains("gdisk"), "{crc}");
    refusal(
        &with(&|b| {
            let n = b.len();
            b[n - 512 + 16] ^= 1
        }),
        TableChoice::Auto,
        "gpt-crc-backup",
    );
    refusal(&mem_bytes(vec![0; 4 << 20]), TableChoice::Auto, "no-table");
    let (_, gen1, _) = gen1(&made, TableChoice::Gpt);
    refusal(&gen1, TableChoice::Auto, "already-gen1");
    let wide = Geometry { len: ByteLen(good.len() as u64), sector: SectorSize::B4096 };
    // A table in sectors of 512 bytes means nothing on a disk with larger ones.
    refusal(&(Arc::new(MemDisk::new(wide, good.clone())) as DiskRef), TableChoice::Auto, "no-table");
}

#[test]
fn refuses_guests_it_cannot_convert() {
    let no_stub = gen2(&Spec { stub: false, ..Spec::default() });
    refusal(&no_stub.disk(), TableChoice::Auto, "esp-grub-cfg-missing");
    let no_kernel = gen2(&Spec { kernel: "/boot/gone".into(), ..Spec::default() });
    refusal(&no_kernel.disk(), TableChoice::Auto, "kernel-missing");
    // The third partition leaves no free MiB anywhere.
    let full = vec!["-n3:43008:0".to_string()];
    let early = gen2(&Spec { esp_first: 40, sgdisk: full, ..Spec::default() });
    let text = refusal(&early.disk(), TableChoice::Auto, "gap-too-small").to_string();
    assert!(text.contains("LBA 40"), "{text}");
    let files = vec![("EFI/Microsoft/Boot/bootmgfw.efi".to_string(), "MZ".to_string())];
    let windows = gen2(&Spec { esp_files: files, stub: false, ..Spec::default() });
    // A Linux root is on this disk, so it is a Linux beside a Windows loader; the next one has no Linux.
    assert!(
        inspect(&windows.disk())
            .expect("inspect")
            .loaders
            .iter()
            .any(|l| l.kind == engine::guest::LoaderKind::Windows)
    );
    let mut bytes = fs::read(&windows.path).expect("image");
    bytes[ROOT_AT as usize..(ROOT_AT + 8192) as usize].fill(0);
    let text = refusal(&mem_bytes(bytes), TableChoice::Auto, "windows").to_string();
    assert!(text.contains("Windows") && text.contains("not converted yet"), "{text}");
}

#[test]
fn refuses_a_real_mbr_where_it_would_not_start() {
    let many = ["-n3:43100:43110", "-n4:43120:43130", "-n5:43140:43150"].map(String::from).to_vec();
    let many = gen2(&Spec { sgdisk: many, ..Spec::default() });
    refusal(&many.disk(), TableChoice::Mbr, "mbr-too-many");
    plan(&many.disk(), TableChoice::Auto);
    let by_id =
        Spec { options: "root=PARTUUID=00000000-1111-2222-3333-444444444444 ro".into(), ..Spec::default() };
    let by_id = gen2(&by_id);
    refusal(&by_id.disk(), TableChoice::Mbr, "root-by-partuuid");
    plan(&by_id.disk(), TableChoice::Auto);
    let fstab = Spec {
        fstab: "PARTUUID=00000000-1111-2222-3333-444444444444 / ext4 defaults 0 1\n".into(),
        ..Spec::default()
    };
    refusal(&gen2(&fstab).disk(), TableChoice::Mbr, "fstab-by-partuuid");
}

#[test]
fn a_plan_reads_like_a_plan_and_survives_json() {
    let made = gen2(&Spec::default());
    let (_, _, plan) = gen1(&made, TableChoice::Auto);
    let text = plan.to_string();
    for wanted in [
        "Plan: Generation 2 to Generation 1",
        "Test Linux 1 (tiny)",
        "GRUB's core",
        "LBA 1984..=2047",
        "LBA 0, bytes 0..440",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    let json = serde_json::to_string(&plan).expect("json");
    let again: Plan = serde_json::from_str(&json).expect("plan");
    assert_eq!(again, plan);
}

#[test]
fn a_plan_does_not_land_on_another_disk() {
    let made = gen2(&Spec::default());
    let plan = plan(&made.disk(), TableChoice::Gpt);
    let mut bytes = fs::read(&made.path).expect("image");
    bytes[100] = 1;
    let error = lower(&plan.patch, &mem_bytes(bytes)).expect_err("changed");
    assert!(error.to_string().contains("LBA 0"), "{error}");
}

#[test]
fn a_root_that_forbids_being_found_by_its_type_is_not_taken() {
    let alone = |forbids: bool| {
        let mut sgdisk = vec!["-t2:8304".to_string()];
        sgdisk.extend(forbids.then(|| "-A2:set:63".to_string()));
        let kernel = String::from_utf8(kernel("6.1.0")).expect("text");
        let esp_files = vec![("EFI/BOOT/BOOTX64.EFI".to_string(), kernel)];
        let made = gen2(&Spec { sgdisk, esp_files, ..Spec::default() });
        let disk = made.disk();
        let options = Gen1Options { cmdline: Some("console=ttyS0".into()), ..Gen1Options::default() };
        to_gen1(&disk, &inspect(&disk).expect("inspect"), &kits, &options)
    };
    let plan = alone(false).expect("a plan");
    assert!(plan.notes.iter().any(|n| n.contains("root=PARTUUID=")), "{:?}", plan.notes);
    let refusal = alone(true).expect_err("no root").to_string();
    assert!(refusal.contains("no partition has the type of one"), "{refusal}");
}
