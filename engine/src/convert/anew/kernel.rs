//! Whether GRUB under UEFI can start a kernel: its setup header says so. Linux Documentation/arch/x86/boot.rst.

use super::pe::{self, Signed};

/// `HdrS`, and behind it the version of the boot protocol.
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
/// `xloadflags`, since protocol 2.12.
const FLAGS: usize = 0x236;
const FLAGS_SINCE: u16 = 0x020c;
/// The kernel has a 64-bit entry point.
const XLF_KERNEL_64: u16 = 1 << 0;
/// The kernel has an entry point for a 64-bit EFI handover.
const XLF_EFI_HANDOVER_64: u16 = 1 << 3;

/// What a kernel image says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kernel {
    /// A 64-bit one that EFI GRUB can hand over to.
    Good(Signed),
    /// A 64-bit one without the EFI handover: older GRUBs cannot start it, newer ones start its EFI stub, if it has one.
    NoHandover(Option<Signed>),
    /// No 64-bit entry point.
    Not64,
    /// An older boot protocol, which does not tell: its version.
    TooOld(u16),
    /// No bzImage.
    NoLinux,
}

/// Look at the first page of a kernel.
pub(super) fn look(head: &[u8]) -> Kernel {
    let word = |at: usize| Some(u16::from_le_bytes(*head.get(at..)?.first_chunk()?));
    let stub = pe::look(head);
    match (head.get(MAGIC..MAGIC + 4), word(VERSION), word(FLAGS)) {
        (Some(b"HdrS"), Some(version), _) if version < FLAGS_SINCE => Kernel::TooOld(version),
        (Some(b"HdrS"), Some(_), Some(flags)) => match (flags & XLF_KERNEL_64, flags & XLF_EFI_HANDOVER_64) {
            (0, _) => Kernel::Not64,
            (_, 0) => Kernel::NoHandover(stub),
            _ => Kernel::Good(stub.unwrap_or(Signed::No)),
        },
        _ => Kernel::NoLinux,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, look};
    use crate::convert::anew::pe::Signed;

    #[test]
    fn the_setup_header_tells() {
        let with = |version: u16, flags: u16| {
            let mut head = vec![0; 0x300];
            head[0x202..0x206].copy_from_slice(b"HdrS");
            head[0x206..0x208].copy_from_slice(&version.to_le_bytes());
            head[0x236..0x238].copy_from_slice(&flags.to_le_bytes());
            look(&head)
        };
        let cases = [
            ((0x20f, 0x3f), Kernel::Good(Signed::No)),
            ((0x20c, 0b1001), Kernel::Good(Signed::No)),
            ((0x20f, 0b0001), Kernel::NoHandover(None)),
            ((0x20f, 0b1000), Kernel::Not64),
            ((0x20b, 0x3f), Kernel::TooOld(0x20b)),
        ];
        for ((version, flags), wanted) in cases {
            assert_eq!(with(version, flags), wanted, "{version:#x} {flags:#b}");
        }
        for other in [&b""[..], b"kernel", &[0; 0x300]] {
            assert_eq!(look(other), Kernel::NoLinux);
        }
    }
}
