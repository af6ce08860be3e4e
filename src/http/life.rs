//! How far a server has come towards its end, and who waits for it.
//!
//! ```text
//!  each worker   Serving ──the word──► (winding down) ──► Quiet ──► Ended
//!                                       handlers finish    only handlers that wait for
//!                                                          the shutdown itself are left
//! ```
//!
//! Waiters stand under one lock, which only they and the ends of workers take: never a request.

use std::{
    fmt,
    future::Future,
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    contain::wake_contained,
    http::stop::Stop,
    limits::SHUTDOWN_SLACK,
    task::TaskId,
    worker::{
        Handle, context,
        dump::{self, Dump},
        waiters::{Ends, Wait, Waiters, block_until},
    },
};

/// How a server came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were still open when the grace was over, and were closed; not those that had ended and only waited for
    /// their peers to close their side.
    pub aborted_connections: usize,
    /// Handlers that were still at work on them.
    pub aborted_handlers: usize,
}

/// A handler cannot wait for the end of its own server: the server waits for the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a handler cannot wait for the end of its own server")]
#[non_exhaustive]
pub struct WaitsForItself;

/// Workers that did not end in time: one of their tasks is inside a poll that does not return.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the workers {workers:?} of the server did not end in time")]
#[non_exhaustive]
pub struct Stuck {
    /// Their indices in the runtime, or 0 for a server of one worker.
    pub workers: Vec<usize>,
    /// How the others ended.
    pub stopped: Stopped,
}

/// How far one worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Serving,
    /// Nothing is left but handlers that wait for the shutdown; what had to be closed for that.
    Quiet(Stopped),
    Ended(Stopped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Stopping,
    Shutdown,
    Closed,
}

/// What the workers of one server and those who wait for its end share.
pub(super) struct Life {
    /// Where the server is.
    address: SocketAddr,
    stops: Box<[Stop]>,
    state: Mutex<State>,
    /// A worker has ended.
    ended: Condvar,
}

struct State {
    progress: Box<[Progress]>,
    waiters: Waiters<Waiting>,
}

struct Waiting {
    /// The task that waits; 0 outside of any.
    task: u64,
    want: Want,
    /// That task is a handler of this server.
    inside: bool,
}

impl Life {
    pub(super) fn new(workers: usize, address: SocketAddr) -> Arc<Life> {
        let state = State { progress: vec![Progress::Serving; workers].into(), waiters: Waiters::new() };
        let stops = (0..workers).map(|_| Stop::new()).collect();
        Arc::new(Life { address, stops, state: Mutex::new(state), ended: Condvar::new() })
    }

    /// The word for one worker.
    pub(super) fn stop(&self, worker: usize) -> &Stop {
        &self.stops[worker]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a dump: the tasks that wait for the end, handlers that it knows of left out. None when something is changed here.
    pub(super) fn waiting(&self) -> Vec<TaskId> {
        let Ok(state) = self.state.try_lock() else { return Vec::new() };
        let waiting =
            state.waiters.iter().filter(|it| it.task != 0 && !it.inside && it.want != Want::Stopping);
        waiting.map(|it| TaskId::new(it.task)).collect()
    }

    /// Any thread: the server is to end.
    pub(super) fn say(&self, grace: Duration) {
        for stop in &self.stops {
            stop.say(grace);
        }
        let wakers = self.state().waiters.wakers(|waiting| waiting.want == Want::Stopping);
        wakers.into_iter().for_each(wake_contained);
    }

    /// A worker has come further; one that has ended stays so.
    pub(super) fn advance(&self, worker: usize, progress: Progress) {
        let mut state = self.state();
        if !matches!(state.progress[worker], Progress::Ended(_)) {
            state.progress[worker] = progress;
        }
        let wakers = state.waiters.wakers(|_| true);
        drop(state);
        self.ended.notify_all();
        wakers.into_iter().for_each(wake_contained);
    }

    /// As `advance`, when that is news: a worker that winds down says it each time it looks.
    pub(super) fn advance_if(&self, worker: usize, progress: Progress) {
        if self.state().progress[worker] != progress {
            self.advance(worker, progress);
        }
    }

    /// A worker looks which of the waiters are handlers of its own; returns those of all workers whose shutdown does not
    /// wait for them.
    pub(super) fn examine(&self, is_handler: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut state = self.state();
        let mut found = Vec::new();
        for waiter in state.waiters.iter_mut() {
            let waiting = &mut waiter.what;
            if !waiting.inside && waiting.task != 0 && is_handler(waiting.task) {
                waiting.inside = true;
                found.push(waiter.waker.clone());
            }
        }
        let inside = state.waiters.iter().filter(|waiting| waiting.inside && waiting.want == Want::Shutdown);
        let exempt = inside.map(|waiting| waiting.task).collect();
        drop(state);
        found.into_iter().for_each(wake_contained);
        exempt
    }
}

impl Ends for Life {
    type Want = Want;
    type Outcome = Result<Stopped, WaitsForItself>;

    fn poll_end(
        &self,
        number: &mut u64,
        want: Want,
        context: &Context<'_>,
    ) -> Poll<Result<Stopped, WaitsForItself>> {
        // Before the lock; what it takes the place of is dropped behind it.
        let mut waker = context.waker().clone();
        let mut state = self.state();
        if let Some(stopped) = state.ended() {
            return Poll::Ready(Ok(stopped));
        }
        // Under the lock: whoever says it wakes those who stand in the list then.
        if want == Want::Stopping && self.stops.iter().any(Stop::was_said) {
            return Poll::Ready(Ok(Stopped::default()));
        }
        let Some(waiter) = state.waiters.find(*number) else {
            let task = context::try_with(|worker| worker.map_or(0, |it| it.tasks().running()));
            *number = state.waiters.enter(Waiting { task, want, inside: false }, waker);
            drop(state);
            self.stops.iter().for_each(Stop::nudge);
            return Poll::Pending;
        };
        mem::swap(&mut waiter.waker, &mut waker);
        match (waiter.what.inside, want) {
            (true, Want::Closed) => Poll::Ready(Err(WaitsForItself)),
            (true, Want::Shutdown) if state.is_quiet() => Poll::Ready(Ok(state.so_far())),
            (true | false, Want::Stopping | Want::Shutdown | Want::Closed) => Poll::Pending,
        }
    }

    fn leave(&self, number: u64) {
        let left = self.state().waiters.leave(number);
        if left.is_some_and(|waiter| waiter.what.inside) {
            self.stops.iter().for_each(Stop::nudge); // it is a handler like any other now
        }
    }
}

impl State {
    fn so_far(&self) -> Stopped {
        let mut total = Stopped::default();
        for progress in &self.progress {
            if let Progress::Quiet(stopped) | Progress::Ended(stopped) = progress {
                total.aborted_connections += stopped.aborted_connections;
                total.aborted_handlers += stopped.aborted_handlers;
            }
        }
        total
    }

    fn ended(&self) -> Option<Stopped> {
        let ended = self.progress.iter().all(|it| matches!(it, Progress::Ended(_)));
        ended.then(|| self.so_far())
    }

    fn is_quiet(&self) -> bool {
        self.progress.iter().all(|it| matches!(it, Progress::Quiet(_) | Progress::Ended(_)))
    }
}

/// One worker's part: it has ended when this is dropped, in whatever way.
pub(super) struct Part {
    pub(super) life: Arc<Life>,
    pub(super) worker: usize,
    stopped: Stopped,
}

impl Part {
    pub(super) fn new(life: &Arc<Life>, worker: usize) -> Part {
        Part { life: life.clone(), worker, stopped: Stopped::default() }
    }

    pub(super) fn stop(&self) -> &Stop {
        self.life.stop(self.worker)
    }

    pub(super) fn end(mut self, stopped: Stopped) {
        self.stopped = stopped;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.life.advance(self.worker, Progress::Ended(self.stopped));
    }
}

/// Ends a server, and waits for its end, from any task or thread; clones are the same server's.
///
/// # Examples
///
/// A handler that ends its server:
///
/// ```
/// use std::{cell::OnceCell, rc::Rc, time::Duration};
/// use wakering::{http::{Body, Request, Response, Server, ServerHandle, client}, net::TcpListener};
///
/// wakering::run(async {
///     let own: Rc<OnceCell<ServerHandle>> = Rc::default();
///     let handle = own.clone();
///     let handler = move |_: Request<Body>| {
///         let server = handle.get().expect("set before the first request").clone();
///         async move {
///             server.shutdown(Duration::from_secs(5)).await; // does not wait for this handler
///             Response::new(Body::from("the last words"))
///         }
///     };
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = Server::start(listener, handler)?;
///     let _ = own.set(server.handle());
///
///     let mut connection = client::connect(server.local_addr()).await?;
///     let request = Request::get(format!("http://{}/quit", server.local_addr())).body(Body::empty())?;
///     let response = connection.send(request).await?;
///     assert_eq!(response.into_body().collect(100).await?, "the last words");
///     server.handle().closed().await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    life: Arc<Life>,
    runtime: Handle,
}

impl ServerHandle {
    /// Of a server of the current runtime.
    pub(super) fn new(life: Arc<Life>) -> ServerHandle {
        ServerHandle { life, runtime: Handle::current() }
    }

    /// Has the server end, and returns a future of how it did: it accepts what is queued already and no more, sends
    /// GOAWAY, lets handlers finish until `grace` is over, then closes what is left.
    ///
    /// It may be called once or often, also from inside a handler; the shortest grace counts. Awaited inside a handler it does
    /// not wait for that handler, whose connection is closed last: it is told what had to be aborted, and has 50 ms to answer then.
    ///
    /// # Cancellation
    ///
    /// The server ends all the same.
    pub fn shutdown(&self, grace: Duration) -> Shutdown {
        self.life.say(grace);
        Shutdown { wait: self.wait(Want::Shutdown) }
    }

    /// Waits until somebody has the server end: then long answers and tunnels should come to an end too.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// Events that end with the server, not with its patience:
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::http::{Body, Response, ServerHandle};
    ///
    /// fn events(server: ServerHandle) -> Response<Body> {
    ///     let (mut sender, body) = Body::channel();
    ///     wakering::spawn(async move {
    ///         // The tick is over when the server is told to stop, or after a second.
    ///         while wakering::time::timeout(Duration::from_secs(1), server.stopping()).await.is_err() {
    ///             if sender.send("data: tick\n\n".into()).await.is_err() {
    ///                 return;
    ///             }
    ///         }
    ///         sender.finish();
    ///     });
    ///     Response::new(body)
    /// }
    /// # let _ = events;
    /// ```
    pub async fn stopping(&self) {
        // It cannot be refused.
        let _ = self.wait(Want::Stopping).await;
    }

    /// Waits until the server has ended: the last connection is gone.
    ///
    /// # Errors
    ///
    /// [`WaitsForItself`] in a handler of this server, which would wait for ever. Only the handler's own task is
    /// known for one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        self.wait(Want::Closed).await
    }

    /// As [`shutdown`](ServerHandle::shutdown), for a thread that runs no worker: blocks until the server has ended, at
    /// most 100 ms longer than the grace.
    ///
    /// # Errors
    ///
    /// [`Stuck`]: the workers that did not end in time.
    pub fn shutdown_blocking(&self, grace: Duration) -> Result<Stopped, Stuck> {
        self.life.say(grace);
        let patience = Instant::now().checked_add(grace.saturating_add(SHUTDOWN_SLACK));
        let life = &self.life;
        let state = block_until(&life.ended, life.state(), patience, |state| state.ended().is_some());
        state.ended().ok_or_else(|| {
            let going = state.progress.iter().enumerate();
            let going = going.filter(|(_, progress)| !matches!(progress, Progress::Ended(_)));
            Stuck { workers: going.map(|(worker, _)| worker).collect(), stopped: state.so_far() }
        })
    }

    /// Lists every live task of the runtime that the server runs in, and what it waits for; from any thread. See
    /// [`Handle::dump`].
    ///
    /// All tasks, not only the server's: what holds it up is often a task that its handlers wait for.
    ///
    /// # Examples
    ///
    /// From a thread that finds the server to take too long to end:
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakering::{http::{Body, Request, Response, Server}, net::TcpListener};
    ///
    /// wakering::run(async {
    ///     let handler = |_: Request<Body>| async { Response::new(Body::empty()) };
    ///     let server = Server::start(TcpListener::bind("127.0.0.1:0")?, handler)?.handle();
    ///     let watched = server.clone();
    ///     let ends = wakering::spawn_blocking(move || {
    ///         watched.shutdown_blocking(Duration::from_secs(5)).map_err(|stuck| (stuck, watched.dump()))
    ///     })?;
    ///     if let Err((stuck, dump)) = ends.await? {
    ///         eprintln!("{stuck}\n{dump}");
    ///     }
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.runtime.dump()
    }

    fn wait(&self, want: Want) -> dump::Waiting<Words, Wait<Life>> {
        let address = self.life.address;
        let words: Words = match want {
            Want::Stopping => Box::new(|out| out.write_str("the word that its HTTP server is to end")),
            Want::Shutdown | Want::Closed => {
                Box::new(move |out| write!(out, "the end of the HTTP server on {address}"))
            }
        };
        dump::waiting(words, Wait::new(self.life.clone(), want, 0))
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServerHandle").field("workers", &self.life.state().progress).finish()
    }
}

/// The end of a server; made by [`ServerHandle::shutdown`].
#[must_use = "the server ends all the same, but nobody waits for it"]
pub struct Shutdown {
    wait: dump::Waiting<Words, Wait<Life>>,
}

type Words = Box<dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync>;

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
