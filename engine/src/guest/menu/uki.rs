//! Unified kernel images: a PE program whose sections are a kernel, its initramfs and its command line. UAPI.5, "PE sections".
//!
//! A kernel is started where it lies: GRUB reads a section through a loop device over the file, so nothing is copied to the ESP and nothing
//! grows stale when the file moves.

use super::{BootEntry, BootFile, Part};
use crate::guest::FsPlace;
use crate::guest::os;
use crate::volume::{Volume, VolumeError};

/// How much of a program is read to find its section table.
const HEAD_LEN: u64 = 16 << 10;
/// Most sections that are looked at; a PE can name 65535.
const SECTIONS_MAX: usize = 256;
/// Longest command line, os-release or profile section that is read.
const TEXT_MAX: u64 = 64 << 10;
/// What GRUB's block lists count in.
const SECTOR: u64 = 512;

/// One section.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Section {
    name: String,
    part: Part,
}

/// What one profile of an image says.
#[derive(Clone, Default)]
struct Profile {
    kernel: Option<Part>,
    ucode: Option<Part>,
    initrd: Option<Part>,
    options: Option<Part>,
    os_release: Option<Part>,
    kernel_version: Option<Part>,
    profile: Option<Part>,
}

/// An entry out of an image, and what sorts it.
pub(super) struct FromImage {
    pub entry: BootEntry,
    pub profile: u32,
    pub sort_key: Option<String>,
    pub version: Option<String>,
}

/// The entries of the image at `path`: one a profile. `Ok(None)` when it is a program without a kernel.
///
/// # Errors
/// In words, when it is damaged or cannot be started in place.
pub(super) fn entries(
    volume: &dyn Volume,
    place: &FsPlace,
    path: &str,
) -> Result<Option<Vec<FromImage>>, String> {
    let read = |at, len| volume.read_part(path, at, len).map_err(|e: VolumeError| e.to_string());
    let (head, file_len) = read(0, HEAD_LEN)?;
    let Some(sections) = sections(&head, file_len)? else { return Ok(None) };
    let profiles = profiles(&sections);
    if profiles.iter().all(|p| p.kernel.is_none()) {
        return Ok(None);
    }
    let text = |part: Option<Part>| -> Result<Option<String>, String> {
        let Some(part) = part else { return Ok(None) };
        let bytes = read(part.at, part.len.min(TEXT_MAX))?.0;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        Ok(Some(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim().to_string()))
    };
    let file = path.rsplit('/').next().unwrap_or(path);
    let mut found = Vec::new();
    for (number, profile) in (0u32..).zip(profiles) {
        let Some(kernel) = profile.kernel else { continue };
        let archives: Vec<Part> = profile.ucode.into_iter().chain(profile.initrd).collect();
        for part in archives.iter().chain([&kernel]) {
            if !part.at.is_multiple_of(SECTOR) {
                return Err(format!("a section lies at {:#x}, wanted a multiple of {SECTOR}", part.at));
            }
        }
        for part in &archives {
            padding_is_empty(*part, &read)?;
        }
        let release = text(profile.os_release)?.unwrap_or_default();
        let value = |key: &str| os::value(&release, key);
        let mut title = value("PRETTY_NAME").or_else(|| value("NAME")).unwrap_or_else(|| file.to_string());
        if let Some(version) = text(profile.kernel_version)? {
            title = format!("{title} ({version})");
        }
        let own = text(profile.profile)?.unwrap_or_default();
        if let Some(name) = os::value(&own, "TITLE") {
            title = format!("{title} - {name}");
        }
        let suffix = if number == 0 { String::new() } else { format!("@{number}") };
        found.push(FromImage {
            profile: number,
            sort_key: value("IMAGE_ID").or_else(|| value("ID")),
            version: ["IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"].iter().find_map(|k| value(k)),
            entry: BootEntry {
                id: format!("{}{suffix}", file.to_ascii_lowercase()),
                title,
                origin: path.to_string(),
                place: place.clone(),
                kernel: Some(BootFile { path: path.to_string(), part: Some(kernel) }),
                initrd: archives.iter().map(|p| BootFile { path: path.into(), part: Some(*p) }).collect(),
                options: text(profile.options)?.unwrap_or_default().replace('\n', " "),
            },
        });
    }
    Ok(Some(found))
}

/// The kernel gets whole sectors, so what lies behind an initramfs in its last one must be zeros: between archives it skips those.
fn padding_is_empty(
    part: Part,
    read: &dyn Fn(u64, u64) -> Result<(Vec<u8>, u64), String>,
) -> Result<(), String> {
    let rest = part.len.next_multiple_of(SECTOR).saturating_sub(part.len);
    let (bytes, _) = read(part.at.saturating_add(part.len), rest)?;
    match bytes.iter().all(|b| *b == 0) {
        true => Ok(()),
        false => Err("the initramfs section is followed by other data in its last 512 bytes".to_string()),
    }
}

/// Sections before any `.profile` are inherited by all; those behind one belong to it and take the place of what it inherits. UAPI.5, "Multi-Profile UKIs".
fn profiles(sections: &[Section]) -> Vec<Profile> {
    let mut base = Profile::default();
    let mut all: Vec<Profile> = Vec::new();
    for section in sections {
        if section.name == ".profile" {
            all.push(Profile { profile: Some(section.part), ..base.clone() });
            continue;
        }
        let profile = all.last_mut().unwrap_or(&mut base);
        let part = Some(section.part);
        match section.name.as_str() {
            ".linux" => profile.kernel = part,
            ".initrd" => profile.initrd = part,
            ".ucode" => profile.ucode = part,
            ".cmdline" => profile.options = part,
            ".osrel" => profile.os_release = part,
            ".uname" => profile.kernel_version = part,
            _ => {}
        }
    }
    if all.is_empty() { vec![base] } else { all }
}

/// The sections of a PE image; `None` when it is none. PE/COFF specification, "Section Table (Section Headers)".
fn sections(head: &[u8], file_len: u64) -> Result<Option<Vec<Section>>, String> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let table = || {
        let pe = u32_at(0x3c)? as usize;
        if !head.starts_with(b"MZ") || head.get(pe..)?.get(..4)? != b"PE\0\0" {
            return None;
        }
        let count = usize::from(u16_at(pe.checked_add(6)?)?);
        let first = pe.checked_add(24)?.checked_add(usize::from(u16_at(pe.checked_add(20)?)?))?;
        Some((first, count))
    };
    let Some((first, count)) = table() else { return Ok(None) };
    let mut found = Vec::new();
    for i in 0..count.min(SECTIONS_MAX) {
        let row = first.saturating_add(i.saturating_mul(40));
        let fields = || {
            let name = head.get(row..)?.first_chunk::<8>()?;
            Some((*name, u32_at(row + 8)?, u32_at(row + 16)?, u32_at(row + 20)?))
        };
        let (name, virtual_len, raw_len, at) =
            fields().ok_or("its section table reaches beyond the first 16 KiB")?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_string();
        // The virtual size is the true length; the raw one is padded. objcopy leaves no padding and may leave no virtual size.
        let len = if virtual_len == 0 { raw_len } else { virtual_len.min(raw_len) };
        let part = Part { at: u64::from(at), len: u64::from(len) };
        if part.at.saturating_add(part.len) > file_len {
            return Err(format!(
                "section {name} ends at {:#x}, the file at {file_len:#x}: the image is truncated",
                part.at.saturating_add(part.len)
            ));
        }
        found.push(Section { name, part });
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::{Part, profiles, sections};

    /// A PE with these sections, of `len` bytes each, one behind the other from 0x1000 on.
    fn pe(names: &[&str]) -> Vec<u8> {
        let mut head = vec![0; 0x400];
        head[..2].copy_from_slice(b"MZ");
        head[0x3c] = 0x80;
        head[0x80..0x84].copy_from_slice(b"PE\0\0");
        head[0x86] = u8::try_from(names.len()).expect("few");
        // The optional header has 16 bytes here.
        head[0x94] = 16;
        for (n, name) in names.iter().enumerate() {
            let row = &mut head[0x80 + 24 + 16 + n * 40..][..40];
            row[..name.len()].copy_from_slice(name.as_bytes());
            row[8..12].copy_from_slice(&100u32.to_le_bytes());
            row[16..20].copy_from_slice(&0x200u32.to_le_bytes());
            row[20..24].copy_from_slice(&at(n).to_le_bytes());
        }
        head
    }

    fn at(n: usize) -> u32 {
        0x1000 + 0x200 * u32::try_from(n).expect("few")
    }

    fn part(n: usize) -> Option<Part> {
        Some(Part { at: u64::from(at(n)), len: 100 })
    }

    #[test]
    fn a_profile_takes_what_the_base_has_and_puts_its_own_in_place_of_it() {
        let names = [
            ".osrel", ".linux", ".initrd", ".cmdline", // the base
            ".profile", // as it is
            ".profile", ".cmdline", // another command line
            ".profile", ".initrd", ".ucode", // another initramfs
        ];
        let found = sections(&pe(&names), 1 << 20).expect("sound").expect("a PE");
        let all = profiles(&found);
        let shown: Vec<_> =
            all.iter().map(|p| (p.profile, p.kernel, p.ucode, p.initrd, p.options, p.os_release)).collect();
        assert_eq!(
            shown,
            [
                (part(4), part(1), None, part(2), part(3), part(0)),
                (part(5), part(1), None, part(2), part(6), part(0)),
                (part(7), part(1), part(9), part(8), part(3), part(0)),
            ]
        );
    }

    #[test]
    fn an_image_without_profiles_is_one() {
        let found = sections(&pe(&[".linux", ".cmdline"]), 1 << 20).expect("sound").expect("a PE");
        let all = profiles(&found);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].kernel, all[0].options, all[0].profile), (part(0), part(1), None));
    }

    #[test]
    fn a_section_beyond_the_file_is_told() {
        let wrong = sections(&pe(&[".linux"]), 0x1010).expect_err("cut");
        assert!(wrong.contains("truncated"), "{wrong}");
        assert!(matches!(sections(b"MZ", 2), Ok(None)));
    }
}
