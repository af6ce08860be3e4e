//! What a task costs: waking it, starting and joining it, yielding.
//!
//! The same-worker figures are pure user-space paths. Those across threads go through a lane; with the worker
//! parked they hold a ring of the doorbell and a pass of the system's scheduler, which dominates.

#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    hint,
    hint::black_box,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use wakering::{Runtime, spawn, yield_now};

/// Looks at the counter before the waiting thread yields.
const SPINS: u32 = 1000;
/// Tasks of the round that yields.
const TASKS: usize = 1000;

fn same_worker(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime of one worker is built");
    criterion.bench_function("task/wake_same_worker", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(ping_pong(count)).expect("no runtime runs on this thread").div_f64(2.0)
        });
    });
    criterion.bench_function("task/spawn_join", |bencher| {
        bencher.iter_custom(|count| {
            let many = async {
                let started = Instant::now();
                for number in 0..count {
                    black_box(spawn(async move { number }).await).expect("the task is not aborted");
                }
                started.elapsed()
            };
            runtime.block_on(many).expect("no runtime runs on this thread")
        });
    });
    criterion.bench_function("task/yield_now_1000_tasks", |bencher| {
        bencher.iter_custom(|rounds| {
            runtime.block_on(yield_rounds(rounds)).expect("no runtime runs on this thread")
        });
    });
}

/// The wakers of two tasks that wake each other in turn.
#[derive(Default)]
struct Table {
    turn: Cell<usize>,
    seats: [RefCell<Option<Waker>>; 2],
}

/// Two tasks wake each other `count` times each: 2 × `count` wakes and polls.
async fn ping_pong(count: u64) -> Duration {
    let table = Rc::new(Table::default());
    let started = Instant::now();
    let other = spawn(player(table.clone(), 1, count));
    player(table, 0, count).await;
    other.await.expect("the task is not aborted");
    started.elapsed()
}

async fn player(table: Rc<Table>, me: usize, count: u64) {
    for _ in 0..count {
        poll_fn(|context| {
            if table.turn.get() == me {
                return Poll::Ready(());
            }
            *table.seats[me].borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        table.turn.set(1 - me);
        if let Some(waker) = table.seats[1 - me].take() {
            waker.wake();
        }
    }
}

async fn yield_rounds(rounds: u64) -> Duration {
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            spawn(async move {
                for _ in 0..rounds {
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task is not aborted");
    }
    started.elapsed()
}

/// Counts the polls of a task that another thread wakes.
#[derive(Default)]
struct Counter {
    polls: AtomicU64,
    stop: AtomicBool,
}

/// Wakes from a foreign thread, each followed by the poll that it causes.
fn across_threads(criterion: &mut Criterion) {
    for (name, busy) in [("task/wake_across_awake", true), ("task/wake_across_parked", false)] {
        let counter = Arc::new(Counter::default());
        let (sender, receiver) = mpsc::channel();
        let worker = thread::spawn({
            let counter = counter.clone();
            move || serve_wakes(&counter, busy, &sender)
        });
        let waker = receiver.recv().expect("the worker sends its waker at its first poll");
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let started = Instant::now();
                for _ in 0..count {
                    let before = counter.polls.load(Ordering::Acquire);
                    waker.wake_by_ref();
                    wait_for_poll(&counter, before);
                }
                started.elapsed()
            });
        });
        counter.stop.store(true, Ordering::Release);
        waker.wake();
        worker.join().expect("the worker ends without a panic");
    }
}

/// Spins for a while, then lets others run: the worker may need this very core.
fn wait_for_poll(counter: &Counter, before: u64) {
    let mut spins = 0;
    while counter.polls.load(Ordering::Acquire) == before {
        if spins < SPINS {
            spins += 1;
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// A worker whose root counts its polls; `busy` gives it a task that never lets it sleep.
fn serve_wakes(counter: &Arc<Counter>, busy: bool, sender: &mpsc::Sender<Waker>) {
    let runtime = Runtime::new().expect("a runtime of one worker is built");
    let root = async {
        if busy {
            let counter = counter.clone();
            drop(spawn(async move {
                while !counter.stop.load(Ordering::Acquire) {
                    yield_now().await;
                }
            }));
        }
        let mut sent = false;
        poll_fn(|context| {
            if !sent {
                sent = true;
                sender.send(context.waker().clone()).expect("the bench waits for the waker");
            }
            counter.polls.fetch_add(1, Ordering::Release);
            if counter.stop.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    };
    runtime.block_on(root).expect("no runtime runs on this thread");
}

criterion_group!(benches, same_worker, across_threads);
criterion_main!(benches);
