//! Wakes from another thread: what they cost the thread that wakes.

use std::fs;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Instant;

use super::tasks::Runtime;
use super::{Part, Side, Size, median, pin, relax, tell};

const BURST: usize = 64;
/// Bursts of which the median counts.
const SAMPLES: usize = 1_000;

/// The parts of every runtime that can be woken from outside.
pub fn parts<R: Runtime>() -> [Part; 4] {
    [
        ("wake-far-awake", |_: &Size| bursts::<R>(1, true)),
        ("wake-far-parked", |_: &Size| bursts::<R>(1, false)),
        ("burst-far-awake", |_: &Size| bursts::<R>(BURST, true)),
        ("burst-far-parked", |_: &Size| bursts::<R>(BURST, false)),
    ]
}

/// What the two threads share.
#[derive(Default)]
struct Shared {
    polls: AtomicU64,
    stop: AtomicBool,
}

/// Wakes `size` tasks of a worker, which is kept busy or left to fall asleep before each burst.
fn bursts<R: Runtime>(size: usize, awake: bool) {
    let shared = Arc::new(Shared::default());
    let (sender, receiver) = channel();
    let worker = thread::spawn({
        let shared = shared.clone();
        move || serve::<R>(size, awake, &shared, sender)
    });
    pin(Side::Last);
    let thread_id: i32 = receiver.recv().expect("the worker says who it is").1;
    let wakers: Vec<Waker> =
        (0..size).map(|_| receiver.recv().expect("every task sends its waker").0).collect();
    let (mut samples, mut writes) = (Vec::new(), 0);
    for _ in 0..SAMPLES {
        if !awake {
            wait_for_sleep(thread_id);
        }
        let target = shared.polls.load(Ordering::Acquire) + size as u64;
        let before = write_calls();
        let started = Instant::now();
        for waker in &wakers {
            waker.wake_by_ref();
        }
        samples.push(started.elapsed().as_nanos() as f64 / size as f64);
        writes += write_calls() - before;
        let mut spins = 0;
        while shared.polls.load(Ordering::Acquire) < target {
            relax(&mut spins);
        }
    }
    shared.stop.store(true, Ordering::Release);
    wakers.iter().for_each(Waker::wake_by_ref);
    worker.join().expect("the worker ends");
    tell("ns", median(samples));
    tell("writes", writes as f64 / (SAMPLES * size) as f64);
}

/// A worker with tasks that count their polls.
fn serve<R: Runtime>(size: usize, awake: bool, shared: &Arc<Shared>, sender: Sender<(Waker, i32)>) {
    pin(Side::First);
    // SAFETY: takes nothing and cannot fail.
    let thread_id = unsafe { libc::gettid() };
    sender.send((Waker::noop().clone(), thread_id)).expect("the bench listens");
    let shared = shared.clone();
    R::block_on(async move {
        if awake {
            let shared = shared.clone();
            R::forget(async move {
                while !shared.stop.load(Ordering::Acquire) {
                    R::yield_now().await;
                }
            });
        }
        let tasks: Vec<_> = (0..size)
            .map(|_| {
                let (shared, sender) = (shared.clone(), sender.clone());
                R::spawn(async move {
                    let mut sent = false;
                    poll_fn(|context| {
                        if sent {
                            shared.polls.fetch_add(1, Ordering::Release);
                        } else {
                            sent = true;
                            sender.send((context.waker().clone(), 0)).expect("the bench listens");
                        }
                        if shared.stop.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}

/// Comes back when the kernel says that the thread sleeps.
fn wait_for_sleep(thread_id: i32) {
    let path = format!("/proc/self/task/{thread_id}/stat");
    while !fs::read_to_string(&path).is_ok_and(|stat| stat.rsplit(')').next().unwrap_or("").starts_with(" S"))
    {
        thread::yield_now();
    }
}

/// Write calls that this thread has made, the ones that ring a doorbell among them.
fn write_calls() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("syscw: "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}
