//! The runtime: its workers, from build to drop.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::Location,
    pin::pin,
    sync::{Arc, mpsc},
    task, thread,
    time::{Duration, Instant},
};

use crate::{
    error::RuntimeError,
    limits::DROP_DEADLINE,
    sys,
    task::{ROOT_SLOT, Tasks, waker},
    worker::{
        Builder,
        context::{self, Context},
        handle::{Handle, Shared},
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
/// Dropping it ends every task, each on its own worker, and joins the other workers' threads; blocking jobs that
/// wait are cancelled. A worker that does not come back from a poll within 10 s, and a blocking job that does not
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
    /// forked child, [`RuntimeError::Io`] when the selector fails.
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
        let _root = Root::begin(self.context.tasks(), Location::caller());
        self.context.enter(|| {
            self.context.tasks().enqueue(ROOT_SLOT);
            self.context.turn_until(&done, &mut root)
        })?;
        output.ok_or(RuntimeError::Closed)
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
            // A forked child has only this thread, and the selector is its parent's: close descriptors.
            self.context.reactor().close();
            return;
        }
        let give_up = Instant::now() + DROP_DEADLINE;
        for worker in &self.threads {
            let reach = &self.shared.workers[worker.index];
            reach.injector.stop();
            reach.entry.notify();
        }
        self.context.close();
        join(std::mem::take(&mut self.threads), &self.ended, give_up);
        for job in self.shared.blocking().shutdown(give_up) {
            eprintln!("wakering: {job}; its thread is abandoned");
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

/// Joins the workers that end in time; names the others and lets them be.
fn join(threads: Vec<Worker>, ended: &mpsc::Receiver<usize>, give_up: Instant) {
    let mut running: Vec<Worker> = threads;
    while !running.is_empty() {
        let left = give_up.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match ended.recv_timeout(left) {
            Ok(index) => {
                let position = running.iter().position(|worker| worker.index == index);
                if let Some(position) = position {
                    drop(running.swap_remove(position).thread.join());
                }
            }
            Err(_late) => {
                for worker in running {
                    let name = worker.thread.thread().name().unwrap_or("wakering").to_owned();
                    eprintln!(
                        "wakering: worker {name} is still inside a poll or a drop; its thread is abandoned"
                    );
                }
                return;
            }
        }
    }
}
