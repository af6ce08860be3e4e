//! What a worker owns, and how the code that runs on it gets there.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    mem,
    panic::Location,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;

use crate::{
    clock::{Clock, tick_end},
    contain::drop_contained,
    error::{RuntimeError, SpawnError},
    limits::{HUGE_FUTURE, IDLE_OUTPUTS, OUTPUT_KEPT, SCRATCH_BLOCK, SCRATCH_BLOCKS, SCRATCH_LEAST},
    reactor::Reactor,
    task::{JoinHandle, Scoped, Tasks},
    trace,
    wake::{self, Entry},
    worker::{
        dump::Informants,
        ending::Ending,
        handle::Shared,
        inject::Injector,
        meter::Meter,
        notes::Notes,
        remote::{self, RemoteJoinHandle, Supervisors},
        stop::Progress,
    },
};

thread_local! {
    static CURRENT: Scoped<Context> = const { Scoped::new() };
}

/// Something with bytes to write: it is asked once, after the tasks of a turn.
pub(crate) trait Flush {
    fn flush(self: Rc<Self>);
}

/// Everything that belongs to one worker.
pub(crate) struct Context {
    pub(super) entry: &'static Entry,
    /// Its number in the runtime.
    pub(super) index: usize,
    pub(super) ending: Ending,
    pub(super) tasks: Rc<Tasks>,
    pub(super) injector: Arc<Injector>,
    reactor: Rc<Reactor>,
    clock: Clock,
    shared: Arc<Shared>,
    notes: Notes,
    informants: Informants,
    supervisors: Supervisors,
    pub(super) meter: Arc<Meter>,
    pub(super) unlooked: Cell<usize>,
    /// Since when nothing has been runnable, while the worker spins.
    pub(super) spinning: Cell<Option<u64>>,
    pub(super) flush_list: RefCell<Vec<Rc<dyn Flush>>>,
    /// Empty while it is lent.
    scratch: Cell<Option<BytesMut>>,
    /// Blocks that were the scratch before, oldest first: who holds pieces of them may let go of them yet.
    blocks: RefCell<Vec<BytesMut>>,
    /// Output memory that no connection uses now.
    outputs: RefCell<Vec<Vec<u8>>>,
}

/// Lends the current worker's context.
///
/// # Panics
///
/// Outside a runtime.
#[track_caller]
pub(crate) fn with<R>(body: impl FnOnce(&Context) -> R) -> R {
    try_with(|context| match context {
        Some(context) => body(context),
        None => panic!("this needs a running wakering runtime: call it from inside `block_on` or a task"),
    })
}

/// Lends the current worker's context, if there is one.
pub(crate) fn try_with<R>(body: impl FnOnce(Option<&Context>) -> R) -> R {
    CURRENT.with(|current| current.with(body))
}

impl Context {
    /// Builds worker `index` of a runtime, on the thread that it will run on.
    pub(super) fn new(shared: &Arc<Shared>, index: usize) -> Result<Self, RuntimeError> {
        let reach = &shared.workers[index];
        let entry = reach.entry;
        let clock = shared.life.clock().clone();
        reach.published.set_turn_time(clock.now());
        let reactor = Rc::new(Reactor::new(shared.tuning.event_batch)?);
        entry.open(reactor.bell());
        let tasks = Rc::new(Tasks::new(entry, reach.published.clone()));
        shared.watch.apply(&tasks, index);
        let context = Context {
            entry,
            index,
            ending: Ending::default(),
            tasks,
            injector: reach.injector.clone(),
            reactor,
            clock,
            shared: shared.clone(),
            notes: Notes::default(),
            informants: Informants::default(),
            supervisors: Supervisors::default(),
            meter: reach.meter.clone(),
            unlooked: Cell::new(0),
            spinning: Cell::new(None),
            flush_list: RefCell::default(),
            scratch: Cell::default(),
            blocks: RefCell::default(),
            outputs: RefCell::default(),
        };
        if let Err(error) = shared.tuning.apply(&context) {
            context.entry.close();
            return Err(error.into());
        }
        Ok(context)
    }

    /// Makes this worker current while `body` runs.
    pub(super) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        CURRENT.with(|current| current.enter(self, || self.tasks.enter(body)))
    }

    pub(crate) fn tasks(&self) -> &Rc<Tasks> {
        &self.tasks
    }

    pub(crate) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its number in the runtime.
    #[cfg_attr(not(feature = "message"), expect(dead_code, reason = "only servers of messages say it"))]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Nanoseconds since the clock's origin, read now.
    pub(crate) fn now(&self) -> u64 {
        let now = self.clock.now();
        self.tasks.published().set_turn_time(now);
        now
    }

    /// The time when the clock was last read: at most a turn old. For deadlines that may be late by that.
    pub(crate) fn turn_time(&self) -> u64 {
        self.tasks.published().turn_time()
    }

    pub(super) fn supervisors(&self) -> &Supervisors {
        &self.supervisors
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Who is asked for a dump.
    pub(crate) fn informants(&self) -> &Informants {
        &self.informants
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks for `connection` to be flushed after the tasks of this turn. The caller asks once a turn.
    pub(crate) fn flush_later(&self, connection: Rc<dyn Flush>) {
        self.flush_list.borrow_mut().push(connection);
    }

    /// Lends the worker's read buffer, with at least [`SCRATCH_LEAST`] bytes of room.
    ///
    /// What was split off it and is still referenced stays valid: a block in use is replaced, not reused.
    pub(crate) fn with_scratch<R>(&self, body: impl FnOnce(&mut BytesMut) -> R) -> R {
        let mut scratch = self.scratch.take().unwrap_or_else(|| BytesMut::with_capacity(SCRATCH_BLOCK));
        scratch.clear();
        if scratch.capacity() < SCRATCH_LEAST && !scratch.try_reclaim(SCRATCH_BLOCK) {
            self.replace_block(&mut scratch);
        }
        let result = body(&mut scratch);
        self.scratch.set(Some(scratch));
        result
    }

    /// Puts a block whose pieces are still read aside, and takes the one that was so last and is no more: its memory is
    /// there, and likely in a cache.
    #[cold]
    fn replace_block(&self, scratch: &mut BytesMut) {
        let mut blocks = self.blocks.borrow_mut();
        let free = blocks.iter_mut().rposition(|block| block.try_reclaim(SCRATCH_BLOCK));
        let next = free.map_or_else(|| BytesMut::with_capacity(SCRATCH_BLOCK), |at| blocks.remove(at));
        if blocks.len() == SCRATCH_BLOCKS {
            drop(blocks.remove(0)); // whoever holds its last piece frees it
        }
        blocks.push(mem::replace(scratch, next));
    }

    /// Lends memory for a connection's output, if there is some.
    pub(crate) fn lend_output(&self) -> Option<Vec<u8>> {
        self.outputs.borrow_mut().pop()
    }

    /// Takes memory back that a connection has written out.
    pub(crate) fn return_output(&self, memory: Vec<u8>) {
        let mut outputs = self.outputs.borrow_mut();
        if outputs.len() < IDLE_OUTPUTS && memory.capacity() <= OUTPUT_KEPT {
            outputs.push(memory);
        }
    }

    /// Ends everything that lives on this worker. The reactor works until the last task is dropped.
    pub(super) fn end(&self) {
        if self.ending.has_ended.replace(true) {
            return;
        }
        trace::runtime_phase("a worker drops its tasks");
        self.enter(|| {
            self.injector.close();
            self.tasks.close();
            // Not while the list is borrowed: who is dropped may ask to be flushed.
            let unflushed = self.flush_list.take();
            drop_contained(unflushed);
            self.tasks.close();
        });
        self.shared.settle(self.index, Progress::Ended);
        if self.clock().manual_clock().is_some() {
            self.shared.notify_all();
        }
    }

    /// As `end`, and gives back what belongs to the process.
    pub(super) fn close(&self) {
        let closing = Closing(self);
        self.end();
        drop(closing);
        trace::runtime_phase("a worker has ended");
    }

    /// How long the selector may sleep, if only timers count.
    pub(super) fn until_next_deadline(&self) -> Option<Duration> {
        let wake_at = tick_end(self.reactor.next_deadline()?);
        Some(Duration::from_nanos(wake_at.saturating_sub(self.turn_time())))
    }
}

/// Gives back what belongs to the process when it is dropped, also by a panic of what ended before: nobody may ring a bell whose
/// descriptor is closed.
struct Closing<'a>(&'a Context);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.ending.is_closed.set(true);
        self.0.entry.close();
        self.0.reactor.close();
        self.0.entry.release();
    }
}

/// Takes one unit of the running task's budget; when none is left the task is queued again and the caller
/// must return `Pending`.
pub(crate) fn spend(context: &std::task::Context<'_>) -> bool {
    let granted = try_with(|worker| worker.is_none_or(|worker| worker.tasks.spend()));
    if !granted {
        context.waker().wake_by_ref();
    }
    granted
}

/// Starts a task on the current worker. It need not be `Send`, and never leaves this thread.
///
/// The task is polled when the run queue comes to it, first in, first out. Futures larger than 16 KiB are
/// boxed.
///
/// # Panics
///
/// Outside a runtime, and when the worker has 2^24 tasks. A panic *inside* the task ends that task only,
/// and is what its [`JoinHandle`] yields.
///
/// # Cancellation
///
/// Dropping the handle detaches the task; [`JoinHandle::abort`] ends it. When the runtime is dropped, its
/// tasks are dropped on their own worker. Spawning while that happens yields a task that is cancelled at once.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// wakering::run(async {
///     let count = Rc::new(Cell::new(0));
///     let shared = count.clone();
///     wakering::spawn(async move { shared.set(1) }).await.expect("no panic, no abort");
///     assert_eq!(count.get(), 1);
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    spawn_called(future, None, Location::caller())
}

/// As [`spawn`], for tasks that somebody else asked for, at `spawned`.
pub(crate) fn spawn_at<F>(future: F, spawned: &'static Location<'static>) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    spawn_called(future, None, spawned)
}

#[inline]
fn spawn_called<F>(
    future: F,
    name: Option<Arc<str>>,
    spawned: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    if size_of::<F>() > HUGE_FUTURE {
        // Before anything else: each call that passes it on by value would have another copy on the stack.
        let future = Box::pin(future);
        return with(|context| context.tasks.spawn(future, name, spawned));
    }
    with(|context| context.tasks.spawn(future, name, spawned))
}

/// Starts a task that has a name; otherwise as [`spawn`].
///
/// Dumps, reports of stalls and the spans and events of the feature `tracing` show the name. A task without one costs nothing for it; this one a lock that
/// nobody else holds, when it is spawned and when it ends.
///
/// # Panics
///
/// As [`spawn`].
///
/// # Cancellation
///
/// As [`spawn`].
///
/// # Examples
///
/// ```
/// wakering::run(async {
///     let task = wakering::spawn_named("reaper", std::future::pending::<()>());
///     wakering::yield_now().await;
///     let dump = wakering::Handle::current().dump();
///     assert_eq!(dump.task(task.id()).and_then(|task| task.name.as_deref()), Some("reaper"));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[track_caller]
pub fn spawn_named<F>(name: impl Into<Arc<str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    spawn_called(future, Some(name.into()), Location::caller())
}

/// Starts a task on worker `worker` of the current runtime; see [`Handle::spawn_on`](crate::Handle::spawn_on).
///
/// # Errors
///
/// As [`Handle::spawn_on`](crate::Handle::spawn_on).
///
/// # Panics
///
/// Outside a runtime.
#[track_caller]
pub fn spawn_on<M, F>(worker: usize, make: M) -> Result<RemoteJoinHandle<F::Output>, SpawnError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send,
{
    let spawned = Location::caller();
    with(|context| remote::spawn_on(&context.shared, worker, make, spawned))
}

/// Takes one of the worker ids of the process.
pub(super) fn claim() -> Result<&'static Entry, RuntimeError> {
    wake::claim().map_err(|_full| RuntimeError::TableFull)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::run;

    /// A connection with output whose destructor has something to write again, then panics.
    struct Returns(u32, Rc<Cell<u32>>);

    impl Flush for Returns {
        fn flush(self: Rc<Self>) {}
    }

    impl Drop for Returns {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            if self.0 > 0 {
                with(|context| context.flush_later(Rc::new(Returns(0, self.1.clone()))));
                panic!("in a destructor, as expected");
            }
        }
    }

    #[test]
    fn what_is_left_to_flush_at_the_end_may_ask_again_and_panic_when_it_is_dropped() {
        let drops = Rc::new(Cell::new(0));
        let seen = drops.clone();
        run(async move {
            // By a task that never runs again, so that the flush of this turn does not take it.
            let last = Returns(1, seen);
            let list = |context: &Context| context.flush_later(Rc::new(last));
            let at_end = OnDrop(Some(list));
            drop(crate::worker::spawn(async move {
                let _at_end = at_end;
                std::future::pending::<()>().await;
            }));
            crate::worker::yield_now().await;
        })
        .unwrap();
        assert_eq!(drops.get(), 2);
    }

    struct OnDrop<F: FnOnce(&Context)>(Option<F>);

    impl<F: FnOnce(&Context)> Drop for OnDrop<F> {
        fn drop(&mut self) {
            with(self.0.take().expect("it is dropped once"));
        }
    }
}
