//! Questions about how the guest starts and what it is equipped with.

use super::Facts;
use super::check::{Check, Told, fires, unclear};
use crate::guest::FsPlace;
use crate::guest::initramfs::{Equipment, Presence};
use crate::table::gpt::TYPE_LINUX_SWAP;
use crate::volume::FsKind;

/// Longest file of configuration that is read: 1 MiB.
const TEXT_MAX: u64 = 1 << 20;
const NO_START: &str = "no boot entry was found that could be looked into";

pub(super) fn module(module: &str, later: bool, facts: &Facts) -> Vec<Told> {
    let all = facts.equipment();
    if all.is_empty() {
        return unclear(NO_START);
    }
    let (mut missing, mut unknown) = (Vec::new(), Vec::new());
    for one in all {
        match (one.has(module), later.then(|| one.has_on_root(module))) {
            (Presence::BuiltIn | Presence::Initramfs, _) | (_, Some(Some(true))) => {}
            (Presence::Missing, None | Some(Some(false))) => missing.push(lacking(one, module, later)),
            (Presence::Missing, Some(None)) => {
                unknown.push(format!(
                    "{}: which modules its root file system has could not be read",
                    named(one)
                ));
            }
            (Presence::Unknown { why }, _) => unknown.push(format!("{}: {why}", named(one))),
        }
    }
    match (missing.is_empty(), unknown.is_empty()) {
        (false, _) => fires(missing.join("; ")),
        (true, false) => unclear(unknown.join("; ")),
        (true, true) => Vec::new(),
    }
}

/// `"Debian GNU/Linux" (6.1.0-9)`
fn named(one: &Equipment) -> String {
    let version = one.version.as_ref().map(|v| format!(" ({v})")).unwrap_or_default();
    format!("{:?}{version}", one.start.title)
}

fn lacking(one: &Equipment, module: &str, later: bool) -> String {
    let files: Vec<&str> = one.start.initrd.iter().map(|p| p.path.as_str()).collect();
    let where_else = if later { " nor on its root file system" } else { "" };
    match files.is_empty() {
        true => format!("{} has no initramfs, and {module} is not built in{where_else}", named(one)),
        false => {
            format!("{} has {module} neither built in nor in {}{where_else}", named(one), files.join(" or "))
        }
    }
}

pub(super) fn word_missing(word: &str, facts: &Facts) -> Vec<Told> {
    by_line(facts, |options| {
        let there = options.split_whitespace().any(|w| w.starts_with(word));
        (!there).then(String::new)
    })
}

pub(super) fn words_present(words: &[&str], facts: &Facts) -> Vec<Told> {
    by_line(facts, |options| {
        let found: Vec<&str> = options.split_whitespace().filter(|w| words.contains(w)).collect();
        (!found.is_empty()).then(|| format!(" ({})", found.join(" ")))
    })
}

/// Ask each command line that is known; the answer stands behind its entry's title.
fn by_line(facts: &Facts, is: impl Fn(&str) -> Option<String>) -> Vec<Told> {
    let lines = facts.equipment().iter().filter_map(|e| Some((&e.start.title, e.start.options.as_deref()?)));
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return unclear(NO_START);
    }
    let found: Vec<String> =
        lines.iter().filter_map(|(title, options)| Some(format!("{title:?}{}", is(options)?))).collect();
    match found.len() {
        0 => Vec::new(),
        1 => fires(format!("the entry {}", found.join(""))),
        _ => fires(format!("the entries {}", found.join(", "))),
    }
}

/// Questions about files of the root.
pub(super) fn root(check: Check, facts: &Facts) -> Vec<Told> {
    let guest = facts.subject.guest;
    let partitions = &guest.inspection.partitions;
    let swap_type = TYPE_LINUX_SWAP.to_string();
    let is_swap = |p: &&crate::guest::Partition| {
        p.type_id == swap_type || p.fs.as_ref().is_some_and(|fs| fs.kind == FsKind::Swap)
    };
    if check == Check::Swap
        && let Some(swap) = partitions.iter().find(is_swap)
    {
        return fires(FsPlace::partition(swap.number).to_string());
    }
    let Some((volume, root)) = guest.root() else {
        return unclear("there is no root file system that could be read");
    };
    match check {
        Check::Swap => match volume.read(&format!("{root}/etc/fstab"), TEXT_MAX) {
            Ok(bytes) => match swap_file(&String::from_utf8_lossy(&bytes)) {
                Some(file) => fires(format!("{file} in /etc/fstab")),
                None => Vec::new(),
            },
            Err(e) => unclear(e.to_string()),
        },
        _ => {
            let agents =
                ["/usr/sbin/waagent", "/usr/bin/waagent", "/etc/waagent.conf", "/usr/bin/cloud-init"];
            let there = agents.iter().any(|path| volume.exists(&format!("{root}{path}")).unwrap_or(false));
            if there { Vec::new() } else { fires("neither waagent nor cloud-init") }
        }
    }
}

/// The swap that fstab turns on, other than by a partition that is on this disk or not: fstab(5), the third field.
fn swap_file(fstab: &str) -> Option<String> {
    fstab.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_swap = fields.get(2) == Some(&"swap") && !line.trim_start().starts_with('#');
        fields
            .first()
            .filter(|source| is_swap && source.starts_with('/') && !source.starts_with("/dev/"))
            .map(|s| (*s).to_string())
    })
}
