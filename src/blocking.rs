//! Work that blocks: a bounded pool of threads beside the workers.
//!
//! A call that may block (a file, a name lookup, a long computation) would hold up everything else on its
//! worker. It goes to a thread of the pool, and its result comes back through an ordinary waker.
//!
//! A thread is started when a job comes and no idle thread is there for it, up to a limit; jobs beyond that
//! wait in a bounded queue, first in, first out. A thread that has been idle for a while ends, so that a
//! runtime which never blocks has no thread for it. There is one pool for each runtime.
//!
//! Invariants: a job's [`Completion`] reports exactly once, with the result, or with a cancellation when it
//! is dropped unrun; no job is run or dropped and no waker is woken while a lock is held; job numbers
//! rise along the queue.

mod dedicated;
#[cfg(test)]
mod tests;

pub use self::dedicated::BlockingThread;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::contain::{drop_contained, wake_contained};
use crate::error::{JoinError, SpawnError};
use crate::limits::{BLOCKING_KEEP_ALIVE, BLOCKING_QUEUE_MAX, BLOCKING_THREADS_MAX};
use crate::sys::Processors;
use crate::task::handle_of;
use crate::wake::{Handle, use_overflow_only};

thread_local! {
    /// The address of the pool that this thread serves, for as long as it lives; the thread keeps the pool alive.
    static SERVED: Cell<usize> = const { Cell::new(0) };
}

/// Bounds of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The name of its threads.
    pub(crate) thread_name: String,
    pub(crate) threads_max: usize,
    pub(crate) queue_max: usize,
    /// The first job takes no place in the queue.
    pub(crate) begins_free: bool,
    /// How long an idle thread stays.
    pub(crate) keep_alive: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            thread_name: String::from("wakering-block"),
            threads_max: BLOCKING_THREADS_MAX,
            queue_max: BLOCKING_QUEUE_MAX,
            begins_free: false,
            keep_alive: BLOCKING_KEEP_ALIVE,
        }
    }
}

/// The threads for blocking work of one runtime, and the queue in front of them.
pub(crate) struct Pool {
    config: Config,
    state: Mutex<State>,
    /// Told when there is a job for an idle thread, and when the pool closes.
    work: Condvar,
    /// Told when a thread ends.
    ended: Condvar,
}

/// What the pool has done and holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) threads: u64,
    pub(crate) idle: u64,
    pub(crate) queued: u64,
    pub(crate) running: u64,
    /// Jobs that were taken.
    pub(crate) jobs: u64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    next_number: u64,
    threads: usize,
    /// Threads that wait for a job, or have been told of one and not yet taken it.
    idle: usize,
    running: Vec<Running>,
    closed: bool,
    /// Called when the last thread of a closed pool has ended.
    on_end: Option<Box<dyn FnOnce() + Send>>,
}

struct Job {
    number: u64,
    spawned_at: &'static Location<'static>,
    since: Instant,
    awaited: Weak<dyn Awaited>,
    work: Box<dyn FnOnce() + Send>,
}

/// A job that a thread of the pool is inside of.
#[derive(Clone)]
pub(crate) struct Running {
    number: u64,
    spawned_at: &'static Location<'static>,
    since: Instant,
    awaited: Weak<dyn Awaited>,
}

/// A job as a dump shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobView {
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) runs: bool,
    /// Since when it has been running, or waiting for a thread.
    pub(crate) since: Instant,
    /// The task that waits for its result, if it is one of ours.
    pub(crate) awaited_by: Option<Handle>,
}

impl Running {
    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    pub(crate) fn so_far(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let so_far = self.since.elapsed();
        write!(f, "the blocking job spawned at {} has been running for {so_far:.1?}", self.spawned_at)
    }
}

impl Pool {
    /// Makes a pool without threads.
    pub(crate) fn new(config: Config) -> Arc<Pool> {
        Arc::new(Pool { config, state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() })
    }

    /// Gives a job to the pool.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] when the queue is full, the pool is closed, or there is no thread and none can be
    /// started. The job is then dropped here.
    pub(crate) fn spawn<F, T>(
        self: &Arc<Pool>,
        work: F,
        spawned_at: &'static Location<'static>,
    ) -> Result<BlockingHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let meeting = Arc::new(Meeting { stage: Mutex::new(Stage::Waiting(None)) });
        let mut completion = Completion { meeting: Some(meeting.clone()) };
        let work = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            completion.report(result.map_err(JoinError::panicked));
        });
        let awaited: Weak<Meeting<T>> = Arc::downgrade(&meeting);
        let number = self.push(work, spawned_at, awaited)?;
        Ok(BlockingHandle { meeting, pool: self.clone(), number })
    }

    /// Closes the pool: what is queued is cancelled, what runs is waited for until `deadline`. Returns what
    /// was still running then; those threads are left to themselves.
    pub(crate) fn shutdown(&self, deadline: Instant) -> Vec<Running> {
        let mut state = self.state();
        state.closed = true;
        let queue = mem::take(&mut state.queue);
        drop(state);
        self.work.notify_all();
        queue.into_iter().for_each(drop_contained);
        let mut state = self.state();
        while state.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running.clone()
    }

    /// The jobs that run, then those that wait, at most so many.
    pub(crate) fn jobs(&self, most: usize) -> Vec<JobView> {
        let state = self.state();
        let running = state.running.iter().map(|it| (it.spawned_at, true, it.since, it.awaited.clone()));
        let queued = state.queue.iter().map(|it| (it.spawned_at, false, it.since, it.awaited.clone()));
        let jobs: Vec<_> = running.chain(queued).take(most).collect();
        drop(state);
        // Not under the lock: a result that nobody else holds any more may end here.
        let view = |(spawned_at, runs, since, awaited): (_, _, _, Weak<dyn Awaited>)| {
            let meeting = awaited.upgrade();
            let awaited_by = meeting.as_ref().and_then(|meeting| meeting.waiter());
            drop_contained(meeting);
            JobView { spawned_at, runs, since, awaited_by }
        };
        jobs.into_iter().map(view).collect()
    }

    /// What it has done so far and holds now.
    pub(crate) fn figures(&self) -> Figures {
        let state = self.state();
        Figures {
            threads: state.threads as u64,
            idle: state.idle as u64,
            queued: state.queue.len() as u64,
            running: state.running.len() as u64,
            jobs: state.next_number,
        }
    }

    /// Whether a job runs or waits for a thread.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state();
        !state.running.is_empty() || !state.queue.is_empty()
    }

    /// Whether the calling thread is one of the pool's, so that a job of it is running there.
    pub(crate) fn is_served_here(&self) -> bool {
        SERVED.get() == ptr::from_ref(self).addr()
    }

    /// Closes the pool and lets it finish what it was given; `on_end` is called when that is done, on whatever thread.
    pub(crate) fn finish(&self, on_end: Box<dyn FnOnce() + Send>) {
        let mut state = self.state();
        state.closed = true;
        if state.threads > 0 {
            state.on_end = Some(on_end);
            drop(state);
            self.work.notify_all();
            return;
        }
        drop(state);
        on_end();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs while it is held, so nothing panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(
        self: &Arc<Pool>,
        work: Box<dyn FnOnce() + Send>,
        spawned_at: &'static Location<'static>,
        awaited: Weak<dyn Awaited>,
    ) -> Result<u64, SpawnError> {
        let since = Instant::now();
        let mut state = self.state();
        let is_free = self.config.begins_free && state.queue.front().is_some_and(|job| job.number == 0);
        if state.closed || state.queue.len() - usize::from(is_free) >= self.config.queue_max {
            let refused = if state.closed { SpawnError::Closed } else { SpawnError::Full };
            // Before `work` is dropped, which is the caller's code.
            drop(state);
            return Err(refused);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.queue.push_back(Job { number, spawned_at, since, awaited, work });
        let is_short = state.queue.len() > state.idle && state.threads < self.config.threads_max;
        if !is_short {
            drop(state);
            self.work.notify_one();
            return Ok(number);
        }
        state.threads += 1;
        drop(state);
        self.start_thread(number)?;
        Ok(number)
    }

    /// Starts a thread; if that fails and there is no other, job `number` is refused, and who waits already is told.
    fn start_thread(self: &Arc<Pool>, number: u64) -> Result<(), SpawnError> {
        let (pool, processors) = (self.clone(), Processors::of_starter());
        let started = thread::Builder::new().name(self.config.thread_name.clone()).spawn(move || {
            processors.apply();
            pool.serve();
            pool.tell_end();
        });
        if started.is_ok() {
            return Ok(());
        }
        if self.uncount(number) { Err(SpawnError::NoThread) } else { Ok(()) }
    }

    /// A thread that was counted could not be started. If there is no other, nobody would run what waits: it is dropped, and
    /// true tells that job `number` was among it. (Another starter may have been told that this thread runs its job.)
    fn uncount(&self, number: u64) -> bool {
        let mut state = self.state();
        state.threads -= 1;
        if state.threads > 0 {
            return false;
        }
        let abandoned = mem::take(&mut state.queue);
        drop(state);
        self.ended.notify_all();
        let is_among = abandoned.iter().any(|job| job.number == number);
        abandoned.into_iter().for_each(drop_contained);
        self.tell_end();
        is_among
    }

    /// Drops a job that waits in the queue; false if it is no longer there.
    fn cancel(&self, number: u64) -> bool {
        let mut state = self.state();
        let Ok(position) = state.queue.binary_search_by_key(&number, |job| job.number) else { return false };
        let job = state.queue.remove(position);
        drop(state);
        drop_contained(job);
        true
    }

    /// What a thread of the pool does: run jobs until none has come for a while, or the pool is closed.
    fn serve(&self) {
        // Lanes are for the few threads that wake a worker often.
        use_overflow_only();
        SERVED.set(ptr::from_ref(self).addr());
        let mut state = self.state();
        while let (held, Some(Job { number, spawned_at, awaited, work, since: _ })) = self.next(state) {
            state = held;
            state.running.push(Running { number, spawned_at, since: Instant::now(), awaited });
            drop(state);
            work();
            state = self.state();
            state.running.retain(|running| running.number != number);
        }
    }

    /// The last thread of a closed pool tells who asked.
    fn tell_end(&self) {
        let on_end = {
            let mut state = self.state();
            if state.threads == 0 { state.on_end.take() } else { None }
        };
        if let Some(on_end) = on_end {
            on_end();
        }
    }

    /// Waits for a job. With `None` the thread has been taken off the count and must end.
    fn next<'a>(&'a self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, Option<Job>) {
        let mut give_up = None;
        loop {
            if let Some(job) = state.queue.pop_front() {
                return (state, Some(job));
            }
            let now = Instant::now();
            let give_up = *give_up.get_or_insert(now + self.config.keep_alive);
            if state.closed || now >= give_up {
                state.threads -= 1;
                self.ended.notify_all();
                return (state, None);
            }
            state.idle += 1;
            state = self.work.wait_timeout(state, give_up - now).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Pool")
            .field("threads", &state.threads)
            .field("idle", &state.idle)
            .field("queued", &state.queue.len())
            .field("closed", &state.closed)
            .finish()
    }
}

/// Waits for a blocking job and gives its result; may be sent to any thread.
///
/// Made by [`spawn_blocking`](crate::spawn_blocking). Dropping it lets the job run, detached.
///
/// # Errors
///
/// Awaiting it yields a [`JoinError`] when the job panicked, was aborted before it began, or was still queued
/// when its runtime ended.
///
/// # Panics
///
/// When it is polled again after it has given its result.
///
/// # Cancellation
///
/// Dropping it loses only the result.
#[must_use = "a detached job should be dropped on purpose"]
pub struct BlockingHandle<T> {
    meeting: Arc<Meeting<T>>,
    pool: Arc<Pool>,
    number: u64,
}

impl<T> BlockingHandle<T> {
    /// Takes the job back if no thread has begun it; one that runs cannot be interrupted and runs on.
    ///
    /// Awaiting the handle then yields a [`JoinError`] with `is_cancelled()`.
    pub fn abort(&self) {
        self.pool.cancel(self.number);
    }

    /// Whether the job has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.meeting.stage(), Stage::Waiting(_))
    }
}

impl<T> Drop for BlockingHandle<T> {
    /// Nobody waits for it any more, and a dump is not to say so.
    fn drop(&mut self) {
        let mut stage = self.meeting.stage();
        let former = match &mut *stage {
            Stage::Waiting(waker) => waker.take(),
            Stage::Done(_) | Stage::Taken => None,
        };
        drop(stage);
        drop(former);
    }
}

impl<T> Future for BlockingHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.meeting.stage();
        let former = match mem::replace(&mut *stage, Stage::Taken) {
            Stage::Done(result) => return Poll::Ready(result),
            Stage::Taken => panic!("a BlockingHandle was polled after it had given its result"),
            Stage::Waiting(Some(waker)) if waker.will_wake(context.waker()) => {
                *stage = Stage::Waiting(Some(waker));
                None
            }
            Stage::Waiting(former) => {
                *stage = Stage::Waiting(Some(context.waker().clone()));
                former
            }
        };
        drop(stage);
        drop(former);
        Poll::Pending
    }
}

impl<T> fmt::Debug for BlockingHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Where the result of a job and who waits for it meet.
struct Meeting<T> {
    stage: Mutex<Stage<T>>,
}

/// Tells who waits for a result without knowing its type.
trait Awaited: Send + Sync {
    fn waiter(&self) -> Option<Handle>;
}

impl<T: Send> Awaited for Meeting<T> {
    fn waiter(&self) -> Option<Handle> {
        match &*self.stage() {
            Stage::Waiting(waker) => waker.as_ref().and_then(handle_of),
            Stage::Done(_) | Stage::Taken => None,
        }
    }
}

enum Stage<T> {
    Waiting(Option<Waker>),
    Done(Result<T, JoinError>),
    Taken,
}

impl<T> Meeting<T> {
    fn stage(&self) -> MutexGuard<'_, Stage<T>> {
        // A waker's clone is the only foreign code under this lock; a stage is whole before and after it.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job's side of the meeting; dropped without a report, it reports a cancellation.
struct Completion<T> {
    meeting: Option<Arc<Meeting<T>>>,
}

impl<T> Completion<T> {
    fn report(&mut self, result: Result<T, JoinError>) {
        let Some(meeting) = self.meeting.take() else { return };
        let former = mem::replace(&mut *meeting.stage(), Stage::Done(result));
        // If nobody waits any more, the result ends here: its destructor is foreign code as well.
        drop_contained(meeting);
        if let Stage::Waiting(Some(waker)) = former {
            wake_contained(waker);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.report(Err(JoinError::cancelled()));
    }
}
