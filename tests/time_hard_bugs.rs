//! Timer bugs that other runtimes had, one named test each. Rows 63 (boundaries of the wheel's levels) and 66 (a
//! million at once) are with the wheel too, in `src/clock/wheel/tests.rs`; row 65 (a cancellation on another thread
//! races with expiry) cannot be written: a `Sleep` is not `Send`, which an example in its documentation shows.

#![cfg(not(loom))]

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use wakering::net::{TcpListener, TcpStream};
use wakering::time::{ManualClock, Sleep, interval, sleep, sleep_until, timeout, timeout_at};
use wakering::{Runtime, run, spawn, yield_now};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What the kernel says of the calling thread: nanoseconds on a processor, and how often it was put on one. `None`
/// where there is no such file.
fn schedule() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut fields = text.split_whitespace().map(|field| field.parse().ok());
    Some((fields.next()??, fields.nth(1)??))
}

async fn poll_once(sleep: &mut Sleep) -> Poll<()> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *sleep).poll(context))).await
}

/// Row 60.
#[test]
fn durations_and_instants_at_the_end_of_their_range_neither_panic_nor_fire() {
    run(async {
        let mut far = Instant::now();
        for step in [1 << 62, 1 << 61, 1 << 60, 1 << 40, 1 << 30, 1, 1] {
            far = far.checked_add(Duration::from_secs(step)).unwrap_or(far);
        }
        let longest =
            [Duration::MAX, milliseconds(u64::MAX), Duration::from_nanos(u64::MAX), HOUR * u32::MAX];
        for duration in longest {
            let mut sleep = sleep(duration);
            assert!(poll_once(&mut sleep).await.is_pending(), "{duration:?}");
            sleep.reset(far);
            assert!(poll_once(&mut sleep).await.is_pending());
            sleep.reset_after(duration);
            assert!(poll_once(&mut sleep).await.is_pending());
            assert_eq!(timeout(duration, async { 1 }).await, Ok(1));
            let mut ticks = interval(duration);
            ticks.tick().await;
            assert!(timeout(milliseconds(1), ticks.tick()).await.is_err());
        }
        let mut until = sleep_until(far);
        assert!(poll_once(&mut until).await.is_pending());
        assert_eq!(timeout_at(far, async { 1 }).await, Ok(1));
    })
    .unwrap();
}

/// Row 61: 2³¹ ms are 24.8 days.
#[test]
fn a_wait_of_more_than_24_days_is_a_wait() {
    for days in [24, 25, 49, 50, 51, 365, 36_500] {
        let runtime = Runtime::new().unwrap();
        let before = schedule();
        let rung = Arc::new(AtomicUsize::new(0));
        let ring = rung.clone();
        runtime
            .block_on(async move {
                let mut far = sleep(DAY * days);
                assert!(poll_once(&mut far).await.is_pending());
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                let ringer = thread::spawn(move || {
                    thread::sleep(milliseconds(20));
                    ring.store(1, Ordering::Release);
                    waker.wake();
                });
                poll_fn(|_| if rung.load(Ordering::Acquire) == 1 { Poll::Ready(()) } else { Poll::Pending })
                    .await;
                assert!(poll_once(&mut far).await.is_pending());
                ringer.join().unwrap();
            })
            .unwrap();
        if let (Some(before), Some(after)) = (before, schedule()) {
            let turns = after.1 - before.1;
            assert!(
                after.0 - before.0 < 15_000_000,
                "{days} days: the wait was busy for {turns} time slices"
            );
        }
    }
}

/// Row 62.
#[test]
fn a_sleep_of_less_than_a_millisecond_is_neither_early_nor_busy() {
    run(async {
        let begin = Instant::now();
        let before = schedule();
        for micros in (50..950).step_by(30) {
            let start = Instant::now();
            let duration = Duration::from_micros(micros);
            sleep(duration).await;
            assert!(start.elapsed() >= duration);
        }
        if let (Some(before), Some(after)) = (before, schedule()) {
            let (busy, whole) = (u128::from(after.0 - before.0), begin.elapsed().as_nanos());
            assert!(busy < whole / 2, "{busy} of {whole} ns were spent on a processor");
        }
    })
    .unwrap();
}

/// Row 63, from outside: deadlines on both sides of every power of two nanoseconds that a test can wait for.
#[test]
fn deadlines_around_level_boundaries_fire_in_order_and_not_early() {
    run(async {
        let base = Instant::now();
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut deadlines: Vec<u64> =
            (10..26).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]).collect();
        let tasks: Vec<_> = deadlines
            .iter()
            .rev()
            .map(|nanos| {
                let (log, nanos) = (log.clone(), *nanos);
                spawn(async move {
                    sleep_until(base + Duration::from_nanos(nanos)).await;
                    assert!(base.elapsed() >= Duration::from_nanos(nanos));
                    log.borrow_mut().push(nanos);
                })
            })
            .collect();
        yield_now().await;
        // By now all are armed; those that had passed by then were over at once, in whatever order.
        let armed = base.elapsed();
        for task in tasks {
            task.await.unwrap();
        }
        let fired = log.borrow();
        let waited: Vec<u64> =
            fired.iter().copied().filter(|nanos| Duration::from_nanos(*nanos) > armed).collect();
        assert!(waited.is_sorted(), "{fired:?}");
        deadlines.sort_unstable();
        let mut all = fired.clone();
        all.sort_unstable();
        assert_eq!(all, deadlines);
    })
    .unwrap();
}

/// Row 63, up to 292 years: on a clock that moves by itself every deadline is met to the nanosecond.
#[test]
fn deadlines_on_both_sides_of_every_power_of_two_are_met_exactly_on_a_manual_clock() {
    let clock = ManualClock::new();
    let runtime = Runtime::builder().manual_clock(&clock).build().unwrap();
    let deadlines: Vec<u64> = (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]).collect();
    let met = Rc::new(RefCell::new(Vec::new()));
    runtime
        .block_on(async {
            let arm = |nanos: &u64| {
                let (met, clock, nanos) = (met.clone(), clock.clone(), *nanos);
                spawn(async move {
                    sleep(Duration::from_nanos(nanos)).await;
                    met.borrow_mut().push((nanos, clock.elapsed()));
                })
            };
            for task in deadlines.iter().rev().map(arm).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        })
        .unwrap();
    let met = met.borrow();
    assert_eq!(met.len(), deadlines.len());
    assert!(met.iter().all(|(nanos, at)| Duration::from_nanos(*nanos) == *at), "{met:?}");
}

/// Row 64.
#[test]
fn a_deadline_that_is_moved_nearer_while_the_worker_is_parked_ends_the_park() {
    let start = Instant::now();
    run(async {
        let shared = Rc::new(RefCell::new(sleep(HOUR)));
        let waiting = shared.clone();
        let waiter = spawn(async move {
            poll_fn(|context| Pin::new(&mut *waiting.borrow_mut()).poll(context)).await;
        });
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        yield_now().await;
        let begun = Instant::now();
        // From here until this thread wakes us the worker is parked, with an hour to go.
        let ringer = thread::spawn(move || {
            thread::sleep(milliseconds(20));
            waker.wake();
        });
        poll_fn(|_| if begun.elapsed() >= milliseconds(20) { Poll::Ready(()) } else { Poll::Pending }).await;
        shared.borrow_mut().reset_after(milliseconds(10));
        waiter.await.unwrap();
        ringer.join().unwrap();
    })
    .unwrap();
    assert!(start.elapsed() < HOUR / 2);
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Row 66.
#[test]
fn two_hundred_thousand_timers_of_one_deadline_leave_turns_to_the_others() {
    const TIMERS: usize = 200_000;
    run(async {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let deadline = Instant::now() + milliseconds(400);
        let mut sleeps: Vec<Sleep> = (0..TIMERS).map(|_| sleep_until(deadline)).collect();
        let mut context = Context::from_waker(&waker);
        let armed = sleeps
            .iter_mut()
            .filter_map(|sleep| Pin::new(sleep).poll(&mut context).is_pending().then_some(()));
        let armed = armed.count();
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        let (mut before, mut most) = (0, 0);
        while before < armed {
            yield_now().await;
            let now = count.0.load(Ordering::Relaxed);
            most = most.max(now - before);
            before = now;
        }
        assert!(armed <= TIMERS && most <= 4096, "{most} timers were fired in one turn");
    })
    .unwrap();
}

/// Row 67, one way round.
#[test]
fn timers_fire_although_descriptors_and_tasks_are_always_ready() {
    run(async {
        let (mut near, mut far) = connected().await;
        let flood = spawn(async move {
            let bytes = vec![7; 16 * 1024];
            while near.write_all(&bytes).await.is_ok() {}
        });
        let drain = spawn(async move {
            let mut room = vec![0; 16 * 1024];
            while far.read(&mut room).await.is_ok_and(|read| read > 0) {}
        });
        let spin = spawn(async {
            loop {
                yield_now().await;
            }
        });
        for _ in 0..20 {
            let start = Instant::now();
            sleep(milliseconds(2)).await;
            let late = start.elapsed() - milliseconds(2);
            assert!(late < Duration::from_secs(20), "{late:?}");
        }
        for task in [&flood, &drain] {
            task.abort();
        }
        spin.abort();
    })
    .unwrap();
}

/// Row 67, the other way round.
#[test]
fn descriptors_are_served_although_timers_are_always_due() {
    run(async {
        let due = spawn(async {
            let mut ticks = interval(Duration::from_nanos(1));
            loop {
                ticks.tick().await;
            }
        });
        let zero = spawn(async {
            loop {
                sleep(Duration::ZERO).await;
            }
        });
        let (mut near, mut far) = connected().await;
        let echo = spawn(async move {
            let mut byte = [0; 1];
            while far.read(&mut byte).await.is_ok_and(|read| read > 0) {
                far.write_all(&byte).await.unwrap();
            }
        });
        let mut answer = [0; 1];
        for number in 0..50 {
            near.write_all(&[number]).await.unwrap();
            let read = timeout(Duration::from_secs(20), near.read(&mut answer)).await;
            assert_eq!((read.expect("it is served in time").unwrap(), answer[0]), (1, number));
        }
        for task in [&due, &zero] {
            task.abort();
        }
        drop(near);
        echo.await.unwrap();
    })
    .unwrap();
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let near = TcpStream::connect(address).await.expect("it listens");
    let (far, _) = listener.accept().await.expect("somebody has connected");
    (near, far)
}

/// Row 68.
#[test]
fn a_timer_may_be_dropped_after_its_runtime() {
    let runtime = Runtime::new().unwrap();
    let mut sleeps = runtime
        .block_on(async {
            let mut sleeps: Vec<Sleep> = (0..100).map(|n| sleep(milliseconds(n * 10) + HOUR)).collect();
            for sleep in &mut sleeps {
                assert!(poll_once(sleep).await.is_pending());
            }
            sleeps
        })
        .unwrap();
    drop(runtime);
    sleeps.truncate(50);
    for sleep in &mut sleeps {
        sleep.reset_after(HOUR);
    }
    drop(sleeps);
}

/// Row 68, and what comes after it.
#[test]
fn a_timer_that_outlives_its_runtime_goes_on_in_the_next() {
    let start = Instant::now();
    let mut left = run(async {
        let mut sleep = sleep(milliseconds(30));
        assert!(poll_once(&mut sleep).await.is_pending());
        Some(sleep)
    })
    .unwrap();
    let mut left = left.take().unwrap();
    run(async move {
        assert!(poll_once(&mut left).await.is_pending());
        left.await;
    })
    .unwrap();
    assert!(start.elapsed() >= milliseconds(30));
}

/// The park deadline is the true minimum: timers that are far off wake nobody on the way.
#[test]
fn a_worker_with_far_timers_only_stays_asleep() {
    run(async {
        let mut far: Vec<Sleep> =
            (1..5000_u32).map(|n| sleep(Duration::from_micros(777) * n + 2 * HOUR)).collect();
        far.push(sleep(Duration::from_secs(60)));
        for sleep in &mut far {
            assert!(poll_once(sleep).await.is_pending());
        }
        let polls = Cell::new(0);
        let before = schedule();
        let mut short = pin!(sleep(milliseconds(400)));
        poll_fn(|context| {
            polls.set(polls.get() + 1);
            short.as_mut().poll(context)
        })
        .await;
        assert_eq!(polls.get(), 2);
        if let (Some(before), Some(after)) = (before, schedule()) {
            let slices = after.1 - before.1;
            // One would do; the others are the scheduler's, on a machine with other things to run.
            assert!(slices < 20, "the worker was scheduled {slices} times in 400 ms of sleep");
        }
    })
    .unwrap();
}

/// Dropping a timer takes it off the wheel: nothing wakes the worker for it.
#[test]
fn a_dropped_timer_wakes_nobody() {
    run(async {
        let polls = Rc::new(Cell::new(0));
        let counted = polls.clone();
        let task = spawn(async move {
            for _ in 0..10 {
                let mut near = sleep(milliseconds(5));
                assert!(poll_once(&mut near).await.is_pending());
            }
            poll_fn(|_| {
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            })
            .await;
        });
        assert!(timeout(milliseconds(40), pending::<()>()).await.is_err());
        assert_eq!(polls.get(), 1);
        task.abort();
    })
    .unwrap();
}
