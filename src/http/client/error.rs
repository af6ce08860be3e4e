//! Why a request has no response.

use std::{borrow::Cow, error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use crate::{
    http::mailbox::Death,
    proto::h2::{CommandError, ConnectionError, Reason},
};

/// Why a request has no response.
///
/// [`kind`](Error::kind) says what happened, and [`is_retryable`](Error::is_retryable) whether the request is known not to
/// have been processed: the two are different questions, since a connection may end before or after it was
/// sent. `source` has what the system said, or which rule was broken where.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: Kind,
    unprocessed: bool,
    unanswered: bool,
    text: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The host's name could not be looked up.
    Resolve,
    /// No connection could be made.
    Connect,
    /// A time limit passed: of connecting, of the request, or one of the connection's deadlines.
    Timeout,
    /// The peer says that it has not looked at the request (REFUSED_STREAM, or a GOAWAY that names an earlier one).
    Refused,
    /// The request's stream was reset for this reason: by the peer, or because the peer broke a rule on it.
    Reset(Reason),
    /// The connection ended before the response did.
    Closed,
    /// The connection takes no more requests: one side is going away.
    GoAway,
    /// The request's own content failed.
    Body,
    /// Too many requests wait, or too many are under way for one more without waiting.
    Busy,
    /// The peer does not take such a request: extended CONNECT that it has not announced, or not yet; content of unknown
    /// length, when it speaks HTTP/1.0.
    Unsupported,
    /// The request cannot be sent as it is: its target is not complete, or one of its fields must not be sent.
    Misuse,
}

impl Error {
    pub(super) fn new(kind: Kind, text: impl Into<Cow<'static, str>>) -> Error {
        Error {
            inner: Box::new(Inner {
                kind,
                unprocessed: false,
                unanswered: false,
                text: text.into(),
                source: None,
            }),
        }
    }

    pub(super) fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.inner.source = Some(Arc::new(source));
        self
    }

    /// The request is known not to have been processed.
    pub(super) fn unprocessed(mut self) -> Error {
        self.inner.unprocessed = true;
        self
    }

    /// The peer closed a connection that it had used before, and said nothing about the request.
    pub(super) fn unanswered(mut self) -> Error {
        self.inner.unanswered = true;
        self
    }

    pub(super) fn connect(error: io::Error) -> Error {
        let kind = if error.kind() == io::ErrorKind::TimedOut { Kind::Timeout } else { Kind::Connect };
        Error::new(kind, "no connection could be made").caused_by(error).unprocessed()
    }

    pub(super) fn slow_names(host: &str) -> Error {
        Error::new(Kind::Timeout, format!("looking up {host} took too long")).unprocessed()
    }

    /// The time limit of a request passed.
    pub(super) fn late(limit: Duration) -> Error {
        Error::new(Kind::Timeout, format!("the request took longer than {limit:?}"))
    }

    pub(super) fn misuse(text: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::Misuse, text)
    }

    /// A command that the core refused before anything was sent.
    pub(super) fn command(error: CommandError) -> Error {
        match error {
            CommandError::TooManyStreams | CommandError::Busy => {
                Error::new(Kind::Busy, "the peer takes no more requests at the moment").unprocessed()
            }
            CommandError::GoingAway => {
                Error::new(Kind::GoAway, "the connection takes no more requests").unprocessed()
            }
            CommandError::ConnectionClosed | CommandError::StreamGone => {
                Error::new(Kind::Closed, "the connection has ended").unprocessed()
            }
            CommandError::UnknownLength => {
                Error::new(Kind::Unsupported, "the request cannot be sent").caused_by(error)
            }
            CommandError::NoConnectProtocol => {
                Error::new(Kind::Unsupported, "the peer takes no extended CONNECT").unprocessed()
            }
            CommandError::ForbiddenField
            | CommandError::ContentLength
            | CommandError::Status
            | CommandError::Target
            | CommandError::WrongState
            | CommandError::WrongRole => {
                Error::new(Kind::Misuse, "the request cannot be sent").caused_by(error)
            }
        }
    }

    pub(super) fn died(death: Death) -> Error {
        let reason = death.reason;
        match (death.remote, reason) {
            (true, Reason::REFUSED_STREAM) => {
                Error::new(Kind::Refused, "the peer did not process the request").unprocessed()
            }
            (true, _) => Error::new(Kind::Reset(reason), format!("the peer reset the stream: {reason}")),
            (false, _) => {
                Error::new(Kind::Reset(reason), format!("the stream was reset: {reason}: {}", death.text))
            }
        }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Whether the peer is known not to have processed the request, so that it may be sent again whatever its
    /// method is. [`ResponseFuture::take_request`](super::ResponseFuture::take_request) may have it also when this is not
    /// known, but likely: then it depends on the method.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.inner.unprocessed
    }

    /// Whether a request that may be repeated should be: the connection was most likely closed before it came.
    pub(super) fn is_unanswered(&self) -> bool {
        self.inner.unanswered
    }

    /// Whether a time limit passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == Kind::Timeout
    }

    /// Whether no connection could be made, the host's name included; what took too long is [`Kind::Timeout`].
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.inner.kind, Kind::Connect | Kind::Resolve)
    }

    /// Whether the connection ended or is about to: this handle is of no more use.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.inner.kind, Kind::Closed | Kind::GoAway)
    }

    /// The code with which the stream was reset, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self.inner.kind {
            Kind::Reset(reason) => Some(reason),
            Kind::Refused => Some(Reason::REFUSED_STREAM),
            Kind::Resolve
            | Kind::Connect
            | Kind::Timeout
            | Kind::Closed
            | Kind::GoAway
            | Kind::Body
            | Kind::Busy
            | Kind::Unsupported
            | Kind::Misuse => None,
        }
    }

    /// What ended the connection, where that is known.
    #[must_use]
    pub fn connection_error(&self) -> Option<&ConnectionError> {
        self.inner.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.inner.text)?;
        match &self.inner.source {
            Some(source) => write!(out, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, unprocessed, unanswered: _, text, source } = &*self.inner;
        out.debug_struct("Error")
            .field("kind", kind)
            .field("text", text)
            .field("retryable", unprocessed)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
