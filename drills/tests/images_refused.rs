//! Names that lead out of an image's folder, and pieces that do not belong together: each is refused, with these very words.

use drills::image::{Reader, open};
use engine::container::Gate;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    fn qemu_img(&self, args: &[&str]) {
        let out =
            Command::new("qemu-img").args(args).current_dir(self.dir.path()).output().expect("qemu-img runs");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn patch(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(self.path(name)).expect("a file of ours");
        file.write_all_at(bytes, at).expect("a write");
    }

    /// A qcow2 on `backing`, which need not exist.
    fn on(&self, image: &str, backing: &str, format: Option<&str>) {
        self.qemu_img(&["create", "-q", "-f", "qcow2", image, "8M"]);
        let mut args = vec!["rebase", "-u", "-f", "qcow2", "-b", backing];
        args.extend(format.iter().flat_map(|f| ["-F", f]));
        // Without a format qemu-img demands one; the name alone is written by hand then.
        match format {
            Some(_) => {
                args.push(image);
                self.qemu_img(&args);
            }
            None => {
                self.patch(image, 0x300, backing.as_bytes());
                self.patch(image, 8, &0x300u64.to_be_bytes());
                self.patch(image, 16, &(backing.len() as u32).to_be_bytes());
            }
        }
    }

    /// A descriptor file with these extents.
    fn descriptor(&self, image: &str, more: &str) {
        let head = "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n";
        std::fs::write(self.path(image), format!("{head}{more}\n")).expect("a file");
    }

    /// What is said about `image`, with the folder cut off. The program that would read it does not exist: a refusal needs none.
    #[track_caller]
    fn refusal(&self, image: &str, given: &[&str]) -> (String, String) {
        let gate = Gate::same_folder().with_given(given.iter().map(|g| self.path(g)));
        let reader = Reader { qemu_nbd: Some("/nowhere/qemu-nbd".into()), sockets: self.path("") };
        let error = open(&self.path(image), None, &gate, &reader).expect_err("must be refused");
        let dir = format!("{}/", self.dir.path().display());
        (error.to_string().replace(&dir, "DIR/"), error.next().to_owned())
    }
}

#[track_caller]
fn check(prepare: impl FnOnce(&Bench), expect: &str) {
    let bench = Bench::new();
    prepare(&bench);
    let (error, next) = bench.refusal("image", &[]);
    assert_eq!(error, expect);
    assert!(!next.is_empty());
}

#[test]
fn a_backing_file_elsewhere_is_not_followed() {
    for name in ["/etc/shadow", "../x", "sub/x", "/x"] {
        let expect = format!(
            "DIR/image: names {name:?} as its backing file, which is not in its own folder; a name inside an image is not followed out of it"
        );
        for format in [Some("raw"), None] {
            check(|b| b.on("image", name, format), &expect);
        }
    }
}

#[test]
fn a_backing_file_that_is_no_file_is_not_followed() {
    for name in [
        "nbd:unix:/x",
        "nbd://host/x",
        "ssh://host/x",
        "https://host/x",
        "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}",
        "fat:/etc",
        "file:x",
    ] {
        let expect = format!("DIR/image: names {name:?} as its backing file, which is no name of a file");
        check(|b| b.on("image", name, None), &expect);
    }
}

#[test]
fn a_backing_file_must_be_there_and_be_itself() {
    let missing = "DIR/image: names \"x\" as its backing file, which was not opened: opening DIR/x: No such file or directory (os error 2)";
    check(|b| b.on("image", "x", Some("raw")), missing);
    let link = "DIR/image: names \"x\" as its backing file, which was not opened: DIR/x: wanted a file or a block device, found a symbolic link; give the path of a disk image";
    check(
        |b| {
            b.on("image", "x", Some("raw"));
            std::os::unix::fs::symlink("/etc/shadow", b.path("x")).expect("a link");
        },
        link,
    );
    let folder = "DIR/image: names \"x\" as its backing file, which was not opened: DIR/x: wanted a file or a block device, found a directory; give the path of a disk image";
    check(
        |b| {
            b.on("image", "x", Some("raw"));
            std::fs::create_dir(b.path("x")).expect("a folder");
        },
        folder,
    );
}

#[test]
fn a_chain_ends() {
    let ring = "DIR/image: is in its own chain of backing files: the chain is a loop";
    check(|b| b.on("image", "image", Some("qcow2")), ring);
    check(
        |b| {
            b.on("image", "b", Some("qcow2"));
            b.on("b", "image", Some("qcow2"));
        },
        ring,
    );
    let deep = |b: &Bench| {
        b.on("n", "N65", Some("qcow2"));
        let plain = std::fs::read(b.path("n")).expect("an image");
        for n in 1..=65 {
            let name = if n == 1 { "image".to_owned() } else { format!("N{:02}", n - 1) };
            std::fs::write(b.path(&name), &plain).expect("an image");
            let at = plain.windows(3).position(|w| w == b"N65").expect("the name");
            b.patch(&name, at as u64, format!("N{n:02}").as_bytes());
        }
    };
    check(deep, "DIR/N64: is file 65 of a chain, wanted at most 64");
}

#[test]
fn the_format_of_a_backing_file_is_recorded_and_true() {
    let raw = |b: &Bench| {
        std::fs::write(b.path("x"), noise()).expect("a file");
    };
    check(
        |b| {
            raw(b);
            b.on("image", "x", None);
        },
        "DIR/image: names \"x\" as its backing file without recording its format, and DIR/x is no container",
    );
    check(
        |b| {
            raw(b);
            b.on("image", "x", Some("qcow2"));
        },
        "DIR/image: records qcow2 as the format of its backing file, but DIR/x is none",
    );
    check(
        |b| {
            b.qemu_img(&["create", "-q", "-f", "vhdx", "x", "8M"]);
            b.on("image", "x", None);
        },
        "DIR/x: a VHDX under an image that QEMU must read, which is not supported",
    );
    check(
        |b| {
            b.qemu_img(&["create", "-q", "-f", "vhdx", "x", "8M"]);
            b.on("image", "x", Some("vpc"));
        },
        "DIR/image: records vpc as the format of its backing file, but DIR/x is VHDX",
    );
    check(
        |b| {
            raw(b);
            b.on("image", "x", Some("luks"));
        },
        "DIR/image: records \"luks\" as the format of its backing file, which is not read",
    );
}

#[test]
fn what_nobody_reads_is_refused_in_a_chain_too() {
    for (at, byte, what) in [
        (35, 2, "encryption"),
        (79, 4, "its data in another file"),
        (79, 2, "the mark that it is corrupt (qemu-img check -r all)"),
    ] {
        check(
            |b| {
                b.on("image", "x", Some("qcow2"));
                b.qemu_img(&["create", "-q", "-f", "qcow2", "x", "8M"]);
                b.patch("x", at, &[byte]);
            },
            &format!("DIR/x: a qcow2 with {what}, which is not read"),
        );
    }
}

#[test]
fn an_extent_is_a_plain_name_of_a_whole_file() {
    let elsewhere = "which is not in its own folder; a name inside an image is not followed out of it";
    for (extent, expect) in [
        ("RW 8 FLAT \"/etc/shadow\" 0", format!("DIR/image: names \"/etc/shadow\" as its extent, {elsewhere}")),
        ("RW 8 VMFS \"../x\"", format!("DIR/image: names \"../x\" as its extent, {elsewhere}")),
        ("RW 8 SPARSE \"nbd:unix:/x\"", "DIR/image: names \"nbd:unix:/x\" as its extent, which is no name of a file".into()),
        (
            "RW 8 FLAT \"gone\" 0",
            "DIR/image: names \"gone\" as its extent, which was not opened: opening DIR/gone: No such file or directory (os error 2)".into(),
        ),
        ("RW 8 FLAT", "DIR/image: names \"\" as its extent, which is no name of a file".into()),
        ("RW 8 ZERO", "DIR/image: has an extent of the kind \"ZERO\", which is not read".into()),
        ("RW 8 VMFSSPARSE \"x\"", "DIR/image: has an extent of the kind \"VMFSSPARSE\", which is not read".into()),
        ("NOACCESS 8 FLAT \"x\" 0", "DIR/image: has an extent with NOACCESS: its bytes are not to be had".into()),
        (
            "RW 9 FLAT \"x\" 0",
            "DIR/x: VMDK: VMDK flat extent at 0x1000: wanted 9 sectors from sector 0 on, found a shorter file".into(),
        ),
        (
            "RW 1 FLAT \"x\" 8",
            "DIR/x: VMDK: VMDK flat extent at 0x1000: wanted 1 sectors from sector 8 on, found a shorter file".into(),
        ),
        (
            "RW 1 FLAT \"x\" 18446744073709551615",
            "DIR/x: VMDK: VMDK flat extent at 0x1000: wanted 1 sectors from sector 18446744073709551615 on, found a shorter file".into(),
        ),
        ("RW 8 SPARSE \"x\"", "DIR/x: VMDK: VMDK sparse header magic at 0x0: wanted `KDMV`, found [01, 01, 01, 01]".into()),
    ] {
        check(
            |b| {
                std::fs::write(b.path("x"), [1; 4096]).expect("a file");
                b.descriptor("image", extent);
            },
            &expect,
        );
    }
}

#[test]
fn a_sparse_extent_holds_what_its_descriptor_says_and_names_nothing() {
    let sparse = |b: &Bench, sectors: u64| {
        b.qemu_img(&["create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "x.vmdk", "8M"]);
        b.descriptor("image", &format!("RW {sectors} SPARSE \"x-s001.vmdk\""));
    };
    check(
        |b| sparse(b, 16383),
        "DIR/x-s001.vmdk: VMDK: VMDK extent at 0xc: wanted 16383 sectors, as the descriptor says, found 16384",
    );
    // QEMU would take such an extent for a descriptor file, and open what that names.
    check(
        |b| {
            sparse(b, 16384);
            b.patch("x-s001.vmdk", 12, &[0; 8]);
        },
        "DIR/x-s001.vmdk: VMDK: VMDK sparse header capacity at 0xc: wanted at most 64 TiB and not 0, found 0 sectors",
    );
}

#[test]
fn a_delta_without_its_parent_is_no_disk() {
    // QEMU draws the id at random and writes it without leading zeros; only one of 8 digits can be written over.
    let id_at = |b: &Bench, name: &str, key: &[u8]| {
        let bytes = std::fs::read(b.path(name)).expect("the image");
        let at = bytes.windows(key.len()).position(|w| w == key).expect("an id") + key.len();
        (bytes.get(at + 8) == Some(&b'\n')).then_some(at as u64)
    };
    let delta = |b: &Bench| {
        loop {
            b.qemu_img(&["create", "-q", "-f", "vmdk", "base.vmdk", "8M"]);
            b.qemu_img(&["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", "image"]);
            let places = (id_at(b, "image", b"parentCID="), id_at(b, "base.vmdk", b"CID="));
            if let (Some(parent), Some(own)) = places {
                b.patch("image", parent, b"12345678");
                b.patch("base.vmdk", own, b"0000cafe");
                return;
            }
        }
    };
    check(
        delta,
        "DIR/image: a VMDK that needs a parent with CID 12345678, named \"base.vmdk\", and no file fits; \
         tried: DIR/base.vmdk: has CID 0000cafe",
    );
    check(
        |b| {
            delta(b);
            std::fs::write(b.path("base.vmdk"), noise()).expect("a file");
        },
        "DIR/image: a VMDK that needs a parent with CID 12345678, named \"base.vmdk\", and no file fits; \
         tried: DIR/base.vmdk: no VMDK",
    );
}

#[test]
fn a_file_of_another_name_is_not_taken_because_it_was_given() {
    let (bench, other) = (Bench::new(), Bench::new());
    std::fs::write(other.path("y"), noise()).expect("a file");
    bench.on("image", "/elsewhere/x", Some("raw"));
    let given = other.path("y").display().to_string();
    let (error, next) = bench.refusal("image", &[&given]);
    assert!(error.contains("which is not in its own folder"), "{error}");
    assert_eq!(next, "if that file is meant, give it: --parent FILE");
    assert!(Path::new(&given).exists());
}

fn noise() -> Vec<u8> {
    (0..8192u32).map(|n| (n % 251) as u8 + 1).collect()
}
