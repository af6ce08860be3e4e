//! The end of a server or a node on its worker, and who waits for it.
//!
//! ```text
//! Serving ──the word──► handlers at work are answered ──► only handlers that wait for this are left ──► ended
//! ```

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    slab::{self, Slab},
    task::JoinHandle,
    time::{timeout, timeout_at},
    worker::{self, CancellationToken, context},
};

/// What a server or a node left behind when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that it served; none over datagrams.
    pub accepted: u64,
    /// Connections that the grace was too short for; handlers, over datagrams.
    pub aborted: usize,
}

/// A handler cannot wait for the end of its own server or node, which waits for the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handler cannot wait for the end of its own server or node")]
#[non_exhaustive]
pub struct WaitsForItself;

/// The handlers at work of one node.
#[derive(Default)]
pub(super) struct Work {
    /// By their tasks.
    handlers: RefCell<Slab<u64>>,
    /// Those that wait for the end of their own node.
    waiting: Cell<usize>,
    waiters: RefCell<Vec<Waker>>,
}

impl Work {
    pub(super) fn begin(self: &Rc<Self>) -> AtWork {
        let key = self.handlers.borrow_mut().insert(running());
        AtWork { work: self.clone(), key }
    }

    fn is_own(&self, task: u64) -> bool {
        task != 0 && self.handlers.borrow().iter().any(|(_, handler)| *handler == task)
    }

    fn is_quiet(&self) -> bool {
        self.handlers.borrow().len() == self.waiting.get()
    }

    /// Waits until no handler is at work but those that wait like this one.
    async fn quiet(&self) {
        poll_fn(|context| {
            if self.is_quiet() {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|waiter| waiter.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn changed(&self) {
        if !self.waiters.borrow().is_empty() {
            let waiters = self.waiters.take();
            waiters.into_iter().for_each(Waker::wake);
        }
    }
}

/// A handler at work.
pub(super) struct AtWork {
    work: Rc<Work>,
    key: slab::Key,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.work.handlers.borrow_mut().remove(self.key);
        self.work.changed();
    }
}

/// A handler that waits for the end of its own node.
pub(super) struct Waits(Rc<Work>);

impl Waits {
    fn new(work: &Rc<Work>) -> Waits {
        work.waiting.set(work.waiting.get() + 1);
        work.changed();
        Waits(work.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// How far a server or a node has come, and its task.
pub(super) struct Ending {
    pub(super) stopping: CancellationToken,
    closed: CancellationToken,
    outcome: Cell<Stopped>,
    task: RefCell<Option<JoinHandle<()>>>,
    work: Rc<Work>,
    /// Says what is to be said before an abortion, and counts what that ends.
    abort: Box<dyn Fn() -> usize>,
}

impl Ending {
    pub(super) fn new(work: Rc<Work>, abort: impl Fn() -> usize + 'static) -> Rc<Ending> {
        Rc::new(Ending {
            stopping: CancellationToken::new(),
            closed: CancellationToken::new(),
            outcome: Cell::default(),
            task: RefCell::default(),
            work,
            abort: Box::new(abort),
        })
    }

    /// Has the node live in this task; it is closed when the task has ended, in whatever way.
    #[track_caller]
    pub(super) fn start(&self, run: impl Future<Output = ()> + 'static) {
        let closed = self.closed.clone();
        let guard = closed.drop_guard();
        let task = worker::spawn(async move {
            let _closed = guard;
            run.await;
        });
        self.task.replace(Some(task));
    }

    pub(super) fn accepted(&self, accepted: u64) {
        self.outcome.set(Stopped { accepted, ..self.outcome.get() });
    }

    pub(super) async fn shutdown(self: &Rc<Self>, grace: Duration) -> Stopped {
        self.stopping.cancel();
        if !self.work.is_own(running()) {
            if timeout(grace, self.closed.cancelled()).await.is_err() {
                self.abort();
                self.closed.cancelled().await;
            }
            return self.outcome.get();
        }
        let until = Instant::now().checked_add(grace);
        let waits = Waits::new(&self.work);
        if timeout(grace, self.quiet()).await.is_err() {
            // This handler ends with the others.
            self.abort();
        }
        drop(waits);
        // It may be slow to end, too.
        let ending = self.clone();
        let closed = async move {
            let is_late = match until {
                Some(until) => timeout_at(until, ending.closed.cancelled()).await.is_err(),
                None => false,
            };
            if is_late {
                ending.abort();
            }
        };
        worker::spawn(closed);
        self.outcome.get()
    }

    pub(super) async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        if self.is_inside() {
            return Err(WaitsForItself);
        }
        self.closed.cancelled().await;
        Ok(self.outcome.get())
    }

    /// Whether a handler of this node runs now.
    pub(super) fn is_inside(&self) -> bool {
        !self.closed.is_cancelled() && self.work.is_own(running())
    }

    /// Notes that the handler that runs now waits for the end, if it is one of this node's; others do not wait for it then.
    pub(super) fn wait_inside(&self) -> Option<Waits> {
        self.is_inside().then(|| Waits::new(&self.work))
    }

    /// Waits until no handler is at work but those that wait for the end.
    pub(super) async fn quiet(&self) {
        let _quiet_or_closed = self.closed.run_until_cancelled(self.work.quiet()).await;
    }

    fn abort(&self) {
        let task = self.task.take();
        if let Some(task) = task {
            let aborted = (self.abort)();
            self.outcome.set(Stopped { aborted, ..self.outcome.get() });
            task.abort();
        }
    }
}

/// The task that runs; 0 outside of any.
fn running() -> u64 {
    context::try_with(|worker| worker.map_or(0, |it| it.tasks().running()))
}
