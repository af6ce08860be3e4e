//! A page that shows the running process: its workers, tasks, connections and servers, live.
//!
//! ```no_run
//! use wakering::{console, http::{Body, Request, Response, Server}, net::TcpListener};
//!
//! wakering::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:8080")?;
//!     let server = Server::start(listener, |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) })?;
//!     let console = console::builder().server("hello", server.meters()).serve("127.0.0.1:6669".parse().expect("an address"))?;
//!     println!("look at http://{}/", console.local_addr());
//!     wakering::signal::any([wakering::signal::Kind::INTERRUPT])?.recv().await?;
//!     Ok::<(), std::io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | path | what |
//! |---|---|
//! | `/` | the page, with its style and script; nothing comes from elsewhere |
//! | `/json` | what it shows, as JSON |
//! | `/metrics` | the numbers, as Prometheus reads them |
//!
//! Browsers speak HTTP/1.1 in cleartext, so that the feature `console` brings `http1`.
//!
//! Nothing is gathered while nobody looks: each request reads the [metrics](crate::metrics), which are kept anyway, and asks for a
//! [dump](crate::dump), from a thread of the blocking pool, of which it takes one at a time however many look: requests within a
//! quarter of a second share what is gathered, and so do those that come while it is.
//!
//! # Who may look
//!
//! Whoever reaches the port sees names of tasks, places in the source and addresses of peers, and can change nothing. So an
//! address that others can reach is refused unless [told otherwise](Builder::reachable_by_others), and then a proxy that asks
//! who it is belongs in front. A page of another origin cannot read what is here: requests have to name the host as an IP
//! address, as `localhost`, or by a name that the [builder was told](Builder::host), so that nobody's name can be
//! pointed at this machine afterwards (DNS rebinding).

mod gathering;
mod json;
mod page;
mod prometheus;
mod snapshot;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;

use self::{
    gathering::{Gatherings, Untold},
    snapshot::Source,
};
use crate::{
    http::{self, Body, Http1, Meters, Server, ServerHandle},
    limits::CONSOLE_CONNECTIONS,
    net::TcpListener,
    worker::{Handle, dump::Dump},
};

/// Serves the page of the current runtime at `addr`, on the current worker; see the [module](self).
///
/// # Errors
///
/// As [`Builder::serve`].
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// wakering::run(async {
///     let console = wakering::console::serve("127.0.0.1:0".parse().expect("an address"))?;
///     println!("look at http://{}/", console.local_addr());
///     console.stop(std::time::Duration::ZERO).await;
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn serve(addr: SocketAddr) -> io::Result<Console> {
    builder().serve(addr)
}

/// Settings of a console.
pub fn builder() -> Builder {
    Builder::default()
}

/// Settings of a console; made by [`builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is served before `serve`"]
pub struct Builder {
    servers: Vec<(String, Meters)>,
    hosts: Vec<String>,
    reachable: bool,
}

impl Builder {
    /// Shows what is counted in `meters` under this name: those of a [`Server`], or of a client.
    pub fn server(mut self, name: impl Into<String>, meters: Meters) -> Self {
        self.servers.push((name.into(), meters));
        self
    }

    /// Takes requests that name the host so, beside `localhost` and IP addresses: that of a proxy in front.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// Whether it may be served at an address that other machines reach; not so by default.
    pub fn reachable_by_others(mut self, yes: bool) -> Self {
        self.reachable = yes;
        self
    }

    /// Serves the page of the current runtime at `addr`, on the current worker.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for an address that is not this machine's own, unless it [may
    /// be](Builder::reachable_by_others); else as [`TcpListener::bind`].
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    #[track_caller]
    pub fn serve(self, addr: SocketAddr) -> io::Result<Console> {
        let Builder { servers, hosts, reachable } = self;
        if !reachable && !addr.ip().to_canonical().is_loopback() {
            let text =
                format!("the console at {addr} could be seen from other machines, which was not asked for");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let gatherings = Gatherings::new(Source::new(Handle::current(), servers));
        let desk = Rc::new(Desk { gatherings, hosts });
        let handler = move |request: Request<Body>| {
            let desk = desk.clone();
            async move { desk.answer(&request).await }
        };
        let settings = Server::builder().max_connections(CONSOLE_CONNECTIONS).http1(Http1::default());
        let server = settings.start(TcpListener::bind(addr)?, handler)?;
        Ok(Console { server })
    }
}

/// A console that is served. Dropping it detaches it.
pub struct Console {
    server: Server,
}

impl Console {
    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Ends the console, waits for its end, and dumps the runtime, from other tasks and threads.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// wakering::run(async {
    ///     let console = wakering::console::serve("127.0.0.1:0".parse()?)?;
    ///     let handle = console.handle();
    ///     drop(console); // it is served all the same
    ///     wakering::spawn_blocking(move || handle.shutdown_blocking(Duration::from_secs(5)))?.await??;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }

    /// Waits until it has ended, as [`ServerHandle::closed`] does.
    ///
    /// # Errors
    ///
    /// As [`ServerHandle::closed`].
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn closed(&self) -> Result<http::Stopped, http::WaitsForItself> {
        self.handle().closed().await
    }

    /// Lists every live task of the runtime, which is what the page shows; see [`ServerHandle::dump`].
    #[must_use]
    pub fn dump(&self) -> Dump {
        self.server.dump()
    }

    /// Stops it, as [`Server::stop`] does.
    ///
    /// # Cancellation
    ///
    /// Once polled, it goes on stopping by itself.
    pub async fn stop(self, grace: Duration) -> http::Stopped {
        self.server.stop(grace).await
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Console").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

/// What requests are answered from.
struct Desk {
    gatherings: Gatherings,
    hosts: Vec<String>,
}

impl Desk {
    async fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if !self.is_named(request) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "this host is not known by that name");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "here is only something to look at");
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/json" => self.json().await,
            "/metrics" => content(
                "text/plain; version=0.0.4; charset=utf-8",
                self.gatherings.source().prometheus().into(),
            ),
            path => match page::file(path) {
                Some((kind, text)) => content(kind, Bytes::from_static(text.as_bytes())),
                None => plain(StatusCode::NOT_FOUND, "there is no such page"),
            },
        }
    }

    /// Whether the request names this host in a way that no other site can.
    fn is_named(&self, request: &Request<Body>) -> bool {
        let field = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        // Over HTTP/2 the name is part of the target; where there are both, both count.
        let target = request.uri().authority().map(|authority| authority.as_str());
        let mut names = field.into_iter().chain(target).peekable();
        names.peek().is_some() && names.all(|name| self.knows(name))
    }

    fn knows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<::http::uri::Authority>() else { return false };
        let host = authority.host().to_ascii_lowercase();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        literal.is_ok() || host == "localhost" || self.hosts.contains(&host)
    }

    async fn json(&self) -> Response<Body> {
        match self.gatherings.json().await {
            Ok(text) => content("application/json", text),
            Err(Untold::PoolFull) => plain(StatusCode::SERVICE_UNAVAILABLE, "the blocking pool is full"),
            Err(Untold::Lost) => plain(StatusCode::SERVICE_UNAVAILABLE, "nothing can be gathered"),
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = content("text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response
}

/// An answer that no other site can read, frame or take for something else, and that is not kept.
fn content(kind: &'static str, content: Bytes) -> Response<Body> {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut response = Response::new(Body::from(content));
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (::http::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
