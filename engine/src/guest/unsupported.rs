//! Guests that no Generation 1 machine can start, and why: keys in a TPM, a chain of trust that begins in the firmware, another processor.

use super::findings::Findings;
use super::inspect::{Mounted, on};
use super::{BootMenu, FsPlace, Inspection};
use crate::disk::{DiskRef, Slice, read_vec};
use crate::table::guid::Guid;
use crate::units::ByteOffset;
use crate::volume::FsKind;
use crate::volume::lvm::LvKind;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use std::sync::Arc;

/// How much of a LUKS2 header is searched for tokens: its JSON area is at most 4 MiB, and 16 KiB unless somebody asked for more.
const LUKS_HEADER_MAX: u64 = 4 << 20;
/// Bytes of the binary header before the JSON area. LUKS2 On-Disk Format 1.1.1 §2.1.
const LUKS_BINARY: u64 = 4096;
/// Types of tokens that stand for a key in a TPM: systemd-cryptenroll's and tpm2-luks's. Clevis has one type for all its pins.
const TPM_TOKENS: [&str; 2] = ["systemd-tpm2", "tpm2-import"];
/// How deep clevis may nest its pins: `sss` holds others.
const PINS_MAX: usize = 4;
/// Words on a kernel's command line that make its root a verified one.
const VERITY_WORDS: [&str; 4] = ["roothash=", "usrhash=", "systemd.verity", "verity"];
/// Types of partitions with hashes: x86-64 root and `/usr` verity. Discoverable Partitions Specification (UAPI.2).
const VERITY_TYPES: [Guid; 2] = [
    Guid::from_digits(0x2C7357ED_EBD2_46D9_AEC1_23D437EC2BF5),
    Guid::from_digits(0x77FF5F63_E7B6_4633_ACF4_1565B864C0E6),
];
/// Fallback programs of other processors. UEFI 2.10 §3.5.1.1.
const OTHERS: [(&str, &str); 5] = [
    ("bootaa64.efi", "64-bit ARM"),
    ("bootarm.efi", "32-bit ARM"),
    ("bootia32.efi", "32-bit x86"),
    ("bootriscv64.efi", "64-bit RISC-V"),
    ("bootloongarch64.efi", "64-bit LoongArch"),
];

/// Say all of it. The boot menu of `i` must have been read.
pub(super) fn check(disk: &DiskRef, i: &Inspection, mounted: &[Mounted], findings: &mut Findings) {
    encryption(disk, i, findings);
    verity(i, findings);
    architecture(i, mounted, findings);
    thin(i, findings);
}

fn encryption(disk: &DiskRef, i: &Inspection, findings: &mut Findings) {
    for p in i.partitions.iter().filter(|p| p.fs.as_ref().is_some_and(|f| f.kind == FsKind::Luks)) {
        let header =
            Slice::new(disk.clone(), p.at, p.len).ok().and_then(|s| luks2_json(&(Arc::new(s) as DiskRef)));
        let header = header.unwrap_or_default();
        if seals_to_tpm(&header) {
            findings.blocker(
                "luks-tpm2",
                format!("Partition {} is encrypted, and its key is sealed to a TPM: a Generation 1 machine has none.", p.number),
                "Recover this machine as Generation 2, or enrol a passphrase and remove the TPM token inside the guest first.",
            );
        } else {
            findings.warning(
                "luks-passphrase",
                format!("Partition {} is encrypted: a start waits for its passphrase, and nothing in it is looked into.", p.number),
                "Type it at the console of a machine that is held open, or drill a guest without encryption.",
            );
        }
    }
    if findings.text_of("grub-root-hidden").is_some() && i.partitions.iter().any(is_luks) && i.os.is_none() {
        findings.blocker(
            "boot-encrypted",
            "What GRUB searches for is not on a file system that can be read here: it seems to lie inside the encryption.",
            "Move /boot to a partition of its own inside the guest.",
        );
    }
}

fn is_luks(p: &super::Partition) -> bool {
    p.fs.as_ref().is_some_and(|f| f.kind == FsKind::Luks)
}

/// The JSON area of the first header. LUKS2 On-Disk Format 1.1.1 §2.1: version at 6, header size at 8, both big-endian.
fn luks2_json(partition: &DiskRef) -> Option<String> {
    let head = read_vec(partition.as_ref(), ByteOffset(0), 16).ok()?;
    let version = u16::from_be_bytes(*head.get(6..)?.first_chunk()?);
    let len = u64::from_be_bytes(*head.get(8..)?.first_chunk()?).min(LUKS_HEADER_MAX);
    let len = len.checked_sub(LUKS_BINARY).filter(|len| version == 2 && *len > 0)?;
    let json = read_vec(partition.as_ref(), ByteOffset(LUKS_BINARY), len as usize).ok()?;
    let end = json.iter().position(|b| *b == 0).unwrap_or(json.len());
    Some(String::from_utf8_lossy(json.get(..end)?).into_owned())
}

/// Whether a token of a LUKS2 header holds a key that a TPM must open. LUKS2 On-Disk Format 1.1.1 §3.4.
fn seals_to_tpm(json: &str) -> bool {
    let Ok(header) = serde_json::from_str::<serde_json::Value>(json) else {
        // Not sound, but what it says may still be true.
        return TPM_TOKENS.iter().any(|kind| json.contains(kind));
    };
    let tokens = header.get("tokens").and_then(|t| t.as_object()).into_iter().flat_map(|t| t.values());
    tokens.into_iter().any(|token| match token.get("type").and_then(|t| t.as_str()) {
        Some("clevis") => {
            let jwe = token.get("jwe").and_then(|j| j.get("protected"));
            jwe.and_then(|p| p.as_str()).is_some_and(|p| pins_a_tpm(p, PINS_MAX))
        }
        Some(kind) => TPM_TOKENS.contains(&kind),
        None => false,
    })
}

/// Whether clevis' pin is `tpm2`, or one of those in an `sss`. The protected header of a JWE is base64url. RFC 7516 §7.1, clevis(1).
fn pins_a_tpm(protected: &str, depth: usize) -> bool {
    let header = URL_SAFE_NO_PAD.decode(protected.trim_end_matches('=')).ok();
    let header = header.and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    let Some(clevis) = header.as_ref().and_then(|h| h.get("clevis")) else { return false };
    let inner = clevis.get("sss").and_then(|s| s.get("jwe")).and_then(|j| j.as_array());
    clevis.get("pin").and_then(|p| p.as_str()) == Some("tpm2")
        || depth > 0
            && inner.into_iter().flatten().filter_map(|jwe| jwe.as_str()).any(|jwe| {
                let protected = jwe.split('.').next().unwrap_or_default();
                pins_a_tpm(protected, depth.saturating_sub(1))
            })
}

fn verity(i: &Inspection, findings: &mut Findings) {
    let entry = i.boot.as_ref().and_then(BootMenu::default_entry);
    let word = entry.and_then(|e| {
        e.options
            .split_whitespace()
            .find(|w| VERITY_WORDS.iter().any(|v| w.starts_with(v)))
            .map(str::to_string)
    });
    let partition =
        i.partitions.iter().find(|p| p.type_id.parse::<Guid>().is_ok_and(|id| VERITY_TYPES.contains(&id)));
    let found = match (word, partition) {
        (Some(word), _) => format!("the kernel is told {}", word.split('=').next().unwrap_or(&word)),
        (None, Some(p)) => format!("partition {} holds its hashes", p.number),
        (None, None) => return,
    };
    findings.blocker(
        "verity",
        format!("The root is verified by dm-verity ({found}): its chain of trust begins in the UEFI firmware, and a BIOS would start another one."),
        "Recover this machine as Generation 2.",
    );
}

fn architecture(i: &Inspection, mounted: &[Mounted], findings: &mut Findings) {
    if i.loaders.iter().any(|l| l.is_fallback) {
        return;
    }
    let Some(esp) = i.esp().and_then(|p| on(mounted, &FsPlace::partition(p.number))) else { return };
    let other = OTHERS.iter().find(|(file, _)| esp.exists(&format!("/EFI/BOOT/{file}")).unwrap_or(false));
    if let Some((file, name)) = other {
        findings.blocker(
            "foreign-architecture",
            format!("The guest is for {name} (EFI/BOOT/{file}); a Generation 1 machine is a PC."),
            "Recover this machine on its own architecture.",
        );
    }
}

/// GRUB reads linear and striped volumes, not thin ones; a thin root is the kernel's affair, and it can.
fn thin(i: &Inspection, findings: &mut Findings) {
    let is_thin = |kind: &LvKind| matches!(kind, LvKind::Thin | LvKind::ThinPool);
    let thin = i.logical_volumes.iter().find(|lv| is_thin(&lv.kind));
    if let (Some(lv), Some(text)) = (thin, findings.text_of("grub-root-hidden"))
        && !i.partitions.iter().any(is_luks)
    {
        findings.blocker(
            "lvm-thin",
            format!("{text} The disk has thin volumes ({}), and GRUB cannot read those.", lv.full_name()),
            "Move /boot to a partition or a plain logical volume inside the guest.",
        );
    }
}
