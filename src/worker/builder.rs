//! What a runtime is built from, and the start of its workers.

use std::{
    cell::Cell,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    blocking::{Config, Pool},
    clock::{Clock, ManualClock},
    error::RuntimeError,
    limits::{COUNTED_MOST, MAX_WORKERS},
    sys::{self, Processors, descriptor::duplicate},
    trace,
    worker::{
        context::{self, Context},
        handle::{Reach, Shared},
        idle::Idle,
        runtime::{Runtime, Worker},
        stop::Life,
        tuning::{Tuning, within},
        watch::Settings,
    },
};

/// Settings of a [`Runtime`].
///
/// # Examples
///
/// ```
/// let runtime = wakering::Runtime::builder().workers(2).thread_name("proxy").build()?;
/// assert_eq!(runtime.handle().workers(), 2);
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    workers: usize,
    thread_name: String,
    pub(super) watch: Settings,
    pub(super) tuning: Tuning,
    pub(super) blocking: Config,
    pub(super) manual_clock: Option<ManualClock>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            workers: 1,
            thread_name: "wakering".to_owned(),
            watch: Settings::default(),
            tuning: Tuning::default(),
            blocking: Config::default(),
            manual_clock: None,
        }
    }

    /// How many workers, the calling thread included; 1 to 1,024, default 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The first part of the other workers' thread names; default `wakering`, as in `wakering-1`. NUL, which no
    /// name can have, is left out.
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into().replace('\0', "");
        self
    }

    /// Builds the runtime and starts the other workers' threads.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`]: the number of workers or another setting is out of range, a worker cannot be bound to its
    /// processor, the process has 4,096 workers already, a
    /// thread cannot be started, or the system has no descriptors left.
    pub fn build(self) -> Result<Runtime, RuntimeError> {
        if self.workers == 0 || self.workers > MAX_WORKERS {
            return Err(RuntimeError::WorkerCount { asked: self.workers, most: MAX_WORKERS });
        }
        self.tuning.check(self.workers)?;
        within("blocking_threads", self.blocking.threads_max, 1, COUNTED_MOST)?;
        within("blocking_queue", self.blocking.queue_max, 0, COUNTED_MOST)?;
        self.tuning.pin(0)?;
        let mut workers = Vec::with_capacity(self.workers);
        for _ in 0..self.workers {
            match context::claim() {
                Ok(entry) => workers.push(Reach::new(entry)),
                Err(error) => {
                    release(&workers);
                    return Err(error);
                }
            }
        }
        let blocking =
            Pool::new(Config { thread_name: format!("{}-block", self.thread_name), ..self.blocking });
        let clock = self.manual_clock.clone().map_or_else(Clock::real, Clock::Manual);
        let shared = Arc::new(Shared {
            life: Life::new(workers.len(), clock),
            idle: Idle::new(workers.len()),
            tuning: self.tuning,
            workers,
            process: sys::process_id(),
            blocking,
            watch: self.watch,
            owner: thread::current().id(),
        });
        if let Some(clock) = &self.manual_clock {
            shared.follow(clock);
        }
        let context = match Context::new(&shared, 0) {
            Ok(context) => context,
            Err(error) => {
                release(&shared.workers);
                return Err(error);
            }
        };
        let duplicate = context.reactor().with_descriptor(duplicate);
        let descriptor = match duplicate.and_then(|duplicate| duplicate) {
            Ok(descriptor) => descriptor,
            Err(error) => {
                release(&shared.workers);
                return Err(error.into());
            }
        };
        let (report, ended) = mpsc::channel();
        let mut runtime = Runtime {
            context,
            descriptor,
            shared,
            threads: Vec::new(),
            ended,
            watch: None,
            not_send: PhantomData,
        };
        for index in 1..self.workers {
            match start_worker(&self.thread_name, &runtime.shared, index, report.clone()) {
                Ok(thread) => runtime.threads.push(Worker { index, thread }),
                Err(error) => {
                    // The workers from here on never ran; the drop of `runtime` ends those that do.
                    release(&runtime.shared.workers[index..]);
                    return Err(error);
                }
            }
        }
        runtime.watch = runtime.shared.watch.start(&self.thread_name, &runtime.shared)?;
        Ok(runtime)
    }
}

/// Gives claimed ids back that no worker uses.
fn release(workers: &[Reach]) {
    for worker in workers {
        worker.entry.close();
        worker.entry.release();
    }
}

thread_local! {
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };
}

/// Says that a worker's thread has come to its end, behind its other locals: the destructor of one may block, and nobody
/// can join a thread with a time limit.
struct Last {
    report: mpsc::Sender<usize>,
    index: usize,
}

impl Last {
    fn note(report: mpsc::Sender<usize>, index: usize) {
        LAST.set(Some(Last { report, index }));
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.report.send(self.index);
    }
}

/// Starts a worker's thread and waits until its context is built there.
fn start_worker(
    name: &str,
    shared: &Arc<Shared>,
    index: usize,
    report: mpsc::Sender<usize>,
) -> Result<thread::JoinHandle<()>, RuntimeError> {
    let (built, outcome) = mpsc::channel();
    let (shared, processors) = (shared.clone(), Processors::of_starter());
    let thread = thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
        // The first of the thread's locals is the last that is destroyed.
        Last::note(report, index);
        processors.apply();
        let pinned = shared.tuning.pin(index).map_err(RuntimeError::from);
        let context = match pinned.and_then(|()| Context::new(&shared, index)) {
            Ok(context) => context,
            Err(error) => {
                let _ = built.send(Err(error));
                return;
            }
        };
        let _ = built.send(Ok(()));
        let turning = || context.enter(|| context.turn_until(&Cell::new(false), &mut || {}));
        match catch_unwind(AssertUnwindSafe(turning)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => trace::say(&format!("worker {index} ends, its selector failed: {error}")),
            Err(payload) => {
                // Foreign code that nothing else has contained. What the worker has is given back all the same.
                std::mem::forget(payload);
                trace::say(&format!("worker {index} ends: a panic came through its loop"));
            }
        }
        context.close();
    })?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_gone) => Err(RuntimeError::Closed),
    }
}
