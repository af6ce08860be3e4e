//! The end of a server or a node on its worker: its handlers at work, and the warden, who sees to it that the end comes.
//!
//! ```text
//! the word ──► the warden has a deadline ──► all is done before it
//!                                        └─► what is late is aborted, last of all the handlers that wait for the end
//! ```

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    rc::Rc,
    sync::{self, Arc},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    limits::SHUTDOWN_SLACK,
    message::life::{Life, News, Progress, ServerHandle, Stopped},
    proto::message::Kind,
    slab::{self, Slab},
    task::{JoinHandle, TaskId},
    time::{self, timeout, timeout_at},
    trace,
    worker::{self, Handle, context, dump::Told},
};

/// The handlers at work of one node.
#[derive(Default)]
pub(super) struct Work {
    /// By their tasks.
    handlers: RefCell<Slab<u64>>,
    /// What those of them work on that wait, and in which tasks.
    waits: RefCell<Slab<(u64, Subject)>>,
    /// Looks again when one has ended.
    warden: RefCell<Option<Waker>>,
    life: RefCell<sync::Weak<Life>>,
}

impl Work {
    pub(super) fn begin(self: &Rc<Self>) -> AtWork {
        let key = self.handlers.borrow_mut().insert(running());
        AtWork { work: self.clone(), key, subject: None }
    }

    /// How far their node has come.
    pub(super) fn ends_with(&self, life: &Arc<Life>) {
        self.life.replace(Arc::downgrade(life));
    }

    /// The tasks that wait for the node's end.
    pub(super) fn awaited_by(&self) -> Vec<TaskId> {
        let life = self.life.borrow().upgrade();
        life.map_or_else(Vec::new, |life| life.waiting())
    }

    /// Says in dumps what handlers that wait work on.
    pub(super) fn tell(&self, told: &mut Told) {
        let Ok(waits) = self.waits.try_borrow() else { return };
        for (_, (task, subject)) in waits.iter() {
            told.works(TaskId::new(*task), subject.to_string());
        }
    }

    /// Whether this task is a handler.
    pub(super) fn is_own(&self, task: u64) -> bool {
        task != 0 && self.handlers.borrow().iter().any(|(_, handler)| *handler == task)
    }

    /// Whether no handler is at work but these.
    fn is_quiet(&self, exempt: &[u64]) -> bool {
        self.handlers.borrow().iter().all(|(_, handler)| exempt.contains(handler))
    }

    #[cold]
    fn forget(&self, subject: slab::Key) {
        let forgotten = self.waits.borrow_mut().remove(subject);
        drop(forgotten);
    }

    #[inline]
    fn changed(&self) {
        if self.warden.borrow().is_some() {
            let warden = self.warden.take();
            warden.into_iter().for_each(Waker::wake);
        }
    }
}

/// A handler at work.
pub(super) struct AtWork {
    work: Rc<Work>,
    key: slab::Key,
    /// Where it stands among those that wait.
    subject: Option<slab::Key>,
}

impl AtWork {
    /// It waits, in this task; what it works on.
    pub(super) fn waits(&mut self, subject: Subject) {
        let former = self.subject.replace(self.work.waits.borrow_mut().insert((running(), subject)));
        debug_assert!(former.is_none(), "it begins to wait once");
    }
}

/// What a handler works on.
pub(super) struct Subject {
    pub(super) kind: Kind,
    /// `None` where nobody took it down.
    pub(super) uri: Option<Bytes>,
    pub(super) from: SocketAddr,
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { kind, uri, from } = self;
        match uri {
            Some(uri) => {
                let uri = String::from_utf8_lossy(uri);
                write!(out, "{kind} {} from {from} (message)", uri.escape_debug())
            }
            None => write!(out, "a {kind} from {from} (message)"),
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(subject) = self.subject {
            self.work.forget(subject);
        }
        self.work.handlers.borrow_mut().remove(self.key);
        self.work.changed();
    }
}

/// How far a server or a node has come, and its task.
pub(super) struct Ending {
    pub(super) life: Arc<Life>,
    outcome: Cell<Stopped>,
    task: RefCell<Option<JoinHandle<()>>>,
    work: Rc<Work>,
    /// Aborts what is not done but for what these handlers work on, and counts it. Without any its task is aborted next.
    cut: Cut,
}

/// Told the tasks of handlers.
type Cut = Box<dyn Fn(&[u64]) -> usize>;

/// What the warden finds.
enum Found {
    Ended,
    /// The grace, or a shorter one.
    Grace(Duration),
}

impl Ending {
    pub(super) fn new(
        work: Rc<Work>,
        address: SocketAddr,
        cut: impl Fn(&[u64]) -> usize + 'static,
    ) -> Rc<Ending> {
        let life = Life::new(&work, address);
        let cut = Box::new(cut);
        Rc::new(Ending { life, outcome: Cell::default(), task: RefCell::default(), work, cut })
    }

    /// Has the node live in this task; it has ended when the task has, in whatever way.
    #[track_caller]
    pub(super) fn start(self: &Rc<Self>, run: impl Future<Output = ()> + 'static) {
        let ended = Ended(self.clone());
        let task = worker::spawn(async move {
            let _ended = ended;
            run.await;
        });
        self.task.replace(Some(task));
    }

    pub(super) fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.life.clone())
    }

    pub(super) fn accepted(&self, accepted: u64) {
        self.outcome.set(Stopped { accepted, ..self.outcome.get() });
    }

    /// Until the node is to end, or the runtime; its connections are told of either, and from then on the warden is there.
    pub(super) async fn until_told(self: Rc<Self>) {
        let (runtime, stopping) = (Handle::current(), self.life.stopping.clone());
        stopping.run_until_cancelled(runtime.stopping()).await;
        stopping.cancel();
        trace::message_server_phase("stops accepting");
        worker::spawn(self.see_to_it());
    }

    /// The warden. When it is the runtime that ends, that one's own grace counts.
    async fn see_to_it(self: Rc<Self>) {
        let (mut grace, mut deadline) = (None, None::<Instant>);
        loop {
            let found = poll_fn(|context| self.poll_found(grace, context));
            let found = match deadline {
                Some(deadline) => timeout_at(deadline, found).await,
                None => Ok(found.await),
            };
            match found {
                Ok(Found::Ended) => return,
                Ok(Found::Grace(shorter)) => {
                    grace = Some(shorter);
                    // What lies beyond what the clock can say is no deadline.
                    let said = time::now().checked_add(shorter);
                    deadline =
                        deadline.map_or(said, |before| Some(said.map_or(before, |said| said.min(before))));
                }
                Err(_elapsed) => return self.abort().await,
            }
        }
    }

    fn poll_found(&self, grace: Option<Duration>, context: &Context<'_>) -> Poll<Found> {
        let News { grace: said, has_ended, exempt } = self.life.look(context.waker());
        if has_ended {
            return Poll::Ready(Found::Ended);
        }
        if let Some(said) = said.filter(|said| grace.is_none_or(|grace| *said < grace)) {
            return Poll::Ready(Found::Grace(said));
        }
        self.work.warden.replace(Some(context.waker().clone()));
        let is_quiet = self.work.is_quiet(&exempt);
        self.life.advance(if is_quiet { Progress::Quiet(self.outcome.get()) } else { Progress::Serving });
        Poll::Pending
    }

    /// The grace is over. Handlers that wait for the end are told what was aborted, and have their last words.
    async fn abort(&self) {
        let News { has_ended, exempt, .. } = self.life.look(&Waker::noop().clone());
        if has_ended {
            return;
        }
        trace::message_server_phase("closes what is left");
        if !exempt.is_empty() {
            self.count((self.cut)(&exempt));
            self.life.advance(Progress::Quiet(self.outcome.get()));
            if timeout(SHUTDOWN_SLACK / 2, self.ended()).await.is_ok() {
                return;
            }
        }
        self.count((self.cut)(&[]));
        let task = self.task.take();
        task.inspect(JoinHandle::abort);
    }

    async fn ended(&self) {
        poll_fn(
            |context| if self.life.look(context.waker()).has_ended { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
    }

    fn count(&self, aborted: usize) {
        let outcome = self.outcome.get();
        self.outcome.set(Stopped { aborted: outcome.aborted + aborted, ..outcome });
    }
}

/// The node has ended when this is dropped.
struct Ended(Rc<Ending>);

impl Drop for Ended {
    fn drop(&mut self) {
        trace::message_server_phase("ended");
        self.0.life.end(self.0.outcome.get());
    }
}

/// The task that runs; 0 outside of any.
pub(super) fn running() -> u64 {
    context::try_with(|worker| worker.map_or(0, |it| it.tasks().running()))
}
