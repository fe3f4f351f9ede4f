//! Properties over generated disks: there and back is the original to the byte, and with a guest at work in between the comparison
//! names exactly what the guest did.

mod diff_support;
#[path = "diff_support/guest_at_work.rs"]
mod guest_at_work;
mod guest_support;

use diff_support::compare;
use engine::convert::{Gen1Options, TableChoice, to_gen1, to_gen2};
use engine::diff::{Diff, Mark, Scope, Verdict};
use engine::disk::{DiskRef, Geometry, MemDisk, Overlay, Write};
use engine::guest::inspect;
use engine::units::{ByteLen, ByteOffset, SectorSize};
use guest_at_work::{acts, at_work, pieces};
use guest_support::{ESP_AT, ESP_LEN, ROOT_AT, ROOT_LEN, bytes_of, kits, run};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Types of partitions. UEFI 2.10 table 5-7; Discoverable Partitions Specification.
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const LINUX_ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
/// Linux, swap, LVM, Microsoft basic data and reserved, Linux home, and one that nobody knows.
static OTHERS: [&str; 7] = [
    LINUX,
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "933AC7E1-2EB4-4F13-B844-0E14E2AEF915",
    "01234567-89AB-4CDE-8F01-23456789ABCD",
];

/// One partition to be made; the first two are ESP and root.
#[derive(Clone, Debug)]
struct Part {
    number: u32,
    gap: u64,
    sectors: u64,
    kind: &'static str,
    name: String,
    bits: Vec<u8>,
    id: uuid::Uuid,
    fill: u8,
}

/// The end of a disk.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// So many free sectors, then the backup GPT.
    Free(u64),
    /// So many sectors less than the next whole MiB.
    Short(u64),
}

/// A whole disk to be made.
#[derive(Clone, Debug)]
struct Layout {
    /// In the order of places.
    parts: Vec<Part>,
    /// What follows the last one.
    tail: Tail,
    id: uuid::Uuid,
    /// Which of `parts` is the ESP, and which the root.
    esp: usize,
    root: usize,
}

fn part(kinds: &'static [&'static str], sectors: std::ops::Range<u64>) -> impl Strategy<Value = Part> {
    let bits = prop::sample::subsequence(vec![0u8, 1, 2, 48, 60, 62, 63], 0..4);
    let shape = (prop_gap(), sectors, prop::sample::select(kinds));
    (shape, "[a-zA-ZäöüЖ語 _.-]{0,20}", bits, any::<u128>(), any::<u8>()).prop_map(
        |((gap, sectors, kind), name, bits, id, fill)| {
            // Neither nil, which is an empty slot, nor the same twice.
            let id = uuid::Uuid::from_u128(id | 1);
            Part { number: 0, gap, sectors, kind, name: name.trim().to_string(), bits, id, fill }
        },
    )
}

/// Mostly none or a little, sometimes not a multiple of anything.
fn prop_gap() -> impl Strategy<Value = u64> {
    proptest::prop_oneof![2 => Just(0u64), 1 => 1u64..64, 1 => 64u64..3000]
}

fn layout(more: std::ops::Range<usize>) -> impl Strategy<Value = Layout> {
    let esp = part(&[ESP], ESP_LEN / 512..ESP_LEN / 512 + 1);
    let root = part(&[LINUX, LINUX_ROOT], ROOT_LEN / 512..ROOT_LEN / 512 + 1);
    let others = prop::collection::vec(part(&OTHERS, 1..4000), more);
    // Often a few sectors short of a whole MiB: there the backup GPT of the longer Generation 1 disk overlaps the old one.
    let tail =
        proptest::prop_oneof![1 => (0u64..5000).prop_map(Tail::Free), 1 => (1u64..40).prop_map(Tail::Short)];
    (esp, root, others, tail, any::<u128>())
        .prop_flat_map(|(esp, root, others, tail, id)| {
            let parts: Vec<(usize, Part)> =
                [vec![esp, root], others].concat().into_iter().enumerate().collect();
            let numbers: Vec<u32> = (1..=16).collect();
            (Just(parts).prop_shuffle(), Just(numbers).prop_shuffle(), Just(tail), Just(id))
        })
        .prop_map(|(parts, numbers, tail, id)| {
            let place = |which: usize| parts.iter().position(|(n, _)| *n == which).expect("it is there");
            let (esp, root) = (place(0), place(1));
            let numbered = parts.into_iter().zip(numbers);
            let parts = numbered.map(|((_, part), number)| Part { number, ..part }).collect();
            Layout { parts, tail, id: uuid::Uuid::from_u128(id), esp, root }
        })
}

impl Layout {
    /// First sector of each partition, and the length of the disk in sectors.
    fn places(&self) -> (Vec<u64>, u64) {
        let (mut at, mut places) = (2048, Vec::new());
        for part in &self.parts {
            at += part.gap;
            places.push(at);
            at += part.sectors;
        }
        let end = match self.tail {
            Tail::Free(sectors) => at + sectors + 33,
            Tail::Short(sectors) => (at + 33 + sectors).next_multiple_of(2048) - sectors,
        };
        (places, end)
    }

    /// Where partition `which` of `parts` lies, and its number.
    fn place(&self, which: usize) -> (u64, u32) {
        (self.places().0[which] * 512, self.parts[which].number)
    }

    /// The disk, its table made by sfdisk: sgdisk waits a second after each change.
    fn disk(&self) -> DiskRef {
        let (places, sectors) = self.places();
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("disk.raw");
        File::create(&path).and_then(|f| f.set_len(sectors * 512)).expect("disk");
        let mut script = format!("label: gpt\nlabel-id: {}\nfirst-lba: 34\n\n", self.id);
        for (part, first) in self.parts.iter().zip(&places) {
            let Part { number, kind, name, id, sectors, .. } = part;
            let bits = part.bits.iter().map(|bit| match bit {
                0 => "RequiredPartition".to_string(),
                1 => "NoBlockIOProtocol".to_string(),
                2 => "LegacyBIOSBootable".to_string(),
                bit => format!("GUID:{bit}"),
            });
            let bits = bits.collect::<Vec<_>>().join(" ");
            script += &format!(
                "p{number} : start={first}, size={sectors}, type={kind}, uuid={id}, name=\"{name}\", attrs=\"{bits}\"\n"
            );
        }
        let file = dir.path().join("script");
        std::fs::write(&file, script).expect("script");
        let text = |path: &Path| path.to_str().expect("path").to_string();
        run(
            "sh",
            &[
                "-c",
                "sfdisk -q --no-reread --no-tell-kernel \"$1\" < \"$2\"",
                "sh",
                &text(&path),
                &text(&file),
            ],
        );
        let bytes = std::fs::read(&path).expect("disk");
        let table = |range: std::ops::Range<usize>| Write {
            at: ByteOffset(range.start as u64),
            bytes: bytes[range].into(),
        };
        let mut writes = vec![table(0..34 * 512)];
        for (n, (part, first)) in self.parts.iter().zip(&places).enumerate() {
            let bytes = match n {
                n if n == self.esp => pieces().esp.clone(),
                n if n == self.root => pieces().root.clone(),
                _ => vec![part.fill; 512 * part.sectors as usize].into(),
            };
            writes.push(Write { at: ByteOffset(first * 512), bytes });
        }
        writes.push(table(bytes.len() - 33 * 512..bytes.len()));
        let geometry = Geometry { len: ByteLen(sectors * 512), sector: SectorSize::B512 };
        Arc::new(Overlay::new(Arc::new(MemDisk::empty(geometry)), geometry, writes).expect("overlay"))
    }
}

/// The one place that knows how a conversion is called.
fn there(disk: &DiskRef, table: TableChoice) -> DiskRef {
    let inspection = inspect(disk).expect("inspect");
    let plan = to_gen1(disk, &inspection, &kits, &Gen1Options { table, ..Gen1Options::default() })
        .unwrap_or_else(|e| panic!("{e}\n{inspection}"));
    plan.patch.apply(disk).expect("apply")
}

fn back(now: &DiskRef) -> DiskRef {
    to_gen2(now, None).unwrap_or_else(|e| panic!("{e}")).patch.apply(now).expect("apply")
}

/// All names, sorted, as the model tells them.
fn names(d: &Diff) -> Vec<String> {
    let sign = |mark| match mark {
        Mark::Added => '+',
        Mark::Removed => '-',
        Mark::Changed => '~',
    };
    let mut all: Vec<String> = d.names().map(|(mark, name)| format!("{}{name}", sign(mark))).collect();
    all.sort();
    all
}

/// Whether a name of the model matters to starting.
fn matters(name: &str, root: u32) -> bool {
    let Some(path) = name[1..].strip_prefix(&format!("partition {root}:")) else { return true };
    path.starts_with("/boot") || path == "/etc/fstab" || path == "/etc/crypttab"
}

/// That `b` is `a` with these changes of files and nothing else.
fn only(
    a: &DiskRef,
    b: &DiskRef,
    wanted: &[String],
    root: u32,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let all = compare(a, b, Scope::All);
    prop_assert_eq!(names(&all), wanted, "\n{}", all);
    let boot = compare(a, b, Scope::Boot);
    let wanted_boot: Vec<String> = wanted.iter().filter(|n| matters(n, root)).cloned().collect();
    prop_assert_eq!(names(&boot), wanted_boot, "\n{}", boot);
    for d in [&all, &boot] {
        let elsewhere =
            d.table.len() + d.partitions.len() + d.boot_code.len() + d.bytes.len() + d.not_compared.len();
        prop_assert_eq!(elsewhere, 0, "{}", d);
    }
    Ok(())
}

fn table_choice(layout: &Layout) -> impl Strategy<Value = TableChoice> + use<> {
    let all = vec![TableChoice::Auto, TableChoice::Gpt, TableChoice::Mbr];
    let few = layout.parts.len() <= 4;
    prop::sample::select(all.into_iter().filter(|t| few || *t != TableChoice::Mbr).collect::<Vec<_>>())
}

fn layout_and_table() -> impl Strategy<Value = (Layout, TableChoice)> {
    layout(0..6).prop_flat_map(|layout| {
        let table = table_choice(&layout);
        (Just(layout), table)
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn a_disk_is_the_same_as_itself_and_no_byte_goes_unseen(
        layout in layout(0..6), at in any::<prop::sample::Index>(), near in 0..4u8, flip in 1u8..
    ) {
        let disk = layout.disk();
        let same = compare(&disk, &disk, Scope::All);
        prop_assert_eq!(same.verdict, Verdict::Identical, "{}", same);
        prop_assert_eq!(compare(&disk, &disk, Scope::Boot).verdict, Verdict::Same);
        // Half of them where the tables are, which is little of a disk.
        let len = disk.geometry().len.get();
        let at = ByteOffset(match near {
            0 => at.index(34 * 512) as u64,
            1 => len - 1 - at.index(33 * 512) as u64,
            _ => at.index(len as usize) as u64,
        });
        let mut byte = [0];
        disk.read_at(at, &mut byte).expect("read");
        let write = Write { at, bytes: Arc::from([byte[0] ^ flip]) };
        let other: DiskRef = Arc::new(Overlay::new(disk.clone(), disk.geometry(), vec![write]).expect("overlay"));
        for (a, b) in [(&disk, &other), (&other, &disk)] {
            let found = compare(a, b, Scope::All);
            prop_assert!(found.verdict != Verdict::Identical, "byte {} was changed: {}", at, found);
        }
    }

    #[test]
    fn without_a_boot_the_way_back_gives_the_original_to_the_byte((layout, table) in layout_and_table()) {
        let disk = layout.disk();
        let home = back(&there(&disk, table));
        prop_assert_eq!(home.geometry(), disk.geometry());
        prop_assert!(bytes_of(&home) == bytes_of(&disk), "{}", compare(&disk, &home, Scope::All));
        prop_assert_eq!(compare(&disk, &home, Scope::All).verdict, Verdict::Identical);
    }

    #[test]
    fn the_changes_of_a_guest_are_named_exactly(esp_acts in acts(), root_acts in acts()) {
        let disk = small();
        let (now, wanted) = at_work(&disk, (ESP_AT, 1), (ROOT_AT, 2), (&esp_acts, &root_acts));
        only(&disk, &now, &wanted, 2)?;
    }

    #[test]
    fn after_the_round_trip_only_the_guests_changes_remain(
        (layout, table) in layout_and_table(), esp_acts in acts(), root_acts in acts()
    ) {
        let disk = layout.disk();
        let gen1 = there(&disk, table);
        let (esp, root) = (layout.place(layout.esp), layout.place(layout.root));
        let (now, wanted) = at_work(&gen1, esp, root, (&esp_acts, &root_acts));
        let home = back(&now);
        only(&disk, &home, &wanted, root.1)?;
        // The comparison's own witness: outside the two partitions every byte is the original's.
        let (mut was, mut is) = (bytes_of(&disk), bytes_of(&home));
        for (at, len) in [(esp.0, ESP_LEN), (root.0, ROOT_LEN)] {
            was[at as usize..(at + len) as usize].fill(0);
            is[at as usize..(at + len) as usize].fill(0);
        }
        prop_assert!(was == is);
    }
}

/// ESP and root where `guest_support` puts them.
fn small() -> DiskRef {
    let part = |gap, sectors, kind, number| Part {
        number,
        gap,
        sectors,
        kind,
        name: String::new(),
        bits: Vec::new(),
        id: uuid::Uuid::from_u128(number.into()),
        fill: 0,
    };
    let parts = vec![part(0, ESP_LEN / 512, ESP, 1), part(0, ROOT_LEN / 512, LINUX, 2)];
    Layout { parts, tail: Tail::Free(100), id: uuid::Uuid::from_u128(7), esp: 0, root: 1 }.disk()
}
