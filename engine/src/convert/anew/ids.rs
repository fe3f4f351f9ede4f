//! Identifiers that nobody has to draw: derived from what the disk had, so that equal disks give equal plans.

use crate::table::guid::Guid;

/// What an identifier is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum For {
    /// The disk.
    Disk,
    /// The partition of this number.
    Partition(u32),
    /// The FAT volume on the new ESP.
    Volume,
}

/// A GUID for `what`, on the disk that `seed` tells from others: LBA 0 with signature and entries, or the id of its GPT.
pub(super) fn guid(seed: &[u8], what: For) -> Guid {
    let id = uuid::Builder::from_random_bytes(bytes(seed, what)).into_uuid();
    Guid::from_digits(id.as_u128())
}

/// The same for a FAT volume.
pub(super) fn volume_id(seed: &[u8]) -> u32 {
    let [a, b, c, d, ..] = bytes(seed, For::Volume);
    // 0 reads as "none" in some tools.
    u32::from_le_bytes([a, b, c, d]).max(1)
}

fn bytes(seed: &[u8], what: For) -> [u8; 16] {
    let mut hash =
        blake3::Hasher::new_derive_key("drill 2026-11-25 identifiers of a disk made Generation 2 anew");
    hash.update(format!("{what:?}\0").as_bytes()).update(seed);
    let mut bytes = [0; 16];
    hash.finalize_xof().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{For, guid, volume_id};

    #[test]
    fn each_disk_and_each_partition_has_its_own_and_always_the_same() {
        let all = [
            guid(b"a", For::Disk),
            guid(b"b", For::Disk),
            guid(b"a", For::Partition(1)),
            guid(b"a", For::Partition(2)),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{one}");
            // Version 4, variant 1: RFC 9562 §5.4.
            let text = one.to_string();
            assert!(text.chars().nth(14) == Some('4') && "89AB".contains(&text[19..20]), "{text}");
        }
        assert_eq!(guid(b"a", For::Disk), all[0]);
        assert_ne!(volume_id(b"a"), volume_id(b"b"));
    }
}
