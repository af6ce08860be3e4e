//! A family of tasks that end together: none outlives its scope.
//!
//! A child stands in the scope's slab from spawn to the drop of its future, and takes itself off by a guard that is
//! dropped behind that future. A child on another worker is stood for by a task here that waits for it; to abort
//! it, that task sends word over and goes on waiting.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    rc::{self, Rc},
    task::{Context, Poll, Waker},
};

use thiserror::Error;

use crate::{
    contain::wake_contained,
    error::{JoinError, SpawnError},
    slab::{Key, Slab},
    task::{AbortHandle, Beside, JoinHandle, TaskId},
    worker::{
        cancel::CancellationToken,
        context,
        notes::{Awaits, Place, Source},
        remote::{self, RemoteJoinHandle},
    },
};

/// Tasks that end together: joined, closed or dropped, a scope leaves none of its children behind.
///
/// Its children are futures that are `'static`; they run as tasks of this worker, or of others by
/// [`spawn_on`](Scope::spawn_on). They return `()` or `Result<(), E>`. The first that fails or panics has its siblings
/// aborted, and is what [`join`](Scope::join) and [`close`](Scope::close) report. `E` is [`Infallible`] unless it is said
/// otherwise.
///
/// A scope belongs to its worker and is not `Send`.
///
/// # Cancellation
///
/// Dropping a scope, or a future of its `join` or `close`, aborts the children: those of this worker are dropped before
/// the drop returns, but for one that is itself dropping the scope; those of others are sent word.
///
/// # Examples
///
/// ```
/// use std::{io, time::Duration};
/// use wakering::{Scope, ScopeError, time::sleep};
///
/// wakering::run(async {
///     let scope: Scope<io::Error> = Scope::new();
///     scope.spawn(sleep(Duration::from_secs(3600)));
///     scope.spawn(async { Err(io::Error::other("the disk is full")) });
///     let error = scope.join().await.unwrap_err(); // the sleeper is gone by now
///     assert!(matches!(error, ScopeError::Failed(error) if error.to_string() == "the disk is full"));
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
pub struct Scope<E: 'static = Infallible> {
    family: Rc<Family<E>>,
}

/// Why a [`Scope`] ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScopeError<E> {
    /// A child returned an error.
    #[error("a task of the scope failed: {0}")]
    Failed(E),
    /// A child panicked.
    #[error("in a scope: {0}")]
    Panicked(JoinError),
    /// A child awaited the end of its own scope, and so of itself.
    #[error("a task of the scope waits for the end of the scope, and so for its own")]
    WaitsForItself,
}

/// What a child of a [`Scope`] may return: `()` or `Result<(), E>`. Nobody else implements it.
pub trait Outcome<E>: sealed::Sealed {
    #[doc(hidden)]
    fn into_error(self) -> Option<ScopeError<E>>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
    impl<E> Sealed for super::Remote<E> {}
}

impl<E> Outcome<E> for () {
    fn into_error(self) -> Option<ScopeError<E>> {
        None
    }
}

impl<E> Outcome<E> for Result<(), E> {
    fn into_error(self) -> Option<ScopeError<E>> {
        self.err().map(ScopeError::Failed)
    }
}

/// How a child on another worker ended.
pub(super) struct Remote<E>(Option<ScopeError<E>>);

impl<E> Outcome<E> for Remote<E> {
    fn into_error(self) -> Option<ScopeError<E>> {
        self.0
    }
}

/// What a scope and its children share.
struct Family<E> {
    children: RefCell<Slab<Child>>,
    first: RefCell<Option<ScopeError<E>>>,
    /// Who waits for the last child.
    waiter: Cell<Option<Waker>>,
    /// A child has failed, or the scope is being closed: nobody is taken in any more.
    ended: Cell<bool>,
    /// Tells the tasks that stand for children of other workers.
    remotes: CancellationToken,
}

struct Child {
    /// `None` only while it is being spawned.
    task: Option<JoinHandle<()>>,
    is_remote: bool,
}

impl<E: 'static> Scope<E> {
    /// A scope without children.
    #[must_use]
    pub fn new() -> Self {
        let family = Family {
            children: RefCell::new(Slab::new()),
            first: RefCell::new(None),
            waiter: Cell::new(None),
            ended: Cell::new(false),
            remotes: CancellationToken::new(),
        };
        Scope { family: Rc::new(family) }
    }

    /// Starts a child on this worker. In a scope where a child has failed it never runs.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> AbortHandle
    where
        F: Future + 'static,
        F::Output: Outcome<E>,
    {
        self.start(future, false, Location::caller())
    }

    /// Starts a child on worker `worker`; see [`Handle::spawn_on`](crate::Handle::spawn_on).
    ///
    /// # Errors
    ///
    /// As [`Handle::spawn_on`](crate::Handle::spawn_on).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn_on<M, F>(&self, worker: usize, make: M) -> Result<(), SpawnError>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Outcome<E> + Send,
    {
        let spawned = Location::caller();
        let task = context::with(|context| remote::spawn_on(context.shared(), worker, make, spawned))?;
        // Guarded before the first poll, which may never come.
        self.start(wait_for(Abort(task), self.family.remotes.clone()), true, spawned);
        Ok(())
    }

    /// How many children have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.family.children.borrow().len()
    }

    /// Whether all children have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until all children have ended.
    ///
    /// # Errors
    ///
    /// [`ScopeError`]: the first child that failed or panicked. Its siblings are aborted, and have ended. At once
    /// [`WaitsForItself`](ScopeError::WaitsForItself), in a child of this scope, whose siblings are aborted then.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the scope, which aborts the children.
    pub async fn join(self) -> Result<(), ScopeError<E>> {
        if self.family.is_own_child() {
            return Err(ScopeError::WaitsForItself);
        }
        let mut place = Place::default();
        poll_fn(|context| {
            if self.is_empty() {
                place.leave();
                return Poll::Ready(());
            }
            self.family.waiter.set(Some(context.waker().clone()));
            place.enter(|| {
                let family: rc::Weak<Family<E>> = Rc::downgrade(&self.family);
                Source::Tasks(family)
            });
            Poll::Pending
        })
        .await;
        self.family.first.take().map_or(Ok(()), Err)
    }

    /// Aborts all children and waits until they have ended: their futures are dropped by then.
    ///
    /// # Errors
    ///
    /// [`ScopeError`]: the first child that had failed or panicked before; or [`WaitsForItself`](ScopeError::WaitsForItself), as
    /// in [`join`](Scope::join).
    ///
    /// # Cancellation
    ///
    /// As [`join`](Scope::join).
    pub async fn close(self) -> Result<(), ScopeError<E>> {
        if !self.family.is_own_child() {
            self.family.end();
        }
        self.join().await
    }

    /// Shows the children of this worker.
    #[cfg_attr(not(feature = "message"), expect(dead_code, reason = "only servers of messages look"))]
    pub(crate) fn each(&self, mut show: impl FnMut(&JoinHandle<()>)) {
        self.family
            .children
            .borrow()
            .iter()
            .filter_map(|(_key, child)| child.task.as_ref())
            .for_each(&mut show);
    }

    fn start<F>(&self, future: F, is_remote: bool, spawned: &'static Location<'static>) -> AbortHandle
    where
        F: Future + 'static,
        F::Output: Outcome<E>,
    {
        let key = self.family.children.borrow_mut().insert(Child { task: None, is_remote });
        let child = Beside::new(Some(future), Member { family: self.family.clone(), key });
        let task = context::with(|context| context.tasks().spawn(child, None, spawned));
        let abort = task.abort_handle();
        if self.family.ended.get() {
            task.abort();
        }
        if let Some(child) = self.family.children.borrow_mut().get_mut(key) {
            child.task = Some(task);
        }
        abort
    }
}

impl<E: 'static> Default for Scope<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: 'static> Drop for Scope<E> {
    fn drop(&mut self) {
        self.family.ended.set(true);
        let children = std::mem::take(&mut *self.family.children.borrow_mut());
        for (_key, child) in children.iter() {
            if let Some(task) = &child.task {
                task.abort_now();
            }
        }
    }
}

impl<E: 'static> fmt::Debug for Scope<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scope").field("children", &self.len()).finish_non_exhaustive()
    }
}

impl<E> Family<E> {
    /// A child has failed: the first counts.
    fn fail(&self, error: ScopeError<E>) {
        let late = {
            let mut first = self.first.borrow_mut();
            if first.is_none() { first.replace(error) } else { Some(error) }
        };
        drop(late);
        self.end();
    }

    /// Whether the running task is a child.
    fn is_own_child(&self) -> bool {
        let running = context::try_with(|worker| worker.map_or(0, |it| it.tasks().running()));
        let children = self.children.borrow();
        running != 0
            && children.iter().any(|(_key, child)| {
                child.task.as_ref().is_some_and(|task| task.id() == TaskId::new(running))
            })
    }

    /// Has every child end: those here by a flag and a wake, those elsewhere by word.
    fn end(&self) {
        self.ended.set(true);
        for (_key, child) in self.children.borrow().iter() {
            if let (Some(task), false) = (&child.task, child.is_remote) {
                task.abort();
            }
        }
        self.remotes.cancel();
    }

    fn leave(&self, key: Key) {
        let left = self.children.borrow_mut().remove(key);
        drop(left);
        if self.children.borrow().is_empty() {
            // In a destructor, maybe of a task that unwinds: who waits may be a stranger.
            if let Some(waiter) = self.waiter.take() {
                wake_contained(waiter);
            }
        }
    }
}

impl<E> Awaits for Family<E> {
    fn awaited(&self) -> Vec<TaskId> {
        let children = self.children.borrow();
        children.iter().filter_map(|(_key, child)| child.task.as_ref().map(JoinHandle::id)).collect()
    }
}

/// A child's place in its scope, which it leaves when this is dropped, behind its future.
struct Member<E> {
    family: Rc<Family<E>>,
    key: Key,
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        self.family.leave(self.key);
    }
}

/// The future is dropped as soon as it is ready, so that a panic in there is known before the child is said to have ended.
impl<E, F> Future for Beside<Option<F>, Member<E>>
where
    F: Future,
    F::Output: Outcome<E>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (mut future, member) = self.project();
        let Some(running) = future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let error = match catch_unwind(AssertUnwindSafe(|| running.poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => outcome.into_error(),
            Err(payload) => Some(ScopeError::Panicked(JoinError::panicked(payload))),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| future.set(None)));
        let late = dropped.err().map(|payload| ScopeError::Panicked(JoinError::panicked(payload)));
        for error in [error, late].into_iter().flatten() {
            member.family.fail(error);
        }
        Poll::Ready(())
    }
}

/// Stands for a child on another worker.
async fn wait_for<E, O: Outcome<E>>(mut task: Abort<O>, told: CancellationToken) -> Remote<E> {
    let joined = match told.run_until_cancelled(&mut task.0).await {
        Some(joined) => joined,
        None => {
            task.0.abort();
            (&mut task.0).await
        }
    };
    Remote(match joined {
        Ok(outcome) => outcome.into_error(),
        Err(error) if error.is_panic() => Some(ScopeError::Panicked(error)),
        Err(_cancelled) => None,
    })
}

/// Sends word when it is dropped; to a task that has ended, that is nothing.
struct Abort<T>(RemoteJoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
