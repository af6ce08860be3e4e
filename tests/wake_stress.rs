//! The wake path with real threads: owners that really sleep in a selector, wakers that race them, threads
//! that come and go. What the models of `wake_loom.rs` prove in small is run here in large.

use std::cell::RefCell;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wakering::internals::sys::Selector;
use wakering::internals::wake::{
    AtDoor, Bounds, Doorbell, Entry, Lane, Mailbox, claim, entry, use_overflow_only,
};

/// How long an owner sleeps before the test calls the wake lost; far beyond what a loaded machine needs.
const LOST: Duration = Duration::from_secs(60);

/// One test at a time: they share the process's worker ids, and with them lanes and counters.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker id with its selector, as a worker has it.
struct Owner {
    entry: &'static Entry,
    selector: Selector,
}

impl Owner {
    fn new(slots: u32) -> Owner {
        let entry = claim().expect("a test process has ids to spare");
        let selector = Selector::new(8).expect("a test process has descriptors to spare");
        // SAFETY: the entry is closed before the selector goes, when this is dropped.
        entry.open(unsafe { selector.doorbell() });
        for slot in 0..slots {
            entry.ensure_slot(slot);
        }
        Owner { entry, selector }
    }

    /// Drains and sleeps until `done`; `each` is told of every woken slot.
    fn run(&mut self, mut each: impl FnMut(u32), mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        loop {
            self.entry.drain(&mut each);
            if done() {
                return;
            }
            assert!(begun.elapsed() < 4 * LOST, "wakes do not arrive");
            if self.entry.park(|| false) {
                let asleep = Instant::now();
                self.selector.wait(Some(LOST)).expect("the selector works");
                self.entry.unpark();
                assert!(asleep.elapsed() < LOST, "a wake was lost: nobody rang");
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.entry.close();
        self.entry.release();
    }
}

/// Xorshift: the tests print where they began.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(bound)).expect("less than a u32")
    }
}

fn wake(entry: &'static Entry, slot: u32) {
    entry.wake(slot, entry.ensure_slot(slot));
}

#[test]
fn eight_threads_wake_a_thousand_slots_a_million_times_and_none_is_lost() {
    const THREADS: u64 = 8;
    const SLOTS: u32 = 1_000;
    const WAKES: u64 = 1_000_000;

    let _alone = alone();
    let mut owner = Owner::new(SLOTS);
    let target = owner.entry;
    let generations: Arc<Vec<u32>> = Arc::new((0..SLOTS).map(|slot| target.ensure_slot(slot)).collect());
    let before = target.stats();
    let asked: Arc<Vec<AtomicU64>> = Arc::new((0..SLOTS).map(|_| AtomicU64::new(0)).collect());
    let wakers: Vec<_> = (1..=THREADS)
        .map(|seed| {
            let (asked, generations) = (asked.clone(), generations.clone());
            println!("seed {seed}");
            thread::spawn(move || {
                let mut random = Random(seed);
                for count in 0..WAKES / THREADS {
                    let slot = random.below(SLOTS);
                    asked[slot as usize].fetch_add(1, Ordering::Relaxed);
                    target.wake(slot, generations[slot as usize]);
                    if count % 1_000 == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    // A wake that was merged with another is answered by the same look at the counter.
    let mut answered = vec![0; SLOTS as usize];
    let total = std::cell::Cell::new(0);
    owner.run(
        |slot| {
            let now = asked[slot as usize].load(Ordering::Relaxed);
            total.set(total.get() + now - answered[slot as usize]);
            answered[slot as usize] = now;
        },
        || total.get() == WAKES,
    );
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    let stats = target.stats();
    println!("{before:?} before\n{stats:?} after");
    assert!(stats.lane_entries > before.lane_entries && stats.overflow_entries > before.overflow_entries);
}

/// Counts its rings, and wakes nobody.
#[derive(Clone, Copy)]
struct CountingBell(i32);

static RINGS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

impl CountingBell {
    fn rings(self) -> u32 {
        RINGS[self.place()].load(Ordering::SeqCst)
    }

    fn place(self) -> usize {
        usize::try_from(self.0).expect("a number that the tests chose")
    }
}

impl Doorbell for CountingBell {
    fn from_raw(raw: i32, _: AtDoor) -> CountingBell {
        CountingBell(raw)
    }

    fn to_raw(self) -> i32 {
        self.0
    }

    fn ring(self) {
        RINGS[self.place()].fetch_add(1, Ordering::SeqCst);
    }
}

/// A parked mailbox of 64 slots behind the counting bell of this number.
fn parked_mailbox(bell: CountingBell) -> Mailbox<CountingBell> {
    let mailbox = Mailbox::new(Bounds::default());
    mailbox.open(bell);
    for slot in 0..64 {
        mailbox.ensure_slot(slot);
    }
    assert!(mailbox.park(|| false));
    mailbox
}

#[test]
fn a_burst_of_64_foreign_wakes_rings_the_doorbell_of_a_sleeper_once() {
    let _alone = alone();
    for (number, with_lane) in [(0, true), (1, false)] {
        let bell = CountingBell(number);
        let mailbox = parked_mailbox(bell);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut lane: Option<Lane<'_>> = if with_lane { mailbox.claim_lane(1) } else { None };
                for slot in 0..64 {
                    mailbox.wake(slot, 0, lane.as_mut());
                }
            });
        });
        assert_eq!(bell.rings(), 1);
        mailbox.unpark();
        assert_eq!(mailbox.drain(|_| ()), 64);
    }
}

#[test]
fn a_burst_of_64_foreign_wakes_rings_the_doorbell_twice_if_its_owner_sleeps_in_the_midst() {
    let _alone = alone();
    for (number, with_lane) in [(2, true), (3, false)] {
        let bell = CountingBell(number);
        let mailbox = parked_mailbox(bell);
        let mut woken = 0;
        let mut half = |slots: std::ops::Range<u32>| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut lane = if with_lane { mailbox.claim_lane(1) } else { None };
                    slots.for_each(|slot| mailbox.wake(slot, 0, lane.as_mut()));
                });
            });
            mailbox.unpark();
            woken += mailbox.drain(|_| ());
            assert!(mailbox.park(|| false));
        };
        half(0..32);
        half(32..64);
        assert_eq!((woken, bell.rings()), (64, 2));
    }
}

#[test]
fn threads_that_end_give_their_lanes_back() {
    const THREADS: usize = 400;
    const WAKES: usize = 40;

    let _alone = alone();
    let owner = Owner::new(8);
    let target = owner.entry;
    for _ in 0..THREADS / 4 {
        let wakers: Vec<_> =
            (0..4).map(|slot| thread::spawn(move || (0..WAKES).for_each(|_| wake(target, slot)))).collect();
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        target.drain(|_| ());
    }
    // The first lane is free again: this is the one that all claims begin with.
    assert!(target.mailbox().claim_lane(1).is_some());
    // A thread that is here again and again finds a lane, although more came than there are lanes.
    let before = target.stats().lane_entries;
    let waker = thread::spawn(move || {
        for _ in 0..WAKES {
            wake(target, 7);
            target.drain(|_| ());
        }
    });
    waker.join().unwrap();
    assert!(target.stats().lane_entries > before);
}

#[test]
fn a_thread_of_a_pool_leaves_the_lanes_to_others() {
    let _alone = alone();
    let owner = Owner::new(1);
    let target = owner.entry;
    let before = target.stats();
    let waker = thread::spawn(move || {
        use_overflow_only();
        for _ in 0..100 {
            wake(target, 0);
            target.drain(|_| ());
        }
    });
    waker.join().unwrap();
    let after = target.stats();
    assert_eq!(after.lane_entries, before.lane_entries);
    assert_eq!(after.overflow_entries, before.overflow_entries + 100);
}

#[test]
fn more_wakes_than_lane_and_overflow_hold_are_swept() {
    const SLOTS: u32 = 5_000;

    let _alone = alone();
    let owner = Owner::new(SLOTS);
    let target = owner.entry;
    let before = target.stats();
    let waker = thread::spawn(move || (0..SLOTS).for_each(|slot| wake(target, slot)));
    waker.join().unwrap();
    let mut woken = vec![0; SLOTS as usize];
    assert_eq!(target.drain(|slot| woken[slot as usize] += 1), SLOTS as usize);
    assert!(woken.iter().all(|times| *times == 1));
    let after = target.stats();
    assert_eq!(after.sweeps, before.sweeps + 1);
    assert!(after.lane_entries > before.lane_entries && after.overflow_entries > before.overflow_entries);
    assert!(!target.has_work());
}

#[test]
fn two_owners_that_flood_each_other_neither_wait_nor_lose_a_wake() {
    const SLOTS: u32 = 4_000;
    const ROUNDS: u32 = 20;

    let _alone = alone();
    let owners = [Owner::new(SLOTS), Owner::new(SLOTS)];
    let entries = owners.each_ref().map(|owner| owner.entry);
    let through = Arc::new([const { AtomicBool::new(false) }; 2]);
    let threads: Vec<_> = (0..)
        .zip(owners)
        .map(|(me, mut owner)| {
            let through = through.clone();
            let other = 1 - me;
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    // All at once, beyond what lane and overflow hold, while the other one does the same.
                    (0..SLOTS).for_each(|slot| wake(entries[other], slot));
                    owner.entry.drain(|_| ());
                }
                through[me].store(true, Ordering::Relaxed);
                wake(entries[other], 0);
                owner.run(|_| (), || through[other].load(Ordering::Relaxed));
                owner
            })
        })
        .collect();
    let owners: Vec<Owner> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for owner in &owners {
        owner.entry.drain(|_| ());
        assert!(!owner.entry.has_work());
    }
}

thread_local! {
    static EARLY: RefCell<Option<WakesWhenDropped>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<WakesWhenDropped>> = const { RefCell::new(None) };
}

struct WakesWhenDropped {
    target: &'static Entry,
    slots: std::ops::Range<u32>,
}

impl Drop for WakesWhenDropped {
    fn drop(&mut self) {
        self.slots.clone().for_each(|slot| wake(self.target, slot));
    }
}

#[test]
fn wakes_from_destructors_of_thread_locals_arrive() {
    let _alone = alone();
    let mut owner = Owner::new(100);
    let target = owner.entry;
    let ended = thread::spawn(move || {
        // One is registered before the lanes are, one after: one of them is dropped when the lanes are gone.
        EARLY.set(Some(WakesWhenDropped { target, slots: 0..40 }));
        (40..60).for_each(|slot| wake(target, slot));
        LATE.set(Some(WakesWhenDropped { target, slots: 60..100 }));
    });
    let mut missing: Vec<bool> = vec![true; 100];
    let left = std::cell::Cell::new(100);
    owner.run(
        |slot| {
            if std::mem::take(&mut missing[slot as usize]) {
                left.set(left.get() - 1);
            }
        },
        || left.get() == 0,
    );
    ended.join().unwrap();
    assert!(target.mailbox().claim_lane(1).is_some(), "the ended thread still has its lane");
}

#[test]
fn a_wake_after_the_close_does_nothing() {
    let _alone = alone();
    let owner = Owner::new(1);
    let target = owner.entry;
    let generation = target.ensure_slot(0);
    target.retire_slot(0);
    // The entry may have had an owner before, for whom wakes still lie there.
    target.drain(|_stale| ());
    target.close();
    let before = target.stats();
    thread::spawn(move || {
        for _ in 0..100 {
            target.wake(0, generation);
            target.notify();
        }
        // Nor does one for a slot or a worker that never was.
        target.wake(1_000_000, 0);
        assert!(entry(4_095).is_none());
    })
    .join()
    .unwrap();
    assert_eq!(target.stats(), before);
    assert!(!target.has_work());
}

#[test]
fn nobody_writes_into_the_file_that_got_the_number_of_a_closed_bell() {
    let _alone = alone();
    let stop = Arc::new(AtomicBool::new(false));
    let target = Owner::new(1).entry;
    let waker = {
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                wake(target, 0);
                target.notify();
            }
        })
    };
    for _ in 0..300 {
        let mut owner = Owner::new(1);
        for _ in 0..3 {
            if owner.entry.park(|| false) {
                owner.selector.wait(Some(Duration::from_millis(1))).unwrap();
                owner.entry.unpark();
            }
            owner.entry.drain(|_| ());
        }
        owner.entry.park(|| false);
        owner.entry.close();
        drop(owner);
        // These get the numbers that the selector had, or numbers that another test's has, which is as well.
        let (mut one, mut other) = UnixStream::pair().unwrap();
        for end in [&mut one, &mut other] {
            end.set_nonblocking(true).unwrap();
            let outcome = end.read(&mut [0; 8]);
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
    stop.store(true, Ordering::Relaxed);
    waker.join().unwrap();
}
