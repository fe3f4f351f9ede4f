//! Guests that no Generation 1 machine can start are refused by name before a byte is written; each has a twin without that trait, which is taken.
//! The encrypted ones are made by cryptsetup.

mod guest_support;

use engine::convert::{Gen1Options, to_gen1};
use engine::disk::DiskRef;
use engine::guest::{Severity, inspect};
use guest_support::{ESP_AT, Made, ROOT_AT, ROOT_LEN, ROOT_UUID, Spec, gen2, kits, run};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// First byte behind the root: a third partition begins there.
const THIRD_AT: u64 = ROOT_AT + ROOT_LEN;

fn third(kind: &str) -> Vec<String> {
    vec![format!("-n3:{}:0", THIRD_AT / 512), format!("-t3:{kind}")]
}

#[track_caller]
fn refused(disk: &DiskRef, id: &str, says: &str) {
    let inspection = inspect(disk).expect("inspect");
    let refusal =
        to_gen1(disk, &inspection, &kits, &Gen1Options::default()).expect_err("not to be converted");
    let reason = refusal.reasons.iter().find(|r| r.id == id);
    let reason = reason.unwrap_or_else(|| panic!("no {id} in {refusal}"));
    assert!(reason.text.contains(says), "{reason:?}");
    assert!(!reason.fix.is_empty(), "{reason:?}");
}

#[track_caller]
fn taken(disk: &DiskRef) {
    let inspection = inspect(disk).expect("inspect");
    to_gen1(disk, &inspection, &kits, &Gen1Options::default()).unwrap_or_else(|e| panic!("{e}"));
}

fn at(made: &Made, name: &str) -> String {
    made.dir.path().join(name).to_str().expect("path").to_string()
}

/// As coreutils have it.
fn base64url(text: &str) -> String {
    let script = format!("printf '%s' '{text}' | basenc --base64url --wrap=0 | tr -d =");
    run("sh", &["-c", &script])
}

/// A LUKS2 volume of `len` bytes, with this token if one is given, put at `place`.
fn encrypt(made: &Made, place: u64, len: u64, token: Option<&str>) {
    let (volume, key) = (at(made, "luks.img"), at(made, "key"));
    File::create(&volume).and_then(|f| f.set_len(len)).expect("a volume");
    fs::write(&key, "not a secret").expect("a key");
    let small = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "256k"];
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let format = ["-q", "luksFormat", "--type", "luks2", &volume, &key];
    run("cryptsetup", &[&format[..], &small, &quick].concat());
    if let Some(token) = token {
        let json = at(made, "token.json");
        fs::write(&json, token).expect("a token");
        run("cryptsetup", &["token", "import", "--json-file", &json, &volume]);
    }
    let disk = File::options().write(true).open(&made.path).expect("the disk");
    disk.write_all_at(&fs::read(&volume).expect("the volume"), place).expect("written");
}

#[test]
fn a_key_in_a_tpm_is_refused_and_a_passphrase_is_told() {
    let made = gen2(&Spec { sgdisk: third("8309"), ..Spec::default() });
    encrypt(&made, THIRD_AT, 2 << 20, None);
    let disk = made.disk();
    let found = inspect(&disk).expect("inspect");
    let told = found.finding("luks-passphrase").expect("a finding");
    assert_eq!(told.severity, Severity::Warning);
    taken(&disk);
    // As systemd-cryptenroll writes it, and clevis: its pin stands in the protected header of a JWE.
    let systemd = r#"{"type":"systemd-tpm2","keyslots":["0"],"tpm2-blob":"AAAA","tpm2-pcrs":[7],"tpm2-pcr-bank":"sha256",
        "tpm2-primary-alg":"ecc","tpm2-policy-hash":"00"}"#;
    let clevis = |pin: &str| {
        let protected = base64url(&format!(r#"{{"alg":"dir","clevis":{pin},"enc":"A256GCM"}}"#));
        format!(r#"{{"type":"clevis","keyslots":["0"],"jwe":{{"protected":"{protected}","tag":"AA"}}}}"#)
    };
    let tpm2 = r#"{"pin":"tpm2","tpm2":{"hash":"sha256"}}"#;
    let tang = r#"{"pin":"tang","tang":{"url":"http://tpm2"}}"#;
    let inner = base64url(&format!(r#"{{"alg":"dir","clevis":{tpm2}}}"#));
    let shared = format!(r#"{{"pin":"sss","sss":{{"t":1,"jwe":["{inner}..x.y.z"]}}}}"#);
    for token in [systemd, &clevis(tpm2), &clevis(&shared)] {
        let made = gen2(&Spec { sgdisk: third("8309"), ..Spec::default() });
        encrypt(&made, THIRD_AT, 2 << 20, Some(token));
        refused(&made.disk(), "luks-tpm2", "Partition 3 is encrypted, and its key is sealed to a TPM");
    }
    let made = gen2(&Spec { sgdisk: third("8309"), ..Spec::default() });
    encrypt(&made, THIRD_AT, 2 << 20, Some(&clevis(tang)));
    taken(&made.disk());
}

#[test]
fn a_menu_inside_the_encryption_is_refused() {
    let made = gen2(&Spec::default());
    encrypt(&made, ROOT_AT, ROOT_LEN, None);
    refused(&made.disk(), "boot-encrypted", "it seems to lie inside the encryption");
}

#[test]
fn a_root_verified_from_the_firmware_on_is_refused() {
    let hashes = gen2(&Spec { sgdisk: third("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"), ..Spec::default() });
    refused(&hashes.disk(), "verity", "partition 3 holds its hashes");
    for word in ["roothash=00ff", "systemd.verity=1"] {
        let made = gen2(&Spec { options: format!("root=UUID={ROOT_UUID} {word}"), ..Spec::default() });
        refused(&made.disk(), "verity", "the kernel is told");
    }
    // An ordinary data partition in the same place.
    taken(&gen2(&Spec { sgdisk: third("8300"), ..Spec::default() }).disk());
}

#[test]
fn a_guest_for_another_processor_is_refused() {
    for (file, name) in [("BOOTAA64.EFI", "64-bit ARM"), ("BOOTIA32.EFI", "32-bit x86")] {
        let made = gen2(&Spec::default());
        let esp = format!("{}@@{ESP_AT}", made.path.display());
        run("mcopy", &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI", &at(&made, "loader")]);
        run("mcopy", &["-i", &esp, &at(&made, "loader"), &format!("::/EFI/BOOT/{file}")]);
        // A stick for several processors is one for ours.
        taken(&made.disk());
        run("mdel", &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI"]);
        refused(&made.disk(), "foreign-architecture", name);
    }
}
