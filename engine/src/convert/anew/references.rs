//! Names of partitions that would change their meaning: the PARTUUID of an MBR is its signature and a number.

use super::old_table::OldTable;
use super::tree::Tree;
use crate::convert::plan::Refusal;
use crate::guest::BootMenu;

const FIX: &str = "Name it by the id of its file system (UUID=) in the guest, which does not change.";

/// What fstab mounts by an id that goes.
pub(super) fn check_fstab(tree: &Tree<'_>, old: &OldTable, refusal: &mut Refusal) {
    for (source, target) in tree.fstab.iter().filter(|(source, _)| goes(source, old)) {
        let text = format!("/etc/fstab mounts {target} by {source}, an id that goes with the MBR.");
        refusal.add("fstab-by-partuuid", text, FIX);
    }
}

/// What the kernel is told by an id that goes, by any entry of the menu.
pub(super) fn check_menu(menu: &BootMenu, old: &OldTable, refusal: &mut Refusal) {
    for entry in &menu.entries {
        for word in entry.options.split_whitespace().filter(|word| goes(word, old)) {
            let text = format!(
                "The menu entry {:?} tells the kernel {word}, an id that goes with the MBR.",
                entry.title
            );
            refusal.add("root-by-partuuid", text, FIX);
        }
    }
}

/// Whether a word names a partition of this disk by its id in the MBR.
fn goes(word: &str, old: &OldTable) -> bool {
    let OldTable::Mbr { mbr, .. } = old else { return false };
    let word = word.to_ascii_lowercase();
    ["partuuid=", "/by-partuuid/"]
        .iter()
        .any(|name| word.contains(&format!("{name}{:08x}-", mbr.disk_signature)))
}

/// The identifier of a FAT volume as `blkid` writes it.
pub(super) fn dashed(id: u32) -> String {
    format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
}
