//! Initramfs archives by cpio, packed with what kernels unpack, alone and one behind another.

use super::{Bench, Images};

pub fn archives(bench: &Bench) -> Images {
    bench.sh(
        "mkdir -p early/kernel/x86/microcode main/lib/modules/6.1/kernel/drivers/hv
        printf microcode > early/kernel/x86/microcode/AuthenticAMD.bin
        printf x > main/lib/modules/6.1/kernel/drivers/hv/hv_vmbus.ko; seq 1 300 > main/init; ln -s init main/link
        (cd early; find . | sort | cpio --quiet -o -H newc > ../early.cpio)
        (cd main; find . | sort | cpio --quiet -o -H newc > ../main.cpio)
        (cd main; find . | sort | cpio --quiet -o -H crc > ../crc.cpio)",
    );
    let packers = [
        ("plain", "cat"),
        ("gzip", "gzip -9n"),
        ("xz", "xz --check=crc32 -c"),
        ("xz-blocks", "xz --check=crc32 --block-size=1024 -c"),
        ("xz-none", "xz --check=none -c"),
        ("zstd", "zstd -q -19 -c"),
        ("zstd-check", "zstd -q --check -1 -c"),
        ("lz4", "lz4 -q -l -c"),
    ];
    let mut images = Images::new();
    for (name, packer) in packers {
        images.push((name.into(), bench.sh(&format!("{packer} < main.cpio"))));
        let behind =
            format!("cat early.cpio; head -c 8 /dev/zero; {packer} < main.cpio; head -c 4 /dev/zero");
        images.push((format!("{name}-behind-early"), bench.sh(&behind)));
    }
    let others = [
        ("crc", "cat crc.cpio"),
        ("several", "gzip -n < early.cpio; xz --check=crc32 -c < main.cpio; zstd -q -c < main.cpio; lz4 -q -l -c < main.cpio"),
        ("two-in-one", "cat early.cpio main.cpio | gzip -9n"),
        // One entry whose name has 15,000 letters, more than the kernel takes.
        (
            "long-name",
            "(printf '070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x' 1 33188 0 0 1 0 4 0 0 0 0 15001 0
            head -c 15000 /dev/zero | tr '\\0' a; head -c 5 /dev/zero; cat early.cpio) | zstd -q -19 -c",
        ),
        ("zeros", "head -c 20000 /dev/zero | gzip -9n"),
        ("bzip2", "bzip2 -c < early.cpio"),
        ("lz4-frame", "lz4 -q -c < early.cpio"),
        ("cut", "xz --check=crc32 -c < main.cpio | head -c 300"),
    ];
    images.extend(others.map(|(name, script)| (name.to_string(), bench.sh(script))));
    images
}
