//! Waiting, from anywhere, for a task of another worker.
//!
//! Output and waker cross threads through queues of one place each. Who completes puts the output in, then
//! looks for a waker; who waits puts the waker in, then looks for the output; a fence between the two
//! steps on both sides makes sure that at least one of them sees the other.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Context, Poll, Waker},
};

use crossbeam_queue::ArrayQueue;

use crate::{
    contain::{drop_contained, wake_contained},
    error::{JoinError, SpawnError},
    slab::{Key, Slab},
    task::{TaskId, handle_of},
    wake::Handle,
    worker::{context, handle::Shared},
};

struct Meeting<T> {
    output: ArrayQueue<Result<T, JoinError>>,
    joiner: ArrayQueue<Waker>,
    task: ArrayQueue<Waker>,
    aborted: AtomicBool,
}

/// Tells who waits for a task's output without knowing its type.
pub(super) trait Awaited {
    /// For the thread of the task's worker alone, on which the task completes, too.
    fn waiter(&self) -> Option<Handle>;
}

impl<T> Awaited for Meeting<T> {
    fn waiter(&self) -> Option<Handle> {
        // Out and in again: nobody completes meanwhile, and whoever waits anew puts in a newer one, which stays.
        let joiner = self.joiner.pop()?;
        let handle = handle_of(&joiner);
        drop_contained(self.joiner.push(joiner));
        handle
    }
}

impl<T> Meeting<T> {
    fn complete(&self, output: Result<T, JoinError>) {
        let refused = self.output.push(output);
        debug_assert!(refused.is_ok(), "a task completes once");
        fence(Ordering::SeqCst); // PAIRS: the fence in RemoteJoinHandle::poll (output, then joiner)
        if let Some(joiner) = self.joiner.pop() {
            wake_contained(joiner);
        }
    }
}

/// Waits for a task that was started with `spawn_on`; may be sent to any thread.
///
/// # Errors
///
/// Awaiting it yields a [`JoinError`] when the task panicked or was aborted, or its runtime ended first.
///
/// # Panics
///
/// Never; polled again after its output was given, it waits for ever.
///
/// # Cancellation
///
/// Dropping it detaches the task.
pub struct RemoteJoinHandle<T> {
    meeting: Arc<Meeting<T>>,
}

impl<T> RemoteJoinHandle<T> {
    /// Asks the task's worker to end it; it is dropped there.
    pub fn abort(&self) {
        self.meeting.aborted.store(true, Ordering::Release); // PAIRS: Supervised::poll
        fence(Ordering::SeqCst); // PAIRS: the fence in Supervised::poll (flag, then the task's waker)
        if let Some(task) = self.meeting.task.pop() {
            task.wake();
        }
    }

    /// Whether the task's output has arrived.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.meeting.output.is_empty()
    }
}

impl<T> Future for RemoteJoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.meeting.output.pop() {
            return Poll::Ready(output);
        }
        drop(self.meeting.joiner.force_push(context.waker().clone()));
        fence(Ordering::SeqCst); // PAIRS: the fence in Meeting::complete (joiner, then output)
        match self.meeting.output.pop() {
            Some(output) => Poll::Ready(output),
            None => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for RemoteJoinHandle<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RemoteJoinHandle").field("finished", &self.is_finished()).finish()
    }
}

pub(super) fn spawn_on<M, F>(
    shared: &Shared,
    worker: usize,
    make: M,
    spawned: &'static Location<'static>,
) -> Result<RemoteJoinHandle<F::Output>, SpawnError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send,
{
    let meeting = Arc::new(Meeting {
        output: ArrayQueue::new(1),
        joiner: ArrayQueue::new(1),
        task: ArrayQueue::new(1),
        aborted: AtomicBool::new(false),
    });
    let guard = Guard { meeting: meeting.clone(), reported: false };
    let job = move || {
        context::with(|context| {
            let supervised = Supervised::new(make, guard);
            // Detached: the meeting is how its output is waited for.
            drop(context.tasks().spawn(supervised, None, spawned));
        });
    };
    shared.inject(worker, Box::new(job))?;
    Ok(RemoteJoinHandle { meeting })
}

/// Reports a cancellation, unless an output was reported first.
struct Guard<T> {
    meeting: Arc<Meeting<T>>,
    reported: bool,
}

impl<T> Guard<T> {
    fn complete(&mut self, output: Result<T, JoinError>) {
        self.reported = true;
        self.meeting.complete(output);
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if !self.reported {
            self.meeting.complete(Err(JoinError::cancelled()));
        }
    }
}

/// The tasks of a worker that other threads may wait for; for dumps.
#[derive(Default)]
pub(super) struct Supervisors {
    tasks: RefCell<Slab<(TaskId, Arc<dyn Awaited>)>>,
}

impl Supervisors {
    /// Which task waits for which.
    pub(super) fn waits(&self) -> Vec<(Handle, TaskId)> {
        let all: Vec<_> = self.tasks.borrow().iter().map(|(_, entry)| entry.clone()).collect();
        // Outside the borrow: a joiner that has been replaced meanwhile is dropped here, and it is foreign.
        let waits = all.iter().filter_map(|(task, meeting)| Some((meeting.waiter()?, *task))).collect();
        drop_contained(all);
        waits
    }
}

/// A place in the worker's table, given back when dropped.
struct Place(Key);

impl Place {
    fn enter(task: TaskId, meeting: Arc<dyn Awaited>) -> Self {
        Place(context::with(|worker| worker.supervisors().tasks.borrow_mut().insert((task, meeting))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let entry = context::try_with(|worker| worker?.supervisors().tasks.borrow_mut().remove(self.0));
        // Not while the table is borrowed: it may be the last owner of an output.
        drop(entry);
    }
}

/// The future on the owner's side: makes the caller's future there, and reports how it ended.
struct Supervised<M, F: Future> {
    place: Option<Place>,
    make: Option<M>,
    // In front of the guard, which reports when this is gone.
    future: Option<Pin<Box<F>>>,
    guard: Guard<F::Output>,
}

// Nothing in it is pinned: the caller's future lies in a box.
impl<M, F: Future> Unpin for Supervised<M, F> {}

impl<M, F> Supervised<M, F>
where
    M: FnOnce() -> F,
    F: Future + 'static,
{
    fn new(make: M, guard: Guard<F::Output>) -> Self {
        Supervised { place: None, make: Some(make), future: None, guard }
    }

    /// Lets dumps find who waits for the caller's task, which is this one.
    fn remember(&mut self) {
        if self.place.is_none() {
            let meeting: Arc<dyn Awaited> = self.guard.meeting.clone();
            let own = context::with(|worker| TaskId::new(worker.tasks().running()));
            self.place = Some(Place::enter(own, meeting));
        }
    }

    /// Drops the future, then reports; a panic of its destructor is how the task ended.
    fn finish(&mut self, result: Result<F::Output, JoinError>) -> Poll<()> {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(self.future.take())));
        match dropped {
            Ok(()) => self.guard.complete(result),
            Err(payload) => {
                self.guard.complete(Err(JoinError::panicked(payload)));
                // Its destructor is the caller's, and there has been one panic.
                drop_contained(result);
            }
        }
        Poll::Ready(())
    }
}

impl<M, F> Future for Supervised<M, F>
where
    M: FnOnce() -> F,
    F: Future + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(make) = this.make.take() {
            // PAIRS: RemoteJoinHandle::abort's Release
            if this.guard.meeting.aborted.load(Ordering::Acquire) {
                // What it holds is gone before anybody hears of the end.
                drop_contained(make);
                return this.finish(Err(JoinError::cancelled()));
            }
            match catch_unwind(AssertUnwindSafe(|| Box::pin(make()))) {
                Ok(future) => this.future = Some(future),
                Err(payload) => return this.finish(Err(JoinError::panicked(payload))),
            }
        }
        drop(this.guard.meeting.task.force_push(context.waker().clone()));
        fence(Ordering::SeqCst); // PAIRS: the fence in RemoteJoinHandle::abort (task's waker, then flag)
        this.remember();
        if this.guard.meeting.aborted.load(Ordering::Acquire) {
            return this.finish(Err(JoinError::cancelled())); // PAIRS: RemoteJoinHandle::abort's Release
        }
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => this.finish(Ok(output)),
            Err(payload) => this.finish(Err(JoinError::panicked(payload))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::run;

    /// Foreign code that runs when a dump asks who waits: it comes back to the table.
    struct Reenters;

    impl Awaited for Reenters {
        fn waiter(&self) -> Option<Handle> {
            drop(Place::enter(TaskId::new(2), Arc::new(Reenters)));
            None
        }
    }

    #[test]
    fn who_is_asked_for_a_dump_may_enter_the_table_and_leave_it() {
        run(async {
            let place = Place::enter(TaskId::new(1), Arc::new(Reenters));
            context::with(|worker| assert_eq!(worker.supervisors().waits(), []));
            drop(place);
        })
        .unwrap();
    }
}
