//! Just enough of a PE image to tell an x86-64 EFI program, and whether it is signed. PE/COFF specification, "Optional Header Data Directories".

/// Bytes from its start that are looked at: headers lie in the first page.
pub(super) const HEAD: usize = 4096;
/// `IMAGE_FILE_MACHINE_AMD64`.
const MACHINE_X86_64: u16 = 0x8664;
/// Magic of the optional header: PE32+.
const PE32_PLUS: u16 = 0x20b;
/// Where the data directories begin in a PE32+ optional header, and which one is the table of certificates.
const DIRECTORIES: usize = 112;
const CERTIFICATES: usize = 4;

/// Whether a program carries a signature. Whose it is, and whether a firmware trusts it, is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signed {
    /// There is a table of certificates.
    Yes,
    /// There is none.
    No,
}

/// What an x86-64 EFI program is; `None` for anything else.
pub(super) fn look(bytes: &[u8]) -> Option<Signed> {
    let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let pe = usize::try_from(long(0x3c)?).ok().filter(|at| *at <= HEAD)?;
    let optional = pe.checked_add(24)?;
    let is_ours = bytes.get(pe..)?.starts_with(b"PE\0\0")
        && word(pe.checked_add(4)?)? == MACHINE_X86_64
        && word(optional)? == PE32_PLUS;
    if !is_ours {
        return None;
    }
    let count = long(optional.checked_add(DIRECTORIES - 4)?)?;
    let size = long(optional.checked_add(DIRECTORIES + 8 * CERTIFICATES + 4)?);
    let is_signed = count as usize > CERTIFICATES && size.is_some_and(|size| size != 0);
    Some(if is_signed { Signed::Yes } else { Signed::No })
}
