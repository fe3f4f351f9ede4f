//! A guest at work: sets of changes on ESP and root, made by outside tools, and what each comes down to.

use crate::guest_support::{ESP_AT, ESP_LEN, ROOT_AT, ROOT_LEN, Spec, bytes_of, gen2, mem_bytes, run};
use engine::disk::{DiskRef, Overlay, Slice, Write};
use engine::units::{ByteLen, ByteOffset};
use engine::volume::{FatEdit, fat_edit};
use proptest::prelude::{Strategy, prop};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, OnceLock};

/// ESP and root of one small Debian, to be put into disks of many shapes.
pub struct Pieces {
    pub esp: Arc<[u8]>,
    pub root: Arc<[u8]>,
}

pub fn pieces() -> &'static Pieces {
    static PIECES: OnceLock<Pieces> = OnceLock::new();
    PIECES.get_or_init(|| {
        let made = gen2(&Spec::default());
        // Files as root would own them, whoever runs the test.
        let script = made.dir.path().join("script");
        let own = |path: &&str| format!("set_inode_field {path} uid 0\nset_inode_field {path} gid 0\n");
        let mode = |path: &&str| format!("set_inode_field {path} mode 0100644\n");
        let text = ROOT_FILES.iter().map(own).chain(ROOT_FILES.iter().map(mode)).collect::<String>();
        fs::write(&script, text).expect("script");
        let image = made.path.to_str().expect("path");
        run("debugfs", &["-w", "-f", script.to_str().expect("path"), &format!("{image}?offset={ROOT_AT}")]);
        let bytes = bytes_of(&made.disk());
        let part = |at: u64, len: u64| Arc::from(&bytes[at as usize..(at + len) as usize]);
        Pieces { esp: part(ESP_AT, ESP_LEN), root: part(ROOT_AT, ROOT_LEN) }
    })
}

/// Regular files of the root file system as it is made.
const ROOT_FILES: &[&str] =
    &["/etc/fstab", "/boot/vmlinuz", "/boot/initrd.img", "/boot/grub/grub.cfg", "/usr/lib/os-release"];
/// Where a guest writes on its root.
const ROOT_PATHS: &[&str] = &[
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/motd",
    "/boot/vmlinuz",
    "/boot/initrd.img-6.2",
    "/boot/grub/grub.cfg",
    "/boot/loader/entries/new.conf",
    "/var/lib/marker",
    "/srv/äöü.txt",
];
/// Where it writes on its ESP. One spelling each: FAT does not tell `NOTE.TXT` from `note.txt`.
const ESP_PATHS: &[&str] = &[
    "/EFI/debian/grub.cfg",
    "/EFI/debian/grubx64.efi",
    "/NOTE.TXT",
    "/EFI/A long name of a guest.conf",
    "/drill/deep/one.bin",
    "/drill/two.cfg",
];
/// What it writes.
fn content(n: usize) -> Vec<u8> {
    match n % 4 {
        0 => Vec::new(),
        1 => b"# changed by the guest\n".to_vec(),
        2 => (0..5_000u32).flat_map(u32::to_le_bytes).collect(),
        _ => (0..40_000u32).rev().flat_map(u32::to_le_bytes).collect(),
    }
}

/// One thing that a guest does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Make a file hold this.
    Write(usize, usize),
    /// Remove a file or link.
    Remove(usize),
    /// Make a link to somewhere.
    Link(usize, usize),
    /// Change permission bits.
    Mode(usize, u16),
    /// Set its time: nothing that means anything.
    Touch(usize),
}

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let path = 0..64usize;
    let act = proptest::prop_oneof![
        4 => (path.clone(), 0..4usize).prop_map(|(p, c)| Act::Write(p, c)),
        2 => path.clone().prop_map(Act::Remove),
        1 => (path.clone(), 0..3usize).prop_map(|(p, t)| Act::Link(p, t)),
        1 => (path.clone(), prop::sample::select(vec![0o644u16, 0o600, 0o4755])).prop_map(|(p, m)| Act::Mode(p, m)),
        1 => path.prop_map(Act::Touch),
    ];
    prop::collection::vec(act, 0..8)
}

/// What lies at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    Folder,
    /// The content, once written; `None` as it was made.
    File(Option<Vec<u8>>, u16),
    Link(usize),
}

type Tree = BTreeMap<String, Node>;

/// A file system as the test knows it, before and after.
struct Model {
    before: Tree,
    now: Tree,
}

impl Model {
    fn new(files: &[&str]) -> Model {
        let mut tree = Tree::new();
        for file in files {
            for folder in folders(file) {
                tree.insert(folder, Node::Folder);
            }
            tree.insert(file.to_string(), Node::File(None, 0o644));
        }
        Model { before: tree.clone(), now: tree }
    }

    /// Folders on the way to `path` that are not there yet, outermost first; they are from now on.
    fn make_way(&mut self, path: &str) -> Vec<String> {
        let missing: Vec<String> = folders(path).into_iter().filter(|f| !self.now.contains_key(f)).collect();
        self.now.extend(missing.iter().map(|f| (f.clone(), Node::Folder)));
        missing
    }

    /// What a comparison must name, as `+partition 2:/path`.
    fn changes(&self, place: &str, original: &dyn Fn(&str) -> Vec<u8>) -> Vec<String> {
        let mut all = Vec::new();
        for (path, node) in &self.now {
            let mark = match (self.before.get(path), node) {
                (None, _) => '+',
                (Some(old), new) if old == new => continue,
                // Written anew with what was in it already.
                (Some(Node::File(None, m)), Node::File(Some(bytes), n))
                    if m == n && *bytes == original(path) =>
                {
                    continue;
                }
                _ => '~',
            };
            all.push(format!("{mark}{place}:{path}"));
        }
        let gone = self.before.keys().filter(|path| !self.now.contains_key(*path));
        all.extend(gone.map(|path| format!("-{place}:{path}")));
        all
    }
}

fn folders(path: &str) -> Vec<String> {
    path.match_indices('/').skip(1).map(|(at, _)| path[..at].to_string()).collect()
}

/// The ESP after `acts`, as writes relative to it, and what has changed.
pub fn on_esp(esp: &DiskRef, acts: &[Act], place: &str) -> (Vec<Write>, Vec<String>) {
    let files =
        ["/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi", "/EFI/debian/grubx64.efi", "/EFI/debian/grub.cfg"];
    let mut model = Model::new(&files);
    let mut edits = Vec::new();
    for act in acts {
        let at = |n: &usize| ESP_PATHS[n % ESP_PATHS.len()].to_string();
        match act {
            Act::Write(n, c) => {
                let path = at(n);
                model.make_way(&path);
                model.now.insert(path.clone(), Node::File(Some(content(*c)), 0o644));
                edits.push(FatEdit::Put { path, bytes: content(*c) });
            }
            Act::Remove(n) => {
                let path = at(n);
                if model.now.remove(&path).is_some() {
                    edits.push(FatEdit::Remove { path });
                }
            }
            Act::Link(..) | Act::Mode(..) | Act::Touch(_) => {}
        }
    }
    let volume = engine::volume::open(esp).expect("ESP");
    let original = |path: &str| volume.read(path, 1 << 20).expect("original");
    let changes = model.changes(place, &original);
    (fat_edit(esp, &edits).expect("fat_edit"), changes)
}

/// The root after `acts` of debugfs, and what has changed.
pub fn on_root(root: &[u8], acts: &[Act], place: &str) -> (Vec<u8>, Vec<String>) {
    let dir = tempfile::tempdir().expect("temp dir");
    let at = |name: &str| dir.path().join(name).to_str().expect("path").to_string();
    let mut model = Model::new(ROOT_FILES);
    model.before.insert("/etc/os-release".into(), Node::Link(99));
    model.now = model.before.clone();
    let mut script = Vec::new();
    for n in 0..4 {
        fs::write(at(&format!("c{n}")), content(n)).expect("content");
    }
    for act in acts {
        let path = |n: &usize| ROOT_PATHS[n % ROOT_PATHS.len()];
        match act {
            Act::Write(n, c) => {
                let path = path(n);
                script.extend(model.make_way(path).iter().map(|f| format!("mkdir {f}")));
                if model.now.insert(path.into(), Node::File(Some(content(*c)), 0o644)).is_some() {
                    script.push(format!("rm {path}"));
                }
                script.push(format!("write {} {path}", at(&format!("c{}", c % 4))));
                script.push(format!("set_inode_field {path} mode 0100644"));
            }
            Act::Remove(n) => {
                if model.now.remove(path(n)).is_some() {
                    script.push(format!("rm {}", path(n)));
                }
            }
            Act::Link(n, target) => {
                let path = path(n);
                script.extend(model.make_way(path).iter().map(|f| format!("mkdir {f}")));
                if model.now.insert(path.into(), Node::Link(*target)).is_some() {
                    script.push(format!("rm {path}"));
                }
                // Into a folder, to itself, to nowhere.
                script.push(format!("symlink {path} {}", ["..", path, "/none"][target % 3]));
            }
            Act::Mode(n, mode) => {
                if let Some(Node::File(_, m)) = model.now.get_mut(path(n)) {
                    *m = *mode;
                    script.push(format!("set_inode_field {} mode 0{:o}", path(n), 0o100_000 | mode));
                }
            }
            Act::Touch(n) => {
                if let Some(Node::File(..)) = model.now.get(path(n)) {
                    script.push(format!("set_inode_field {} mtime 200102030405", path(n)));
                }
            }
        }
    }
    fs::write(at("script"), script.join("\n")).expect("script");
    fs::write(at("root"), root).expect("root");
    if !script.is_empty() {
        let said = run("debugfs", &["-w", "-f", &at("script"), &at("root")]);
        let bad = ["not found", "Usage", "Could not", "already exists", "while"];
        assert!(!bad.iter().any(|b| said.contains(b)), "{script:#?}\n{said}");
    }
    let volume = engine::volume::open(&mem_bytes(root.to_vec())).expect("root");
    let original = |path: &str| volume.read(path, 1 << 20).expect("original");
    let changes = model.changes(place, &original);
    (fs::read(at("root")).expect("root"), changes)
}

/// A disk on which the guest has done this to an ESP and a root at these places; and all that has changed, sorted.
pub fn at_work(
    disk: &DiskRef,
    (esp_at, esp_number): (u64, u32),
    (root_at, root_number): (u64, u32),
    (esp_acts, root_acts): (&[Act], &[Act]),
) -> (DiskRef, Vec<String>) {
    let part = |at, len| Slice::new(disk.clone(), ByteOffset(at), ByteLen(len)).expect("slice");
    let esp: DiskRef = Arc::new(part(esp_at, ESP_LEN));
    let root = bytes_of(&(Arc::new(part(root_at, ROOT_LEN)) as DiskRef));
    let (on_esp, mut changes) = on_esp(&esp, esp_acts, &format!("partition {esp_number}"));
    let (new_root, more) = on_root(&root, root_acts, &format!("partition {root_number}"));
    changes.extend(more);
    changes.sort();
    let moved = on_esp.into_iter().map(|w| Write { at: ByteOffset(w.at.get() + esp_at), bytes: w.bytes });
    let mut writes: Vec<Write> = moved.collect();
    for (n, (old, new)) in root.chunks(4096).zip(new_root.chunks(4096)).enumerate() {
        if old != new {
            writes.push(Write { at: ByteOffset(root_at + n as u64 * 4096), bytes: new.into() });
        }
    }
    writes.sort_by_key(|w| w.at);
    (Arc::new(Overlay::new(disk.clone(), disk.geometry(), writes).expect("overlay")), changes)
}
