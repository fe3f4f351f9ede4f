//! Flushes while an export writes, so that the device works all the time and no flush, not even the last, holds up a cancel for long.
//! Nothing relies on them: what must be safe is flushed again at the end.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Bytes between two flushes.
const EVERY: u64 = 64 << 20;

/// A thread that flushes a file.
pub(super) struct Pacer {
    unflushed: AtomicU64,
    running: Mutex<Option<Running>>,
}

/// The thread, and how to wish for a flush.
struct Running {
    wanted: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Pacer {
    pub(super) fn start(file: Arc<File>) -> io::Result<Pacer> {
        // One flush under way and one wanted; a writer that is further ahead waits.
        let (wanted, wishes) = sync_channel::<()>(1);
        let flush = move || wishes.iter().try_for_each(|()| file.sync_data());
        let thread = Builder::new().name("flush".into()).spawn(flush)?;
        Ok(Pacer { unflushed: AtomicU64::new(0), running: Mutex::new(Some(Running { wanted, thread })) })
    }

    /// Note that `bytes` were written.
    pub(super) fn wrote(&self, bytes: u64) {
        if self.unflushed.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) < EVERY {
            return;
        }
        self.unflushed.store(0, Ordering::Relaxed);
        if let Some(running) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = running.wanted.send(()); // a thread that is gone met an error, which `stop` tells
        }
    }

    /// Wait for the flush under way, and tell what the flushes met.
    pub(super) fn stop(&self) -> io::Result<()> {
        let taken = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { wanted, thread }) = taken else { return Ok(()) };
        drop(wanted);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        let _ = self.stop(); // whoever needs the answer has asked already
    }
}
