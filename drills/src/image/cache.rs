//! Blocks that were read lately. Whoever looks at a file system asks for a sector here and there; each question would be a round trip, and behind it QEMU
//! would unpack the same compressed cluster again. The files do not change while they are in use, so what was read stays true.

use engine::disk::ReadError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a block, and the longest read that goes through the cache.
const BLOCK: u64 = 256 << 10;
/// Blocks that are kept: 32 MiB.
const BLOCKS_MAX: usize = 128;

/// The blocks, and when each was asked for last.
#[derive(Default)]
pub(super) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    blocks: HashMap<u64, (u64, Arc<Vec<u8>>)>,
    clock: u64,
}

impl Cache {
    /// Fill `buf` with the bytes at `at`, which lie on a disk of `len` bytes, from the blocks or with `read`.
    pub(super) fn read(
        &self,
        at: u64,
        buf: &mut [u8],
        len: u64,
        read: impl Fn(u64, &mut [u8]) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if buf.len() as u64 >= BLOCK {
            return read(at, buf);
        }
        let (mut at, mut rest) = (at, buf);
        while !rest.is_empty() {
            let start = at - at % BLOCK;
            let block = self.block(start, (len.saturating_sub(start)).min(BLOCK), &read)?;
            let have = block.get((at - start) as usize..).unwrap_or_default();
            let n = have.len().min(rest.len());
            if n == 0 {
                return Err(ReadError::OutOfRange { at, len: rest.len() as u64, end: len });
            }
            let (piece, behind) = rest.split_at_mut(n);
            piece.copy_from_slice(&have[..n]);
            (at, rest) = (at.saturating_add(n as u64), behind);
        }
        Ok(())
    }

    fn block(
        &self,
        start: u64,
        len: u64,
        read: impl Fn(u64, &mut [u8]) -> Result<(), ReadError>,
    ) -> Result<Arc<Vec<u8>>, ReadError> {
        // Held while reading: the other side answers one question at a time anyway.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        if let Some((used, block)) = kept.blocks.get_mut(&start) {
            *used = now;
            return Ok(block.clone());
        }
        let mut bytes = vec![0; len as usize]; // at most BLOCK
        read(start, &mut bytes)?;
        if kept.blocks.len() >= BLOCKS_MAX {
            let oldest = kept.blocks.iter().min_by_key(|(_, (used, _))| *used).map(|(start, _)| *start);
            oldest.map(|start| kept.blocks.remove(&start));
        }
        let block = Arc::new(bytes);
        kept.blocks.insert(start, (now, block.clone()));
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, BLOCKS_MAX, Cache};
    use std::cell::Cell;

    #[test]
    fn small_reads_cost_one_question_a_block_and_say_what_is_there() {
        let len = (BLOCKS_MAX as u64 + 1) * BLOCK + 1000;
        let byte = |at: u64| (at % 251) as u8;
        let asked = Cell::new(0);
        let read = |at: u64, buf: &mut [u8]| {
            asked.set(asked.get() + 1);
            assert!(at + buf.len() as u64 <= len);
            buf.iter_mut().zip(at..).for_each(|(b, at)| *b = byte(at));
            Ok(())
        };
        let cache = Cache::default();
        let check = |at: u64, n: usize, questions: u32| {
            asked.set(0);
            let mut buf = vec![0; n];
            cache.read(at, &mut buf, len, read).unwrap();
            assert!(buf.iter().zip(at..).all(|(b, at)| *b == byte(at)), "{n} at {at}");
            assert_eq!(asked.get(), questions, "{n} at {at}");
        };
        check(5, 512, 1);
        check(4096, 512, 0);
        check(BLOCK - 5, 10, 1);
        check(1, BLOCK as usize, 1);
        check(len - 7, 7, 1);
        check(len - 1000 - 3, 1003, 1);
        // All others, then the first again: it was the oldest, and had to go.
        for n in 2..=BLOCKS_MAX as u64 {
            asked.set(0);
            cache.read(n * BLOCK, &mut [0; 16], len, read).unwrap();
        }
        check(5, 512, 1);
        check(BLOCKS_MAX as u64 * BLOCK + 9, 16, 0);
        assert_eq!(cache.kept.lock().unwrap().blocks.len(), BLOCKS_MAX);
    }

    #[test]
    fn a_read_that_failed_is_not_remembered() {
        let cache = Cache::default();
        let no = |at: u64, _: &mut [u8]| Err(engine::disk::ReadError::OutOfRange { at, len: 0, end: 0 });
        assert!(cache.read(0, &mut [0; 4], 8, no).is_err());
        let mut buf = [0; 4];
        cache
            .read(0, &mut buf, 8, |_, b| {
                b.fill(7);
                Ok(())
            })
            .unwrap();
        assert_eq!(buf, [7; 4]);
    }
}
