//! The server's side of handshakes: configuration, bounds, counts.

use std::{
    fmt,
    future::poll_fn,
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    anteroom::Anteroom,
    error::TlsError,
    secured::Secured,
    session::{self, Session},
    stream::TlsStream,
};
use crate::{
    limits::TLS_HANDSHAKE_TIMEOUT,
    net::{Stream, part},
    time,
};

/// Shakes hands with clients, as rustls's [`ServerConfig`] says: certificates, by name if there are several, versions,
/// what is asked of clients, tickets.
///
/// Clones share everything: the configuration, which [`replace`](TlsAcceptor::replace) changes for all of them, the bound on
/// handshakes under way, and the counts. It may go to other workers.
///
/// A handshake has [10 seconds](TlsAcceptor::handshake_timeout) and [one of 1,024 places](TlsAcceptor::handshakes). Early
/// data (0-RTT) is not taken, whatever the configuration says: it can be replayed by anybody.
///
/// [`http::Builder::tls`](crate::http::Builder::tls) takes one; [`TlsListener`](super::TlsListener) accepts with one, and so
/// may an accept loop of [`net::listen`](mod@crate::net::listen), whose connections are tasks of their own, so that a slow
/// handshake holds up nobody:
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tls-ring")] {
/// use std::{io, net::SocketAddr};
/// use wakering::{
///     CancellationToken,
///     net::{TcpListener, TcpStream, listen},
///     tls::{TlsAcceptor, TlsConnector, rustls},
/// };
///
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let certificate = made.cert.der().clone();
/// # let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
/// let config = rustls::ServerConfig::builder()
///     .with_no_client_auth()
///     .with_single_cert(vec![certificate.clone()], key)?;
/// let acceptor = TlsAcceptor::new(config);
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let stop = CancellationToken::new();
///     let greet = move |stream: TcpStream, peer: SocketAddr| {
///         let acceptor = acceptor.clone();
///         async move {
///             let mut stream = acceptor.accept(stream).await?;
///             stream.write_all(format!("Hello, {peer}\n").as_bytes()).await?;
///             stream.shutdown().await
///         }
///     };
///     let server = wakering::spawn(listen(listener).until(stop.cancelled()).serve(greet));
///
///     let mut roots = rustls::RootCertStore::empty();
///     roots.add(certificate)?;
///     let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
///     let stream = TcpStream::connect(address).await?;
///     let mut stream = TlsConnector::new(config).connect("localhost", stream).await?;
///     let mut text = bytes::BytesMut::new();
///     while stream.read_buf(&mut text).await? > 0 {}
///     assert!(text.starts_with(b"Hello, 127.0.0.1:"));
///
///     stop.cancel();
///     assert_eq!(server.await??.accepted, 1);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    current: RwLock<Current>,
    room: Anteroom,
    counts: Counts,
}

struct Current {
    config: Arc<ServerConfig>,
    /// What is offered by ALPN if the configuration offers nothing.
    protocols: Vec<Vec<u8>>,
}

/// Of handshakes; nothing else is read by them, so no order is needed.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    cleartext: AtomicU64,
}

/// What an acceptor and its clones have done so far; see [`TlsAcceptor::metrics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsMetrics {
    /// Handshakes that were begun.
    pub begun: u64,
    /// Handshakes that came to a good end.
    pub finished: u64,
    /// Handshakes that failed, or were given up by the client; those of the next two are not among them.
    pub failed: u64,
    /// Handshakes that took too long, or so long that others got their place.
    pub late: u64,
    /// Clients that did not speak TLS at all.
    pub cleartext: u64,
    /// Handshakes that are under way.
    pub under_way: usize,
}

impl TlsAcceptor {
    /// An acceptor for this configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> TlsAcceptor {
        let current = Current { config: prepared(&config.into(), &[]), protocols: Vec::new() };
        let shared =
            Shared { current: RwLock::new(current), room: Anteroom::new(), counts: Counts::default() };
        TlsAcceptor { shared: Arc::new(shared), timeout: TLS_HANDSHAKE_TIMEOUT }
    }

    /// Limits the time of each handshake of this clone, the wait for a place included; 10 seconds by default.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsAcceptor {
        self.timeout = limit;
        self
    }

    /// Limits the handshakes under way at a time, of all clones on all workers; 1,024 by default, and at least one. Further
    /// ones wait in line. One that has taken longer than a second is ended when somebody waits for its place.
    #[must_use]
    pub fn handshakes(self, most: usize) -> TlsAcceptor {
        self.shared.room.set_limit(most);
        self
    }

    /// Uses another configuration from now on, for all clones: certificates that were renewed, say. Connections that there
    /// are go on, and so do handshakes that have begun.
    ///
    /// For sessions to be resumed across the change, give the new configuration the `ticketer` and the `session_storage` of
    /// the old one.
    pub fn replace(&self, config: impl Into<Arc<ServerConfig>>) {
        let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        current.config = prepared(&config.into(), &current.protocols);
    }

    /// What has been done so far.
    #[must_use]
    pub fn metrics(&self) -> TlsMetrics {
        let Counts { begun, finished, failed, late, cleartext } = &self.shared.counts;
        TlsMetrics {
            begun: begun.load(Relaxed),
            finished: finished.load(Relaxed),
            failed: failed.load(Relaxed),
            late: late.load(Relaxed),
            cleartext: cleartext.load(Relaxed),
            under_way: self.shared.room.inside(),
        }
    }

    /// Shakes hands over a connection. When nothing comes of it the client is told why, and has up to a second to read that before
    /// the connection is closed and this returns.
    ///
    /// # Errors
    ///
    /// `InvalidData` with a [`TlsError`] inside when the two cannot agree, or the client breaks the protocol or does not
    /// speak it; `PermissionDenied` with one when its certificate is not good; `TimedOut`; `UnexpectedEof` when it goes
    /// away; and those of the stream.
    ///
    /// # Cancellation
    ///
    /// The connection is closed.
    pub async fn accept<S: Stream>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.shake(stream).await.map_err(|refused| refused.error)
    }

    /// As `accept`; gives the stream back where something can be said on it that the client understands.
    pub(crate) async fn shake<S: Stream>(&self, stream: S) -> Result<TlsStream<S>, Refused<S>> {
        let shared = &*self.shared;
        let counts = &shared.counts;
        counts.begun.fetch_add(1, Relaxed);
        let config = shared.current.read().unwrap_or_else(PoisonError::into_inner).config.clone();
        let session = Session::server(config)
            .map_err(|error| Refused::new(TlsError::io("no TLS session can be begun", error)))?;
        let secured = Secured::new(stream, session);
        let handshake = async {
            let visit = shared.room.enter().await;
            poll_fn(|context| {
                visit.check(context)?;
                secured.poll_handshake(context)
            })
            .await
        };
        let outcome = time::timeout(self.timeout, handshake).await;
        let late = |_elapsed| {
            let text = format!("the TLS handshake took longer than {:?}", self.timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        let Err(error) = outcome.unwrap_or_else(late) else {
            counts.finished.fetch_add(1, Relaxed);
            return Ok(TlsStream::new(secured));
        };
        if secured.is_cleartext() {
            counts.cleartext.fetch_add(1, Relaxed);
            return Err(Refused { error, stream: secured.into_stream() });
        }
        if error.kind() == io::ErrorKind::TimedOut {
            counts.late.fetch_add(1, Relaxed);
            return Err(Refused::new(error));
        }
        counts.failed.fetch_add(1, Relaxed);
        // Its place is another's by now. What was said last is the alert that says why.
        part(secured.stream()).await;
        Err(Refused::new(error))
    }

    /// Offers these protocols by ALPN where the configuration offers none.
    pub(crate) fn offering(self, protocols: &[&[u8]]) -> TlsAcceptor {
        {
            let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
            current.protocols = protocols.iter().map(|it| it.to_vec()).collect();
            if current.config.alpn_protocols.is_empty() {
                let mut config = ServerConfig::clone(&current.config);
                config.alpn_protocols.clone_from(&current.protocols);
                current.config = Arc::new(config);
            }
        }
        self
    }
}

impl From<ServerConfig> for TlsAcceptor {
    fn from(config: ServerConfig) -> TlsAcceptor {
        TlsAcceptor::new(config)
    }
}

impl From<Arc<ServerConfig>> for TlsAcceptor {
    fn from(config: Arc<ServerConfig>) -> TlsAcceptor {
        TlsAcceptor::new(config)
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsAcceptor")
            .field("handshake_timeout", &self.timeout)
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

/// Why there is no session.
pub(crate) struct Refused<S> {
    pub(crate) error: io::Error,
    /// Of a client that does not speak TLS.
    pub(crate) stream: Option<S>,
}

impl<S> Refused<S> {
    fn new(error: io::Error) -> Refused<S> {
        Refused { error, stream: None }
    }
}

/// The configuration as it is used: without early data, and with a note taken of the names that clients ask for.
fn prepared(config: &ServerConfig, protocols: &[Vec<u8>]) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.max_early_data_size = 0;
    config.cert_resolver = Arc::new(Noting(config.cert_resolver));
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = protocols.to_vec();
    }
    Arc::new(config)
}

/// Notes the name that a client asks for, and leaves the choice to another.
#[derive(Debug)]
struct Noting(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            session::note_server_name(name);
        }
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}
