//! Secrets and patterns: what a run leaves is searched for them, and a twin shows that the search finds what is not declared.

mod common;

use common::{drill, last_run, outside, text, tiny};
use std::path::{Path, PathBuf};

const SECRET: &str = "Tr0ub4dor-and-3";
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// `printf %s Tr0ub4dor-and-3 | base64`
const IN_BASE64: &str = "VHIwdWI0ZG9yLWFuZC0z";

/// The guest says both, whole and in pieces, on its console and its screen; the drill quotes both in an error.
fn scenario(db: &str, shown: &str, header: &str) -> String {
    format!(
        "drill(\"secrets\"{header});\nlet db = {db};\nlet vm = machine(arg(\"image\", \"x\")).test_failover().start();\n\
         vm.wait_ready(3.minutes);\nvm.send(\"echo sent \" + db + \"\\n\");\nprint(db);\nprint(`it is ${{db}}`);\n\
         print(vm.run(\"echo ran \" + db).output);\n\
         vm.run(\"printf 'in pieces Tr0ub'; sleep 1; printf '4dor-\\\\033[1mand-3\\\\n'\");\n\
         vm.run(\"printf 'session=0f1e2d3c4b5a6978'; sleep 1; echo 8796a5b4c3d2e1f0\");\n\
         vm.run(\"echo \" + db + \" | base64; echo '    db is' \" + db + \" > /dev/tty1\");\n\
         vm.wait_screen(\"db is {shown}\", 60.seconds);\nvm.assert_screen(\"never there\");\n"
    )
}

/// Every file of the run, and what was printed, that holds one of these.
fn holders(run: &Path, printed: &str, needles: &[&str]) -> Vec<String> {
    let mut found: Vec<String> =
        needles.iter().filter(|n| printed.contains(**n)).map(|n| format!("{n} was printed")).collect();
    let mut folders = vec![run.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let holds = |needle: &&&str| bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
            found.extend(needles.iter().filter(holds).map(|n| format!("{n} in {}", path.display())));
        }
    }
    found
}

struct Ran {
    run: PathBuf,
    printed: String,
}

#[track_caller]
fn run(dir: &Path, scenario: &str, secrets: &[(&str, &str)], exit: i32) -> Ran {
    std::fs::write(dir.join("s.rhai"), scenario).unwrap();
    let set = format!("image={}", text(tiny()));
    let mut command = drill(dir, &["run", "s.rhai", "--set", &set, "--junit", "j.xml"]);
    let output = command.envs(secrets.iter().copied()).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{}\n{printed}", dir.display());
    Ran {
        run: last_run(dir),
        printed: printed + &std::fs::read_to_string(dir.join("j.xml")).unwrap_or_default(),
    }
}

#[test]
fn a_secret_is_nowhere_in_what_a_run_leaves_and_a_pattern_takes_out_what_it_matches() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".drill")).unwrap();
    std::fs::write(dir.path().join(".drill/redact"), "# of this project\nsession=[0-9a-f]{32}\n").unwrap();
    let secrets = [("DRILL_SECRET_DB", SECRET)];
    let ran = run(
        dir.path(),
        &scenario("secret(\"DB\")", "***************", ", #{ evidence: \"full\" }"),
        &secrets,
        1,
    );
    assert_eq!(holders(&ran.run, &ran.printed, &[SECRET, IN_BASE64, KEY]), Vec::<String>::new());
    let said = common::consoles(&ran.run);
    for there in ["sent [secret DB]", "ran [secret DB]", "in pieces [secret DB]", "[redacted]"] {
        assert!(said.contains(there), "{there:?} is not in the console:\n{said}");
    }
    assert!(ran.printed.contains("it is [secret DB]"), "{}", ran.printed);
    assert!(ran.printed.contains("db is ***************"), "{}", ran.printed);
    assert!(ran.printed.contains("pictures of its screen were not kept"), "{}", ran.printed);
    outside("test", &["-s", &text(&ran.run.join("report.json"))]);
}

#[test]
fn the_twin_whose_password_nobody_declared_is_found_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &scenario(&format!("\"{SECRET}\""), SECRET, ""), &[], 1);
    let found = holders(&ran.run, &ran.printed, &[SECRET, IN_BASE64, KEY]).join("\n");
    for place in ["was printed", "console.log", "journal.jsonl", "report.json", "junit.xml", "scenario.rhai"]
    {
        assert!(found.contains(&format!("{SECRET} {place}")) || found.contains(place), "{place}:\n{found}");
    }
    assert!(found.contains(IN_BASE64) && found.contains(KEY), "{found}");
}

#[test]
fn what_is_wrong_with_a_secret_or_a_pattern_is_said_before_anything_boots() {
    let dir = tempfile::tempdir().unwrap();
    let asks = "drill(\"d\");\nlet vm = machine(arg(\"image\", \"x\")).start();\nvm.wait_ready(1.minutes);\nvm.send(secret(\"DB\"));\n";
    let said = |secrets: &[(&str, &str)]| {
        std::fs::write(dir.path().join("s.rhai"), asks).unwrap();
        let output = drill(dir.path(), &["run", "s.rhai"]).envs(secrets.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(!dir.path().join(".drill/runs").exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let missing = said(&[]);
    assert!(
        missing.contains("no secret named DB was given") && missing.contains("set DRILL_SECRET_DB"),
        "{missing}"
    );
    assert!(said(&[("DRILL_SECRET_DB", "abc")]).contains("it has 3 characters that can be seen, wanted 4"));
    assert!(said(&[("DRILL_SECRET_DB_FILE", "/nowhere")]).contains("/nowhere: No such file"));
    assert!(
        said(&[("DRILL_SECRET_DB", SECRET), ("DRILL_SECRET_DB_FILE", "/etc/hostname")])
            .contains("are both set")
    );
    std::fs::create_dir(dir.path().join(".drill")).unwrap();
    std::fs::write(dir.path().join(".drill/redact"), "ok\n\nx*\n").unwrap();
    assert!(said(&[("DRILL_SECRET_DB", SECRET)]).contains(".drill/redact:3: \"x*\" is not a pattern"));
}

#[test]
fn a_secret_from_a_file_ends_before_its_newline() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("db"), format!("{SECRET}\n")).unwrap();
    let file = text(&dir.path().join("db"));
    let scenario = "drill(\"d\");\nlet vm = machine(arg(\"image\", \"x\")).test_failover().start();\nvm.wait_ready(3.minutes);\n\
        vm.run(\"test \" + secret(\"DB\") + \" = Tr0ub4dor-and\" + \"-3\");\n";
    let ran = run(dir.path(), scenario, &[("DRILL_SECRET_DB_FILE", &file)], 0);
    assert_eq!(holders(&ran.run, &ran.printed, &[SECRET]), Vec::<String>::new());
}
