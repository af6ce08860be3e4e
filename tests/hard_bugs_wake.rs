//! Bugs of the way from a wake to the poll, as other runtimes had them: rows 1 to 16 of `docs/hard-bugs.md`, with real
//! runtimes and real threads. The models are in `wake_loom.rs`, the mailbox by itself in `wake_stress.rs`.

#![cfg(not(loom))]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/net.rs"]
mod support;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    mem,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use support::{pair, pair_with_std, run};
use wakering::{Runtime, spawn, time::sleep, yield_now};

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|context| Poll::Ready(context.waker().clone())).await
}

/// Row 2: the owner had polled the task, and had not yet noted that it waits.
#[test]
fn a_foreign_wake_in_the_midst_of_a_poll_is_not_lost() {
    const ROUNDS: usize = 2_000;
    let (to_thread, wakers) = mpsc::channel::<Waker>();
    let (woke, answers) = mpsc::channel();
    let waking = thread::spawn(move || {
        for waker in wakers {
            waker.wake();
            woke.send(()).unwrap();
        }
    });
    run(async move {
        let mut polls = 0;
        let task = spawn(poll_fn(move |context| {
            polls += 1;
            if polls == ROUNDS {
                return Poll::Ready(());
            }
            // The wake begins and ends while this poll lasts; nobody wakes again.
            to_thread.send(context.waker().clone()).unwrap();
            answers.recv().unwrap();
            Poll::Pending
        }));
        task.await.unwrap();
    });
    waking.join().unwrap();
}

/// Rows 3, 5 and 7: each sleep is ended anew, by a thread that knows no runtime.
#[test]
fn every_sleep_of_two_thousand_is_ended_by_a_wake_of_its_own() {
    const ROUNDS: usize = 2_000;
    let (asleep, awaited) = mpsc::channel::<()>();
    let said = Arc::new(AtomicUsize::new(0));
    let heard = said.clone();
    run(async move {
        let waker = own_waker().await;
        let waking = thread::spawn(move || {
            for _ in awaited {
                said.fetch_add(1, Ordering::Release);
                waker.wake_by_ref();
            }
        });
        for round in 0..ROUNDS {
            let mut told = false;
            poll_fn(|_| {
                if heard.load(Ordering::Acquire) > round {
                    return Poll::Ready(());
                }
                if !mem::replace(&mut told, true) {
                    asleep.send(()).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
        drop(asleep);
        waking.join().unwrap();
    });
}

/// Row 6: the ring was spent on the first of many; a turn handles only some of them, and nobody rings again.
#[test]
fn an_owner_that_has_handled_one_turns_worth_does_not_sleep_on_the_rest() {
    const TASKS: usize = 5_000;
    run(async {
        let go = Arc::new(AtomicBool::new(false));
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (go, wakers, mut kept) = (go.clone(), wakers.clone(), false);
                spawn(poll_fn(move |context| {
                    if go.load(Ordering::Acquire) {
                        return Poll::Ready(());
                    }
                    if !mem::replace(&mut kept, true) {
                        wakers.borrow_mut().push(context.waker().clone());
                    }
                    Poll::Pending
                }))
            })
            .collect();
        while wakers.borrow().len() < TASKS {
            yield_now().await;
        }
        let wakers = wakers.take();
        let waking = thread::spawn(move || {
            go.store(true, Ordering::Release);
            wakers.into_iter().for_each(Waker::wake);
        });
        for task in tasks {
            task.await.unwrap();
        }
        waking.join().unwrap();
    });
}

/// Rows 8 and 9: two threads wake without a pause while runtimes come and go.
#[test]
fn wakes_that_race_the_end_of_their_runtime_harm_nobody() {
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let waking: Vec<_> = (0..2)
        .map(|_| {
            let (slot, stop) = (slot.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let waker = slot.lock().unwrap().clone();
                    for _ in 0..50 {
                        waker.iter().for_each(Waker::wake_by_ref);
                    }
                }
            })
        })
        .collect();
    for _ in 0..300 {
        let runtime = Runtime::new().unwrap();
        let task = runtime.block_on(async {
            let task = spawn(pending::<()>());
            *slot.lock().unwrap() = Some(own_waker().await);
            yield_now().await;
            Rc::new(task)
        });
        drop(runtime);
        drop(task.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    waking.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(wakering::run(async { 1 }).unwrap(), 1);
}

/// Row 10.
#[test]
fn a_storm_of_clones_and_drops_from_four_threads_leaves_task_and_runtime_alone() {
    run(async {
        let ended = spawn(own_waker()).await.unwrap();
        let polls = Rc::new(Cell::new(0_u32));
        let (counted, kept) = (polls.clone(), Rc::new(RefCell::new(None)));
        let mine = kept.clone();
        let living = spawn(poll_fn(move |context| {
            counted.set(counted.get() + 1);
            mine.borrow_mut().get_or_insert_with(|| context.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
        let alive: Waker = kept.borrow().clone().unwrap();
        let storm: Vec<_> = (0..4)
            .map(|_| {
                let (ended, alive) = (ended.clone(), alive.clone());
                thread::spawn(move || {
                    for _ in 0..50_000 {
                        let clones = [ended.clone(), alive.clone(), ended.clone()];
                        drop(clones);
                    }
                    ended.wake();
                    drop(alive);
                })
            })
            .collect();
        storm.into_iter().for_each(|thread| thread.join().unwrap());
        yield_now().await;
        assert_eq!(polls.get(), 1, "cloning and dropping wake nobody");
        alive.wake_by_ref();
        yield_now().await;
        yield_now().await;
        assert_eq!(polls.get(), 2);
        living.abort();
    });
}

/// Row 11: a waker is a number and owns nothing, so that no call can take a count twice or keep one.
#[test]
fn a_waker_by_value_by_reference_forgotten_or_sent_away_is_always_the_same_waker() {
    run(async {
        let polls = Rc::new(Cell::new(0_u32));
        let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let (counted, seen) = (polls.clone(), kept.clone());
        let task = spawn(poll_fn(move |context| {
            counted.set(counted.get() + 1);
            seen.borrow_mut().push(context.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
        let waker = kept.borrow()[0].clone();
        let acts: [fn(&Waker); 4] = [
            |waker| [waker.clone()].into_iter().for_each(Waker::wake),
            |waker| waker.wake_by_ref(),
            |waker| {
                mem::forget(waker.clone());
                [waker.clone(), waker.clone()].into_iter().for_each(Waker::wake);
            },
            |waker| {
                let waker = waker.clone();
                thread::spawn(move || waker.wake()).join().unwrap();
            },
        ];
        for (act, expected) in acts.iter().zip(2..) {
            act(&waker);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(polls.get(), expected);
        }
        assert!(kept.borrow().iter().all(|it| it.will_wake(&waker) && it.data() == waker.data()));
        task.abort();
    });
}

thread_local! {
    /// What `Reentering` does when it is woken or dropped: on this thread, inside the reactor's own calls.
    static ON_WAKE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

fn reenter() {
    let act = ON_WAKE.with(|act| act.borrow_mut().take());
    if let Some(mut act) = act {
        act();
        ON_WAKE.with(|slot| *slot.borrow_mut() = Some(act));
    }
}

/// A foreign waker that uses the runtime when it is woken, and when its last clone goes.
struct Reentering;

impl Wake for Reentering {
    fn wake(self: Arc<Self>) {
        reenter();
    }
}

impl Drop for Reentering {
    fn drop(&mut self) {
        reenter();
    }
}

fn poll_with<F: Future>(waker: &Waker, future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Row 12.
#[test]
fn a_waker_that_uses_the_runtime_when_it_is_woken_or_dropped_finds_nothing_borrowed() {
    if exact::calls_may_fail() {
        return;
    }
    run(async {
        let (near, mut far) = pair().await;
        let (other, _other_peer) = pair().await;
        let acts = Rc::new(Cell::new(0));
        let (count, mut near, other) = (acts.clone(), near, RefCell::new(other));
        let task = own_waker().await;
        let awoken = task.clone();
        let act = move || {
            count.set(count.get() + 1);
            // Reads, arms, spawns and lets go, with a foreign waker, and with one that is dropped at once.
            let foreign = Waker::from(Arc::new(Reentering));
            let mut timer = pin!(sleep(Duration::from_millis(1)));
            assert!(poll_with(&foreign, timer.as_mut()).is_pending());
            assert!(poll_with(Waker::noop(), timer.as_mut()).is_pending());
            let mut byte = [0; 1];
            let mut reader = other.borrow_mut();
            assert!(poll_with(&foreign, pin!(reader.read(&mut byte))).is_pending());
            drop(spawn(async {}));
            awoken.wake_by_ref();
        };
        ON_WAKE.with(|slot| *slot.borrow_mut() = Some(Box::new(act)));
        let foreign = Waker::from(Arc::new(Reentering));
        let mut byte = [0; 1];
        // As the waker of a read, of a timer that fires, of a timer that is dropped, and of a task's end.
        {
            let mut read = pin!(near.read(&mut byte));
            assert!(poll_with(&foreign, read.as_mut()).is_pending());
            far.write_all(b"x").await.unwrap();
            let before = acts.get();
            poll_fn(|_| if acts.get() > before { Poll::Ready(()) } else { Poll::Pending }).await;
            assert!(matches!(poll_with(&foreign, read.as_mut()), Poll::Ready(Ok(1))));
        }
        let before = acts.get();
        let mut timer = pin!(sleep(Duration::from_millis(1)));
        assert!(poll_with(&foreign, timer.as_mut()).is_pending());
        poll_fn(|_| if acts.get() > before { Poll::Ready(()) } else { Poll::Pending }).await;
        let before = acts.get();
        let last = Waker::from(Arc::new(Reentering));
        let mut dropped = Box::pin(sleep(Duration::from_secs(3600)));
        assert!(poll_with(&last, dropped.as_mut()).is_pending());
        drop(last);
        drop(dropped);
        assert!(acts.get() > before, "the last clone was dropped with the timer");
        let before = acts.get();
        let mut ending = spawn(yield_now());
        assert!(poll_with(&foreign, Pin::new(&mut ending)).is_pending());
        poll_fn(|_| if acts.get() > before { Poll::Ready(()) } else { Poll::Pending }).await;
        ON_WAKE.with(|slot| slot.borrow_mut().take());
    });
}

/// Panics when it is woken.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("a foreign waker, on purpose");
    }
}

/// Row 13.
#[test]
fn a_waker_that_panics_does_not_keep_the_next_one_from_being_woken() {
    run(async {
        let bomb = Waker::from(Arc::new(Panicking));
        // Two wait for one direction, and the first to be woken panics.
        let (near, mut far) = pair().await;
        assert!(near.try_read(&mut [0; 1]).is_err(), "nothing came yet");
        assert!(poll_with(&bomb, pin!(near.readable())).is_pending());
        let waiting = spawn(async move { near.readable().await });
        yield_now().await;
        far.write_all(b"x").await.unwrap();
        waiting.await.unwrap().unwrap();
        // Two timers of one turn.
        let mut first = pin!(sleep(Duration::from_millis(1)));
        assert!(poll_with(&bomb, first.as_mut()).is_pending());
        let mut second = sleep(Duration::from_millis(1));
        poll_fn(|context| Pin::new(&mut second).poll(context)).await;
        // A task that tells the bomb of its end, and the tasks behind it.
        let mut told = spawn(yield_now());
        assert!(poll_with(&bomb, Pin::new(&mut told)).is_pending());
        spawn(yield_now()).await.unwrap();
        told.await.unwrap();
    });
}

/// Rows 14 and 15, with runtimes: each floods the other beyond lane and overflow, while both are at work.
#[test]
fn two_runtimes_that_flood_each_other_both_come_to_an_end() {
    const TASKS: usize = 3_000;
    let (to_second, from_first) = mpsc::channel::<Vec<Waker>>();
    let (to_first, from_second) = mpsc::channel::<Vec<Waker>>();
    let ends = [(to_second, from_second), (to_first, from_first)];
    let open = Arc::new([const { AtomicBool::new(false) }; 2]);
    let threads: Vec<_> = (0..)
        .zip(ends)
        .map(|(me, (send, receive))| {
            let open = open.clone();
            thread::spawn(move || {
                wakering::run(async move {
                    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|_| {
                            let (open, wakers, mut kept) = (open.clone(), wakers.clone(), false);
                            spawn(poll_fn(move |context| {
                                if !mem::replace(&mut kept, true) {
                                    wakers.borrow_mut().push(context.waker().clone());
                                }
                                let is_open = open[me].load(Ordering::Acquire);
                                if is_open { Poll::Ready(()) } else { Poll::Pending }
                            }))
                        })
                        .collect();
                    while wakers.borrow().len() < TASKS {
                        yield_now().await;
                    }
                    send.send(wakers.take()).unwrap();
                    let other: Vec<Waker> = receive.recv().unwrap();
                    for round in 0..5 {
                        if round == 4 {
                            open[1 - me].store(true, Ordering::Release);
                        }
                        // Its rings fill while it does the same; nothing is drained until all are written.
                        other.iter().for_each(Waker::wake_by_ref);
                    }
                    for task in tasks {
                        task.await.unwrap();
                    }
                })
                .unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Row 16: they pass a wake to and fro without end.
#[test]
fn a_ping_pong_of_two_tasks_leaves_a_third_its_turns() {
    run(async {
        let players: Rc<RefCell<[Option<Waker>; 2]>> = Rc::default();
        let strokes = Rc::new(Cell::new(0_u64));
        let game: Vec<_> = (0..2)
            .map(|me| {
                let (players, strokes) = (players.clone(), strokes.clone());
                spawn(poll_fn(move |context| {
                    let mut players = players.borrow_mut();
                    players[me].get_or_insert_with(|| context.waker().clone());
                    strokes.set(strokes.get() + 1);
                    players[1 - me].iter().for_each(Waker::wake_by_ref);
                    Poll::<()>::Pending
                }))
            })
            .collect();
        let before = strokes.get();
        for _ in 0..1_000 {
            yield_now().await;
        }
        let played = strokes.get() - before;
        assert!((500..=4_000).contains(&played), "{played} strokes in 1,000 turns of the third");
        game.iter().for_each(wakering::JoinHandle::abort);
    });
}

/// Ten thousand foreign wakes while the owner is busy are one poll.
#[test]
fn ten_thousand_wakes_from_other_threads_coalesce_into_one_poll() {
    run(async {
        let polls = Rc::new(Cell::new(0_u32));
        let (counted, kept) = (polls.clone(), Rc::new(RefCell::new(None)));
        let mine = kept.clone();
        let task = spawn(poll_fn(move |context| {
            counted.set(counted.get() + 1);
            mine.borrow_mut().get_or_insert_with(|| context.waker().clone());
            Poll::<()>::Pending
        }));
        yield_now().await;
        let waker: Waker = kept.borrow_mut().take().unwrap();
        let waking: Vec<_> = (0..4)
            .map(|_| {
                let waker = waker.clone();
                thread::spawn(move || (0..2_500).for_each(|_| waker.wake_by_ref()))
            })
            .collect();
        // The worker is inside this poll as long as they wake.
        waking.into_iter().for_each(|thread| thread.join().unwrap());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(polls.get(), 2);
        task.abort();
    });
}

/// What waits in vain with wakers of its own leaves none of them behind (a set of futures makes one for each).
#[test]
fn a_wait_that_is_given_up_again_and_again_does_not_collect_wakers() {
    struct Counted(Arc<AtomicUsize>);
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    run(async {
        let (mut near, _far) = pair_with_std();
        let alive = Arc::new(AtomicUsize::new(0));
        for round in 0..100_000 {
            if round % 100 == 0 {
                yield_now().await; // within the budget of one poll
            }
            alive.fetch_add(1, Ordering::Relaxed);
            let waker = Waker::from(Arc::new(Counted(alive.clone())));
            let mut byte = [0; 1];
            assert!(poll_with(&waker, pin!(near.read(&mut byte))).is_pending());
        }
        let left = alive.load(Ordering::Relaxed);
        // What was given up since those who wait were last asked may still be there.
        assert!(left < 4_200, "{left} wakers of waits that were given up are still there");
    });
}
