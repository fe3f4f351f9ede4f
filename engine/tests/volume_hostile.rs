//! Damaged file systems: errors, never a panic or a hang. A program of its own, because it silences the panic hook.

mod guest_support;

use engine::volume::open;
use guest_support::{MIB, mem_bytes, run};
use std::fs::{self, File};

/// Hostile bytes: one of many single changes to the structures at the front. Errors are fine; a panic or a hang is not.
#[test]
fn damaged_volumes_give_errors() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_string();
    let image = |name: &str, len: u64| {
        File::create(path(name)).and_then(|f| f.set_len(len)).expect("image");
        path(name)
    };
    let tree = path("tree");
    fs::create_dir_all(format!("{tree}/etc/deep")).expect("folder");
    fs::write(format!("{tree}/etc/name"), "drill").expect("file");
    fs::write(format!("{tree}/etc/deep/long"), vec![7; 300_000]).expect("file");
    let ext = image("ext", 8 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-d", &tree, &ext]);
    let fat = image("fat", 4 * MIB);
    run("mkfs.vfat", &["-F", "16", "-s", "1", &fat]);
    run("mcopy", &["-s", "-i", &fat, &format!("{tree}/etc"), "::/"]);
    let ntfs = image("ntfs", 8 * MIB);
    run("mkntfs", &["-Q", "-F", &ntfs]);
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let kept = ["xfs", "btrfs"].map(|name| {
        let packed = format!("{}/tests/volume_data/{name}.img.gz", env!("CARGO_MANIFEST_DIR"));
        run("cp", &[&packed, &path(&format!("{name}.gz"))]);
        run("gzip", &["-d", &path(&format!("{name}.gz"))]);
        path(name)
    });
    let [xfs, btrfs] = kept;
    // What the readers say of caught panics would only hide the one line that matters.
    std::panic::set_hook(Box::new(|_| {}));
    for image in [ext, fat, ntfs, xfs, btrfs] {
        let good = fs::read(&image).expect("image");
        let used: Vec<usize> =
            (0..good.len()).step_by(64).filter(|at| good[*at..*at + 64].iter().any(|b| *b != 0)).collect();
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..=random(4) {
                let at = used[random(used.len().min(2000))] + random(64);
                bytes[at] = [0, 0xff, 0x80, bytes[at] ^ (1 << random(8))][random(4)];
            }
            if let Ok(volume) = open(&mem_bytes(bytes)) {
                for dir in ["/", "/etc", "/etc/deep"] {
                    let _ = volume.read_dir(dir);
                }
                for path in ["/", "/etc/name", "/etc/deep/long"] {
                    let _ = volume.metadata(path);
                    // A hostile length is no reason to read for ever.
                    let mut piece = vec![0; 64 << 10];
                    if let Ok(mut stream) = volume.stream(path) {
                        let _ = (0..32).take_while(|_| stream.read(&mut piece).is_ok_and(|n| n > 0)).count();
                    }
                }
                let _ = (
                    volume.read("/etc/name", 1 << 20),
                    volume.read("/etc/deep/long", 2 << 20),
                    volume.journal(),
                );
            }
        }
    }
    let _ = std::panic::take_hook();
}
