//! Waiting for a task's output.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use crate::{
    contain::drop_contained,
    error::JoinError,
    task::{
        cell::{Header, Runnable, TaskCell},
        table,
    },
    wake::Handle,
};

/// Names a task; never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskId(u64);

impl TaskId {
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    pub(crate) const fn new(id: u64) -> Self {
        TaskId(id)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", self.0)
    }
}

/// Waits for a task of the same worker and gives its output.
///
/// Made by [`spawn`](crate::spawn). Dropping it lets the task run on, detached, as in `std::thread`.
///
/// # Errors
///
/// Awaiting it yields a [`JoinError`] when the task panicked or was aborted, and at once when a task awaits itself.
///
/// # Panics
///
/// When it is polled again after it has given its output.
///
/// # Cancellation
///
/// Dropping a `JoinHandle` while it waits loses only the output; the task runs on.
///
/// # Examples
///
/// ```
/// let sum = wakering::run(async {
///     let task = wakering::spawn(async { 20 + 22 });
///     task.await.expect("the task neither panics nor is aborted")
/// })?;
/// assert_eq!(sum, 42);
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub struct JoinHandle<T> {
    task: Rc<dyn Joinable<T>>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new<F>(task: Rc<TaskCell<F>>) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        JoinHandle { task }
    }

    /// Ends the task: its future is dropped, on its own worker, when the worker comes to it.
    ///
    /// Awaiting the handle then yields [`JoinError`] with `is_cancelled()`, unless the task had ended before.
    /// A task that aborts itself ends at its next `await` that is not ready.
    pub fn abort(&self) {
        self.task.header().cancel();
    }

    /// Ends the task here and now: its future is dropped before this returns, unless it is being polled.
    pub(crate) fn abort_now(&self) {
        // The word first: it brings the slot to the table, which finds the task ended and gives the slot back.
        self.abort();
        let task = self.task.clone();
        let (id, spawned) = (task.header().id(), task.header().spawned());
        table::with_current(|tasks| match tasks {
            Some(tasks) => tasks.charged(id, spawned, || task.abandon()),
            None => task.abandon(),
        });
    }

    /// What ends the task without waiting for it.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { id: self.id(), task: Rc::downgrade(&self.task.clone().runnable()) }
    }

    /// Names the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId(self.task.header().id())
    }

    /// Whether the task has ended, in whatever way.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.header().is_finished()
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.task.header().spawned()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll_join(context)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JoinHandle").field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}

/// Ends a task of the same worker and cannot wait for it; made by [`JoinHandle::abort_handle`].
///
/// It keeps the task's memory, without what was in it, until it is dropped.
#[derive(Clone)]
pub struct AbortHandle {
    id: TaskId,
    /// Gone when nobody can join the task any more that has ended.
    task: Weak<dyn Runnable>,
}

impl AbortHandle {
    /// Ends the task, as [`JoinHandle::abort`].
    pub fn abort(&self) {
        if let Some(task) = self.task.upgrade() {
            task.header().cancel();
        }
    }

    /// Names the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Whether the task has ended, in whatever way.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.upgrade().is_none_or(|task| task.header().is_finished())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// A task as its `JoinHandle` sees it.
trait Joinable<T> {
    fn poll_join(&self, context: &Context<'_>) -> Poll<Result<T, JoinError>>;
    fn header(&self) -> &Header;
    fn abandon(&self);
    fn runnable(self: Rc<Self>) -> Rc<dyn Runnable>;
}

impl<F: Future + 'static> Joinable<F::Output> for TaskCell<F> {
    fn poll_join(&self, context: &Context<'_>) -> Poll<Result<F::Output, JoinError>> {
        TaskCell::poll_join(self, context)
    }

    fn header(&self) -> &Header {
        TaskCell::header(self)
    }

    fn abandon(&self) {
        TaskCell::abandon(self);
    }

    fn runnable(self: Rc<Self>) -> Rc<dyn Runnable> {
        self
    }
}

impl<F: Future> Runnable for TaskCell<F> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        TaskCell::poll(self, context)
    }

    fn abandon(&self) {
        TaskCell::abandon(self);
    }

    fn gives_slot_back(&self) -> bool {
        true
    }

    fn joiner(&self) -> Option<Handle> {
        TaskCell::joiner(self)
    }

    fn retire(self: Rc<Self>) {
        // The last owner drops the output nobody joined for.
        drop_contained(self);
    }

    fn header(&self) -> &Header {
        TaskCell::header(self)
    }
}
