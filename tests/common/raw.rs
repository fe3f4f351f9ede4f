//! A disk for outside tools to break.

use super::{outside, raw_copy, text};
use std::path::{Path, PathBuf};

/// A copy of a sample, for outside tools to break.
pub struct Raw {
    pub path: PathBuf,
}

impl Raw {
    #[track_caller]
    pub fn copy_of(image: &Path, dir: &Path) -> Raw {
        Raw { path: raw_copy(image, dir, "twin.raw") }
    }

    #[track_caller]
    pub fn sgdisk(&self, args: &[&str]) {
        let path = text(&self.path);
        outside("sgdisk", &[args, &[path.as_str()]].concat());
    }

    /// Where a partition begins and how long it is, in bytes.
    #[track_caller]
    pub fn place(&self, number: u32) -> (u64, u64) {
        let said = outside("sgdisk", &[&format!("--info={number}"), &text(&self.path)]);
        let field = |name: &str| -> u64 {
            let rest =
                said.lines().find_map(|l| l.strip_prefix(name)).and_then(|l| l.split_whitespace().next());
            rest.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name}\n{said}"))
        };
        (field("First sector: ") * 512, field("Partition size: ") * 512)
    }

    /// A partition as mtools and debugfs name one.
    #[track_caller]
    pub fn volume(&self, number: u32, between: &str) -> String {
        format!("{}{between}{}", text(&self.path), self.place(number).0)
    }

    #[track_caller]
    pub fn debugfs(&self, number: u32, command: &str) {
        let said = outside("debugfs", &["-w", "-R", command, &self.volume(number, "?offset=")]);
        assert!(!said.contains("not found"), "debugfs: {said}");
    }

    /// The kernel that lies in that folder.
    #[track_caller]
    pub fn kernel(&self, number: u32, folder: &str) -> String {
        let said = outside("debugfs", &["-R", &format!("ls -p {folder}"), &self.volume(number, "?offset=")]);
        let name = said.split('/').find(|name| name.starts_with("vmlinuz-"));
        format!(
            "{}/{}",
            folder.trim_end_matches('/'),
            name.unwrap_or_else(|| panic!("no kernel in {folder}\n{said}"))
        )
    }

    /// The only file on a FAT volume, loaders aside, whose path ends so.
    #[track_caller]
    pub fn only_file(&self, number: u32, ending: &str) -> String {
        let said = outside("mdir", &["-/", "-b", "-i", &self.volume(number, "@@"), "::/"]);
        let files = said.lines().filter_map(|l| l.trim().strip_prefix("::"));
        let ours = |f: &&str| {
            f.ends_with(ending) && !["/EFI/BOOT/", "/EFI/systemd/"].iter().any(|l| f.starts_with(l))
        };
        match files.filter(ours).collect::<Vec<_>>().as_slice() {
            [one] => one.to_string(),
            other => panic!("wanted one file that ends with {ending}, found {other:?}\n{said}"),
        }
    }

    #[track_caller]
    pub fn mdel(&self, number: u32, file: &str) {
        outside("mdel", &["-i", &self.volume(number, "@@"), file]);
    }

    /// Only the first half of a file is left.
    #[track_caller]
    pub fn truncate(&self, number: u32, file: &str) {
        let (volume, part) = (self.volume(number, "@@"), self.path.with_extension("half"));
        outside("mcopy", &["-n", "-i", &volume, file, &text(&part)]);
        let whole = std::fs::File::options().write(true).open(&part).unwrap();
        whole.set_len(whole.metadata().unwrap().len() / 2).unwrap();
        outside("mcopy", &["-o", "-i", &volume, &text(&part), file]);
    }

    /// xfs_admin knows no offsets: the partition is taken out and put back.
    #[track_caller]
    pub fn xfs_uuid(&self, number: u32, uuid: &str) {
        let (at, len) = self.place(number);
        let (disk, part) = (text(&self.path), text(&self.path.with_extension("xfs")));
        let (at, len) = (format!("={at}"), format!("count={len}"));
        let dd = |from: &str, to: &str, flags: &[&str]| {
            let common = [format!("if={from}"), format!("of={to}"), "bs=1M".into(), "status=none".into()];
            let common: Vec<&str> = common.iter().map(String::as_str).collect();
            outside("dd", &[&common, flags].concat());
        };
        dd(&disk, &part, &["iflag=skip_bytes,count_bytes", &format!("skip{at}"), &len, "conv=sparse"]);
        outside("xfs_admin", &["-U", uuid, &part]);
        dd(&part, &disk, &["oflag=seek_bytes", &format!("seek{at}"), "conv=notrunc,nocreat"]);
    }

    /// Writes these bytes at the disk's first.
    pub fn begin_with(&self, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
    }

    /// Zeros from an offset within a partition on.
    #[track_caller]
    pub fn clear(&self, number: u32, at: u64, len: u64) {
        let to = format!("of={}", text(&self.path));
        let (at, len) = (format!("seek={}", self.place(number).0 + at), format!("count={len}"));
        let flags = ["oflag=seek_bytes", "iflag=count_bytes", "conv=notrunc", "status=none"];
        outside("dd", &[&["if=/dev/zero", &to, &at, &len], &flags[..]].concat());
    }
}
