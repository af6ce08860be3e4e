//! A client of many hosts: requests go to a connection that has room, and again to another where that is safe.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    future::{Future, IntoFuture},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ::http::{
    Method, Request, Response, Uri,
    uri::{Authority, Scheme},
};

use super::{
    error::{Error, Kind},
    handle::{Builder, SendRequest},
    host::Host,
    target,
};
use crate::{
    http::{body::Body, hooks::ConnectionInfo, metrics::Meters},
    limits::{
        CLIENT_CONNECTIONS, CLIENT_IDLE_CONNECTIONS, CLIENT_IDLE_TIMEOUT, CLIENT_RETRIES, CLIENT_RETRY_PAUSE,
    },
    net::TcpConnector,
    proto::h2::{CommandError, Config, FrameLog, Protocol},
    time,
    worker::dump,
};

/// What connections are told apart by: the scheme, and host and port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    secure: bool,
    authority: Authority,
}

impl Key {
    /// The connection that a target needs.
    fn of(uri: &Uri) -> Result<Key, Error> {
        let secure = match uri.scheme() {
            None => false,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_other) => return Err(Error::misuse("the target's scheme is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| Error::misuse("the target names no host"))?;
        if authority.host().is_empty() {
            return Err(Error::misuse("the target names no host"));
        }
        // With and without the usual port it is the same host.
        let usual = if secure { ":443" } else { ":80" };
        match authority.as_str().strip_suffix(usual).map(Authority::try_from) {
            Some(Ok(authority)) => Ok(Key { secure, authority }),
            Some(Err(_)) | None => Ok(Key { secure, authority: authority.clone() }),
        }
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    /// Whom TLS is spoken with, if it is.
    pub(super) fn secure_host(&self) -> Option<&str> {
        self.secure.then(|| self.host())
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }
}

/// Settings of a pool.
#[derive(Clone, Debug)]
pub(in crate::http) struct Settings {
    pub(in crate::http) builder: Builder,
    pub(super) connections_per_host: usize,
    pub(super) names: HashMap<String, Vec<SocketAddr>>,
    idle_connections: usize,
    retries: u32,
    timeout: Option<Duration>,
}

/// All connections of a client.
pub(super) struct Pool {
    pub(super) settings: Rc<Settings>,
    /// Connections that are open.
    pub(super) open: Cell<usize>,
    hosts: RefCell<HashMap<Key, Rc<Host>>>,
}

impl Pool {
    fn host(self: &Rc<Pool>, key: Key) -> Result<Rc<Host>, Error> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(host) = hosts.get(&key) {
            return Ok(host.clone());
        }
        target::check_port(&key.authority)?;
        let host = Host::new(key.clone(), self);
        hosts.insert(key, host.clone());
        Ok(host)
    }

    /// Forgets a host that has nothing left.
    pub(super) fn forget(&self, key: &Key) {
        let host = self.hosts.borrow_mut().remove(key);
        drop(host);
    }

    /// Gives up those that have been idle longest, when there are too many.
    pub(super) fn bound_idle(&self) {
        while self.open.get() > self.settings.idle_connections {
            let hosts: Vec<Rc<Host>> = self.hosts.borrow().values().cloned().collect();
            let idle: usize = hosts.iter().map(|host| host.idle()).sum();
            if idle <= self.settings.idle_connections {
                return;
            }
            let longest = hosts.iter().filter_map(|host| Some((host.longest_idle()?, host)));
            match longest.min_by_key(|(since, _host)| *since) {
                Some((since, host)) => host.close_idle(since),
                None => return,
            }
        }
    }
}

/// An HTTP client that keeps connections, for all requests of a worker.
///
/// It speaks HTTP/2: in cleartext with prior knowledge, over TLS when the server chooses it. With the feature `http1` it
/// speaks HTTP/1.1 with servers over TLS that have nothing newer, and in cleartext when told to
/// (`ClientBuilder::http1_in_cleartext`).
///
/// Requests to one host share a connection, up to what the peer takes at a time, which is one in HTTP/1.1; further ones are
/// opened up to a bound, and beyond that requests wait, first come, first served. Concurrent requests to a new host share
/// one attempt to connect. A request that its peer is known not to have processed (it went away, refused the stream, or
/// the connection ended before the request was written) is sent again, a few times, if its content can be:
/// content in one piece can, and content made piece by piece as long as nobody has asked for its first piece. In HTTP/1.1
/// nothing says what was processed: there a request that a kept connection lost is sent again once, over a new
/// connection, if its method is idempotent (RFC 9112 §9.3.1).
///
/// Clones share the connections. When the last of them is dropped, and the last response, the connections end in
/// good order.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakering::{http::{Body, Request, Response, Server, client::Client}, net::TcpListener};
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let _server = Server::start(listener, |_: Request<Body>| async { Response::new("Hello!".into()) })?;
///
///     let client = Client::builder().timeout(Duration::from_secs(10)).build();
///     let response = client.get(format!("http://{address}/")).await?;
///     assert_eq!(response.into_body().collect(1000).await?, "Hello!");
///
///     let request = Request::post(format!("http://{address}/")).body("content".into())?;
///     let response = client.request(request).timeout(Duration::from_secs(1)).await?;
///     assert_eq!(response.status(), 200);
///     assert_eq!(client.connections(), 1);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    pool: Rc<Pool>,
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    /// A client with the settings that [`ClientBuilder`] begins with.
    #[must_use]
    pub fn new() -> Client {
        Client::builder().build()
    }

    /// Settings for a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Sends a GET for a target such as `http://example.org/path`.
    pub fn get<T: TryInto<Uri>>(&self, target: T) -> Call {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        match target.try_into() {
            Ok(uri) => {
                *request.uri_mut() = uri;
                self.request(request)
            }
            Err(_) => Call::new(self.pool.clone(), Err(Error::misuse("the target is no URI"))),
        }
    }

    /// Sends a request; see [`SendRequest::send`] for what is done with its fields. A `host` field
    /// does not change where it is sent to.
    pub fn request(&self, request: Request<Body>) -> Call {
        Call::new(self.pool.clone(), Ok(request))
    }

    /// Connections that are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.pool.hosts.borrow().values().map(|host| host.connections()).sum()
    }

    /// Ends all connections in good order: requests that wait fail, those under way go on. Ready when the last
    /// socket is closed.
    ///
    /// # Cancellation
    ///
    /// Once polled, the connections go on ending.
    pub async fn shutdown(self) {
        let hosts: Vec<Rc<Host>> = self.pool.hosts.borrow_mut().drain().map(|(_key, host)| host).collect();
        let connections: Vec<SendRequest> = hosts.iter().flat_map(|host| host.leave()).collect();
        connections.iter().for_each(SendRequest::leave);
        for connection in connections {
            connection.closed().await;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.pool.hosts.borrow().len();
        out.debug_struct("Client").field("hosts", &hosts).field("connections", &self.connections()).finish()
    }
}

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    pub(in crate::http) settings: Settings,
}

impl Default for ClientBuilder {
    fn default() -> ClientBuilder {
        let config = Config {
            idle_timeout: CLIENT_IDLE_TIMEOUT,
            stall_timeout: Duration::MAX,
            min_body_rate: 0,
            ..Config::default()
        };
        let settings = Settings {
            builder: Builder::default().http2(config),
            connections_per_host: CLIENT_CONNECTIONS,
            names: HashMap::new(),
            idle_connections: CLIENT_IDLE_CONNECTIONS,
            retries: CLIENT_RETRIES,
            timeout: None,
        };
        ClientBuilder { settings }
    }
}

impl ClientBuilder {
    /// Settings, bounds and deadlines of the protocol. Its `idle_timeout` is how long a connection without requests
    /// is kept; 90 seconds unless this is given.
    #[must_use]
    pub fn http2(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.settings.builder = self.settings.builder.http2(config);
        self
    }

    /// Asks a peer that has been silent for `interval` whether it is there; see [`Builder::keep_alive`].
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, patience: Duration) -> Self {
        self.settings.builder = self.settings.builder.keep_alive(interval, patience);
        self
    }

    /// Chooses whose frames are logged; see [`Builder::log_frames`].
    #[must_use]
    pub fn log_frames(
        mut self,
        choose: impl Fn(&ConnectionInfo) -> Option<FrameLog> + Send + Sync + 'static,
    ) -> Self {
        self.settings.builder = self.settings.builder.log_frames(choose);
        self
    }

    /// How sockets are made.
    #[must_use]
    pub fn connector(mut self, connector: TcpConnector) -> Self {
        self.settings.builder = self.settings.builder.connector(connector);
        self
    }

    /// Limits the time that looking a name up may take, and connecting, each; 10 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.builder = self.settings.builder.connect_timeout(limit);
        self
    }

    /// Limits the time of each request, waiting, connecting and repeating included, until all of its response has
    /// come; no limit by default. [`Call::timeout`] sets it for one request.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = Some(limit);
        self
    }

    /// Limits the connections to one host; 4 by default, and at least 1. In HTTP/1.1 it limits the requests under way, too.
    #[must_use]
    pub fn connections_per_host(mut self, most: usize) -> Self {
        self.settings.connections_per_host = most.max(1);
        self
    }

    /// Limits the requests under way on one connection; by default only the peer does.
    #[must_use]
    pub fn streams_per_connection(mut self, most: usize) -> Self {
        self.settings.builder = self.settings.builder.max_streams(most);
        self
    }

    /// Limits the connections without requests, over all hosts; those that were used least recently go. 64 by
    /// default.
    #[must_use]
    pub fn idle_connections(mut self, most: usize) -> Self {
        self.settings.idle_connections = most;
        self
    }

    /// How often a request is sent again that its peer has not processed; 3 times by default.
    #[must_use]
    pub fn retries(mut self, most: u32) -> Self {
        self.settings.retries = most;
        self
    }

    /// Uses these addresses for a host instead of looking its name up.
    #[must_use]
    pub fn resolve(mut self, host: impl Into<String>, addresses: Vec<SocketAddr>) -> Self {
        self.settings.names.insert(host.into().to_ascii_lowercase(), addresses);
        self
    }

    /// Counts what the client does in `meters`.
    #[must_use]
    pub fn meters(mut self, meters: Meters) -> Self {
        self.settings.builder = self.settings.builder.meters(meters);
        self
    }

    /// Makes the client. It stays on its worker.
    #[must_use]
    pub fn build(self) -> Client {
        let settings = Rc::new(self.settings);
        Client { pool: Rc::new(Pool { settings, open: Cell::new(0), hosts: RefCell::default() }) }
    }
}

/// A request that a [`Client`] is to send; await it.
///
/// # Errors
///
/// [`Error`], after as many attempts as are allowed and safe.
///
/// # Cancellation
///
/// The request is withdrawn: it leaves the line, or its stream is reset with CANCEL.
#[must_use = "a call does nothing unless it is awaited"]
pub struct Call {
    pool: Rc<Pool>,
    request: Result<Request<Body>, Error>,
    timeout: Option<Duration>,
    on_interim: Option<Box<dyn FnMut(Response<()>)>>,
}

impl Call {
    fn new(pool: Rc<Pool>, request: Result<Request<Body>, Error>) -> Call {
        let timeout = pool.settings.timeout;
        Call { pool, request, timeout, on_interim: None }
    }

    /// Limits the time from awaiting it until all of the response has come, in place of the client's limit.
    pub fn timeout(mut self, limit: Duration) -> Call {
        self.timeout = Some(limit);
        self
    }

    /// Calls `seen` with each interim response (1xx, for instance 103 Early Hints).
    pub fn on_interim(mut self, seen: impl FnMut(Response<()>) + 'static) -> Call {
        self.on_interim = Some(Box::new(seen));
        self
    }

    async fn run(self) -> Result<Response<Body>, Error> {
        let Call { pool, request, timeout, mut on_interim } = self;
        let mut request = request?;
        // A host field names the host to the server; where the connection goes is said by the target, if it says so.
        let key = Key::of(request.uri());
        target::complete(&mut request)?;
        let key = key.or_else(|_homeless| Key::of(request.uri()))?;
        // A limit beyond all time is none.
        let limit = timeout.and_then(|limit| Some((limit, time::now().checked_add(limit)?)));
        let (mut attempts, mut repeated) = (0, false);
        loop {
            let wanted = request.uri().clone();
            let checkout = pool.host(key.clone())?.checkout(repeated);
            let checkout =
                dump::waiting(move |out| write!(out, "a connection with room for {wanted}"), checkout);
            let mut handle = match limit {
                Some((limit, deadline)) => {
                    let served = time::timeout_at(deadline, checkout).await;
                    served.unwrap_or_else(|_| Err(Error::late(limit).unprocessed()))?
                }
                None => checkout.await?,
            };
            if request.extensions().get::<Protocol>().is_some() && !handle.takes_connect_protocol().await? {
                return Err(Error::command(CommandError::NoConnectProtocol));
            }
            let mut future = handle.send(request);
            drop(handle);
            if let Some((limit, deadline)) = limit {
                future = future.timeout_at(limit, deadline);
            }
            if let Some(seen) = &mut on_interim {
                while let Some(interim) = future.interim().await {
                    seen(interim);
                }
            }
            let error = match (&mut future).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // RFC 9112 §9.3.1: a request that may have been processed is sent again once, if that does no harm.
            let repeats = error.is_unanswered() && !repeated;
            let again = future
                .take_request()
                .filter(|request| error.is_retryable() || (repeats && is_idempotent(request.method())));
            let Some(again) = again.filter(|_| attempts < pool.settings.retries) else { return Err(error) };
            if !error.is_retryable() {
                repeated = true;
                pool.host(key.clone())?.distrust();
            }
            request = again;
            attempts += 1;
            if error.kind() == Kind::Refused && attempts > 1 {
                // It refused twice: it has too much to do, and this is not the moment for more.
                time::sleep(CLIENT_RETRY_PAUSE * attempts).await;
            }
        }
    }
}

/// RFC 9110 §9.2.2: twice is as good as once.
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

impl IntoFuture for Call {
    type Output = Result<Response<Body>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Call").field("request", &self.request).field("timeout", &self.timeout).finish()
    }
}
