//! The floors of ARCHITECTURE.md, held against `cargo metadata`: what a room may depend on, and under which licences.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

/// The rooms and what each may lean on in a normal build, read out of the drawing in ARCHITECTURE.md (`### Floors, as data`).
fn drawn_floors() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md");
    let mut floors = BTreeMap::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix("| `") else { continue };
        let mut cells = row.split('|');
        let (Some(name), Some(deps)) = (cells.next(), cells.next()) else { continue };
        let name = name.trim().trim_matches('`').to_owned();
        if !["drill", "tui", "drills", "engine", "qemu", "fixtures", "bench"].contains(&name.as_str()) {
            continue;
        }
        let deps = deps.split(',').map(|d| d.trim().trim_matches('`').to_owned());
        floors.insert(name, deps.filter(|d| !d.is_empty() && d != "nothing").collect());
    }
    floors
}

#[test]
fn the_picture_of_the_floors_is_true() {
    let meta = metadata();
    let members: BTreeSet<&str> =
        meta["workspace_members"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let packages = meta["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages
        .iter()
        .filter(|p| members.contains(p["id"].as_str().unwrap()))
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let real: BTreeMap<String, BTreeSet<String>> = packages
        .iter()
        .filter(|p| members.contains(p["id"].as_str().unwrap()))
        .map(|p| {
            let deps = p["dependencies"].as_array().unwrap().iter();
            let inside = deps
                .filter(|d| d["kind"].is_null())
                .map(|d| d["name"].as_str().unwrap())
                .filter(|n| names.contains(n))
                .map(str::to_owned);
            (p["name"].as_str().unwrap().to_owned(), inside.collect())
        })
        .collect();
    assert_eq!(real, drawn_floors(), "left: cargo metadata; right: the table in ARCHITECTURE.md");
}

#[test]
fn the_screen_never_sees_disks_or_qemu_and_the_engine_starts_no_process() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    for (room, forbidden) in [
        ("tui/src", &["engine::", "qemu::"][..]),
        (
            "engine/src",
            &["std::process::Command", "process::Command", "env::var", "SystemTime::now", "Instant::now"][..],
        ),
        ("qemu/src", &["engine::", "rhai::", "env::var", "SystemTime::now"][..]),
    ] {
        let mut files = 0;
        let mut stack = vec![std::path::PathBuf::from(format!("{root}{room}"))];
        while let Some(dir) = stack.pop() {
            for entry in std::fs::read_dir(&dir).expect("room exists").map(|e| e.unwrap().path()) {
                if entry.is_dir() {
                    stack.push(entry);
                    continue;
                }
                if entry.extension().is_none_or(|e| e != "rs") {
                    continue;
                }
                files += 1;
                let text = std::fs::read_to_string(&entry).unwrap();
                // Unit tests at the end of a file may use the outside world; the product code may not.
                let product = text.split("#[cfg(test)]").next().unwrap_or("");
                for (n, line) in product.lines().enumerate() {
                    if line.trim_start().starts_with("//") {
                        continue;
                    }
                    for word in forbidden {
                        assert!(
                            !line.contains(word),
                            "{}:{}: `{word}` does not belong in {room}",
                            entry.display(),
                            n + 1
                        );
                    }
                }
            }
        }
        assert!(files > 0, "{room} has no Rust file: the check looked at nothing");
    }
}

/// Permissive licences, and the exceptions by name.
#[test]
fn every_dependency_is_permissive() {
    const PERMISSIVE: &[&str] = &[
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "0BSD",
        "CC0-1.0",
        "Unlicense",
        "Unicode-3.0",
        "Unicode-DFS-2016",
        "BSL-1.0",
        "MIT-0",
        "Apache-2.0 WITH LLVM-exception",
        "WTFPL",
    ];
    const NAMED: &[(&str, &str)] = &[("smartstring", "MPL-2.0")];
    let meta = metadata();
    let mut bad = Vec::new();
    for p in meta["packages"].as_array().unwrap() {
        let name = p["name"].as_str().unwrap();
        let licence = p["license"].as_str().unwrap_or("(none)");
        if NAMED.iter().any(|(n, l)| *n == name && licence.starts_with(l)) {
            continue;
        }
        // A crate under `A OR B` needs one permissive arm; under `A AND B` all of them.
        let ok = licence.replace('/', " OR ").split(" OR ").any(|arm| {
            arm.trim()
                .trim_matches(|c| c == '(' || c == ')')
                .split(" AND ")
                .all(|l| PERMISSIVE.contains(&l.trim().trim_matches(|c| c == '(' || c == ')')))
        });
        if !ok {
            bad.push(format!("{name}: {licence}"));
        }
    }
    assert!(bad.is_empty(), "licences that are not on the list: {bad:#?}");
}
