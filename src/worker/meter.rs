//! What a worker counts of its own turns, for other threads to read.
//!
//! Counters that grow with every timer or wait are plain cells of their owners; what has changed goes into the meter
//! once a look at the selector, by stores. A reader is at most that far behind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::reactor::Figures;

/// One worker's words, which it writes and others read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Meter {
    parks: AtomicU64,
    /// Nanoseconds in the loop up to the last look, and those of them that were slept away.
    looped: AtomicU64,
    slept: AtomicU64,
    selector_waits: AtomicU64,
    sources: AtomicU64,
    timers: AtomicU64,
    timers_armed: AtomicU64,
    timers_fired: AtomicU64,
}

/// The meter's numbers at some time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) parks: u64,
    pub(super) looped: u64,
    pub(super) slept: u64,
    pub(super) reactor: Figures,
}

fn add(word: &AtomicU64, n: u64) {
    word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Meter {
    /// Owner: it has slept from `from` to `to`.
    #[inline]
    pub(super) fn slept(&self, from: u64, to: u64) {
        add(&self.parks, 1);
        add(&self.slept, to.saturating_sub(from));
    }

    /// Owner: so much time has passed in the loop.
    #[inline]
    pub(super) fn looped(&self, nanos: u64) {
        add(&self.looped, nanos);
    }

    /// Owner: what the reactor has done and holds now.
    #[inline]
    pub(super) fn publish(&self, figures: Figures) {
        self.selector_waits.store(figures.waits, Relaxed);
        self.sources.store(figures.sources, Relaxed);
        self.timers.store(figures.timers, Relaxed);
        self.timers_armed.store(figures.armed, Relaxed);
        self.timers_fired.store(figures.fired, Relaxed);
    }

    /// Any thread: what there is.
    pub(super) fn read(&self) -> Reading {
        let read = |word: &AtomicU64| word.load(Relaxed);
        Reading {
            parks: read(&self.parks),
            looped: read(&self.looped),
            slept: read(&self.slept),
            reactor: Figures {
                waits: read(&self.selector_waits),
                sources: read(&self.sources),
                timers: read(&self.timers),
                armed: read(&self.timers_armed),
                fired: read(&self.timers_fired),
            },
        }
    }
}
