//! Which format a file is, by its content.

use super::{Format, OpenError, damaged, refused, vmdk};
use crate::disk::SourceFile;

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

pub(super) fn detect(source: &SourceFile) -> Result<Format, OpenError> {
    let unknown = |found: String| OpenError::Unknown { path: source.path().to_path_buf(), found };
    let len = source.len();
    if len == 0 {
        return Err(unknown("an empty file".into()));
    }
    let mut head = vec![0; usize::try_from(len).unwrap_or(HEAD).min(HEAD)];
    super::read_file(source, 0, &mut head).map_err(damaged(source, Format::Raw))?;
    if head.starts_with(b"vhdxfile") {
        return Ok(Format::Vhdx);
    }
    if head.starts_with(b"QFI\xfb") {
        return Ok(Format::Qcow2);
    }
    if head.starts_with(vmdk::SPARSE_MAGIC) || head.starts_with(vmdk::DESCRIPTOR_MAGIC) {
        return Ok(Format::Vmdk);
    }
    if head.starts_with(b"conectix") {
        return Ok(Format::Vhd); // a dynamic VHD begins with a copy of its footer
    }
    if let Some(at) = len.checked_sub(512) {
        let mut cookie = [0; 8];
        super::read_file(source, at, &mut cookie).map_err(damaged(source, Format::Vhd))?;
        if cookie == *b"conectix" {
            return Ok(Format::Vhd);
        }
    }
    let has = |at: usize, what: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(what));
    if has(510, &[0x55, 0xAA]) || has(512, b"EFI PART") || has(4096, b"EFI PART") {
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
