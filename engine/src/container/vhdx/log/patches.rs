//! What a log changes, later changes over earlier ones.

use super::super::format::LOG_SECTOR;
use crate::container::view::{Patch, PatchBytes};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most separate changes that are kept. A log of 64 MiB has no more than 16,384 sectors of data; the rest are stretches of zeros.
const PIECES_MAX: usize = 128 << 10;

/// Disjoint changes, by offset. All offsets and lengths are whole log sectors, and data comes in single sectors: only zeros are ever cut.
#[derive(Default)]
pub(super) struct Patches {
    pieces: BTreeMap<u64, Patch>,
}

impl Patches {
    /// Zeros for `len` bytes at `at`; `Err` with the number of changes when there are too many.
    pub(super) fn zero(&mut self, at: u64, len: u64) -> Result<(), usize> {
        self.lay(Patch { at, len, bytes: PatchBytes::Zeros })
    }

    /// One sector at `at`; `Err` as for [`Patches::zero`].
    pub(super) fn data(&mut self, at: u64, bytes: Arc<[u8]>) -> Result<(), usize> {
        self.lay(Patch { at, len: LOG_SECTOR, bytes: PatchBytes::Data(bytes) })
    }

    /// In order of offset, disjoint.
    pub(super) fn into_sorted(self) -> Vec<Patch> {
        self.pieces.into_values().collect()
    }

    fn lay(&mut self, patch: Patch) -> Result<(), usize> {
        if self.pieces.len() >= PIECES_MAX {
            return Err(self.pieces.len());
        }
        let end = patch.at.saturating_add(patch.len);
        let before = self.pieces.range(..patch.at).next_back().map(|(_, piece)| piece.clone());
        if let Some(before) = before.filter(|piece| piece.at.saturating_add(piece.len) > patch.at) {
            self.keep_front(&before, patch.at);
            self.keep_back(&before, end);
        }
        let covered: Vec<u64> = self.pieces.range(patch.at..end).map(|(at, _)| *at).collect();
        for at in covered {
            if let Some(old) = self.pieces.remove(&at) {
                self.keep_back(&old, end);
            }
        }
        self.pieces.insert(patch.at, patch);
        Ok(())
    }

    /// Of `old` keep what lies before `at`.
    fn keep_front(&mut self, old: &Patch, at: u64) {
        let front = Patch { len: at.saturating_sub(old.at), ..old.clone() };
        self.pieces.insert(front.at, front);
    }

    /// Of `old` keep what lies from `at` on, if anything does.
    fn keep_back(&mut self, old: &Patch, at: u64) {
        let len = old.at.saturating_add(old.len).saturating_sub(at);
        if len > 0 {
            self.pieces.insert(at, Patch { at, len, bytes: old.bytes.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Patches;
    use crate::container::view::PatchBytes;

    /// Changes to sectors: (first, count, letter), `0` for zeros; then the sectors, `.` where nothing changed.
    #[track_caller]
    fn check(changes: &[(u64, u64, u8)], expect: &str) {
        let mut patches = Patches::default();
        for (at, count, letter) in changes {
            match letter {
                b'0' => patches.zero(at * 4096, count * 4096).expect("room"),
                _ => patches.data(at * 4096, vec![*letter; 4096].into()).expect("room"),
            }
        }
        let mut found = vec![b'.'; expect.len()];
        let mut end = 0;
        for patch in patches.into_sorted() {
            assert!(patch.at >= end && patch.len > 0, "sorted, disjoint, not empty");
            end = patch.at + patch.len;
            let letter = match &patch.bytes {
                PatchBytes::Zeros => b'0',
                PatchBytes::Data(bytes) => bytes[0],
            };
            found[(patch.at / 4096) as usize..(end / 4096) as usize].fill(letter);
        }
        assert_eq!(String::from_utf8_lossy(&found), expect, "{changes:?}");
    }

    #[test]
    fn later_changes_win() {
        check(&[(1, 1, b'a'), (1, 1, b'b')], ".b..");
        check(&[(0, 4, b'0'), (1, 1, b'a')], "0a00");
        check(&[(1, 1, b'a'), (0, 4, b'0')], "0000");
        check(&[(0, 2, b'0'), (1, 2, b'0'), (4, 1, b'a')], "000.a");
        check(&[(1, 3, b'0'), (0, 2, b'0'), (3, 1, b'x')], "000x.");
        check(&[(0, 6, b'0'), (2, 1, b'a'), (4, 1, b'b'), (1, 3, b'0'), (0, 1, b'c')], "c000b0");
        check(&[(2, 1, b'a'), (3, 1, b'b'), (1, 2, b'0')], ".00b");
    }
}
