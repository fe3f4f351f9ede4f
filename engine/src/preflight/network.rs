//! What ties a guest's network to the machine it came from: names or settings bound to a MAC address, and fixed addresses. A machine in Azure gets
//! another MAC address, and its address by DHCP.
//!
//! | where | bound | fixed address |
//! |---|---|---|
//! | udev rules, `/etc/udev/rules.d` | `ATTR{address}==` with `NAME=` | |
//! | systemd, `/etc/systemd/network` | `[Match] MACAddress=` of a `.link` or `.network` | `[Network] Address=` |
//! | netplan, `/etc/netplan` | `match: macaddress:` | `addresses:` of an interface |
//! | ifcfg, `/etc/sysconfig/network-scripts` and `/network` | `HWADDR=` | `IPADDR=` |
//! | NetworkManager, `/etc/NetworkManager/system-connections` | `mac-address=` | `method=manual` |
//! | ifupdown, `/etc/network/interfaces` and `.d` | | `inet static` |

use super::yaml;
use crate::volume::{EntryKind, Volume, VolumeError};

/// Longest file of configuration that is read, bytes.
const TEXT_MAX: u64 = 256 << 10;
/// Most files of one folder that are looked at.
const FILES_MAX: usize = 256;

/// What was found, as pieces of sentences.
#[derive(Default)]
pub(super) struct Network {
    pub bound: Vec<String>,
    pub fixed: Vec<String>,
    /// What could not be read.
    pub unread: Vec<String>,
}

type Look = fn(&mut Network, &str, &str);

/// Folder, endings of the files in it (none: any), and who reads them.
const PLACES: &[(&str, &[&str], Look)] = &[
    ("/etc/udev/rules.d", &[".rules"], udev),
    ("/etc/systemd/network", &[".link", ".network"], systemd),
    ("/etc/netplan", &[".yaml", ".yml"], netplan),
    ("/etc/sysconfig/network-scripts", &[], ifcfg),
    ("/etc/sysconfig/network", &[], ifcfg),
    ("/etc/NetworkManager/system-connections", &[], network_manager),
    ("/etc/network/interfaces.d", &[], interfaces),
];

pub(super) fn look(volume: &dyn Volume, root: &str) -> Network {
    let mut network = Network::default();
    for (folder, endings, read) in PLACES {
        let at = format!("{root}{folder}");
        let entries = match volume.read_dir(&at) {
            Ok(entries) => entries,
            Err(VolumeError::NotFound { .. }) => continue,
            Err(e) => {
                network.unread.push(e.to_string());
                continue;
            }
        };
        let mut names: Vec<String> =
            entries.into_iter().filter(|e| e.kind != EntryKind::Directory).map(|e| e.name).collect();
        names.sort();
        if names.len() > FILES_MAX {
            network.unread.push(format!("{folder} has more than {FILES_MAX} files"));
        }
        let wanted = |name: &&String| endings.is_empty() || endings.iter().any(|e| name.ends_with(e));
        for name in names.iter().filter(wanted).take(FILES_MAX) {
            file(volume, root, &format!("{folder}/{name}"), *read, &mut network);
        }
    }
    file(volume, root, "/etc/network/interfaces", interfaces, &mut network);
    network
}

fn file(volume: &dyn Volume, root: &str, path: &str, read: Look, network: &mut Network) {
    match volume.read(&format!("{root}{path}"), TEXT_MAX) {
        Ok(bytes) => read(network, path, &String::from_utf8_lossy(&bytes)),
        // A link that leads nowhere, such as one to /dev/null, turns a file off.
        Err(VolumeError::NotFound { .. }) => {}
        Err(e) => network.unread.push(e.to_string()),
    }
}

/// Lines that say something, without their indentation.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', ';']))
}

fn udev(network: &mut Network, path: &str, text: &str) {
    let binds =
        |line: &str| line.contains("ATTR{address}==") && (line.contains("NAME=") || line.contains("NAME:="));
    if lines(text).any(binds) {
        network.bound.push(format!("{path} names interfaces by MAC address"));
    }
}

fn systemd(network: &mut Network, path: &str, text: &str) {
    let mut section = "";
    for line in lines(text) {
        if line.starts_with('[') {
            section = line;
        }
        let key = line.split('=').next().unwrap_or(line).trim();
        if section == "[Match]" && matches!(key, "MACAddress" | "PermanentMACAddress") {
            network.bound.push(format!("{path} matches a MAC address"));
        }
        if matches!(section, "[Network]" | "[Address]") && key == "Address" {
            network.fixed.push(format!("{path} sets an address"));
        }
    }
}

fn netplan(network: &mut Network, path: &str, text: &str) {
    for (keys, value) in yaml::entries(text) {
        let ends =
            |wanted: &[&str]| keys.ends_with(&wanted.iter().map(|w| (*w).to_string()).collect::<Vec<_>>());
        // In flow style the keys are in the value.
        if ends(&["match", "macaddress"])
            || (value.contains("match") && value.contains("macaddress:"))
            || (ends(&["match"]) && value.contains("macaddress"))
        {
            network.bound.push(format!("{path} matches a MAC address"));
        }
        if ends(&["addresses"]) && !ends(&["nameservers", "addresses"]) && value != "[]" {
            network.fixed.push(format!("{path} sets an address"));
        }
    }
    network.bound.dedup();
    network.fixed.dedup();
}

fn ifcfg(network: &mut Network, path: &str, text: &str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    if !name.starts_with("ifcfg-") || name == "ifcfg-lo" {
        return;
    }
    let value = |key: &str| {
        let value = lines(text).find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\''])).filter(|v| !v.is_empty())
    };
    if value("HWADDR").is_some() {
        network.bound.push(format!("{path} has HWADDR"));
    }
    if value("IPADDR").or(value("IPADDR0")).is_some() {
        network.fixed.push(format!("{path} sets an address"));
    }
}

fn network_manager(network: &mut Network, path: &str, text: &str) {
    let mut section = "";
    for line in lines(text) {
        if line.starts_with('[') {
            section = line;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        if matches!(section, "[ethernet]" | "[802-3-ethernet]") && key == "mac-address" && !value.is_empty() {
            network.bound.push(format!("{path} has a mac-address"));
        }
        if matches!(section, "[ipv4]" | "[ipv6]") && key == "method" && value == "manual" {
            network.fixed.push(format!("{path} sets an address"));
        }
    }
    network.fixed.dedup();
}

/// interfaces(5): `iface NAME FAMILY METHOD`.
fn interfaces(network: &mut Network, path: &str, text: &str) {
    for line in lines(text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["iface", name, family, "static"] = words[..]
            && name != "lo"
        {
            network.fixed.push(format!("{path}: {name} is {family} static"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: Look, path: &str, text: &str, bound: &[&str], fixed: &[&str]) {
        let mut network = Network::default();
        read(&mut network, path, text);
        assert_eq!(
            (network.bound.as_slice(), network.fixed.as_slice()),
            (
                &bound.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..],
                &fixed.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]
            ),
            "{text}"
        );
    }

    #[test]
    fn each_kind_of_configuration_is_understood() {
        let rules = "/etc/udev/rules.d/70-persistent-net.rules";
        check(
            udev,
            rules,
            "SUBSYSTEM==\"net\", ATTR{address}==\"00:15:5d:01:02:03\", NAME=\"eth0\"\n",
            &["/etc/udev/rules.d/70-persistent-net.rules names interfaces by MAC address"],
            &[],
        );
        check(udev, rules, "# SUBSYSTEM==\"net\", ATTR{address}==\"00:15\", NAME=\"eth0\"\n", &[], &[]);
        check(udev, rules, "SUBSYSTEM==\"net\", DRIVERS==\"hv_netvsc\", NAME=\"eth0\"\n", &[], &[]);
        let link = "/etc/systemd/network/10-a.link";
        check(
            systemd,
            link,
            "[Match]\nMACAddress=00:15:5d:01:02:03\n[Link]\nName=lan0\n",
            &["/etc/systemd/network/10-a.link matches a MAC address"],
            &[],
        );
        check(systemd, link, "[Match]\nDriver=hv_netvsc\n[Link]\nMACAddress=00:15:5d:01:02:03\n", &[], &[]);
        check(
            systemd,
            "/etc/systemd/network/a.network",
            "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.5/24\n",
            &[],
            &["/etc/systemd/network/a.network sets an address"],
        );
        check(
            systemd,
            "/etc/systemd/network/a.network",
            "[Match]\nName=eth0\n[Network]\nDHCP=yes\n",
            &[],
            &[],
        );
        let plan = "/etc/netplan/50-cloud-init.yaml";
        check(
            netplan,
            plan,
            "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n      match:\n        macaddress: 00:15:5d:01:02:03\n",
            &["/etc/netplan/50-cloud-init.yaml matches a MAC address"],
            &[],
        );
        check(
            netplan,
            plan,
            "network:\n  ethernets:\n    eth0:\n      match: {macaddress: \"00:15\"}\n      dhcp4: true\n",
            &["/etc/netplan/50-cloud-init.yaml matches a MAC address"],
            &[],
        );
        check(
            netplan,
            plan,
            "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n      macaddress: 00:15:5d:01:02:03\n      nameservers:\n        addresses: [1.1.1.1]\n",
            &[],
            &[],
        );
        check(
            netplan,
            plan,
            "network:\n  ethernets:\n    eth0:\n      addresses:\n        - 10.0.0.5/24\n        - 10.0.0.6/24\n",
            &[],
            &["/etc/netplan/50-cloud-init.yaml sets an address"],
        );
        let eth0 = "/etc/sysconfig/network-scripts/ifcfg-eth0";
        check(
            ifcfg,
            eth0,
            "DEVICE=eth0\nHWADDR=\"00:15:5d:01:02:03\"\nBOOTPROTO=dhcp\n",
            &["/etc/sysconfig/network-scripts/ifcfg-eth0 has HWADDR"],
            &[],
        );
        check(
            ifcfg,
            eth0,
            "DEVICE=eth0\nHWADDR=\nBOOTPROTO=none\nIPADDR=10.0.0.5\n",
            &[],
            &["/etc/sysconfig/network-scripts/ifcfg-eth0 sets an address"],
        );
        check(ifcfg, "/etc/sysconfig/network/ifcfg-lo", "IPADDR=127.0.0.1/8\n", &[], &[]);
        let keyfile = "/etc/NetworkManager/system-connections/a.nmconnection";
        check(
            network_manager,
            keyfile,
            "[ethernet]\nmac-address=00:15:5D:01:02:03\n[ipv4]\nmethod=auto\n",
            &["/etc/NetworkManager/system-connections/a.nmconnection has a mac-address"],
            &[],
        );
        check(
            network_manager,
            keyfile,
            "[ethernet]\n[ipv4]\nmethod=manual\naddress1=10.0.0.5/24\n",
            &[],
            &["/etc/NetworkManager/system-connections/a.nmconnection sets an address"],
        );
        let file = "/etc/network/interfaces";
        check(
            interfaces,
            file,
            "auto lo\niface lo inet loopback\niface eth0 inet static\n  address 10.0.0.5\n",
            &[],
            &["/etc/network/interfaces: eth0 is inet static"],
        );
        check(
            interfaces,
            file,
            "iface lo inet static\niface eth0 inet dhcp\n# iface eth1 inet static\n",
            &[],
            &[],
        );
    }
}
