//! What crossing threads costs: a value through a ring, a wake through lane or overflow.
//!
//! `wake/burst_64_*` measures a wake as the waking thread sees it, with an owner that sleeps in its selector
//! between the bursts; beside the time it prints how many rings of the doorbell a wake took. Figures across
//! threads say something only where two processors are free.

#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use wakering::internals::ring::Ring;
use wakering::internals::sys::Selector;
use wakering::internals::wake::{Entry, claim, use_overflow_only};

const CAPACITY: usize = 256;
const BURST: u32 = 64;

fn ring_same_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let ring = Ring::<u32>::new(CAPACITY);
    let mut producer = ring.producer().expect("the ring is new");
    let mut consumer = ring.consumer().expect("the ring is new");
    group.bench_function("push_pop", |bencher| {
        bencher.iter(|| {
            producer.push(black_box(7)).expect("the ring is empty");
            consumer.pop()
        });
    });
    group.throughput(Throughput::Elements(u64::from(BURST)));
    group.bench_function("push_64_drain", |bencher| {
        bencher.iter(|| {
            (0..BURST).for_each(|value| producer.push(value).expect("the ring is empty"));
            consumer.drain(|value| _ = black_box(value))
        });
    });
    group.finish();
}

/// A task sends, another receives: on one worker, and on two.
fn channels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel");
    group.throughput(Throughput::Elements(1));
    for (name, workers, to) in [("same_worker", 1, 0), ("across_workers", 2, 1)] {
        let runtime = wakering::Runtime::builder().workers(workers).build().expect("a runtime can be built");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let (mut sender, mut receiver) = wakering::channel::<u64>(CAPACITY);
                let start = Instant::now();
                let passed = runtime.block_on(async move {
                    let sending = wakering::spawn_on(to, move || async move {
                        for value in 0..count {
                            sender.send(value).await.expect("the receiver is there");
                        }
                    });
                    while let Some(value) = receiver.recv().await {
                        black_box(value);
                    }
                    sending.expect("the worker runs").await
                });
                passed.expect("the runtime runs").expect("it does not panic");
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn ring_across_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("across_threads", |bencher| {
        bencher.iter_custom(|count| {
            let ring = Arc::new(Ring::<u64>::new(CAPACITY));
            let far = ring.clone();
            let pusher = thread::spawn(move || {
                let mut producer = far.producer().expect("the ring is new");
                for value in 0..count {
                    while producer.push(value).is_err() {
                        spin_loop();
                    }
                }
            });
            let mut consumer = ring.consumer().expect("the ring is new");
            let started = Instant::now();
            let mut taken = 0;
            while taken < count {
                taken += consumer.drain(|value| _ = black_box(value)) as u64;
            }
            let elapsed = started.elapsed();
            pusher.join().expect("the pusher does not panic");
            elapsed
        });
    });
    group.finish();
}

/// A worker's skeleton on a thread of its own: it drains, counts, and sleeps in its selector.
struct Owner {
    entry: &'static Entry,
    taken: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Owner {
    /// With or without sleep; a restless owner shows what the wakes cost without the ring of the doorbell.
    fn start(sleeps: bool) -> Owner {
        let entry = claim().expect("ids are free");
        (0..BURST).for_each(|slot| _ = entry.ensure_slot(slot));
        let (taken, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (taken.clone(), stop.clone());
        let mut selector = Selector::new(8).expect("descriptors are free");
        // SAFETY: the entry is closed before the selector goes.
        entry.open(unsafe { selector.doorbell() });
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let woken = entry.drain(|slot| _ = black_box(slot));
                count.fetch_add(woken as u64, Ordering::Release);
                if sleeps && entry.park(|| ended.load(Ordering::Acquire)) {
                    selector.wait(None).expect("the selector works");
                    entry.unpark();
                }
            }
            entry.close();
        });
        Owner { entry, taken, stop, thread: Some(thread) }
    }

    /// Wakes every slot once and says how long the wakes took; returns when the owner has had them all.
    fn burst(&self, generations: &[u32]) -> Duration {
        let target = self.taken.load(Ordering::Acquire) + u64::from(BURST);
        let started = Instant::now();
        for (slot, generation) in (0..).zip(generations) {
            self.entry.wake(slot, *generation);
        }
        let elapsed = started.elapsed();
        while self.taken.load(Ordering::Acquire) < target {
            thread::yield_now();
        }
        elapsed
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.entry.notify();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the owner does not panic");
        }
    }
}

/// One burst of 64 wakes a sample's iteration, on the thread that `prepare` has prepared.
fn bursts(criterion: &mut Criterion, name: &str, sleeps: bool, prepare: fn()) {
    let owner = Owner::start(sleeps);
    let generations: Vec<u32> = (0..BURST).map(|slot| owner.entry.ensure_slot(slot)).collect();
    let before = owner.entry.stats().rings;
    let wakes = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("wake");
    group.throughput(Throughput::Elements(u64::from(BURST)));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            wakes.fetch_add(count * u64::from(BURST), Ordering::Relaxed);
            thread::scope(|scope| {
                let waker = scope.spawn(|| {
                    prepare();
                    (0..count).map(|_| owner.burst(&generations)).sum()
                });
                waker.join().expect("the waker does not panic")
            })
        });
    });
    group.finish();
    let (rings, wakes) = (owner.entry.stats().rings - before, wakes.into_inner());
    println!("wake/{name}: {rings} rings for {wakes} wakes, {:.4} a wake", rings as f64 / wakes as f64);
}

fn wake_bursts(criterion: &mut Criterion) {
    bursts(criterion, "burst_64_lane", true, || ());
    bursts(criterion, "burst_64_overflow", true, use_overflow_only);
    bursts(criterion, "burst_64_lane_awake", false, || ());
    bursts(criterion, "burst_64_overflow_awake", false, use_overflow_only);
}

/// A wake that joins an earlier one, and one whose task is gone: what is left of a wake when nothing is to be
/// brought.
fn wake_nothing_to_bring(criterion: &mut Criterion) {
    let entry = claim().expect("ids are free");
    let generation = entry.ensure_slot(0);
    let mut group = criterion.benchmark_group("wake");
    group.bench_function("joined", |bencher| bencher.iter(|| entry.wake(black_box(0), generation)));
    let generation = entry.ensure_slot(1);
    entry.retire_slot(1);
    group.bench_function("stale", |bencher| bencher.iter(|| entry.wake(black_box(1), generation)));
    group.finish();
}

/// A push and what the owner does for it, on one thread: the instructions without the traffic between caches.
fn wake_and_drain(criterion: &mut Criterion) {
    let entry = claim().expect("ids are free");
    let generation = entry.ensure_slot(0);
    let mut group = criterion.benchmark_group("wake");
    group.bench_function("push_drain", |bencher| {
        bencher.iter(|| {
            entry.wake(black_box(0), generation);
            entry.drain(|slot| _ = black_box(slot))
        });
    });
    group.bench_function("drain_nothing", |bencher| bencher.iter(|| entry.drain(|slot| _ = black_box(slot))));
    group.bench_function("park_unpark", |bencher| {
        bencher.iter(|| {
            black_box(entry.park(|| false));
            entry.unpark();
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    ring_same_thread,
    ring_across_threads,
    channels,
    wake_bursts,
    wake_nothing_to_bring,
    wake_and_drain
);
criterion_main!(benches);
