//! Which format a file is, by its content.

use super::{Format, OpenError, damaged, refused, vmdk};
use crate::disk::SourceFile;
use crate::units::MIB;

/// Bytes looked at in the beginning: a GPT header at LBA 1 of a 4096-byte-sector disk is the furthest of them.
const HEAD: usize = 4096 + 512;

/// Names of things people hand over by mistake, by their first bytes.
const KNOWN_OTHERS: [(&[u8], &str); 10] = [
    (b"COWD", "an ESX VMDK"),
    (b"<<< ", "a VirtualBox VDI"),
    (b"QED\0", "a QED image"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"\xfd7zXZ\0", "an xz file; unpack it"),
    (b"(\xb5/\xfd", "a zstd file; unpack it"),
    (b"BZh", "a bzip2 file; unpack it"),
    (b"PK\x03\x04", "a zip file; unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip file; unpack it"),
    (b"\x7fELF", "a program"),
];

/// Containers by their first bytes. A dynamic VHD begins with a copy of its footer.
const BY_BEGIN: [(Format, &[u8]); 5] = [
    (Format::Vhdx, b"vhdxfile"),
    (Format::Qcow2, b"QFI\xfb"),
    (Format::Vmdk, vmdk::SPARSE_MAGIC),
    (Format::Vmdk, vmdk::DESCRIPTOR_MAGIC),
    (Format::Vhd, b"conectix"),
];

pub(super) fn detect(source: &SourceFile) -> Result<Format, OpenError> {
    let unknown = |found: String| OpenError::Unknown { path: source.path().to_path_buf(), found };
    let len = source.len();
    if len == 0 {
        return Err(unknown("an empty file".into()));
    }
    let mut head = vec![0; usize::try_from(len).unwrap_or(HEAD).min(HEAD)];
    super::read_file(source, 0, &mut head).map_err(damaged(source, Format::Raw))?;
    let has = |at: usize, what: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(what));
    let has_table = has(510, &[0x55, 0xAA]) || has(512, b"EFI PART") || has(4096, b"EFI PART");
    if let Some((format, _)) = BY_BEGIN.iter().find(|(_, magic)| head.starts_with(magic)) {
        return match raw_too(source, has_table) {
            Some(why) => Err(ambiguous(source, *format, why)),
            None => Ok(*format),
        };
    }
    if let Some(at) = trailing_footer(source)? {
        // A fixed VHD is its disk and a footer, and a disk is whole MiB: a footer *within* the last MiB was written by a guest.
        return if len.is_multiple_of(MIB) && at == len - 512 {
            Err(ambiguous(
                source,
                Format::Vhd,
                "it is a whole number of MiB long, as raw disks are and fixed VHDs are not",
            ))
        } else {
            Ok(Format::Vhd)
        };
    }
    if has_table {
        return promised_container(source).map_or(Ok(Format::Raw), Err);
    }
    if let Some((_, name)) = KNOWN_OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(unknown((*name).into()));
    }
    if head.iter().all(|b| *b == 0) {
        return Err(unknown(format!("{} bytes of zeros at its beginning", head.len())));
    }
    let first: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Err(unknown(format!("a file that begins with {}", first.join(" "))))
}

/// Where the cookie of a VHD's footer lies at the end; the footer of old Virtual PC versions lacks its last byte.
fn trailing_footer(source: &SourceFile) -> Result<Option<u64>, OpenError> {
    for from_end in [512, 511] {
        let Some(at) = source.len().checked_sub(from_end) else { continue };
        let mut cookie = [0; 8];
        super::read_file(source, at, &mut cookie).map_err(damaged(source, Format::Vhd))?;
        if cookie == *b"conectix" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Why a file that begins like a container may be a raw disk all the same: whatever a guest wrote to its first sectors lies there.
fn raw_too(source: &SourceFile, has_table: bool) -> Option<&'static str> {
    let extension = source.path().extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        _ if has_table => {
            Some("it also has the mark of a partition table, which no such container has there")
        }
        Some("raw" | "dd") => Some("its name says that it is a raw disk"),
        _ => None,
    }
}

fn ambiguous(source: &SourceFile, format: Format, why: &str) -> OpenError {
    refused(
        source,
        format!("looks like a {format}, yet {why}; a guest can write anything onto a raw disk"),
        format!("say which it is: --format raw or --format {}", format.to_string().to_ascii_lowercase()),
    )
}

/// A raw disk under the name of a container: most likely the container lost its end.
fn promised_container(source: &SourceFile) -> Option<OpenError> {
    let extension = source.path().extension()?.to_str()?.to_ascii_lowercase();
    let missing = match extension.as_str() {
        "vhd" => "a VHD footer in its last 512 bytes",
        "vhdx" => "`vhdxfile` at its beginning",
        "qcow2" => "`QFI` at its beginning",
        "vmdk" => "`KDMV` or descriptor at its beginning",
        _ => return None,
    };
    Some(refused(
        source,
        format!("named .{extension}, but there is no {missing}; the content looks like a raw disk"),
        "if the file was cut short, copy it again; if it is a raw disk, say so with --format raw",
    ))
}
