//! One input: written to a file beside its possible parents, opened, walked.

use crate::sparse::{REPAIR, Sparse};
use crate::{lvm, repair, walk};
use cap::Cap;
use engine::container::{Format, Gate, open_through};
use std::alloc::System;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Most memory that any image may take, in bytes. A larger demand is answered with "out of memory", which is a crash, which is a find.
pub const MEMORY_MAX: usize = 192 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The parents that differencing seeds name, as inputs of their own.
const PARENTS: &[(&str, &[u8])] = &[
    ("parent.vhd", include_bytes!("../parents/parent.vhd")),
    ("parent.vhdx", include_bytes!("../parents/parent.vhdx")),
];

/// Run one input as an image of `format`.
///
/// # Panics
/// When the image breaks what [`walk::visit`] demands, or the folder in `/dev/shm` cannot be used.
pub fn run(format: Format, input: &[u8]) {
    static ROOM: OnceLock<Room> = OnceLock::new();
    let room = ROOM.get_or_init(Room::new);
    let Some(image) = Sparse::decode(input) else { return };
    image.write(&room.file).expect("room in /dev/shm");
    if image.flags & REPAIR != 0 {
        repair::repair(&room.file, image.len, format).expect("a file of ours");
    }
    walk::visit(&room.path, format, u64::from(crc32c::crc32c(input)));
}

/// Run one input as two LVM2 physical volumes.
///
/// # Panics
/// When what is found breaks what [`lvm::visit`] demands, or the folder in `/dev/shm` cannot be used.
pub fn run_lvm(input: &[u8]) {
    static ROOM: OnceLock<Room> = OnceLock::new();
    let room = ROOM.get_or_init(Room::new);
    let Some(image) = Sparse::decode(input) else { return };
    image.write(&room.file).expect("room in /dev/shm");
    if image.flags & REPAIR != 0 {
        lvm::repair(&room.file, image.len).expect("a file of ours");
    }
    let Ok(opened) = open_through(&room.path, Some(Format::Raw), &Gate::same_folder()) else { return };
    lvm::visit(&opened.disk, u64::from(crc32c::crc32c(input)));
    assert!(opened.unchanged().is_ok(), "a given image is never written to");
}

/// Run one input as an initramfs.
///
/// # Panics
/// When it breaks what [`crate::initramfs::visit`] demands.
pub fn initramfs(input: &[u8]) {
    static LIMIT: OnceLock<()> = OnceLock::new();
    LIMIT.get_or_init(|| ALLOCATOR.set_limit(MEMORY_MAX).expect("little is taken yet"));
    crate::initramfs::visit(input);
}

/// A folder with the image and its parents.
struct Room {
    path: PathBuf,
    file: File,
}

impl Room {
    /// libFuzzer ends a run without a word, so the folders of earlier runs are removed by the next one.
    fn new() -> Room {
        ALLOCATOR.set_limit(MEMORY_MAX).expect("little is taken yet");
        const PREFIX: &str = "drill-fuzz-";
        let shm = Path::new("/dev/shm");
        for entry in std::fs::read_dir(shm).expect("/dev/shm").flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).filter(|n| n.parse::<u32>().is_ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let dir = shm.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder in /dev/shm");
        for (name, bytes) in PARENTS {
            let parent = Sparse::decode(bytes).expect("a parent");
            parent.write(&File::create(dir.join(name)).expect("a file")).expect("room in /dev/shm");
        }
        let path = dir.join("input.img");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        Room { file: file.expect("a file in /dev/shm"), path }
    }
}
