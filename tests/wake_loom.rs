//! Models of the wake path: loom walks through the interleavings, and through the stale values that the
//! orderings allow. Run them by `RUSTFLAGS='--cfg loom' cargo test --release --test wake_loom`.
//!
//! Models of two threads are exhaustive; those of three are bounded to three preemptions. A lost wake shows
//! as a deadlock: the owner sleeps on a bell that nobody will ring. `docs/wake-up.md` lists what was broken
//! on purpose to see these models fail.
#![cfg(loom)]

use std::cell::RefCell;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use wakering::internals::ring::Ring;
use wakering::internals::wake::{AtDoor, Bounds, Doorbell, Lane, Mailbox, Table};
use wakering::{TryRecvError, TrySendError, channel};

thread_local! {
    /// The bells of the execution that runs; loom's threads share one thread of the system.
    static BELLS: RefCell<Vec<StdArc<Bell>>> = const { RefCell::new(Vec::new()) };
}

/// What an eventfd is to the real thing: a ring before the wait counts, rings coalesce.
struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    pending: bool,
    closed: bool,
    rings: u32,
}

/// The number of a [`Bell`] in [`BELLS`].
#[derive(Clone, Copy)]
struct ModelBell(i32);

impl ModelBell {
    fn new() -> ModelBell {
        let bell = StdArc::new(Bell { state: Mutex::default(), rung: Condvar::new() });
        BELLS.with_borrow_mut(|bells| {
            bells.push(bell);
            ModelBell(i32::try_from(bells.len() - 1).unwrap())
        })
    }

    fn bell(self) -> StdArc<Bell> {
        BELLS.with_borrow(|bells| bells[usize::try_from(self.0).unwrap()].clone())
    }

    /// The owner's sleep.
    fn wait(self) {
        let bell = self.bell();
        let mut state = bell.state.lock().unwrap();
        while !state.pending {
            state = bell.rung.wait(state).unwrap();
        }
        state.pending = false;
    }

    /// Closes the descriptor: from now on a ring goes to a stranger.
    fn close(self) {
        self.bell().state.lock().unwrap().closed = true;
    }

    fn rings(self) -> u32 {
        self.bell().state.lock().unwrap().rings
    }
}

impl Doorbell for ModelBell {
    fn from_raw(raw: i32, _: AtDoor) -> ModelBell {
        ModelBell(raw)
    }

    fn to_raw(self) -> i32 {
        self.0
    }

    fn ring(self) {
        let bell = self.bell();
        let mut state = bell.state.lock().unwrap();
        assert!(!state.closed, "a bell was rung after it had been closed");
        state.pending = true;
        state.rings += 1;
        bell.rung.notify_one();
    }
}

type Letterbox = Arc<Mailbox<ModelBell>>;

const SMALL: Bounds = Bounds { lanes: 1, lane_capacity: 2, overflow_capacity: 1 };

/// Runs a model of two threads through everything that can happen.
fn exhaustively(model: impl Fn() + Sync + Send + 'static) {
    check(None, model);
}

/// Runs a model of three threads through everything that three preemptions can bring about.
fn with_three_preemptions(model: impl Fn() + Sync + Send + 'static) {
    check(Some(3), model);
}

fn check(preemption_bound: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemption_bound;
    builder.check(move || {
        BELLS.with_borrow_mut(Vec::clear);
        model();
    });
}

/// A mailbox with an open door and this many slots, all of generation 0.
fn mailbox(bounds: Bounds, slots: u32) -> (Letterbox, ModelBell) {
    let mailbox = Arc::new(Mailbox::new(bounds));
    let bell = ModelBell::new();
    mailbox.open(bell);
    for slot in 0..slots {
        assert_eq!(mailbox.ensure_slot(slot), 0);
    }
    (mailbox, bell)
}

/// The owner's loop: drains and sleeps until `done`, which is told of every woken slot, says so.
fn own(mailbox: &Letterbox, bell: ModelBell, mut done: impl FnMut(u32) -> bool) {
    loop {
        let mut finished = false;
        mailbox.drain(|slot| finished |= done(slot));
        if finished {
            return;
        }
        if mailbox.park(|| false) {
            bell.wait();
            mailbox.unpark();
        }
    }
}

/// The owner's loop until each of these many slots was woken at least once.
fn own_until_all_woke(mailbox: &Letterbox, bell: ModelBell, slots: u32) {
    let mut woken = 0_u32;
    own(mailbox, bell, |slot| {
        woken |= 1 << slot;
        woken == (1 << slots) - 1
    });
}

/// One thread wakes, through a lane or not, the other sleeps: the wake arrives, and with it what was written
/// before.
fn push_park_ring(through_lane: bool) {
    exhaustively(move || {
        let (mailbox, bell) = mailbox(SMALL, 1);
        let data = Arc::new(AtomicU32::new(0));
        let waker = {
            let (mailbox, data) = (mailbox.clone(), data.clone());
            thread::spawn(move || {
                let mut lane = if through_lane { mailbox.claim_lane(1) } else { None };
                data.store(1, Relaxed);
                mailbox.wake(0, 0, lane.as_mut());
            })
        };
        own(&mailbox, bell, |_| {
            assert_eq!(data.load(Relaxed), 1, "the poll does not see what the waker wrote");
            true
        });
        waker.join().unwrap();
        assert!(bell.rings() <= 1);
    });
}

#[test]
fn a_wake_through_a_lane_reaches_an_owner_that_goes_to_sleep() {
    push_park_ring(true);
}

#[test]
fn a_wake_through_the_overflow_reaches_an_owner_that_goes_to_sleep() {
    push_park_ring(false);
}

/// Two wakes of one slot: the second may find the bit set, and its data must be seen all the same.
fn two_wakes_of_one_slot(through_lane: bool) {
    exhaustively(move || {
        let (mailbox, bell) = mailbox(SMALL, 1);
        let data = Arc::new(AtomicU32::new(0));
        let waker = {
            let (mailbox, data) = (mailbox.clone(), data.clone());
            thread::spawn(move || {
                let mut lane = if through_lane { mailbox.claim_lane(1) } else { None };
                for value in 1..=2 {
                    data.store(value, Relaxed);
                    mailbox.wake(0, 0, lane.as_mut());
                }
            })
        };
        own(&mailbox, bell, |_| data.load(Relaxed) == 2);
        waker.join().unwrap();
    });
}

#[test]
fn a_wake_that_finds_the_bit_set_is_not_lost_in_a_lane() {
    two_wakes_of_one_slot(true);
}

#[test]
fn a_wake_that_finds_the_bit_set_is_not_lost_in_the_overflow() {
    two_wakes_of_one_slot(false);
}

#[test]
fn a_push_that_meets_a_drain_is_seen_then_or_later() {
    exhaustively(|| {
        let (mailbox, bell) = mailbox(SMALL, 2);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                let mut lane = mailbox.claim_lane(1);
                mailbox.wake(0, 0, lane.as_mut());
                mailbox.wake(1, 0, lane.as_mut());
            })
        };
        own_until_all_woke(&mailbox, bell, 2);
        waker.join().unwrap();
    });
}

#[test]
fn what_does_not_fit_the_overflow_is_swept() {
    exhaustively(|| {
        let (mailbox, bell) = mailbox(SMALL, 2);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                mailbox.wake(0, 0, None);
                mailbox.wake(1, 0, None);
            })
        };
        own_until_all_woke(&mailbox, bell, 2);
        waker.join().unwrap();
    });
}

/// Two threads, but too many steps for every interleaving.
#[test]
fn what_fits_neither_lane_nor_overflow_is_swept() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(Bounds { lane_capacity: 1, ..SMALL }, 3);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                let mut lane = mailbox.claim_lane(1);
                for slot in 0..3 {
                    mailbox.wake(slot, 0, lane.as_mut());
                }
            })
        };
        own_until_all_woke(&mailbox, bell, 3);
        waker.join().unwrap();
    });
}

#[test]
fn two_threads_that_call_for_a_sweep_are_both_swept_for() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(SMALL, 3);
        // Fills the overflow.
        mailbox.wake(2, 0, None);
        let data = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let wakers = [0, 1].map(|slot| {
            let (mailbox, data) = (mailbox.clone(), data[slot as usize].clone());
            thread::spawn(move || {
                data.store(1, Relaxed);
                mailbox.wake(slot, 0, None);
            })
        });
        let mut woken = 0;
        own(&mailbox, bell, |slot| {
            if let Some(data) = data.get(slot as usize) {
                assert_eq!(data.load(Relaxed), 1);
            }
            woken |= 1 << slot;
            woken == 0b111
        });
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

#[test]
fn two_threads_that_wake_one_slot_are_both_heard() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(SMALL, 1);
        let data = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let wakers = [true, false].map(|through_lane| {
            let (mailbox, data) = (mailbox.clone(), data[usize::from(through_lane)].clone());
            thread::spawn(move || {
                let mut lane = if through_lane { mailbox.claim_lane(1) } else { None };
                data.store(1, Relaxed);
                mailbox.wake(0, 0, lane.as_mut());
            })
        });
        own(&mailbox, bell, |_| data.iter().all(|data| data.load(Relaxed) == 1));
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

#[test]
fn only_one_of_two_wakers_rings() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(Bounds { lanes: 2, ..SMALL }, 2);
        assert!(mailbox.park(|| false));
        let wakers = [0, 1].map(|slot| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                let mut lane = mailbox.claim_lane(2);
                mailbox.wake(slot, 0, lane.as_mut());
            })
        });
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert_eq!(bell.rings(), 1);
        mailbox.unpark();
        assert_eq!(mailbox.drain(|_| ()), 2);
    });
}

/// One lane, two threads one after the other or at once: who finds it taken goes through the overflow.
#[test]
fn a_lane_passes_from_thread_to_thread_with_what_is_in_it() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(SMALL, 2);
        let wakers = [0, 1].map(|slot| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                let mut lane: Option<Lane<'_>> = mailbox.claim_lane(1);
                mailbox.wake(slot, 0, lane.as_mut());
            })
        });
        own_until_all_woke(&mailbox, bell, 2);
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

#[test]
fn a_slot_that_is_reused_while_it_is_woken_stays_wakeable() {
    with_three_preemptions(|| {
        let (mailbox, bell) = mailbox(SMALL, 1);
        let data = Arc::new(AtomicU32::new(0));
        let stale = {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.wake(0, 0, None))
        };
        let generation = mailbox.retire_slot(0);
        let fresh = {
            let (mailbox, data) = (mailbox.clone(), data.clone());
            thread::spawn(move || {
                let mut lane = mailbox.claim_lane(1);
                data.store(1, Relaxed);
                mailbox.wake(0, generation, lane.as_mut());
            })
        };
        // A wake by the stale handle may be heard as well: a spurious poll.
        own(&mailbox, bell, |_| data.load(Relaxed) == 1);
        stale.join().unwrap();
        fresh.join().unwrap();
    });
}

#[test]
fn a_stale_wake_never_sets_the_bit_of_a_slot_that_nobody_brings() {
    exhaustively(|| {
        let (mailbox, _bell) = mailbox(SMALL, 1);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.wake(0, 0, None))
        };
        let generation = mailbox.retire_slot(0);
        mailbox.drain(|_| ());
        waker.join().unwrap();
        mailbox.drain(|_| ());
        // Whatever the race did, the slot's new task is woken by the next wake.
        mailbox.wake(0, generation, None);
        assert_eq!(mailbox.drain(|_| ()), 1);
    });
}

#[test]
fn nobody_rings_a_bell_that_is_closed() {
    exhaustively(|| {
        let (mailbox, bell) = mailbox(SMALL, 1);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.wake(0, 0, None))
        };
        mailbox.park(|| false);
        mailbox.close();
        bell.close();
        waker.join().unwrap();
    });
}

#[test]
fn a_late_ring_goes_to_the_next_runtime_or_to_nobody() {
    exhaustively(|| {
        let (mailbox, first) = mailbox(SMALL, 1);
        let waker = {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.wake(0, 0, None))
        };
        mailbox.park(|| false);
        mailbox.close();
        first.close();
        let second = ModelBell::new();
        mailbox.open(second);
        own_until_all_woke(&mailbox, second, 1);
        waker.join().unwrap();
    });
}

#[test]
fn what_is_announced_by_notify_keeps_the_owner_awake() {
    exhaustively(|| {
        let (mailbox, bell) = mailbox(SMALL, 0);
        let injected = Arc::new(AtomicBool::new(false));
        let spawner = {
            let (mailbox, injected) = (mailbox.clone(), injected.clone());
            thread::spawn(move || {
                injected.store(true, Relaxed);
                mailbox.notify();
            })
        };
        while !injected.load(Relaxed) {
            if mailbox.park(|| injected.load(Relaxed)) {
                bell.wait();
                mailbox.unpark();
            }
        }
        spawner.join().unwrap();
    });
}

#[test]
fn a_worker_id_has_one_owner_at_a_time_and_passes_on_complete() {
    exhaustively(|| {
        let table: &'static Table<ModelBell, 1> = Box::leak(Box::new(Table::new()));
        let entry = table.claim_with(SMALL).unwrap();
        entry.ensure_slot(0);
        let other = thread::spawn(move || match table.claim() {
            Ok(entry) => {
                assert_eq!(entry.ensure_slot(0), 1, "the last owner's step is not visible");
                entry.release();
            }
            Err(_full) => {}
        });
        assert_eq!(entry.retire_slot(0), 1);
        entry.close();
        entry.release();
        other.join().unwrap();
        assert!(table.claim().is_ok());
    });
}

#[test]
fn a_ring_passes_every_value_once_and_in_order() {
    exhaustively(|| {
        let ring = Arc::new(Ring::new(2));
        let pusher = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut producer = ring.producer().unwrap();
                (0..3_u32).take_while(|value| producer.push(*value).is_ok()).count()
            })
        };
        let mut seen = Vec::new();
        {
            let mut consumer = ring.consumer().unwrap();
            seen.extend(consumer.pop());
            consumer.drain(|value| seen.push(value));
        }
        let pushed = pusher.join().unwrap();
        seen.extend(std::iter::from_fn(|| ring.consumer().unwrap().pop()));
        assert_eq!(seen, (0..pushed as u32).collect::<Vec<_>>());
        assert!(pushed >= 2);
    });
}

#[test]
fn the_ends_of_a_ring_pass_from_thread_to_thread() {
    with_three_preemptions(|| {
        let ring = Arc::new(Ring::new(2));
        let pushers = [10_u32, 20].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || ring.producer().is_some_and(|mut producer| producer.push(value).is_ok()))
        });
        let mut sum: u32 = ring.consumer().unwrap().pop().into_iter().sum();
        let [first, second] = pushers.map(|pusher| pusher.join().unwrap());
        ring.consumer().unwrap().drain(|value| sum += value);
        assert_eq!(sum, u32::from(first) * 10 + u32::from(second) * 20);
        assert!(first || second);
    });
}

/// Somebody who polls, and sleeps until he is woken.
struct Sleeper {
    woken: Mutex<bool>,
    wakes: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: StdArc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.wakes.notify_one();
    }
}

/// Polls until it is over. A wake that is lost shows as a deadlock.
fn until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let sleeper = StdArc::new(Sleeper { woken: Mutex::new(false), wakes: Condvar::new() });
    let waker = Waker::from(sleeper.clone());
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let mut woken = sleeper.woken.lock().unwrap();
        while !*woken {
            woken = sleeper.wakes.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// A value that is counted for as long as it lives.
type Counted = (u32, StdArc<()>);

#[test]
fn a_channel_wakes_a_receiver_for_a_value_and_for_the_end() {
    exhaustively(|| {
        let (mut sender, mut receiver) = channel::<u32>(1);
        let pusher = thread::spawn(move || assert_eq!(sender.try_send(1), Ok(())));
        assert_eq!(until_ready(|context| receiver.poll_recv(context)), Some(1));
        assert_eq!(until_ready(|context| receiver.poll_recv(context)), None);
        pusher.join().unwrap();
    });
}

#[test]
fn a_full_channel_wakes_its_sender_for_each_place_and_keeps_the_order() {
    with_three_preemptions(|| {
        let (mut sender, mut receiver) = channel::<u32>(1);
        let pusher = thread::spawn(move || {
            for value in 1..=2 {
                until_ready(|context| sender.poll_ready(context));
                assert_eq!(sender.try_send(value), Ok(()));
            }
        });
        for expected in [Some(1), Some(2), None] {
            assert_eq!(until_ready(|context| receiver.poll_recv(context)), expected);
        }
        pusher.join().unwrap();
    });
}

#[test]
fn a_receiver_that_goes_wakes_its_sender_and_every_value_is_dropped_once() {
    exhaustively(|| {
        let live = StdArc::new(());
        let (mut sender, receiver) = channel::<Counted>(1);
        sender.try_send((1, live.clone())).unwrap();
        let value = (2, live.clone());
        let pusher = thread::spawn(move || {
            until_ready(|context| sender.poll_ready(context));
            assert!(matches!(sender.try_send(value), Err(TrySendError::Closed((2, _)))));
        });
        drop(receiver);
        pusher.join().unwrap();
        assert_eq!(StdArc::strong_count(&live), 1);
    });
}

/// Whoever lets go last drops what is left, and has to see all of it.
#[test]
fn what_is_left_in_a_channel_is_dropped_once_by_whoever_goes_last() {
    exhaustively(|| {
        let live = StdArc::new(());
        let (mut sender, mut receiver) = channel::<Counted>(2);
        let (one, two) = ((1, live.clone()), (2, live.clone()));
        let pusher = thread::spawn(move || {
            // Given back where the receiver has gone.
            drop((sender.try_send(one), sender.try_send(two)));
        });
        match receiver.try_recv() {
            Ok((value, _)) => assert_eq!(value, 1),
            Err(TryRecvError::Empty) => {}
            Err(_closed) => panic!("what was sent comes before the end"),
        }
        drop(receiver);
        pusher.join().unwrap();
        assert_eq!(StdArc::strong_count(&live), 1);
    });
}
