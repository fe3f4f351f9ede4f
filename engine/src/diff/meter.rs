//! How far the comparison is, in bytes of the disks.

use super::{DiffError, Progress};
use std::ops::ControlFlow;

/// Counts bytes and asks, now and then, whether to go on.
pub(super) struct Meter<'a> {
    done: u64,
    total: u64,
    /// No further than this before the place at hand is done: files may be longer than what they lie on.
    limit: u64,
    told: u64,
    tell: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

/// Bytes between two calls of the callback.
const EVERY: u64 = 4 << 20;
/// What looking at a name is worth, measured in bytes read.
const NAME: u64 = 16 << 10;

impl<'a> Meter<'a> {
    pub(super) fn new(total: u64, tell: &'a mut dyn FnMut(Progress) -> ControlFlow<()>) -> Meter<'a> {
        Meter { done: 0, total, limit: total, told: 0, tell }
    }

    /// A place of `len` bytes comes next.
    pub(super) fn begin(&mut self, len: u64) -> Result<(), DiffError> {
        self.limit = self.done.saturating_add(len).min(self.total);
        self.ask()
    }

    /// The place is done, however much of it was read.
    pub(super) fn end(&mut self) {
        self.done = self.limit;
    }

    /// `n` more bytes are behind us.
    pub(super) fn step(&mut self, n: u64) -> Result<(), DiffError> {
        self.done = self.done.saturating_add(n).min(self.limit);
        self.told = self.told.saturating_add(n);
        if self.told >= EVERY { self.ask() } else { Ok(()) }
    }

    /// One more name was looked at: a walk over empty files must be stoppable, too.
    pub(super) fn name(&mut self) -> Result<(), DiffError> {
        self.step(NAME)
    }

    fn ask(&mut self) -> Result<(), DiffError> {
        self.told = 0;
        match (self.tell)(Progress { done: self.done, total: self.total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DiffError::Cancelled),
        }
    }
}
