//! Profiles and "ready for Azure" from the outside: the binary on the samples.

mod common;

use common::{expect, last_run, outside, raw_copy, sample, text, tiny};
use serde_json::Value;
use std::path::Path;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("standard output is one JSON document: {e}\n{text}"))
}

#[test]
fn explain_lists_all_and_tells_each_with_source_date_and_address() {
    let dir = dir();
    let (all, _) = expect(dir.path(), &["explain"], 0);
    let (listed, _) = expect(dir.path(), &["explain", "--json"], 0);
    let profiles = json(&listed)["profiles"].as_array().expect("profiles").clone();
    let names: Vec<&str> = profiles.iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["asr-2015", "asr-hyperv-2020", "asr-vmware-2019", "azure-gen1", "lab"]);
    for profile in &profiles {
        let name = profile["id"].as_str().unwrap();
        let (told, _) = expect(dir.path(), &["explain", name], 0);
        assert!(all.contains(&told), "{name}");
        for rule in profile["rules"].as_array().unwrap() {
            assert!(told.contains(rule["id"].as_str().unwrap()), "{rule}");
        }
        // One rule of each is enough for the command; the engine's tests look at every row.
        let rule = &profile["rules"][0];
        let id = rule["id"].as_str().unwrap();
        let (told, _) = expect(dir.path(), &["explain", id], 0);
        for part in [&rule["text"], &rule["checks"], &rule["severity"], &rule["fix"]] {
            assert!(told.contains(part.as_str().unwrap()), "{part} is not in\n{told}");
        }
        for part in ["what", "date", "address"] {
            assert!(
                told.contains(rule["source"][part].as_str().unwrap()),
                "{part} of {id} is not in\n{told}"
            );
        }
        let (one, _) = expect(dir.path(), &["explain", id, "--json"], 0);
        assert_eq!(&json(&one), rule);
    }
    let (short, _) = expect(dir.path(), &["explain", "kernel-missing"], 0);
    assert!(short.starts_with("lab/kernel-missing\n"), "{short}");
    let (_, err) = expect(dir.path(), &["explain", "asr-2014"], 2);
    assert!(err.contains("no profile and no rule is called \"asr-2014\""), "{err}");
}

#[test]
fn a_services_profile_refuses_linux_as_the_service_did_and_says_whose_word_it_is() {
    let dir = dir();
    let image = text(tiny());
    for (profile, rule) in [
        (
            "asr-2015",
            "asr-2015/linux-gen2: Linux on a Generation 2 machine is not supported. Found: Drill Tiny Linux 1.",
        ),
        (
            "asr-hyperv-2020",
            "asr-hyperv-2020/linux-gen2: Linux on a Generation 2 machine is not supported. Found: Drill Tiny Linux 1.",
        ),
        (
            "asr-vmware-2019",
            "asr-vmware-2019/volumes-ntfs: The volumes of a machine that starts by UEFI should be formatted with NTFS. Found: ext4 on \
             partition 2.",
        ),
    ] {
        let args = ["convert", &image, "g1.vhd", "--to", "gen1", "--profile", profile];
        let (_, err) = expect(dir.path(), &args, 1);
        assert!(
            err.contains(&format!(
                "no plan from Generation 2 to Generation 1, by the profile {profile}:\n  blocker  {rule}\n"
            )),
            "{err}"
        );
        assert!(
            err.contains("is the documented envelope of that service at that date")
                && err.contains("--profile lab"),
            "{err}"
        );
        let (out, _) = expect(dir.path(), &[&args[..], &["--json"]].concat(), 1);
        let details = &json(&out)["error"]["details"];
        assert_eq!(details["preflight"]["profile"], profile, "{out}");
        assert_eq!(details["preflight"]["findings"][0]["severity"], "blocker", "{out}");
        assert_eq!(details["own"]["findings"], Value::Array(Vec::new()), "{out}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was written");
    // The same disk, by what drill can do itself: said or not.
    for profile in [&["--profile", "lab"][..], &[]] {
        let args = [&["convert", &image, "g1.vhd", "--to", "gen1", "--dry-run"], profile].concat();
        let (out, _) = expect(dir.path(), &args, 0);
        assert!(
            out.contains("preflight   lab (")
                && out.contains("azure       ready (by its bytes; not booted there)"),
            "{out}"
        );
    }
    let (_, err) = expect(dir.path(), &["convert", &image, "x.vhd", "--to", "gen2", "--profile", "lab"], 2);
    assert!(err.contains("--profile needs --to gen1"), "{err}");
}

#[test]
fn everything_that_refuses_is_told_at_once_the_profiles_reasons_and_our_own() {
    let dir = dir();
    let raw = raw_copy(tiny(), dir.path(), "many.raw");
    // Five more partitions in the tail, and a primary GPT with a wrong checksum.
    let parts: Vec<String> = (3..8).map(|n| format!("-n{n}:{}:+16", 522_400 + n * 40)).collect();
    let args: Vec<&str> =
        ["-a1"].into_iter().chain(parts.iter().map(String::as_str)).chain([raw.to_str().unwrap()]).collect();
    outside("sgdisk", &args);
    outside(
        "sh",
        &["-c", &format!("printf x | dd of='{}' bs=1 seek=528 conv=notrunc status=none", raw.display())],
    );
    let args = ["convert", &text(&raw), "o.vhdx", "--to", "gen1", "--profile", "asr-hyperv-2020"];
    let (_, err) = expect(dir.path(), &args, 1);
    for rule in ["asr-hyperv-2020/linux-gen2", "asr-hyperv-2020/os-disk-partitions", "lab/gpt-crc-primary"] {
        assert!(err.contains(&format!("  blocker  {rule}: ")), "{rule} is not in\n{err}");
    }
    assert!(!dir.path().join("o.vhdx").exists());
    // What only the planner knows stands beside what the rules know.
    let made = raw_copy(tiny(), dir.path(), "gap.raw");
    outside("sgdisk", &["-a1", "-n3:40:100", made.to_str().unwrap()]);
    let (_, err) =
        expect(dir.path(), &["convert", &text(&made), "o.vhd", "--to", "gen1", "--profile", "azure-gen1"], 1);
    assert!(
        err.contains(
            "  blocker  lab/gap-too-small: Between the partition table and the first partition at LBA 40"
        ),
        "{err}"
    );
}

#[test]
fn azure_takes_fixed_vhds_only() {
    let dir = dir();
    let args = ["convert", &text(tiny()), "g1.vhdx", "--to", "gen1", "--profile", "azure-gen1"];
    let (_, err) = expect(dir.path(), &args, 1);
    assert!(
        err.contains("azure-gen1/fixed-vhd: Azure takes fixed VHDs only, no VHDX. Found: a dynamic VHDX."),
        "{err}"
    );
    assert!(err.contains("next: Give the result a name that ends in .vhd, or --format vhd."), "{err}");
    let args = ["convert", &text(tiny()), "g1.vhd", "--to", "gen1", "--profile", "azure-gen1", "--json"];
    let (out, _) = expect(dir.path(), &args, 0);
    assert_eq!(json(&out)["preflight"]["profile"], "azure-gen1", "{out}");
    assert!(dir.path().join("g1.vhd").exists());
}

/// A copy of the small sample whose initramfs is not what it seems.
fn with_broken_initramfs(dir: &Path) -> String {
    let raw = raw_copy(tiny(), dir, "broken.raw");
    let script = format!(
        "cd '{}'; disk='broken.raw?offset={}'; file=$(debugfs -R 'ls -p /boot' \"$disk\" 2>/dev/null | awk -F/ '$6 ~ /^initrd/ {{ print $6 }}')\n\
         printf BZh9 > junk; debugfs -w -R \"rm /boot/$file\" \"$disk\"; debugfs -w -R \"write junk /boot/$file\" \"$disk\"",
        dir.display(),
        65u64 << 20
    );
    outside("sh", &["-euc", &script]);
    text(&raw)
}

#[test]
fn inspect_says_ready_not_ready_or_unknown_in_a_section_of_its_own() {
    let dir = dir();
    let verdict = |image: &str| {
        let (out, _) = expect(dir.path(), &["inspect", image, "--json"], 0);
        json(&out)["azure_ready"].clone()
    };
    let ready = verdict(&text(tiny()));
    assert_eq!(ready["verdict"], "ready", "{ready}");
    let rules = |found: &Value| {
        found.as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rules(&ready["advice"]), ["azure-gen1/rootdelay", "azure-gen1/agent"]);
    let not = verdict(&text(&sample("tiny-gen2-nodriver")));
    assert_eq!(not["verdict"], "not-ready", "{not}");
    assert_eq!(rules(&not["reasons"]), ["azure-gen1/hv-vmbus", "azure-gen1/hv-storvsc"]);
    let broken = with_broken_initramfs(dir.path());
    let unknown = verdict(&broken);
    assert_eq!(unknown["verdict"], "unknown", "{unknown}");
    let why = unknown["why"][0].as_str().unwrap();
    assert!(why.contains("is read up to 0x0 only: it is packed with bzip2, which is not read"), "{why}");
    let (shown, _) = expect(dir.path(), &["inspect", &broken, "--profile", "asr-2015"], 0);
    let section = |title: &str| {
        shown.lines().position(|l| l.starts_with(title)).unwrap_or_else(|| panic!("{title}: {shown}"))
    };
    assert!(
        section("BIOS ") < section("preflight   asr-2015 (")
            && section("preflight") < section("azure       unknown: "),
        "{shown}"
    );
}

/// A scenario of one test failover, run; its end, and the findings in its journal.
#[track_caller]
fn failover(dir: &Path, image: &str, profile: &str, exit: i32) -> (String, Vec<Value>) {
    let scenario = format!(
        "drill(\"p\");\nlet web = machine(arg(\"image\", \"\"));\nweb.test_failover(#{{ profile: \"{profile}\" }});\nweb.cleanup();\n\
         web.assert_source_untouched();\n"
    );
    std::fs::write(dir.join("p.rhai"), scenario).unwrap();
    let (out, err) = expect(dir, &["run", "p.rhai", "--set", &format!("image={image}")], exit);
    let journal = std::fs::read_to_string(last_run(dir).join("journal.jsonl")).unwrap();
    let events = journal.lines().map(json).filter(|e| e["kind"] == "finding").collect();
    (format!("{out}{err}"), events)
}

#[test]
fn a_test_failover_asks_its_profile_before_anything_and_keeps_the_findings() {
    let dir = dir();
    let (said, findings) = failover(dir.path(), &text(tiny()), "azure-gen1", 0);
    let of = |findings: &[Value], id: &str| {
        findings.iter().find(|f| f["id"] == id).cloned().unwrap_or_else(|| panic!("{id}: {findings:?}"))
    };
    let ready = of(&findings, "azure-ready");
    assert_eq!(
        (ready["severity"].as_str(), ready["path"]["action"].as_u64()),
        (Some("info"), Some(2)),
        "{ready}"
    );
    assert!(ready["text"].as_str().unwrap().contains(": ready (by its bytes; not booted there)"), "{ready}");
    of(&findings, "azure-gen1/rootdelay");
    assert!(said.contains("that Azure takes the copy"), "{said}");
    // Not ready, and not even tried.
    let (said, findings) = failover(dir.path(), &text(&sample("tiny-gen2-nodriver")), "azure-gen1", 1);
    assert_eq!(of(&findings, "azure-ready")["severity"], "error");
    assert!(said.contains("azure-gen1/hv-vmbus: The kernel must have hv_vmbus"), "{said}");
    assert!(said.contains("REFUSED"), "{said}");
    let (said, findings) = failover(dir.path(), &text(tiny()), "asr-2015", 1);
    assert_eq!(of(&findings, "asr-2015/linux-gen2")["severity"], "error");
    assert!(said.contains("documented envelope of that service at that date"), "{said}");
    assert!(findings.iter().all(|f| f["id"] != "azure-ready"), "{findings:?}");
}

/// An initramfs that Debian's own tools made, as it is and packed in other ways, listed here and by `lsinitramfs` (which takes no plain one).
#[test]
fn the_initramfs_of_a_full_debian_is_listed_as_debian_lists_it() {
    if std::env::var_os("DRILL_TEST_FULL").is_none() {
        println!("left to ./x test --full: the initramfs of debian-12-gen2, against lsinitramfs");
        return;
    }
    let dir = dir();
    let image = sample("debian-12-gen2");
    raw_copy(&image, dir.path(), "debian.raw");
    let at = dir.path().display();
    let script = format!(
        "cd '{at}'; disk='debian.raw?offset={}'; file=$(debugfs -R 'ls -p /boot' \"$disk\" 2>/dev/null | awk -F/ '$6 ~ /^initrd/ {{ print $6 }}')\n\
         debugfs -R \"dump /boot/$file real\" \"$disk\"; zstd -qdc real > plain; mkdir early; printf x > early/microcode\n\
         echo early/microcode | cpio --quiet -o -H newc > early.cpio",
        65u64 << 20
    );
    outside("sh", &["-euc", &script]);
    for pack in [
        "cat real",
        "cat early.cpio; gzip -1n < plain",
        "cat early.cpio; xz -1 -T2 --check=crc32 -c < plain",
        "lz4 -q -l -c < plain",
    ] {
        let listed = outside("sh", &["-euc", &format!("cd '{at}'; ({pack}) > packed; lsinitramfs packed")]);
        let mut wanted: Vec<&str> = listed.lines().collect();
        let packed = std::fs::read(dir.path().join("packed")).unwrap();
        let found = engine::guest::initramfs::list(&mut packed.as_slice());
        assert_eq!(found.end, engine::guest::initramfs::End::Whole, "{pack}");
        let mut names: Vec<&str> = found.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        wanted.sort_unstable();
        assert!(names.len() > 1000, "{pack}: {}", names.len());
        assert_eq!(names, wanted, "{pack}");
    }
    let (out, _) = expect(dir.path(), &["inspect", &text(&image), "--json"], 0);
    assert_eq!(json(&out)["azure_ready"]["verdict"], "ready", "{out}");
}
