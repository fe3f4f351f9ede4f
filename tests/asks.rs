//! Keys, the guest agent and the marker that a guest writes by itself. Each has a twin that cannot do it. What needs a whole distribution is left to
//! `./x test --full`.

mod common;

use common::{expect, last_run, sample, text, tiny};
use std::path::Path;

#[track_caller]
fn run(dir: &Path, image: &Path, body: &str, exit: i32) -> (String, String) {
    let scenario = format!(
        "drill(\"asks\");\nlet web = machine(arg(\"image\", \"x\"));\nlet copy = web.test_failover();\n{body}"
    );
    std::fs::write(dir.join("a.rhai"), scenario).unwrap();
    expect(dir, &["run", "a.rhai", "--set", &format!("image={}", text(image))], exit)
}

#[test]
fn keys_reach_a_loader_that_listens_on_its_screen() {
    let dir = tempfile::tempdir().unwrap();
    // GRUB without its kernel waits for a key, shows its menu, and has a command line behind `c`.
    let body = |typed: &str| {
        format!(
            "let vm = copy.plant(\"kernel-missing\").start();\nvm.expect_failure_of(\"kernel-missing\", 2.minutes);\n\
             vm.keys(\"enter\").keys(\"esc c\").type_text(\"{typed}\");\nvm.wait_screen(\"ty_ped\", 30.seconds);\n"
        )
    };
    run(dir.path(), tiny(), &body("echo ty'_'ped\\n"), 0);
    if std::env::var_os("DRILL_TEST_FULL").is_some() {
        let (_, err) = run(dir.path(), tiny(), &body("echo nothing\\n"), 1);
        assert!(err.contains("wanted “ty_ped” within 30 s"), "{err}");
    } else {
        println!("left to ./x test --full: the twin that types something else");
    }
    let (_, err) =
        run(dir.path(), tiny(), "copy.start().wait_ready(3.minutes).keys(\"ctrl-alt-dell\");\n", 2);
    assert!(err.contains("there is no key named \"dell\""), "{err}");
}

#[test]
fn a_guest_without_agent_or_systemd_is_not_performed_and_never_failed() {
    let dir = tempfile::tempdir().unwrap();
    let up = "let vm = copy.start(#{ marker: \"m1\" });\nvm.wait_ready(3.minutes);\nif vm.check_agent() { fail(\"there is none\"); }\n";
    let (_, err) = run(dir.path(), tiny(), &format!("{up}vm.os_info();\n"), 4);
    assert!(
        err.contains("the guest agent does not answer") && err.contains("install qemu-guest-agent"),
        "{err}"
    );
    let (_, err) = run(dir.path(), tiny(), &format!("{up}vm.stop();\ncopy.assert_marker(\"m1\");\n"), 4);
    assert!(err.contains("the guest has no systemd"), "{err}");
    let (_, err) = run(dir.path(), tiny(), &format!("{up}vm.wait_agent(2.seconds);\n"), 1);
    assert!(err.contains("does not answer within 2 s"), "{err}");
    let (_, err) = run(dir.path(), tiny(), "copy.start(#{ marker: \"100%\" }).wait_ready(1.minutes);\n", 2);
    assert!(err.contains("option marker of start"), "{err}");
}

#[test]
fn a_minimum_of_evidence_has_no_picture_and_a_full_one_has_what_commands_printed() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = |level: &str| {
        let scenario = format!(
            "drill(\"e\", #{{ evidence: \"{level}\" }});\nlet vm = machine(arg(\"image\", \"x\")).test_failover().start();\n\
             vm.wait_ready(3.minutes);\nvm.run(\"echo kept whole\");\nvm.assert_screen(\"never there\");\n"
        );
        std::fs::write(dir.path().join("e.rhai"), scenario).unwrap();
        expect(dir.path(), &["run", "e.rhai", "--set", &format!("image={}", text(tiny()))], 1);
        let run = last_run(dir.path());
        let boot = std::fs::read_dir(&run).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
        let mut names: Vec<String> =
            std::fs::read_dir(boot).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".png") || name.ends_with(".txt"));
        names.sort();
        names
    };
    assert_eq!(pictures("minimal"), [""; 0]);
    assert!(pictures("normal").contains(&"screen-last.png".to_owned()));
    let full = pictures("full");
    assert!(
        full.iter().any(|n| n.starts_with("screen-action-")) && full.iter().any(|n| n.starts_with("run-")),
        "{full:?}"
    );
}

#[test]
fn the_agent_of_a_whole_debian_answers_and_its_systemd_writes_the_marker() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: the guest agent and the marker of debian-12-gen2");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = sample("debian-12-gen2");
    let body = |marker: &str, more: &str| {
        format!(
            "let vm = copy.start(#{{ {marker} }});\nvm.wait_ready(10.minutes).wait_agent(5.minutes);\n{more}vm.stop();\ncopy.assert_marker(\"gen1 7+1\");\n"
        )
    };
    let asks = "if vm.os_info().id != \"debian\" { fail(\"another system\"); }\nprint(`host ${vm.read_file(\"/etc/hostname\")}`);\n\
         print(vm.run(\"echo out; echo err >&2\").output);\nif vm.check_run(\"exit 3\") { fail(\"3 is not 0\"); }\n\
         vm.freeze().thaw();\nvm.run(\"touch /thawed && sync\");\nvm.freeze();\n";
    let (out, _) = run(dir.path(), &image, &body("marker: \"gen1 7+1\"", asks), 0);
    assert!(
        out.contains("out\n") && out.contains("err\n") && out.contains("clean: the guest shut down"),
        "{out}"
    );
    assert!(out.contains("its own system wrote “gen1 7+1”"), "{out}");
    // The twin that was not asked to write one.
    let (_, err) = run(dir.path(), &image, &body("", ""), 1);
    assert!(err.contains("/var/lib/drill-marker") && err.contains("no such file"), "{err}");
    let (_, err) = run(
        dir.path(),
        &image,
        "let vm = copy.start();\nvm.wait_ready(10.minutes).wait_agent(5.minutes);\nvm.read_file(\"/nowhere\");\n",
        1,
    );
    assert!(err.contains("/nowhere"), "{err}");
}
