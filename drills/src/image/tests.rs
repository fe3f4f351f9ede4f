//! The sandbox against a graph that follows names on purpose, and the client against servers that lie.

use super::graph::Graph;
use super::nbd::Client;
use super::sandbox::Sandbox;
use engine::disk::{ExtentKind, SourceFile};
use proptest::prelude::*;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const QEMU_NBD: &str = "/usr/bin/qemu-nbd";

#[test]
fn a_graph_that_names_a_file_finds_nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let (image, secret) = (dir.path().join("image"), dir.path().join("secret"));
    std::fs::write(&image, vec![1; 4096]).unwrap();
    std::fs::write(&secret, vec![2; 4096]).unwrap();
    let named = |path: &Path| json!({"driver": "raw", "file": {"driver": "file", "filename": path, "locking": "off"}});
    for (path, allowed) in [(secret.as_path(), false), (Path::new("/etc/shadow"), false), (&image, true)] {
        // The twin without the sandbox: the graph itself is sound, so only the sandbox can be what stops it.
        let info =
            Command::new("qemu-img").arg("info").arg(format!("json:{}", named(path))).output().unwrap();
        if !info.status.success() {
            eprintln!("not checked with {}: this user cannot read it anyway", path.display());
            continue;
        }
        let mut graph = Graph::new();
        let _ = graph.file(&SourceFile::open(&image).unwrap().into());
        graph.serve(named(path));
        let sandbox = Sandbox::start(Path::new(QEMU_NBD), dir.path(), &graph).unwrap();
        if !sandbox.confined() {
            eprintln!("NOT CHECKED: this kernel has no Landlock");
            return;
        }
        let (served, words) = outcome(&sandbox);
        assert_eq!(served, allowed, "{}: {words}", path.display());
        assert_eq!(words.contains("Permission denied"), !allowed, "{words}");
    }
}

#[test]
fn a_write_has_no_place_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::write(&image, vec![1; 4096]).unwrap();
    let mut graph = Graph::new();
    let mut node = graph.file(&SourceFile::open(&image).unwrap().into());
    node["read-only"] = false.into();
    graph.serve(json!({"driver": "raw", "file": node, "read-only": false}));
    let sandbox = Sandbox::start(Path::new(QEMU_NBD), dir.path(), &graph).unwrap();
    if !sandbox.confined() {
        eprintln!("NOT CHECKED: this kernel has no Landlock");
        return;
    }
    let (served, words) = outcome(&sandbox);
    assert!(!served && words.contains("Permission denied"), "{words}");
}

/// Whether it serves its graph, and what it said when it does not.
fn outcome(sandbox: &Sandbox) -> (bool, String) {
    // It makes its socket before it opens the image.
    let client = sandbox.connect().and_then(|s| Client::greet(s, "image".into()));
    let words = if client.is_ok() { None } else { sandbox.refusal() };
    (client.is_ok(), words.unwrap_or_default())
}

#[test]
fn a_reader_nobody_connects_to_is_gone_after_its_drop() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::write(&image, vec![1; 4096]).unwrap();
    let mut graph = Graph::new();
    let node = graph.file(&SourceFile::open(&image).unwrap().into());
    graph.serve(super::graph::raw(node));
    let sandbox = Sandbox::start(Path::new(QEMU_NBD), dir.path(), &graph).unwrap();
    let proc = format!("/proc/{}", sandbox.pid());
    assert!(Path::new(&proc).exists());
    drop(sandbox);
    assert!(!Path::new(&proc).exists());
}

/// The server's half of a good handshake for an export of 1 MiB, as one piece: nothing in it depends on what the client says.
fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"NBDMAGICIHAVEOPT\0\x03");
    let mut answer = |option: u32, kind: u32, body: &[u8]| {
        out.extend(0x0003_e889_0455_65a9u64.to_be_bytes());
        out.extend(option.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(body);
    };
    answer(8, 1, b"");
    answer(10, 4, b"\0\0\0\0base:allocation");
    answer(10, 1, b"");
    answer(7, 3, b"\0\0\0\0\0\0\0\x10\0\0\0\x03");
    answer(7, 1, b"");
    out
}

/// A chunk of the reply to the first request.
fn chunk(flags: u16, kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = 0x668e_33efu32.to_be_bytes().to_vec();
    out.extend(flags.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(1u64.to_be_bytes());
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
    out
}

fn at(offset: u64, rest: &[u8]) -> Vec<u8> {
    [&offset.to_be_bytes()[..], rest].concat()
}

/// A client whose server says `script` whatever it is asked, and then hangs up.
fn client(script: Vec<u8>) -> std::io::Result<Client> {
    let (near, mut far) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let _ = far.write_all(&script);
        let _ = far.shutdown(std::net::Shutdown::Write);
        // What the client says is taken off the line, so that it never waits.
        let _ = std::io::copy(&mut far, &mut std::io::sink());
    });
    Client::greet(near, "image".into())
}

#[track_caller]
fn greets(script: Vec<u8>, expect: &str) {
    let error = client(script).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(error, expect);
}

#[test]
fn a_handshake_out_of_line_is_an_error() {
    assert_eq!(client(greeting()).unwrap().len(), 1 << 20);
    let with = |at: usize, bytes: &[u8]| {
        let mut script = greeting();
        script[at..at + bytes.len()].copy_from_slice(bytes);
        script
    };
    greets(Vec::new(), "qemu-nbd hung up");
    greets(with(0, b"X"), "NBD greeting: wanted 0x4e42444d41474943, found 0x5842444d41474943");
    greets(with(8, b"X"), "NBD greeting: wanted newstyle negotiation, found 0x58484156454f5054");
    greets(with(16, b"\0\x01"), "NBD handshake flags: wanted 0x3, found 0x1");
    greets(with(18, b"\x01"), "NBD option reply: wanted 0x3e889045565a9, found 0x103e889045565a9");
    greets(with(26, b"\0\0\0\x09"), "NBD option reply: wanted one to option 8, found 9");
    greets(with(30, b"\x80\0\0\x01"), "NBD option reply: wanted agreement, found error 0x80000001 \"\"");
    greets(with(34, b"\xff\xff\xff\xff"), "NBD option reply: wanted at most 16384 bytes, found 4294967295");
    greets(with(62, b"BASE"), "NBD metadata context: wanted base:allocation, found BASE:allocation");
    let end = greeting().len();
    // The information about the export lies before the last answer of 20 bytes.
    greets(with(end - 22, b"\0\x01"), "NBD transmission flags: wanted a read-only export, found 0x1");
    greets(with(end - 32, b"\0\x09"), "NBD answer to GO: wanted the export's size, found none");
    greets(greeting()[..end - 20].to_vec(), "qemu-nbd hung up");
    // An answer that neither ends the option nor refuses it, over and over.
    let more = [&greeting()[18..30], &[0, 0, 0, 4, 0, 0, 0, 0]].concat();
    greets(
        [greeting()[..18].to_vec(), more.repeat(40)].concat(),
        "NBD option replies: wanted at most 32, found more",
    );
}

#[track_caller]
fn reads(reply: &[Vec<u8>], expect: Result<&[u8], &str>) {
    let client = client([greeting(), reply.concat()].concat()).unwrap();
    let mut buf = [0xA5; 8];
    let got = client.read(4096, &mut buf).map_err(|e| e.to_string());
    match expect {
        Ok(bytes) => assert_eq!(got.map(|()| buf.to_vec()), Ok(bytes.to_vec())),
        Err(why) => {
            assert_eq!(got, Err(format!("reading image at 0x1000: {why}")));
        }
    }
}

#[test]
fn a_read_is_whole_or_an_error() {
    let data = |flags, offset, bytes: &[u8]| chunk(flags, 1, &at(offset, bytes));
    reads(&[data(1, 4096, b"ABCDEFGH")], Ok(b"ABCDEFGH"));
    reads(&[data(0, 4096, b"ABCD"), chunk(1, 2, &at(4100, &4u32.to_be_bytes()))], Ok(b"ABCD\0\0\0\0"));
    reads(&[data(0, 4096, b"ABCDEFGH"), chunk(1, 0, b"")], Ok(b"ABCDEFGH"));
    reads(&[data(1, 4096, b"ABCD")], Err("NBD read: wanted bytes up to 0x1008, found an end at 0x1004"));
    reads(
        &[data(1, 4096, b"ABCDEFGHI")],
        Err("NBD chunk of a read: wanted bytes from 0x1000 on, at most 8, found 9 at 0x1000"),
    );
    reads(
        &[data(1, 0, b"ABCDEFGH")],
        Err("NBD chunk of a read: wanted bytes from 0x1000 on, at most 8, found 8 at 0x0"),
    );
    reads(
        &[data(0, 4096, b"ABCD"), data(1, 4096, b"ABCD")],
        Err("NBD chunk of a read: wanted bytes from 0x1004 on, at most 4, found 4 at 0x1000"),
    );
    reads(
        &[chunk(1, 2, &at(4096, &u32::MAX.to_be_bytes()))],
        Err("NBD chunk of a read: wanted bytes from 0x1000 on, at most 8, found 4294967295 at 0x1000"),
    );
    reads(
        &[chunk(1, 1, b"12345678")],
        Err("NBD chunk of a read: wanted bytes or zeros, found type 1, 8 bytes"),
    );
    reads(&[chunk(1, 77, b"")], Err("NBD chunk of a read: wanted bytes or zeros, found type 77, 0 bytes"));
    reads(&[chunk(1, 0x8001, b"\0\0\0\x05\0\x03bad")], Err("qemu-nbd: error 5 bad"));
    reads(&[chunk(1, 0x8001, b"\0\0\0\x05\xff\xffbad")], Err("qemu-nbd: error 5 "));
    reads(&[chunk(1, 0x8001, b"\0\0\0\0")], Err("NBD error: wanted a number, found 0"));
    reads(&[chunk(1, 0x8001, b"\0")], Err("NBD error: wanted at least 4 bytes, found 1"));
    reads(
        &vec![chunk(0, 0x8001, b"\0\0\0\x05"); 17],
        Err("NBD errors in one reply: wanted at most 16, found more"),
    );
    reads(&[], Err("qemu-nbd hung up"));
    reads(&[data(1, 4096, b"ABCD")[..20].to_vec()], Err("qemu-nbd hung up"));
    reads(
        &[b"gD\x66\x98\0\0\0\0\0\0\0\0\0\0\0\x01".to_vec()],
        Err("NBD reply: wanted 0x668e33ef, found 0x67446698"),
    );
    let mut other = data(1, 4096, b"ABCDEFGH");
    other[15] = 9;
    reads(&[other], Err("NBD reply: wanted one to request 1, found 9"));
}

#[test]
fn after_nonsense_nothing_is_asked_any_more_but_after_a_no_it_is() {
    let no = chunk(1, 0x8001, b"\0\0\0\x05");
    let mut yes = chunk(1, 1, &at(0, b"ABCDEFGH"));
    yes[15] = 2;
    let client_of = |first: Vec<u8>| client([greeting(), first, yes.clone()].concat()).unwrap();
    let refused = client_of(no);
    assert!(refused.read(0, &mut [0; 8]).is_err());
    let mut buf = [0; 8];
    refused.read(0, &mut buf).unwrap();
    assert_eq!(&buf, b"ABCDEFGH");
    let broken = client_of(chunk(1, 77, b""));
    assert!(broken.read(0, &mut buf).is_err());
    let again = broken.read(0, &mut buf).unwrap_err().to_string();
    assert!(again.contains("the line to qemu-nbd is broken: NBD chunk of a read"), "{again}");
}

#[test]
fn block_status_is_clamped_coalesced_and_checked() {
    let status = |pairs: &[(u32, u32)]| {
        let mut body = vec![0; 4];
        for (len, flags) in pairs {
            body.extend(len.to_be_bytes());
            body.extend(flags.to_be_bytes());
        }
        chunk(1, 5, &body)
    };
    let run = |reply: Vec<u8>| {
        client([greeting(), reply].concat()).unwrap().run_at(4096).map_err(|e| e.to_string())
    };
    for (pairs, end, kind) in [
        (&[(512, 0), (512, 1), (512, 3)][..], 5120, ExtentKind::Data),
        (&[(512, 3), (512, 0)], 4608, ExtentKind::Hole),
        (&[(512, 2), (512, 3)], 4608, ExtentKind::Zero),
        (&[(u32::MAX, 3)], 1 << 20, ExtentKind::Hole),
    ] {
        let found = run(status(pairs)).unwrap();
        assert_eq!((found.at, found.end, found.kind), (4096, end, kind));
    }
    for (reply, expect) in [
        (status(&[]), "NBD block status: wanted at least one stretch, found none"),
        (status(&[(0, 3)]), "NBD stretch of a block status: wanted a length, found 0"),
        (status(&[(u32::MAX, 3), (1, 3)]), "NBD block status: wanted stretches up to 0x100000, found more"),
        (chunk(1, 5, b"\0\0\0\0\0"), "NBD block status: wanted 4 bytes and pairs of 8, found 5 bytes"),
        (chunk(1, 5, b""), "NBD block status: wanted 4 bytes and pairs of 8, found 0 bytes"),
        (chunk(1, 1, &at(4096, b"x")), "NBD chunk of a block status: wanted one context, found type 1"),
        (chunk(1, 0, b""), "NBD block status: wanted at least one stretch, found none"),
        (
            [&chunk(1, 5, b"")[..16], &u32::MAX.to_be_bytes()].concat(),
            "NBD block status: wanted at most 2097156 bytes, found 4294967295",
        ),
    ] {
        assert_eq!(run(reply), Err(format!("reading image at 0x1000: {expect}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_from_a_server_end_in_an_error_or_an_answer(
        cut in 0usize..170,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flags in 0u16..2, kind in prop::sample::select(vec![0u16, 1, 2, 5, 0x8001, 0x8002]),
    ) {
        // Nonsense somewhere in the handshake, or behind the head of a chunk that is in order.
        let mut script: Vec<u8> = greeting().into_iter().take(cut).collect();
        if script.len() == greeting().len() {
            script.extend(chunk(flags, kind, &bytes));
        }
        script.extend(bytes);
        if let Ok(client) = client(script) {
            let _ = client.read(0, &mut [0; 64]);
            let _ = client.run_at(0);
        }
    }
}

#[test]
fn a_silent_or_dripping_server_is_late() {
    let patience = Duration::from_millis(200);
    for drip in [false, true] {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(&greeting()).unwrap();
        let server = std::thread::spawn(move || {
            // A good reply of 64 KiB that comes byte for byte, each well within the time for the whole.
            let head = chunk(1, 1, &at(0, &vec![7; 1 << 16]));
            let mut reply = head.iter().take_while(|_| drip);
            far.set_read_timeout(Some(patience / 16)).unwrap();
            loop {
                match far.read(&mut [0; 64]) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(_) => drop(reply.next().map(|byte| far.write_all(&[*byte]))),
                }
            }
        });
        let client = Client::greet_within(near, "image".into(), Duration::from_secs(10), patience).unwrap();
        let began = Instant::now();
        let error = client.read(0, &mut vec![0; 1 << 16]).unwrap_err().to_string();
        assert_eq!(error, "reading image at 0x0: qemu-nbd did not answer in time");
        assert!(began.elapsed() < Duration::from_secs(8));
        drop(client);
        server.join().unwrap();
    }
}
