//! A Generation 1 machine that never was Generation 2, made one by `drill convert --to gen2`: what is said, what other programs find on the result, and
//! (in the full tier) that firmware starts it; and twins that must be caught.

mod common;

use common::{consoles, expect, last_run, outside, raw_copy, sample, text};
use std::path::{Path, PathBuf};

/// How long a boot may take here, under TCG on a busy machine.
const WITHIN: &str = "6m";
/// Where the sample's root begins, and the two GRUBs for UEFI on it.
const ROOT_AT: u64 = 1 << 20;
const GRUB: &str = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const PLAIN_GRUB: &str = "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi";
const SHIM: &str = "/usr/lib/shim/shimx64.efi.signed";
const READY: &str = "root=/dev/sda1 marker=tiny-7f3a entry=gen1";

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A command of debugfs on a root file system inside a raw disk.
#[track_caller]
fn debugfs(raw: &Path, root_at: u64, command: &str) -> String {
    let said = outside("debugfs", &["-w", "-R", command, &format!("{}?offset={root_at}", text(raw))]);
    assert!(!said.contains("File not found") && !said.contains("No such file"), "{command}: {said}");
    said
}

/// The sample with files removed from its root.
#[track_caller]
fn without(dir: &Path, files: &[&str]) -> PathBuf {
    let raw = raw_copy(&sample("tiny-gen1"), dir, "twin.raw");
    for file in files {
        debugfs(&raw, ROOT_AT, &format!("rm {file}"));
    }
    raw
}

#[track_caller]
fn to_gen2(dir: &Path, image: &Path) -> PathBuf {
    let gen2 = dir.join("gen2.raw");
    expect(dir, &["convert", &text(image), &text(&gen2), "--to", "gen2"], 0);
    gen2
}

/// First sector of the ESP, by sgdisk.
#[track_caller]
fn esp_at(disk: &Path, number: u32) -> u64 {
    let said = outside("sgdisk", &["-i", &number.to_string(), &text(disk)]);
    assert!(said.contains("(EFI system partition)"), "{said}");
    let line = said.lines().find_map(|l| l.strip_prefix("First sector: "));
    line.and_then(|l| l.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no first sector in\n{said}"))
}

/// The guest comes up under this firmware, and says so.
#[track_caller]
fn boots(dir: &Path, disk: &Path, args: &[&str], firmware: &str, ready: &str) {
    let image = text(disk);
    let base = ["boot", &image, "--expect", "DRILL-READY", "--within", WITHIN, "--as"];
    let (out, err) = expect(dir, &[&base[..], args].concat(), 0);
    let said = consoles(&last_run(dir));
    let found: Vec<&str> = said.lines().map(str::trim).filter(|l| l.starts_with("DRILL-READY ")).collect();
    assert_eq!(
        found,
        [format!("DRILL-READY firmware={firmware} {ready}")],
        "{args:?}\n{out}\n{err}\n--- console\n{said}"
    );
}

fn is_full(what: &str) -> bool {
    let is_full = std::env::var_os("DRILL_TEST_FULL").is_some();
    if !is_full {
        println!("left to ./x test --full: {what}");
    }
    is_full
}

#[test]
fn a_dry_run_tells_the_whole_plan_and_writes_nothing() {
    let dir = dir();
    let image = text(&sample("tiny-gen1"));
    let (out, _) = expect(dir.path(), &["convert", &image, "gen2.vhdx", "--to", "gen2", "--dry-run"], 0);
    for wanted in [
        "Plan: Generation 1 to Generation 2",
        "strategy  anew: a GPT, an EFI system partition, and the guest's own loader on it",
        "length    227540992 -> 295698432 bytes",
        "+ LBA 444416..=444417           1 KiB  the ESP, an empty FAT32: boot sector and FSInfo",
        "shim: the guest's own /usr/lib/shim/shimx64.efi.signed",
        "GRUB, which shim starts: the guest's own /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        "a GPT in place of the MBR: 3 partitions with their bytes and numbers, and an EFI system partition",
        "LBA 0 is written last",
        "it starts with empty NVRAM: the firmware finds EFI/BOOT/BOOTX64.EFI on partition 7",
        "UEFI starts EFI/BOOT/BOOTX64.EFI (shim), then /boot/grub/grub.cfg and /boot/vmlinuz-",
        "partitions keep their numbers",
    ] {
        assert!(out.contains(wanted), "wanted {wanted:?} in\n{out}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), 0);
}

#[test]
fn as_data_the_plan_names_long_files_by_length_and_hash() {
    let dir = dir();
    let image = sample("tiny-gen1");
    let (out, _) = expect(
        dir.path(),
        &["convert", &text(&image), "gen2.vhdx", "--to", "gen2", "--dry-run", "--json"],
        0,
    );
    assert!(out.len() < 256 << 10, "{} bytes", out.len());
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let ops = told["plan"]["patch"]["ops"].as_array().expect("operations");
    let puts = |op: &&serde_json::Value| op["path"].as_str() == Some("/EFI/BOOT/BOOTX64.EFI");
    let shim = &ops.iter().find(puts).expect("the loader's operation")["new"];
    let raw = raw_copy(&image, dir.path(), "source.raw");
    debugfs(&raw, ROOT_AT, &format!("dump {SHIM} {}", text(&dir.path().join("shim"))));
    let bytes =
        engine::convert::Bytes::from(std::fs::read(dir.path().join("shim")).expect("the guest's shim"));
    assert_eq!(*shim, serde_json::json!({"bytes": bytes.len(), "blake3": bytes.hash()}));
    // What is short stands there whole: LBA 0 is among it.
    assert!(ops.iter().any(|op| op["old"].is_string() && op["new"].is_string()), "{out}");
}

#[test]
fn other_programs_find_a_sound_disk_with_the_guests_own_loaders() {
    let dir = dir();
    let source = raw_copy(&sample("tiny-gen1"), dir.path(), "source.raw");
    let gen2 = to_gen2(dir.path(), &source);
    let said = outside("sgdisk", &["-v", &text(&gen2)]);
    assert!(said.contains("No problems found"), "{said}");
    let esp = format!("{}@@{}", text(&gen2), esp_at(&gen2, 7) * 512);
    let esp_image = dir.path().join("esp.img");
    let of = [
        format!("if={}", text(&gen2)),
        format!("of={}", text(&esp_image)),
        format!("skip={}", esp_at(&gen2, 7)),
    ];
    outside("dd", &[&of[0], &of[1], &of[2], "count=131072", "status=none"]);
    let said = outside("fsck.fat", &["-n", "-v", &text(&esp_image)]);
    assert!(said.contains("32 bit entries") && said.contains(": 11 files"), "{said}");
    for (on_esp, in_guest) in [("BOOTX64.EFI", SHIM), ("grubx64.efi", GRUB)] {
        let (a, b) = (dir.path().join("on-esp"), dir.path().join("in-guest"));
        outside("mcopy", &["-n", "-o", "-i", &esp, &format!("::EFI/BOOT/{on_esp}"), &text(&a)]);
        debugfs(&source, ROOT_AT, &format!("dump {in_guest} {}", text(&b)));
        outside("cmp", &[&text(&a), &text(&b)]);
    }
    // All behind the new table is where it was.
    let bytes = (217 << 20) - 34 * 512;
    outside("cmp", &["--ignore-initial=17408", &format!("--bytes={bytes}"), &text(&source), &text(&gen2)]);
}

#[test]
fn a_guest_without_loaders_for_uefi_is_refused_by_what_it_lacks() {
    let dir = dir();
    let twin = without(dir.path(), &[GRUB, PLAIN_GRUB]);
    let (_, err) = expect(dir.path(), &["convert", &text(&twin), "gen2.raw", "--to", "gen2"], 1);
    for wanted in [
        "no-efi-grub: The guest has no GRUB for UEFI that could be put on an EFI system partition. On its own file systems it was looked for at \
         /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed, /usr/lib/grub/x86_64-efi/monolithic/grubx64.efi, /usr/share/efi/x86_64/grub.efi, \
         and in the folders of /boot/efi/EFI. There is a shim (/usr/lib/shim/shimx64.efi.signed), which needs GRUB behind it.",
        "While the guest runs, install its loader for UEFI: `apt-get install shim-signed grub-efi-amd64-signed` (it stands beside grub-pc and does not \
         replace it). Then take a new copy of the disk.",
    ] {
        assert!(err.contains(wanted), "wanted {wanted:?} in\n{err}");
    }
    assert!(!dir.path().join("gen2.raw").exists());
}

#[test]
fn it_starts_as_generation_1_and_made_anew_as_generation_2_with_secure_boot_and_its_twin_does_not() {
    if !is_full("a boot of tiny-gen1, of what it becomes as Generation 2, and of a twin") {
        return;
    }
    let dir = dir();
    let source = sample("tiny-gen1");
    boots(dir.path(), &source, &["gen1"], "bios", READY);
    let gen2 = to_gen2(dir.path(), &source);
    boots(dir.path(), &gen2, &["gen2"], "uefi", READY);
    boots(dir.path(), &gen2, &["gen2", "--secure-boot"], "uefi", READY);
    // What leads GRUB to the guest is empty now.
    let empty = dir.path().join("empty.cfg");
    std::fs::write(&empty, "").expect("written");
    let esp = format!("{}@@{}", text(&gen2), esp_at(&gen2, 7) * 512);
    for folder in ["BOOT", "debian"] {
        outside("mcopy", &["-o", "-i", &esp, &text(&empty), &format!("::EFI/{folder}/grub.cfg")]);
    }
    let image = text(&gen2);
    let (out, err) =
        expect(dir.path(), &["boot", &image, "--as", "gen2", "--expect", "DRILL-READY", "--within", "2m"], 1);
    let said = consoles(&last_run(dir.path()));
    assert!(!said.contains("DRILL-READY") && said.contains("grub>"), "{out}\n{err}\n--- console\n{said}");
}

#[test]
fn an_unsigned_loader_starts_where_secure_boot_is_off() {
    if !is_full("a boot of tiny-gen1 made Generation 2 with Debian's unsigned GRUB and no shim") {
        return;
    }
    let dir = dir();
    let gen2 = to_gen2(dir.path(), &without(dir.path(), &[GRUB, SHIM]));
    boots(dir.path(), &gen2, &["gen2"], "uefi", READY);
}

#[test]
fn a_gpt_with_a_bios_boot_partition_starts_both_ways_afterwards() {
    if !is_full("boots of tiny-gen2-hybrid without its ESP, made Generation 2 anew") {
        return;
    }
    let dir = dir();
    let raw = raw_copy(&sample("tiny-gen2-hybrid"), dir.path(), "bios-only.raw");
    let said = outside("sgdisk", &["-i", "1", &text(&raw)]);
    let first =
        said.lines().find_map(|l| l.strip_prefix("First sector: ")?.split(' ').next()?.parse::<u64>().ok());
    let root_at = first.unwrap_or_else(|| panic!("{said}")) * 512;
    outside("sgdisk", &["--delete=15", &text(&raw)]);
    for folder in ["/usr", "/usr/lib", "/usr/lib/shim", "/usr/lib/grub", "/usr/lib/grub/x86_64-efi-signed"] {
        debugfs(&raw, root_at, &format!("mkdir {folder}"));
    }
    for file in [SHIM, GRUB] {
        debugfs(&raw, root_at, &format!("write {file} {file}"));
    }
    let gen2 = to_gen2(dir.path(), &raw);
    let ready = "root=/dev/sda1 marker=tiny-7f3a entry=debian";
    boots(dir.path(), &gen2, &["gen2"], "uefi", ready);
    boots(dir.path(), &gen2, &["gen1"], "bios", ready);
}
