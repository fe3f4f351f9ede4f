//! Device names as guests write them.

/// Folders of `/dev` that are no volume groups.
const DEV_FOLDERS: &[&str] = &[
    "bcache", "block", "char", "cciss", "disk", "drbd", "ida", "mapper", "md", "mpath", "nbd", "rd", "zvol",
];

/// Group and name of the logical volume that a device name means, by its form: `/dev/GROUP/NAME`, or `/dev/mapper/GROUP-NAME` with the dashes of
/// both doubled (lvm2 `dm_build_dm_name`).
pub(super) fn named_by(device: &str) -> Option<(String, String)> {
    let (folder, rest) = device.strip_prefix("/dev/")?.split_once('/')?;
    if rest.is_empty() || rest.contains('/') {
        return None;
    }
    if folder != "mapper" {
        return (!DEV_FOLDERS.contains(&folder)).then(|| (folder.to_string(), rest.to_string()));
    }
    let mut parts = vec![String::new()];
    let mut characters = rest.chars().peekable();
    while let Some(c) = characters.next() {
        let single = c == '-' && characters.next_if_eq(&'-').is_none();
        if single {
            parts.push(String::new());
        } else {
            parts.last_mut()?.push(c);
        }
    }
    let [group, name] = &parts[..] else { return None };
    // Multipath names its partitions `…-part1`.
    let of_multipath = name.strip_prefix("part").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let whole = !group.is_empty() && !name.is_empty() && !of_multipath;
    whole.then(|| (group.clone(), name.clone()))
}

#[cfg(test)]
mod tests {
    use super::named_by;

    #[test]
    fn a_device_name_tells_group_and_volume() {
        let cases = [
            ("/dev/vg0/root", Some(("vg0", "root"))),
            ("/dev/my-vg/my-root", Some(("my-vg", "my-root"))),
            ("/dev/mapper/vg0-root", Some(("vg0", "root"))),
            ("/dev/mapper/my--vg-my--root", Some(("my-vg", "my-root"))),
            ("/dev/mapper/a---b", Some(("a-", "b"))),
            ("/dev/mapper/luks-1111-2222", None),
            ("/dev/mapper/cryptswap", None),
            ("/dev/mapper/mpatha-part1", None),
            ("/dev/mapper/-root", None),
            ("/dev/mapper/", None),
            ("/dev/disk/by-uuid/x", None),
            ("/dev/md/root", None),
            ("/dev/sda1", None),
            ("UUID=1", None),
            ("", None),
        ];
        for (device, wanted) in cases {
            let found = named_by(device);
            assert_eq!(found.as_ref().map(|(g, n)| (g.as_str(), n.as_str())), wanted, "{device}");
        }
    }
}
