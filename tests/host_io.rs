//! A host that does not serve the guest's disk is broken; the guest that could not start because of it has not failed.

mod common;

use common::{drill, outside, qemus_of, text, tiny};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The server that reads a foreign image of this folder.
fn reader(image: &Path) -> Option<Pid> {
    let name = image.file_name()?.to_str()?;
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let cmdline =
            String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        let opens = std::fs::read_dir(entry.path().join("fd")).is_ok_and(|fds| {
            fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with(name)))
        });
        (cmdline.contains("qemu-nbd") && opens).then(|| Pid::from_raw(pid))?
    })
}

#[test]
fn a_disk_that_hangs_on_this_host_makes_a_boot_broken_and_never_failed() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("hangs.vmdk");
    outside("qemu-img", &["convert", "-O", "vmdk", &text(tiny()), &text(&image)]);
    let args = ["boot", "hangs.vmdk", "--as", "gen2", "--within", "120s"];
    let child = drill(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while qemus_of(dir.path()).is_empty() {
        assert!(Instant::now() < end, "no QEMU was started within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = reader(&image).expect("the image's reader runs");
    kill_process(server, Signal::STOP).unwrap();
    let output = child.wait_with_output().unwrap();
    let _ = kill_process(server, Signal::CONT);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("this host"), "{said}");
    println!("{said}");
}
