//! [`Mailbox`]: how a wake gets from any thread to the worker that owns the task, and when it has to ring.
//!
//! # A wake
//!
//! 1. Set the slot's notified bit, always by a read-modify-write. Stale, or set before: done, somebody else
//!    brings it.
//! 2. Bring the slot's index: into this thread's lane, else into the overflow, else by raising the sweep
//!    flag.
//! 3. `fence(SeqCst)`; if the owner is *parked*, swap that off; only the winner rings.
//!
//! Nothing in between panics, allocates, blocks or runs foreign code.
//!
//! # The owner
//!
//! It drains what is there, clearing each slot's bit *before* it queues the slot. Before it sleeps it sets
//! *parked*, fences, and looks once more. The fences make one of two things certain: a waker that pushed sees
//! *parked*, or the owner sees the push. `docs/wake-up.md` has the whole argument, and `tests/wake_loom.rs`
//! tries to break it.
//!
//! A mailbox is a plain value: the process-wide table is in `table`, the thread-local lanes in `threads`, and
//! the models make mailboxes of their own.

use std::fmt;
use std::sync::atomic::AtomicU64;

use crate::limits::{LANE_CAPACITY, LANES_MAX, OVERFLOW_CAPACITY};
use crate::sync::{AtomicBool, CachePadded, Ordering, fence};
use crate::wake::door::{Door, Doorbell};
use crate::wake::lanes::{Lane, Lanes};
use crate::wake::overflow::Overflow;
use crate::wake::slots::{Mark, Slots};

/// How large the parts of a mailbox are.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Lanes that can be claimed.
    pub lanes: usize,
    /// Entries of a lane; a power of two.
    pub lane_capacity: usize,
    /// Entries of the overflow.
    pub overflow_capacity: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { lanes: LANES_MAX, lane_capacity: LANE_CAPACITY, overflow_capacity: OVERFLOW_CAPACITY }
    }
}

/// What happened at a mailbox since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WakeStats {
    /// Times the doorbell was rung.
    pub rings: u64,
    /// Entries that the owner found without a ring having been spent on them.
    pub elided_rings: u64,
    /// Entries that came through lanes.
    pub lane_entries: u64,
    /// Entries that came through the overflow.
    pub overflow_entries: u64,
    /// Times the owner had to look at all slots.
    pub sweeps: u64,
}

/// One worker's side of all wake-ups.
pub struct Mailbox<B> {
    /// Set while the owner sleeps or is about to: then a push has to be followed by a ring.
    parked: CachePadded<AtomicBool>,
    door: CachePadded<Door<B>>,
    counters: CachePadded<Counters>,
    overflow: Overflow,
    lanes: Lanes,
    slots: Slots,
}

/// Written by the owner alone, read by whoever asks; no part of the protocol, so none of loom's atomics.
#[derive(Debug, Default)]
struct Counters {
    lane_entries: AtomicU64,
    overflow_entries: AtomicU64,
    sweeps: AtomicU64,
}

impl<B: Doorbell> Mailbox<B> {
    /// Makes a mailbox without slots, bell or owner.
    pub fn new(bounds: Bounds) -> Mailbox<B> {
        Mailbox {
            parked: CachePadded(AtomicBool::new(false)),
            door: CachePadded(Door::new()),
            counters: CachePadded(Counters::default()),
            overflow: Overflow::new(bounds.overflow_capacity),
            lanes: Lanes::new(bounds.lanes, bounds.lane_capacity),
            slots: Slots::new(),
        }
    }

    /// Claims one of the first `limit` lanes into this mailbox.
    pub fn claim_lane(&self, limit: usize) -> Option<Lane<'_>> {
        self.lanes.claim(limit)
    }

    /// Hangs up the bell that ends the owner's sleep.
    pub fn open(&self, bell: B) {
        self.door.open(bell);
    }

    /// Takes the bell down; on return nobody rings it any more, so it may be closed. For the owner, awake.
    pub fn close(&self) {
        // Nobody sleeps behind this door: spare later wakes the way to it.
        self.parked.swap(false, Ordering::Relaxed);
        self.door.close();
    }

    /// As [`Mailbox::close`], in a forked child, where nobody but the calling thread has come along.
    pub fn forsake(&self) {
        self.parked.swap(false, Ordering::Relaxed);
        self.door.forsake();
    }

    /// Makes the remote word of `slot` exist and returns its generation. For the owner.
    ///
    /// # Panics
    ///
    /// If `slot` is not below `limits::SLOTS_MAX`.
    pub fn ensure_slot(&self, slot: u32) -> u32 {
        self.slots.ensure(slot)
    }

    /// Makes all handles to `slot` stale and returns its new generation. For the owner.
    pub fn retire_slot(&self, slot: u32) -> u32 {
        self.slots.retire(slot)
    }

    /// Wakes a task from any thread, through `lane` if the caller has one that leads here.
    #[inline]
    pub fn wake(&self, slot: u32, generation: u32, lane: Option<&mut Lane<'_>>) {
        match self.slots.mark(slot, generation) {
            Mark::Stale | Mark::Pending => return,
            Mark::First => {}
        }
        let through_lane = match lane {
            Some(lane) if lane.leads_into(&self.lanes) => lane.push(slot),
            Some(_) | None => false,
        };
        if through_lane {
            // The push has ended with the fence that `notify` begins with.
            self.ring_if_parked();
        } else {
            self.overflow.push(slot);
            self.notify();
        }
    }

    /// Ends the owner's sleep if it sleeps, after the caller has put something where the owner looks before
    /// it does.
    #[inline]
    pub fn notify(&self) {
        // PAIRS: store of the entry before, load of `parked` after; `park` has them the other way round.
        fence(Ordering::SeqCst);
        self.ring_if_parked();
    }

    /// Takes what is there now out of lanes and overflow, and calls `each` once for every slot that was
    /// woken. For the owner.
    ///
    /// A slot's notified bit is cleared before `each` sees it, so that a wake during the poll counts anew.
    /// `each` must not panic, and must not drain. The number of calls is returned.
    pub fn drain(&self, mut each: impl FnMut(u32)) -> usize {
        let mut woken = 0;
        let mut deliver = |slot| {
            // A clear bit means that a sweep has brought this wake already.
            if self.slots.take(slot) {
                woken += 1;
                each(slot);
            }
        };
        let from_lanes = self.lanes.drain(&mut deliver);
        let from_overflow = self.overflow.drain(&mut deliver);
        add(&self.counters.lane_entries, from_lanes);
        add(&self.counters.overflow_entries, from_overflow);
        if self.overflow.take_sweep() {
            add(&self.counters.sweeps, 1);
            woken += self.slots.sweep(each);
        }
        woken
    }

    /// Whether [`Mailbox::drain`] would find something. For the owner.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.lanes.has_work() || !self.overflow.is_empty()
    }

    /// Declares that the owner goes to sleep; `false` when it must not, because there is work or `also` finds
    /// some.
    ///
    /// `also` looks at whatever else is announced by [`Mailbox::notify`]. After `true`, [`Mailbox::unpark`]
    /// follows when the sleep is over. After `false`, one late ring is possible.
    pub fn park(&self, also: impl FnOnce() -> bool) -> bool {
        // A swap, here and wherever the owner writes the flag: it continues the wakers' swaps instead of ignoring
        // them, so that the flag has one line of changes. It is nothing next to the system call that follows.
        self.parked.swap(true, Ordering::Relaxed);
        // PAIRS: store of `parked` before, loads of all entries after; `Mailbox::notify` and `Lane::push`
        // have them the other way round.
        fence(Ordering::SeqCst);
        if self.has_work() || also() {
            self.parked.swap(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether the owner sleeps or is about to, and nobody has rung for it. A hint for others.
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Relaxed)
    }

    /// Ends the sleep that [`Mailbox::park`] declared, whatever ended it. For the owner.
    pub fn unpark(&self) {
        // PAIRS: the Release swap in `ring_if_parked`: what was pushed before the ring is visible to the next
        // drain.
        self.parked.swap(false, Ordering::Acquire);
    }

    /// What happened here so far.
    pub fn stats(&self) -> WakeStats {
        let rings = self.door.rings();
        let lane_entries = self.counters.lane_entries.load(Ordering::Relaxed);
        let overflow_entries = self.counters.overflow_entries.load(Ordering::Relaxed);
        WakeStats {
            rings,
            elided_rings: (lane_entries + overflow_entries).saturating_sub(rings),
            lane_entries,
            overflow_entries,
            sweeps: self.counters.sweeps.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn ring_if_parked(&self) {
        // The load spares wakes of a busy worker the write; it comes after the fence, and so cannot miss an
        // owner that has not seen the entry.
        // PAIRS: Release with the Acquire swap in `unpark`: an owner that was rung sees the entry.
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Release) {
            self.door.ring();
        }
    }
}

impl<B> fmt::Debug for Mailbox<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parked = self.parked.load(Ordering::Relaxed);
        formatter.debug_struct("Mailbox").field("parked", &parked).finish_non_exhaustive()
    }
}

/// Adds to a counter that only the owner writes.
fn add(counter: &AtomicU64, amount: usize) {
    if amount != 0 {
        counter.store(counter.load(Ordering::Relaxed) + amount as u64, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::wake::door::AtDoor;

    thread_local!(static RUNG: Cell<u32> = const { Cell::new(0) });

    /// Counts in a thread-local: the tests below wake from the thread that looks.
    #[derive(Clone, Copy)]
    struct CountingBell;

    impl Doorbell for CountingBell {
        fn from_raw(_raw: i32, _: AtDoor) -> CountingBell {
            CountingBell
        }
        fn to_raw(self) -> i32 {
            0
        }
        fn ring(self) {
            RUNG.set(RUNG.get() + 1);
        }
    }

    fn mailbox() -> Mailbox<CountingBell> {
        RUNG.set(0);
        let mailbox = Mailbox::new(Bounds { lanes: 2, lane_capacity: 4, overflow_capacity: 2 });
        mailbox.open(CountingBell);
        mailbox
    }

    fn drained(mailbox: &Mailbox<CountingBell>) -> Vec<u32> {
        let mut seen = Vec::new();
        assert_eq!(mailbox.drain(|slot| seen.push(slot)), seen.len());
        seen
    }

    #[test]
    fn a_busy_owner_is_not_rung_for() {
        let mailbox = mailbox();
        let generation = mailbox.ensure_slot(0);
        mailbox.wake(0, generation, None);
        assert_eq!(RUNG.get(), 0);
        assert!(!mailbox.park(|| false));
        assert_eq!(drained(&mailbox), [0]);
        assert!(mailbox.park(|| false));
    }

    #[test]
    fn a_parked_owner_is_rung_for_once() {
        let mailbox = mailbox();
        let mut lane = mailbox.claim_lane(2);
        let generations = [mailbox.ensure_slot(0), mailbox.ensure_slot(1)];
        assert!(mailbox.park(|| false));
        mailbox.wake(0, generations[0], lane.as_mut());
        mailbox.wake(1, generations[1], lane.as_mut());
        mailbox.wake(1, generations[1], None);
        assert_eq!(RUNG.get(), 1);
        mailbox.unpark();
        assert_eq!(drained(&mailbox), [0, 1]);
        let stats = mailbox.stats();
        assert_eq!((stats.rings, stats.elided_rings, stats.lane_entries), (1, 1, 2));
    }

    #[test]
    fn what_the_owner_looks_at_besides_keeps_it_awake() {
        let mailbox = mailbox();
        assert!(!mailbox.park(|| true));
        mailbox.notify();
        assert_eq!(RUNG.get(), 0);
        assert!(mailbox.park(|| false));
        mailbox.notify();
        assert_eq!(RUNG.get(), 1);
    }

    #[test]
    fn a_full_lane_spills_into_the_overflow_and_that_into_a_sweep() {
        let mailbox = mailbox();
        let mut lane = mailbox.claim_lane(2);
        for slot in 0..10 {
            let generation = mailbox.ensure_slot(slot);
            mailbox.wake(slot, generation, lane.as_mut());
        }
        let mut seen = drained(&mailbox);
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        let stats = mailbox.stats();
        assert_eq!((stats.lane_entries, stats.overflow_entries, stats.sweeps), (4, 2, 1));
        assert!(!mailbox.has_work());
    }

    #[test]
    fn an_entry_for_a_reused_slot_leaves_the_new_task_wakeable() {
        let mailbox = mailbox();
        let old = mailbox.ensure_slot(0);
        mailbox.wake(0, old, None);
        let new = mailbox.retire_slot(0);
        assert_eq!(drained(&mailbox), [0]);
        mailbox.wake(0, old, None);
        assert!(drained(&mailbox).is_empty());
        mailbox.wake(0, new, None);
        assert_eq!(drained(&mailbox), [0]);
    }

    #[test]
    fn a_closed_mailbox_is_not_rung() {
        let mailbox = mailbox();
        let generation = mailbox.ensure_slot(0);
        assert!(mailbox.park(|| false));
        mailbox.close();
        mailbox.wake(0, generation, None);
        assert_eq!((RUNG.get(), mailbox.stats().rings), (0, 0));
        assert_eq!(drained(&mailbox), [0]);
        assert!(mailbox.park(|| false));
        mailbox.notify();
        assert_eq!((RUNG.get(), mailbox.stats().rings), (0, 0));
    }

    #[test]
    fn a_lane_of_another_mailbox_is_not_used() {
        let (here, there) = (mailbox(), mailbox());
        let mut lane = there.claim_lane(2);
        let generation = here.ensure_slot(0);
        here.wake(0, generation, lane.as_mut());
        assert!(!there.has_work());
        assert_eq!(drained(&here), [0]);
    }
}
