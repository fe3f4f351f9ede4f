//! The inputs that fuzzing kept, and every find, played again: see `fuzz/README.md`.

#[path = "../../../fuzz/src/lvm.rs"]
mod lvm;
#[allow(dead_code, reason = "the container's tests use the rest")]
#[path = "../../../fuzz/src/sparse.rs"]
mod sparse;
#[allow(dead_code, reason = "the container's tests use the rest")]
#[path = "../../../fuzz/src/walk.rs"]
mod walk;

use self::sparse::{REPAIR, Sparse};
use engine::container::{Format, Gate, open_through};
use std::fs::File;
use std::path::Path;

#[test]
fn the_corpus_is_read_or_told_why_not() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
    let mut inputs = Vec::new();
    for folder in ["corpus/lvm", "cases/lvm"] {
        let Ok(entries) = std::fs::read_dir(fuzz.join(folder)) else { continue };
        inputs.extend(entries.map(|e| e.expect("an entry").path()));
    }
    inputs.sort();
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("input.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("file");
    let mut readable = 0;
    for input in &inputs {
        let bytes = std::fs::read(input).expect("an input");
        let Some(image) = Sparse::decode(&bytes) else { continue };
        image.write(&file).expect("room");
        if image.flags & REPAIR != 0 {
            lvm::repair(&file, image.len).expect("a file of ours");
        }
        println!("{}", input.display()); // the last one, when something does not hold
        let Ok(opened) = open_through(&path, Some(Format::Raw), &Gate::same_folder()) else { continue };
        readable += usize::from(lvm::visit(&opened.disk, 1));
    }
    assert!(inputs.len() >= 100, "{} inputs, wanted 100", inputs.len());
    assert!(readable >= 12, "{readable} inputs with a readable volume, wanted 12");
}
