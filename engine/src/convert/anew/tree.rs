//! The guest's files by the paths it knows them by, across the file systems that its fstab mounts.

use crate::guest::{FsPlace, Guest, Inspection, fstab};
use crate::volume::{EntryKind, Volume, VolumeError};

/// Most mounts that are followed.
const MOUNTS_MAX: usize = 64;
/// Longest file of configuration that is read: 1 MiB.
pub(super) const TEXT_MAX: u64 = 1 << 20;

/// The guest's folders.
pub(super) struct Tree<'a> {
    /// Longest target first; the last one is `/`.
    mounts: Vec<Mount<'a>>,
    /// What fstab mounts, known or not: sources and targets.
    pub fstab: Vec<(String, String)>,
}

struct Mount<'a> {
    target: String,
    place: FsPlace,
    volume: &'a dyn Volume,
    /// Folder of the file system that is mounted.
    folder: String,
}

/// A path, and the file system that it is on.
pub(super) struct Spot<'a> {
    /// Where the file system is.
    pub place: FsPlace,
    /// The file system.
    pub volume: &'a dyn Volume,
    /// The path on it.
    pub path: String,
}

impl<'a> Tree<'a> {
    /// Of the Linux that was found; `None` without one.
    pub fn of(guest: &'a Guest) -> Option<Tree<'a>> {
        let os = guest.inspection.os.as_ref()?;
        let place = os.place.clone()?;
        let (volume, folder) = guest.root()?;
        let root = Mount { target: String::new(), place, volume, folder: folder.to_string() };
        let text = volume.read(&format!("{folder}/etc/fstab"), TEXT_MAX).unwrap_or_default();
        let lines = fstab::parse(&String::from_utf8_lossy(&text));
        let mut mounts: Vec<Mount<'a>> = Vec::new();
        for line in lines.iter().filter(|l| l.target.len() > 1).take(MOUNTS_MAX) {
            let Some(place) = device(&guest.inspection, &line.source) else { continue };
            // Another subvolume of the root's own file system: which one, its options would say.
            if place == root.place {
                continue;
            }
            if let (Some(volume), true) = (guest.volume(&place), line.target.starts_with('/')) {
                let target = line.target.trim_end_matches('/').to_string();
                mounts.push(Mount { target, place, volume, folder: String::new() });
            }
        }
        mounts.push(root);
        mounts.sort_by_key(|m| std::cmp::Reverse(m.target.len()));
        Some(Tree { mounts, fstab: lines.into_iter().map(|l| (l.source, l.target)).collect() })
    }

    /// Where an absolute path leads.
    pub fn spot(&self, path: &str) -> Option<Spot<'a>> {
        let below = |m: &&Mount<'a>| path.strip_prefix(m.target.as_str()).is_some_and(|r| r.starts_with('/'));
        let mount = self.mounts.iter().find(below)?;
        let rest = path.get(mount.target.len()..)?;
        Some(Spot {
            place: mount.place.clone(),
            volume: mount.volume,
            path: format!("{}{rest}", mount.folder),
        })
    }

    /// The whole file.
    ///
    /// # Errors
    /// As for [`Volume::read`].
    pub fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, VolumeError> {
        let spot = self.spot(path).ok_or_else(|| VolumeError::NotFound { path: path.to_string() })?;
        spot.volume.read(&spot.path, max)
    }

    /// Whether something is there; what cannot be told counts as not there.
    pub fn has(&self, path: &str) -> bool {
        self.spot(path).is_some_and(|s| s.volume.exists(&s.path).unwrap_or(false))
    }

    /// Names of the folders in a folder, sorted.
    pub fn folders(&self, path: &str) -> Vec<String> {
        let Some(spot) = self.spot(path) else { return Vec::new() };
        let entries = spot.volume.read_dir(&spot.path).unwrap_or_default();
        let mut names: Vec<String> =
            entries.into_iter().filter(|e| e.kind == EntryKind::Directory).map(|e| e.name).collect();
        names.sort();
        names
    }
}

/// The file system that fstab means.
fn device(i: &Inspection, source: &str) -> Option<FsPlace> {
    let by_label = |label: &str| {
        let is = |fs: &crate::guest::FileSystem| fs.label.as_deref() == Some(label);
        i.file_systems().find(|(_, fs)| is(fs)).map(|(place, _)| place)
    };
    let uuid = source.strip_prefix("UUID=").or_else(|| source.strip_prefix("/dev/disk/by-uuid/"));
    let label = source.strip_prefix("LABEL=").or_else(|| source.strip_prefix("/dev/disk/by-label/"));
    if let Some(uuid) = uuid {
        return i.by_fs_uuid(uuid);
    }
    if let Some(label) = label {
        return by_label(label);
    }
    if let Some(id) = source.strip_prefix("PARTUUID=") {
        let is =
            |p: &&crate::guest::Partition| p.part_uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(id));
        return i.partitions.iter().find(is).map(|p| FsPlace::partition(p.number));
    }
    if let Some(lv) = i.by_device(source) {
        return Some(lv.place());
    }
    // The first disk under any driver: sda, vda, hda, xvda.
    let disk =
        ["/dev/sda", "/dev/vda", "/dev/hda", "/dev/xvda"].iter().find_map(|d| source.strip_prefix(d))?;
    disk.parse().ok().map(FsPlace::partition)
}
