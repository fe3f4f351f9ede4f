//! How long a wait may last and how it is called off. The two travel together through every blocking call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest a blocking call goes without looking at its deadline and its cancel token.
pub const TICK: Duration = Duration::from_millis(50);

/// A moment in the future, made once where the wait is asked for and passed down.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The moment `span` from now. A span too long for the clock becomes one day.
    pub fn after(span: Duration) -> Self {
        let now = Instant::now();
        let at = now.checked_add(span).unwrap_or_else(|| now + Duration::from_secs(86_400));
        Self { at }
    }

    /// What is left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether the moment has come.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this and `span` from now.
    pub fn at_most(&self, span: Duration) -> Self {
        let other = Self::after(span);
        if other.at < self.at { other } else { *self }
    }

    /// How long to sleep until the next look: [`TICK`], or less when little is left.
    pub(crate) fn tick(&self) -> Duration {
        self.remaining().min(TICK).max(Duration::from_millis(1))
    }
}

/// A token that calls a wait off. Clones share one state; once cancelled it stays so.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A token nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token over a flag that somebody else (a signal handler) sets.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Calls off every wait that holds a clone.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was called off.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
