//! `drill boot`: one boot as a drill of its own, so that it leaves the same evidence.

use super::Ended;
use crate::cli::{BootArgs, Generation};
use crate::cmd::run::one;
use crate::world::Problem;
use drills::run::{Request, Told};
use drills::verdict::ExitCode;
use qemu::Cancel;
use std::collections::BTreeMap;

/// Boot an image once.
pub fn boot(args: &BootArgs, cancel: &Cancel) -> Ended {
    let within = seconds(&args.within)?;
    if args.secure_boot && args.generation == Generation::Gen1 {
        return Err(Problem::new(
            ExitCode::Usage,
            "--secure-boot needs --as gen2: a BIOS has no Secure Boot",
        ));
    }
    if args.tpm && args.generation == Generation::Gen1 {
        return Err(Problem::new(
            ExitCode::Usage,
            "--tpm needs --as gen2: a Generation 1 machine has no TPM on Hyper-V",
        ));
    }
    let format = super::format_named(args.format.as_deref(), "--format")?;
    let told = Told { parents: args.parents.clone(), format };
    let name = args.image.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into());
    let generation = match args.generation {
        Generation::Gen1 => 1,
        Generation::Gen2 => 2,
    };
    let mut secure =
        if generation == 2 { format!(", secure_boot: {}", args.secure_boot) } else { String::new() };
    secure.push_str(if args.tpm { ", tpm: true" } else { "" });
    let wait = match &args.expect {
        Some(text) => format!("wait_text({}, {within}.seconds)", quoted(text)),
        None => format!("wait_ready({within}.seconds)"),
    };
    let text = format!(
        "drill({});\nlet vm = machine(arg(\"image\", \"\")).start(#{{ memory: {}.mib{secure} }});\nvm.{wait};\nvm.stop();\n",
        quoted(&format!("{name}: boot as Generation {generation}")),
        args.memory,
    );
    let mut set = BTreeMap::new();
    set.insert("image".to_owned(), args.image.display().to_string());
    let request = Request {
        path: args.image.clone(),
        title: None,
        source_name: "drill boot".into(),
        text,
        args: set,
        generation: Some(if generation == 1 { qemu::Generation::Gen1 } else { qemu::Generation::Gen2 }),
    };
    one(&request, args.accel, told, &args.out, args.json, cancel)
}

/// `120s`, `3m`, `2h` or a bare number of seconds.
pub fn seconds(text: &str) -> Result<u64, Problem> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.chars().last().unwrap_or('s')),
        None => (text, 's'),
    };
    let factor = match unit {
        'm' => 60,
        'h' => 3600,
        _ => 1,
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| (1..=86_400).contains(n))
        .ok_or_else(|| {
            Problem::new(ExitCode::Usage, format!("--within {text}: wanted 120s, 3m or 2h, at most a day"))
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, want) in [
            ("120s", Some(120)),
            ("3m", Some(180)),
            ("2h", Some(7200)),
            ("45", Some(45)),
            ("0s", None),
            ("-1s", None),
            ("x", None),
            ("99999999999999999999m", None),
        ] {
            assert_eq!(super::seconds(text).ok(), want, "{text}");
        }
    }
}
