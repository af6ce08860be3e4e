//! What a runtime's workers have done, in numbers.
//!
//! [`Handle::metrics`](crate::Handle::metrics) reads them at any time from any thread: as data, per worker and summed,
//! and as the text format of Prometheus. They are always counted: a worker pays for them by plain loads and stores, of
//! which a poll needs four. Polls and the time that tasks stand in the run queue are sampled: one in 64 is timed.
//!
//! # Examples
//!
//! ```
//! wakering::run(async {
//!     for _ in 0..200 {
//!         wakering::yield_now().await;
//!     }
//!     let metrics = wakering::Handle::current().metrics();
//!     assert!(metrics.total.polls > 200 && metrics.total.poll_time.count() >= 3);
//!     assert!(metrics.to_string().contains("wakering_runtime_polls_total{worker=\"0\"} "));
//! })?;
//! # Ok::<(), wakering::RuntimeError>(())
//! ```

use std::{fmt, time::Duration};

use crate::{
    blocking::Figures,
    task::histogram::{self, Histogram},
    worker::{
        Handle,
        handle::{Reach, Shared},
    },
};

/// What a runtime has done since it was built, and what it holds now.
///
/// Its [`Display`](fmt::Display) is the text format of Prometheus, with a label for the worker. Numbers are read one
/// after the other and a worker publishes some of them once a turn, so that they may be a turn apart.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Each worker's, by its number.
    pub workers: Vec<WorkerMetrics>,
    /// The sum over workers.
    pub total: WorkerMetrics,
    /// The blocking pool's.
    pub blocking: BlockingMetrics,
}

/// What one worker has done, or all together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks, the root future's and those of HTTP handlers included.
    pub polls: u64,
    /// Tasks that were spawned; HTTP handlers count that had to wait.
    pub tasks_spawned: u64,
    /// Tasks that have not ended.
    pub tasks_live: u64,
    /// Tasks that panicked.
    pub tasks_panicked: u64,
    /// How often a task had used its budget up and was sent to the end of the queue.
    pub budget_exhaustions: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// How often it asked its selector, with or without sleep.
    pub selector_waits: u64,
    /// How often another thread rang to end its sleep.
    pub doorbell_rings: u64,
    /// Wakes from other threads that needed no ring: it was awake, or had been rung for.
    pub elided_rings: u64,
    /// Wakes from other threads that came through a lane.
    pub lane_wakes: u64,
    /// Wakes from other threads that came through the overflow, for want of a lane or of room in it.
    pub lane_overflows: u64,
    /// How often it looked at every task because the overflow was full, too.
    pub sweeps: u64,
    /// Descriptors that it watches.
    pub sources: u64,
    /// Timers that are armed.
    pub timers: u64,
    /// Timers that were armed.
    pub timers_armed: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// How long it was in its loop and did not sleep.
    pub busy: Duration,
    /// How long it slept in its loop.
    pub idle: Duration,
    /// How long polls took, one in 64.
    pub poll_time: TimeHistogram,
    /// How long tasks stood in the run queue, one in 64.
    pub schedule_delay: TimeHistogram,
}

/// What the blocking pool has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingMetrics {
    /// Its threads.
    pub threads: u64,
    /// Those that have nothing to do.
    pub idle_threads: u64,
    /// Jobs that wait for a thread.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that were taken.
    pub jobs: u64,
}

impl WorkerMetrics {
    /// Which part of its time it was busy, from 0 to 1, since the runtime was built.
    #[must_use]
    pub fn busy_ratio(&self) -> f64 {
        let all = self.busy + self.idle;
        if all.is_zero() { 0.0 } else { self.busy.as_secs_f64() / all.as_secs_f64() }
    }

    fn of(reach: &Reach) -> WorkerMetrics {
        let (tasks, reading) = (reach.published.counts(), reach.meter.read());
        // The entry outlives runtimes: what was before this one is taken off.
        let (wakes, before) = (reach.entry.stats(), reach.wakes_before);
        let busy = reading.looped.saturating_sub(reading.slept);
        WorkerMetrics {
            polls: tasks.polls,
            tasks_spawned: tasks.spawned,
            tasks_live: tasks.live,
            tasks_panicked: tasks.panicked,
            budget_exhaustions: tasks.exhausted,
            parks: reading.parks,
            selector_waits: reading.reactor.waits,
            doorbell_rings: wakes.rings - before.rings,
            elided_rings: wakes.elided_rings.saturating_sub(before.elided_rings),
            lane_wakes: wakes.lane_entries - before.lane_entries,
            lane_overflows: wakes.overflow_entries - before.overflow_entries,
            sweeps: wakes.sweeps - before.sweeps,
            sources: reading.reactor.sources,
            timers: reading.reactor.timers,
            timers_armed: reading.reactor.armed,
            timers_fired: reading.reactor.fired,
            busy: Duration::from_nanos(busy),
            idle: Duration::from_nanos(reading.slept),
            poll_time: TimeHistogram::of(reach.published.poll_time()),
            schedule_delay: TimeHistogram::of(reach.published.schedule_delay()),
        }
    }

    fn add(&mut self, other: &WorkerMetrics) {
        let sums: [(&mut u64, u64); 16] = [
            (&mut self.polls, other.polls),
            (&mut self.tasks_spawned, other.tasks_spawned),
            (&mut self.tasks_live, other.tasks_live),
            (&mut self.tasks_panicked, other.tasks_panicked),
            (&mut self.budget_exhaustions, other.budget_exhaustions),
            (&mut self.parks, other.parks),
            (&mut self.selector_waits, other.selector_waits),
            (&mut self.doorbell_rings, other.doorbell_rings),
            (&mut self.elided_rings, other.elided_rings),
            (&mut self.lane_wakes, other.lane_wakes),
            (&mut self.lane_overflows, other.lane_overflows),
            (&mut self.sweeps, other.sweeps),
            (&mut self.sources, other.sources),
            (&mut self.timers, other.timers),
            (&mut self.timers_armed, other.timers_armed),
            (&mut self.timers_fired, other.timers_fired),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
        self.busy += other.busy;
        self.idle += other.idle;
        self.poll_time.add(&other.poll_time);
        self.schedule_delay.add(&other.schedule_delay);
    }
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeHistogram {
    counts: histogram::Counts,
    sum_nanos: u64,
}

impl TimeHistogram {
    fn of(histogram: &Histogram) -> TimeHistogram {
        let (counts, sum_nanos) = histogram.read();
        TimeHistogram { counts, sum_nanos }
    }

    /// How many were timed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// Each place: the longest duration that belongs there, `None` for the last, which has no bound, and how many did.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        let bounds = (0..self.counts.len()).map(|at| histogram::bound(at).map(Duration::from_nanos));
        bounds.zip(self.counts)
    }

    /// A duration that at least the given part of them, from 0 to 1, did not exceed: the bound of its place, so at
    /// most twice what is true. `None` while there are none, or where it lies beyond the last bound.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let mut left = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        for (bound, count) in self.buckets() {
            if count >= left {
                return bound;
            }
            left -= count;
        }
        None
    }

    fn add(&mut self, other: &TimeHistogram) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum_nanos += other.sum_nanos;
    }
}

impl Handle {
    /// Reads the numbers of all workers, from any thread; see [`metrics`](crate::metrics). It disturbs nobody.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        read(self.shared())
    }
}

fn read(shared: &Shared) -> Metrics {
    let workers: Vec<WorkerMetrics> = shared.workers.iter().map(WorkerMetrics::of).collect();
    let mut total = WorkerMetrics::default();
    for worker in &workers {
        total.add(worker);
    }
    let Figures { threads, idle, queued, running, jobs } = shared.blocking.figures();
    let blocking = BlockingMetrics { threads, idle_threads: idle, queued, running, jobs };
    Metrics { workers, total, blocking }
}

/// A number of a worker: its name, what it is, and where it stands.
struct Row<T: 'static> {
    name: &'static str,
    help: &'static str,
    of: fn(&WorkerMetrics) -> T,
}

const fn row<T>(name: &'static str, help: &'static str, of: fn(&WorkerMetrics) -> T) -> Row<T> {
    Row { name, help, of }
}

const COUNTERS: &[Row<u64>] = &[
    row("polls_total", "Polls of tasks.", |it| it.polls),
    row("tasks_spawned_total", "Tasks spawned.", |it| it.tasks_spawned),
    row("tasks_panicked_total", "Tasks that panicked.", |it| it.tasks_panicked),
    row("budget_exhaustions_total", "Tasks sent to the end of the queue.", |it| it.budget_exhaustions),
    row("parks_total", "Sleeps.", |it| it.parks),
    row("selector_waits_total", "Waits of the selector.", |it| it.selector_waits),
    row("doorbell_rings_total", "Sleeps ended by another thread.", |it| it.doorbell_rings),
    row("elided_rings_total", "Wakes from other threads that needed no ring.", |it| it.elided_rings),
    row("lane_wakes_total", "Wakes from other threads through lanes.", |it| it.lane_wakes),
    row("lane_overflows_total", "Wakes from other threads through the overflow.", |it| it.lane_overflows),
    row("sweeps_total", "Looks at every task after the overflow was full.", |it| it.sweeps),
    row("timers_armed_total", "Timers armed.", |it| it.timers_armed),
    row("timers_fired_total", "Timers fired.", |it| it.timers_fired),
];

const GAUGES: &[Row<u64>] = &[
    row("tasks_live", "Tasks that have not ended.", |it| it.tasks_live),
    row("sources", "Descriptors watched.", |it| it.sources),
    row("timers", "Timers armed now.", |it| it.timers),
];

const TIMES: &[Row<Duration>] = &[
    row("busy_seconds_total", "Time in the loop but for sleep.", |it| it.busy),
    row("idle_seconds_total", "Time slept in the loop.", |it| it.idle),
];

const HISTOGRAMS: &[Row<TimeHistogram>] = &[
    row("poll_seconds", "Length of polls, one in 64.", |it| it.poll_time),
    row("schedule_delay_seconds", "Time in the run queue, one in 64.", |it| it.schedule_delay),
];

impl fmt::Display for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in COUNTERS {
            self.family(out, row, "counter")?;
        }
        for row in GAUGES {
            self.family(out, row, "gauge")?;
        }
        for row in TIMES {
            self.family(out, row, "counter")?;
        }
        for row in HISTOGRAMS {
            self.family(out, row, "histogram")?;
        }
        write!(out, "{}", self.blocking)
    }
}

impl Metrics {
    /// One family: what it is, and each worker's samples.
    fn family<T: Sample>(&self, out: &mut fmt::Formatter<'_>, row: &Row<T>, kind: &str) -> fmt::Result {
        head(out, row.name, row.help, kind)?;
        let name = format!("wakering_runtime_{}", row.name);
        for (number, worker) in self.workers.iter().enumerate() {
            (row.of)(worker).write(out, &name, &format!("worker=\"{number}\""))?;
        }
        Ok(())
    }
}

/// A value as its family's kind writes it.
trait Sample {
    fn write(&self, out: &mut fmt::Formatter<'_>, name: &str, labels: &str) -> fmt::Result;
}

impl Sample for u64 {
    fn write(&self, out: &mut fmt::Formatter<'_>, name: &str, labels: &str) -> fmt::Result {
        writeln!(out, "{name}{{{labels}}} {self}")
    }
}

impl Sample for Duration {
    fn write(&self, out: &mut fmt::Formatter<'_>, name: &str, labels: &str) -> fmt::Result {
        writeln!(out, "{name}{{{labels}}} {}", self.as_secs_f64())
    }
}

fn head(out: &mut fmt::Formatter<'_>, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(out, "# HELP wakering_runtime_{name} {help}")?;
    writeln!(out, "# TYPE wakering_runtime_{name} {kind}")
}

impl Sample for TimeHistogram {
    /// The samples of a histogram: how many lie at or under each bound, the sum and the count.
    fn write(&self, out: &mut fmt::Formatter<'_>, name: &str, labels: &str) -> fmt::Result {
        let mut so_far = 0;
        for (bound, count) in self.buckets() {
            so_far += count;
            match bound {
                Some(bound) => {
                    writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {so_far}", bound.as_secs_f64())?;
                }
                None => writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {so_far}")?,
            }
        }
        writeln!(out, "{name}_sum{{{labels}}} {}", self.sum().as_secs_f64())?;
        writeln!(out, "{name}_count{{{labels}}} {so_far}")
    }
}

impl fmt::Display for BlockingMetrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("blocking_threads", "Threads of the blocking pool.", "gauge", self.threads),
            ("blocking_idle_threads", "Those that have nothing to do.", "gauge", self.idle_threads),
            ("blocking_queued", "Blocking jobs that wait for a thread.", "gauge", self.queued),
            ("blocking_running", "Blocking jobs that run.", "gauge", self.running),
            ("blocking_jobs_total", "Blocking jobs taken.", "counter", self.jobs),
        ];
        for (name, help, kind, value) in rows {
            head(out, name, help, kind)?;
            writeln!(out, "wakering_runtime_{name} {value}")?;
        }
        Ok(())
    }
}
