//! A comparison looks into logical volumes.

use crate::diff_support::{compare, told};
use crate::guest_support::{MIB, mem_bytes, run};
use crate::inspect::{EXTENT, FIRST_AT, PV_LEN, SECOND_AT, START, disk, spec};
use engine::diff::{Scope, Verdict};
use std::fs;
use std::ops::Range;

/// Where the pieces of `vg0/root` lie on the disk.
fn pieces() -> [Range<usize>; 2] {
    let (one, two) = (FIRST_AT + START, SECOND_AT + START + 4 * EXTENT);
    [one..one + 8 * EXTENT, two..two + 6 * EXTENT]
}

/// A program at work on the root file system, put back piece by piece.
fn on_root(disk: &mut [u8], act: impl Fn(&str)) {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("root");
    fs::write(&path, pieces().map(|piece| &disk[piece]).concat()).expect("root");
    act(path.to_str().expect("utf-8"));
    let root = fs::read(&path).expect("root");
    assert_eq!(root.len() as u64, 7 * MIB);
    let mut from = 0;
    for piece in pieces() {
        let len = piece.len();
        disk[piece].copy_from_slice(&root[from..from + len]);
        from += len;
    }
}

fn debugfs(command: &'static str) -> impl Fn(&mut [u8]) {
    move |disk| {
        on_root(disk, |root| {
            run("debugfs", &["-w", "-R", command, root]);
        });
    }
}

#[test]
fn what_changed_in_a_logical_volume_is_named() {
    let original = disk(&spec());
    let flip = |at: usize| move |disk: &mut [u8]| disk[at] ^= 0x55;
    type Change = Box<dyn Fn(&mut [u8])>;
    // With `!` in front: `--boot` tells it, too.
    let cases: [(Change, &[&str]); 7] = [
        (Box::new(|_| {}), &[]),
        (Box::new(debugfs("rm /etc/fstab")), &["!-logical volume vg0/root:/etc/fstab [mounts]"]),
        (Box::new(debugfs("mkdir /srv")), &["+logical volume vg0/root:/srv"]),
        (
            Box::new(|disk| {
                on_root(disk, |root| {
                    run("tune2fs", &["-L", "system", root]);
                })
            }),
            &[
                "!logical volume vg0/root file system label: root → system",
                "=logical volume vg0/root (ext4 \"root\")",
            ],
        ),
        // The striped volume begins behind the root on the first, at the start of the second.
        (
            Box::new(flip(FIRST_AT + START + 8 * EXTENT + 9000)),
            &["logical volume vg0/str-iped (swap): 512 in 1"],
        ),
        // In no logical volume: an extent that is free, and the last byte of the metadata area.
        (Box::new(flip(FIRST_AT + START + 36 * EXTENT)), &["=physical volumes"]),
        (Box::new(flip(SECOND_AT + START - 1)), &["=physical volumes"]),
    ];
    for (change, want) in cases {
        let mut changed = original.clone();
        change(&mut changed);
        assert!(SECOND_AT + PV_LEN <= changed.len());
        let (a, b) = (mem_bytes(original.clone()), mem_bytes(changed));
        let all = compare(&a, &b, Scope::All);
        let wanted: Vec<&str> = want.iter().map(|w| w.trim_start_matches('!')).collect();
        assert_eq!(told(&all), wanted, "\n{all}");
        assert_eq!(all.verdict == Verdict::Identical, want.is_empty());
        let boot = compare(&a, &b, Scope::Boot);
        let wanted: Vec<&str> = want.iter().filter_map(|w| w.strip_prefix('!')).collect();
        assert_eq!(told(&boot), wanted, "with --boot\n{boot}");
    }
}
