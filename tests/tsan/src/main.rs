//! Races the wake path against itself, to be watched by ThreadSanitizer (see `Cargo.toml` for the command).
//!
//! The standard library that comes with the stable toolchain is not instrumented, so the sanitizer cannot see
//! that an `Arc`, a `Mutex` or a `OnceLock` orders anything. This program therefore shares nothing but
//! atomics and leaked `&'static` state, makes all that is made once (worker ids, remote words, lanes) before
//! the first thread starts, and needs no suppression. It ends with one line and code 0; the sanitizer ends it
//! with code 66.
//!
//! What it would find: a missing release or acquire on the way from a waker's plain memory to the owner's
//! poll, or on the rings' slots. What it cannot: a missing fence, which it does not model. That is what the
//! loom models are for.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wakering::internals::sys::Selector;
use wakering::internals::wake::{Entry, claim};

const THREADS: u32 = 4;
const SLOTS: u32 = 50;
const ROUNDS: u32 = 500;

/// How long the owner sleeps before it calls a wake lost.
const LOST: Duration = Duration::from_secs(60);

/// Plain memory that belongs to one waker and the owner in turns, as what a task waits for does.
struct Letter {
    text: UnsafeCell<u32>,
    /// The last round that was written and announced by a wake.
    sent: AtomicU32,
    /// The last round that the owner has read; by this the waker gets the letter back.
    read: AtomicU32,
}

// SAFETY: the waker writes `text` only after it has seen (Acquire) that the owner read the last round
// (Release), and the owner reads it only after it took a wake that came after the write: the order that this
// program is here to check.
unsafe impl Sync for Letter {}

impl Letter {
    fn new() -> Letter {
        Letter { text: UnsafeCell::new(0), sent: AtomicU32::new(0), read: AtomicU32::new(0) }
    }

    fn write(&self, round: u32) {
        while self.read.load(Ordering::Acquire) != round - 1 {
            thread::yield_now();
        }
        // SAFETY: the owner is done with the last round and not yet woken for this one.
        unsafe { *self.text.get() = round }
    }

    fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed) != self.read.load(Ordering::Relaxed)
    }

    fn read(&self) {
        // SAFETY: the wake that led here came after the write, and the next write waits for the store below.
        let round = unsafe { *self.text.get() };
        assert_eq!(round, self.sent.load(Ordering::Relaxed), "the owner does not see what the waker wrote");
        self.read.store(round, Ordering::Release);
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Claims a worker id, and makes its words and its lanes.
fn prepare(slots: u32) -> (&'static Entry, Selector) {
    let entry = claim().expect("ids are free");
    let selector = Selector::new(8).expect("descriptors are free");
    // SAFETY: the entry is closed before the selector goes.
    entry.open(unsafe { selector.doorbell() });
    (0..slots).for_each(|slot| _ = entry.ensure_slot(slot));
    let lanes: Vec<_> = (0..256).map_while(|_| entry.mailbox().claim_lane(256)).collect();
    drop(lanes);
    (entry, selector)
}

/// The parked owner's sleep.
fn sleep(entry: &'static Entry, selector: &mut Selector) {
    let asleep = Instant::now();
    selector.wait(Some(LOST)).expect("the selector works");
    entry.unpark();
    assert!(asleep.elapsed() < LOST, "a wake was lost: nobody rang");
}

/// Letters cross from four threads to one. All four wake the same slots, so that most wakes join an earlier
/// one.
fn letters() -> u64 {
    let (entry, mut selector) = prepare(SLOTS);
    let letters: &'static [Letter] = Vec::leak((0..THREADS * SLOTS).map(|_| Letter::new()).collect());
    let wakers: Vec<_> = letters
        .chunks(SLOTS as usize)
        .map(|mine| thread::spawn(move || (1..=ROUNDS).for_each(|round| send(entry, mine, round))))
        .collect();
    let mut left = THREADS * SLOTS * ROUNDS;
    while left != 0 {
        let sent: Vec<usize> = (0..letters.len()).filter(|place| letters[*place].is_sent()).collect();
        let mut woken = vec![false; SLOTS as usize];
        entry.drain(|slot| woken[slot as usize] = true);
        // What was sent before the drain was announced before it, and a slot that the drain brought was taken
        // after that announcement: only such letters may be read.
        for place in sent.into_iter().filter(|place| woken[place % SLOTS as usize]) {
            letters[place].read();
            left -= 1;
        }
        if left != 0 && entry.park(|| false) {
            sleep(entry, &mut selector);
        }
    }
    wakers.into_iter().for_each(|waker| waker.join().expect("a waker does not panic"));
    entry.close();
    u64::from(THREADS * SLOTS * ROUNDS)
}

/// Sends one letter for each slot, and wakes until all are read.
fn send(entry: &'static Entry, letters: &'static [Letter], round: u32) {
    for (slot, letter) in (0..).zip(letters) {
        letter.write(round);
        entry.wake(slot, 0);
        // Relaxed: that the letter may be read is for the wake to say.
        letter.sent.store(round, Ordering::Relaxed);
    }
    while letters.iter().any(Letter::is_sent) {
        let unread = (0..).zip(letters).filter(|(_, letter)| letter.is_sent());
        unread.for_each(|(slot, _)| entry.wake(slot, 0));
        thread::yield_now();
    }
}

/// Threads come, wake until they hold a lane, and end, three at a time, while the owner drains and tasks
/// change.
fn lanes_change_hands() -> u64 {
    const GENERATIONS: u32 = 100;
    const WAKES: u32 = 200;

    let (entry, mut selector) = prepare(WAKES);
    let woken: &'static AtomicU64 = leak(AtomicU64::new(0));
    let ended: &'static AtomicBool = leak(AtomicBool::new(false));
    let spawner = thread::spawn(move || {
        for _ in 0..GENERATIONS {
            let wakers: Vec<_> = (0..3)
                .map(|_| {
                    thread::spawn(move || {
                        for slot in 0..WAKES {
                            entry.wake(slot, 0);
                            woken.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            wakers.into_iter().for_each(|waker| waker.join().expect("a waker does not panic"));
        }
        ended.store(true, Ordering::Release);
        entry.notify();
    });
    while !ended.load(Ordering::Acquire) {
        entry.drain(|_| ());
        if entry.park(|| ended.load(Ordering::Relaxed)) {
            sleep(entry, &mut selector);
        }
    }
    spawner.join().expect("the spawner does not panic");
    entry.close();
    woken.load(Ordering::Relaxed)
}

/// More slots than lane and overflow hold, so that they are swept; and doors that close meanwhile.
fn floods_and_closed_doors() -> u64 {
    const FLOOD: u32 = 3_000;

    let (entry, mut selector) = prepare(FLOOD);
    let stop: &'static AtomicBool = leak(AtomicBool::new(false));
    let woken: &'static AtomicU64 = leak(AtomicU64::new(0));
    let wakers: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for slot in 0..FLOOD {
                        entry.wake(slot, 0);
                    }
                    woken.fetch_add(u64::from(FLOOD), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..200 {
        if round % 10 == 0 {
            entry.close();
            selector = Selector::new(8).expect("descriptors are free");
            // SAFETY: the entry is closed before the selector goes.
            entry.open(unsafe { selector.doorbell() });
        }
        entry.drain(|slot| {
            if slot % 7 == 0 && round % 50 == 0 {
                entry.retire_slot(slot);
            }
        });
        entry.park(|| false);
        selector.wait(Some(Duration::from_millis(1))).expect("the selector works");
        entry.unpark();
    }
    stop.store(true, Ordering::Relaxed);
    wakers.into_iter().for_each(|waker| waker.join().expect("a waker does not panic"));
    entry.close();
    assert!(entry.stats().sweeps > 0, "nothing was swept");
    woken.load(Ordering::Relaxed)
}

fn main() {
    let wakes = letters() + lanes_change_hands() + floods_and_closed_doors();
    println!("{wakes} wakes, none lost");
}
