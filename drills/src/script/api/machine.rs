//! What a machine can do.

use super::values::{FailbackPlan, Machine, Vm};
use super::{Form, Param, Ty, Verb};
use crate::script::fault::{Ret, done, mistake, place};
use crate::script::options::{FAILOVER, OptionSet, START, Value};
use crate::script::stage::{FailoverOptions, MachineId, Nvram, StartOptions, Table};
use engine::preflight::ProfileId;
use qemu::credential::{MAX_TEXT, file_credential};
use rhai::{ImmutableString, Map, NativeCallContext};
use std::collections::BTreeMap;
use std::path::Path;

type Ctx<'a> = NativeCallContext<'a>;

/// The most processors a scenario may ask for.
const MAX_CPUS: u32 = 64;
/// The most resets of one boot a scenario may expect.
const MAX_RESETS: u32 = 20;
/// The least and the most memory a scenario may ask for, in bytes.
const MEMORY: std::ops::RangeInclusive<u64> = 64 << 20..=1 << 40;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Method(Ty::Machine),
        name: "start",
        params: &[Param::options(&START)],
        returns: Ty::Vm,
        proves: false,
        doc: "Starts the machine as what it is: Generation 2 under UEFI, Generation 1 under BIOS. It returns while the guest boots; waits join. \
              The guest writes to a child of the disk, never to the image that was given.",
        example: "let vm = web.start(#{ secure_boot: true, memory: 2.gib });",
        register: |e, _| {
            e.register_fn("start", |c: Ctx<'_>, m: &mut Machine| start(&c, m, &Map::new()));
            e.register_fn("start", |c: Ctx<'_>, m: &mut Machine, o: Map| start(&c, m, &o));
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "test_failover",
        params: &[Param::options(&FAILOVER)],
        returns: Ty::Machine,
        proves: false,
        doc: "Does to a copy what a recovery service does at failover: Generation 2 becomes Generation 1. Preflight, plan, patch, child; \
              the source is only read.",
        example: "let copy = web.test_failover(#{ profile: \"azure-gen1\" });",
        register: |e, _| {
            e.register_fn("test_failover", |c: Ctx<'_>, m: &mut Machine| failover(&c, m, &Map::new()));
            e.register_fn("test_failover", |c: Ctx<'_>, m: &mut Machine, o: Map| failover(&c, m, &o));
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "failback",
        params: &[],
        returns: Ty::Machine,
        proves: false,
        doc: "Back to Generation 2, keeping what the guest wrote meanwhile. Refused with a reason when what it would put back no longer fits.",
        example: "let home = copy.failback();",
        register: |e, _| {
            e.register_fn("failback", |c: Ctx<'_>, m: &mut Machine| {
                let made = m.stage.failback(m.id, place(&c));
                child(&c, m, made)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "plan_failback",
        params: &[],
        returns: Ty::Plan,
        proves: false,
        doc: "Plans the way back to Generation 2 without going it: what would be put back, what is kept of the guest's writes, and where both meet.",
        example: "copy.plan_failback().show().assert_no_conflicts();",
        register: |e, _| {
            e.register_fn("plan_failback", |c: Ctx<'_>, m: &mut Machine| {
                let plan = done(&c, m.stage.plan_failback(m.id, place(&c)))?;
                Ret::Ok(FailbackPlan { stage: m.stage.clone(), plan: plan.into() })
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "plant",
        params: &[Param::must("fault", Ty::Text)],
        returns: Ty::Machine,
        proves: false,
        doc: "A copy with a known fault in it, for controls: a check that cannot fail proves nothing. `drill selftest --list` names the faults; one that has \
              nothing to break on this disk is refused with the reason.",
        example: "let broken = copy.plant(\"kernel-missing\");",
        register: |e, _| {
            e.register_fn("plant", |c: Ctx<'_>, m: &mut Machine, fault: ImmutableString| {
                let made = m.stage.plant(m.id, &fault, place(&c));
                child(&c, m, made)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "assert_file",
        params: &[Param::must("path", Ty::Text), Param::must("content", Ty::Text)],
        returns: Ty::Machine,
        proves: true,
        doc: "Fails the drill unless the file on the stopped machine's disk has exactly this content.",
        example: "home.assert_file(\"/var/lib/marker\", \"written-in-gen1\\n\");",
        register: |e, _| {
            e.register_fn(
                "assert_file",
                |c: Ctx<'_>, m: &mut Machine, path: ImmutableString, content: ImmutableString| {
                    let seen = m.stage.assert_file(m.id, Path::new(path.as_str()), &content, place(&c));
                    same(&c, m, seen)
                },
            );
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "check_file",
        params: &[Param::must("path", Ty::Text), Param::must("content", Ty::Text)],
        returns: Ty::Bool,
        proves: false,
        doc: "Whether the file on the stopped machine's disk has exactly this content. A missing file is `false`.",
        example: "if home.check_file(\"/etc/motd\", \"\") { print(\"no message of the day\"); }",
        register: |e, _| {
            e.register_fn(
                "check_file",
                |c: Ctx<'_>, m: &mut Machine, path: ImmutableString, content: ImmutableString| {
                    done(&c, m.stage.check_file(m.id, Path::new(path.as_str()), &content, place(&c)))
                },
            );
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "assert_marker",
        params: &[Param::must("text", Ty::Text)],
        returns: Ty::Machine,
        proves: true,
        doc: "Fails the drill unless the guest wrote this marker by itself (`start(#{ marker: … })`), read from the stopped disk: it came so far that its own system wrote its own \
              root. A guest that is known to read no marker is not performed, never failed.",
        example: "copy.assert_marker(\"gen1-of-today\");",
        register: |e, _| {
            e.register_fn("assert_marker", |c: Ctx<'_>, m: &mut Machine, text: ImmutableString| {
                let seen = m.stage.assert_marker(m.id, &text, place(&c));
                same(&c, m, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "assert_same_layout_as",
        params: &[Param::must("other", Ty::Machine)],
        returns: Ty::Machine,
        proves: true,
        doc: "Fails the drill unless both disks have the same partitions: places, sizes, types, ids and names.",
        example: "home.assert_same_layout_as(web);",
        register: |e, _| {
            e.register_fn("assert_same_layout_as", |c: Ctx<'_>, m: &mut Machine, other: Machine| {
                let seen = m.stage.assert_same_layout_as(m.id, other.id, place(&c));
                same(&c, m, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "assert_same_boot_as",
        params: &[Param::must("other", Ty::Machine)],
        returns: Ty::Machine,
        proves: true,
        doc: "Fails the drill if anything that matters to starting differs between the disks of two stopped machines: table, ids, boot code, ESP, \
              kernels, initramfs, loader configuration, fstab, crypttab. `drill diff --boot` shows the same. A guest that updated its kernel or \
              wrote its loader's environment differs.",
        example: "home.assert_same_boot_as(web);",
        register: |e, _| {
            e.register_fn("assert_same_boot_as", |c: Ctx<'_>, m: &mut Machine, other: Machine| {
                let seen = m.stage.assert_same_boot_as(m.id, other.id, place(&c));
                same(&c, m, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "cleanup",
        params: &[],
        returns: Ty::Machine,
        proves: false,
        doc: "Stops and removes everything that was made from this machine. A test failover counts only when its cleanup succeeded too.",
        example: "web.cleanup();",
        register: |e, _| {
            e.register_fn("cleanup", |c: Ctx<'_>, m: &mut Machine| {
                let seen = m.stage.cleanup(m.id, place(&c));
                same(&c, m, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Machine),
        name: "assert_source_untouched",
        params: &[],
        returns: Ty::Machine,
        proves: true,
        doc: "Fails unless the image that was given is what it was: same device, inode, size and times; with `--proof full`, the same content.",
        example: "web.assert_source_untouched();",
        register: |e, _| {
            e.register_fn("assert_source_untouched", |c: Ctx<'_>, m: &mut Machine| {
                let seen = m.stage.assert_source_untouched(m.id, place(&c));
                same(&c, m, seen)
            });
        },
    },
];

fn same(c: &Ctx<'_>, m: &Machine, result: crate::script::stage::Done) -> Ret<Machine> {
    done(c, result)?;
    Ok(m.clone())
}

fn child(c: &Ctx<'_>, m: &Machine, made: crate::script::stage::Done<MachineId>) -> Ret<Machine> {
    Ok(Machine { stage: m.stage.clone(), id: done(c, made)? })
}

fn read(c: &Ctx<'_>, set: &OptionSet, map: &Map) -> Ret<BTreeMap<&'static str, Value>> {
    set.read(map).or_else(|bad| mistake(c, bad.message, bad.help))
}

fn start(c: &Ctx<'_>, m: &Machine, map: &Map) -> Ret<Vm> {
    let mut options = StartOptions::default();
    for (key, value) in read(c, &START, map)? {
        match (key, value) {
            ("nvram", Value::Text(word)) => {
                options.nvram = Some(if word == "kept" { Nvram::Kept } else { Nvram::Empty });
            }
            ("secure_boot", Value::Bool(on)) => options.secure_boot = Some(on),
            ("tpm", Value::Bool(on)) => options.tpm = on,
            ("memory", Value::Bytes(n)) if MEMORY.contains(&n) && n % (1 << 20) == 0 => {
                options.memory_bytes = Some(n)
            }
            ("memory", _) => {
                return mistake(
                    c,
                    "option memory of start is out of range",
                    "it wants whole MiB from 64.mib to 1024.gib",
                );
            }
            ("cpus", Value::Number(n)) => match u32::try_from(n) {
                Ok(n @ 1..=MAX_CPUS) => options.cpus = Some(n),
                _ => {
                    return mistake(
                        c,
                        format!("option cpus of start is {n}"),
                        format!("it wants 1 to {MAX_CPUS}"),
                    );
                }
            },
            ("resets", Value::Number(n)) => match u32::try_from(n) {
                Ok(n @ 0..=MAX_RESETS) => options.resets = Some(n),
                _ => {
                    return mistake(
                        c,
                        format!("option resets of start is {n}"),
                        format!("it wants 0 to {MAX_RESETS}"),
                    );
                }
            },
            ("writes", Value::Bytes(n)) if n >= 1 << 20 && n % (1 << 20) == 0 => {
                options.writes_bytes = Some(n);
            }
            ("writes", _) => {
                return mistake(
                    c,
                    "option writes of start is out of range",
                    "it wants whole MiB, at least 1.mib",
                );
            }
            ("marker", Value::Text(text)) if file_credential("/", &text).is_some() => {
                options.marker = Some(text)
            }
            ("marker", _) => {
                return mistake(
                    c,
                    "option marker of start has a text that the guest would not write as it is",
                    format!("it wants 1 to {MAX_TEXT} letters, digits, blanks between them, and ._:+@=,/-"),
                );
            }
            (key, _) => {
                return mistake(
                    c,
                    format!("start cannot use option {key}"),
                    format!("it knows: {}", START.names()),
                );
            }
        }
    }
    let id = done(c, m.stage.start(m.id, &options, place(c)))?;
    Ok(Vm { stage: m.stage.clone(), id })
}

fn failover(c: &Ctx<'_>, m: &Machine, map: &Map) -> Ret<Machine> {
    let mut options = FailoverOptions::default();
    for (key, value) in read(c, &FAILOVER, map)? {
        let Value::Text(word) = value else { continue };
        match (key, word.as_str()) {
            ("profile", name) if name.parse::<ProfileId>().is_ok() => options.profile = name.parse().ok(),
            ("table", "auto") => options.table = Table::Auto,
            ("table", "gpt") => options.table = Table::Gpt,
            ("table", "mbr") => options.table = Table::Mbr,
            (key, _) => {
                return mistake(
                    c,
                    format!("test_failover cannot use option {key}: \"{word}\""),
                    format!("it knows: {}", FAILOVER.names()),
                );
            }
        }
    }
    let made = m.stage.test_failover(m.id, &options, place(c));
    child(c, m, made)
}
