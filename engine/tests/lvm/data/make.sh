#!/bin/bash
# Makes the physical volumes of this folder with lvm2's own tools. As root, with loop devices; no device-mapper is needed, for nothing is
# activated. The tests do not run this: see README.md.
# usage: engine/tests/lvm/data/make.sh
set -euo pipefail
exec 3>&2 2>/dev/null # lvm2 warns at each step that nothing is activated
cd "$(dirname "$0")"
work=$(mktemp -d)
loops=()
finish() {
    for loop in "${loops[@]}"; do losetup -d "$loop"; done
    rm -rf "$work"
}
trap finish EXIT
trap 'echo "make.sh: line $LINENO failed" >&3' ERR
export LVM_SUPPRESS_FD_WARNINGS=1 LVM_SYSTEM_DIR=$work
cat >"$work/lvm.conf" <<END
global { activation = 0 }
devices { use_devicesfile = 0 dir = "/dev" }
backup { backup = 0 archive = 0 }
END

attach() { # NAME SIZE: a new image on a loop device, whose name goes to $loop
    truncate -s "$2" "$work/$1"
    loop=$(losetup -f --show "$work/$1")
    loops+=("$loop")
}
keep() { # NAME: pack an image
    gzip -n9c "$work/$1" >"$1.gz"
}

# Two disks, both copies of the metadata on the second; one linear volume over both, one striped, by lvcreate itself.
attach first.img 20M; first=$loop
attach second.img 20M; second=$loop
only=(--config "devices { filter = [ \"a|^$first\$|\", \"a|^$second\$|\", \"r|.*|\" ] }")
pvcreate "${only[@]}" -q "$first"
pvcreate "${only[@]}" -q --pvmetadatacopies 2 "$second"
vgcreate "${only[@]}" -q -s 512k vg0 "$first" "$second"
make=(lvcreate "${only[@]}" -q -an -Zn -Wn)
"${make[@]}" -n root -l 8 vg0 "$first"
"${make[@]}" -n str-iped -i 2 -I 64k -l 8 vg0
lvextend "${only[@]}" -q -l +6 vg0/root "$second"
lvs "${only[@]}" --noheadings --separator ' ' -o lv_name,lv_size,segtype,devices --units b vg0 | sed "s|$first|first|g; s|$second|second|g" >two.lvs
keep first.img; keep second.img
losetup -d "$first" "$second"; loops=()

# A small metadata area, changed until the text in force goes on at the beginning of the ring.
attach ring.img 2M; ring=$loop
only=(--config "devices { filter = [ \"a|^$ring\$|\", \"r|.*|\" ] } metadata { pvmetadatasize = 0 }")
pvcreate "${only[@]}" -q --metadatasize 32k --dataalignment 64k "$ring"
vgcreate "${only[@]}" -q -s 64k ring "$ring"
lvcreate "${only[@]}" -q -an -Zn -Wn -n root -l 3 ring
for n in $(seq 100); do
    pvck --dump headers "$work/ring.img" >"$work/headers"
    number() { awk -v key="$1" '$1 == key { print $2 }' "$work/headers"; }
    end=$(($(number 'mda_header_1.raw_locn[0].offset') + $(number 'mda_header_1.raw_locn[0].size')))
    [ "$end" -gt $(($(number mda_header_1.size) + 100)) ] && break
    lvchange "${only[@]}" -q --addtag "change$((n % 7))" --deltag "change$(((n + 3) % 7))" ring/root
done
[ "$n" -lt 100 ]
keep ring.img
losetup -d "$ring"; loops=()

# Every kind of logical volume: a text of ours, put on two disks by vgcfgrestore, which checks it, and read again by lvs. One disk is kept.
attach kinds.img 20M; kinds=$loop
attach gone.img 20M; gone=$loop
only=(--config "devices { filter = [ \"a|^$kinds\$|\", \"a|^$gone\$|\", \"r|.*|\" ] }")
pvcreate "${only[@]}" -q --uuid 42gV64-udVl-aHw1-TKgX-xSAE-j6tp-7b0JTp --norestorefile "$kinds"
pvcreate "${only[@]}" -q --uuid azlQQH-stRW-p4Bw-4Eoh-Cud2-pi3q-EWaVBW --norestorefile "$gone"
vgcfgrestore "${only[@]}" -q --force --yes -f group.txt many-kinds
lvs "${only[@]}" --noheadings --separator ' ' -o lv_name,lv_size,segtype --units b many-kinds >kinds.lvs
keep kinds.img
