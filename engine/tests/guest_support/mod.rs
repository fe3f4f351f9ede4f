//! Disks made with outside tools: sgdisk, mkfs, mtools, debugfs, grub-mkimage. Nothing here comes from the code under test.
#![allow(dead_code, reason = "each test program uses its own part")]

use engine::boot::LoaderKit;
use engine::disk::{DiskRef, Geometry, MemDisk};
use engine::units::{ByteLen, ByteOffset, SectorSize};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;
pub const ROOT_UUID: &str = "21111111-2222-4333-8444-555555555555";
pub const ESP_UUID: &str = "ABCD-1234";
pub const ESP_AT: u64 = MIB;
pub const ESP_LEN: u64 = 8 * MIB;
pub const ROOT_AT: u64 = 9 * MIB;
pub const ROOT_LEN: u64 = 12 * MIB;

/// Run a tool; a failing one ends the test with all it said.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(args).env("MTOOLS_SKIP_CHECK", "1");
    let out = command.output().unwrap_or_else(|e| panic!("{program} {args:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {}\n{text}", out.status);
    text
}

/// A Generation 2 disk to be made.
pub struct Spec {
    /// Length in bytes.
    pub len: u64,
    /// First sector of the ESP.
    pub esp_first: u64,
    /// Kernel command line.
    pub options: String,
    /// `/etc/fstab`.
    pub fstab: String,
    /// Whether the ESP has EFI/debian/grub.cfg.
    pub stub: bool,
    /// Further arguments for sgdisk.
    pub sgdisk: Vec<String>,
    /// Files to add to the ESP: path, content.
    pub esp_files: Vec<(String, String)>,
    /// Path of the kernel that the menu names.
    pub kernel: String,
    /// Files to add to the root, or to put in the place of others: path, content.
    pub root_files: Vec<(String, Vec<u8>)>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            len: 24 * MIB,
            esp_first: ESP_AT / 512,
            options: format!("root=UUID={ROOT_UUID} ro console=ttyS0,115200"),
            fstab: format!(
                "UUID={ROOT_UUID} / ext4 defaults 0 1\nUUID={ESP_UUID} /boot/efi vfat umask=0077 0 1\n"
            ),
            stub: true,
            sgdisk: Vec::new(),
            esp_files: Vec::new(),
            kernel: "/boot/vmlinuz".into(),
            root_files: Vec::new(),
        }
    }
}

pub struct Made {
    pub dir: TempDir,
    pub path: PathBuf,
}

impl Made {
    pub fn disk(&self) -> DiskRef {
        mem(&self.path)
    }
}

/// A file as a disk in memory.
pub fn mem(path: &Path) -> DiskRef {
    mem_bytes(fs::read(path).expect("read image"))
}

pub fn mem_bytes(bytes: Vec<u8>) -> DiskRef {
    let geometry = Geometry { len: ByteLen(bytes.len() as u64), sector: SectorSize::B512 };
    Arc::new(MemDisk::new(geometry, bytes))
}

pub fn bytes_of(disk: &DiskRef) -> Vec<u8> {
    let mut bytes = vec![0; disk.geometry().len.get() as usize];
    disk.read_at(ByteOffset(0), &mut bytes).expect("read disk");
    bytes
}

/// Make a Linux with GRUB in the shape Debian installs it, small and without a kernel that would run.
pub fn gen2(spec: &Spec) -> Made {
    let dir = tempfile::tempdir().expect("temp dir");
    let at = |name: &str| dir.path().join(name);
    let text = |p: &Path| p.to_str().expect("utf-8 path").to_string();
    let disk = at("disk.raw");
    File::create(&disk).and_then(|f| f.set_len(spec.len)).expect("disk");
    let esp_last = (ESP_AT + ESP_LEN) / 512 - 1;
    let (root_first, root_last) = (ROOT_AT / 512, (ROOT_AT + ROOT_LEN) / 512 - 1);
    let mut args = vec![
        "-a1".to_string(),
        format!("-n1:{}:{esp_last}", spec.esp_first),
        "-t1:ef00".into(),
        "-c1:EFI system".into(),
        format!("-n2:{root_first}:{root_last}"),
        "-t2:8300".into(),
    ];
    args.extend(spec.sgdisk.iter().cloned());
    args.push(text(&disk));
    run("sgdisk", &args.iter().map(String::as_str).collect::<Vec<_>>());

    let esp = at("esp.img");
    File::create(&esp).and_then(|f| f.set_len((esp_last + 1 - spec.esp_first) * 512)).expect("esp");
    run("mkfs.vfat", &["-F16", "-s1", "-n", "ESP", "-i", "ABCD1234", &text(&esp)]);
    let tree = at("esp");
    put(&tree, "EFI/BOOT/BOOTX64.EFI", b"MZ..UEFI SHIM\n$Version: 15.8");
    put(&tree, "EFI/BOOT/grubx64.efi", b"MZ..sbat,1,SBAT\ngrub,3,Free Software Foundation");
    put(&tree, "EFI/debian/grubx64.efi", b"MZ..sbat,1,SBAT\ngrub,3,Free Software Foundation");
    if spec.stub {
        let stub = format!(
            "search.fs_uuid {ROOT_UUID} root \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
        );
        put(&tree, "EFI/debian/grub.cfg", stub.as_bytes());
    }
    for (path, content) in &spec.esp_files {
        put(&tree, path, content.as_bytes());
    }
    run("mcopy", &["-s", "-i", &text(&esp), &text(&tree.join("EFI")), "::/"]);

    let tree = at("root");
    put(&tree, "usr/lib/os-release", b"PRETTY_NAME=\"Test Linux 1 (tiny)\"\nID=test\n");
    put(&tree, "etc/fstab", spec.fstab.as_bytes());
    std::os::unix::fs::symlink("../usr/lib/os-release", tree.join("etc/os-release")).expect("link");
    put(&tree, "boot/vmlinuz", b"kernel");
    put(&tree, "boot/initrd.img", b"initramfs");
    let menu = format!(
        "set default=\"0\"\nmenuentry 'Test Linux' --class test {{\n\tsearch --no-floppy --fs-uuid --set=root {ROOT_UUID}\n\
         \tlinux {} {}\n\tinitrd /boot/initrd.img\n}}\n",
        spec.kernel, spec.options
    );
    put(&tree, "boot/grub/grub.cfg", menu.as_bytes());
    for (path, content) in &spec.root_files {
        put(&tree, path, content);
    }
    let root = at("root.img");
    File::create(&root).and_then(|f| f.set_len(ROOT_LEN)).expect("root");
    run("mkfs.ext4", &["-q", "-F", "-U", ROOT_UUID, "-L", "root", "-d", &text(&tree), &text(&root)]);

    let file = File::options().write(true).open(&disk).expect("disk");
    file.write_all_at(&fs::read(&esp).expect("esp"), spec.esp_first * 512).expect("write esp");
    file.write_all_at(&fs::read(&root).expect("root"), ROOT_AT).expect("write root");
    Made { path: disk, dir }
}

/// Zeros become holes, so that a large file may lie on a small file system.
fn put(tree: &Path, path: &str, content: &[u8]) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    let file = File::create(path).expect("file");
    file.set_len(content.len() as u64).expect("length");
    for (at, block) in
        (0..).step_by(4096).zip(content.chunks(4096)).filter(|(_, b)| b.iter().any(|b| *b != 0))
    {
        file.write_all_at(block, at).expect("block");
    }
}

/// A kernel image that says its version, and nothing else. Documentation/arch/x86/boot.rst.
pub fn kernel(version: &str) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    image.splice(0x300.., format!("{version} (a@b) #1 SMP").into_bytes());
    image.push(0);
    image
}

/// An initramfs with these files, by cpio, packed by `program`.
#[track_caller]
pub fn initramfs(program: &str, files: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        let path = dir.path().join("tree").join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, b"\x7fELF").expect("a file");
    }
    let script = format!("mkdir -p tree && cd tree && find . | cpio --quiet -o -H newc | {program} > ../out");
    run("sh", &["-euc", &format!("cd '{}'; {script}", dir.path().display())]);
    std::fs::read(dir.path().join("out")).expect("an archive")
}

/// GRUB as floor 1 makes it.
pub fn kits(script_lba: u64) -> Result<LoaderKit, String> {
    let kit = kit();
    if script_lba == kit.script_lba { Ok(kit.clone()) } else { Ok(make(script_lba)) }
}

/// GRUB for a script at the usual place.
pub fn kit() -> &'static LoaderKit {
    static KIT: OnceLock<LoaderKit> = OnceLock::new();
    KIT.get_or_init(|| make(1984))
}

fn make(script_lba: u64) -> LoaderKit {
    {
        let dir = tempfile::tempdir().expect("temp dir");
        let (config, core) = (dir.path().join("core.cfg"), dir.path().join("core.img"));
        fs::write(&config, format!("normal ($root){script_lba}+64\n")).expect("config");
        let modules = "biosdisk part_gpt part_msdos fat ext2 lvm btrfs xfs search search_fs_uuid search_fs_file search_label normal \
            configfile linux loopback echo test serial terminal minicmd loadenv gzio regexp probe true sleep halt reboot ls cat all_video \
            gfxterm font keystatus";
        let paths = ["-o", core.to_str().expect("path"), "-c", config.to_str().expect("path")];
        let mut args = vec!["-O", "i386-pc", "-d", "/usr/lib/grub/i386-pc", "-p", "/boot/grub"];
        args.extend(paths);
        args.extend(modules.split_whitespace());
        run("grub-mkimage", &args);
        LoaderKit {
            boot_img: fs::read("/usr/lib/grub/i386-pc/boot.img").expect("boot.img"),
            core_img: fs::read(core).expect("core.img"),
            script_lba,
            script_sectors: 64,
            provenance: "test".into(),
        }
    }
}
