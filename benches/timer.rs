//! What a timer costs: armed and cancelled, armed and fired, put off, with few and with a million others pending.
//!
//! `timer/wheel_*` is the wheel by itself, with a waker as payload. `timer/sleep_*` is the way that a program goes:
//! the clock is read, the future polled, the timer armed on the worker's wheel.

#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::{
    future::{Future, poll_fn},
    hint::black_box,
    pin::Pin,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use wakering::{
    Runtime,
    internals::clock::{TimerKey, Wheel},
    time::sleep,
};

const SECOND: u64 = 1_000_000_000;
/// Timers that are pending while another is measured.
const MANY: usize = 1_000_000;
/// Connections whose idle time limit is put off with every request.
const CONNECTIONS: usize = 10_000;

/// The same numbers everywhere, so that runs can be compared.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Deadlines for the next minute, drawn beforehand: to draw one costs a third of what is measured.
struct Deadlines {
    drawn: Vec<u64>,
    next: usize,
}

impl Deadlines {
    fn new(random: &mut Random) -> Deadlines {
        Deadlines { drawn: (0..4096).map(|_| SECOND + random.below(60 * SECOND)).collect(), next: 0 }
    }

    fn next(&mut self) -> u64 {
        self.next = (self.next + 1) % 4096;
        self.drawn[self.next]
    }
}

fn filled(count: usize, random: &mut Random) -> Wheel<Waker> {
    let mut wheel = Wheel::new();
    for _ in 0..count {
        wheel.insert(SECOND + random.below(60 * SECOND), Waker::noop().clone());
    }
    black_box(wheel.next_deadline());
    wheel
}

fn arm_and_cancel(criterion: &mut Criterion) {
    for (name, pending) in [("timer/wheel_arm_cancel", 0), ("timer/wheel_arm_cancel_1m_pending", MANY)] {
        criterion.bench_function(name, |bencher| {
            let mut random = Random(0x5eed);
            let mut wheel = filled(pending, &mut random);
            let mut deadlines = Deadlines::new(&mut random);
            bencher.iter(|| {
                let key = wheel.insert(deadlines.next(), Waker::noop().clone());
                black_box(wheel.cancel(black_box(key)))
            });
        });
    }
}

/// Cancels a timer that has been pending for long, whose neighbours are in no cache.
fn replace_one_of_many(criterion: &mut Criterion) {
    criterion.bench_function("timer/wheel_replace_one_of_1m", |bencher| {
        let mut random = Random(0x5eed);
        let mut wheel = Wheel::new();
        let mut keys: Vec<TimerKey> = (0..MANY)
            .map(|_| wheel.insert(SECOND + random.below(60 * SECOND), Waker::noop().clone()))
            .collect();
        let mut deadlines = Deadlines::new(&mut random);
        bencher.iter(|| {
            let at = random.below(MANY as u64) as usize;
            black_box(wheel.cancel(keys[at]));
            keys[at] = wheel.insert(deadlines.next(), Waker::noop().clone());
        });
    });
}

/// Every request puts one of many limits off to the end, and the worker asks for the minimum before it parks.
fn put_off(criterion: &mut Criterion) {
    criterion.bench_function("timer/wheel_put_off_and_ask", |bencher| {
        let mut wheel = Wheel::new();
        let keys: Vec<TimerKey> =
            (0..CONNECTIONS as u64).map(|n| wheel.insert(30 * SECOND + n, Waker::noop().clone())).collect();
        let (mut turn, mut now) = (0, CONNECTIONS as u64);
        bencher.iter(|| {
            now += 10_000;
            wheel.reset(keys[turn], now + 30 * SECOND);
            turn = (turn + 1) % CONNECTIONS;
            black_box(wheel.next_deadline())
        });
    });
}

/// Fires what is armed at random, a batch at a time, with `pending` others about.
fn arm_and_fire(criterion: &mut Criterion) {
    const BATCH: u64 = 1000;
    for (name, pending) in [("timer/wheel_arm_fire", 0), ("timer/wheel_arm_fire_1m_pending", MANY)] {
        criterion.bench_function(name, |bencher| {
            let mut random = Random(0x5eed);
            // The others are pending further off than the batches will come.
            let mut wheel = Wheel::new();
            for _ in 0..pending {
                wheel.insert((1 << 60) + random.below(60 * SECOND), Waker::noop().clone());
            }
            let mut now = 0;
            bencher.iter_custom(|count| {
                let started = Instant::now();
                for _ in 0..count.div_ceil(BATCH) {
                    for _ in 0..BATCH {
                        wheel.insert(now + random.below(SECOND / 100), Waker::noop().clone());
                    }
                    now += SECOND / 100;
                    let more = wheel.expire(now, &mut |waker| drop(black_box(waker)), usize::MAX);
                    assert!(!more);
                }
                started.elapsed().mul_f64(count as f64 / (count.div_ceil(BATCH) * BATCH) as f64)
            });
        });
    }
}

/// A million timers, from the first arming to the last firing; the figure is for one of them.
fn a_million(criterion: &mut Criterion) {
    criterion.bench_function("timer/wheel_1m_armed_and_fired", |bencher| {
        let mut wheel = Wheel::new();
        let mut random = Random(0x5eed);
        let mut start = 0;
        bencher.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            for _ in 0..count.div_ceil(MANY as u64) {
                let started = Instant::now();
                for _ in 0..MANY {
                    wheel.insert(start + random.below(60 * SECOND), Waker::noop().clone());
                }
                // A turn every millisecond.
                for turn in 0..60_000 {
                    let now = start + turn * SECOND / 1000;
                    black_box(wheel.next_deadline());
                    wheel.expire(now, &mut |waker| drop(black_box(waker)), usize::MAX);
                }
                start += 60 * SECOND;
                taken += started.elapsed();
            }
            taken.mul_f64(count as f64 / (count.div_ceil(MANY as u64) * MANY as u64) as f64)
        });
    });
}

fn through_the_runtime(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime of one worker is built");
    criterion.bench_function("timer/sleep_create_cancel", |bencher| {
        bencher.iter_custom(|count| {
            let many = async {
                let started = Instant::now();
                for _ in 0..count {
                    let mut sleep = sleep(Duration::from_secs(30));
                    let polled = poll_fn(|context| Poll::Ready(Pin::new(&mut sleep).poll(context))).await;
                    assert!(black_box(polled).is_pending());
                }
                started.elapsed()
            };
            runtime.block_on(many).expect("no runtime runs on this thread")
        });
    });
    criterion.bench_function("timer/sleep_create_fire", |bencher| {
        bencher.iter_custom(|count| {
            let many = async {
                let started = Instant::now();
                for _ in 0..count {
                    // Due by the time of the next turn, and not yet when it is polled.
                    sleep(Duration::from_nanos(1)).await;
                }
                started.elapsed()
            };
            runtime.block_on(many).expect("no runtime runs on this thread")
        });
    });
}

criterion_group!(
    benches,
    arm_and_cancel,
    replace_one_of_many,
    put_off,
    arm_and_fire,
    a_million,
    through_the_runtime
);
criterion_main!(benches);
