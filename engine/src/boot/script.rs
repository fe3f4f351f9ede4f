//! The per-disk script: what GRUB does after the BIOS started it, in plain text.

use super::SECTOR;

/// Why there is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A character that GRUB's script language could take for something else.
    #[error("{what} {text:?} holds {found:?}, wanted letters, digits and {allowed:?}")]
    Character {
        /// What the text is.
        what: &'static str,
        /// The text.
        text: String,
        /// The character.
        found: char,
        /// What else is allowed in it.
        allowed: &'static str,
    },
    /// It does not fit its sectors.
    #[error("the script is {len} bytes, wanted at most {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// Room for it.
        max: u64,
    },
}

/// The script for a disk whose ESP has the volume id `esp_uuid` (`ABCD-1234`) and a GRUB stub `grub.cfg` in `stub_dir`
/// (`/EFI/debian`), padded with newlines to `sectors`. The search is by file-system id, so it works under a GPT and an MBR alike.
///
/// # Errors
/// [`ScriptError`] when a name could not be written without quoting, or the text is too long.
pub fn script(esp_uuid: &str, stub_dir: &str, sectors: u64) -> Result<Vec<u8>, ScriptError> {
    plain("volume id", esp_uuid, "-")?;
    plain("folder", stub_dir, "/._+-")?;
    let stub_dir = stub_dir.trim_end_matches('/');
    let text = format!(
        "# Written by drill. GRUB reads these sectors as its script; the rest of them is newlines.\n\
         serial --unit=0 --speed=115200\n\
         terminal_input console serial\n\
         terminal_output console serial\n\
         search --no-floppy --fs-uuid --set=root {esp_uuid}\n\
         set prefix=($root){stub_dir}\n\
         configfile ($root){stub_dir}/grub.cfg\n"
    );
    let max = sectors.saturating_mul(SECTOR);
    if text.len() as u64 > max {
        return Err(ScriptError::TooLong { len: text.len(), max });
    }
    let mut bytes = text.into_bytes();
    // Bounded by `LoaderKit::check` to 64 sectors.
    bytes.resize(usize::try_from(max).unwrap_or(bytes.len()), b'\n');
    Ok(bytes)
}

fn plain(what: &'static str, text: &str, allowed: &'static str) -> Result<(), ScriptError> {
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !allowed.contains(*c)) {
        Some(found) => Err(ScriptError::Character { what, text: text.to_string(), found, allowed }),
        None => Ok(()),
    }
}
