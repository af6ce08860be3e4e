//! The settings of a runtime that have a number, their bounds, and how they reach the workers.

use std::{io, time::Duration};

use crate::{
    clock::ManualClock,
    error::RuntimeError,
    limits::{
        BUSY_POLL_LONGEST, COUNTED_MOST, EVENT_BATCH, LOOK_EVERY, SELECTOR_EVENTS_MAX, SPIN_LONGEST,
        TASK_BUDGET,
    },
    sys,
    worker::{Builder, context::Context},
};

/// What a worker's loop goes by.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    pub(super) event_batch: usize,
    pub(super) task_budget: usize,
    pub(super) look_every: usize,
    pub(super) spin: Duration,
    pub(super) busy_poll: Option<(Duration, u16)>,
    /// Of each worker, or of none.
    pub(super) cpus: Vec<usize>,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            event_batch: EVENT_BATCH,
            task_budget: TASK_BUDGET,
            look_every: LOOK_EVERY,
            spin: Duration::ZERO,
            busy_poll: None,
            cpus: Vec::new(),
        }
    }
}

impl Tuning {
    pub(super) fn check(&self, workers: usize) -> Result<(), RuntimeError> {
        within("event_batch", self.event_batch, 1, SELECTOR_EVENTS_MAX)?;
        within("task_budget", self.task_budget, 1, COUNTED_MOST)?;
        within("look_every", self.look_every, 1, COUNTED_MOST)?;
        within("spin, in µs,", micros(self.spin), 0, micros(SPIN_LONGEST))?;
        if let Some((longest, packets)) = self.busy_poll {
            within("busy_poll, in µs,", micros(longest), 1, micros(BUSY_POLL_LONGEST))?;
            within("busy_poll's packets", packets.into(), 1, u16::MAX.into())?;
        }
        if !self.cpus.is_empty() {
            within("the number of processors in pin_workers", self.cpus.len(), workers, workers)?;
        }
        Ok(())
    }

    /// Binds the calling thread, which is to be worker `index`.
    pub(super) fn pin(&self, index: usize) -> io::Result<()> {
        let Some(&cpu) = self.cpus.get(index) else { return Ok(()) };
        let told = |error: io::Error| {
            io::Error::new(error.kind(), format!("binding worker {index} to processor {cpu}: {error}"))
        };
        sys::pin_to_cpu(cpu).map_err(told)
    }

    /// Sets the selector up. Where the system cannot do it, nothing is lost but the gain.
    pub(super) fn apply(&self, context: &Context) -> io::Result<()> {
        let Some((longest, packets)) = self.busy_poll else { return Ok(()) };
        let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        let set = context.reactor().with_descriptor(|selector| sys::busy_poll(selector, longest, packets))?;
        match set {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(io::Error::new(error.kind(), format!("busy_poll with {packets} packets: {error}")))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

pub(super) fn within(
    name: &'static str,
    asked: usize,
    least: usize,
    most: usize,
) -> Result<(), RuntimeError> {
    if (least..=most).contains(&asked) {
        return Ok(());
    }
    Err(RuntimeError::Setting { name, asked, least, most })
}

fn micros(duration: Duration) -> usize {
    usize::try_from(duration.as_micros()).unwrap_or(usize::MAX)
}

impl Builder {
    /// Binds each worker's thread to a processor: the first that is named here is the first worker's, whose thread is
    /// the one that calls [`build`](Builder::build) and stays bound. As many as there are workers; default: none is
    /// bound.
    ///
    /// Linux and Android only: elsewhere `build` fails with `Unsupported`. See sched_setaffinity(2).
    #[must_use]
    pub fn pin_workers(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.tuning.cpus = cpus.into_iter().collect();
        self
    }

    /// Events that one wait of a worker fetches; 1 to 65,536, default 1,024. 12 or 16 bytes of memory each.
    #[must_use]
    pub fn event_batch(mut self, events: usize) -> Self {
        self.tuning.event_batch = events;
        self
    }

    /// Tasks that a worker polls before it writes output, reads the clock and fires timers; 1 to 1,000,000, default 128.
    #[must_use]
    pub fn task_budget(mut self, tasks: usize) -> Self {
        self.tuning.task_budget = tasks;
        self
    }

    /// Tasks that a busy worker polls before it looks at its descriptors; 1 to 1,000,000, default 128. It looks between
    /// two budgets of tasks, and earlier when tasks make many system calls.
    #[must_use]
    pub fn look_every(mut self, tasks: usize) -> Self {
        self.tuning.look_every = tasks;
        self
    }

    /// How long an idle worker goes on looking before it sleeps; up to 10 ms, default zero.
    ///
    /// It spares who wakes it a system call, and the wake-up its latency, for a processor that does nothing else. Pin the
    /// workers then.
    #[must_use]
    pub fn spin(mut self, longest: Duration) -> Self {
        self.tuning.spin = longest;
        self
    }

    /// Has the kernel poll the network devices from within a wait: for how long (1 µs to 1 s), and how many packets it
    /// takes at a time (1 to 65,535; above 64 with `CAP_NET_ADMIN` only). Default: it does not.
    ///
    /// Needs Linux 6.9 and a driver with NAPI ids (`EPIOCSPARAMS` of ioctl_eventpoll(2)); elsewhere it changes nothing.
    #[must_use]
    pub fn busy_poll(mut self, longest: Duration, packets: u16) -> Self {
        self.tuning.busy_poll = Some((longest, packets));
        self
    }

    /// Threads that [`spawn_blocking`](crate::spawn_blocking) may start; 1 to 1,000,000, default 64.
    #[must_use]
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking.threads_max = threads;
        self
    }

    /// Blocking jobs that may wait for a thread; up to 1,000,000, default 4,096. One more is refused.
    #[must_use]
    pub fn blocking_queue(mut self, jobs: usize) -> Self {
        self.blocking.queue_max = jobs;
        self
    }

    /// How long an idle thread of the blocking pool stays; default 10 s.
    #[must_use]
    pub fn blocking_keep_alive(mut self, idle: Duration) -> Self {
        self.blocking.keep_alive = idle.min(crate::limits::SHUTDOWN_LONGEST);
        self
    }

    /// Counts time by a clock that is moved by hand, for tests; default: the system's monotonic clock.
    #[must_use]
    pub fn manual_clock(mut self, clock: &ManualClock) -> Self {
        self.manual_clock = Some(clock.clone());
        self
    }
}
