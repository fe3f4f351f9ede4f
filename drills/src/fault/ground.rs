//! The disk a fault is planted in: what is where, and the three things that can be done to a file of it.

use super::Misfit;
use super::blocks;
use super::ext::Ext;
use super::trace::Trace;
use engine::disk::{DiskRef, Slice, Write};
use engine::guest::{BootEntry, FsPlace, Guest};
use engine::units::{ByteLen, ByteOffset};
use engine::volume::{FatEdit, FsKind, Journal, READ_LIMIT, Volume, fat_edit};
use std::sync::Arc;

/// A disk that was looked at, through a view that remembers its reads.
pub(crate) struct Ground {
    /// The disk itself.
    pub(super) disk: DiskRef,
    pub(super) guest: Guest,
    trace: Arc<Trace>,
}

/// Offset and length in bytes of each read, in order.
type Reads = Vec<(u64, usize)>;

/// A file: its file system, and its path there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct At {
    pub place: FsPlace,
    pub path: String,
}

impl Ground {
    /// # Errors
    /// When the first sectors cannot be read.
    pub(crate) fn look(disk: &DiskRef) -> Result<Ground, Misfit> {
        let trace = Arc::new(Trace::over(disk.clone()));
        let seen: DiskRef = trace.clone();
        let guest = engine::guest::look(&seen)?;
        Ok(Ground { disk: disk.clone(), guest, trace })
    }

    /// The entry that starts if nobody chooses.
    pub(super) fn entry(&self) -> Result<&BootEntry, Misfit> {
        let menu = self.guest.inspection.boot.as_ref();
        menu.and_then(|m| m.default_entry()).ok_or_else(|| Misfit::new("no boot entry was found on it"))
    }

    /// The kernel of that entry.
    pub(super) fn kernel(&self) -> Result<At, Misfit> {
        let entry = self.entry()?;
        let kernel = entry.kernel.as_ref().ok_or_else(|| Misfit::new("its boot entry has no kernel"))?;
        whole(entry, kernel)
    }

    /// The last initramfs of that entry: the one that holds /init, where there are several.
    pub(super) fn initrd(&self) -> Result<At, Misfit> {
        let entry = self.entry()?;
        let initrd = entry.initrd.last().ok_or_else(|| Misfit::new("its boot entry has no initramfs"))?;
        whole(entry, initrd)
    }

    /// The real grub.cfg.
    pub(super) fn menu(&self) -> Result<At, Misfit> {
        let menu = self.guest.inspection.menu.as_ref().ok_or_else(|| Misfit::new("it has no grub.cfg"))?;
        Ok(At { place: menu.place.clone(), path: menu.path.clone() })
    }

    /// The short grub.cfg on the EFI system partition.
    pub(super) fn stub(&self) -> Result<At, Misfit> {
        let stub = self.guest.inspection.stub.as_ref();
        let stub =
            stub.ok_or_else(|| Misfit::new("no grub.cfg on its EFI system partition leads to another"))?;
        self.on_esp(&stub.path)
    }

    /// A file of the EFI system partition that is there.
    pub(super) fn on_esp(&self, path: &str) -> Result<At, Misfit> {
        let esp = self.guest.inspection.esp().ok_or_else(|| Misfit::new("it has no EFI system partition"))?;
        let at = At { place: FsPlace::partition(esp.number), path: path.to_owned() };
        if self.volume(&at.place)?.exists(path)? {
            Ok(at)
        } else {
            Err(Misfit::new(format!("there is no {path} on its EFI system partition")))
        }
    }

    /// A file of the root file system.
    pub(super) fn on_root(&self, path: &str) -> Result<At, Misfit> {
        let os = self.guest.inspection.os.as_ref();
        let (place, root) = os
            .and_then(|os| Some((os.place.clone()?, os.root.as_str())))
            .ok_or_else(|| Misfit::new("no root file system was found on it"))?;
        Ok(At { place, path: format!("{root}{path}") })
    }

    pub(super) fn volume(&self, place: &FsPlace) -> Result<&dyn Volume, Misfit> {
        self.guest
            .volume(place)
            .ok_or_else(|| Misfit::new(format!("the file system on {place} cannot be read")))
    }

    /// A partition's first byte and its bytes as a disk.
    pub(super) fn partition(&self, place: &FsPlace) -> Result<(u64, DiskRef), Misfit> {
        if place.lv.is_some() {
            return Err(Misfit::new(format!("what it breaks lies in {place}, wanted a partition itself")));
        }
        let partition = self.guest.inspection.partitions.iter().find(|p| p.number == place.partition);
        let p = partition.ok_or_else(|| Misfit::new(format!("there is no {place}")))?;
        Ok((p.at.get(), Arc::new(Slice::new(self.disk.clone(), p.at, p.len)?)))
    }

    /// The whole file.
    pub(super) fn read(&self, at: &At) -> Result<Vec<u8>, Misfit> {
        Ok(self.volume(&at.place)?.read(&at.path, READ_LIMIT)?)
    }

    /// Give the file other bytes, on FAT of any length, elsewhere of the same.
    pub(super) fn rewrite(&self, at: &At, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Write>, Misfit> {
        let (kind, old, reads) = self.read_afresh(at)?;
        let mut new = old.clone();
        change(&mut new);
        if new == old {
            return Err(Misfit::new(format!("nothing to change was found in {}", at.path)));
        }
        if kind == FsKind::Fat {
            return self.on_fat(at, FatEdit::Put { path: at.path.clone(), bytes: new });
        }
        blocks::overwrite(self.disk.as_ref(), &at.path, &reads, &old, &new)
    }

    /// The whole file, and where the disk was read for it: through a reader of its own, because one that was used before remembers blocks.
    fn read_afresh(&self, at: &At) -> Result<(FsKind, Vec<u8>, Reads), Misfit> {
        let kind = self.writable(&at.place)?.kind();
        let (start, slice) = self.partition(&at.place)?;
        let trace: DiskRef = self.trace.clone();
        let volume = engine::volume::open(
            &(Arc::new(Slice::new(trace, ByteOffset(start), slice.geometry().len)?) as DiskRef),
        )?;
        self.trace.take();
        let bytes = volume.read(&at.path, READ_LIMIT)?;
        Ok((kind, bytes, self.trace.take()))
    }

    /// Take the file's name away.
    pub(super) fn remove(&self, at: &At) -> Result<Vec<Write>, Misfit> {
        if self.writable(&at.place)?.kind() == FsKind::Fat {
            return self.on_fat(at, FatEdit::Remove { path: at.path.clone() });
        }
        self.on_ext(at, |ext| ext.hide(&at.path))
    }

    /// Leave the first `1 / parts` of the file; nothing of it when `parts` is 0.
    pub(super) fn cut(&self, at: &At, parts: u32) -> Result<Vec<Write>, Misfit> {
        if self.writable(&at.place)?.kind() == FsKind::Fat {
            let part = |len: usize| usize::try_from(parts).ok().and_then(|p| len.checked_div(p)).unwrap_or(0);
            return self.rewrite(at, |bytes| bytes.truncate(part(bytes.len())));
        }
        self.on_ext(at, |ext| ext.cut(&at.path, parts))
    }

    /// Take the right to execute the file from everybody.
    pub(super) fn not_executable(&self, at: &At) -> Result<Vec<Write>, Misfit> {
        self.writable(&at.place)?;
        self.on_ext(at, |ext| ext.not_executable(&at.path))
    }

    /// A file system whose bytes the guest will see as they are written here.
    fn writable(&self, place: &FsPlace) -> Result<&dyn Volume, Misfit> {
        let volume = self.volume(place)?;
        match (volume.kind(), volume.journal()) {
            (FsKind::Btrfs, _) => {
                Err(Misfit::new(format!("{place} is a btrfs, whose files carry checksums")))
            }
            (_, Journal::Replayed { .. } | Journal::Unreadable { .. }) => Err(Misfit::new(format!(
                "{place} was not unmounted: its journal would undo the fault; start the guest once and shut it down"
            ))),
            _ => Ok(volume),
        }
    }

    fn on_fat(&self, at: &At, edit: FatEdit) -> Result<Vec<Write>, Misfit> {
        let (start, slice) = self.partition(&at.place)?;
        Ok(moved(fat_edit(&slice, &[edit])?, start))
    }

    fn on_ext(
        &self,
        at: &At,
        change: impl FnOnce(&Ext) -> Result<Vec<Write>, Misfit>,
    ) -> Result<Vec<Write>, Misfit> {
        let kind = self.volume(&at.place)?.kind();
        if kind != FsKind::Ext {
            return Err(Misfit::new(format!("{} lies on {kind}, wanted ext4 or FAT", at.path)));
        }
        let (start, slice) = self.partition(&at.place)?;
        Ok(moved(change(&Ext::open(slice)?)?, start))
    }

    /// The sector of this number as bytes.
    pub(super) fn sector(&self, lba: u64) -> Result<Vec<u8>, Misfit> {
        let sector = self.disk.geometry().sector.bytes();
        let at = ByteOffset(lba.saturating_mul(sector));
        Ok(engine::disk::read_vec(self.disk.as_ref(), at, usize::try_from(sector).unwrap_or(512))?)
    }
}

fn whole(entry: &BootEntry, file: &engine::guest::BootFile) -> Result<At, Misfit> {
    if file.part.is_some() {
        return Err(Misfit::new(format!("{} is a part of another file", file.path)));
    }
    Ok(At { place: entry.place.clone(), path: file.path.clone() })
}

/// Writes of a partition as writes of its disk.
fn moved(writes: Vec<Write>, by: u64) -> Vec<Write> {
    let there = |w: Write| Write { at: ByteOffset(w.at.get().saturating_add(by)), bytes: w.bytes };
    writes.into_iter().map(there).collect()
}

/// `len` bytes of zeros at `at`.
pub(super) fn zeros(at: u64, len: ByteLen) -> Write {
    let len = usize::try_from(len.get()).unwrap_or(0);
    Write { at: ByteOffset(at), bytes: vec![0; len].into() }
}
