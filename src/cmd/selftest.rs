//! `drill selftest`.

use super::{Ended, print_json};
use crate::cli::SelftestArgs;
use crate::cmd::boot::seconds;
use crate::cmd::run::{keep_reports, warn_swept};
use crate::world::{Problem, lab};
use drills::fault::{Caught, FAULTS, Fault};
use drills::report::model::Model;
use drills::run::{Request, SelftestPlan, Told, selftest as test};
use drills::script::stage::Image;
use drills::selftest::{Row, Standing, heading};
use drills::verdict::ExitCode;
use qemu::Cancel;
use std::collections::BTreeMap;

/// The disk that is tested with when none is given.
const SAMPLE: &str = "tiny-gen2";
/// Most characters of a line that is quoted.
const QUOTED: usize = 200;

/// Plant every fault, boot it, and see whether it is caught for its own reason; boot the clean disk and see that it is not.
pub fn selftest(args: &SelftestArgs, cancel: &Cancel) -> Ended {
    if args.list {
        return list(args.json);
    }
    let faults = chosen(&args.only)?;
    let within = std::time::Duration::from_secs(seconds(&args.within)?);
    let format = super::format_named(args.format.as_deref(), "--format")?;
    let told = Told { parents: args.parents.clone(), format };
    let lab = lab(args.accel, drills::event::Proof::Quick, told, crate::hidden::hidden()?)?;
    warn_swept(&args.out);
    let image = match &args.image {
        Some(path) => Image::Path(path.clone()),
        None => Image::Fixture(SAMPLE.into()),
    };
    let path = args.image.clone().unwrap_or_else(|| SAMPLE.into());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<&str> = faults.iter().map(|f| f.name).collect();
    let request = Request {
        title: Some(format!("selftest on {name}")),
        source_name: "drill selftest".into(),
        text: format!(
            "// drill selftest on {name}: {} clean boots, then {}\n",
            args.clean_boots,
            names.join(", ")
        ),
        args: BTreeMap::new(),
        generation: None,
        path,
    };
    let plan = SelftestPlan {
        image,
        named: !args.only.is_empty(),
        faults,
        clean: args.clean_boots,
        within,
        memory: Some(u64::from(args.memory) << 20),
    };
    if !args.json {
        tell!("         {}", heading());
    }
    let mut told = |row: &Row, done: usize, total: usize| {
        if !args.json {
            shown(row, done, total);
        }
    };
    let (summary, score) = test(&lab, &request, &plan, &args.out, Vec::new(), &mut told, cancel)
        .map_err(|e| Problem::new(ExitCode::Broken, e).next("choose another folder with --out"))?;
    let model =
        Model::load(&summary.dir.join("journal.jsonl")).map_err(|e| Problem::new(ExitCode::Broken, e))?;
    keep_reports(&summary.dir, &model)?;
    // Nothing caught is no full score, whatever did not go wrong.
    let exit = match summary.exit {
        ExitCode::Passed if !score.is_full() => ExitCode::Incomplete,
        other => other,
    };
    if args.json {
        print_json(&serde_json::json!({
            "selftest": name,
            "full_score": score.is_full(),
            "exit_code": exit.code(),
            "score": score.to_string(),
            "rows": score.rows,
            "run": summary.dir,
        }))?;
        return Ok(exit);
    }
    tell!("\n{score}");
    if !summary.script_error.is_empty() && !cancel.is_cancelled() {
        warn_line!("{}", summary.script_error.trim_end());
    }
    let dir = summary.dir.display();
    tell!("evidence: {dir} (drill replay {dir})");
    Ok(exit)
}

fn shown(row: &Row, done: usize, total: usize) {
    tell!("[{done:>3}/{total:>3}] {row}");
    let words: String = row.words.chars().take(QUOTED).collect();
    match row.standing {
        Standing::Caught | Standing::Quiet => {}
        Standing::DoesNotFit | Standing::NoAnswer => tell!("          {words}"),
        Standing::Elsewhere | Standing::Missed | Standing::FalseAlarm => {
            tell!("          seen: “{words}”; wanted: {}", row.wanted_causes.join(", "));
        }
    }
}

/// The faults of these names, in the order of the catalogue; all of them when there are no names.
fn chosen(names: &[String]) -> Result<Vec<&'static Fault>, Problem> {
    if let Some(unknown) = names.iter().find(|n| Fault::named(n).is_none()) {
        return Err(Problem::new(ExitCode::Usage, format!("--only {unknown}: no fault is called that"))
            .next("drill selftest --list names them"));
    }
    Ok(FAULTS.iter().filter(|f| names.is_empty() || names.iter().any(|n| n == f.name)).collect())
}

fn list(json: bool) -> Ended {
    let generations = |f: &Fault| {
        f.on.iter().map(|g| if *g == qemu::Generation::Gen1 { 1 } else { 2 }).collect::<Vec<u8>>()
    };
    if json {
        let rows: Vec<_> = FAULTS
            .iter()
            .map(|f| serde_json::json!({ "name": f.name, "what": f.what, "area": f.area.word(), "generations": generations(f), "caught": caught(f) }))
            .collect();
        print_json(&rows)?;
        return Ok(ExitCode::Passed);
    }
    let mut area = "";
    for fault in FAULTS {
        if fault.area.word() != area {
            area = fault.area.word();
            tell!("{area}");
        }
        let on: Vec<String> = generations(fault).iter().map(|g| format!("gen{g}")).collect();
        tell!("  {:<23} {:<10} {}; caught {}", fault.name, on.join(" "), fault.what, caught(fault));
    }
    Ok(ExitCode::Passed)
}

fn caught(fault: &Fault) -> String {
    match fault.caught {
        Caught::Boot { rung, causes, secure_boot, .. } => {
            let under = if secure_boot { " under Secure Boot" } else { "" };
            format!("at {}{under} by {}", drills::event::Rung::from(rung), causes.join(" or "))
        }
        Caught::Failover { says } => format!("by the test failover: “{says}”"),
        Caught::Opening { says } => format!("by its opening: “{says}”"),
    }
}
