use super::blocks::{difference, overwrite};
use super::ext::crc32c;
use super::{Area, Caught, FAULTS, Judgement, judge};
use engine::disk::{DiskRef, Geometry, MemDisk, Write};
use engine::units::{ByteLen, SectorSize};
use qemu::Observation;
use qemu::ladder::{End, Ladder, PATTERNS, Seen, Source};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Causes that are no row of the table: what the ladder concludes from silence, resets and the like.
const CONCLUDED: &[&str] = &["boot-code-silent", "reset-loop", "unseen"];

fn disk(bytes: &[u8]) -> DiskRef {
    let mut all = bytes.to_vec();
    all.resize(all.len().next_multiple_of(512), 0);
    let geometry = Geometry { len: ByteLen(all.len() as u64), sector: SectorSize::B512 };
    Arc::new(MemDisk::new(geometry, all))
}

#[test]
fn the_catalogue_covers_every_area_and_wants_only_what_the_ladder_can_say() {
    let names: BTreeSet<&str> = FAULTS.iter().map(|f| f.name).collect();
    assert_eq!(names.len(), FAULTS.len(), "each name once");
    assert!(FAULTS.len() >= 25);
    for area in [
        Area::Table,
        Area::BootCode,
        Area::Loader,
        Area::Configuration,
        Area::Kernel,
        Area::Initramfs,
        Area::Root,
        Area::SecureBoot,
        Area::Container,
    ] {
        assert!(FAULTS.iter().filter(|f| f.area == area).count() >= 3, "{}", area.word());
    }
    for fault in FAULTS {
        assert!(fault.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", fault.name);
        match fault.caught {
            Caught::Boot { causes, silent, .. } => {
                assert!(!causes.is_empty() && !fault.on.is_empty(), "{}", fault.name);
                for cause in causes {
                    let known =
                        CONCLUDED.contains(cause) || PATTERNS.into_iter().flatten().any(|p| p.id == *cause);
                    assert!(known, "{} wants {cause}, which the ladder never says", fault.name);
                    assert_ne!(*cause, "no-progress", "{}: a wait that ran out is no catch", fault.name);
                }
                // Who waits for silence must want what is concluded from it.
                assert!(!silent || causes.iter().all(|c| CONCLUDED.contains(c)), "{}", fault.name);
            }
            Caught::Failover { says } | Caught::Opening { says } => assert!(says.len() > 5, "{}", fault.name),
        }
    }
}

#[test]
fn a_disk_without_anything_refuses_every_fault_with_a_reason() {
    for bytes in [vec![0; 1 << 20], vec![0xff; 1 << 20], b"GRUB".repeat(1 << 18)] {
        let disk = disk(&bytes);
        for fault in FAULTS {
            let why = fault.writes(&disk).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(why.len() > 10, "{} fits a disk without anything: {why:?}", fault.name);
        }
    }
}

/// What is made of these lines of the serial port, or (`V `) of the screen.
fn judged(name: &str, lines: &[&str]) -> Option<Judgement> {
    let mut ladder = Ladder::default();
    for (n, line) in (1u64..).zip(lines) {
        let (source, line) =
            line.strip_prefix("V ").map_or((Source::Serial, *line), |line| (Source::Screen, line));
        let seen = Seen::Line(line.to_owned());
        ladder.observe(&Observation { at_ms: n.saturating_mul(100), source, seen });
    }
    judge(name, &ladder.judge(End::Deadline, 60_000)).map(|(judgement, _)| judgement)
}

#[test]
fn only_its_own_rung_and_reason_count() {
    let loader = r#"BdsDxe: starting Boot0001 "UEFI" from PciRoot(0x0)"#;
    let no_file = "error: file `/boot/vmlinuz-6.1' not found.";
    let kernel = "[    0.000000] Linux version 6.1.0";
    use Judgement::{Caught, Elsewhere, Missed};
    for (name, lines, expect) in [
        ("kernel-missing", &[loader, no_file][..], Some(Caught)),
        ("kernel-missing", &[loader, "error: no such device: 1"], Some(Elsewhere)),
        // The right reason at a rung that is too high: something else started.
        ("kernel-missing", &[kernel, no_file], Some(Elsewhere)),
        ("kernel-missing", &[loader, kernel, "DRILL-READY"], Some(Missed)),
        // A wait that ran out is never a catch.
        ("root-uuid-changed", &[loader, kernel], Some(Elsewhere)),
        // Seen on the screen alone, and without an end there. With nothing on it: another rung.
        (
            "console-gone",
            &[loader, "V [ 0.0] Linux version 6.1.0", "V Run /init as init process"],
            Some(Caught),
        ),
        ("console-gone", &[loader], Some(Elsewhere)),
        ("kernel-missing", &[loader], Some(Elsewhere)),
        // What must be refused before a boot is not caught by one.
        ("gpt-primary-damaged", &[loader, no_file], Some(Elsewhere)),
        // Not even the firmware: our side.
        ("kernel-missing", &[], None),
        // A cause by its own name.
        ("grub-no-file", &[loader, no_file], Some(Caught)),
    ] {
        assert_eq!(judged(name, lines), expect, "{name} {lines:?}");
    }
}

#[test]
fn checksums_are_those_of_ext4() {
    // The check value of CRC-32C, without its complements (RFC 3720 B.4 gives it with them).
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
}

#[test]
fn a_difference_is_from_the_first_byte_to_the_last() {
    let found = difference(100, b"abcdef", b"aXcYef").expect("they differ");
    assert_eq!((found.at.get(), &*found.bytes), (101, b"XcY".as_slice()));
    assert!(difference(0, b"same", b"same").is_none());
}

#[test]
fn a_file_is_overwritten_where_its_bytes_were_read() {
    let image = disk(b"metadata--second--first---");
    let content = b"first---second--";
    let reads = [(0u64, 8usize), (18, 8), (10, 8)];
    let writes = overwrite(image.as_ref(), "f", &reads, content, b"first---seXXnd--").expect("found");
    let [Write { at, bytes }] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!((at.get(), &**bytes), (12, b"XX".as_slice()));
    // Its second half was never read: nobody knows where it lies.
    let half = overwrite(image.as_ref(), "f", &[(0, 8), (18, 8)], content, b"first---seXXnd--");
    assert_eq!(half.unwrap_err().to_string(), "where byte 8 of the 16 bytes of f lies was not seen");
    let longer = overwrite(image.as_ref(), "f", &reads, content, b"longer than it was");
    assert_eq!(longer.unwrap_err().to_string(), "f would be 18 bytes, wanted 16 as now");
    assert_eq!(image.geometry().len.get(), 512);
}
