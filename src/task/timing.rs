//! How long polls take, and how long tasks wait for theirs.
//!
//! One poll in 64 is timed, and one task in 64 that is queued is timed until its turn comes: two reads of the clock
//! each. A runtime that looks for stalls times every poll, at one read each: where a poll ends the next begins.

use std::{
    cell::{Cell, OnceCell},
    panic::Location,
    time::Duration,
};

use crate::{
    clock::Clock,
    limits::TIMED_POLLS,
    task::{Tasks, cell::Header, histogram::Histogram},
    trace,
};

/// What is called for a poll that took too long: the task's id, its spawn place and name, and how long it took.
pub(crate) type OnStall = Box<dyn Fn(u64, &'static Location<'static>, Option<&str>, Duration)>;

/// Which polls of a worker are timed.
pub(super) struct Timing {
    /// A poll is timed if its number has none of these bits.
    mask: Cell<u64>,
    /// When the last timed poll ended, if the next one begins there.
    chain: Cell<u64>,
    stall: OnceCell<Stall>,
}

struct Stall {
    limit: u64,
    report: OnStall,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { mask: Cell::new(TIMED_POLLS - 1), chain: Cell::new(0), stall: OnceCell::new() }
    }
}

/// The system's monotonic clock in nanoseconds, whatever clock the worker has.
pub(crate) fn system_now() -> u64 {
    Clock::real().now()
}

impl Tasks {
    /// From now on every poll is timed, and `report` is called for those that took longer than `limit`.
    pub(crate) fn look_for_stalls(&self, limit: Duration, report: OnStall) {
        let stall = Stall { limit: crate::clock::nanos(limit), report };
        if self.timing.stall.set(stall).is_ok() {
            self.timing.mask.set(0);
        }
    }

    /// The next timed poll does not begin where the last one ended.
    #[inline]
    pub(super) fn break_chain(&self) {
        self.timing.chain.set(0);
    }

    /// Has `poll` poll the task of `header`, with a budget of its own, and keeps the books.
    #[inline]
    pub(crate) fn polled<R>(&self, header: &Header, poll: impl FnOnce() -> R) -> R {
        let number = self.published.count_poll();
        header.polled(self.published.turn_time());
        if number & self.timing.mask.get() == 0 {
            return self.timed(header, number, poll);
        }
        let (id, place) = (header.id(), header.spawned());
        self.charged(id, place, || trace::in_task(id, place, || self.name_of(header), poll))
    }

    #[cold]
    fn timed<R>(&self, header: &Header, number: u64, poll: impl FnOnce() -> R) -> R {
        let timing = &self.timing;
        let chained = timing.chain.take();
        let began = if chained == 0 { system_now() } else { chained };
        let outer = self.published.began();
        self.published.set_began(began);
        let (id, place) = (header.id(), header.spawned());
        let result = self.charged(id, place, || trace::in_task(id, place, || self.name_of(header), poll));
        let ended = system_now();
        self.published.set_began(outer);
        let took = ended.saturating_sub(began);
        header.set_timed(took);
        if number % TIMED_POLLS == 0 {
            self.published.poll_time().add(took);
        }
        if let Some(stall) = timing.stall.get() {
            if took > stall.limit {
                let name = self.published.name(id);
                (stall.report)(id, place, name.as_deref(), Duration::from_nanos(took));
            }
            // A report takes time that is not the next task's.
            timing.chain.set(if took > stall.limit { 0 } else { ended });
        }
        result
    }
}

/// Follows one queued slot in 64 until it is taken out.
#[derive(Default)]
pub(super) struct Probe {
    counted: u64,
    /// Whom it follows, plus one; 0 for nobody.
    follows: u32,
    queued_at: u64,
}

impl Probe {
    #[inline]
    pub(super) fn count(&mut self, slot: u32) {
        self.counted += 1;
        if self.counted % TIMED_POLLS == 0 {
            self.begin(slot);
        }
    }

    #[cold]
    fn begin(&mut self, slot: u32) {
        // Slots have 24 bits.
        self.follows = slot + 1;
        self.queued_at = system_now();
    }

    #[inline]
    pub(super) fn is_for(&self, slot: u32) -> bool {
        self.follows == slot + 1
    }

    #[cold]
    pub(super) fn end(&mut self, delays: &Histogram) {
        self.follows = 0;
        delays.add(system_now().saturating_sub(self.queued_at));
    }
}
