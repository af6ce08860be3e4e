//! Accepting connections, and ending them in good order.

use std::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    panic::Location,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use crate::{
    http::{
        admission::{Admission, ConnectionLimits},
        connection,
        handler::Handler,
        hooks::{BadResponse, ConnectionInfo, ConnectionReport, Hooks},
        metrics::{Ledger, Meter, Meters, Metrics},
        pressure::{Ceilings, Pressure, Shed, Valve},
        service::Service,
        stop::Stop,
        wire::Wire,
    },
    net::{TcpListener, TcpStream},
    proto::h2::{Config, Connection, FrameLog, Reason},
    slab::{Key, Slab},
    task::JoinHandle,
    time,
    worker::{
        self, Handle, RemoteJoinHandle,
        context::{self, Flush},
    },
};

/// An HTTP/2 server, on one worker or on all of them.
///
/// It runs until it is stopped or its runtime ends; dropping this value detaches it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::{http::{Body, Request, Response, Server}, net::TcpListener};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = Server::start(listener, |_: Request<Body>| async {
///         Response::new(Body::from("Hello, World!"))
///     })?;
///     println!("listening on {}", server.local_addr());
///     let stopped = server.stop(Duration::from_secs(5)).await;
///     assert_eq!(stopped.aborted_connections, 0);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    local_addr: SocketAddr,
    workers: Vec<Serving>,
    meters: Meters,
}

struct Serving {
    stop: Arc<Stop>,
    task: Task,
}

enum Task {
    Here(JoinHandle<Stopped>),
    Elsewhere(RemoteJoinHandle<Stopped>),
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were still open when the grace was over, and were closed.
    pub aborted_connections: usize,
    /// Handlers that were still at work on them.
    pub aborted_handlers: usize,
}

/// Settings of a [`Server`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
    meters: Meters,
    hooks: Hooks,
    ceilings: Ceilings,
    connections: ConnectionLimits,
}

impl Builder {
    /// Settings, bounds and deadlines of the connections.
    #[must_use]
    pub fn http2(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where the server's numbers are added up; one of its own by default.
    #[must_use]
    pub fn meters(mut self, meters: Meters) -> Self {
        self.meters = meters;
        self
    }

    /// Bounds the memory that each worker, and that the whole process, holds for peers: content that no handler has taken,
    /// output that no peer has taken, header lists of requests under way. `usize::MAX`, the default, is no bound.
    ///
    /// Above a ceiling new requests are refused with REFUSED_STREAM, which tells clients that they may try elsewhere; from
    /// three quarters on the hook of [`on_pressure`](Builder::on_pressure) decides. Content that is shared between answers
    /// counts for each of them. A connection by itself is bounded by [`Config::connection_bytes`].
    #[must_use]
    pub fn memory_ceilings(mut self, worker: usize, process: usize) -> Self {
        self.ceilings.worker = worker;
        self.ceilings.process = process;
        self
    }

    /// Asks `hook` what to do with a request that comes while a ceiling is nearly reached.
    ///
    /// It is called on the request's worker and holds it up; a panic in it refuses the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::http::{Server, Shed};
    ///
    /// let builder = Server::builder()
    ///     .memory_ceilings(256 << 20, 1 << 30)
    ///     .on_pressure(|pressure| match pressure.percent() {
    ///         0..90 => Shed::Serve,
    ///         90..95 => Shed::Unavailable,
    ///         _ => Shed::Refuse,
    ///     });
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn on_pressure(mut self, hook: impl Fn(&Pressure) -> Shed + Send + Sync + 'static) -> Self {
        self.ceilings.hook = Some(Arc::new(hook));
        self
    }

    /// Connections that each listener has at a time, which are those of a worker; no limit by default. Further ones are
    /// accepted and closed, so that their clients learn of it at once.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections.all = connections;
        self
    }

    /// Connections from one IP address that each listener has at a time; no limit by default.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.connections.per_address = connections;
        self
    }

    /// Calls `hook` with every connection that is accepted, before anything is read from it.
    ///
    /// It is called on the connection's worker and holds it up; a panic in it is caught and forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::http::Server;
    ///
    /// let builder = Server::builder()
    ///     .on_connect(|connection| println!("{}: from {}", connection.id, connection.peer_addr))
    ///     .on_disconnect(|report| println!("{}: {:?}", report.connection.id, report.end));
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn on_connect(mut self, hook: impl Fn(&ConnectionInfo) + Send + Sync + 'static) -> Self {
        self.hooks.connected = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` once for every connection that is over, with how it ended and what it has done.
    ///
    /// Its handlers may still be alive, and are cancelled next. As with [`on_connect`](Builder::on_connect) a panic is
    /// caught.
    #[must_use]
    pub fn on_disconnect(mut self, hook: impl Fn(&ConnectionReport) + Send + Sync + 'static) -> Self {
        self.hooks.disconnected = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` with every response that could not be sent as its handler made it: a field that HTTP/2 forbids, or
    /// content that contradicts its length. The client is told 500, or the stream is reset when the head was out.
    #[must_use]
    pub fn on_bad_response(mut self, hook: impl Fn(&BadResponse) + Send + Sync + 'static) -> Self {
        self.hooks.bad_response = Some(Arc::new(hook));
        self
    }

    /// Asks `choose` for every connection whether its frames are to be logged, and to whom.
    ///
    /// The log sees what went over the wire, in both directions and in words, and is called on the connection's worker.
    /// It must not panic: that would end its connection. Connections that are not logged pay one branch a read and a write.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::http::{FrameLog, Server};
    ///
    /// let builder = Server::builder().log_frames(|connection| {
    ///     let id = connection.id;
    ///     let log: FrameLog = Box::new(move |frame| eprintln!("[{id}] {frame}"));
    ///     connection.peer_addr.ip().is_loopback().then_some(log)
    /// });
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn log_frames(
        mut self,
        choose: impl Fn(&ConnectionInfo) -> Option<FrameLog> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.logged = Some(Arc::new(choose));
        self
    }

    /// Starts a server on the current worker.
    ///
    /// # Errors
    ///
    /// When the listener has no address, or the runtime takes no more tasks.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start<H: Handler>(self, listener: TcpListener, handler: H) -> io::Result<Server> {
        let spawned = Location::caller();
        let local_addr = listener.local_addr()?;
        let stop = Arc::new(Stop::new());
        let common = self.common(Arc::new(self.config.clone()), &stop, spawned);
        let task = worker::spawn(serve(listener, handler, common));
        let workers = vec![Serving { stop, task: Task::Here(task) }];
        Ok(Server { local_addr, workers, meters: self.meters })
    }

    /// Starts a server on every worker of the current runtime, each with a listener of its own on one port
    /// (`SO_REUSEPORT`) and a handler of its own, made there by `factory`.
    ///
    /// State may be shared in three ways: what `factory` makes belongs to one worker; what it captures in an
    /// `Arc` belongs to all; and a handler may ask another worker through
    /// [`spawn_on`](crate::spawn_on).
    ///
    /// # Errors
    ///
    /// When an address cannot be bound; nothing runs then.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start_on_all<M, H>(self, address: SocketAddr, factory: M) -> io::Result<Server>
    where
        M: Fn() -> H + Send + Sync + 'static,
        H: Handler,
    {
        let spawned = Location::caller();
        let handle = Handle::current();
        let first = TcpListener::builder().reuse_port(handle.workers() > 1).bind(address)?;
        let local_addr = first.local_addr()?;
        let mut listeners = vec![first.into_std()];
        while listeners.len() < handle.workers() {
            listeners.push(TcpListener::builder().reuse_port(true).bind(local_addr)?.into_std());
        }
        let config = Arc::new(self.config.clone());
        let factory = Arc::new(factory);
        let mut workers = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.into_iter().enumerate() {
            let stop = Arc::new(Stop::new());
            let common = self.common(config.clone(), &stop, spawned);
            let factory = factory.clone();
            let make = move || async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, factory(), common).await,
                    Err(_bad) => Stopped::default(),
                }
            };
            let task = handle.spawn_on(index, make).map_err(io::Error::other)?;
            workers.push(Serving { stop, task: Task::Elsewhere(task) });
        }
        Ok(Server { local_addr, workers, meters: self.meters })
    }

    /// What one more worker is told.
    fn common(&self, config: Arc<Config>, stop: &Arc<Stop>, spawned: &'static Location<'static>) -> Common {
        Common {
            config,
            stop: stop.clone(),
            meter: self.meters.join(),
            hooks: self.hooks.clone(),
            ceilings: self.ceilings.clone(),
            connections: self.connections,
            spawned,
        }
    }
}

impl Server {
    /// Settings to start one with.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a server on the current worker; see [`Builder::start`].
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start<H: Handler>(listener: TcpListener, handler: H) -> io::Result<Server> {
        Server::builder().start(listener, handler)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What the server has done so far, and what it holds now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.meters.read()
    }

    /// Stops: accepts what is queued already and no more, sends GOAWAY, lets handlers finish for `grace`, then
    /// closes what is left.
    ///
    /// # Cancellation
    ///
    /// Once polled, the server goes on stopping by itself.
    pub async fn stop(self, grace: Duration) -> Stopped {
        for worker in &self.workers {
            worker.stop.say(grace);
        }
        let mut total = Stopped::default();
        for worker in self.workers {
            // A worker that is gone has closed its connections with it.
            let stopped = match worker.task {
                Task::Here(task) => task.await,
                Task::Elsewhere(task) => task.await,
            };
            let stopped = stopped.unwrap_or_default();
            total.aborted_connections += stopped.aborted_connections;
            total.aborted_handlers += stopped.aborted_handlers;
        }
        total
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = self.workers.len();
        out.debug_struct("Server").field("local_addr", &self.local_addr).field("workers", &workers).finish()
    }
}

/// The connections of one worker.
#[derive(Default)]
struct Members {
    open: RefCell<Slab<Member>>,
    admission: Admission,
    waiter: RefCell<Option<Waker>>,
}

struct Member {
    wire: Rc<Wire>,
    task: Option<JoinHandle<()>>,
}

/// What one worker of a server is told.
struct Common {
    config: Arc<Config>,
    stop: Arc<Stop>,
    meter: Arc<Meter>,
    hooks: Hooks,
    ceilings: Ceilings,
    connections: ConnectionLimits,
    spawned: &'static Location<'static>,
}

/// Serves one worker until the word is said and the connections are gone.
async fn serve<H: Handler>(listener: TcpListener, handler: H, common: Common) -> Stopped {
    let Common { config, stop, meter, hooks, ceilings, connections, spawned } = common;
    let service = Service::new(handler, hooks, Valve::new(&ceilings, &meter), spawned);
    let members = Rc::new(Members { admission: Admission::new(connections), ..Members::default() });
    let admit = |stream: TcpStream, peer: SocketAddr| {
        if !members.admission.enter(peer.ip()) {
            return meter.refused();
        }
        // Without it small answers would wait for the peer's acknowledgement; a socket that refuses is gone.
        let _ = stream.set_nodelay(true);
        let now = context::with(context::Context::turn_time);
        let core = Connection::server(config.clone(), now);
        let wire = Wire::new(core, stream, Ledger::open(meter.clone()), peer);
        service.shared.hooks.connected(&wire);
        members.admit(wire.clone(), connection::drive(service.clone(), wire));
    };
    let grace = loop {
        match accept_or_stop(&listener, &stop).await {
            Next::Connection(stream, peer) => admit(stream, peer),
            // What is short (descriptors, memory) the listener waits out itself; this one is broken.
            Next::Failed(_error) => break poll_fn(|context| stop.poll(context)).await,
            Next::Stop(grace) => break grace,
        }
    };
    while let Ok((stream, peer)) = listener.try_accept() {
        admit(stream, peer);
    }
    drop(listener);
    members.go_away();
    let _ = time::timeout(grace, members.emptied()).await;
    members.abort().await
}

enum Next {
    Connection(TcpStream, SocketAddr),
    Failed(io::Error),
    Stop(Duration),
}

async fn accept_or_stop(listener: &TcpListener, stop: &Stop) -> Next {
    let mut accept = pin!(listener.accept());
    poll_fn(|context| {
        if let Poll::Ready(grace) = stop.poll(context) {
            return Poll::Ready(Next::Stop(grace));
        }
        accept.as_mut().poll(context).map(|accepted| match accepted {
            Ok((stream, peer)) => Next::Connection(stream, peer),
            Err(error) => Next::Failed(error),
        })
    })
    .await
}

impl Members {
    fn admit(self: &Rc<Self>, wire: Rc<Wire>, drive: impl Future<Output = ()> + 'static) {
        let key = self.open.borrow_mut().insert(Member { wire, task: None });
        let leaving = Leaving { members: self.clone(), key };
        let task = worker::spawn(async move {
            let _leaving = leaving;
            drive.await;
        });
        if let Some(member) = self.open.borrow_mut().get_mut(key) {
            member.task = Some(task);
        }
    }

    /// Tells every connection to take no more requests and to end when those under way are done.
    fn go_away(&self) {
        let wires: Vec<Rc<Wire>> =
            self.open.borrow().iter().map(|(_key, member)| member.wire.clone()).collect();
        for wire in wires {
            wire.core.borrow_mut().shutdown();
            wire.ask_flush();
            wire.wake_driver();
        }
    }

    /// Ready when no connection is left.
    async fn emptied(&self) {
        poll_fn(|context| {
            if self.open.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Closes the connections that are left.
    async fn abort(&self) -> Stopped {
        let mut stopped = Stopped::default();
        for (_key, member) in self.open.borrow().iter() {
            stopped.aborted_connections += 1;
            stopped.aborted_handlers += member.wire.busy_streams();
            // What was not answered may have been acted on: the client should know up to where (RFC 9113 §5.4.1).
            member.wire.core.borrow_mut().goaway(Reason::NO_ERROR, b"the time to finish is over");
            member.wire.clone().flush();
            if let Some(task) = &member.task {
                task.abort();
            }
        }
        self.emptied().await;
        stopped
    }
}

/// Takes a connection off the list, however its task ends.
struct Leaving {
    members: Rc<Members>,
    key: Key,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let member = self.members.open.borrow_mut().remove(self.key);
        if let Some(member) = &member {
            self.members.admission.leave(member.wire.peer_addr().ip());
        }
        drop(member);
        if self.members.open.borrow().is_empty() {
            let waiter = self.members.waiter.borrow_mut().take();
            if let Some(waiter) = waiter {
                waiter.wake();
            }
        }
    }
}
