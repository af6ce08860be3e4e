//! Spawns from other threads, and the word that ends a worker.
//!
//! A queue per worker of boxed closures that make a future on the owner's side. It belongs to the runtime,
//! not to the wake table's entry: after `close` a push is refused and the closure is dropped on the caller's
//! thread.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;

use crate::{error::SpawnError, limits::INJECTED_SPAWNS};

/// What is to be done on the owner's thread.
pub(super) type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Injector {
    jobs: ArrayQueue<Job>,
    stopped: AtomicBool,
    closed: AtomicBool,
}

impl Injector {
    pub(super) fn new() -> Self {
        Injector {
            jobs: ArrayQueue::new(INJECTED_SPAWNS),
            stopped: AtomicBool::new(false),
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

    /// Owner: runs what is there now.
    pub(super) fn run(&self) {
        for _ in 0..self.jobs.len() {
            let Some(job) = self.jobs.pop() else { return };
            job();
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.jobs.is_empty() || self.is_stopped()
    }

    /// Any thread: asks the worker to end. The caller then notifies it.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release); // PAIRS: is_stopped
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) // PAIRS: stop
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
            drop(job);
        }
    }
}
