//! Makes the first inputs: images by `qemu-img` and by hand, dirty logs, differencing disks; each as a sparse input.
//!
//! usage: `cargo run --example seeds -- FOLDER` writes `FOLDER/<target>/NAME`
//!        `cargo run --example seeds -- parents` writes the parents of the differencing seeds (`fuzz/parents`), which inputs name by id
//!        `cargo run --example seeds -- encode IMAGE FLAGS` writes one image's input to standard output
//!        `cargo run --example seeds -- keep CONTROL FOLDER` chooses among the inputs of a run: see `fuzz/keep.sh`
//!        `cargo run --example seeds -- decode INPUT IMAGE` makes an image of an input, to look at it with other tools

mod initramfs;
mod keep;
mod lvm;
mod qemu;
mod vhd;
mod vhdx;

use drill_fuzz::sparse::{REPAIR, Sparse};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Largest input that is kept, in bytes.
const INPUT_MAX: usize = 8 << 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["encode", image, flags] => {
            let bytes = std::fs::read(image).expect("an image");
            let input = encode(&bytes, flags.parse().expect("a number"));
            std::io::stdout().write_all(&input).expect("standard output");
        }
        ["decode", input, image] => {
            let input = std::fs::read(input).expect("an input");
            let file = File::create(image).expect("a new file");
            Sparse::decode(&input).expect("an input").write(&file).expect("room");
        }
        ["parents"] => {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("parents");
            let bench = Bench::new();
            std::fs::write(dir.join("parent.vhd"), encode(&vhd::parent(), 0)).expect("a file");
            std::fs::write(dir.join("parent.vhdx"), encode(&vhdx::parent(&bench), 0)).expect("a file");
        }
        ["keep", control, folder] => keep::keep(Path::new(control), Path::new(folder)),
        [folder] => {
            let bench = Bench::new();
            save(folder, "qcow2", qemu::qcow2(&bench));
            save(folder, "vmdk", qemu::vmdk(&bench));
            save(folder, "vhd", qemu::vhd(&bench));
            save(folder, "vhd", vhd::by_hand());
            save(folder, "vhdx", qemu::vhdx(&bench));
            save(folder, "vhdx", vhdx::logs(&bench));
            save(folder, "vhdx", vhdx::differencing(&bench));
            save(folder, "lvm", lvm::made_by_lvm2());
            save(folder, "lvm", lvm::by_hand());
            save_plain(folder, "initramfs", initramfs::archives(&bench));
        }
        _ => {
            panic!("usage: FOLDER | parents | keep CONTROL FOLDER | encode IMAGE FLAGS | decode INPUT IMAGE")
        }
    }
}

/// Images by name.
type Images = Vec<(String, Vec<u8>)>;

/// Each image twice: as it is, and with the wish that checksums be put right.
fn save(folder: &str, target: &str, images: Images) {
    let dir = Path::new(folder).join(target);
    std::fs::create_dir_all(&dir).expect("a folder");
    for (name, bytes) in images {
        for flags in [0, REPAIR] {
            let input = encode(&bytes, flags);
            if input.len() > INPUT_MAX {
                eprintln!("{target}/{name}: {} bytes are too many", input.len());
                continue;
            }
            if flags == REPAIR && matches!(target, "qcow2" | "vmdk") {
                continue;
            }
            let suffix = if flags == REPAIR { "-repaired" } else { "" };
            std::fs::write(dir.join(format!("{name}{suffix}")), input).expect("a file");
        }
    }
}

/// Inputs that are what they are an input for.
fn save_plain(folder: &str, target: &str, inputs: Images) {
    let dir = Path::new(folder).join(target);
    std::fs::create_dir_all(&dir).expect("a folder");
    for (name, bytes) in inputs {
        assert!(bytes.len() <= INPUT_MAX, "{target}/{name}: {} bytes are too many", bytes.len());
        std::fs::write(dir.join(name), bytes).expect("a file");
    }
}

fn encode(bytes: &[u8], flags: u8) -> Vec<u8> {
    let input = Sparse { flags, len: bytes.len() as u64, pieces: vec![(0, bytes.to_vec())] }.encode();
    let back = Sparse::decode(&input).expect("an input");
    for (at, piece) in &back.pieces {
        assert_eq!(bytes[*at as usize..][..piece.len()], piece[..], "what was encoded is what is decoded");
    }
    input
}

/// A folder for images in the making.
pub struct Bench(PathBuf);

impl Bench {
    fn new() -> Bench {
        let dir = std::env::temp_dir().join(format!("drill-seeds-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a new folder");
        Bench(dir)
    }

    /// Run a tool in the folder.
    fn run(&self, command: &str) {
        let mut words = command.split_whitespace();
        let tool = words.next().expect("a tool");
        let out = Command::new(tool).args(words).current_dir(&self.0).output().expect("the tool runs");
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// What a shell script in the folder prints.
    fn sh(&self, script: &str) -> Vec<u8> {
        let out = Command::new("sh").args(["-euc", script]).current_dir(&self.0).output().expect("sh runs");
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    /// One command of `qemu-io` on the image.
    fn io(&self, command: &str) {
        let status = Command::new("qemu-io").args(["-c", command, "image"]).current_dir(&self.0).output();
        assert!(status.expect("qemu-io runs").status.success(), "{command}");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("an image")
    }

    /// A raw disk of `len` bytes with a few bytes that are not zero.
    fn raw(&self, name: &str, len: u64) {
        let mut bytes = vec![0; len as usize];
        for at in [0, 511, 4095, 65_530, 1 << 20, (2 << 20) + 700, len as usize - 8] {
            let end = bytes.len().min(at + 8);
            if at < end {
                bytes[at..end].fill(b'0' + (at % 10) as u8);
            }
        }
        std::fs::write(self.0.join(name), bytes).expect("a file");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
