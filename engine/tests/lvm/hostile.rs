//! Labels, areas, texts and layouts that contradict themselves: each is told, none is followed.

use crate::builder::{AREA_AT, AREA_LEN, Physical, disk, group, noise, striped, volume};
use engine::disk::{DiskRef, read_vec};
use engine::units::ByteOffset;
use engine::volume::lvm::{Hidden, Lv, Lvm, Member, look};

const LEN: usize = 256 << 10;

fn sound() -> String {
    group(1, 16, &[20], &volume("any", &[striped(0, 2, 0, &[(0, 1)])]))
}

#[track_caller]
fn refused(pv: Physical, wanted: &str) {
    let lvm = look(&[pv.disk()]);
    let [physical] = &lvm.physical[..] else { panic!("{lvm:#?}") };
    let said: Vec<String> = physical.damaged.iter().map(ToString::to_string).collect();
    assert_eq!(said, [wanted]);
    assert!(lvm.groups.is_empty() && matches!(physical.member, Member::Unreadable), "{lvm:#?}");
}

#[test]
fn labels_that_are_not_sound_are_refused() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Damage, &str); 6] = [
        (|b| b[512] = b'X', "no LVM label in the first four sectors"),
        (|b| b[520] = 2, "LVM label at 0x200: wanted sector 1, found 2"),
        (|b| b[536] = b'X', "LVM label at 0x200: wanted type \"LVM2 001\", found \"XVM2 001\""),
        (|b| b[533] = 2, "LVM label at 0x200: wanted a header within the sector, found offset 544"),
        (
            |b| b[544] = b'/',
            "LVM label at 0x200: wanted an id of letters and digits, found /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (|b| b[584..1024].fill(1), "LVM label at 0x200: wanted a list that ends, found none"),
    ];
    for (damage, wanted) in cases {
        let mut pv = Physical::new(0, LEN, &sound());
        damage(&mut pv.bytes);
        pv.sum_label();
        refused(pv, wanted);
    }
    let mut pv = Physical::new(0, LEN, &sound());
    pv.bytes[545] = b'b';
    let said = look(&[pv.disk()]).physical[0].damaged[0].to_string();
    assert!(said.starts_with("the CRC of the LVM label at 0x200 is 0x"), "{said}");
    for len in [0, 100, 512, 1023] {
        let lvm = look(&[disk(Physical::new(0, LEN, &sound()).bytes[..len].to_vec())]);
        assert_eq!(lvm.physical[0].damaged[0].to_string(), "no LVM label in the first four sectors");
    }
}

#[test]
fn areas_that_are_not_sound_are_refused() {
    type Damage = fn(&mut Physical);
    fn put(pv: &mut Physical, at: u64, number: u64) {
        let at = (AREA_AT + at) as usize;
        pv.bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let header = "header of the metadata area at 0x1000: wanted";
    let text = "metadata text at";
    let len = sound().len() + 1;
    let cases: [(Damage, String); 11] = [
        (|pv| pv.bytes[4100] = b'X', format!("{header} lvm2's magic bytes, found XLVM2 x[5A%r0N*>")),
        (|pv| pv.bytes[4116] = 2, format!("{header} version 1, found 2")),
        (|pv| put(pv, 24, 512), format!("{header} its own place in it, found 0x200")),
        (
            |pv| put(pv, 48, 0),
            format!("{text} 0x1200: wanted 1 to 4194304 bytes, found 0 bytes at offset 512 of 12288"),
        ),
        (
            |pv| put(pv, 48, u64::MAX),
            format!(
                "{text} 0x1200: wanted 1 to 4194304 bytes, found {} bytes at offset 512 of 12288",
                u64::MAX
            ),
        ),
        (
            |pv| put(pv, 40, 511),
            format!(
                "{text} 0x11ff: wanted a place within the area, found {len} bytes at offset 511 of 12288"
            ),
        ),
        (
            |pv| put(pv, 40, AREA_LEN),
            format!(
                "{text} 0x4000: wanted a place within the area, found {len} bytes at offset 12288 of 12288"
            ),
        ),
        (
            |pv| put(pv, 40, u64::MAX),
            format!(
                "{text} 0xffffffffffffffff: wanted a place within the area, found {len} bytes at offset {} of 12288",
                u64::MAX
            ),
        ),
        (
            // The end of the text would lie on its own beginning.
            |pv| put(pv, 32, 512 + sound().len() as u64 - 99),
            format!(
                "{text} 0x1200: wanted a text that fits the ring, found {len} bytes at offset 512 of {}",
                512 + len - 100
            ),
        ),
        (
            |pv| {
                put(pv, 32, u64::MAX);
                put(pv, 40, 1 << 40);
            },
            format!("read of {len} bytes at 0x10000001000 goes beyond the end of the disk at 0x40000"),
        ),
        (
            |pv| pv.label(1, &[(1 << 40, 1 << 20)]),
            "read of 512 bytes at 0x10000000000 goes beyond the end of the disk at 0x40000".to_string(),
        ),
    ];
    for (damage, wanted) in cases {
        let mut pv = Physical::new(0, LEN, &sound());
        damage(&mut pv);
        pv.sum_area(AREA_AT);
        refused(pv, &wanted);
    }
    let mut pv = Physical::new(0, LEN, &sound());
    pv.bytes[4150] ^= 1;
    let said = look(&[pv.disk()]).physical[0].damaged[0].to_string();
    assert!(said.starts_with("the CRC of the header of the metadata area at 0x1000 is 0x"), "{said}");
    // Passed over, as the flag asks: no damage, and nothing known of the group.
    let mut pv = Physical::new(0, LEN, &sound());
    pv.bytes[4096 + 60] = 1;
    pv.sum_area(AREA_AT);
    let lvm = look(&[pv.disk()]);
    assert!(lvm.physical[0].damaged.is_empty() && matches!(lvm.physical[0].member, Member::Elsewhere));
}

#[test]
fn texts_that_are_not_sound_are_refused() {
    let deep = format!("vg0 {}", "{ a ".repeat(40));
    let long = format!("vg0 {{ x = [{}] }}", "1,".repeat(300_000));
    let twice =
        volume("any", &[striped(0, 1, 0, &[(0, 1)])]) + &volume("any", &[striped(0, 1, 0, &[(0, 2)])]);
    let many: String =
        (0..33_000).map(|n| format!("s{n}{{start_extent={n}\nextent_count=1\ntype=x}}\n")).collect();
    let pv = |text: &str| sound().replace("pv0 {", text);
    let cases: Vec<(String, &str)> = vec![
        ("vg0 {".into(), ", line 1: wanted a closing brace, found the end"),
        ("vg0 }".into(), ", line 1: wanted an opening brace or an equals sign, found \"}\""),
        ("\n\nvg0 { a = }".into(), ", line 3: wanted a value, found \"}\""),
        ("vg0 { a = \"x\\\" }".into(), ", line 1: wanted a closing quote, found \"\\\"x\\\\\\\" }\""),
        ("vg0 { a = [1, {] }".into(), ", line 1: wanted a value, found \"{] }\""),
        ("= 1".into(), ", line 1: wanted a name, found \"= 1\""),
        (deep, ", line 1: wanted at most 16 levels of sections, found \" a { a { a {\""),
        (long, ", line 1: wanted fewer names and values, found \"1,1,1,1,1,1,\""),
        ("contents = \"x\"".into(), ": wanted a group, found none"),
        (sound().replace("vg0 {", "\"v/g\" {"), ": wanted lvm2's characters, found \"v/g\""),
        (sound().replace("vg0 {", "\"\u{1b}[2J\" {"), ": wanted lvm2's characters, found \"\\u{1b}[2J\""),
        (sound().replace("any {", ".. {"), ": wanted lvm2's characters, found \"..\""),
        (sound().replace("seqno = 1", "seqno = -1"), ": wanted a number seqno, found none"),
        (
            sound().replace("extent_size = 16", "extent_size = 0"),
            ": wanted an extent_size in range, found another",
        ),
        (
            sound().replace("extent_size = 16", "extent_size = 9223372036854775807"),
            ": wanted an extent_size in range, found another",
        ),
        (
            sound().replace("VVVVVV-", "VVVVVV-x"),
            ": wanted an id, found \"VVVVVV-xVVVV-VVVV-VVVV-VVVV-VVVV-VVVVVV\"",
        ),
        (pv("pv0 { } pv0 {"), ": wanted a number pe_start, found none"),
        (
            pv("pv0 { id = \"cccccccccccccccccccccccccccccccc\" pe_start = 0 pe_count = 1 } pv0 {"),
            ": wanted at most 1024, each once, found another pv0",
        ),
        (group(1, 16, &[20], &twice), ": wanted at most 16384, each once, found another any"),
        (group(1, 16, &[20], &format!("any {{ {many} }}")), ": wanted at most 32768 segments, found more"),
        (
            sound().replace("[\"pv0\", 1]", "[\"pv0\"]"),
            ": wanted pairs of name and extent, found other stripes",
        ),
        (sound().replace("[\"pv0\", 1]", "[\"pv0\", -1]"), ": wanted an extent, found -1"),
        (sound().replace("stripe_count = 1", "stripe_count = 2"), ": wanted 2 stripes, found 1"),
        (sound().replace("stripes = [\"pv0\", 1]", "stripes = []"), ": wanted 1 stripes, found 0"),
        (
            group(1, 16, &[20], &volume("any", &[striped(0, 2, 0, &[(0, 1), (0, 5)])])),
            ": wanted a stripe_size in range, found another",
        ),
    ];
    for (text, wanted) in cases {
        let mut pv = Physical::new(0, 8 << 20, &sound());
        pv.label(1, &[(AREA_AT, 4 << 20)]);
        pv.area(AREA_AT, 4 << 20, 512, text.as_bytes());
        let lvm = look(&[pv.disk()]);
        let said = lvm.physical[0].damaged.first().map(ToString::to_string).unwrap_or_default();
        assert!(said.ends_with(wanted), "{said}\nis not\n{wanted}");
        assert!(lvm.groups.is_empty());
    }
}

/// Look at these logical volumes on one physical volume of 20 extents of 8 KiB, for which it has room, and at one of 200 for which it does not.
fn laid_out(volumes: &str) -> Lvm {
    let text = group(1, 16, &[20, 200], volumes);
    let mut pv = Physical::new(0, LEN, &text);
    pv.label(1, &[(64 << 10, 128 << 10)]);
    pv.area(64 << 10, 128 << 10, 512, text.as_bytes());
    let second = Physical { id: [b'b'; 32], ..pv.clone() };
    let mut second = second;
    second.label(1, &[]);
    look(&[pv.disk(), second.disk()])
}

#[track_caller]
fn hidden(lvm: &Lvm, index: usize) -> String {
    let lv: &Lv = &lvm.groups[0].logical[index];
    lv.content.as_ref().err().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn layouts_that_cannot_be_are_told_and_not_followed() {
    const MANY: u64 = 9_223_372_036_854_775_807;
    let wide: Vec<(usize, u64)> = (0..130).map(|n| (1, n)).collect();
    let cases: Vec<(Vec<String>, &str)> = vec![
        (vec![striped(0, 2, 0, &[(0, 18)])], ""),
        (
            vec![striped(0, 3, 0, &[(0, 18)])],
            "by its metadata it lies on extents 18 + 3 of 20 on aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa",
        ),
        (
            vec![striped(0, 1, 0, &[(0, MANY)])],
            "by its metadata it lies on extents 9223372036854775807 + 1 of 20 on aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa",
        ),
        (
            vec![striped(0, 30, 0, &[(1, 0)])],
            "", // 30 extents of 8 KiB behind 16 KiB are 256 KiB
        ),
        (
            vec![striped(0, 31, 0, &[(1, 0)])],
            "by its metadata it lies on 253952 bytes at 0x4000 of bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb, which ends before that",
        ),
        (
            vec![striped(1, 1, 0, &[(0, 0)])],
            "by its metadata it has a segment of 1 extents at 1, wanted the next one at 0",
        ),
        (
            vec![striped(0, 2, 0, &[(0, 0)]), striped(1, 2, 0, &[(0, 4)])],
            "by its metadata it has a segment of 2 extents at 1, wanted the next one at 2",
        ),
        (
            vec![striped(0, 0, 0, &[(0, 0)])],
            "by its metadata it has a segment of 0 extents at 0, wanted the next one at 0",
        ),
        (vec![], "by its metadata it is 0 extents of 8192 bytes long"),
        (
            vec![striped(0, MANY, 0, &[(0, 0)])],
            "by its metadata it is 9223372036854775807 extents of 8192 bytes long",
        ),
        (
            vec![
                striped(0, MANY, 0, &[(0, 0)]),
                striped(MANY, MANY, 0, &[(0, 0)]),
                striped(2 * MANY, 9, 0, &[(0, 0)]),
            ],
            "by its metadata it has a segment of 9 extents at 9223372036854775807, wanted the next one at 18446744073709551614",
        ),
        (
            vec![striped(0, 3, 8, &[(0, 0), (0, 4)])],
            "by its metadata it has 3 extents on 2 stripes, 4096 bytes at a time",
        ),
        (
            vec![striped(0, 2, 6, &[(0, 0), (0, 4)])],
            "by its metadata it has 2 extents on 2 stripes, 3072 bytes at a time",
        ),
        (
            vec![striped(0, 130, 8, &wide)],
            "by its metadata it has 130 extents on 130 stripes, 4096 bytes at a time",
        ),
        (vec![striped(0, 2, 8, &[(0, 0), (0, 0)])], "by its metadata it shares extents with another one"),
        (
            vec![striped(0, 2, 0, &[(0, 0)]), striped(2, 2, 0, &[(0, 1)])],
            "by its metadata it shares extents with another one",
        ),
        (
            vec![striped(0, 2, 0, &[(0, 0)]).replace("pv0", "any")],
            "part of it lies on the logical volume any, which is not looked into",
        ),
        (
            vec![striped(0, 2, 0, &[(0, 0)]).replace("striped", "striped+CACHE_VOL")],
            "other LVM (striped+CACHE_VOL) is not looked into",
        ),
        (
            vec![striped(0, 2, 0, &[(0, 0)]).replace("striped", "\u{1b}[2J")],
            "other LVM (unknown) is not looked into",
        ),
    ];
    for (segments, wanted) in cases {
        let lvm = laid_out(&volume("any", &segments));
        assert_eq!(hidden(&lvm, 0), wanted, "{segments:?}");
    }
    let both = volume("a", &[striped(0, 4, 0, &[(0, 3)])])
        + &volume("b", &[striped(0, 1, 0, &[(0, 5)])])
        + &volume("c", &[striped(0, 1, 0, &[(0, 6)])])
        + &volume("d", &[striped(0, 1, 0, &[(0, 7)])]);
    let lvm = laid_out(&both);
    let shares = "by its metadata it shares extents with another one";
    assert_eq!([0, 1, 2, 3].map(|n| hidden(&lvm, n)), [shares, shares, shares, ""]);
}

#[test]
fn a_physical_volume_that_was_given_up_is_not_used() {
    let healthy = "status = [\"ALLOCATABLE\"]\nflags = []";
    for lost in
        ["status = [\"ALLOCATABLE\"]\nflags = [\"MISSING\"]", "status = [\"ALLOCATABLE\", \"MISSING\"]"]
    {
        let text = sound().replace(healthy, lost);
        let lvm = look(&[Physical::new(0, LEN, &text).disk()]);
        assert_eq!(
            hidden(&lvm, 0),
            "part of it lies on the physical volume aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa, which its group has given up"
        );
    }
}

#[test]
fn a_snapshot_that_is_being_merged_hides_its_origin() {
    let snapshot =
        "start_extent = 0\nextent_count = 1\ntype = \"snapshot\"\norigin = \"root\"\ncow_store = \"old\"\n";
    let volumes = volume("root", &[striped(0, 1, 0, &[(0, 0)])])
        + &volume("old", &[striped(0, 1, 0, &[(0, 1)])])
        + &volume("snapshot0", &[snapshot.to_string()]);
    let shown = |lvm: &Lvm| lvm.groups[0].logical.iter().map(|lv| lv.name.clone()).collect::<Vec<_>>();
    let lvm = laid_out(&volumes);
    assert_eq!(shown(&lvm), ["root", "old"]);
    assert_eq!(
        (hidden(&lvm, 0).as_str(), hidden(&lvm, 1).as_str()),
        ("", "snapshot LVM (snapshot) is not looked into")
    );
    let lvm = laid_out(&volumes.replace("cow_store", "merging_store"));
    assert_eq!(shown(&lvm), ["root"]);
    assert_eq!(lvm.groups[0].logical[0].content.as_ref().err(), Some(&Hidden::Merging));
}

#[test]
fn the_newest_text_counts_and_a_volume_it_does_not_name_has_left() {
    let old = group(3, 16, &[20, 20], &volume("old", &[striped(0, 1, 0, &[(1, 1)])]));
    let new = group(4, 16, &[20], &volume("new", &[striped(0, 1, 0, &[(0, 1)])]));
    let mut first = Physical::new(0, LEN, &old);
    first.label(1, &[(AREA_AT, AREA_LEN), (128 << 10, 16 << 10)]);
    first.area(128 << 10, 16 << 10, 512, new.as_bytes());
    let second = Physical::new(1, LEN, &old);
    for disks in [[&first, &second], [&second, &first]] {
        let lvm = look(&disks.map(Physical::disk));
        assert_eq!(
            (lvm.groups.len(), lvm.groups[0].seqno, lvm.groups[0].logical[0].name.as_str()),
            (1, 4, "new")
        );
        let members: Vec<&Member> = lvm.physical.iter().map(|p| &p.member).collect();
        let of = |n: u8| members.iter().zip(&disks).find(|(_, d)| d.id == [b'a' + n; 32]).expect("one").0;
        assert!(matches!(of(0), Member::Of(0)) && matches!(of(1), Member::Left(name) if name == "vg0"));
    }
}

/// One of many changes to a sound physical volume, its checksums right again: errors are fine; a panic, a hang or a failing read is not.
#[test]
fn random_changes_are_survived() {
    let volumes = volume("lin", &[striped(0, 3, 0, &[(0, 2)]), striped(3, 2, 0, &[(0, 7)])])
        + &volume("two", &[striped(0, 4, 8, &[(0, 10), (0, 14)])]);
    let text = group(3, 16, &[20], &volumes);
    let good = Physical::new(0, LEN, &text);
    let dice = noise(9, 64 << 10);
    let mut readable = 0;
    for throw in dice.chunks(32) {
        let number = |at: usize| usize::from(u16::from_le_bytes([throw[at], throw[at + 1]]));
        let mut text = text.clone().into_bytes();
        let len = text.len();
        for n in 0..1 + number(0) % 3 {
            let (at, from) = (number(2 + 8 * n) % len, number(4 + 8 * n) % len);
            match throw[6 + 8 * n] % 4 {
                0 => text[at] = b"0123456789{}[]=,\"#\n\0"[number(7 + 8 * n) % 20],
                1 => text[at] ^= 1 << (number(7 + 8 * n) % 8),
                2 => text.copy_within(from..(from + 20).min(len), at.min(len - 20)),
                _ => text[at..].rotate_left(1),
            }
        }
        let mut pv = good.clone();
        pv.area(AREA_AT, AREA_LEN, 512, &text);
        pv.bytes[548 + number(26) % 100] ^= throw[28] & throw[29] & throw[30];
        pv.sum_label();
        let disks: [DiskRef; 1] = [pv.disk()];
        for lv in look(&disks).groups.iter().flat_map(|g| &g.logical) {
            let Ok(content) = &lv.content else { continue };
            read_vec(content.as_ref(), ByteOffset(0), lv.len.get() as usize)
                .expect("a readable volume reads");
            readable += 1;
        }
    }
    assert!(readable > 100, "{readable} readable volumes: the changes destroy all at once");
}
