//! What a server tells its user about its connections.

use std::{
    fmt, io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ::http::{HeaderMap, HeaderName};

use crate::{
    http::{connection::Cause, place::Place, wire::Wire},
    proto::h2::{CommandError, ConnectionError, FrameLog, Stats, forbidden_field},
};

/// One connection of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The number of the connection: no two of a process have the same, and
    /// [`Place::connection_id`](crate::http::Place::connection_id) says it too.
    pub id: u64,
    /// The address of the peer.
    pub peer_addr: SocketAddr,
    /// The address that it connected to, if the system still knows.
    pub local_addr: Option<SocketAddr>,
}

/// How a connection came to its end, and what it has done until then.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// Which one it was.
    pub connection: ConnectionInfo,
    /// How it ended.
    pub end: ConnectionEnd,
    /// What it has done.
    pub stats: Stats,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// In good order.
    Finished,
    /// The peer broke the protocol, ran into a bound ([`ConnectionError::trip`]), or left with streams open.
    Failed(ConnectionError),
    /// The socket failed: mostly a peer that reset the connection.
    Socket(io::ErrorKind),
    /// The peer spoke HTTP/1 and was told so.
    Http1,
    /// The server closed it at the end of its grace, or the runtime ended.
    Aborted,
}

/// A response that could not be sent as its handler made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BadResponse {
    /// The connection.
    pub connection: ConnectionInfo,
    /// The stream, if it is still there.
    pub stream_id: Option<u32>,
    /// What is wrong.
    pub error: CommandError,
    /// The field that HTTP/2 forbids, where it was one of the head's.
    pub field: Option<HeaderName>,
    /// The head had been sent, so that the stream was reset; otherwise the client was told 500.
    pub reset: bool,
}

type Hook<T> = Option<Arc<dyn Fn(&T) + Send + Sync>>;

/// The functions of the user.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) connected: Hook<ConnectionInfo>,
    pub(super) disconnected: Hook<ConnectionReport>,
    pub(super) bad_response: Hook<BadResponse>,
    pub(super) logged: Option<Arc<LogChoice>>,
}

/// Says for each connection whether its frames are logged, and to whom.
pub(super) type LogChoice = dyn Fn(&ConnectionInfo) -> Option<FrameLog> + Send + Sync;

impl Hooks {
    /// A connection was admitted.
    pub(super) fn connected(&self, wire: &Wire) {
        if self.connected.is_some() {
            tell(&self.connected, &info(wire));
        }
        let log = self.logged.as_ref().map(|choose| catch_unwind(AssertUnwindSafe(|| choose(&info(wire)))));
        if let Some(Ok(Some(log))) = log {
            wire.core.borrow_mut().log_frames(log);
        }
    }

    /// A handler's response was refused by the core; `headers` are those of its head, if that was the reason.
    #[cold]
    pub(super) fn bad_response(&self, place: &Place, error: CommandError, headers: Option<&HeaderMap>) {
        if self.bad_response.is_some() {
            let field = headers.filter(|_| error == CommandError::ForbiddenField).and_then(forbidden_field);
            let (connection, stream_id) = (info(&place.wire), place.stream_id());
            let reset = headers.is_none();
            tell(&self.bad_response, &BadResponse { connection, stream_id, error, field, reset });
        }
    }

    /// A connection is over; its socket may still linger.
    pub(super) fn disconnected(&self, wire: &Wire, cause: Cause) {
        if self.disconnected.is_none() {
            return;
        }
        let end = match cause {
            Cause::Closed(None) => ConnectionEnd::Finished,
            Cause::Closed(Some(error)) => ConnectionEnd::Failed(error),
            Cause::Failed(kind) => ConnectionEnd::Socket(kind),
            Cause::Http1 => ConnectionEnd::Http1,
            Cause::Dropped => ConnectionEnd::Aborted,
        };
        let stats = wire.core.borrow().stats();
        tell(&self.disconnected, &ConnectionReport { connection: info(wire), end, stats });
    }
}

fn info(wire: &Wire) -> ConnectionInfo {
    ConnectionInfo { id: wire.id(), peer_addr: wire.peer_addr(), local_addr: wire.local_addr().ok() }
}

/// A hook that panics has had its say: connections do not end for it, and it may be called while one is dropped.
fn tell<T>(hook: &Hook<T>, news: &T) {
    if let Some(hook) = hook {
        drop(catch_unwind(AssertUnwindSafe(|| hook(news))));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Hooks")
            .field("connected", &self.connected.is_some())
            .field("disconnected", &self.disconnected.is_some())
            .field("logged", &self.logged.is_some())
            .field("bad_response", &self.bad_response.is_some())
            .finish()
    }
}
