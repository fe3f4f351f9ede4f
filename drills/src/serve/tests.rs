//! The server against qemu-img, and against clients that do not behave.

use super::{OnError, Server};
use engine::disk::{Disk, DiskRef, Extent, ExtentKind, Geometry, ReadError};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes in memory; reads that touch `bad` fail.
struct Memory {
    bytes: Vec<u8>,
    bad: Option<u64>,
}

impl Disk for Memory {
    fn geometry(&self) -> Geometry {
        Geometry { len: ByteLen(self.bytes.len() as u64), sector: SectorSize::B512 }
    }
    fn read_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let (at, len, end) = (at.get(), buf.len() as u64, self.bytes.len() as u64);
        if at.checked_add(len).is_none_or(|e| e > end) {
            return Err(ReadError::OutOfRange { at, len, end });
        }
        if self.bad.is_some_and(|b| (at..at + len).contains(&b)) {
            return Err(ReadError::Corrupt {
                what: "test".into(),
                at,
                wanted: "good".into(),
                found: "bad".into(),
            });
        }
        buf.copy_from_slice(&self.bytes[at as usize..(at + len) as usize]);
        Ok(())
    }
    fn next_extent(&self, from: ByteOffset) -> Result<Option<Extent>, ReadError> {
        let left = (self.bytes.len() as u64).saturating_sub(from.get());
        Ok((left > 0).then_some(Extent { at: from, len: ByteLen(left), kind: ExtentKind::Data }))
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn ignore() -> OnError {
    Arc::new(|_| {})
}

fn serve(bytes: Vec<u8>) -> (tempfile::TempDir, PathBuf, Server) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nbd.sock");
    let disk: DiskRef = Arc::new(Memory { bytes, bad: None });
    let server = Server::start(disk, &socket, "disk0", ignore()).unwrap();
    (dir, socket, server)
}

fn url(socket: &Path, export: &str) -> String {
    format!("nbd+unix:///{export}?socket={}", socket.display())
}

fn qemu_img(args: &[&str]) -> Output {
    Command::new("qemu-img").args(args).output().expect("qemu-img is installed")
}

#[track_caller]
fn ok(out: &Output) -> String {
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn qemu_reads_the_same_bytes() {
    let bytes = pattern(5 * 1024 * 1024 + 512);
    let (dir, socket, server) = serve(bytes.clone());
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let out = dir.path().join("out.raw");
    let out_name = out.to_str().unwrap();
    for name in ["disk0", ""] {
        let url = url(&socket, name);
        assert!(ok(&qemu_img(&["info", &url])).contains("5243392 bytes"));
        ok(&qemu_img(&["convert", "-f", "raw", "-O", "raw", &url, out_name]));
        assert!(std::fs::read(&out).unwrap() == bytes, "the copy differs");
        ok(&qemu_img(&["compare", "-f", "raw", "-F", "raw", &url, out_name]));
    }
    let wrong = qemu_img(&["info", &url(&socket, "other")]);
    assert!(!wrong.status.success());
    drop(server);
    assert!(!socket.exists());
}

#[test]
fn a_child_of_qemu_writes_on_top_and_the_export_stays() {
    let bytes = pattern(1024 * 1024);
    let (dir, socket, _server) = serve(bytes.clone());
    let child = dir.path().join("child.qcow2");
    let backing = url(&socket, "disk0");
    ok(&qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &backing, child.to_str().unwrap()]));
    let io = |args: &[&str]| Command::new("qemu-io").args(args).output().expect("qemu-io is installed");
    ok(&io(&[
        "-f",
        "qcow2",
        "-c",
        "write -P 0x5a 64k 4k",
        "-c",
        "read -P 0x5a 64k 4k",
        child.to_str().unwrap(),
    ]));
    let direct = io(&["-f", "raw", "-c", "write -P 1 0 512", &backing]);
    assert!(
        !direct.status.success() || String::from_utf8_lossy(&direct.stdout).contains("ermi"),
        "{direct:?}"
    );
    let out = dir.path().join("out.raw");
    ok(&qemu_img(&["convert", "-f", "raw", "-O", "raw", &backing, out.to_str().unwrap()]));
    assert!(std::fs::read(&out).unwrap() == bytes);
}

/// A client that has gone through the handshake.
fn connected(socket: &Path) -> UnixStream {
    let mut s = UnixStream::connect(socket).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut hello = [0; 18];
    s.read_exact(&mut hello).unwrap();
    assert_eq!(&hello[..16], b"NBDMAGICIHAVEOPT");
    s.write_all(&3u32.to_be_bytes()).unwrap();
    s.write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\x05disk0").unwrap();
    let mut size = [0; 10];
    s.read_exact(&mut size).unwrap();
    s
}

fn request(kind: u16, offset: u64, len: u32) -> Vec<u8> {
    let mut r = vec![0x25, 0x60, 0x95, 0x13, 0, 0];
    r.extend(kind.to_be_bytes());
    r.extend(b"cookie42");
    r.extend(offset.to_be_bytes());
    r.extend(len.to_be_bytes());
    r
}

fn answer(s: &mut UnixStream) -> u32 {
    let mut reply = [0; 16];
    s.read_exact(&mut reply).unwrap();
    assert_eq!(reply[..4], [0x67, 0x44, 0x66, 0x98]);
    assert_eq!(&reply[8..], b"cookie42");
    u32::from_be_bytes(reply[4..8].try_into().unwrap())
}

#[test]
fn refusals_have_the_protocols_own_errors_and_the_line_stays_usable() {
    let bytes = pattern(4096);
    let (_dir, socket, _server) = serve(bytes.clone());
    let mut s = connected(&socket);
    for (kind, offset, len, payload, want) in [
        (0, 4096, 1, 0, 22),
        (0, u64::MAX, 512, 0, 22),
        (0, 0, u32::MAX, 0, 22),
        (0, 0, (32 << 20) + 1, 0, 22),
        (1, 0, 512, 512, 1),
        (1, u64::MAX, 70_000, 70_000, 1),
        (4, 0, 512, 0, 1),
        (6, 0, 512, 0, 1),
        (3, 0, 0, 0, 0),
        (7, 0, 512, 0, 22),
        (99, 0, 0, 0, 22),
    ] {
        s.write_all(&request(kind, offset, len)).unwrap();
        s.write_all(&vec![7; payload]).unwrap();
        assert_eq!(answer(&mut s), want, "command {kind} at {offset} of {len}");
    }
    s.write_all(&request(0, 100, 200)).unwrap();
    assert_eq!(answer(&mut s), 0);
    let mut data = [0; 200];
    s.read_exact(&mut data).unwrap();
    assert_eq!(data[..], bytes[100..300]);
    s.write_all(&request(2, 0, 0)).unwrap();
    assert_eq!(s.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_read_error_is_an_io_error_for_the_client_and_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let disk: DiskRef = Arc::new(Memory { bytes: pattern(8192), bad: Some(5000) });
    let _server =
        Server::start(disk, &socket, "disk0", Arc::new(move |e| log.lock().unwrap().push(e.to_string())))
            .unwrap();
    let mut s = connected(&socket);
    s.write_all(&request(0, 4096, 4096)).unwrap();
    assert_eq!(answer(&mut s), 5);
    assert_eq!(seen.lock().unwrap().as_slice(), ["test at 0x1000: wanted good, found bad"]);
    s.write_all(&request(0, 0, 512)).unwrap();
    assert_eq!(answer(&mut s), 0);
}

#[test]
fn a_list_names_the_export_and_a_malformed_option_is_invalid() {
    let (_dir, socket, _server) = serve(pattern(512));
    let mut s = UnixStream::connect(&socket).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    s.read_exact(&mut [0; 18]).unwrap();
    s.write_all(&3u32.to_be_bytes()).unwrap();
    let mut ask = |option: u32, data: &[u8], want: &[(u32, &[u8])]| {
        s.write_all(b"IHAVEOPT").unwrap();
        s.write_all(&option.to_be_bytes()).unwrap();
        s.write_all(&(data.len() as u32).to_be_bytes()).unwrap();
        s.write_all(data).unwrap();
        for (kind, body) in want {
            let mut head = [0; 20];
            s.read_exact(&mut head).unwrap();
            assert_eq!(head[..8], [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9]);
            assert_eq!(head[8..12], option.to_be_bytes());
            assert_eq!(u32::from_be_bytes(head[12..16].try_into().unwrap()), *kind);
            let mut got = vec![0; u32::from_be_bytes(head[16..].try_into().unwrap()) as usize];
            s.read_exact(&mut got).unwrap();
            assert_eq!(got, *body);
        }
    };
    ask(3, b"", &[(2, b"\0\0\0\x05disk0"), (1, b"")]);
    ask(3, b"x", &[((1 << 31) | 3, b"")]);
    ask(7, b"\0\0\0\x09disk0\0\0", &[((1 << 31) | 3, b"")]);
    ask(7, b"\0\0\0\x05disk1\0\0", &[((1 << 31) | 6, b"")]);
    ask(8, b"", &[((1 << 31) | 1, b"")]);
    ask(
        6,
        b"\0\0\0\x05disk0\0\0",
        &[(3, b"\0\0\0\0\0\0\0\0\x02\0\x01\x07"), (3, b"\0\x03\0\0\0\x01\0\x01\0\0\x02\0\0\0"), (1, b"")],
    );
    ask(2, b"", &[(1, b"")]);
}

#[test]
fn too_many_clients_are_hung_up_on_and_a_drop_ends_silent_ones() {
    let (_dir, socket, server) = serve(pattern(4096));
    let held: Vec<UnixStream> = (0..super::MAX_CONNECTIONS).map(|_| connected(&socket)).collect();
    let mut late = UnixStream::connect(&socket).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(late.read(&mut [0; 18]).unwrap_or(0), 0);
    drop(server);
    for mut s in held {
        assert_eq!(s.read(&mut [0]).unwrap_or(0), 0);
    }
}

#[test]
fn an_existing_path_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("taken");
    std::fs::write(&path, "mine").unwrap();
    let disk: DiskRef = Arc::new(Memory { bytes: pattern(512), bad: None });
    assert!(Server::start(disk, &path, "disk0", ignore()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_from_a_client_end_in_a_reply_or_a_hang_up(
        greeted in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        struct Line { input: std::io::Cursor<Vec<u8>>, out: usize }
        impl Read for Line {
            fn read(&mut self, b: &mut [u8]) -> std::io::Result<usize> { self.input.read(b) }
        }
        impl Write for Line {
            fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { self.out += b.len(); Ok(b.len()) }
            fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
        }
        let errors = Arc::new(AtomicUsize::new(0));
        let count = errors.clone();
        let export = super::Export {
            disk: Arc::new(Memory { bytes: pattern(4096), bad: None }),
            len: 4096,
            name: "disk0".into(),
            on_error: Arc::new(move |_| { count.fetch_add(1, Ordering::Relaxed); }), pace: std::sync::Arc::default() };
        let mut input = Vec::new();
        if greeted {
            input.extend(3u32.to_be_bytes());
            input.extend(b"IHAVEOPT\0\0\0\x01\0\0\0\x05disk0");
            input.extend([0x25, 0x60, 0x95, 0x13]);
        }
        input.extend(bytes);
        let mut line = Line { input: std::io::Cursor::new(input), out: 0 };
        if let Ok(super::Greeting::Go) = super::handshake::greet(&mut line, &export) {
            let _ = super::transmission::serve(&mut line, &export);
        }
        assert_eq!(errors.load(Ordering::Relaxed), 0);
        assert!(line.out < 1 << 20);
    }
}
