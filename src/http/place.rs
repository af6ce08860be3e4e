//! What a handler can learn about where its request came from, and say before its answer.

use std::{fmt, io, net::SocketAddr, rc::Rc};

use ::http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    http::wire::Wire,
    proto::h2::{CommandError, Stats, StreamKey},
};

/// Where a request came from: its connection, and its stream on it.
///
/// A handler gets one through [`with_place`](crate::http::with_place) or its own
/// [`Handler::call`](crate::http::Handler::call); one that does not ask pays nothing. It may be kept for as long
/// as one likes: it keeps the connection's memory, and neither its socket nor the stream.
///
/// # Examples
///
/// ```
/// use wakering::http::{Body, Place, Request, Response, with_place};
///
/// let handler = with_place(|_: Request<Body>, place: Place| async move {
///     Response::new(Body::from(format!("you are {}", place.peer_addr())))
/// });
/// # drop(handler);
/// ```
#[derive(Clone)]
pub struct Place {
    pub(super) wire: Rc<Wire>,
    pub(super) key: StreamKey,
}

impl Place {
    /// The address of the peer, as it was when it connected.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.wire.peer_addr()
    }

    /// The address that the peer connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection is closed, and otherwise the system's (`getsockname`).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.wire.local_addr()
    }

    /// The number of the connection: no two of a process have the same.
    #[must_use]
    pub fn connection_id(&self) -> u64 {
        self.wire.id()
    }

    /// The stream's number on the wire (RFC 9113 §5.1.1); `None` when the stream is gone.
    #[must_use]
    pub fn stream_id(&self) -> Option<u32> {
        self.wire.core.borrow().stream_id(self.key)
    }

    /// What the connection has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.wire.core.borrow().stats()
    }

    /// Says where else the origin of this request is served: an ALTSVC frame on its stream (RFC 7838 §4). `value` is
    /// that of an `alt-svc` field. [`Config::alt_svc`](crate::http::Config::alt_svc) says it of whole connections.
    ///
    /// # Errors
    ///
    /// [`CommandError::StreamGone`] when the response is complete already, or the stream is gone.
    pub fn advertise(&self, value: &HeaderValue) -> Result<(), CommandError> {
        self.wire.core.borrow_mut().advertise_on(self.key, value)?;
        self.wire.ask_flush();
        Ok(())
    }

    /// Sends an interim response before the final one: 103 with `link` fields (RFC 8297), 102, or 100, which a request
    /// that expects it gets by itself when its content is first read.
    ///
    /// # Errors
    ///
    /// [`CommandError`]: the status is not 1xx or is 101, a field is one that HTTP/2 forbids, the final response has
    /// been sent, or the stream is gone. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::http::{Body, HeaderMap, HeaderValue, Place, Request, Response, StatusCode, header, with_place};
    ///
    /// let handler = with_place(|_: Request<Body>, place: Place| async move {
    ///     let mut hints = HeaderMap::new();
    ///     hints.insert(header::LINK, HeaderValue::from_static("</style.css>; rel=preload; as=style"));
    ///     if let Err(error) = place.inform(StatusCode::EARLY_HINTS, &hints) {
    ///         eprintln!("no hints: {error}");
    ///     }
    ///     Response::new(Body::from("<link rel=stylesheet href=style.css>"))
    /// });
    /// # drop(handler);
    /// ```
    pub fn inform(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), CommandError> {
        self.wire.core.borrow_mut().inform(self.key, status, headers)?;
        self.wire.ask_flush();
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Place")
            .field("peer_addr", &self.peer_addr())
            .field("connection_id", &self.connection_id())
            .field("stream_id", &self.stream_id())
            .finish()
    }
}
