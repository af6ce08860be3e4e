//! The client's side of handshakes.

use std::{fmt, future::poll_fn, io, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};

use super::{error::TlsError, secured::Secured, session::Session, stream::TlsStream};
use crate::{limits::TLS_HANDSHAKE_TIMEOUT, net::Stream, time};

/// Shakes hands with servers, as rustls's [`ClientConfig`] says: which certificates are trusted, what the client shows
/// itself, sessions that may be resumed.
///
/// [`http::client::ClientBuilder::tls`](crate::http::client::ClientBuilder::tls) takes a configuration, too.
///
/// # Examples
///
/// See [`TlsAcceptor`](super::TlsAcceptor).
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    timeout: Duration,
}

impl TlsConnector {
    /// A connector for this configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> TlsConnector {
        TlsConnector { config: config.into(), timeout: TLS_HANDSHAKE_TIMEOUT }
    }

    /// Limits the time of each handshake; 10 seconds by default.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsConnector {
        self.timeout = limit;
        self
    }

    /// Shakes hands over a connection. `host` is a name or an IP address: the server is asked for it, and its certificate
    /// has to be for it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `host` is neither; `PermissionDenied` with a [`TlsError`] inside when the certificate is not good,
    /// `InvalidData` with one when the two cannot agree or the server does not speak TLS; `TimedOut`; `UnexpectedEof` when it
    /// goes away; and those of the stream.
    ///
    /// # Cancellation
    ///
    /// The connection is closed.
    pub async fn connect<S: Stream>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from(host).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?} is no host for TLS: {error}"))
        })?;
        let session = Session::client(self.config.clone(), name.to_owned())
            .map_err(|error| TlsError::io("no TLS session can be begun", error))?;
        let secured = Secured::new(stream, session);
        let handshake = poll_fn(|context| secured.poll_handshake(context));
        match time::timeout(self.timeout, handshake).await {
            Ok(outcome) => outcome?,
            Err(_elapsed) => {
                let text = format!("the TLS handshake with {host} took longer than {:?}", self.timeout);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
        Ok(TlsStream::new(secured))
    }

    /// Offers these protocols by ALPN where the configuration offers none.
    pub(crate) fn offering(mut self, protocols: &[&[u8]]) -> TlsConnector {
        if self.config.alpn_protocols.is_empty() {
            Arc::make_mut(&mut self.config).alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        }
        self
    }

    /// Whether this protocol is offered by ALPN.
    pub(crate) fn offers(&self, protocol: &[u8]) -> bool {
        self.config.alpn_protocols.iter().any(|it| it == protocol)
    }

    /// What is offered, in words.
    pub(crate) fn offered(&self) -> String {
        let names: Vec<_> = self.config.alpn_protocols.iter().map(|it| String::from_utf8_lossy(it)).collect();
        names.join(", ")
    }
}

impl From<ClientConfig> for TlsConnector {
    fn from(config: ClientConfig) -> TlsConnector {
        TlsConnector::new(config)
    }
}

impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> TlsConnector {
        TlsConnector::new(config)
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsConnector").field("handshake_timeout", &self.timeout).finish_non_exhaustive()
    }
}
