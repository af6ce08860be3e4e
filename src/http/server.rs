//! Accepting connections, and ending them in good order.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    panic::Location,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    http::{
        admission::ConnectionLimits,
        connection,
        core::{self, Older},
        date::Date,
        exchange::Shared,
        front::Front,
        handler::Handler,
        hooks::{BadResponse, ConnectionInfo, ConnectionReport, Hooks},
        life::{Life, Part, ServerHandle, Stopped},
        members::{Members, Seat},
        metrics::{Ledger, Meter, Meters, Metrics},
        pressure::{Ceilings, Pressure, Shed, Valve},
        secure::Security,
        service::Service,
        settings,
        transport::Transport,
        wire::Wire,
    },
    net::{
        TcpListener, TcpStream,
        listen::{Share, Spread, listen},
    },
    proto::h2::{Config, FrameLog},
    trace,
    worker::{
        self, Handle, context,
        dump::{Dump, Knows},
    },
};

/// An HTTP server, on one worker or on all of them.
///
/// It speaks HTTP/2 and, where its builder is told so, HTTP/1.0 and 1.1. It runs until it is stopped or its runtime ends;
/// dropping this value detaches it.
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
    handle: ServerHandle,
    meters: Meters,
}

/// Settings of a [`Server`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Arc<Config>,
    meters: Meters,
    hooks: Hooks,
    ceilings: Ceilings,
    connections: ConnectionLimits,
    spread: Spread,
    pub(super) front: Front,
    pub(super) tls: Option<Security>,
    pub(super) older: Older,
}

impl Builder {
    /// Settings, bounds and deadlines of the connections. A [server](Builder::start) does not start with a `stream_window`,
    /// `output_bytes` or `turn_bytes` of 0, by which nothing would ever move.
    #[must_use]
    pub fn http2(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
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

    /// How connections get to the workers of [`start_on_all`](Builder::start_on_all): each has a queue of its own by default.
    #[must_use]
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
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
    /// The log sees what went over the wire, in both directions and in words, and is called on the connection's worker. In
    /// HTTP/1 a head or trailers are shown as HEADERS and a piece of content as DATA, with the request's number for a stream.
    /// A panic in it ends the log. Connections that are not logged pay one branch a read and a write.
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
    /// `InvalidInput` for [settings](Builder::http2) by which nothing would move; when the listener has no address, or the
    /// runtime takes no more tasks.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn start<H: Handler>(self, listener: TcpListener, handler: H) -> io::Result<Server> {
        let spawned = Location::caller();
        self.check()?;
        let local_addr = listener.local_addr()?;
        let life = Life::new(1, local_addr);
        let common = self.common(Part::new(&life, 0), spawned);
        drop(worker::spawn(serve(listener, handler, common)));
        Ok(Server { local_addr, handle: ServerHandle::new(life), meters: self.meters })
    }

    /// Starts a server on every worker of the current runtime, on one port as [`spread`](Builder::spread) says, each with a
    /// handler of its own, made there by `factory`.
    ///
    /// State may be shared in three ways: what `factory` makes belongs to one worker; what it captures in an
    /// `Arc` belongs to all; and a handler may ask another worker through
    /// [`spawn_on`](crate::spawn_on).
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, and as [`start`](Builder::start); nothing runs then.
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
        self.check()?;
        let shares = TcpListener::builder().bind_each(address, Handle::current().workers(), self.spread)?;
        self.start_shares(shares, factory, spawned)
    }

    /// Starts a server on every worker, all of which accept from one listener: one that the process has
    /// [inherited](crate::service::inherited), or taken over from [the process before](crate::service::Handover).
    ///
    /// That is [`Spread::Shared`], whatever [`spread`](Builder::spread) says. The rest is as with
    /// [`start_on_all`](Builder::start_on_all). A duplicate of the listener keeps the queue of connections after this server's
    /// end, for the next one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the listener has no address of the Internet; the system's, of duplicating it. Nothing runs then.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{net::TcpListener, time::Duration};
    /// use wakering::http::{Body, Request, Response, Server};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let hello = || |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) };
    ///     let server = Server::builder().start_on_all_from(listener, hello)?;
    ///     server.stop(Duration::from_secs(5)).await;
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn start_on_all_from<M, H>(self, listener: std::net::TcpListener, factory: M) -> io::Result<Server>
    where
        M: Fn() -> H + Send + Sync + 'static,
        H: Handler,
    {
        let spawned = Location::caller();
        self.check()?;
        let shares = Share::of(listener, Handle::current().workers())?;
        self.start_shares(shares, factory, spawned)
    }

    fn start_shares<M, H>(
        self,
        shares: Vec<Share>,
        factory: M,
        spawned: &'static Location<'static>,
    ) -> io::Result<Server>
    where
        M: Fn() -> H + Send + Sync + 'static,
        H: Handler,
    {
        let handle = Handle::current();
        let local_addr = shares[0].local_addr()?;
        let factory = Arc::new(factory);
        let life = Life::new(shares.len(), local_addr);
        let server = ServerHandle::new(life.clone());
        for (index, share) in shares.into_iter().enumerate() {
            let common = self.common(Part::new(&life, index), spawned);
            let factory = factory.clone();
            let make = move || async move {
                if let Ok(listener) = share.into_tcp() {
                    serve(listener, factory(), common).await;
                }
            };
            if let Err(refused) = handle.spawn_on(index, make) {
                drop(server.shutdown(Duration::ZERO)); // those that run already
                return Err(io::Error::other(refused));
            }
        }
        Ok(Server { local_addr, handle: server, meters: self.meters })
    }

    fn check(&self) -> io::Result<()> {
        settings::check(&self.config).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// What one more worker is told.
    fn common(&self, part: Part, spawned: &'static Location<'static>) -> Common {
        Common {
            config: self.config.clone(),
            part,
            meter: self.meters.join(),
            hooks: self.hooks.clone(),
            ceilings: self.ceilings.clone(),
            connections: self.connections,
            front: self.front.clone(),
            tls: self.tls.as_ref().map(|tls| tls.offering(self.older.protocols())),
            older: self.older.clone(),
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

    /// What the numbers of [`metrics`](Server::metrics) are read from, by any thread, for as long as it likes.
    #[must_use]
    pub fn meters(&self) -> Meters {
        self.meters.clone()
    }

    /// Ends the server, and waits for its end, from other tasks and threads.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Lists every live task of the runtime, and what it waits for; see [`ServerHandle::dump`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.handle.dump()
    }

    /// Stops: accepts what is queued already and no more, sends GOAWAY, lets handlers finish for `grace`, then
    /// closes what is left. [`ServerHandle::shutdown`] does so without owning the server.
    ///
    /// HTTP/1 has no GOAWAY: the next answer on a connection says `connection: close` and is its last. A connection between two requests
    /// is waited for until a second after its last answer, or for half the grace where that is shorter, and closed at once if it has been
    /// silent for longer (RFC 9112 §9.6).
    ///
    /// Who is no connection yet, since a proxy's header or a handshake of TLS has not come whole, has a second of it at most, and is not
    /// counted.
    ///
    /// # Cancellation
    ///
    /// Once polled, the server goes on stopping by itself.
    pub async fn stop(self, grace: Duration) -> Stopped {
        self.handle.shutdown(grace).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("handle", &self.handle)
            .finish()
    }
}

/// What one worker of a server is told.
struct Common {
    config: Arc<Config>,
    part: Part,
    meter: Arc<Meter>,
    hooks: Hooks,
    ceilings: Ceilings,
    connections: ConnectionLimits,
    front: Front,
    tls: Option<Security>,
    older: Older,
    spawned: &'static Location<'static>,
}

const FULL: &str = "the server has as many connections as it may have";

/// The way of a connection to its place among those that are served.
struct Entrance<H: Handler> {
    config: Arc<Config>,
    front: Front,
    tls: Option<Security>,
    members: Rc<Members>,
    meter: Arc<Meter>,
    service: Rc<Service<H>>,
}

impl<H: Handler> Entrance<H> {
    /// A connection was accepted.
    fn enter(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Without it small answers would wait for the peer's acknowledgement; a socket that refuses is gone.
        let _ = stream.set_nodelay(true);
        if self.front.is_asked(peer) {
            return self.ask(stream, peer);
        }
        if !self.members.admission().enter(peer.ip()) {
            return self.refuse(FULL);
        }
        if self.tls.is_none() {
            let wire = self.open(stream.into(), peer);
            return self.members.admit(wire.clone(), connection::drive(self.service.clone(), wire));
        }
        let entrance = self.clone();
        let begin = |seat: Rc<Seat>| async move { entrance.begin(&seat, stream, peer).await };
        self.members.admit_early(Some(peer.ip()), begin);
    }

    /// A proxy is to say whose connection it is.
    fn ask(self: &Rc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        if !self.members.takes_unknown() {
            return self.refuse("too many connections wait for a proxy's header");
        }
        let entrance = self.clone();
        self.members.admit_early(None, |seat| async move {
            match entrance.front.pass(&mut stream, peer).await {
                Ok(client) if seat.admit(client.ip()) => entrance.begin(&seat, stream, client).await,
                Ok(_client) => entrance.refuse(FULL),
                Err(error) => entrance.refuse(&error.to_string()),
            }
        });
    }

    fn refuse(&self, why: &str) {
        trace::connection_refused(why);
        self.meter.refused();
    }

    /// Begins to serve a connection that has its seat, after the handshake of TLS if there is one.
    async fn begin(self: &Rc<Self>, seat: &Seat, stream: TcpStream, peer: SocketAddr) {
        let transport = match &self.tls {
            None => stream.into(),
            Some(tls) => match tls.shake(stream, peer).await {
                Some(transport) => transport,
                None => return,
            },
        };
        let wire = self.open(transport, peer);
        seat.take(&wire);
        connection::drive(self.service.clone(), wire).await;
    }

    /// A connection of its own right.
    fn open(&self, transport: Transport, peer: SocketAddr) -> Rc<Wire> {
        let now = context::with(context::Context::turn_time);
        let shared = &self.service.shared;
        let mut core = shared.older.server(self.config.clone(), transport.agreed(), now);
        core::set_date(&mut core, &shared.date, now);
        let wire = Wire::new(core, transport, Ledger::open(self.meter.clone()), peer);
        shared.hooks.connected(&wire);
        wire
    }
}

/// Serves one worker until the word is said and the connections are gone.
async fn serve<H: Handler>(listener: TcpListener, handler: H, common: Common) {
    let Common { config, part, meter, hooks, ceilings, connections, front, older, tls, spawned } = common;
    let members = Rc::new(Members::new(connections, part.life.clone()));
    let informant: Rc<dyn Knows> = members.clone();
    context::with(|worker| worker.informants().add(Rc::downgrade(&informant)));
    drop(informant);
    let shared = Shared { date: Date::new(), hooks, watch: members.watch(), older };
    let service = Service::new(handler, shared, Valve::new(&ceilings, &meter), spawned);
    let entrance = Rc::new(Entrance { config, front, tls, members: members.clone(), meter, service });
    let (runtime, mut runtime_ends) = (Handle::current(), false);
    let mut ending = pin!(runtime.stopping());
    let mut word = poll_fn(|context| {
        if !runtime_ends && ending.as_mut().poll(context).is_ready() {
            // The runtime's own grace counts, and it aborts what is longer.
            runtime_ends = true;
            part.life.say(Duration::MAX);
        }
        poll_stop(&part, &members, context)
    });
    let grace =
        match listen(listener).until(&mut word).each(|stream, peer, _| entrance.enter(stream, peer)).await {
            Ok(grace) => grace,
            // What is short (descriptors, memory) the loop waits out itself; this listener is broken, and a server that
            // nobody can reach on one of its workers is better begun anew than half of it kept.
            Err(error) => {
                trace::say(&format!("an HTTP server ends, its listener failed: {error}"));
                part.life.say(Duration::MAX);
                word.await
            }
        };
    trace::server_phase("stopped accepting");
    let stopped = members.wind_down(&part, grace).await;
    trace::server_phase("ended");
    part.end(stopped);
}

/// Waits for the word; meanwhile looks at those who wait for the end.
fn poll_stop(part: &Part, members: &Members, context: &Context<'_>) -> Poll<Duration> {
    let said = part.stop().poll(context);
    if part.stop().was_nudged() {
        part.life.examine(|task| members.has_handler(task));
    }
    said
}
