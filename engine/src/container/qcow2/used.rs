//! Which clusters of the file are in use: a table or a stretch of the disk that lies over another is damage.

/// Most clusters of a file that are kept account of, with one bit each: 128 MiB of them. A file of 64 TiB in clusters of 64 KiB has as many.
pub(super) const CLUSTERS_MAX: u64 = 1 << 30;

/// One bit for each cluster of a file.
pub(super) struct Used {
    cluster_size: u64,
    taken: Vec<u64>,
}

impl Used {
    /// Nothing is in use yet. `None` for a file of more than [`CLUSTERS_MAX`] clusters.
    pub(super) fn new(file_len: u64, cluster_size: u64) -> Option<Used> {
        let clusters = file_len.div_ceil(cluster_size);
        // Pages of zeros are not there before a bit is set in them, so a small file costs little.
        (clusters <= CLUSTERS_MAX)
            .then(|| Used { cluster_size, taken: vec![0; clusters.div_ceil(64) as usize] })
    }

    /// Take the cluster at this offset, which lies in the file. Whether it was free.
    pub(super) fn take(&mut self, at: u64) -> bool {
        let cluster = at / self.cluster_size;
        let bit = 1u64 << (cluster % 64);
        match self.taken.get_mut((cluster / 64) as usize) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}
