//! Spawns from other threads, and the word that ends a worker.
//!
//! A queue per worker of boxed closures that make a future on the owner's side. It belongs to the runtime,
//! not to the wake table's entry: after `close` a push is refused and the closure is dropped on the caller's
//! thread.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;

use crate::{contain::drop_contained, error::SpawnError, limits::INJECTED_SPAWNS};

/// What is to be done on the owner's thread.
pub(super) type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Injector {
    jobs: ArrayQueue<Job>,
    nudged: AtomicBool,
    closed: AtomicBool,
}

impl Injector {
    pub(super) fn new() -> Self {
        Injector {
            jobs: ArrayQueue::new(INJECTED_SPAWNS),
            nudged: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Any thread: leaves a job. The caller then notifies the worker.
    pub(super) fn push(&self, job: Job) -> Result<(), SpawnError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SpawnError::Closed); // PAIRS: close's Release
        }
        let refused = self.jobs.push(job).is_err();
        // SeqCst: this push, then the look at `closed`, against close's store, then its drain. One of the two
        // sees the other, so that no job stays behind.
        fence(Ordering::SeqCst); // PAIRS: the fence in close
        if self.closed.load(Ordering::Relaxed) {
            self.discard();
            return Err(SpawnError::Closed);
        }
        if refused { Err(SpawnError::Full) } else { Ok(()) }
    }

    /// Any thread: how many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Owner: runs so many jobs.
    pub(super) fn run(&self, count: usize) {
        for _ in 0..count {
            let Some(job) = self.jobs.pop() else { return };
            job();
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.has_jobs() || self.is_nudged()
    }

    /// Any thread: whether a job waits.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Any thread: has the worker look how far the end of its runtime has come. The caller then notifies it.
    pub(super) fn nudge(&self) {
        // A read-modify-write: a plain store would end the release sequence of another thread's nudge.
        self.nudged.swap(true, Ordering::Release); // PAIRS: is_nudged, was_nudged
    }

    pub(super) fn is_nudged(&self) -> bool {
        self.nudged.load(Ordering::Acquire) // PAIRS: nudge
    }

    /// Owner: whether there was a nudge since the last time.
    pub(super) fn was_nudged(&self) -> bool {
        self.nudged.swap(false, Ordering::Acquire) // PAIRS: nudge
    }

    /// Any thread: whether the worker has ended, or is about to.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Owner: refuses what comes from now on and drops what is there.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release); // PAIRS: push's first load
        fence(Ordering::SeqCst); // PAIRS: the fence in push
        self.discard();
    }

    fn discard(&self) {
        while let Some(job) = self.jobs.pop() {
            // The caller's closure: whatever its destructor does, the next is dropped, too.
            drop_contained(job);
        }
    }
}
