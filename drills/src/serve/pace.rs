//! How long this host lets a guest wait for its disk: a request that takes longer than a guest's time-out makes what the guest does then no answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The requests of one server: the slowest that was answered, and those under way.
#[derive(Debug, Default)]
pub struct Pace {
    slowest_ms: AtomicU64,
    under_way: Mutex<Vec<Instant>>,
}

/// A request under way; its end counts when this is dropped.
pub(super) struct Timed<'a> {
    pace: &'a Pace,
    began: Instant,
}

impl Pace {
    pub(super) fn begin(&self) -> Timed<'_> {
        let began = Instant::now();
        self.under_way().push(began);
        Timed { pace: self, began }
    }

    /// The longest wait so far, of answered requests and of those under way.
    pub fn longest(&self) -> Duration {
        let answered = Duration::from_millis(self.slowest_ms.load(Ordering::SeqCst));
        self.under_way().iter().map(Instant::elapsed).fold(answered, Duration::max)
    }

    // As long as there are connections, each with one request at a time.
    fn under_way(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.pace.slowest_ms.fetch_max(took, Ordering::SeqCst);
        let mut under_way = self.pace.under_way();
        if let Some(at) = under_way.iter().position(|one| *one == self.began) {
            under_way.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn a_request_counts_while_it_is_under_way_and_afterwards() {
        let pace = Pace::default();
        assert_eq!(pace.longest(), Duration::ZERO);
        let (slow, quick) = (pace.begin(), pace.begin());
        std::thread::sleep(Duration::from_millis(30));
        drop(quick);
        assert!(pace.longest() >= Duration::from_millis(30));
        drop(slow);
        assert!(pace.longest() >= Duration::from_millis(30));
        assert!(pace.under_way().is_empty());
    }
}
