//! A comparison as short lines that a table can hold.
#![allow(dead_code, reason = "each test program uses its own part")]

use engine::diff::{BootRole, Diff, Field, Mark, Options, Scope, diff};
use engine::disk::DiskRef;
use std::ops::ControlFlow;

#[track_caller]
pub fn compare(a: &DiskRef, b: &DiskRef, scope: Scope) -> Diff {
    let options = Options { scope, ..Options::default() };
    diff(a, b, &options, &mut |_| ControlFlow::Continue(())).unwrap_or_else(|e| panic!("{e}"))
}

/// All that a comparison tells, a line each, in the order of the report.
pub fn told(d: &Diff) -> Vec<String> {
    let text = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".into());
    let field = |f: &Field| format!("{}: {} → {}", f.what, text(&f.a), crc_hidden(&text(&f.b)));
    let mut lines: Vec<String> = d.table.iter().map(|f| format!("table {}", field(f))).collect();
    for p in &d.partitions {
        match p.mark {
            Mark::Added => lines.push(format!("+{}", p.title)),
            Mark::Removed => lines.push(format!("-{}", p.title)),
            Mark::Changed => {
                let place = p.a.as_ref().expect("a place");
                lines.extend(p.fields.iter().map(|f| format!("{place} {}", field(f))));
            }
        }
    }
    for b in &d.boot_code {
        match b.place.starts_with("boot code") {
            true => lines.push(format!("{}: {}", b.place, b.bytes)),
            false => lines.push(format!("{}: {} in {}", b.place, b.bytes, b.places)),
        }
    }
    for v in &d.volumes {
        assert_eq!(v.total(), v.entries.len() as u64, "{d}");
        let place = &v.b;
        for e in &v.entries {
            let mark = match e.mark {
                Mark::Added => '+',
                Mark::Removed => '-',
                Mark::Changed => '~',
            };
            let role = e.role.map(|r: BootRole| format!(" [{}]", r.name())).unwrap_or_default();
            lines.push(format!("{mark}{place}:{}{role}", e.path));
        }
    }
    lines.extend(d.bytes.iter().map(|b| format!("{}: {} in {}", b.place, b.bytes, b.places)));
    lines.extend(d.same_meaning.iter().map(|r| format!("={}", r.place)));
    lines.extend(d.not_compared.iter().map(|r| format!("?{}: {}", r.place, r.why)));
    lines
}

/// Checksums are other numbers on each disk.
fn crc_hidden(text: &str) -> String {
    text.split(' ')
        .map(|w| if w.starts_with("0x") && w.len() > 8 { crc(w) } else { w.into() })
        .collect::<Vec<_>>()
        .join(" ")
}

fn crc(word: &str) -> String {
    format!("0x…{}", if word.ends_with(',') { "," } else { "" })
}
