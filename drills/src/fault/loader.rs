//! Faults of what UEFI firmware starts: the files of the EFI system partition.

use super::Misfit;
use super::ground::{At, Ground};
use engine::disk::Write;

/// What firmware without boot entries starts. UEFI 2.10 §3.5.1.1.
const FIRST: &str = "/EFI/BOOT/BOOTX64.EFI";
/// What Debian's shim starts, from its own folder.
const SECOND: &str = "/EFI/BOOT/grubx64.efi";
/// Where the header of a PE image begins is said here. PE format, "MS-DOS Stub".
const PE_AT: usize = 0x3c;

pub(super) fn no_loader(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.on_esp(FIRST)?)
}

pub(super) fn short_loader(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.cut(&ground.on_esp(FIRST)?, 2)
}

/// The file is there and as long as before, but no program.
pub(super) fn no_program(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.rewrite(&ground.on_esp(FIRST)?, |bytes| bytes.fill(b' '))
}

pub(super) fn no_second(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.on_esp(SECOND)?)
}

pub(super) fn forged_loader(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    forge(ground, &ground.on_esp(FIRST)?)
}

pub(super) fn forged_second(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    forge(ground, &ground.on_esp(SECOND)?)
}

pub(super) fn forged_kernel(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    forge(ground, &ground.kernel()?)
}

pub(super) fn no_stub(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.stub()?)
}

/// The stub looks for a file system that is not there.
pub(super) fn stub_astray(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let stub = ground.guest.inspection.stub.as_ref();
    let id =
        stub.and_then(|s| s.search.clone()).ok_or_else(|| Misfit::new("its stub searches for nothing"))?;
    let other = super::files::other_id(&id);
    ground.rewrite(&ground.stub()?, |bytes| super::files::replace(bytes, id.as_bytes(), other.as_bytes()))
}

/// One bit of a signed program, in the middle of its content: what it does hardly changes, what it was signed as does.
fn forge(ground: &Ground, at: &At) -> Result<Vec<Write>, Misfit> {
    let content = ground.read(at)?;
    let header = content.get(PE_AT..).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_le_bytes(*b));
    let header = header.and_then(|h| usize::try_from(h).ok()).unwrap_or(usize::MAX);
    if !content.starts_with(b"MZ") || content.get(header..).is_none_or(|h| !h.starts_with(b"PE\0\0")) {
        return Err(Misfit::new(format!("{} is no program for UEFI", at.path)));
    }
    ground.rewrite(at, |bytes| {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
    })
}
