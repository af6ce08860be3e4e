//! The word that ends a server, from any thread.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;

use crate::clock::nanos;

const RUNNING: u64 = u64::MAX;

/// Said once; heard by the one task that serves on a worker.
pub(super) struct Stop {
    /// `RUNNING`, or the shortest grace that was said, in nanoseconds.
    word: AtomicU64,
    /// Somebody has begun or ceased to wait for the end.
    nudged: AtomicBool,
    server: ArrayQueue<Waker>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Stop { word: AtomicU64::new(RUNNING), nudged: AtomicBool::new(false), server: ArrayQueue::new(1) }
    }

    /// Any thread: says the word. A longer grace than was said before changes nothing.
    pub(super) fn say(&self, grace: Duration) {
        self.word.fetch_min(nanos(grace).min(RUNNING - 1), Ordering::Release); // PAIRS: poll's Acquire load
        self.wake();
    }

    /// Any thread: has the serving task look who waits.
    pub(super) fn nudge(&self) {
        self.nudged.store(true, Ordering::Release); // PAIRS: was_nudged's Acquire
        self.wake();
    }

    fn wake(&self) {
        fence(Ordering::SeqCst); // PAIRS: the fence in poll (word or nudge, then waker)
        if let Some(server) = self.server.pop() {
            server.wake();
        }
    }

    /// Any thread: whether the word was said.
    pub(super) fn was_said(&self) -> bool {
        self.word.load(Ordering::Relaxed) != RUNNING
    }

    /// The serving task, behind `poll`: whether there was a nudge since the last time.
    pub(super) fn was_nudged(&self) -> bool {
        self.nudged.load(Ordering::Relaxed) && self.nudged.swap(false, Ordering::Acquire) // PAIRS: nudge's Release
    }

    /// The serving task: the grace, once the word is said. It is woken when there is news, also after that.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Duration> {
        drop(self.server.force_push(context.waker().clone()));
        fence(Ordering::SeqCst); // PAIRS: the fence in wake (waker, then word or nudge)
        match self.word.load(Ordering::Acquire) {
            RUNNING => Poll::Pending, // PAIRS: say's Release
            grace => Poll::Ready(Duration::from_nanos(grace)),
        }
    }
}
