//! One server on several workers.
//!
//! ```text
//! worker 0   Server ── handlers, connections, topics       Servers: news, numbers and the word of the end
//! worker 1   Server ── handlers, connections, topics       go to each worker as a task of its own
//! ```
//!
//! The workers share nothing but what their handlers share. A task that is sent over finds the server of its worker in a
//! table of its thread, by the number of the whole.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    fmt,
    future::Future,
    io, mem,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    error::SpawnError,
    limits::SHUTDOWN_SLACK,
    message::{
        builder::Builder,
        error::SendError,
        life::{Stopped, WaitsForItself},
        metrics::Metrics,
        parting::Parting,
        peers::PeerRecord,
        server::Server,
    },
    net::{
        TcpListener,
        listen::{Share, Spread},
    },
    proto::message::{Message, Replays},
    trace,
    worker::{self, CancellationToken, Handle, RemoteJoinHandle, dump, waiters::block_until},
};

/// A server of messages on every worker of a runtime, all on one port; clones are the same one's, and may go to any thread.
///
/// Each worker has handlers, connections and topics of its own, and its own bounds. State that belongs to all of them is
/// shared by what `factory` captures. What is published here reaches the subscribers of all workers. The workers remember
/// nonces together ([`Builder::replays`]): what was recorded from one passes with no other.
///
/// It goes on when this is dropped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::message::{Builder, Incoming, Kind, Servers};
///
/// let runtime = wakering::Runtime::builder().workers(2).build()?;
/// runtime.block_on(async {
///     let servers = Servers::start_on_all(([127, 0, 0, 1], 0).into(), |servers| {
///         let servers = servers.clone();
///         Builder::new()
///             .on(Kind::SUBSCRIBE_URI, |incoming: Incoming| async move {
///                 incoming.peer.subscribe(incoming.message.uri.clone());
///                 Some(incoming.answer(Kind::CONFIRM_SUBSCRIBE, ""))
///             })
///             .on(Kind::PUBLISH_URI, move |incoming: Incoming| {
///                 let servers = servers.clone();
///                 async move {
///                     let news = incoming.answer(Kind::NOTIFY_URI, incoming.message.content.clone());
///                     let told = servers.notify(incoming.message.uri.clone(), news).await.ok()?;
///                     Some(incoming.answer(Kind::OK, told.to_string()))
///                 }
///             })
///     })?;
///     let remote = Builder::new().client().connect(servers.local_addr()).await?;
///     remote.request(Kind::SUBSCRIBE_URI, "news", "").await?;
///     let published = remote.request(Kind::PUBLISH_URI, "news", "it").await?;
///     assert_eq!(published.content, "1");
///     servers.shutdown(Duration::from_secs(5)).await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Servers {
    inner: Arc<Inner>,
}

struct Inner {
    /// Names it in the table of each thread.
    number: u64,
    runtime: Handle,
    local_addr: SocketAddr,
    /// What the workers remember of messages that have come; the first that starts has the say.
    replays: OnceLock<Replays>,
    /// Cancelled when a worker has ended.
    over: Box<[CancellationToken]>,
    state: Mutex<State>,
    /// A worker has ended.
    ended: Condvar,
}

struct State {
    word: Word,
    workers: Box<[Tally]>,
}

/// What the workers are to do.
#[derive(Clone)]
struct Word {
    /// They are to end, within this.
    grace: Option<Duration>,
    /// Cancelled when there is another word.
    changed: CancellationToken,
}

/// What a worker leaves behind.
#[derive(Clone, Copy, Default)]
struct Tally {
    ended: bool,
    stopped: Stopped,
    numbers: Metrics,
}

/// Workers that did not end in time: one of their tasks is inside a poll that does not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the workers {workers:?} of the server did not end in time")]
#[non_exhaustive]
pub struct Stuck {
    /// Their indices in the runtime.
    pub workers: Vec<usize>,
    /// What the others left behind.
    pub stopped: Stopped,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The servers of this thread's worker, by the number of the whole.
    static HERE: RefCell<Vec<(u64, Server)>> = const { RefCell::new(Vec::new()) };
}

/// A worker's server stands in the table of its thread until this is dropped.
struct Here(u64);

impl Here {
    fn enter(number: u64, server: Server) -> Here {
        HERE.with_borrow_mut(|here| here.push((number, server)));
        Here(number)
    }

    fn find(number: u64) -> Option<Server> {
        let found = HERE.try_with(|here| {
            here.borrow().iter().find(|(other, _)| *other == number).map(|(_, it)| it.clone())
        });
        found.ok().flatten()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // Gone already, where the runtime lies in a thread-local that is older.
        let left = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            let at = here.iter().position(|(number, _)| *number == self.0);
            at.map(|at| here.swap_remove(at))
        });
        // Outside the borrow: handlers go with it.
        drop(left);
    }
}

impl Servers {
    /// Starts a server on every worker of the current runtime, on one port with a queue of connections for each worker
    /// ([`Spread::PerWorker`]). On each, `factory` makes the settings.
    ///
    /// A worker whose settings are refused, or on which `factory` panics, serves nothing, and standard error is told why; the
    /// others serve. When all of them are like that the server has ended: [`closed`](Servers::closed) returns.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound; nothing runs then.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start_on_all<M>(address: SocketAddr, factory: M) -> io::Result<Servers>
    where
        M: Fn(&Servers) -> Builder + Send + Sync + 'static,
    {
        let workers = Handle::current().workers();
        Servers::start_on(TcpListener::builder().bind_each(address, workers, Spread::default())?, factory)
    }

    /// The same with a share of a listener for each worker from the first on:
    /// [`bind_each`](crate::net::TcpListenerBuilder::bind_each) makes them, spread as you like, and [`Share::of`] makes them of a
    /// listener that the process has inherited.
    ///
    /// # Errors
    ///
    /// `InvalidInput` without shares, or when the listener has no address of the Internet; when there are more shares than
    /// workers. Nothing runs then.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start_on<M>(shares: Vec<Share>, factory: M) -> io::Result<Servers>
    where
        M: Fn(&Servers) -> Builder + Send + Sync + 'static,
    {
        let runtime = Handle::current();
        let Some(first) = shares.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no share of a listener"));
        };
        let servers = Servers::new(runtime.clone(), first.local_addr()?, shares.len());
        let (factory, parting) = (Arc::new(factory), Parting::new());
        let part = |worker| Part { servers: servers.clone(), worker, tally: Tally::default() };
        // Those that are never started have ended when these are dropped.
        let parts: Vec<Part> = (0..shares.len()).map(part).collect();
        for (share, part) in shares.into_iter().zip(parts) {
            let worker = part.worker;
            let parting = parting.beside();
            let factory = factory.clone();
            let make = move || async move { part.serve(share, parting, &*factory).await };
            if let Err(refused) = runtime.spawn_on(worker, make) {
                servers.inner.say(Duration::ZERO); // to those that run already
                return Err(io::Error::other(refused));
            }
        }
        Ok(servers)
    }

    fn new(runtime: Handle, local_addr: SocketAddr, workers: usize) -> Servers {
        let word = Word { grace: None, changed: CancellationToken::new() };
        let inner = Inner {
            // The number is all that is handed over.
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            runtime,
            local_addr,
            replays: OnceLock::new(),
            over: (0..workers).map(|_| CancellationToken::new()).collect(),
            state: Mutex::new(State { word, workers: vec![Tally::default(); workers].into() }),
            ended: Condvar::new(),
        };
        Servers { inner: Arc::new(inner) }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Sends a message to all who have subscribed to `topic`, on all workers, and returns how many that were. What one caller
    /// publishes comes to each subscriber in that order.
    ///
    /// # Errors
    ///
    /// [`SendError`]: it cannot be sent to anybody, or ([`SendError::Busy`]) it could not be sent to those of some worker.
    ///
    /// # Cancellation
    ///
    /// Once polled, it is sent all the same.
    pub async fn notify(&self, topic: impl Into<Bytes>, message: Message) -> Result<usize, SendError> {
        let topic = topic.into();
        self.tell(move |server| server.notify(&topic, message.clone())).await
    }

    /// Sends a message to everybody who is connected, to whatever worker, and returns how many that were.
    ///
    /// # Errors
    ///
    /// As [`notify`](Servers::notify).
    ///
    /// # Cancellation
    ///
    /// Once polled, it is sent all the same.
    pub async fn broadcast(&self, message: Message) -> Result<usize, SendError> {
        self.tell(move |server| server.broadcast(message.clone())).await
    }

    /// What all workers have done, and what they hold.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn metrics(&self) -> Metrics {
        let asked = self.ask_all(|server| server.metrics());
        let mut sum = Metrics::default();
        for (worker, asked) in asked.into_iter().enumerate() {
            let running = answer(asked).await;
            // One that has ended has left them here.
            sum.add(&running.unwrap_or_else(|| self.inner.state().workers[worker].numbers));
        }
        sum
    }

    /// Who has introduced itself, to whatever worker, each once; see [`Builder::introduce`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn known_peers(&self) -> Vec<PeerRecord> {
        let (mut known, mut places) = (Vec::<PeerRecord>::new(), HashMap::<Bytes, usize>::new());
        for asked in self.ask_all(Server::known_peers) {
            for record in answer(asked).await.unwrap_or_default() {
                match places.entry(record.id.clone()) {
                    Entry::Occupied(place) => known[*place.get()].addrs.extend(record.addrs),
                    Entry::Vacant(place) => {
                        place.insert(known.len());
                        known.push(record);
                    }
                }
            }
        }
        known
    }

    /// Ends the server as [`Server::shutdown`] does, on all workers: subscribers stay until no handler of any worker is at
    /// work.
    ///
    /// Any task may call it, once or often, on any thread; the shortest grace counts. Awaited inside a handler of this server
    /// it does not wait for handlers that wait for it as well, which end last.
    ///
    /// # Cancellation
    ///
    /// The server ends all the same, within the grace, and does so when the future is never polled.
    pub fn shutdown(&self, grace: Duration) -> impl Future<Output = Stopped> {
        self.inner.say(grace);
        async {
            let words = self.end();
            let waits = Here::find(self.inner.number).and_then(|server| server.ending().life.wait_inside());
            match waits {
                // They end with the others, or when the grace is over.
                Some(_waits) => dump::waiting(words, self.quiet()).await,
                None => {
                    dump::waiting(words, self.over()).await;
                    self.inner.state().so_far()
                }
            }
        }
    }

    /// Waits until the server has ended on all workers; at once when it has.
    ///
    /// # Errors
    ///
    /// [`WaitsForItself`] in a handler of this server, which would wait for ever. Only the handler's own task is known for
    /// one.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<Stopped, WaitsForItself> {
        let here = Here::find(self.inner.number);
        if here.is_some_and(|server| server.ending().life.is_inside()) {
            return Err(WaitsForItself);
        }
        let words = self.end();
        dump::waiting(words, self.over()).await;
        Ok(self.inner.state().so_far())
    }

    /// What a dump says of who waits for it.
    fn end(&self) -> impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result + use<> {
        let address = self.inner.local_addr;
        move |out| write!(out, "the end of the server of messages on {address}")
    }

    /// As [`shutdown`](Servers::shutdown), for a thread that runs no worker: blocks until the server has ended, at most 100 ms
    /// longer than the grace.
    ///
    /// # Errors
    ///
    /// [`Stuck`]: the workers that did not end in time.
    pub fn shutdown_blocking(&self, grace: Duration) -> Result<Stopped, Stuck> {
        self.inner.say(grace);
        let until = Instant::now().checked_add(grace.saturating_add(SHUTDOWN_SLACK));
        let have_ended = |state: &State| state.workers.iter().all(|worker| worker.ended);
        let state = block_until(&self.inner.ended, self.inner.state(), until, have_ended);
        let (stopped, going) = (state.so_far(), state.workers.iter().enumerate());
        let workers: Vec<usize> = going.filter(|(_, it)| !it.ended).map(|(worker, _)| worker).collect();
        if workers.is_empty() { Ok(stopped) } else { Err(Stuck { workers, stopped }) }
    }

    /// Lists every live task of the runtime, and what it waits for; from any thread. See [`Handle::dump`].
    ///
    /// All tasks, not only its own: what holds a server up is often a task that its handlers wait for.
    #[must_use]
    pub fn dump(&self) -> dump::Dump {
        self.inner.runtime.dump()
    }

    /// Waits until all workers have ended.
    async fn over(&self) {
        for over in &self.inner.over {
            over.cancelled().await;
        }
    }

    /// Waits until nothing is left on any worker but handlers that wait for the end themselves; what is left behind so far.
    async fn quiet(&self) -> Stopped {
        let mut sum = Stopped::default();
        for worker in 0..self.inner.over.len() {
            let stopped = loop {
                let asked =
                    self.send_over(worker, |server| async move { server.ending().life.quiet().await });
                match asked {
                    // Too many tasks are on their way to that worker: it takes some of them every turn.
                    Err(SpawnError::Full) => worker::yield_now().await,
                    asked => break answer(asked).await,
                }
            };
            // One that has ended has left it here.
            sum.add(stopped.unwrap_or_else(|| self.inner.state().workers[worker].stopped));
        }
        sum
    }

    async fn tell<W>(&self, what: W) -> Result<usize, SendError>
    where
        W: Fn(&Server) -> Result<usize, SendError> + Clone + Send + 'static,
    {
        let (mut told, mut is_busy, mut failed) = (0, false, None);
        for asked in self.ask_all(what) {
            match asked {
                Err(SpawnError::Full) => is_busy = true,
                other => match answer(other).await {
                    Some(Ok(of_worker)) => told += of_worker,
                    Some(Err(error)) => failed = failed.or(Some(error)),
                    // It has ended, and has no connections.
                    None => {}
                },
            }
        }
        if is_busy {
            return Err(SendError::Busy);
        }
        // What nobody of one worker can be sent others may have been.
        if told > 0 { Ok(told) } else { failed.map_or(Ok(0), Err) }
    }

    /// Has the server of each worker do something. All of them have been told when this returns.
    fn ask_all<R, W>(&self, what: W) -> Vec<Asked<R>>
    where
        R: Send + 'static,
        W: Fn(&Server) -> R + Clone + Send + 'static,
    {
        let ask = |worker| {
            let what = what.clone();
            self.send_over(worker, move |server| async move { what(&server) })
        };
        (0..self.inner.over.len()).map(ask).collect()
    }

    fn send_over<R, W, F>(&self, worker: usize, what: W) -> Asked<R>
    where
        R: Send + 'static,
        W: FnOnce(Server) -> F + Send + 'static,
        F: Future<Output = R> + 'static,
    {
        let number = self.inner.number;
        self.inner.runtime.spawn_on(worker, move || async move {
            match Here::find(number) {
                Some(server) => Some(what(server).await),
                None => None,
            }
        })
    }
}

/// What a worker was asked; `None` comes of one that has ended.
type Asked<R> = Result<RemoteJoinHandle<Option<R>>, SpawnError>;

async fn answer<R>(asked: Asked<R>) -> Option<R> {
    asked.ok()?.await.ok()?
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Any thread: has the workers end. A longer grace than was said before changes nothing.
    fn say(&self, grace: Duration) {
        let mut state = self.state();
        if state.word.grace.is_some_and(|said| said <= grace) {
            return;
        }
        let word = Word { grace: Some(grace), changed: CancellationToken::new() };
        let former = mem::replace(&mut state.word, word);
        drop(state);
        former.changed.cancel();
    }
}

impl State {
    fn so_far(&self) -> Stopped {
        let mut sum = Stopped::default();
        for worker in &self.workers {
            sum.add(worker.stopped);
        }
        sum
    }
}

/// One worker's part: it has ended when this is dropped, in whatever way.
struct Part {
    servers: Servers,
    worker: usize,
    tally: Tally,
}

impl Part {
    async fn serve<M: Fn(&Servers) -> Builder>(mut self, share: Share, parting: Parting, factory: &M) {
        let inner = self.servers.inner.clone();
        let started = share.into_tcp().and_then(|listener| {
            let builder = factory(&self.servers);
            builder.sharing_replays(&inner.replays).parting(parting).serve(listener)
        });
        let server = match started {
            Ok(server) => server,
            Err(error) => {
                return trace::say(&format!("worker {} serves no messages: {error}", self.worker));
            }
        };
        let _here = Here::enter(inner.number, server.clone());
        loop {
            let Word { grace, changed } = inner.state().word.clone();
            if let Some(grace) = grace {
                drop(server.shutdown(grace));
            }
            // It ends with its runtime, too.
            if let Some(closed) = changed.run_until_cancelled(server.closed()).await {
                self.tally.stopped = closed.unwrap_or_default();
                self.tally.numbers = server.metrics();
                return;
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let inner = &self.servers.inner;
        inner.state().workers[self.worker] = Tally { ended: true, ..self.tally };
        inner.ended.notify_all();
        inner.over[self.worker].cancel();
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended: Vec<bool> = self.inner.state().workers.iter().map(|worker| worker.ended).collect();
        out.debug_struct("Servers")
            .field("local_addr", &self.inner.local_addr)
            .field("ended", &ended)
            .finish_non_exhaustive()
    }
}
