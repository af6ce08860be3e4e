//! What other threads may hold of a runtime.

use std::{
    fmt,
    future::Future,
    panic::Location,
    sync::Arc,
    thread::{self, ThreadId},
};

use crate::{
    blocking::Pool,
    error::SpawnError,
    sys,
    task::Published,
    wake::{Entry, WakeStats},
    worker::{
        context,
        dump::Askers,
        idle::Idle,
        inject::{Injector, Job},
        meter::Meter,
        remote::{self, RemoteJoinHandle},
        stop::Life,
        tuning::Tuning,
        watch::Settings,
    },
};

/// The part of a runtime that all its workers and handles share.
pub(crate) struct Shared {
    pub(super) workers: Vec<Reach>,
    pub(super) process: u32,
    pub(super) blocking: Arc<Pool>,
    pub(super) watch: Settings,
    pub(super) life: Life,
    pub(super) idle: Idle,
    pub(super) tuning: Tuning,
    /// The thread that built the runtime and runs its first worker.
    pub(super) owner: ThreadId,
}

/// How to reach one worker from anywhere.
pub(super) struct Reach {
    pub(super) entry: &'static Entry,
    pub(super) injector: Arc<Injector>,
    pub(super) published: Arc<Published>,
    pub(super) meter: Arc<Meter>,
    /// What the entry had counted for the runtimes that had it before.
    pub(super) wakes_before: WakeStats,
    /// Who waits for its part of a dump.
    pub(super) askers: Askers,
}

impl Reach {
    pub(super) fn new(entry: &'static Entry) -> Self {
        Reach {
            entry,
            injector: Arc::new(Injector::new()),
            published: Arc::new(Published::new()),
            meter: Arc::default(),
            wakes_before: entry.stats(),
            askers: Askers::default(),
        }
    }

    /// Has the worker look how far the end of its runtime has come.
    pub(super) fn nudge(&self) {
        self.injector.nudge();
        self.entry.notify();
    }
}

impl Shared {
    /// Whether this is a forked child of the process that made the runtime.
    pub(super) fn is_forked(&self) -> bool {
        sys::process_id() != self.process
    }

    /// Whether this is the thread of the first worker.
    pub(super) fn is_owner(&self) -> bool {
        self.owner == thread::current().id()
    }

    pub(super) fn blocking(&self) -> &Arc<Pool> {
        &self.blocking
    }

    pub(super) fn inject(&self, worker: usize, job: Job) -> Result<(), SpawnError> {
        if self.is_forked() {
            return Err(SpawnError::Forked);
        }
        let reach = self.workers.get(worker).ok_or(SpawnError::NoSuchWorker)?;
        reach.injector.push(job)?;
        reach.entry.notify();
        Ok(())
    }
}

/// Reaches a runtime from any thread.
///
/// Cloning it is cheap. It does not keep the runtime alive: once the runtime is dropped, everything asked of
/// the handle is an error.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Handle { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The handle of the runtime that runs on this thread.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    #[track_caller]
    pub fn current() -> Self {
        context::with(|context| Handle::new(context.shared().clone()))
    }

    /// How many workers the runtime has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Starts a task on worker `worker` (from 0), from any thread.
    ///
    /// `make` is sent over and called there; the future that it makes need not be `Send`.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]: there is no such worker, its queue of injected spawns is full, the runtime has ended,
    /// or this is a forked child of the runtime's process. `make` is then dropped on the calling thread.
    ///
    /// # Cancellation
    ///
    /// Dropping the handle detaches the task.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = wakering::Runtime::builder().workers(2).build()?;
    /// let handle = runtime.handle();
    /// let name = runtime.block_on(async move {
    ///     let task = handle.spawn_on(1, || async { std::thread::current().name().map(str::to_owned) });
    ///     task.expect("the worker runs").await.expect("no panic, no abort")
    /// })?;
    /// assert_eq!(name.as_deref(), Some("wakering-1"));
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<M, F>(&self, worker: usize, make: M) -> Result<RemoteJoinHandle<F::Output>, SpawnError>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        remote::spawn_on(&self.shared, worker, make, Location::caller())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").field("workers", &self.workers()).finish()
    }
}
