//! Faults of the files between loader and login: configuration, kernel, initramfs, root file system.

use super::Misfit;
use super::ext::Ext;
use super::ground::{At, Ground, zeros};
use engine::disk::Write;
use engine::units::ByteLen;
use engine::volume::FsKind;

/// Where a Linux kernel image says what it is. Linux `Documentation/arch/x86/boot.rst`, "header" at 0x202.
const HDRS: usize = 0x202;
/// Bytes of a kernel's compressed part that are spoilt; the set-up code lies before its first half.
const SPOILT: usize = 64 << 10;
/// The inode of an ext4 journal. ext4, "Special inodes".
const JOURNAL: u32 = 8;

pub(super) fn no_menu(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.menu()?)
}

/// Every line of the menu is there, but as comments.
pub(super) fn empty_menu(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.rewrite(&ground.menu()?, |bytes| {
        let mut begins = true;
        for byte in bytes.iter_mut() {
            let end = *byte == b'\n';
            if begins && !end {
                *byte = b'#';
            }
            begins = end;
        }
    })
}

/// The brackets that end entries are gone, as when the file was cut short.
pub(super) fn broken_menu(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.rewrite(&ground.menu()?, |bytes| replace(bytes, b"\n}\n", b"\n \n"))
}

pub(super) fn no_kernel(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.kernel()?)
}

/// As a power cut leaves a file that was being replaced.
pub(super) fn empty_kernel(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.cut(&ground.kernel()?, 0)
}

/// The file of the kernel is something else.
pub(super) fn not_a_kernel(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    linux(ground)?;
    ground.rewrite(&ground.kernel()?, |bytes| {
        let begin = bytes.len().min(HDRS.saturating_add(4));
        bytes.iter_mut().take(begin).for_each(|b| *b = 0);
    })
}

/// The kernel's compressed part does not unpack.
pub(super) fn spoilt_kernel(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    linux(ground)?;
    ground.rewrite(&ground.kernel()?, |bytes| spoil(bytes, SPOILT))
}

pub(super) fn no_initrd(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.initrd()?)
}

pub(super) fn short_initrd(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.cut(&ground.initrd()?, 2)
}

/// The archive does not unpack from its second half on.
pub(super) fn spoilt_initrd(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.rewrite(&ground.initrd()?, |bytes| spoil(bytes, SPOILT))
}

/// `root=` names a file system or partition that is not there.
pub(super) fn other_root(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let entry = ground.entry()?;
    let root = entry.option("root").ok_or_else(|| Misfit::new("its command line has no root="))?;
    let (kind, id) = match root.split_once('=') {
        Some((kind @ ("UUID" | "PARTUUID"), id)) => (kind, id),
        _ => return Err(Misfit::new(format!("its root={root} names no id"))),
    };
    let old = format!("root={kind}={id}");
    let new = format!("root={kind}={}", other_id(id));
    rewrite_options(ground, &old, &new)
}

/// No more console on the first serial port: neither the kernel's nor init's nor that of a message.
pub(super) fn no_console(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    if !ground.entry()?.has_serial_console() {
        return Err(Misfit::new("its command line has no console=ttyS0"));
    }
    let mut writes = rewrite_options(ground, "console=ttyS0", "console=ttyS3")?;
    for path in ["/etc/inittab", "/etc/init.d/rcS", "/etc/securetty"] {
        let at = ground.on_root(path)?;
        let names = ground.read(&at).is_ok_and(|text| text.windows(5).any(|w| w == b"ttyS0"));
        if names {
            writes.extend(ground.rewrite(&at, |bytes| replace(bytes, b"ttyS0", b"ttyS3"))?);
        }
    }
    Ok(writes)
}

/// The superblock of the file system that the kernel is on is zeros.
pub(super) fn no_boot_fs(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let place = ground.kernel()?.place;
    let kind = ground.volume(&place)?.kind();
    let (start, _) = ground.partition(&place)?;
    let (at, len) = match kind {
        FsKind::Ext => (start.saturating_add(1024), 1024),
        FsKind::Xfs | FsKind::Fat => (start, 512),
        other => return Err(Misfit::new(format!("its kernel lies on {other}, wanted ext4, XFS or FAT"))),
    };
    Ok(vec![zeros(at, ByteLen(len))])
}

/// The journal of the root file system begins with zeros: GRUB, which has no use for one, reads on; Linux refuses to mount it.
pub(super) fn no_journal(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    let place = ground.on_root("/")?.place;
    if ground.volume(&place)?.kind() != FsKind::Ext {
        return Err(Misfit::new("its root is no ext4"));
    }
    let (start, slice) = ground.partition(&place)?;
    let journal = Ext::open(slice)?.begin_of(JOURNAL)?;
    Ok(vec![zeros(start.saturating_add(journal), ByteLen(1024))])
}

pub(super) fn no_init(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.remove(&ground.on_root("/sbin/init")?)
}

pub(super) fn dead_init(ground: &Ground) -> Result<Vec<Write>, Misfit> {
    ground.not_executable(&ground.on_root("/sbin/init")?)
}

/// An id of the same shape that nothing has: every digit is another.
pub(super) fn other_id(id: &str) -> String {
    let other = |c: char| match c {
        '0' => 'd',
        c if c.is_ascii_hexdigit() => '0',
        c => c,
    };
    id.chars().map(other).collect()
}

/// Put `new` where `old` stands, wherever it does.
pub(super) fn replace(bytes: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let mut done = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(at) = rest.windows(old.len()).position(|w| w == old) {
        done.extend_from_slice(rest.get(..at).unwrap_or_default());
        done.extend_from_slice(new);
        rest = rest.get(at.saturating_add(old.len())..).unwrap_or_default();
    }
    done.extend_from_slice(rest);
    *bytes = done;
}

/// Other words on the kernel's command line, in the file that its entry comes from.
fn rewrite_options(ground: &Ground, old: &str, new: &str) -> Result<Vec<Write>, Misfit> {
    let entry = ground.entry()?;
    let menu = ground.menu().ok();
    let at = match menu {
        Some(at) if ground.read(&at)?.windows(old.len()).any(|w| w == old.as_bytes()) => at,
        _ => At { place: entry.place.clone(), path: entry.origin.clone() },
    };
    ground.rewrite(&at, |bytes| replace(bytes, old.as_bytes(), new.as_bytes()))
}

/// That its kernel is a Linux one of the x86 boot protocol.
fn linux(ground: &Ground) -> Result<(), Misfit> {
    let kernel = ground.kernel()?;
    let is = ground.read(&kernel)?.get(HDRS..).is_some_and(|b| b.starts_with(b"HdrS"));
    if is { Ok(()) } else { Err(Misfit::new(format!("{} is no Linux kernel for x86", kernel.path))) }
}

/// Turn bytes behind the middle over.
fn spoil(bytes: &mut [u8], most: usize) {
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(most).for_each(|b| *b = !*b);
}
