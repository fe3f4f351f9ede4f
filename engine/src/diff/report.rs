//! A comparison for people: grouped, short, with `~` for what changed, `+` and `-` for what came and went.

use super::model::{BytesDiff, Diff, EntryDiff, Field, Mark, Node, Region, Scope, Verdict, VolumeDiff};
use crate::guest::size;
use crate::volume::EntryKind;
use std::fmt::{self, Formatter};

/// Most names that are shown of one file system; `--json` has more.
const SHOWN_MAX: usize = 60;
/// A folder that came or went with more names than this in it is one line.
const FOLDED: usize = 4;

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.table.is_empty() {
            writeln!(f, "table")?;
            self.table.iter().try_for_each(|field| write_field(f, "  ", field))?;
        }
        if !self.partitions.is_empty() {
            writeln!(f, "partitions")?;
            for p in &self.partitions {
                writeln!(f, "  {} {}", sign(p.mark), shown(&p.title))?;
                p.fields.iter().try_for_each(|field| write_field(f, "      ", field))?;
            }
        }
        write_bytes(f, "boot code", &self.boot_code)?;
        self.volumes.iter().try_for_each(|v| write_volume(f, v))?;
        write_bytes(f, "bytes elsewhere", &self.bytes)?;
        for (head, mark, list) in
            [("the same in meaning", '=', &self.same_meaning), ("not compared", '?', &self.not_compared)]
        {
            if !list.is_empty() {
                writeln!(f, "{head}")?;
                list.iter()
                    .try_for_each(|r| writeln!(f, "  {mark} {}: {}", shown(&r.place), shown(&r.why)))?;
            }
        }
        write_verdict(f, self)
    }
}

fn write_field(f: &mut Formatter<'_>, indent: &str, field: &Field) -> fmt::Result {
    let what = shown(&field.what);
    match (&field.a, &field.b) {
        (Some(a), Some(b)) => writeln!(f, "{indent}~ {what:<20} {} → {}", shown(a), shown(b)),
        (Some(a), None) => writeln!(f, "{indent}- {what:<20} {}", shown(a)),
        (None, Some(b)) => writeln!(f, "{indent}+ {what:<20} {}", shown(b)),
        (None, None) => Ok(()),
    }
}

fn write_bytes(f: &mut Formatter<'_>, head: &str, list: &[BytesDiff]) -> fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(f, "{head}")?;
    for d in list {
        write!(f, "  ~ {}: {} ", shown(&d.place), size(d.bytes))?;
        let first = d.ranges.first().map_or(0, |r| d.at.get().saturating_add(r.at.get()));
        let of = if d.region == Region::LogicalVolume { " of it" } else { "" };
        match d.places {
            1 => writeln!(f, "at {first:#x}{of}")?,
            n => writeln!(f, "in {n} places, the first at {first:#x}{of}")?,
        }
    }
    Ok(())
}

fn write_volume(f: &mut Formatter<'_>, v: &VolumeDiff) -> fmt::Result {
    writeln!(f, "{}", shown(&v.title))?;
    let (mut at, mut lines) = (0, 0);
    while let Some(entry) = v.entries.get(at) {
        if lines == SHOWN_MAX {
            break;
        }
        lines += 1;
        let inside = names_below(v, at);
        let folded = inside > FOLDED;
        write_entry(f, entry, folded.then(|| v.entries.get(at + 1..=at + inside).unwrap_or_default()))?;
        at += if folded { inside + 1 } else { 1 };
    }
    let left = v.total().saturating_sub(at as u64);
    if left > 0 {
        writeln!(f, "  … and {left} more")?;
    }
    Ok(())
}

/// How many of the following names came or went with the folder at `at`.
fn names_below(v: &VolumeDiff, at: usize) -> usize {
    let Some(top) = v.entries.get(at).filter(|e| e.mark != Mark::Changed) else { return 0 };
    let rest = v.entries.get(at + 1..).unwrap_or_default();
    let inside = |e: &&EntryDiff| {
        e.mark == top.mark && e.path.strip_prefix(&top.path).is_some_and(|p| p.starts_with('/'))
    };
    rest.iter().take_while(inside).count()
}

fn write_entry(f: &mut Formatter<'_>, e: &EntryDiff, folded: Option<&[EntryDiff]>) -> fmt::Result {
    write!(f, "  {} {:<34} ", sign(e.mark), shown(&e.path))?;
    match (&e.a, &e.b, folded) {
        (_, _, Some(inside)) => {
            let bytes = inside.iter().filter_map(|e| e.a.as_ref().or(e.b.as_ref())).map(|n| n.len);
            let bytes = bytes.fold(0, u64::saturating_add);
            write!(f, "folder with {} names, {}", inside.len(), size(bytes))?;
        }
        (Some(a), Some(b), None) => write_change(f, e, a, b)?,
        (Some(one), None, None) | (None, Some(one), None) => write!(f, "{}", what(one))?,
        (None, None, None) => {}
    }
    match e.role {
        Some(role) => writeln!(f, "  [{}]", role.name())?,
        None => writeln!(f)?,
    }
    if let Some(c) = &e.content {
        c.lines.iter().try_for_each(|line| writeln!(f, "      {}", shown(line)))?;
        if c.more > 0 {
            writeln!(f, "      … {} more lines", c.more)?;
        }
        if c.withheld {
            writeln!(f, "      (not shown: not everybody in the guest may read it)")?;
        }
    }
    Ok(())
}

fn write_change(f: &mut Formatter<'_>, e: &EntryDiff, a: &Node, b: &Node) -> fmt::Result {
    let mut parts = Vec::new();
    if a.kind != b.kind || a.target != b.target {
        parts.push(format!("{} → {}", what(a), what(b)));
    } else if a.len != b.len {
        parts.push(match (size(a.len), size(b.len)) {
            (x, y) if x == y => format!("{} → {} bytes", a.len, b.len),
            (x, y) => format!("{x} → {y}"),
        });
    } else if let Some(c) = &e.content {
        let first = c.first.map(|at| format!(", from byte {:#x} on", at.get())).unwrap_or_default();
        parts.push(format!("{}{first}", size(b.len)));
    }
    if a.kind == b.kind && a.mode != b.mode {
        let mode = |n: &Node| n.mode.map_or("none".to_string(), |m| format!("{m:04o}"));
        parts.push(format!("mode {} → {}", mode(a), mode(b)));
    }
    if a.kind == b.kind && a.owner != b.owner {
        let owner = |n: &Node| n.owner.map_or("unknown".to_string(), |o| format!("{}:{}", o.user, o.group));
        parts.push(format!("owner {} → {}", owner(a), owner(b)));
    }
    f.write_str(&parts.join(", "))
}

fn what(node: &Node) -> String {
    match (node.kind, &node.target) {
        (EntryKind::File, _) => size(node.len),
        (EntryKind::Directory, _) => "folder".to_string(),
        (EntryKind::Symlink, Some(target)) => format!("link to {}", shown(target)),
        (EntryKind::Symlink, None) => "link".to_string(),
        (EntryKind::Other, _) => "device, socket or pipe".to_string(),
    }
}

fn write_verdict(f: &mut Formatter<'_>, d: &Diff) -> fmt::Result {
    let asked = match d.scope {
        Scope::All => "",
        Scope::Boot => " that matters to starting",
    };
    match d.verdict {
        Verdict::Identical => writeln!(f, "The disks are the same to the byte."),
        Verdict::Same if d.scope == Scope::Boot => writeln!(f, "Nothing{asked} differs."),
        Verdict::Same => writeln!(f, "Nothing that means anything differs."),
        Verdict::Unknown => {
            writeln!(f, "No difference{asked} was found, but not everything could be compared.")
        }
        Verdict::Different => {
            let more = if d.not_compared.is_empty() { "" } else { "; not everything could be compared" };
            writeln!(f, "The disks differ: {}{more}.", parts(d).join(", "))
        }
    }
}

/// In what two disks differ, in a few words.
fn parts(d: &Diff) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = |is: bool, text: &str| parts.extend(is.then(|| text.to_string()));
    part(!d.table.is_empty(), "table");
    part(!d.partitions.is_empty(), "partitions");
    part(!d.boot_code.is_empty(), "boot code");
    for (verb, of) in [
        ("added", (|v| v.added) as fn(&VolumeDiff) -> u64),
        ("removed", |v| v.removed),
        ("changed", |v| v.changed),
    ] {
        match d.volumes.iter().map(of).fold(0, u64::saturating_add) {
            0 => {}
            1 => part(true, &format!("1 name {verb}")),
            n => part(true, &format!("{n} names {verb}")),
        }
    }
    part(!d.bytes.is_empty(), "bytes elsewhere");
    parts
}

fn sign(mark: Mark) -> char {
    match mark {
        Mark::Added => '+',
        Mark::Removed => '-',
        Mark::Changed => '~',
    }
}

/// Text out of an image, without what a terminal would obey: controls, and marks that turn the direction of writing.
fn shown(text: &str) -> String {
    let obeyed = |c: char| {
        (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
