//! The runtime: its workers, from build to drop.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    io,
    marker::PhantomData,
    os::fd::OwnedFd,
    panic::Location,
    pin::pin,
    sync::{Arc, mpsc},
    task, thread,
    time::{Duration, Instant},
};

use crate::{
    error::RuntimeError,
    limits::{DROP_DEADLINE, SHUTDOWN_SLACK},
    sys,
    task::{ROOT_SLOT, Tasks, waker},
    trace,
    worker::{
        Builder,
        context::{self, Context},
        handle::{Handle, Shared},
        stop::{AT_ONCE, ShutdownReport},
        watch::Watch,
    },
};

/// Runs a future to its end on a runtime of one worker, the calling thread, made for the purpose.
///
/// No thread is spawned. When the future is done, tasks that still run are dropped.
///
/// # Errors
///
/// [`RuntimeError`], when the runtime cannot be built or the selector fails.
///
/// # Panics
///
/// With the future's own panic.
///
/// # Examples
///
/// ```
/// assert_eq!(wakering::run(async { 6 * 7 })?, 42);
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> Result<F::Output, RuntimeError> {
    Runtime::new()?.block_on(future)
}

/// Some workers; the first belongs to the thread that built it, and runs while that thread is in `block_on`.
///
/// It is not `Send`. Other threads reach it through its [`Handle`].
///
/// [`shutdown`](Runtime::shutdown) and [`Handle::shutdown`] end it in good order.
///
/// Dropping it is a shutdown without grace, unless one was asked for before, which is then carried to its end. It ends
/// every task, each on its own worker, and joins the other workers' threads; blocking jobs that wait are cancelled. A worker that does not come back from a poll within 10 s, and a blocking job that does not
/// end, is named on standard error and its thread abandoned. In a
/// forked child, dropping closes descriptors and does nothing else.
///
/// # Examples
///
/// ```
/// let runtime = wakering::Runtime::new()?;
/// let answer = runtime.block_on(async { wakering::spawn(async { 42 }).await })?;
/// assert_eq!(answer.expect("no panic, no abort"), 42);
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub struct Runtime {
    pub(super) context: Context,
    /// A duplicate of the first worker's selector, for a host to wait for.
    pub(super) descriptor: OwnedFd,
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<Worker>,
    pub(super) ended: mpsc::Receiver<usize>,
    /// Looks after the workers until they have ended.
    pub(super) watch: Option<Watch>,
    pub(super) not_send: PhantomData<*const ()>,
}

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) thread: thread::JoinHandle<()>,
}

impl Runtime {
    /// A runtime of one worker: the calling thread.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new() -> Result<Self, RuntimeError> {
        Runtime::builder().build()
    }

    /// Settings to build one from.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// What other threads may hold of this runtime.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.clone())
    }

    /// Runs the first worker's loop on the calling thread until `future` is done.
    ///
    /// Tasks of this worker run only meanwhile; what is left when `future` is done goes on in the next call.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Nested`] when a runtime runs on this thread already, [`RuntimeError::Forked`] in a
    /// forked child, [`RuntimeError::Closed`] when the runtime has been shut down, also if that happens meanwhile,
    /// [`RuntimeError::Io`] when the selector fails.
    ///
    /// # Panics
    ///
    /// With the future's own panic; the runtime may be used again afterwards.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, RuntimeError> {
        if context::try_with(|current| current.is_some()) {
            return Err(RuntimeError::Nested);
        }
        if sys::process_id() != self.shared.process {
            return Err(RuntimeError::Forked);
        }
        if self.context.ending.has_ended.get() {
            return Err(RuntimeError::Closed);
        }
        let mut future = pin!(future);
        let waker = waker(self.context.tasks().root_handle());
        let mut polling = task::Context::from_waker(&waker);
        let done = Cell::new(false);
        let mut output = None;
        let mut root = || {
            if done.get() {
                return;
            }
            if let task::Poll::Ready(value) = future.as_mut().poll(&mut polling) {
                output = Some(value);
                done.set(true);
            }
        };
        let begun = Root::begin(self.context.tasks(), Location::caller());
        self.shared.workers[0].published.set_hosted(false);
        let turned = self.context.enter(|| {
            self.context.tasks().enqueue(ROOT_SLOT);
            self.context.turn_until(&done, &mut root)
        });
        drop(begun);
        self.end_if_over();
        turned?;
        output.ok_or(RuntimeError::Closed)
    }

    /// Ends the runtime: lets tasks finish until `grace` is over, aborts what is left, and returns within 100 ms of that
    /// with a report.
    ///
    /// It runs the first worker's loop meanwhile. As [`Handle::shutdown`] otherwise. A poll, or a drop, on the first
    /// worker that does not return keeps this from returning too; other workers stuck in one are named and abandoned.
    ///
    /// # Errors
    ///
    /// As [`block_on`](Runtime::block_on); the runtime is then dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = wakering::Runtime::builder().workers(2).build()?;
    /// runtime.block_on(async { wakering::spawn(wakering::time::sleep(Duration::from_millis(5))) })?;
    /// let report = runtime.shutdown(Duration::from_secs(5))?;
    /// assert!(report.is_clean(), "{report}");
    /// # Ok::<(), wakering::RuntimeError>(())
    /// ```
    pub fn shutdown(mut self, grace: Duration) -> Result<ShutdownReport, RuntimeError> {
        if context::try_with(|current| current.is_some()) {
            return Err(RuntimeError::Nested);
        }
        if sys::process_id() != self.shared.process {
            return Err(RuntimeError::Forked);
        }
        // A tenth is left for what comes after the joining.
        let give_up = Instant::now().checked_add(grace.saturating_add(SHUTDOWN_SLACK / 10 * 9));
        self.shared.say(grace);
        self.drive()?;
        self.context.close();
        let left = join(std::mem::take(&mut self.threads), &self.ended, give_up);
        if let Some(watch) = self.watch.take() {
            watch.end(SHUTDOWN_SLACK);
        }
        self.shared.give_jobs_up();
        let report = self.shared.report(None, true);
        for worker in left.iter().filter(|it| !report.stuck.iter().any(|(index, _)| *index == it.index)) {
            worker.say_abandoned("the destructor of a thread-local value");
        }
        Ok(report)
    }

    /// Turns the first worker's loop until the end.
    fn drive(&self) -> io::Result<()> {
        self.context.enter(|| self.context.turn_until(&Cell::new(false), &mut || {}))
    }

    fn end_if_over(&self) {
        if self.context.is_ending() && self.context.enter(|| self.context.wind_down()) {
            self.context.end();
        }
    }

    /// Whether the runtime's end was asked for and can be brought about from here.
    fn may_drive(&self) -> bool {
        self.shared.life.deadline().is_some()
            && !thread::panicking()
            && context::try_with(|current| current.is_none())
    }
}

/// While it lives the root future is known to dumps.
struct Root<'a>(&'a Tasks);

impl<'a> Root<'a> {
    fn begin(tasks: &'a Tasks, spawned: &'static Location<'static>) -> Self {
        tasks.set_root(Some(spawned));
        Root(tasks)
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        self.0.set_root(None);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if sys::process_id() != self.shared.process {
            // A forked child has only this thread, and the selectors are its parent's: nobody is rung for any more, and
            // descriptors are closed.
            self.shared.workers.iter().for_each(|reach| reach.entry.forsake());
            self.context.reactor().close();
            return;
        }
        if self.context.is_closed() {
            return; // by `shutdown`
        }
        if self.may_drive() {
            if let Err(error) = self.drive() {
                trace::say(&format!("the selector failed during the shutdown: {error}"));
            }
        }
        self.shared.say_at(AT_ONCE);
        let give_up = Instant::now() + DROP_DEADLINE;
        self.context.close();
        for worker in join(std::mem::take(&mut self.threads), &self.ended, Some(give_up)) {
            worker.say_abandoned("a poll or a drop");
        }
        if let Some(watch) = self.watch.take() {
            watch.end(give_up.saturating_duration_since(Instant::now()).max(SHUTDOWN_SLACK));
        }
        for job in self.shared.blocking().shutdown(give_up) {
            trace::say(&format!("{job}; its thread is abandoned"));
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runtime")
            .field("workers", &self.shared.workers.len())
            .field("tasks", &self.context.tasks().live())
            .field("sources", &self.context.reactor().sources())
            .finish()
    }
}

impl Worker {
    fn say_abandoned(&self, inside: &str) {
        let name = self.thread.thread().name().unwrap_or("wakering");
        trace::say(&format!("worker {name} is still inside {inside}; its thread is abandoned"));
    }
}

/// Joins the workers that end in time, and returns the others. Who reports its end has nothing left that may block.
fn join(threads: Vec<Worker>, ended: &mpsc::Receiver<usize>, give_up: Option<Instant>) -> Vec<Worker> {
    let mut running: Vec<Worker> = threads;
    while !running.is_empty() {
        let left = give_up.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let Ok(index) = ended.recv_timeout(left.max(Duration::from_millis(1))) else { return running };
        if let Some(position) = running.iter().position(|worker| worker.index == index) {
            drop(running.swap_remove(position).thread.join());
        }
    }
    running
}
