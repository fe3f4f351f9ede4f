//! Boots a raw disk image and says how far it came: `boot IMAGE gen1|gen2|secure [COMMAND]`. The image is not written.

use qemu::{
    Accel, AccelChoice, Base, Cancel, Deadline, Drive, Expect, Generation, Host, Machine, Paths, Vm,
    create_child,
};
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let image = std::path::PathBuf::from(args.next().ok_or("usage: boot IMAGE gen1|gen2|secure [COMMAND]")?);
    let kind = args.next().unwrap_or_default();
    let path = std::env::var_os("PATH").ok_or("no PATH")?;
    let host = Host::discover(&path, None, AccelChoice::Forced(Accel::Tcg))?;
    let run = tempfile::tempdir()?;
    let base = std::fs::File::open(&image)?;
    let child = run.path().join("child.qcow2");
    create_child(&host.qemu_img, &child, base.metadata()?.len())?;
    let mut machine = Machine::new(if kind == "gen1" { Generation::Gen1 } else { Generation::Gen2 });
    machine.secure_boot = kind == "secure";
    machine.disks.push(Drive {
        base: Base::ReadOnlyFd(Arc::new(base.into())),
        child: Some(child),
        sector: 512,
    });
    let paths = Paths { run_dir: run.path().to_owned(), ..Paths::default() };
    let cancel = Cancel::new();
    let mut vm = Vm::start(&host, &machine, &paths, Box::new(|o| eprintln!("{o:?}")), &cancel)?;
    let verdict = vm.wait_ready(&Expect::Ready, Deadline::after(Duration::from_secs(180)), &cancel);
    println!("{}", serde_json::to_string_pretty(&verdict)?);
    println!("screen: {:?}", vm.screen(&cancel)?);
    if let Some(command) = args.next() {
        println!("{:?}", vm.run(&command, Deadline::after(Duration::from_secs(30)), &cancel));
    }
    println!("{:?}", vm.stop(Deadline::after(Duration::from_secs(60)), &cancel));
    Ok(())
}
