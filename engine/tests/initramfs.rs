//! Initramfs archives made by cpio, gzip, xz, zstd and lz4, listed here and by `cpio -t`.

#[path = "../../fuzz/src/initramfs.rs"]
mod fuzzed;

use engine::guest::initramfs::{End, Listing, MEMBERS_MAX, Packing, list};
use proptest::prelude::{any, prop, proptest};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The shell's answer on standard output, in the folder.
#[track_caller]
fn sh(dir: &Path, command: &str) -> Vec<u8> {
    let out = Command::new("sh").args(["-euc", command]).current_dir(dir).stdin(Stdio::null()).output();
    let out = out.expect("sh");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn listed(bytes: &[u8]) -> Listing {
    let mut bytes = bytes;
    list(&mut bytes)
}

/// Two trees as cpio archives, `early.cpio` and `main.cpio`, and what `cpio -t` says of each.
struct Made {
    dir: TempDir,
    early: Vec<String>,
    main: Vec<String>,
}

fn made() -> Made {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path();
    sh(
        at,
        "mkdir -p early/kernel/x86/microcode main/usr/lib/modules/6.1.0-9/kernel/drivers/hv main/etc main/dev
        head -c 70001 /dev/urandom > early/kernel/x86/microcode/GenuineIntel.bin
        cd main
        for f in hv_vmbus.ko hv_storvsc.ko.xz 'a name with spaces' \"$(printf 'long%0200d' 7)\"; do
            head -c 90000 /dev/zero > usr/lib/modules/6.1.0-9/kernel/drivers/hv/\"$f\"
        done
        seq 1 40000 > etc/numbers
        ln -s usr/lib lib; ln etc/numbers etc/again; : > etc/empty; mkfifo dev/pipe",
    );
    let pack = |tree: &str| {
        sh(
            at,
            &format!(
                "cd {tree}; find . -mindepth 1 | sort | sed 's|^./||' | cpio --quiet -o -H newc > ../{tree}.cpio"
            ),
        );
        let text = sh(at, &format!("cpio --quiet -t < {tree}.cpio"));
        String::from_utf8(text).expect("UTF-8").lines().map(str::to_string).collect::<Vec<_>>()
    };
    let (early, main) = (pack("early"), pack("main"));
    assert!(main.len() > 10 && early.len() == 4, "{main:?} {early:?}");
    Made { early, main, dir }
}

#[test]
fn lists_what_cpio_lists_whatever_it_is_packed_with() {
    let made = made();
    let cases = [
        (Packing::Plain, "cat"),
        (Packing::Gzip, "gzip -9n"),
        (Packing::Gzip, "gzip -1"),
        // As kernels and dracut call it; blocks of their own as `-T0` makes them; each kind of check.
        (Packing::Xz, "xz --check=crc32 --lzma2=dict=1MiB -c"),
        (Packing::Xz, "xz -9e --check=crc32 -c"),
        (Packing::Xz, "xz -T2 --block-size=100KiB --check=crc32 -c"),
        (Packing::Xz, "xz --check=none -c"),
        (Packing::Xz, "xz --check=crc64 -c"),
        (Packing::Xz, "xz --check=sha256 -c"),
        (Packing::Zstd, "zstd -q -1 -c"),
        (Packing::Zstd, "zstd -q -19 -T0 -c"),
        (Packing::Zstd, "zstd -q --ultra -22 --long=27 -c"),
        (Packing::Zstd, "zstd -q --no-check -c"),
        (Packing::Lz4, "lz4 -q -l -c"),
        (Packing::Lz4, "lz4 -q -l -9 -c"),
    ];
    for (packing, program) in cases {
        let packed = sh(made.dir.path(), &format!("{program} < main.cpio"));
        let found = listed(&packed);
        assert_eq!((&found.end, &found.names), (&End::Whole, &made.main), "{program}");
        let members: Vec<_> = found.members.iter().map(|m| (m.at, m.packing, m.names)).collect();
        assert_eq!(members, [(0, packing, made.main.len())], "{program}");
    }
    // What comes before it does not change it, nor what comes behind.
    for (packing, program) in cases.into_iter().filter(|(_, program)| program.len() < 20) {
        for (pad, tail) in [(0, 0), (512, 3), (4, 512)] {
            let shell = format!(
                "cat early.cpio; head -c {pad} /dev/zero; {program} < main.cpio; head -c {tail} /dev/zero"
            );
            let found = listed(&sh(made.dir.path(), &shell));
            assert_eq!(found.end, End::Whole, "{shell}");
            assert_eq!(found.names, [made.early.clone(), made.main.clone()].concat(), "{shell}");
            let packings: Vec<_> = found.members.iter().map(|m| m.packing).collect();
            let wanted =
                if packing == Packing::Plain { vec![Packing::Plain] } else { vec![Packing::Plain, packing] };
            assert_eq!(packings, wanted, "{shell}");
        }
    }
}

#[test]
fn lists_several_packed_members_one_after_another() {
    let made = made();
    // LZ4's old framing has no end: only zeros can follow it.
    let shell = "cat early.cpio; gzip < main.cpio; xz --check=crc32 -c < early.cpio; head -c 10 /dev/zero; \
        zstd -q -c < main.cpio; zstd -q -c < early.cpio; lz4 -q -l -c < main.cpio; head -c 8 /dev/zero; gzip < early.cpio";
    let found = listed(&sh(made.dir.path(), shell));
    let (e, m) = (&made.early, &made.main);
    let wanted = [e, m, e, m, e, m, e].map(|part| part.as_slice()).concat();
    assert_eq!((&found.end, &found.names), (&End::Whole, &wanted));
    let packings: Vec<_> = found.members.iter().map(|m| m.packing.name()).collect();
    assert_eq!(packings, ["plain", "gzip", "xz", "zstd", "zstd", "lz4", "gzip"]);
    // Two archives in one stream.
    let found = listed(&sh(made.dir.path(), "cat early.cpio main.cpio | xz --check=crc32 -c"));
    assert_eq!((found.end, found.names), (End::Whole, [e.as_slice(), m].concat()));
}

#[test]
fn what_is_cut_or_damaged_or_not_known_says_so_and_keeps_what_came_before() {
    let made = made();
    let shell = |text: &str| sh(made.dir.path(), text);
    let early = shell("cat early.cpio").len() as u64;
    let cases: [(&str, u64, &str); 13] = [
        ("head -c 60000 main.cpio", 0, "it ends in the middle of an entry"),
        ("cat early.cpio; gzip -n < main.cpio | head -c 3000", early, "gzip: "),
        ("cat early.cpio; xz --check=crc32 -c < main.cpio | head -c 3000", early, "xz: "),
        ("cat early.cpio; zstd -q -c < main.cpio | head -c 3000", early, "zstd: "),
        ("cat early.cpio; lz4 -q -l -c < main.cpio | head -c 3000", early, "lz4: the block at "),
        ("cat early.cpio; bzip2 -c < main.cpio", early, "it is packed with bzip2, which is not read"),
        (
            "cat early.cpio; xz --format=lzma -c < main.cpio",
            early,
            "it is packed with lzma, which is not read",
        ),
        (
            "cat early.cpio; lz4 -q -c < main.cpio",
            early,
            "a member begins with the byte 0x04, which is neither cpio nor a packing that is known",
        ),
        (
            "cat early.cpio; printf x",
            early,
            "a member begins with the byte 0x78, which is neither cpio nor a packing that is known",
        ),
        ("cat early.cpio; printf '0x'", 0, "it ends in the middle of an entry"),
        (
            "cd early; find . | cpio --quiet -o -H odc",
            0,
            "an entry begins with \"070707\", wanted \"070701\" (cpio -H newc)",
        ),
        ("echo hello | gzip", 0, "gzip: something else follows an archive within the packed data"),
        (
            "(cat early.cpio; echo hello) | zstd -q -c",
            0,
            "zstd: something else follows an archive within the packed data",
        ),
    ];
    for (text, at, why) in cases {
        let found = listed(&shell(text));
        let End::Broken { at: found_at, why: found_why } = &found.end else { panic!("{text}: {found:?}") };
        assert_eq!(*found_at, at, "{text}: {found_why}");
        assert!(found_why.starts_with(why), "{text}: {found_why:?}, wanted {why:?}");
        let kept =
            if at == 0 && !text.ends_with("0x'") { "" } else { "kernel/x86/microcode/GenuineIntel.bin" };
        assert!(kept.is_empty() || found.names.iter().any(|n| n == kept), "{text}: {:?}", found.names);
    }
    // A flipped bit in a stream with a checksum.
    for program in ["gzip -n", "xz --check=crc32 -c"] {
        let mut bytes = shell(&format!("{program} < main.cpio"));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        assert!(matches!(listed(&bytes).end, End::Broken { .. }), "{program}");
    }
}

#[test]
fn members_and_output_are_bounded() {
    let made = made();
    let one = sh(made.dir.path(), "printf '' | gzip -n");
    assert_eq!(listed(&one.repeat(MEMBERS_MAX)).end, End::Whole);
    let End::Broken { why, .. } = listed(&one.repeat(MEMBERS_MAX + 1)).end else { panic!("no bound") };
    assert_eq!(why, "it has more than 256 members");
    // 2 GiB of zeros behind an archive, in a few hundred kilobytes.
    let bomb = sh(made.dir.path(), "(cat early.cpio; head -c 2G /dev/zero) | zstd -q -1 -c");
    let End::Broken { why, .. } = listed(&bomb).end else { panic!("no bound") };
    assert_eq!(why, "zstd: more than 1073741824 bytes come out of it");
    // A window that no kernel takes.
    let wide = sh(made.dir.path(), "zstd -q --ultra -22 --long=31 --single-thread -c < main.cpio");
    let End::Broken { why, .. } = listed(&wide).end else { panic!("no bound") };
    assert!(why.starts_with("zstd: ") && why.contains("2147483648"), "{why}");
}

/// The inputs that fuzzing kept, and every find, played again: see `fuzz/README.md`.
#[test]
fn the_corpus_is_listed_or_refused() {
    let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
    let (mut inputs, mut whole) = (0, 0);
    for folder in ["corpus/initramfs", "cases/initramfs"] {
        let Ok(entries) = std::fs::read_dir(fuzz.join(folder)) else { continue };
        let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            println!("{}", path.display()); // the last one, when something does not hold
            inputs += 1;
            whole += usize::from(fuzzed::visit(&std::fs::read(&path).expect("an input")));
        }
    }
    assert!(inputs >= 60 && whole >= 20, "{inputs} inputs, {whole} of them whole");
}

proptest! {
    #[test]
    fn any_bytes_are_listed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), first in 0usize..8) {
        let head: &[u8] = [&b"070701"[..], b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"\0\0\0\0", b"", b"0707"][first];
        fuzzed::visit(&[head, &bytes].concat());
    }
}
