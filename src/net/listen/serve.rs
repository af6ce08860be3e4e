//! A task for each connection, and their end.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{Listen, Listener, Permit, hand_over, room::Room};
use crate::{
    slab::{Key, Slab},
    task::{Beside, JoinHandle},
    worker::{Handle, context::spawn_at, timer::Timer},
};

/// How an accept loop came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections that were served.
    pub accepted: u64,
    /// Connections that were closed because of the limit.
    pub refused: u64,
    /// Connections that were closed because there was no descriptor for them.
    pub shed: u64,
    /// Connections that the grace was too short for: their tasks were aborted, or never begun.
    pub aborted: usize,
}

impl<L: Listener, U: Future> Listen<L, U> {
    /// Serves each connection in a task of its own, until the stop, or until [the runtime is to end](crate::Handle::shutdown); then lets them finish for the
    /// [grace](Listen::grace), and aborts those that are left.
    ///
    /// `serve` is called on this worker and makes the task's future, whose output is dropped. A panic in either ends that
    /// connection alone.
    ///
    /// # Errors
    ///
    /// Only what makes the listener useless, see [`TcpListener::accept`](crate::net::TcpListener::accept); connections are
    /// aborted then.
    ///
    /// # Cancellation
    ///
    /// The port is closed, connections that were queued are reset, and those that are served are aborted.
    #[track_caller]
    pub fn serve<S, F>(self, serve: S) -> impl Future<Output = io::Result<Served>>
    where
        S: FnMut(L::Stream, L::Peer) -> F,
        F: Future + 'static,
    {
        self.serve_at(serve, Location::caller())
    }

    async fn serve_at<S, F>(self, mut serve: S, spawned: &'static Location<'static>) -> io::Result<Served>
    where
        S: FnMut(L::Stream, L::Peer) -> F,
        F: Future + 'static,
    {
        let (when_full, grace) = (self.when_full, self.grace);
        let room = Room::new(self.limit);
        let open = AbortAtEnd(Open::new());
        let mut take = |stream, peer, permit| {
            // A panic has been told by its hook; the stream went with the call.
            if let Ok(future) = catch_unwind(AssertUnwindSafe(|| serve(stream, peer))) {
                open.0.begin(future, permit, spawned);
            }
        };
        let Listen { listener, limit, when_full: _, grace: _, until } = self;
        let accepting = Listen { listener, limit, when_full, grace, until: or_the_end(until) };
        let (_said, mut queued) = accepting.accept_all(&room, &mut take).await?;
        let over = Timer::after(grace);
        let finished = async {
            hand_over(&mut queued, when_full, &room, &mut take).await;
            open.0.none().await;
        };
        let mut aborted = 0;
        if !in_time(finished, over).await {
            aborted = queued.len() + open.0.abort();
            drop(queued);
            open.0.none().await;
        }
        let (accepted, refused, shed) = (open.0.accepted.get(), room.refused(), room.shed());
        Ok(Served { accepted, refused, shed, aborted })
    }
}

/// Waits for `stop`, or until somebody has the runtime end.
async fn or_the_end(stop: impl Future) {
    let runtime = Handle::current();
    let (mut stop, mut end) = (pin!(stop), pin!(runtime.stopping()));
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(_said) => Poll::Ready(()),
        Poll::Pending => end.as_mut().poll(cx),
    })
    .await;
}

/// Whether `future` ends before `limit` is over.
async fn in_time(future: impl Future<Output = ()>, limit: Timer) -> bool {
    let (mut future, mut limit) = (pin!(future), limit);
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        limit.poll_elapsed(cx).map(|()| false)
    })
    .await
}

/// The connections that are served now.
struct Open<T> {
    tasks: RefCell<Slab<Option<JoinHandle<T>>>>,
    accepted: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
}

impl<T: 'static> Open<T> {
    fn new() -> Rc<Self> {
        Rc::new(Open { tasks: RefCell::default(), accepted: Cell::new(0), waiting: RefCell::default() })
    }

    fn begin(
        self: &Rc<Self>,
        serve: impl Future<Output = T> + 'static,
        permit: Permit,
        spawned: &'static Location<'static>,
    ) {
        self.accepted.set(self.accepted.get() + 1);
        let key = self.tasks.borrow_mut().insert(None);
        let leaving = Leaving { open: self.clone(), key, _permit: permit };
        // An async block would hold the future twice.
        let task = spawn_at(Beside::new(serve, leaving), spawned);
        if let Some(place) = self.tasks.borrow_mut().get_mut(key) {
            *place = Some(task);
        }
    }

    fn abort(&self) -> usize {
        let tasks = self.tasks.borrow();
        tasks.iter().filter_map(|(_key, task)| task.as_ref()).for_each(JoinHandle::abort);
        tasks.len()
    }

    async fn none(&self) {
        poll_fn(|cx| {
            if self.tasks.borrow().is_empty() {
                return Poll::Ready(());
            }
            drop(self.waiting.replace(Some(cx.waker().clone())));
            Poll::Pending
        })
        .await;
    }
}

/// Takes a connection off the list, however its task ends. The permit goes last.
struct Leaving<T> {
    open: Rc<Open<T>>,
    key: Key,
    _permit: Permit,
}

impl<F: Future> Future for Beside<F, Leaving<F::Output>> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().0.poll(context)
    }
}

impl<T> Drop for Leaving<T> {
    fn drop(&mut self) {
        let task = self.open.tasks.borrow_mut().remove(self.key);
        drop(task);
        if self.open.tasks.borrow().is_empty() {
            let waiting = self.open.waiting.take();
            if let Some(waiting) = waiting {
                waiting.wake();
            }
        }
    }
}

/// No connection outlives its loop.
struct AbortAtEnd<T: 'static>(Rc<Open<T>>);

impl<T> Drop for AbortAtEnd<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
