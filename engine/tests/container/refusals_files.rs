//! Things that are no image at all: each refusal word for word, with what to do next.

use crate::bench::{Bench, run, text};
use engine::container::open;
use std::path::Path;

/// What is said of `path`, its name taken out.
#[track_caller]
fn check(path: &Path, expect: &str, next: &str) {
    let error = open(path, None).expect_err("must be refused");
    let said = error.to_string().replace(text(path), "FILE");
    assert_eq!((said.as_str(), error.next()), (expect, next));
}

const NOT_A_FILE: &str = "give the path of a disk image";
const UNKNOWN: &str = "convert it with qemu-img to VHDX or raw; if it is a raw disk without a partition table, say so with --format raw";

#[test]
fn what_is_no_file_is_refused() {
    let bench = Bench::new();
    check(
        &bench.path("missing"),
        "opening FILE: No such file or directory (os error 2)",
        "check the path and that you may read the file",
    );
    let wanted = "FILE: wanted a file or a block device, found a";
    std::fs::create_dir(bench.path("folder")).expect("a folder");
    check(&bench.path("folder"), &format!("{wanted} directory; {NOT_A_FILE}"), NOT_A_FILE);
    run("mkfifo", [text(&bench.path("pipe"))]);
    check(&bench.path("pipe"), &format!("{wanted} pipe; {NOT_A_FILE}"), NOT_A_FILE);
    check(Path::new("/dev/zero"), &format!("{wanted} character device; {NOT_A_FILE}"), NOT_A_FILE);
    let socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).expect("a socket");
    check(
        &bench.path("socket"),
        "opening FILE: No such device or address (os error 6)",
        "check the path and that you may read the file",
    );
    drop(socket);
}

#[test]
fn what_is_no_image_is_refused() {
    let known = "FILE: not a disk image drill knows: wanted a VHDX, VHD, qcow2, VMDK or a raw disk with a partition table, found";
    for (name, bytes, found) in [
        ("empty", &b""[..], "an empty file"),
        ("zeros", &[0; 5000][..], "4608 bytes of zeros at its beginning"),
        ("short", b"ab", "a file that begins with 61 62"),
        ("text", b"Subject: backup\n", "a file that begins with 53 75 62 6a 65 63 74 3a"),
        ("gzip", b"\x1f\x8b\x08\0", "a gzip file; unpack it"),
        ("xz", b"\xfd7zXZ\0\0", "an xz file; unpack it"),
        ("zstd", b"(\xb5/\xfd\0", "a zstd file; unpack it"),
        ("zip", b"PK\x03\x04", "a zip file; unpack it"),
        ("vdi", b"<<< Oracle VM VirtualBox Disk Image >>>", "a VirtualBox VDI"),
        ("elf", b"\x7fELF", "a program"),
    ] {
        let bench = Bench::new();
        std::fs::write(bench.path(name), bytes).expect("a file");
        check(&bench.path(name), &format!("{known} {found}"), UNKNOWN);
    }
}
