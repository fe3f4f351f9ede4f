//! The inputs that fuzzing kept, and every find, played again: see `fuzz/README.md`.

#[path = "../../../fuzz/src/repair.rs"]
mod repair;
#[path = "../../../fuzz/src/sparse.rs"]
mod sparse;
#[path = "../../../fuzz/src/walk.rs"]
mod walk;

use self::sparse::{REPAIR, Sparse};
use crate::bench::{Bench, noise};
use engine::container::Format;
use proptest::prelude::{any, prop, proptest};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Play the corpus of one target again. Fewer inputs than `least`, or fewer of them that open than `opened`, and the corpus is not what it was.
#[track_caller]
fn check(target: &str, format: Format, least: usize, opened: usize) {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
    let bench = Bench::new();
    for parent in ["parent.vhd", "parent.vhdx"] {
        let bytes = std::fs::read(fuzz.join("parents").join(parent)).expect("a parent");
        let file = File::create(bench.path(parent)).expect("a file");
        Sparse::decode(&bytes).expect("a parent").write(&file).expect("room");
    }
    let path = bench.path("input.img");
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
    let inputs =
        [inputs(&fuzz.join("corpus").join(target)), inputs(&fuzz.join("cases").join(target))].concat();
    let mut found = 0;
    for input in &inputs {
        let bytes = std::fs::read(input).expect("an input");
        let Some(image) = Sparse::decode(&bytes) else { continue };
        image.write(&file).expect("room");
        if image.flags & REPAIR != 0 {
            repair::repair(&file, image.len, format).expect("a file of ours");
        }
        println!("{}", input.display()); // the last one, when something does not hold
        found += usize::from(walk::visit(&path, format, u64::from(crc32c::crc32c(&bytes))));
    }
    assert!(inputs.len() >= least, "{} inputs for {target}, wanted {least}", inputs.len());
    assert!(found >= opened, "{found} inputs for {target} open, wanted {opened}");
}

/// Files of a folder, sorted; none if it is not there.
fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    found.sort();
    found
}

#[test]
fn the_corpus_of_vhd_is_opened_or_refused_and_reads_as_it_should() {
    check("vhd", Format::Vhd, 80, 20);
}

#[test]
fn the_corpus_of_vhdx_is_opened_or_refused_and_reads_as_it_should() {
    check("vhdx", Format::Vhdx, 100, 20);
}

#[test]
fn the_corpus_of_qcow2_is_opened_or_refused_and_reads_as_it_should() {
    check("qcow2", Format::Qcow2, 60, 15);
}

#[test]
fn the_corpus_of_vmdk_is_understood_or_refused() {
    check("vmdk", Format::Vmdk, 80, 10);
}

#[test]
fn a_sparse_file_comes_back_from_its_input() {
    let bytes = [noise(1, 40_000), vec![0; 100_000], vec![7; 40_000], vec![0; 3], noise(2, 600)].concat();
    let input = Sparse { flags: REPAIR, len: bytes.len() as u64, pieces: vec![(0, bytes.clone())] }.encode();
    assert!(input.len() < 41_000, "zeros and repeated bytes cost {} bytes", input.len());
    let back = Sparse::decode(&input).expect("an input");
    assert_eq!((back.flags, back.len), (REPAIR, bytes.len() as u64));
    let bench = Bench::new();
    let path = bench.path("image");
    back.write(&File::create(&path).expect("a file")).expect("room");
    crate::bench::same(&std::fs::read(&path).expect("the image"), &bytes);
}

proptest! {
    /// Every string is a file, and one that stays within its length.
    #[test]
    fn any_string_is_a_sparse_file(input in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(file) = Sparse::decode(&input) {
            assert!(file.len <= sparse::LEN_MAX && file.pieces.len() <= sparse::PIECES_MAX);
            assert!(file.pieces.iter().all(|(at, bytes)| at + bytes.len() as u64 <= file.len));
        } else {
            assert!(input.len() < 7);
        }
    }
}
