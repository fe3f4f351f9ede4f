//! Screens of real machines, read to the pixel. Each picture has altered twins: what was touched is unknown, not guessed.

use qemu::screen::{self, Fonts, UNREAD};
use qemu::{
    Accel, AccelChoice, Base, Cancel, Cursor, Deadline, Drive, Generation, Host, Looked, Machine, Outcome,
    Paths, Screen, Shown, Vm, create_child,
};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

fn host() -> Host {
    Host::discover(&std::env::var_os("PATH").unwrap(), None, AccelChoice::Forced(Accel::Tcg)).unwrap()
}

fn start(dir: &Path, generation: Generation, disk: Option<&Path>) -> Vm {
    let host = host();
    let mut machine = Machine::new(generation);
    machine.memory_mib = 256;
    machine.cpus = 1;
    if let Some(disk) = disk {
        let child = dir.join("child.qcow2");
        create_child(&host.qemu_img, &child, disk.metadata().unwrap().len()).unwrap();
        let base = Base::ReadOnlyFd(Arc::new(std::fs::File::open(disk).unwrap().into()));
        machine.disks.push(Drive { base, child: Some(child), sector: 512 });
    }
    let paths = Paths { run_dir: dir.to_owned(), ..Paths::default() };
    Vm::start(&host, &machine, &paths, Box::new(|_| ()), &Cancel::new()).unwrap()
}

#[track_caller]
fn await_screen(vm: &Vm, text: &str) {
    let looked = vm.wait_screen(text, Deadline::after(Duration::from_secs(60)), &Cancel::new());
    assert_eq!(looked, Looked::Shown, "{:?}", vm.fonts());
}

/// A picture, its memory and its fonts, to be altered.
struct Still<'a> {
    ppm: Vec<u8>,
    memory: Vec<u8>,
    fonts: &'a Fonts,
    width: usize,
    pixels: usize,
}

impl<'a> Still<'a> {
    fn of(vm: &'a Vm) -> Self {
        let (ppm, memory) = vm.dump(&Cancel::new()).unwrap();
        let head = ppm.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0 + 1;
        let size = String::from_utf8(ppm[3..head].to_vec()).unwrap();
        let width = size.split_whitespace().next().unwrap().parse().unwrap();
        Self { ppm, memory, fonts: vm.fonts(), width, pixels: head }
    }

    fn read(&self) -> Screen {
        screen::read(&self.ppm, &self.memory, || self.fonts)
    }

    #[track_caller]
    fn rows(&self) -> Vec<String> {
        match self.read() {
            Screen::Text(text) => text.rows,
            other => panic!("{other}"),
        }
    }

    /// The first pixel that is not like the top left one, at or behind row `from`.
    fn ink(&self, from: usize) -> (usize, usize) {
        let ground = self.at(0, 0);
        let pixels = self.ppm[self.pixels..].chunks_exact(3).enumerate().skip(from * self.width);
        let (at, _) = pixels.into_iter().find(|(_, pixel)| *pixel != ground).unwrap();
        (at % self.width, at / self.width)
    }

    fn at(&self, x: usize, y: usize) -> &[u8] {
        let at = self.pixels + (y * self.width + x) * 3;
        &self.ppm[at..at + 3]
    }

    fn dot(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let at = self.pixels + (y * self.width + x) * 3;
        self.ppm[at..at + 3].copy_from_slice(&colour);
    }
}

#[test]
fn the_bios_says_on_a_text_screen_that_there_is_nothing_to_boot() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), Generation::Gen1, None);
    await_screen(&vm, "No bootable device");
    let mut still = Still::of(&vm);
    let rows = still.rows();
    assert!(rows[0].starts_with("SeaBIOS (version "), "{rows:#?}");
    assert_eq!(still.read().shows("no bootable device"), Shown::No);
    // `e`, `a`, `B` and more of the first line, which stand again below: more than a cursor hides.
    for x in 0..7 {
        still.dot(x * 9 + 1, 0, [255, 0, 0]);
    }
    assert_eq!(still.read(), Screen::Unknown);
}

#[test]
fn the_uefi_shell_is_read_in_the_firmwares_own_font() {
    let dir = tempfile::tempdir().unwrap();
    let vm = start(dir.path(), Generation::Gen2, None);
    await_screen(&vm, "Shell>");
    assert_eq!(vm.fonts().missing(), [""; 0]);
    let mut still = Still::of(&vm);
    let rows = still.rows();
    assert!(rows.iter().all(|row| row.is_ascii()), "{rows:#?}");
    // The same text comes by wire at the same time.
    let serial = vm.text_since(Cursor::default());
    for row in rows.iter().filter(|row| row.starts_with("UEFI") || row.starts_with("EDK II")) {
        assert!(serial.contains(row.as_str()), "{row}\n{serial}");
    }
    let title = rows.iter().position(|row| row.starts_with("UEFI Interactive Shell v")).expect("the title");
    let (x, y) = still.ink(0);
    let first = |still: &Still<'_>| still.rows()[title].clone();
    let before = first(&still);
    // One pixel more in the `U`, then one of another colour instead.
    still.dot(x + 2, y, [170, 170, 170]);
    assert_eq!(first(&still), before.replacen('U', &UNREAD.to_string(), 1));
    assert_eq!(still.read().shows("UEFI Interactive"), Shown::CannotTell);
    assert_eq!(still.read().shows("VEFI Interactive"), Shown::CannotTell);
    assert_eq!(still.read().shows("XEFI Intersective"), Shown::No);
    // A thing on an empty place that no font has.
    for n in 0..6 {
        still.dot(n, n, [170, 170, 170]);
    }
    assert_eq!(first(&still), before.replacen('U', &UNREAD.to_string(), 1), "elsewhere nothing changes");
}

/// An EFI system partition without a table: OVMF starts `\EFI\BOOT\BOOTX64.EFI` of a bare FAT disk too.
fn grub(dir: &Path, timeout: &str) -> std::path::PathBuf {
    let run = |command: &mut Command| {
        let output = command.current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(dir.join("grub.cfg"), EMBEDDED).unwrap();
    let modules =
        ["normal", "fat", "font", "gfxterm", "all_video", "gfxmenu", "echo", "true", "configfile", "linux"];
    run(Command::new("grub-mkimage")
        .args(["-O", "x86_64-efi", "-c", "grub.cfg", "-p", "(hd0)/", "-o", "BOOTX64.EFI"])
        .args(modules));
    run(Command::new("truncate").args(["-s", "48M", "disk.img"]));
    run(Command::new("mformat").args(["-F", "-i", "disk.img", "::"]));
    run(Command::new("mmd").args(["-i", "disk.img", "::/EFI", "::/EFI/BOOT"]));
    run(Command::new("mcopy").args(["-i", "disk.img", "BOOTX64.EFI", "::/EFI/BOOT/"]));
    std::fs::write(dir.join("menu.cfg"), format!("set timeout={timeout}\n{ENTRIES}")).unwrap();
    run(Command::new("mcopy").args(["-i", "disk.img", "menu.cfg", "::/"]));
    run(Command::new("mcopy").args(["-i", "disk.img", "/usr/share/grub/unicode.pf2", "::/"]));
    dir.join("disk.img")
}

const EMBEDDED: &str =
    "set root=(hd0)\nloadfont (hd0)/unicode.pf2\nterminal_output gfxterm\nconfigfile (hd0)/menu.cfg\n";
const ENTRIES: &str =
    "menuentry 'Debian GNU/Linux' { linux /boot/vmlinuz-6.1 }\nmenuentry 'Advanced options' { true }\n";

/// Longer proofs run when asked for.
fn full() -> bool {
    let full = std::env::var_os("DRILL_TEST_FULL").is_some();
    if !full {
        println!("left out: two starts of GRUB in graphics; set DRILL_TEST_FULL=1");
    }
    full
}

#[test]
fn a_menu_of_grub_in_graphics_is_read_in_grubs_font() {
    if !full() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = grub(dir.path(), "-1");
    let vm = start(dir.path(), Generation::Gen2, Some(&disk));
    await_screen(&vm, "GNU GRUB  version");
    await_screen(&vm, "*Debian GNU/Linux");
    let mut still = Still::of(&vm);
    assert_eq!(still.read().shows(" Advanced options"), Shown::Yes);
    let rows = still.rows();
    assert!(rows.iter().all(|row| !row.contains(UNREAD)), "{rows:#?}");
    let (x, y) = still.ink(0);
    still.dot(x, y, [1, 2, 3]);
    assert_eq!(still.rows().concat().matches(UNREAD).count(), 1);
}

#[test]
fn an_error_of_grub_in_graphics_is_judged_by_its_words() {
    if !full() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = grub(dir.path(), "0");
    let vm = start(dir.path(), Generation::Gen2, Some(&disk));
    let within = Deadline::after(Duration::from_secs(45));
    let verdict = vm.wait_ready(&qemu::Expect::Ready, within, &Cancel::new());
    let Outcome::Stopped { why, evidence, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert_eq!(why.id, "grub-no-file", "{verdict:#?}");
    assert_eq!(evidence.as_ref().map(|e| e.source), Some(qemu::ladder::Source::Screen), "{verdict:#?}");
}
