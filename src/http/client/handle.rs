//! Connecting, and the handle that requests are sent with.

use std::{
    cell::OnceCell,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use ::http::{Request, Version};

use super::{
    error::Error,
    link::{Link, Owner, Place, Requests},
    response::{self, ResponseFuture},
};
use crate::{
    http::{
        body::Body,
        connection,
        core::{self, Choice},
        hooks::{ConnectionInfo, Hooks},
        metrics::{Ledger, Meter, Meters},
        secure::ClientSecurity,
        settings,
        transport::Transport,
        wire::Wire,
    },
    limits::CLIENT_CONNECT_TIMEOUT,
    net::{Addresses, TcpConnector, TcpStream},
    proto::h2::{Config, FrameLog},
    time,
    worker::{self, context},
};

/// Connects, and speaks HTTP/2 with prior knowledge (RFC 9113 §3.3); see [`Builder::connect`].
///
/// # Errors
///
/// As [`Builder::connect`].
///
/// # Panics
///
/// Outside a runtime.
///
/// # Cancellation
///
/// The attempt ends and its socket is closed.
pub async fn connect(addresses: impl Addresses) -> Result<SendRequest, Error> {
    builder().connect(addresses).await
}

/// Speaks HTTP/2 on a connection that was made otherwise; see [`Builder::handshake`].
///
/// # Panics
///
/// Outside a runtime.
#[must_use]
pub fn handshake(stream: TcpStream) -> SendRequest {
    builder().handshake(stream)
}

/// Settings for a connection.
#[must_use]
pub fn builder() -> Builder {
    Builder::default()
}

/// Settings for connections: of the protocol, and time limits.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::http::client;
///
/// wakering::run(async {
///     let nobody = "127.0.0.1:1";
///     let limited = client::builder().connect_timeout(Duration::from_secs(1)).connect(nobody).await;
///     assert!(limited.unwrap_err().is_connect());
/// })?;
/// # Ok::<(), wakering::RuntimeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    config: Arc<Config>,
    connector: TcpConnector,
    connect_timeout: Duration,
    timeout: Option<Duration>,
    max_streams: usize,
    meters: Meters,
    /// What this builder's connections write to, all on one worker.
    meter: Rc<OnceCell<Arc<Meter>>>,
    hooks: Hooks,
    pub(super) choice: Choice,
    pub(in crate::http) tls: Option<ClientSecurity>,
}

impl Default for Builder {
    fn default() -> Builder {
        // Whoever holds a handle wants the connection: it is not ended for having nothing to do. And a server may
        // be slow to take or send content on purpose: how long a request may last is said with the request.
        let config = Config {
            idle_timeout: Duration::MAX,
            stall_timeout: Duration::MAX,
            min_body_rate: 0,
            ..Config::default()
        };
        Builder {
            config: Arc::new(config),
            connector: TcpConnector::new().nodelay(true).happy_eyeballs(true),
            connect_timeout: CLIENT_CONNECT_TIMEOUT,
            timeout: None,
            max_streams: usize::MAX,
            meters: Meters::new(),
            meter: Rc::default(),
            hooks: Hooks::default(),
            choice: Choice::default(),
            tls: None,
        }
    }
}

impl Builder {
    /// Settings, bounds and deadlines of the protocol. Unless they are given, a connection that has nothing to do is
    /// kept for as long as there is a handle, and a peer may be as slow as it likes to take a request's content and to
    /// send a response's. With a `stream_window`, `output_bytes` or `turn_bytes` of 0 nothing would ever move: connecting is
    /// refused.
    #[must_use]
    pub fn http2(mut self, config: impl Into<Arc<Config>>) -> Builder {
        self.config = config.into();
        self
    }

    /// Asks a peer that has been silent for `interval` with a PING whether it is there, and ends the connection when it
    /// goes on being silent for `patience`; by default nobody is asked. HTTP/1.1 has no such question.
    ///
    /// Some servers take frequent PINGs for an attack: gRPC's want five minutes between them.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, patience: Duration) -> Builder {
        let config = Arc::make_mut(&mut self.config);
        (config.keep_alive_interval, config.keep_alive_timeout) = (Some(interval), patience);
        self
    }

    /// How sockets are made. By default small writes are sent at once (`TCP_NODELAY`), and several addresses of a name are
    /// [raced](TcpConnector::happy_eyeballs).
    #[must_use]
    pub fn connector(mut self, connector: TcpConnector) -> Builder {
        self.connector = connector;
        self
    }

    /// Limits the time that connecting takes, all addresses together; 10 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Builder {
        self.connect_timeout = limit;
        self
    }

    /// Limits the time of each request, from sending it until all of its response has come; no limit by default.
    /// [`ResponseFuture::timeout`] sets it for one request.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Builder {
        self.timeout = Some(limit);
        self
    }

    /// Limits the requests under way at a time; by default only the peer does.
    #[must_use]
    pub fn max_streams(mut self, most: usize) -> Builder {
        self.max_streams = most;
        self
    }

    /// Counts what these connections do in `meters`.
    #[must_use]
    pub fn meters(mut self, meters: Meters) -> Builder {
        self.meters = meters;
        self.meter = Rc::default();
        self
    }

    /// Asks `choose` for every connection whether its frames are to be logged, and to whom: what went over the wire, in
    /// both directions and in words, as of [`http::Builder::log_frames`](crate::http::Builder::log_frames).
    #[must_use]
    pub fn log_frames(
        mut self,
        choose: impl Fn(&ConnectionInfo) -> Option<FrameLog> + Send + Sync + 'static,
    ) -> Builder {
        self.hooks.logged = Some(Arc::new(choose));
        self
    }

    /// Whether a connection in cleartext carries one request at a time.
    pub(super) fn is_narrow_in_cleartext(&self) -> bool {
        self.choice.in_cleartext() != Version::HTTP_2
    }

    pub(super) fn time_to_connect(&self) -> Duration {
        self.connect_timeout
    }

    /// Connects to the first of `addresses` that answers, and speaks HTTP/2 with prior knowledge, unless HTTP/1.1 was chosen.
    ///
    /// It does not wait for the peer's first word: the first request leaves together with the preface.
    ///
    /// # Errors
    ///
    /// [`Kind::Connect`](super::Kind::Connect) with the system's error as source, or
    /// [`Kind::Timeout`](super::Kind::Timeout).
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancellation
    ///
    /// The attempt ends and its socket is closed.
    pub async fn connect(&self, addresses: impl Addresses) -> Result<SendRequest, Error> {
        self.connect_to(addresses, None).await
    }

    /// As `connect`, over TLS if that is to be spoken with a host.
    pub(in crate::http) async fn connect_to(
        &self,
        addresses: impl Addresses,
        host: Option<&str>,
    ) -> Result<SendRequest, Error> {
        settings::check(&self.config).map_err(Error::misuse)?;
        let security = match (host, &self.tls) {
            (None, _) => None,
            (Some(host), Some(tls)) => Some((host, tls)),
            (Some(_host), None) => return Err(Error::misuse("https needs TLS, which has not been set up")),
        };
        let attempt = async {
            let stream = self.connector.connect(addresses).await?;
            match security {
                None => Ok((stream.into(), self.choice.in_cleartext())),
                Some((host, tls)) => tls.secure(host, stream, self.choice).await,
            }
        };
        let late = |_elapsed| {
            let text = format!("connecting took longer than {:?}", self.connect_timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        let connected = time::timeout(self.connect_timeout, attempt).await;
        let (stream, version) = connected.unwrap_or_else(late).map_err(Error::connect)?;
        Ok(self.speak(stream, version))
    }

    /// Speaks HTTP/2 on a connection that was made otherwise, or HTTP/1.1 if that was chosen.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[must_use]
    pub fn handshake(&self, stream: TcpStream) -> SendRequest {
        self.speak(stream.into(), self.choice.in_cleartext())
    }

    fn speak(&self, stream: Transport, version: Version) -> SendRequest {
        let now = context::with(context::Context::turn_time);
        let meter = self.meter.get_or_init(|| self.meters.join());
        // A peer that is gone already has no address; the first write says so.
        let peer = stream.peer_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let core = core::client(self.config.clone(), version, now);
        let wire = Wire::new(core, stream, Ledger::open(meter.clone()), peer);
        self.hooks.connected(&wire);
        let link = Link::new(wire.clone(), self.timeout, self.max_streams.max(1));
        let handle = SendRequest::new(link.clone());
        drop(worker::spawn(connection::drive(Requests { link }, wire)));
        handle
    }
}

/// A handle to one connection: sends requests on it.
///
/// Clones share the connection, and many requests may be under way at a time; the peer says how many. In HTTP/1.1 it is one. The
/// connection ends in good order when the last handle is dropped and the last response has come or was dropped.
pub struct SendRequest {
    link: Rc<Link>,
    /// Room that `ready` has kept.
    permit: bool,
}

impl SendRequest {
    fn new(link: Rc<Link>) -> SendRequest {
        link.add_handle();
        SendRequest { link, permit: false }
    }

    /// Waits until the peer takes another request, and keeps that place for the next [`send`](SendRequest::send) of
    /// this handle. First come, first served.
    ///
    /// # Errors
    ///
    /// When the connection takes no more requests ([`Error::is_closed`]), or too many wait
    /// ([`Kind::Busy`](super::Kind::Busy)).
    ///
    /// # Cancellation
    ///
    /// The place in the line is lost.
    pub async fn ready(&mut self) -> Result<(), Error> {
        if !self.permit {
            let mut place = Place::new(self.link.clone());
            poll_fn(|context| place.poll_permit(context)).await?;
            self.permit = true;
        }
        if self.link.is_over() {
            return Err(self.link.refusal());
        }
        Ok(())
    }

    /// Whether no request can be sent here any more: the connection ended, or one side is going away.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.is_over()
    }

    /// Waits for the peer's first word, and tells whether it takes extended CONNECT (RFC 8441): a CONNECT request with
    /// a [`Protocol`](crate::http::Protocol) among its extensions.
    ///
    /// # Errors
    ///
    /// When the connection takes no more requests.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::{
    ///     http::{Body, Config, Method, Protocol, Request, Server, Tunnel, client},
    ///     net::TcpListener,
    /// };
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let address = listener.local_addr()?;
    ///     let config = Config { connect_protocol: true, ..Config::default() };
    ///     let _server = Server::builder().http2(config).start(listener, |request: Request<Body>| async {
    ///         let (mut tunnel, response) = Tunnel::accept(request.into_body());
    ///         wakering::spawn(async move {
    ///             while let Some(Ok(bytes)) = tunnel.receive().await {
    ///                 tunnel.send(bytes).await.expect("the client listens");
    ///             }
    ///             tunnel.close();
    ///         });
    ///         response
    ///     })?;
    ///
    ///     let mut connection = client::connect(address).await?;
    ///     assert!(connection.takes_connect_protocol().await?);
    ///     let (outgoing, body) = Body::channel();
    ///     let request = Request::builder()
    ///         .method(Method::CONNECT)
    ///         .uri(format!("http://{address}/chat"))
    ///         .extension(Protocol::WEBSOCKET)
    ///         .body(body)?;
    ///     let response = connection.send(request).await?;
    ///     let mut tunnel = Tunnel::new(response.into_body(), outgoing);
    ///     tunnel.send("there".into()).await?;
    ///     assert_eq!(tunnel.receive().await.expect("an echo")?, "there");
    ///     tunnel.close();
    ///     assert!(tunnel.receive().await.is_none());
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn takes_connect_protocol(&self) -> Result<bool, Error> {
        poll_fn(|context| self.link.poll_connect_protocol(context)).await
    }

    /// Waits until the connection has ended and its socket is closed. A handle does not keep a connection that the peer
    /// ends; otherwise it is there until all handles are dropped, this one included.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) {
        poll_fn(|context| self.link.poll_gone(context)).await;
    }

    /// Ends the connection in good order for all its handles: it takes no more requests, those under way go on, and
    /// then GOAWAY is sent. Ready when the socket is closed.
    ///
    /// # Cancellation
    ///
    /// Once polled, the connection goes on ending.
    pub async fn shutdown(self) {
        self.link.leave();
        self.closed().await;
    }

    /// Another handle, with room kept for a request; `None` when there is none.
    pub(super) fn with_room(&self) -> Option<SendRequest> {
        let granted = !self.link.is_over() && self.link.try_permit();
        granted.then(|| {
            let mut other = self.clone();
            other.permit = true;
            other
        })
    }

    /// Whether nothing is under way, and nothing about to be.
    pub(super) fn is_idle(&self) -> bool {
        self.link.is_idle()
    }

    /// Whether it has nothing to do, and its peer has ended it without a word.
    pub(super) fn is_stale(&self) -> bool {
        self.link.is_stale()
    }

    /// Whether it carries one request at a time.
    pub(super) fn is_narrow(&self) -> bool {
        self.link.is_narrow()
    }

    pub(super) fn set_owner(&self, owner: Weak<dyn Owner>) {
        self.link.set_owner(owner);
    }

    /// Ends the connection when what is under way is done.
    pub(super) fn leave(&self) {
        self.link.leave();
    }

    /// Sends a request; what it returns yields the response.
    ///
    /// The target names scheme and authority, as in `http://example.org/path`; a `host` field takes the authority's
    /// place. Content is sent as the peer takes it, also after the response's head has come; `content-length` is
    /// added where the length is known, and must be right where it is given. With `expect: 100-continue`, content is
    /// held back until the peer asks for it, or for a second.
    ///
    /// A response need not be read at once, but what has come and is not read holds the windows of its stream and of
    /// the connection closed.
    ///
    /// After [`ready`](SendRequest::ready) there is room for it. Without, it fails with
    /// [`Kind::Busy`](super::Kind::Busy) when the peer takes no more requests at the moment.
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    pub fn send(&mut self, request: Request<Body>) -> ResponseFuture {
        response::send(&self.link, request, std::mem::take(&mut self.permit))
    }
}

impl Clone for SendRequest {
    fn clone(&self) -> SendRequest {
        SendRequest::new(self.link.clone())
    }
}

impl Drop for SendRequest {
    fn drop(&mut self) {
        if std::mem::take(&mut self.permit) {
            self.link.end_permit();
            self.link.freed();
        }
        self.link.drop_handle();
    }
}

impl fmt::Debug for SendRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SendRequest")
            .field("requests", &self.link.streams())
            .field("closed", &self.is_closed())
            .finish()
    }
}
