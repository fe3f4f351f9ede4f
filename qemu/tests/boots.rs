//! Real machines under TCG: what they say when there is nothing to boot, and that none of them outlives its owner.

use qemu::ladder::Outcome;
use qemu::{
    Accel, AccelChoice, Base, Cancel, Deadline, Drive, Expect, Generation, Host, Machine, Paths, RunResult,
    Shown, Stopped, Vm, boot_sector, create_child, sweep,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZE: usize = 8 * 1024 * 1024;

fn host(accel: AccelChoice) -> Host {
    Host::discover(&std::env::var_os("PATH").unwrap(), None, accel).unwrap()
}

fn tcg() -> Host {
    host(AccelChoice::Forced(Accel::Tcg))
}

/// A machine with one disk that begins with `start`.
fn machine(host: &Host, dir: &Path, generation: Generation, start: &[u8]) -> Machine {
    let (image, child) = (dir.join("base,with,commas.img"), dir.join("child,with,commas.qcow2"));
    let mut bytes = start.to_vec();
    bytes.resize(SIZE, 0);
    std::fs::write(&image, bytes).unwrap();
    create_child(&host.qemu_img, &child, SIZE as u64).unwrap();
    let mut machine = Machine::new(generation);
    machine.memory_mib = 128;
    machine.cpus = 1;
    let base = Base::ReadOnlyFd(Arc::new(std::fs::File::open(&image).unwrap().into()));
    machine.disks.push(Drive { base, child: Some(child), sector: 512 });
    machine
}

fn start(host: &Host, dir: &Path, machine: &Machine) -> Vm {
    let paths = Paths { run_dir: dir.to_owned(), ..Paths::default() };
    Vm::start(host, machine, &paths, Box::new(|_| ()), &Cancel::new()).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[track_caller]
fn assert_stopped(vm: &Vm, dir: &Path, causes: &[&str]) {
    let began = Instant::now();
    let verdict = vm.wait_ready(&Expect::Ready, soon(), &Cancel::new());
    let log = |name| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let logs = format!("{}\n{}\n{}", log("firmware.log"), log("console.log"), log("qemu.log"));
    let Outcome::Stopped { why, evidence, .. } = &verdict.outcome else { panic!("{verdict:#?}\n{logs}") };
    assert!(causes.contains(&why.id.as_str()), "{verdict:#?}\n{logs}");
    assert!(evidence.is_some(), "{verdict:#?}");
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "ended by time-out, not by its words: {verdict:#?}\n{logs}"
    );
}

#[test]
fn a_blank_disk_has_its_own_cause_under_bios() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let mut vm = start(&host, dir.path(), &machine(&host, dir.path(), Generation::Gen1, &[]));
    assert_stopped(&vm, dir.path(), &["bios-not-bootable-disk"]);
    let screen = vm.screen(&Cancel::new()).unwrap();
    assert_eq!(screen.shows("No bootable device"), Shown::Yes, "{screen}");
    assert_eq!(screen.shows("No bootable devise"), Shown::No, "{screen}");
    vm.screenshot(&dir.path().join("screen.png"), &Cancel::new()).unwrap();
    assert!(std::fs::read(dir.path().join("screen.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(vm.stop(Deadline::after(Duration::from_millis(300)), &Cancel::new()), Stopped::Pulled);
    assert!(!dir.path().join("qemu.pid").exists());
}

#[test]
fn a_blank_disk_has_its_own_cause_under_uefi() {
    for secure_boot in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let host = tcg();
        let mut machine = machine(&host, dir.path(), Generation::Gen2, &[]);
        machine.memory_mib = 256;
        machine.secure_boot = secure_boot;
        let vm = start(&host, dir.path(), &machine);
        assert_stopped(&vm, dir.path(), &["uefi-not-found", "uefi-no-bootable"]);
    }
}

#[test]
fn a_boot_sector_speaks_on_the_console_and_takes_no_commands() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let vm =
        start(&host, dir.path(), &machine(&host, dir.path(), Generation::Gen1, &boot_sector("HELLO-THERE")));
    let verdict = vm.wait_ready(&Expect::Text("HELLO-THERE".into()), soon(), &Cancel::new());
    assert!(verdict.is_ready(), "{verdict:#?}");
    let result = vm.run("true", soon(), &Cancel::new());
    let RunResult::NoWay { reason } = result else { panic!("{result:?}") };
    assert_eq!(reason, "the guest agent does not answer, and no shell answers on the console");
}

#[test]
fn the_same_boot_sector_is_not_ready_for_another_word() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let vm =
        start(&host, dir.path(), &machine(&host, dir.path(), Generation::Gen1, &boot_sector("HELLO-THERE")));
    let three = Deadline::after(Duration::from_secs(3));
    let verdict = vm.wait_ready(&Expect::Text("GOOD-BYE".into()), three, &Cancel::new());
    assert!(matches!(verdict.outcome, Outcome::Unseen { .. }), "{verdict:#?}");
}

#[test]
fn cancelling_ends_the_wait_at_once_and_dropping_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let vm = start(&host, dir.path(), &machine(&host, dir.path(), Generation::Gen1, &boot_sector("X")));
    let (cancel, pid) = (Cancel::new(), vm.pid());
    let token = cancel.clone();
    let canceller = std::thread::spawn(move || {
        token.cancel();
        Instant::now()
    });
    let verdict = vm.wait_ready(&Expect::Text("never".into()), soon(), &cancel);
    assert_eq!(verdict.outcome, Outcome::Cancelled);
    drop(vm);
    assert!(canceller.join().unwrap().elapsed() < Duration::from_secs(1));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_machine_whose_child_is_no_qcow2_did_not_start_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let machine = machine(&host, dir.path(), Generation::Gen1, &[]);
    std::fs::write(machine.disks[0].child.as_ref().unwrap(), "not qcow2").unwrap();
    let paths = Paths { run_dir: dir.path().to_owned(), ..Paths::default() };
    let error = Vm::start(&host, &machine, &paths, Box::new(|_| ()), &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("qcow2"), "{error}");
}

#[test]
fn the_accelerator_that_was_measured_really_boots_and_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let memory = dir.path().join("accel.json");
    let host = host(AccelChoice::Measured { memory: memory.clone() });
    for generation in [Generation::Gen1, Generation::Gen2] {
        let run = dir.path().join(format!("{generation:?}"));
        std::fs::create_dir(&run).unwrap();
        let mut machine = machine(&host, &run, generation, &boot_sector("HELLO-THERE"));
        machine.memory_mib = 256;
        let vm = start(&host, &run, &machine);
        let text = if generation == Generation::Gen1 { "HELLO-THERE" } else { "BdsDxe:" };
        let verdict = vm.wait_ready(&Expect::Text(text.into()), soon(), &Cancel::new());
        assert!(verdict.is_ready(), "{:?} {verdict:#?}", vm.accel());
    }
    println!("{}", std::fs::read_to_string(&memory).unwrap_or_default());
    qemu::measure(&tcg(), Generation::Gen1, Accel::Tcg, dir.path(), &Cancel::new()).unwrap();
    qemu::measure(&tcg(), Generation::Gen2, Accel::Tcg, dir.path(), &Cancel::new()).unwrap();
}

#[test]
fn a_disk_with_only_a_signature_has_its_own_cause_under_bios() {
    let dir = tempfile::tempdir().unwrap();
    let host = tcg();
    let mut sector = vec![0; 512];
    // An endless loop, as silent as an empty protective MBR.
    sector[..2].copy_from_slice(&[0xeb, 0xfe]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let vm = start(&host, dir.path(), &machine(&host, dir.path(), Generation::Gen1, &sector));
    let verdict = vm.wait_ready(&Expect::Ready, Deadline::after(Duration::from_secs(8)), &Cancel::new());
    let Outcome::Stopped { why, .. } = &verdict.outcome else { panic!("{verdict:#?}") };
    assert_eq!(why.id, "boot-code-silent", "{verdict:#?}");
}

/// Not a test of its own: the process that the next test kills.
#[test]
fn owner_to_be_killed() {
    let Some(dir) = std::env::var_os("QEMU_TEST_OWNER_DIR") else { return };
    let dir = Path::new(&dir);
    let host = tcg();
    let _vm = start(&host, dir, &machine(&host, dir, Generation::Gen1, &boot_sector("X")));
    std::fs::write(dir.join("started"), "").unwrap();
    std::thread::park();
}

#[test]
fn killing_the_owner_leaves_no_qemu_and_a_sweep_removes_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/one");
    std::fs::create_dir_all(&run).unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_to_be_killed"])
        .env("QEMU_TEST_OWNER_DIR", &run)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Deadline::after(Duration::from_secs(20));
        while !done() {
            assert!(!deadline.passed(), "waited in vain: {what}");
            std::thread::yield_now();
        }
    };
    until("the machine starts", &|| run.join("started").exists());
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("qemu.pid")).unwrap()).unwrap();
    assert_eq!(sweep(dir.path()), qemu::Swept::default(), "the owner lives");
    let stat = format!("/proc/{}/stat", record["pid"]);
    assert!(Path::new(&stat).exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    // A container without a reaping init keeps the dead as zombies.
    until("QEMU dies", &|| std::fs::read_to_string(&stat).is_none_or_dead());
    assert_eq!(sweep(dir.path()).stale, std::slice::from_ref(&run));
    assert!(!run.join("qemu.pid").exists());
}

trait Dead {
    fn is_none_or_dead(&self) -> bool;
}

impl Dead for std::io::Result<String> {
    fn is_none_or_dead(&self) -> bool {
        self.as_ref()
            .map_or(true, |stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
    }
}
