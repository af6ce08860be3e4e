//! The word that ends a server, from any thread.

use std::{
    sync::atomic::{AtomicU64, Ordering, fence},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;

use crate::clock::nanos;

const RUNNING: u64 = 0;

/// Said once; heard by the one task that serves on a worker.
pub(super) struct Stop {
    /// `RUNNING`, or the grace in nanoseconds plus one.
    word: AtomicU64,
    server: ArrayQueue<Waker>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Stop { word: AtomicU64::new(RUNNING), server: ArrayQueue::new(1) }
    }

    /// Any thread: says the word. A second call changes the grace of one that has not been heard yet.
    pub(super) fn say(&self, grace: Duration) {
        self.word.store(nanos(grace).saturating_add(1), Ordering::Release); // PAIRS: poll's Acquire loads
        fence(Ordering::SeqCst); // PAIRS: the fence in poll (word, then waker)
        if let Some(server) = self.server.pop() {
            server.wake();
        }
    }

    /// The serving task: the grace, once the word is said.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Duration> {
        if let Some(grace) = self.heard() {
            return Poll::Ready(grace);
        }
        drop(self.server.force_push(context.waker().clone()));
        fence(Ordering::SeqCst); // PAIRS: the fence in say (waker, then word)
        self.heard().map_or(Poll::Pending, Poll::Ready)
    }

    fn heard(&self) -> Option<Duration> {
        match self.word.load(Ordering::Acquire) {
            RUNNING => None, // PAIRS: say's Release
            word => Some(Duration::from_nanos(word - 1)),
        }
    }
}
