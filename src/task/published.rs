//! What a worker tells of itself while it runs, for other threads to read.
//!
//! The owner writes with plain loads and stores, so a poll pays a few moves for it and no read-modify-write; others
//! read at any time. The words are not read together: a reader that sees a task's id may see the place of the next.
//! That matters to nobody: a task that holds its worker up stays the same for as long as anybody looks.

use std::{
    collections::HashMap,
    panic::Location,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed},
    },
};

use crate::task::histogram::Histogram;

/// One worker's words. Aligned, so that no other thread's writes share a cache line with them.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Published {
    /// The task that is being polled, 0 for none.
    running: AtomicU64,
    /// Where that task was spawned; null, or a `&'static Location`.
    place: AtomicPtr<Location<'static>>,
    polls: AtomicU64,
    /// The worker's clock when it was last read.
    turn_time: AtomicU64,
    /// When the poll that is under way began, of the system's clock; 0 if it is not a timed one.
    began: AtomicU64,
    /// Whether the worker's loop is on some thread's stack.
    turning: AtomicBool,
    /// Whether it was a host that turned the loop last, and so will again.
    hosted: AtomicBool,
    live: AtomicU64,
    spawned: AtomicU64,
    panicked: AtomicU64,
    exhausted: AtomicU64,
    poll_time: Histogram,
    schedule_delay: Histogram,
    /// The names of those tasks that have one.
    names: Mutex<HashMap<u64, Arc<str>>>,
}

/// The task that a worker is inside of.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) id: u64,
    pub(crate) place: Option<&'static Location<'static>>,
    pub(crate) name: Option<Arc<str>>,
    /// When the poll began at the latest, on the worker's clock.
    pub(crate) turn_time: u64,
    /// When it began, on the system's clock, if the worker times every poll.
    pub(crate) began: Option<u64>,
}

/// Sums and levels of a worker's tasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TaskCounts {
    pub(crate) polls: u64,
    pub(crate) live: u64,
    pub(crate) spawned: u64,
    pub(crate) panicked: u64,
    pub(crate) exhausted: u64,
}

/// One writer: a load and a store lose nothing.
#[inline]
fn add(word: &AtomicU64, n: u64) -> u64 {
    let sum = word.load(Relaxed).wrapping_add(n);
    word.store(sum, Relaxed);
    sum
}

impl Published {
    pub(crate) fn new() -> Self {
        let word = || AtomicU64::new(0);
        Published {
            running: word(),
            place: AtomicPtr::new(ptr::null_mut()),
            polls: word(),
            turn_time: word(),
            began: word(),
            turning: AtomicBool::new(false),
            hosted: AtomicBool::new(false),
            live: word(),
            spawned: word(),
            panicked: word(),
            exhausted: word(),
            poll_time: Histogram::new(),
            schedule_delay: Histogram::new(),
            names: Mutex::default(),
        }
    }

    /// Owner: task `id` is polled from now on. Returns what was, for [`resume`](Self::resume).
    #[inline]
    pub(super) fn begin(&self, id: u64, place: &'static Location<'static>) -> Outer {
        let outer = Outer { id: self.running.load(Relaxed), place: self.place.load(Relaxed) };
        self.running.store(id, Relaxed);
        self.place.store(ptr::from_ref(place).cast_mut(), Relaxed);
        outer
    }

    /// Owner: what was polled before goes on.
    #[inline]
    pub(super) fn resume(&self, outer: Outer) {
        self.running.store(outer.id, Relaxed);
        self.place.store(outer.place, Relaxed);
    }

    /// Owner: nothing is being polled.
    pub(super) fn set_idle(&self) {
        self.running.store(0, Relaxed);
        self.began.store(0, Relaxed);
    }

    /// Owner: the task that is being polled; 0 for none.
    #[inline]
    pub(super) fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    /// Owner: one poll more. Returns how many that makes.
    #[inline]
    pub(super) fn count_poll(&self) -> u64 {
        add(&self.polls, 1)
    }

    /// Owner: a timed poll begins at `now`, or with 0 is over.
    pub(super) fn set_began(&self, now: u64) {
        self.began.store(now, Relaxed);
    }

    pub(super) fn began(&self) -> u64 {
        self.began.load(Relaxed)
    }

    /// Owner: the clock was read.
    #[inline]
    pub(crate) fn set_turn_time(&self, now: u64) {
        self.turn_time.store(now, Relaxed);
    }

    /// The clock when it was last read.
    #[inline]
    pub(crate) fn turn_time(&self) -> u64 {
        self.turn_time.load(Relaxed)
    }

    /// Owner: the loop is entered or left.
    pub(super) fn set_turning(&self, turning: bool) -> bool {
        let before = self.turning.load(Relaxed);
        self.turning.store(turning, Relaxed);
        before
    }

    /// Whether the worker's loop runs on some thread.
    pub(crate) fn is_turning(&self) -> bool {
        self.turning.load(Relaxed)
    }

    /// Owner: who turns the loop.
    pub(crate) fn set_hosted(&self, hosted: bool) {
        self.hosted.store(hosted, Relaxed);
    }

    /// Whether the loop comes round to what others ask of it: it is turning, or a host turns it when it is rung for.
    pub(crate) fn comes_round(&self) -> bool {
        self.is_turning() || self.hosted.load(Relaxed)
    }

    /// Owner: one task more, or one less.
    #[inline]
    pub(super) fn linked(&self, live: usize) {
        add(&self.spawned, 1);
        self.live.store(live as u64, Relaxed);
    }

    #[inline]
    pub(super) fn unlinked(&self, live: usize) {
        self.live.store(live as u64, Relaxed);
    }

    #[cold]
    pub(super) fn panicked(&self) {
        add(&self.panicked, 1);
    }

    #[cold]
    pub(super) fn exhausted(&self) {
        add(&self.exhausted, 1);
    }

    /// How long polls took, of those that were timed.
    pub(crate) fn poll_time(&self) -> &Histogram {
        &self.poll_time
    }

    /// How long tasks waited in the run queue, of those that were timed.
    pub(crate) fn schedule_delay(&self) -> &Histogram {
        &self.schedule_delay
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        let read = |word: &AtomicU64| word.load(Relaxed);
        TaskCounts {
            polls: read(&self.polls),
            live: read(&self.live),
            spawned: read(&self.spawned),
            panicked: read(&self.panicked),
            exhausted: read(&self.exhausted),
        }
    }

    /// Any thread: the poll that the worker is inside of.
    pub(crate) fn inside(&self) -> Option<Inside> {
        let id = self.running.load(Relaxed);
        if id == 0 || !self.is_turning() {
            return None;
        }
        let place = self.place.load(Relaxed);
        // SAFETY: the pointer is null or was made from a `&'static Location` by `begin`, the only writer of others:
        // what it points to is immutable and lives for ever, so that neither thread nor order matters.
        let place = unsafe { place.cast_const().as_ref() };
        let began = self.began.load(Relaxed);
        Some(Inside {
            id,
            place,
            name: self.name(id),
            turn_time: self.turn_time(),
            began: (began != 0).then_some(began),
        })
    }

    /// The name of a task, if it has one.
    pub(crate) fn name(&self, id: u64) -> Option<Arc<str>> {
        self.names().get(&id).cloned()
    }

    pub(super) fn set_name(&self, id: u64, name: Arc<str>) {
        let former = self.names().insert(id, name);
        debug_assert!(former.is_none(), "ids are not used twice");
    }

    pub(super) fn forget_name(&self, id: u64) {
        self.names().remove(&id);
    }

    pub(super) fn forget_names(&self) {
        self.names().clear();
    }

    fn names(&self) -> MutexGuard<'_, HashMap<u64, Arc<str>>> {
        // Nothing foreign runs under it.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was polled before a nested poll.
#[derive(Clone, Copy)]
pub(super) struct Outer {
    id: u64,
    place: *mut Location<'static>,
}
