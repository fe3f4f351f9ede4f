//! Images as `qemu-img` makes them.

use crate::{Bench, Images};

const MIB: u64 = 1 << 20;

/// Convert a raw disk of each length with each set of options.
fn matrix(bench: &Bench, format: &str, lens: &[u64], options: &[&str]) -> Images {
    let mut found = Vec::new();
    for len in lens {
        bench.raw("disk.raw", *len);
        for option in options {
            let o = if option.is_empty() { String::new() } else { format!("-o {option}") };
            bench.run(&format!("qemu-img convert -f raw -O {format} {o} disk.raw image"));
            found.push((format!("qemu-{len}-{}", option.replace([',', '='], "-")), bench.read("image")));
        }
    }
    found
}

/// Create empty images, or run `qemu-io` on one.
fn made(bench: &Bench, found: &mut Images, name: &str, commands: &[&str]) {
    for command in commands {
        bench.run(command);
    }
    found.push((name.to_owned(), bench.read("image")));
}

pub fn qcow2(bench: &Bench) -> Images {
    let options = [
        "cluster_size=512",
        "cluster_size=4096",
        "cluster_size=65536",
        "cluster_size=2M",
        "compat=0.10,cluster_size=4096",
        "compat=0.10,cluster_size=512",
        "lazy_refcounts=on",
        "refcount_bits=1",
        "extended_l2=on,cluster_size=16k",
        "compression_type=zstd",
    ];
    let mut found = matrix(bench, "qcow2", &[512, 3 * MIB + 512], &options);
    let more: &[(&str, &[&str])] = &[
        ("compressed", &["qemu-img convert -c -f raw -O qcow2 disk.raw image"]),
        ("empty-100g", &["qemu-img create -f qcow2 image 100G"]),
        ("empty-1t-small", &["qemu-img create -f qcow2 -o cluster_size=64k image 1T"]),
        ("backing", &["qemu-img create -f qcow2 -F raw -b disk.raw image"]),
        ("metadata", &["qemu-img create -f qcow2 -o preallocation=metadata,cluster_size=512 image 40k"]),
        (
            "snapshot",
            &["qemu-img create -f qcow2 -o cluster_size=512 image 64k", "qemu-img snapshot -c one image"],
        ),
        ("data-file", &["qemu-img create -f qcow2 -o data_file=other.raw image 64k"]),
        ("data-file-raw", &["qemu-img create -f qcow2 -o data_file=other.raw,data_file_raw=on image 64k"]),
    ];
    for (name, commands) in more {
        made(bench, &mut found, name, commands);
    }
    bench.run("qemu-img create -f qcow2 -o cluster_size=4096 image 1M");
    bench.io("write -z 8k 64k");
    bench.io("write -P 7 16k 100");
    made(bench, &mut found, "zeros", &[]);
    found
}

pub fn vhd(bench: &Bench) -> Images {
    let options = ["subformat=fixed,force_size=on", "subformat=dynamic,force_size=on", "subformat=dynamic"];
    let mut found = matrix(bench, "vpc", &[512, 3 * MIB, 5 * MIB + 512], &options);
    made(bench, &mut found, "empty-100g", &["qemu-img create -f vpc -o force_size=on image 100G"]);
    found
}

pub fn vhdx(bench: &Bench) -> Images {
    let options = [
        "block_size=1M",
        "block_size=8M",
        "block_size=256M",
        "subformat=fixed,block_size=1M",
        "block_state_zero=off,block_size=1M",
        "log_size=2M,block_size=2M",
    ];
    let mut found = matrix(bench, "vhdx", &[MIB, 3 * MIB + 512], &options);
    made(bench, &mut found, "empty-100g", &["qemu-img create -f vhdx -o block_size=32M image 100G"]);
    found
}

pub fn vmdk(bench: &Bench) -> Images {
    let options = [
        "subformat=monolithicSparse",
        "subformat=monolithicFlat",
        "subformat=twoGbMaxExtentSparse",
        "subformat=twoGbMaxExtentFlat",
        "subformat=streamOptimized",
        "adapter_type=lsilogic,hwversion=10",
    ];
    let mut found = matrix(bench, "vmdk", &[512, 3 * MIB], &options);
    let more: &[(&str, &[&str])] = &[
        (
            "extent",
            &[
                "qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse disk.raw e.vmdk",
                "cp e-s001.vmdk image",
            ],
        ),
        (
            "backing",
            &[
                "qemu-img create -f vmdk parent.vmdk 1M",
                "qemu-img create -f vmdk -F vmdk -b parent.vmdk image",
            ],
        ),
    ];
    for (name, commands) in more {
        made(bench, &mut found, name, commands);
    }
    found
}
