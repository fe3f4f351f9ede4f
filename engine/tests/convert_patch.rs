//! Patches: lowering, inverting, and what a hostile capsule can do.

mod guest_support;

use engine::convert::{Bytes, Capsule, CapsuleError, LowerError, Op, Patch, Place, Undo, invert, lower};
use engine::disk::{DiskRef, Geometry};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use guest_support::{ESP_AT, ESP_LEN, Spec, bytes_of, gen2, mem_bytes, run};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use std::fs;

fn shape(len: usize) -> Geometry {
    Geometry { len: ByteLen(len as u64), sector: SectorSize::B512 }
}

fn raw(at: u64, old: &[u8], new: &[u8]) -> Op {
    Op::Raw { at: ByteOffset(at), old: old.into(), new: new.into(), reason: "test".into() }
}

fn one(len: usize, op: Op) -> Patch {
    Patch { from: shape(len), to: shape(len), ops: vec![op] }
}

/// A disk and raw operations that fit it, each made for what the ones before leave.
fn disk_and_ops() -> impl Strategy<Value = (Vec<u8>, Vec<Op>)> {
    let op = (0usize..4096, prop::collection::vec(any::<u8>(), 1..1500));
    (prop::collection::vec(any::<u8>(), 4096..=4096), prop::collection::vec(op, 0..6)).prop_map(
        |(disk, list)| {
            let mut now = disk.clone();
            let mut ops = Vec::new();
            for (at, mut new) in list {
                new.truncate(4096 - at);
                ops.push(raw(at as u64, &now[at..at + new.len()], &new));
                now[at..at + new.len()].copy_from_slice(&new);
            }
            (disk, ops)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lowered_writes_are_sorted_disjoint_and_keep_the_old_bytes((bytes, ops) in disk_and_ops()) {
        let disk = mem_bytes(bytes.clone());
        let patch = Patch { from: shape(4096), to: shape(4096), ops };
        let lowered = lower(&patch, &disk).expect("lower");
        let mut end = 0;
        for write in &lowered.writes {
            prop_assert!(write.at.get() >= end && !write.new.is_empty());
            end = write.at.get() + write.new.len();
            let at = write.at.get() as usize;
            prop_assert_eq!(write.old.as_slice(), &bytes[at..end as usize]);
            prop_assert!(at >= 512 || end <= 512, "LBA 0 is a write of its own");
        }
    }

    #[test]
    fn inverting_every_operation_backwards_gives_the_disk_back((bytes, ops) in disk_and_ops()) {
        let disk = mem_bytes(bytes.clone());
        let patch = Patch { from: shape(4096), to: shape(4096), ops: ops.clone() };
        let mut now = patch.apply(&disk).expect("apply");
        for op in ops.iter().rev() {
            if let Some(undo) = invert(op, &now).expect("readable").expect("no conflict") {
                now = one(4096, undo).apply(&now).expect("apply");
            }
        }
        prop_assert_eq!(bytes_of(&now), bytes);
    }

    #[test]
    fn any_other_byte_in_the_place_is_a_conflict((at, flip) in (0usize..700, 1u8..)) {
        let disk = mem_bytes(vec![7; 4096]);
        let op = raw(100, &[7; 700], &[9; 700]);
        let mut bytes = bytes_of(&one(4096, op.clone()).apply(&disk).expect("apply"));
        bytes[100 + at] ^= flip;
        prop_assert!(invert(&op, &mem_bytes(bytes)).expect("readable").is_err());
    }

    #[test]
    fn a_capsule_comes_back_and_a_damaged_one_is_refused((capsule, at, flip) in (capsule(), any::<prop::sample::Index>(), 1u8..)) {
        let bytes = capsule.to_bytes();
        prop_assert_eq!(Capsule::from_bytes(&bytes), Ok(capsule));
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= flip;
        prop_assert!(Capsule::from_bytes(&damaged).is_err());
        prop_assert!(Capsule::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn bytes_from_anywhere_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = [b"DRILLCAP\x01\0\0\0".to_vec(), bytes].concat();
        prop_assert!(Capsule::from_bytes(&bytes).is_err());
        bytes.resize(2048, 0);
        prop_assert_eq!(Capsule::find(mem_bytes(bytes).as_ref()).expect("readable"), None);
    }
}

fn capsule() -> impl Strategy<Value = Capsule> {
    (any::<u64>(), prop::collection::vec(any::<u8>(), 0..64)).prop_flat_map(|(at, old)| {
        Just(Capsule {
            tool: "drill test".into(),
            guest: "Linux \"quoted\" äöü".into(),
            strategy: engine::convert::Strategy::KeepGpt,
            plan: vec!["LBA 0: x".into()],
            from: shape(4096),
            to: shape(8192),
            lba0: Bytes::from(vec![0; 512]),
            gpt_header: Bytes::from(old.clone()),
            gpt_entries: Bytes::default(),
            backup_header: Bytes::default(),
            backup_entries: Bytes::default(),
            undo: vec![
                Undo::Raw { at: ByteOffset(at), wrote: "00".into(), old: old.into(), what: "x".into() },
                Undo::Table { from: shape(4096), to: shape(8192), gained: Some("x".into()), old: vec![] },
            ],
        })
    })
}

/// A capsule with a right checksum and wrong content: from somebody who knows the format.
fn forged(json: &str) -> Vec<u8> {
    let mut bytes = b"DRILLCAP".to_vec();
    bytes.extend(2u32.to_le_bytes());
    bytes.extend((json.len() as u32).to_le_bytes());
    // The checksum guards against damage, not against forgers; the program's own function is the oracle for neither.
    bytes.extend(blake3_of(json.as_bytes()));
    bytes.extend(json.as_bytes());
    bytes
}

fn blake3_of(bytes: &[u8]) -> Vec<u8> {
    let hex = Bytes::from(bytes.to_vec()).hash();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}

#[test]
fn a_forged_capsule_is_refused_or_harmless() {
    for json in ["", "{}", "[]", "null", r#"{"tool":1}"#, &"[".repeat(5000)] {
        assert!(
            matches!(Capsule::from_bytes(&forged(json)), Err(CapsuleError::Payload { .. })),
            "{json:.40}"
        );
    }
    // Offsets beyond the disk, a run that would not fit memory.
    let head = r#"{"tool":"t","guest":"g","strategy":"keep-gpt","plan":[],"from":{"len":4096,"sector":512},"to":{"len":4096,"sector":512},"lba0":"","gpt_header":"","gpt_entries":"","backup_header":"","backup_entries":"","undo":["#;
    let bomb = format!(r#"{head}{{"undo":"raw","at":0,"wrote":"","old":"99999999999*00","what":""}}]}}"#);
    assert!(matches!(Capsule::from_bytes(&forged(&bomb)), Err(CapsuleError::Payload { .. })));
    let far =
        format!(r#"{head}{{"undo":"raw","at":18446744073709551615,"wrote":"","old":"x00","what":""}}]}}"#);
    let capsule = Capsule::from_bytes(&forged(&far)).expect("well formed");
    let error =
        engine::convert::to_gen2(&mem_bytes(vec![0; 4096]), Some(&capsule)).expect_err("beyond the end");
    assert!(error.has("unreadable"), "{error}");
    // What it would write to LBA 0 is not followed by a sound GPT.
    let empty = format!("{head}]}}");
    let capsule = Capsule::from_bytes(&forged(&empty)).expect("well formed");
    let error = engine::convert::to_gen2(&mem_bytes(vec![0; 4096]), Some(&capsule)).expect_err("no table");
    assert!(error.to_string().contains("sound"), "{error}");
}

#[test]
fn refuses_a_disk_of_another_shape_and_lengths_that_differ() {
    let disk = mem_bytes(vec![0; 4096]);
    let other = Patch { from: shape(8192), to: shape(8192), ops: Vec::new() };
    assert!(matches!(lower(&other, &disk), Err(LowerError::Geometry { .. })));
    assert!(matches!(lower(&one(4096, raw(0, &[0], &[1, 2])), &disk), Err(LowerError::Length { .. })));
    assert!(matches!(lower(&one(4096, raw(4095, &[0, 0], &[1, 2])), &disk), Err(LowerError::Read(_))));
    assert!(matches!(lower(&one(4096, raw(u64::MAX, &[0], &[1])), &disk), Err(LowerError::Read(_))));
}

fn put(path: &str, old: Option<&[u8]>, new: &[u8]) -> Op {
    let partition = Place { at: ByteOffset(ESP_AT), len: ByteLen(ESP_LEN) };
    Op::FatPut {
        partition,
        path: path.into(),
        old: old.map(Bytes::from),
        new: new.into(),
        reason: "test".into(),
    }
}

#[test]
fn files_on_the_esp_come_and_go_by_path() {
    let made = gen2(&Spec::default());
    let disk = made.disk();
    let len = bytes_of(&disk).len();
    let big = vec![0x5a; 300_000];
    let esp = |disk: &DiskRef, name: &str| {
        let path = made.dir.path().join(name);
        let bytes = bytes_of(disk);
        fs::write(&path, &bytes[ESP_AT as usize..(ESP_AT + ESP_LEN) as usize]).expect("write");
        run("fsck.vfat", &["-n", path.to_str().expect("path")]);
        path.to_str().expect("path").to_string()
    };
    let op = put("/drill/Some long name.cfg", None, &big);
    let with = one(len, op.clone()).apply(&disk).expect("apply");
    let image = esp(&with, "with.img");
    let out = made.dir.path().join("out");
    run("mcopy", &["-i", &image, "::/drill/Some long name.cfg", out.to_str().expect("path")]);
    assert!(fs::read(&out).expect("file") == big);

    // The guest moves other things about; the file is still found by its path.
    let other =
        put("/EFI/debian/grub.cfg", Some(&read(&with, "/EFI/debian/grub.cfg")), b"# changed by the guest\n");
    let guest = one(len, other).apply(&with).expect("apply");
    let undo = invert(&op, &guest).expect("readable").expect("no conflict").expect("something to undo");
    let back = one(len, undo).apply(&guest).expect("apply");
    esp(&back, "back.img");
    assert!(invert(&op, &back).expect("readable").expect("no conflict").is_none(), "nothing left to undo");
    assert_eq!(read(&back, "/EFI/debian/grub.cfg"), b"# changed by the guest\n");

    // The guest changes the file itself: a conflict, and nothing else.
    let theirs = put("/drill/Some long name.cfg", Some(&big), b"mine");
    let guest = one(len, theirs).apply(&with).expect("apply");
    let conflict = invert(&op, &guest).expect("readable").expect_err("a conflict");
    assert!(conflict.to_string().contains("the guest has changed the file"), "{conflict}");
}

#[test]
fn a_file_that_is_not_as_planned_is_not_replaced() {
    let made = gen2(&Spec::default());
    let disk = made.disk();
    let len = bytes_of(&disk).len();
    let op = put("/EFI/debian/grub.cfg", Some(b"something else"), b"new");
    assert!(matches!(lower(&one(len, op), &disk), Err(LowerError::Changed { .. })));
    let full = put("/big", None, &vec![1; ESP_LEN as usize]);
    let error = lower(&one(len, full), &disk).expect_err("too large");
    assert!(matches!(error, LowerError::Volume(_)), "{error}");
}

fn read(disk: &DiskRef, path: &str) -> Vec<u8> {
    let esp = engine::disk::Slice::new(disk.clone(), ByteOffset(ESP_AT), ByteLen(ESP_LEN)).expect("slice");
    let esp: DiskRef = std::sync::Arc::new(esp);
    engine::volume::open(&esp).expect("open").read(path, 1 << 20).expect("read")
}
