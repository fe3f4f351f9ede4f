//! The disk, its partition table, and which partition of one disk is which of the other.

use super::model::{Field, Mark, PartitionDiff};
use crate::convert::Capsule;
use crate::disk::{DiskRef, Geometry};
use crate::guest::{FileSystem, FsPlace, Inspection, Partition, TableKind, size};
use crate::table::gpt::Gpt;
use crate::table::mbr::{Mbr, MbrEntry, MbrKind};
use crate::units::ByteOffset;

/// A partition on one disk or both.
pub(super) struct Pair<'a> {
    pub a: Option<&'a Partition>,
    pub b: Option<&'a Partition>,
}

/// What one disk says of itself, beside its [`Inspection`].
pub(super) struct Tables {
    /// Which program converted it, by the capsule that it left.
    capsule: Option<String>,
    pub mbr: Option<Mbr>,
    pub gpt: Option<Gpt>,
}

impl Tables {
    /// Read both tables; one that cannot be read is one that is not there, and the inspection says so.
    pub(super) fn read(disk: &DiskRef) -> Tables {
        let capsule = Capsule::find(disk.as_ref()).ok().flatten();
        let capsule = capsule.map(|c| format!("written by {}: a converted Generation 1 disk", c.tool));
        Tables { capsule, mbr: Mbr::parse(disk.as_ref()).ok(), gpt: Gpt::parse(disk.as_ref()).ok().flatten() }
    }
}

/// A rule by which two partitions are the same one.
type Same = fn(&Partition, &Partition) -> bool;

/// Which partition is which: by its own id, then by its place, then by its number.
pub(super) fn pairs<'a>(a: &'a [Partition], b: &'a [Partition]) -> Vec<Pair<'a>> {
    // A partition of an MBR has no id of its own: what is shown as one is made of its number.
    let same_id: Same = |x, y| x.attributes.is_some() && x.part_uuid == y.part_uuid;
    let same_place: Same = |x, y| (x.at, x.len) == (y.at, y.len);
    let same_number: Same = |x, y| x.number == y.number;
    let rules: [Same; 3] = [same_id, same_place, same_number];
    let mut left: Vec<&Partition> = a.iter().collect();
    let mut right: Vec<&Partition> = b.iter().collect();
    let mut pairs = Vec::new();
    for same in rules {
        left.retain(|x| {
            let mut alike = right.iter().enumerate().filter(|(_, y)| same(x, y)).map(|(at, _)| at);
            // Copied ids and overlapping places tell nothing.
            let (Some(at), None) = (alike.next(), alike.next()) else { return true };
            pairs.push(Pair { a: Some(x), b: Some(right.remove(at)) });
            false
        });
    }
    pairs.extend(left.into_iter().map(|p| Pair { a: Some(p), b: None }));
    pairs.extend(right.into_iter().map(|p| Pair { a: None, b: Some(p) }));
    pairs.sort_by_key(|p| p.a.or(p.b).map(|p| p.number));
    pairs
}

/// What differs between the disks and their tables, the partitions aside.
pub(super) fn fields((a, b): (&Inspection, &Inspection), (on_a, on_b): (&Tables, &Tables)) -> Vec<Field> {
    let mut all = Vec::new();
    let mut field = |what: &str, a: Option<String>, b: Option<String>| all.extend(Field::of(what, a, b));
    let (len_a, len_b) = (a.geometry.len.get(), b.geometry.len.get());
    field("length", Some(exact(len_a)), Some(exact(len_b)));
    let sector = |g: Geometry| Some(format!("{} bytes", g.sector.bytes()));
    field("sector size", sector(a.geometry), sector(b.geometry));
    let kind = |i: &Inspection| (i.table.kind != TableKind::None).then(|| i.table.kind.to_string());
    field("table", kind(a), kind(b));
    field("disk id", a.table.disk_id.clone(), b.table.disk_id.clone());
    let copies = |i: &Inspection, of: fn(&crate::guest::GptCopies) -> &String| {
        i.table.gpt.as_ref().map(|g| of(g).clone())
    };
    field("primary GPT", copies(a, |g| &g.primary), copies(b, |g| &g.primary));
    field("backup GPT", copies(a, |g| &g.backup), copies(b, |g| &g.backup));
    let odd = |i: &Inspection| i.table.gpt.as_ref().map(|g| g.problems.join("; ")).filter(|p| !p.is_empty());
    field("GPT problems", odd(a), odd(b));
    let gpt = |t: &Tables, of: fn(&Gpt) -> u64| t.gpt.as_ref().map(|g| of(g).to_string());
    field("first usable sector", gpt(on_a, |g| g.first_usable.get()), gpt(on_b, |g| g.first_usable.get()));
    field("last usable sector", gpt(on_a, |g| g.last_usable.get()), gpt(on_b, |g| g.last_usable.get()));
    field("slots", gpt(on_a, |g| g.entry_count.into()), gpt(on_b, |g| g.entry_count.into()));
    field("conversion capsule", on_a.capsule.clone(), on_b.capsule.clone());
    // Where the kinds differ, all of the MBR does, and the partitions say how.
    if a.table.kind == b.table.kind {
        mbr_fields(a.table.kind, (on_a.mbr.as_ref(), on_b.mbr.as_ref()), &mut field);
    }
    all
}

/// Takes a property as it is on A and on B.
type Tell<'a> = &'a mut dyn FnMut(&str, Option<String>, Option<String>);

/// The rest of the first sector: what neither disk id nor partitions say already.
fn mbr_fields(kind: TableKind, (a, b): (Option<&Mbr>, Option<&Mbr>), field: Tell<'_>) {
    let (Some(a), Some(b)) = (a, b) else { return };
    if a.kind == MbrKind::None && b.kind == MbrKind::None {
        return;
    }
    field("MBR signature 55 AA", Some(yes(a.has_signature)), Some(yes(b.has_signature)));
    let reserved = |m: &Mbr| Some(format!("{:#06x}", m.reserved));
    field("MBR bytes 444..446", reserved(a), reserved(b));
    if kind != TableKind::Mbr {
        let signature = |m: &Mbr| Some(format!("{:08x}", m.disk_signature));
        field("MBR disk signature", signature(a), signature(b));
    }
    let told = |e: &MbrEntry| (e.kind, e.status, e.first, e.sectors);
    for (slot, (x, y)) in (1..).zip(a.entries.iter().zip(&b.entries)) {
        if kind == TableKind::Mbr && told(x) != told(y) {
            continue;
        }
        // Cylinders and heads follow from the rest; they are told only where nothing else differs.
        let chs = told(x) == told(y);
        field(&format!("MBR entry {slot}"), entry(x, chs), entry(y, chs));
    }
}

fn entry(e: &MbrEntry, with_chs: bool) -> Option<String> {
    let chs = |c: [u8; 3]| format!("{:02x}{:02x}{:02x}", c[0], c[1], c[2]);
    (*e != MbrEntry::default()).then(|| {
        let place = format!("{} sectors at LBA {}", e.sectors, e.first);
        let chs = if with_chs {
            format!(", CHS {} to {}", chs(e.chs_first), chs(e.chs_last))
        } else {
            String::new()
        };
        format!("type {:#04x}, status {:#04x}, {place}{chs}", e.kind, e.status)
    })
}

/// What differs of a pair, or that it came or went.
pub(super) fn partition(pair: &Pair<'_>) -> Option<PartitionDiff> {
    let (a, b) = (pair.a, pair.b);
    let place = |p: Option<&Partition>| p.map(|p| FsPlace::partition(p.number));
    let of = |mark, p: &Partition, fields| PartitionDiff {
        mark,
        a: place(a),
        b: place(b),
        title: place_and_title(p),
        fields,
    };
    let (x, y) = match (a, b) {
        (Some(x), Some(y)) => (x, y),
        (Some(x), None) => return Some(of(Mark::Removed, x, Vec::new())),
        (None, Some(y)) => return Some(of(Mark::Added, y, Vec::new())),
        (None, None) => return None,
    };
    let mut fields = Vec::new();
    let mut field = |what: &str, a: Option<String>, b: Option<String>| fields.extend(Field::of(what, a, b));
    field("number", Some(x.number.to_string()), Some(y.number.to_string()));
    let kind = |p: &Partition| Some(format!("{} ({})", p.type_name, p.type_id));
    field("type", kind(x), kind(y));
    field("name", x.name.clone(), y.name.clone());
    field("id", x.part_uuid.clone(), y.part_uuid.clone());
    let bits = |p: &Partition| p.attributes.map(|bits| format!("{bits:#x}"));
    field("attributes", bits(x), bits(y));
    field("active", Some(yes(x.active)), Some(yes(y.active)));
    field("start", Some(offset(x.at)), Some(offset(y.at)));
    field("length", Some(exact(x.len.get())), Some(exact(y.len.get())));
    fields.extend(file_system(x.fs.as_ref(), y.fs.as_ref()));
    (!fields.is_empty()).then(|| of(Mark::Changed, x, fields))
}

/// What differs of two file systems, their files aside.
pub(super) fn file_system(a: Option<&FileSystem>, b: Option<&FileSystem>) -> Vec<Field> {
    let of =
        |what, tell: fn(&FileSystem) -> Option<String>| Field::of(what, a.and_then(tell), b.and_then(tell));
    let all = [
        of("file system", |f| Some(f.kind.to_string())),
        of("file system id", |f| f.uuid.clone()),
        of("file system label", |f| f.label.clone()),
        of("default subvolume", |f| f.subvolume.clone()),
    ];
    all.into_iter().flatten().collect()
}

/// A partition by what it holds: `partition 2 (ext4 "root")`.
pub(super) fn title(p: &Partition) -> String {
    let inside = match &p.fs {
        Some(fs) => held(fs),
        None => p.type_name.clone(),
    };
    let esp = if p.is_esp { "ESP, " } else { "" };
    format!("partition {} ({esp}{inside})", p.number)
}

/// A file system in words: `ext4 "root"`.
pub(super) fn held(fs: &FileSystem) -> String {
    let label = fs.label.as_ref().map(|l| format!(" \"{l}\"")).unwrap_or_default();
    format!("{}{label}", fs.kind)
}

/// A partition by what the table says: `partition 2 (Linux file system "root"), 12 MiB at 9 MiB`.
fn place_and_title(p: &Partition) -> String {
    let name = p.name.as_ref().map(|n| format!(" \"{n}\"")).unwrap_or_default();
    format!("partition {} ({}{name}), {} at {}", p.number, p.type_name, size(p.len.get()), size(p.at.get()))
}

/// Bytes for people, and the number itself where that says more.
pub(super) fn exact(bytes: u64) -> String {
    let text = size(bytes);
    if bytes < 1024 { text } else { format!("{text} ({bytes} bytes)") }
}

fn offset(at: ByteOffset) -> String {
    exact(at.get())
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_string()
}
