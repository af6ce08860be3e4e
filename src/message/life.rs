//! What a server or a node shares with those who wait for its end, on whatever thread they are.
//!
//! ```text
//! Serving ──the word──► handlers at work are answered ──► Quiet: only handlers that wait for this are left ──► Ended
//! ```
//!
//! Handlers run on the thread of their node. So whether who waits is one of them is known there at once, by a table of the
//! thread, and elsewhere nobody is.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    mem,
    net::SocketAddr,
    pin::Pin,
    rc::{self, Rc},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    contain::wake_contained,
    limits::SHUTDOWN_SLACK,
    message::{
        ending::{Work, running},
        servers::Stuck,
    },
    task::TaskId,
    worker::{
        CancellationToken, Handle, context,
        dump::{self, Dump},
        waiters::{Ends, Wait, Waiters, block_until},
    },
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

impl Stopped {
    pub(super) fn add(&mut self, other: Stopped) {
        self.accepted += other.accepted;
        self.aborted += other.aborted;
    }
}

/// A handler cannot wait for the end of its own server or node, which waits for the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a handler cannot wait for the end of its own server or node")]
#[non_exhaustive]
pub struct WaitsForItself;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Serving,
    /// Nothing is left but handlers that wait for the shutdown; what had to be aborted for that.
    Quiet(Stopped),
    Ended(Stopped),
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The end; if that is a handler of the node, that nothing else is left.
    Shutdown,
    /// That nothing is left but handlers that wait for the end.
    Quiet,
    Closed,
}

pub(super) struct Life {
    /// Names it in the table of its thread.
    number: u64,
    runtime: Handle,
    /// Where it is.
    address: SocketAddr,
    /// Its worker in the runtime.
    worker: usize,
    /// Cancelled when it is to end.
    pub(super) stopping: CancellationToken,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// The shortest that was said.
    grace: Option<Duration>,
    progress: Progress,
    waiters: Waiters<Waiting>,
    /// The task that sees to the end.
    warden: Option<Waker>,
}

struct Waiting {
    /// The task that waits; 0 outside of any.
    task: u64,
    /// The task that waits, if that is a handler of this node.
    handler: Option<u64>,
    want: Want,
}

/// What the warden finds.
pub(super) struct News {
    pub(super) grace: Option<Duration>,
    pub(super) has_ended: bool,
    /// The handlers that nobody waits for, since they wait themselves.
    pub(super) exempt: Vec<u64>,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The handlers of the nodes of this thread, by the numbers of the nodes.
    static HERE: RefCell<Vec<(u64, rc::Weak<Work>)>> = const { RefCell::new(Vec::new()) };
}

impl Life {
    /// Of a node of the current worker.
    pub(super) fn new(work: &Rc<Work>, address: SocketAddr) -> Arc<Life> {
        // The number is all that is handed over.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        HERE.with_borrow_mut(|here| here.push((number, Rc::downgrade(work))));
        let state = State { grace: None, progress: Progress::Serving, waiters: Waiters::new(), warden: None };
        let life = Arc::new(Life {
            number,
            address,
            runtime: Handle::current(),
            worker: context::with(context::Context::index),
            stopping: CancellationToken::new(),
            state: Mutex::new(state),
            ended: Condvar::new(),
        });
        work.ends_with(&life);
        life
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs while it is held, but for a waker's clone, before which the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a dump: the tasks that wait for the end, its own handlers left out. None when something is changed here.
    pub(super) fn waiting(&self) -> Vec<TaskId> {
        let Ok(state) = self.state.try_lock() else { return Vec::new() };
        let waiting = state.waiters.iter().filter(|it| it.task != 0 && it.handler.is_none());
        waiting.map(|it| TaskId::new(it.task)).collect()
    }

    /// Any thread: it is to end. A longer grace than was said before changes nothing.
    pub(super) fn say(&self, grace: Duration) {
        let mut state = self.state();
        state.grace = Some(state.grace.map_or(grace, |said| said.min(grace)));
        let warden = state.warden.take();
        drop(state);
        self.stopping.cancel();
        warden.into_iter().for_each(Waker::wake);
    }

    /// It has come further; once ended it stays so.
    pub(super) fn advance(&self, progress: Progress) {
        let mut state = self.state();
        if matches!(state.progress, Progress::Ended(_)) || state.progress == progress {
            return;
        }
        state.progress = progress;
        let wakers = state.waiters.wakers(|_| true);
        let warden = state.warden.take();
        drop(state);
        self.ended.notify_all();
        wakers.into_iter().chain(warden).for_each(wake_contained);
    }

    /// The end of the node, on its thread.
    pub(super) fn end(&self, stopped: Stopped) {
        // A runtime that lies in a thread-local itself may end behind this one.
        let _ = HERE.try_with(|here| here.borrow_mut().retain(|(number, _)| *number != self.number));
        self.advance(Progress::Ended(stopped));
    }

    /// The warden looks, and is woken when there is something new.
    pub(super) fn look(&self, warden: &Waker) -> News {
        let mut state = self.state();
        state.warden = Some(warden.clone());
        let waiting = state.waiters.iter().filter(|waiting| waiting.want == Want::Shutdown);
        News {
            grace: state.grace,
            has_ended: matches!(state.progress, Progress::Ended(_)),
            exempt: waiting.filter_map(|waiting| waiting.handler).collect(),
        }
    }

    /// The task that runs, if it is a handler of this node.
    fn handler(&self) -> Option<u64> {
        let task = running();
        let work = HERE.try_with(|here| {
            let here = here.borrow();
            here.iter().find(|(number, _)| *number == self.number).and_then(|(_, work)| work.upgrade())
        });
        work.ok().flatten().filter(|work| work.is_own(task)).map(|_| task)
    }

    /// Whether a handler of this node runs now.
    pub(super) fn is_inside(&self) -> bool {
        self.handler().is_some()
    }

    /// Notes that the handler that runs now waits for the end, if it is one of this node's; others do not wait for it then.
    pub(super) fn wait_inside(self: &Arc<Self>) -> Option<Wait<Life>> {
        let handler = self.handler()?;
        let number = self.enter(self.state(), Some(handler), Want::Shutdown, Waker::noop().clone());
        Some(Wait::new(self.clone(), Want::Shutdown, number))
    }

    /// Waits until nothing is left but handlers that wait for the end; what had to be aborted for that.
    pub(super) async fn quiet(self: &Arc<Self>) -> Stopped {
        self.wait(Want::Quiet).await.unwrap_or_default()
    }

    fn wait(self: &Arc<Self>, want: Want) -> Wait<Life> {
        Wait::new(self.clone(), want, 0)
    }

    fn enter(&self, mut state: MutexGuard<'_, State>, handler: Option<u64>, want: Want, waker: Waker) -> u64 {
        let number = state.waiters.enter(Waiting { task: running(), handler, want }, waker);
        let warden = state.warden.take();
        drop(state);
        warden.into_iter().for_each(Waker::wake);
        number
    }
}

impl Ends for Life {
    type Want = Want;
    type Outcome = Result<Stopped, WaitsForItself>;

    fn poll_end(&self, number: &mut u64, want: Want, context: &Context<'_>) -> Poll<Self::Outcome> {
        let handler = if *number == 0 { self.handler() } else { None };
        // Cloned before the lock, and the former dropped behind it: either may be foreign code.
        let mut waker = context.waker().clone();
        let mut state = self.state();
        let is_inside = match state.waiters.find(*number) {
            Some(waiter) => {
                mem::swap(&mut waiter.waker, &mut waker);
                waiter.what.handler.is_some()
            }
            None => handler.is_some(),
        };
        match (state.progress, want) {
            (Progress::Ended(stopped), _) | (Progress::Quiet(stopped), Want::Quiet) => {
                Poll::Ready(Ok(stopped))
            }
            (Progress::Quiet(stopped), Want::Shutdown) if is_inside && *number != 0 => {
                Poll::Ready(Ok(stopped))
            }
            (Progress::Serving | Progress::Quiet(_), Want::Closed) if is_inside => {
                Poll::Ready(Err(WaitsForItself))
            }
            (Progress::Serving | Progress::Quiet(_), Want::Shutdown | Want::Quiet | Want::Closed) => {
                if *number == 0 {
                    *number = self.enter(state, handler, want, waker);
                    // The warden looks anew who is left, and may find nothing that it had not said before.
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn leave(&self, number: u64) {
        let (left, warden) = {
            let mut state = self.state();
            (state.waiters.leave(number), state.warden.take())
        };
        drop(left);
        // What was a handler that waits is one like any other now.
        warden.into_iter().for_each(Waker::wake);
    }
}

/// Ends a server or a node of datagrams, and waits for its end, from any task or thread; clones are the same one's.
///
/// [`Server::handle`](super::Server::handle) and [`UdpNode::handle`](super::UdpNode::handle) make it. [`Servers`](super::Servers)
/// is one itself.
///
/// # Examples
///
/// A thread that ends a server:
///
/// ```
/// use std::time::Duration;
/// use wakering::{message::Builder, net::TcpListener};
///
/// wakering::run(async {
///     let server = Builder::new().serve(TcpListener::bind("127.0.0.1:0")?)?;
///     let handle = server.handle();
///     let ends = std::thread::spawn(move || handle.shutdown_blocking(Duration::from_secs(5)));
///     let stopped = server.closed().await?;
///     assert_eq!(stopped.aborted, 0);
///     assert_eq!(ends.join().expect("it does not panic")?, stopped);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    life: Arc<Life>,
}

impl ServerHandle {
    pub(super) fn new(life: Arc<Life>) -> ServerHandle {
        ServerHandle { life }
    }

    /// Has it end, and returns a future of how it did; see [`Server::shutdown`](super::Server::shutdown) and
    /// [`UdpNode::shutdown`](super::UdpNode::shutdown).
    ///
    /// It may be called once or often, also from inside a handler; the shortest grace counts. Awaited inside a handler it does
    /// not wait for that handler: it is told what had to be aborted, and has 50 ms to answer then.
    ///
    /// # Cancellation
    ///
    /// It ends all the same, within the grace.
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        self.life.say(grace);
        Shutdown { wait: dump::waiting(self.end(), self.life.wait(Want::Shutdown)) }
    }

    /// Waits until somebody has it end: then long work should come to an end too.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn stopping(&self) {
        let word =
            |out: &mut fmt::Formatter<'_>| out.write_str("the word that its server of messages is to end");
        dump::waiting(word, self.life.stopping.cancelled()).await;
    }

    /// Waits until it has ended; at once when it has.
    ///
    /// # Errors
    ///
    /// [`WaitsForItself`] in a handler of it, which would wait for ever. Only the handler's own task is known for one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        dump::waiting(self.end(), self.life.wait(Want::Closed)).await
    }

    /// As [`shutdown`](ServerHandle::shutdown), for a thread that runs no worker: blocks until it has ended, at most 100 ms
    /// longer than the grace.
    ///
    /// # Errors
    ///
    /// [`Stuck`]: its worker did not end it in time.
    pub fn shutdown_blocking(&self, grace: Duration) -> Result<Stopped, Stuck> {
        self.life.say(grace);
        let until = Instant::now().checked_add(grace.saturating_add(SHUTDOWN_SLACK));
        let has_ended = |state: &State| matches!(state.progress, Progress::Ended(_));
        let state = block_until(&self.life.ended, self.life.state(), until, has_ended);
        let stopped = match state.progress {
            Progress::Ended(stopped) => return Ok(stopped),
            Progress::Quiet(stopped) => stopped,
            Progress::Serving => Stopped::default(),
        };
        Err(Stuck { workers: vec![self.life.worker], stopped })
    }

    /// Lists every live task of the runtime that it runs in, and what it waits for; from any thread. See
    /// [`Handle::dump`](crate::Handle::dump).
    ///
    /// All tasks, not only its own: what holds a server up is often a task that its handlers wait for.
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.life.runtime.dump()
    }

    fn end(&self) -> Words {
        let address = self.life.address;
        Box::new(move |out| write!(out, "the end of the server of messages on {address}"))
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.life.state().progress;
        out.debug_struct("ServerHandle").field("progress", &progress).finish_non_exhaustive()
    }
}

type Words = Box<dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync>;

/// The end of a server or a node; made by [`ServerHandle::shutdown`], [`Server::shutdown`](super::Server::shutdown) and
/// [`UdpNode::shutdown`](super::UdpNode::shutdown).
#[must_use = "it ends all the same, but nobody waits for it"]
pub struct Shutdown {
    wait: dump::Waiting<Words, Wait<Life>>,
}

impl Future for Shutdown {
    type Output = Stopped;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Stopped> {
        // Only `closed` is refused.
        Pin::new(&mut self.wait).poll(context).map(Result::unwrap_or_default)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shutdown").finish_non_exhaustive()
    }
}
